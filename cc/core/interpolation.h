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

#include <cmath>
#include <cstdint>

#include "cc/core/portability.h"

namespace tf_stn {

template <typename Real>
struct Tap {
  int64_t index;
  Real weight;
  Real slope;
};

// Pulls in coordinates too far out to be an index, because casting them would
// be undefined.  No image is that large, so they stay outside.  A NaN passes.
template <typename Real>
TF_STN_HD Real Bounded(Real x) {
  constexpr Real kFar = static_cast<Real>(int64_t{1} << 60);
  return x < -kFar ? -kFar : x > kFar ? kFar : x;
}

// Reads the two pixels around x.  On a pixel centre the slope is the
// right-hand one: floor(x) and floor(x) + 1 are never the same pixel.
struct Linear {
  static constexpr int kTaps = 2;

  template <typename Real>
  TF_STN_HD static void Taps(Real x, Tap<Real>* taps) {
    const Real bounded = Bounded(x);
    const Real floor = std::floor(bounded);
    const bool is_nan = !(bounded == bounded);
    const Real t = bounded - floor;
    const Real one = is_nan ? x : Real(1);
    const int64_t index = is_nan ? 0 : static_cast<int64_t>(floor);
    taps[0] = {index, 1 - t, -one};
    taps[1] = {index + 1, t, one};
  }
};

}  // namespace tf_stn

#endif  // TF_STN_CC_CORE_INTERPOLATION_H_
