// Interpolation along one axis: which pixels a coordinate reads, and how much of each.
//
// A policy is a stateless struct with
//
//   kTaps                    the number of neighbouring pixels it reads,
//   Locate(x, &index, &t)    the index of the first of them, and where x lies among them, and
//   Derivative(k, order, t)  d^order w_k / dx^order; order 0 is the weight.
//
// Coordinates are numbers or vectors of numbers.  For every finite x the weights sum to one and
// their derivatives to zero; for a NaN all are NaN or zero, with at least one NaN among those of
// each order.  An index may lie outside the image: padding.h decides what is read there.  To add
// an interpolation, write it here and add it to the list below.

#ifndef TF_STN_CC_CORE_INTERPOLATION_H_
#define TF_STN_CC_CORE_INTERPOLATION_H_

#include <cstdint>

#include "cc/core/numbers.h"
#include "cc/core/portability.h"

namespace tf_stn {

// Limits coordinates that are too large to be an index, because casting them would be undefined.
// No image is that large, so they stay outside.  A NaN passes.
template <typename Index, typename Real>
TF_STN_HD inline Real Bounded(Real x) {
  constexpr Real kFar = static_cast<Real>(sizeof(Index) == 8 ? int64_t{1} << 60 : (1 << 30) + 1024);
  return x < -kFar ? -kFar : x > kFar ? kFar : x;
}

// Returns a number that does not depend on t, unless t is a NaN.
template <typename Real>
TF_STN_HD inline Real Constant(ScalarType<Real> value, Real t) {
  return value + (t - t);
}

// Splits a coordinate into its floor, which is returned, and the rest, which is written to `t`.
// Of a NaN they are 0 and NaN.
template <typename Index, typename Real>
TF_STN_HD inline Index SplitCoordinate(const Real& x, Real* t) {
  const Index floor = Arithmetic<Real, Index>::Floor(x);
  *t = x - Arithmetic<Real, Index>::ToReal(floor);
  return floor;
}

// Reads the nearest pixel; of two that are as near, the one of even index, as
// PyTorch and ONNX.
struct Nearest {
  static constexpr int kTaps = 1;

  template <typename Real, typename Index>
  TF_STN_HD static void Locate(const Real& x, Index* index, Real* t) {
    constexpr auto kHalf = static_cast<ScalarType<Real>>(0.5);
    const Index floor = SplitCoordinate<Index>(x, t);
    const auto is_upper = (*t > kHalf) | ((*t == kHalf) & ((floor & 1) != 0));
    *index = Select(is_upper, floor + 1, floor);
  }

  template <typename Real>
  TF_STN_HD static Real Derivative(int, int order, Real t) {
    return Constant(ScalarType<Real>(order == 0), t);
  }
};

// Reads the two pixels around x.  On a pixel centre the slope is the
// right-hand one: floor(x) and floor(x) + 1 are never the same pixel.
struct Linear {
  static constexpr int kTaps = 2;

  template <typename Real, typename Index>
  TF_STN_HD static void Locate(const Real& x, Index* index, Real* t) {
    *index = SplitCoordinate<Index>(x, t);
  }

  template <typename Real>
  TF_STN_HD static Real Derivative(int k, int order, Real t) {
    if (order == 0) return k == 0 ? 1 - t : t;
    const Real one = Constant(ScalarType<Real>(order == 1), t);
    return k == 0 ? -one : one;
  }
};

// Reads four pixels, by the cubic convolution of R. Keys, "Cubic convolution
// interpolation for digital image processing", 1981, with a = -0.75, as PyTorch and
// ONNX.  The weights have continuous slopes; on a pixel centre the curvature is the
// right-hand one.
struct Cubic {
  static constexpr int kTaps = 4;

  template <typename Real, typename Index>
  TF_STN_HD static void Locate(const Real& x, Index* index, Real* t) {
    *index = SplitCoordinate<Index>(x, t) - 1;
  }

  // In forms that are exactly 0 and 1 on a pixel centre.
  template <typename Real>
  TF_STN_HD static Real Derivative(int k, int order, Real t) {
    constexpr auto a = static_cast<ScalarType<Real>>(-0.75);
    // The weights mirror each other about t = 1/2, which turns the sign of odd orders.
    const bool is_mirrored = k >= 2;
    const Real s = is_mirrored ? 1 - t : t;
    const bool is_outer = k == 0 || k == 3;
    Real value;
    switch (order) {
      case 0:
        value = is_outer ? a * s * (1 - s) * (1 - s) : ((a + 2) * s - (a + 3)) * s * s + 1;
        break;
      case 1:
        value = is_outer ? a * (1 - s) * (1 - 3 * s) : (3 * (a + 2) * s - 2 * (a + 3)) * s;
        break;
      case 2:
        value = is_outer ? a * (6 * s - 4) : 6 * (a + 2) * s - 2 * (a + 3);
        break;
      default:
        value = Constant<Real>(order > 3 ? 0 : is_outer ? 6 * a : 6 * (a + 2), s);
    }
    return is_mirrored && order % 2 != 0 ? -value : value;
  }
};

// All interpolations: the policy and its public name.  Everything that lists interpolations is made
// from this.
#define TF_STN_FOR_EACH_INTERPOLATION(visit) \
  visit(Nearest, "nearest") visit(Linear, "linear") visit(Cubic, "cubic")

}  // namespace tf_stn

#endif  // TF_STN_CC_CORE_INTERPOLATION_H_
