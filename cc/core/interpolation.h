// Interpolation along one axis: which pixels a coordinate reads, and how much
// of each.  A policy is a stateless struct with
//
//   kTaps                       the number of neighbouring pixels it reads,
//   Locate(x, &index, &t)       the first of them, and where x lies among them, and
//   Derivative(k, order, t)     d^order w_k / dx^order, of which order 0 is the weight.
//
// For every finite x the weights sum to one and their derivatives to zero; for a
// NaN all are NaN or zero, with at least one NaN among those of each order.
// An index may lie outside the image: padding.h decides what is found there.

#ifndef TF_STN_CC_CORE_INTERPOLATION_H_
#define TF_STN_CC_CORE_INTERPOLATION_H_

#include <cstdint>
#include <type_traits>
#include <utility>

#include "cc/core/portability.h"

namespace tf_stn {

// Index is int64_t, or int32_t where no image has 2^29 elements.
template <typename Real, typename Index = int64_t>
struct Tap {
  Index index;
  Real weight;
  Real slope;
  Real curvature;
};

// Pulls in coordinates too far out to be an index, because casting them would
// be undefined.  No image is that large, so they stay outside.  A NaN passes.
template <typename Index, typename Real>
TF_STN_HD inline Real Bounded(Real x) {
  constexpr Real kFar = static_cast<Real>(sizeof(Index) == 8 ? int64_t{1} << 60 : (1 << 30) + 1024);
  return x < -kFar ? -kFar : x > kFar ? kFar : x;
}

// Returns floor(x) of a bounded coordinate, and 0 for a NaN.  By truncation,
// since std::floor is a call to a library where there is no instruction for it.
template <typename Index, typename Real>
TF_STN_HD inline Index FloorIndex(Real x) {
  if (!(x == x)) return 0;
  const Index truncated = static_cast<Index>(x);
  return x < static_cast<Real>(truncated) ? truncated - 1 : truncated;
}

// The type of the numbers in t, which may also be a vector of them.
template <typename Real, typename = void>
struct ScalarOf {
  using type = Real;
};

template <typename Vector>
struct ScalarOf<Vector, std::void_t<decltype(std::declval<Vector>()[0])>> {
  using type = std::decay_t<decltype(std::declval<Vector>()[0])>;
};

template <typename Real>
using ScalarType = typename ScalarOf<Real>::type;

// A number that does not depend on t, unless t is a NaN.
template <typename Real>
TF_STN_HD inline Real Constant(ScalarType<Real> value, Real t) {
  return value + (t - t);
}

// Reads the nearest pixel; of two that are as near, the one of even index, as
// PyTorch and ONNX.
struct Nearest {
  static constexpr int kTaps = 1;

  template <typename Real, typename Index>
  TF_STN_HD static void Locate(Real x, Index* index, Real* t) {
    const Index floor = FloorIndex<Index>(x);
    *t = x - static_cast<Real>(floor);
    const bool is_upper = *t > Real(0.5) || (*t == Real(0.5) && floor % 2 != 0);
    *index = is_upper ? floor + 1 : floor;
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
  TF_STN_HD static void Locate(Real x, Index* index, Real* t) {
    *index = FloorIndex<Index>(x);
    *t = x - static_cast<Real>(*index);
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
  TF_STN_HD static void Locate(Real x, Index* index, Real* t) {
    const Index floor = FloorIndex<Index>(x);
    *index = floor - 1;
    *t = x - static_cast<Real>(floor);
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

// Writes the taps of a coordinate: their derivatives of this order as weights, of the
// next one as slopes, and of the one after that as curvatures.
template <typename Interpolation, typename Real, typename Index>
TF_STN_HD inline void FindTaps(Real x, int order, Tap<Real, Index>* taps) {
  Index index;
  Real t;
  Interpolation::Locate(Bounded<Index>(x), &index, &t);
  for (int k = 0; k < Interpolation::kTaps; ++k) {
    taps[k] = {index + k, Interpolation::Derivative(k, order, t),
               Interpolation::Derivative(k, order + 1, t),
               Interpolation::Derivative(k, order + 2, t)};
  }
}

}  // namespace tf_stn

#endif  // TF_STN_CC_CORE_INTERPOLATION_H_
