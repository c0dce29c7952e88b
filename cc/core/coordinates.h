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

// A source of points is a struct with kRank, Real and At(image, point, coordinates),
// which writes (x, y[, z]) in pixels of a point, counted within its image.  `per_image`
// says how far apart the points of two images are, or 0 if all images share the same.

// Points stored one after the other in a warp tensor.
template <int Rank, typename RealType>
struct WarpPoints {
  static constexpr int kRank = Rank;
  using Real = RealType;

  const Real* warp;   // [images or 1, points, Rank]
  int64_t per_image;  // Points.
  int64_t stored;     // Points in all.

  template <typename Index>
  TF_STN_HD void At(Index image, Index point, Real* coordinates) const {
    const Real* from = warp + (image * static_cast<Index>(per_image) + point) * kRank;
    for (int d = 0; d < kRank; ++d) coordinates[d] = from[d];
  }
};

// The pixels of outputs, each mapped into the input by its output's matrix:
//
//   (x, y[, z]) = matrix * (column, row[, slice], 1)
//
// The points exist in registers alone.  An image may have several outputs, each with
// a matrix; its points are theirs, one after the other.
template <int Rank, typename RealType>
struct AffinePoints {
  static constexpr int kRank = Rank;
  static constexpr int kParameters = Rank * (Rank + 1);
  using Real = RealType;

  const Real* matrix;  // [images or 1, outputs, Rank, Rank + 1]
  int64_t per_image;   // Matrices.
  int64_t stored;      // Matrices in all.
  int64_t size[Rank];  // Of an output; size[0] is the slowest axis.

  TF_STN_HD int64_t output_points() const {
    int64_t points = 1;
    for (int d = 0; d < kRank; ++d) points *= size[d];
    return points;
  }

  // Writes the (column, row[, slice]) of a point, and returns its output.
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
  TF_STN_HD void At(Index image, Index point, Real* coordinates) const {
    Index pixel[kRank];
    const Index output = PixelOf(point, pixel);
    Map(matrix + (image * static_cast<Index>(per_image) + output) * kParameters, pixel,
        coordinates);
  }
};

}  // namespace tf_stn

#endif  // TF_STN_CC_CORE_COORDINATES_H_
