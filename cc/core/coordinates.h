// Where sample points come from, and the type they are computed in.

#ifndef TF_STN_CC_CORE_COORDINATES_H_
#define TF_STN_CC_CORE_COORDINATES_H_

#include <cstdint>

#include "cc/core/portability.h"

namespace tf_stn {

// The type of coordinates, weights and sums for pixels of type T.  Half
// precision cannot tell neighbouring pixels apart beyond 2048.
template <typename T>
struct CoordinateOf {
  using type = float;
};

template <>
struct CoordinateOf<double> {
  using type = double;
};

template <typename T>
using Coordinate = typename CoordinateOf<T>::type;

// A source of points is a struct with kRank, Real and At(point, coordinates),
// which writes (x, y[, z]) in pixels.  Points are numbered through the batch.

// Points stored one after the other in a warp tensor.
template <int Rank, typename RealType>
struct WarpPoints {
  static constexpr int kRank = Rank;
  using Real = RealType;

  const Real* warp;  // [points, Rank]

  template <typename Index>
  TF_STN_HD void At(Index point, Real* coordinates) const {
    for (int d = 0; d < kRank; ++d) coordinates[d] = warp[point * kRank + d];
  }
};

// The pixels of an output, each mapped into the input by its image's matrix:
//
//   (x, y[, z]) = matrix * (column, row[, slice], 1)
//
// The points exist in registers alone.
template <int Rank, typename RealType>
struct AffinePoints {
  static constexpr int kRank = Rank;
  static constexpr int kParameters = Rank * (Rank + 1);
  using Real = RealType;

  const Real* matrix;  // [images, Rank, Rank + 1]
  int64_t size[Rank];  // Of the output; size[0] is the slowest axis.

  // Writes the (column, row[, slice]) of a point, and returns its image.
  template <typename Index>
  TF_STN_HD Index PixelOf(Index point, Index* pixel) const {
    for (int d = kRank - 1; d >= 0; --d) {
      const Index next = point / static_cast<Index>(size[d]);
      pixel[kRank - 1 - d] = point - next * static_cast<Index>(size[d]);
      point = next;
    }
    return point;
  }

  // Writes where the matrix that begins at `row` maps a pixel.
  template <typename Index>
  TF_STN_HD static void Map(const Real* row, const Index* pixel, Real* coordinates) {
    for (int d = 0; d < kRank; ++d, row += kRank + 1) {
      // From the slowest axis on, as tf_stn.affine_grid adds them.
      Real sum = row[kRank];
      for (int k = kRank - 1; k >= 0; --k) sum += row[k] * static_cast<Real>(pixel[k]);
      coordinates[d] = sum;
    }
  }

  template <typename Index>
  TF_STN_HD void At(Index point, Real* coordinates) const {
    Index pixel[kRank];
    const Index image = PixelOf(point, pixel);
    Map(matrix + image * kParameters, pixel, coordinates);
  }
};

}  // namespace tf_stn

#endif  // TF_STN_CC_CORE_COORDINATES_H_
