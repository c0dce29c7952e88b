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

  const Real* warp;

  TF_STN_HD void At(int64_t point, Real* coordinates) const {
    for (int d = 0; d < kRank; ++d) coordinates[d] = warp[point * kRank + d];
  }
};

}  // namespace tf_stn

#endif  // TF_STN_CC_CORE_COORDINATES_H_
