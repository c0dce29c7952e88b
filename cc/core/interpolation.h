// Interpolation along one axis: which pixels a coordinate reads, and how much
// of each.  A policy is a stateless struct with
//
//   kTaps          the number of neighbouring pixels it reads, and
//   Taps(x, taps)  their indices, weights w(x) and slopes dw/dx.
//
// For every finite x the weights sum to one and the slopes to zero; for a NaN
// all weights and slopes are NaN or zero, with at least one NaN among each.
// An index may lie outside the image: padding.h decides what is found there.

#ifndef TF_STN_CC_CORE_INTERPOLATION_H_
#define TF_STN_CC_CORE_INTERPOLATION_H_

#include <cstdint>

#include "cc/core/portability.h"

namespace tf_stn {

// Index is int64_t, or int32_t where no image has 2^30 elements.
template <typename Real, typename Index = int64_t>
struct Tap {
  Index index;
  Real weight;
  Real slope;
};

// Pulls in coordinates too far out to be an index, because casting them would
// be undefined.  No image is that large, so they stay outside.  A NaN passes.
template <typename Index, typename Real>
TF_STN_HD Real Bounded(Real x) {
  constexpr Real kFar = static_cast<Real>(sizeof(Index) == 8 ? int64_t{1} << 60 : 1 << 30);
  return x < -kFar ? -kFar : x > kFar ? kFar : x;
}

// Returns floor(x) of a bounded coordinate, and 0 for a NaN.  By truncation,
// since std::floor is a call to a library where there is no instruction for it.
template <typename Index, typename Real>
TF_STN_HD Index FloorIndex(Real x) {
  if (!(x == x)) return 0;
  const Index truncated = static_cast<Index>(x);
  return x < static_cast<Real>(truncated) ? truncated - 1 : truncated;
}

// Reads the two pixels around x.  On a pixel centre the slope is the
// right-hand one: floor(x) and floor(x) + 1 are never the same pixel.
struct Linear {
  static constexpr int kTaps = 2;

  template <typename Real, typename Index>
  TF_STN_HD static void Taps(Real x, Tap<Real, Index>* taps) {
    x = Bounded<Index>(x);
    const Index index = FloorIndex<Index>(x);
    const Real t = x - static_cast<Real>(index);
    const Real one = x == x ? Real(1) : x;
    taps[0] = {index, 1 - t, -one};
    taps[1] = {index + 1, t, one};
  }
};

}  // namespace tf_stn

#endif  // TF_STN_CC_CORE_INTERPOLATION_H_
