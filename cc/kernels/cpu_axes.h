// The taps of a block of points along one axis, for every interpolation and padding: as
// pairs of neighbouring pixels, so that loops over pixels read 2x2 of them without asking
// which are there.
//
// As FindTaps() and the paddings of cc/core, which are the reference.

#ifndef TF_STN_CC_KERNELS_CPU_AXES_H_
#define TF_STN_CC_KERNELS_CPU_AXES_H_

#include <cstdint>
#include <type_traits>

#include "cc/core/interpolation.h"
#include "cc/core/modes.h"
#include "cc/kernels/cpu_stencils.h"
#include "cc/kernels/cpu_vectors.h"

namespace tf_stn {

namespace TF_STN_ISA {

// Orders of derivative that there may be factors of: weight, slope and curvature.
inline constexpr int kOrders = 3;

// A pair reads pixels first and first + 1 of the axis, each times a factor, for every
// point.  Taps that fall on one pixel share its factor; one outside the image has none.
// Arrays are filled to a multiple of the vector's lanes.
template <typename Real>
struct alignas(64) AxisTaps {
  using Index = IndexOf<Real>;
  // Two for cubic interpolation, and as many again for taps that the image's seam parts.
  static constexpr int kMostPairs = 4;

  int pairs;
  bool is_empty[kMostPairs];  // No point has a factor here.
  Index first[kMostPairs][kBlockPoints];
  Real factor[kMostPairs][kOrders][2][kBlockPoints];
  // -1 if a tap that has a factor has no pixel, else 0.
  Index sticks_out[kOrders][kBlockPoints];
};

// Splits coordinates into the index of the first tap and t, as Interpolation::Locate().
// Far outside, where it makes no difference, they are pulled in to `low` and `high`.
template <typename Interpolation, typename Real>
TF_STN_INLINE void Locate(const RealVector<Real>& x, Real low, Real high, IndexVector<Real>* index,
                          RealVector<Real>* t) {
  using Reals = RealVector<Real>;
  using Indices = IndexVector<Real>;
  Reals bounded = x < low ? Reals{} + low : x;
  bounded = bounded > high ? Reals{} + high : bounded;
  bounded = x == x ? bounded : Reals{};
  const auto truncated = __builtin_convertvector(bounded, Indices);
  const Indices floor =
      truncated + (bounded < __builtin_convertvector(truncated, Reals));  // True is -1.
  *t = bounded - __builtin_convertvector(floor, Reals) + (x == x ? Reals{} : x);
  *index = floor;
  if constexpr (std::is_same_v<Interpolation, Cubic>) *index -= 1;
  if constexpr (std::is_same_v<Interpolation, Nearest>) {
    const Real half = static_cast<Real>(0.5);
    *index -= (*t > half) | ((*t == half) & ((floor & 1) != 0));
  }
}

// Returns remainders from 0 to period - 1.
template <typename Real>
TF_STN_INLINE IndexVector<Real> Remainders(const IndexVector<Real>& index, IndexOf<Real> period) {
  using Reals = RealVector<Real>;
  using Indices = IndexVector<Real>;
  // Up to here, quotients of Reals are off by one at most; cc/core pulls in what is
  // beyond 2^30.
  constexpr IndexOf<Real> kExact = IndexOf<Real>{1} << (sizeof(Real) == 8 ? 30 : 22);
  const Indices is_far = (index > kExact) | (index < -kExact);
  Indices remainder;
  if (Any(is_far)) {
    for (int i = 0; i < kLanes<Real>; ++i)
      remainder[i] = Remainder<IndexOf<Real>>(index[i], period);
    return remainder;
  }
  const Reals quotient =
      __builtin_convertvector(index, Reals) / (Reals{} + static_cast<Real>(period));
  remainder = index - __builtin_convertvector(quotient, Indices) * period;
  for (int i = 0; i < 2; ++i) remainder += remainder < 0 ? Indices{} + period : Indices{};
  remainder -= remainder >= period ? Indices{} + period : Indices{};
  return remainder;
}

// As AnyPadding::Resolve().
template <typename Real>
TF_STN_INLINE IndexVector<Real> Resolve(PaddingMode padding, const IndexVector<Real>& index,
                                        IndexOf<Real> size) {
  using Indices = IndexVector<Real>;
  const Indices is_out = (index < 0) | (index >= size);
  if (!Any(is_out)) return index;
  switch (padding) {
    case PaddingMode::kZeros:
      return is_out ? Indices{} + kReadsAsZero : index;
    case PaddingMode::kBorder: {
      const Indices above = index < 0 ? Indices{} : index;
      return above >= size ? Indices{} + (size - 1) : above;
    }
    case PaddingMode::kReflect: {
      const IndexOf<Real> period = size == 1 ? 1 : 2 * (size - 1);
      const Indices place = Remainders<Real>(index, period);
      return place < size ? place : period - place;
    }
    case PaddingMode::kSymmetric: {
      const Indices place = Remainders<Real>(index, 2 * size);
      return place < size ? place : 2 * size - 1 - place;
    }
    case PaddingMode::kWrap:
      return Remainders<Real>(index, size);
  }
  return index;
}

// How far out coordinates along an axis of this size make a difference.
template <typename Real>
TF_STN_INLINE void FindLimits(PaddingMode padding, IndexOf<Real> size, Real* low, Real* high) {
  const bool repeats = padding != PaddingMode::kZeros && padding != PaddingMode::kBorder;
  // To repeat, as in cc/core.
  const Real far = static_cast<Real>(sizeof(Real) == 8 ? int64_t{1} << 60 : (1 << 30) + 1024);
  // A large size is rounded as a Real, though never to less than itself.
  *high = repeats ? far : static_cast<Real>(size + 2 + (size >> 20));
  *low = repeats ? -far : Real(-3);
}

// Writes a pair: tap k of kTaps, and the one after it if there are two, where their pixels
// are next to each other.  What the seam of a wrapped image parts goes to `seam`.
// `tap` are resolved indices.
template <typename Interpolation, typename Real>
TF_STN_INLINE void WritePair(int k, int count, const IndexVector<Real>* tap,
                             const RealVector<Real>& t, IndexOf<Real> last_first, int orders, int i,
                             int pair, int seam, bool* has_seam, AxisTaps<Real>* axis) {
  using Reals = RealVector<Real>;
  using Indices = IndexVector<Real>;
  const auto store = [i](const Indices& indices, IndexOf<Real>* to) {
    __builtin_memcpy(to + i, &indices, sizeof(indices));
  };
  const auto first_of = [&](const Indices& low) {
    const Indices inside = low < 0 ? Indices{} : low;
    return inside > last_first ? Indices{} + last_first : inside;
  };
  if (count == 1) {
    const Indices first = first_of(tap[0]);
    store(first, axis->first[pair]);
    for (int order = 0; order < orders; ++order) {
      const Reals factor = Interpolation::Derivative(k, order, t);
      for (int slot = 0; slot < 2; ++slot) {
        Store<kLanes<Real>>(tap[0] == first + slot ? factor : Reals{},
                            axis->factor[pair][order][slot] + i);
      }
    }
    return;
  }
  const Indices low = tap[0] < tap[1] ? tap[0] : tap[1];
  const Indices high = tap[0] < tap[1] ? tap[1] : tap[0];
  const Indices is_parted = (low >= 0) & (high - low > 1);
  // Of a parted pair, tap 0 stays.
  const Indices first = first_of(is_parted ? tap[0] : low < 0 ? high : low);
  const Indices seam_first = first_of(tap[1]);
  const bool any_parted = Any(is_parted);
  store(first, axis->first[pair]);
  if (seam >= 0) store(seam_first, axis->first[seam]);
  if (any_parted) *has_seam = true;
  for (int order = 0; order < orders; ++order) {
    const Reals factors[] = {Interpolation::Derivative(k, order, t),
                             Interpolation::Derivative(k + 1, order, t)};
    for (int slot = 0; slot < 2; ++slot) {
      const Indices at = first + slot;
      Reals sum = tap[0] == at ? factors[0] : Reals{};
      sum += (tap[1] == at) & ~is_parted ? factors[1] : Reals{};
      Store<kLanes<Real>>(sum, axis->factor[pair][order][slot] + i);
      if (seam < 0) continue;
      const Reals parted = is_parted & (tap[1] == seam_first + slot) ? factors[1] : Reals{};
      Store<kLanes<Real>>(parted, axis->factor[seam][order][slot] + i);
    }
  }
}

// Writes the pairs of a vector of points whose taps are all inside the image.
template <typename Interpolation, int kInPair, typename Real>
TF_STN_INLINE void WriteInside(const IndexVector<Real>& index, const RealVector<Real>& t,
                               int orders, int pairs, int i, AxisTaps<Real>* axis) {
  using Reals = RealVector<Real>;
  constexpr int kPlain = Interpolation::kTaps / kInPair;
  for (int pair = 0; pair < pairs; ++pair) {
    // A seam's pair is anywhere; its factors are zero.
    const bool is_seam = pair >= kPlain;
    const int k = is_seam ? 0 : pair * kInPair;
    const IndexVector<Real> first = index + k;
    __builtin_memcpy(axis->first[pair] + i, &first, sizeof(first));
    // Both bounds, since g++ 12 mistakes the first one for more than there is room for.
    for (int order = 0; order < orders && order < kOrders; ++order) {
      for (int slot = 0; slot < 2; ++slot) {
        const bool has_tap = !is_seam && slot < kInPair;
        Store<kLanes<Real>>(has_tap ? Interpolation::Derivative(k + slot, order, t) : Reals{},
                            axis->factor[pair][order][slot] + i);
      }
    }
  }
  for (int order = 0; order < orders && order < kOrders; ++order) {
    __builtin_memset(axis->sticks_out[order] + i, 0, sizeof(index));
  }
}

// Writes the taps of coordinates [0, count), of which there are as many as fill the last
// vector.  Without kPairs every tap has a pair to itself, of which the first pixel alone
// is read.
// REQUIRES: size is at least 2 with kPairs.
template <typename Interpolation, bool kPairs, typename Real>
TF_STN_INLINE void FindAxis(PaddingMode padding, IndexOf<Real> size, const Real* x, int count,
                            int orders, AxisTaps<Real>* axis) {
  using Indices = IndexVector<Real>;
  constexpr int kTaps = Interpolation::kTaps;
  constexpr int kInPair = kPairs && kTaps > 1 ? 2 : 1;
  constexpr int kPlain = kTaps / kInPair;
  // Pixels that are read from the first on: of a pair always both.
  constexpr int kRead = kPairs && kTaps == 1 ? 2 : kTaps;
  const bool can_part = kInPair == 2 && padding == PaddingMode::kWrap && size > 2;
  const IndexOf<Real> last_first = kPairs ? size - 2 : size - 1;
  Real low, high;
  FindLimits(padding, size, &low, &high);
  bool has_seam[AxisTaps<Real>::kMostPairs] = {};
  for (int i = 0; i < count; i += kLanes<Real>) {
    Indices index, tap[kTaps], is_out{};
    RealVector<Real> t;
    Locate<Interpolation, Real>(LoadElements<kLanes<Real>>(x + i), low, high, &index, &t);
    const int pairs = can_part ? 2 * kPlain : kPlain;
    if (!Any((index < 0) | (index > size - kRead))) {
      WriteInside<Interpolation, kInPair, Real>(index, t, orders, pairs, i, axis);
      continue;
    }
    for (int k = 0; k < kTaps; ++k) {
      tap[k] = Resolve<Real>(padding, index + k, size);
      is_out |= tap[k] == kReadsAsZero;
    }
    const bool any_out = Any(is_out);
    for (int order = 0; order < orders; ++order) {
      Indices sticks_out{};
      for (int k = 0; any_out && k < kTaps; ++k) {
        sticks_out |= (tap[k] == kReadsAsZero) & (Interpolation::Derivative(k, order, t) != 0);
      }
      __builtin_memcpy(axis->sticks_out[order] + i, &sticks_out, sizeof(sticks_out));
    }
    for (int pair = 0; pair < kPlain; ++pair) {
      WritePair<Interpolation, Real>(pair * kInPair, kInPair, tap + pair * kInPair, t, last_first,
                                     orders, i, pair, can_part ? kPlain + pair : -1,
                                     &has_seam[pair], axis);
    }
  }
  axis->pairs = can_part ? 2 * kPlain : kPlain;
  for (int pair = 0; pair < axis->pairs; ++pair) {
    axis->is_empty[pair] = pair >= kPlain && !has_seam[pair - kPlain];
  }
}

}  // namespace TF_STN_ISA
}  // namespace tf_stn

#endif  // TF_STN_CC_KERNELS_CPU_AXES_H_
