// The taps of a block of points along one axis, for every interpolation and padding: as pairs of
// neighbouring pixels, so that loops over pixels read 2x2 of them without checks.
//
// FindTaps() of cc/core/stencil.h is the reference.

#ifndef TF_STN_CC_KERNELS_CPU_SIMD_AXES_H_
#define TF_STN_CC_KERNELS_CPU_SIMD_AXES_H_

#include <cstdint>

#include "cc/core/interpolation.h"
#include "cc/core/modes.h"
#include "cc/core/padding.h"
#include "cc/kernels/cpu/simd/points.h"
#include "cc/kernels/cpu/simd/vectors.h"

namespace tf_stn {
namespace TF_STN_ISA {

// Orders of derivative that there may be factors of: weight, slope and curvature.
inline constexpr int kOrders = 3;

// A pair is two neighbouring pixels of the axis, `first` and `first` + 1, each with a factor for
// every point and order of derivative.  Taps on one pixel share its factor; a tap outside the image
// has none.  Arrays are filled to a multiple of the vector's lanes.
template <typename Real>
struct alignas(64) AxisTaps {
  using Index = IndexOf<Real>;
  // As many as it takes for all taps, and as many again for taps that the image's seam parts.
  static constexpr int kMostPairs = kMostTaps > 1 ? 2 * ((kMostTaps + 1) / 2) : 1;
  // Without pairs, every tap takes the place of one.
  static constexpr int kMostPlaces = kMostPairs > kMostTaps ? kMostPairs : kMostTaps;

  int pairs;
  Index first[kMostPlaces][kBlockPoints];
  Real factor[kMostPlaces][kOrders][2][kBlockPoints];
  // -1 if a tap outside the image has a factor, else 0; and the sum of these factors.
  Index sticks_out[kOrders][kBlockPoints];
  Real outside[kOrders][kBlockPoints];
};

// The taps of a vector of points, with their indices resolved.
template <typename Interpolation, typename Real>
struct VectorTaps {
  using Reals = RealVector<Real>;
  using Indices = IndexVector<Real>;
  static constexpr int kTaps = Interpolation::kTaps;

  Indices index[kTaps];
  Reals factor[kOrders][kTaps];

  // Gives the factors of taps on one pixel to the first of them, as MergeTaps() in
  // cc/core/stencil.h. `base` is the order of the first factors.
  TF_STN_INLINE void Merge(int base, int orders, const Reals& t) {
    Indices all_same = index[0] != kReadsAsZero;
    for (int k = 1; k < kTaps; ++k) {
      for (int j = 0; j < k; ++j) {
        const Indices is_same = (index[j] == index[k]) & (index[k] != kReadsAsZero);
        if (j == 0) all_same &= is_same;
        if (!Any(is_same)) continue;
        for (int order = 0; order < orders && order < kOrders; ++order) {
          factor[order][j] += Select(is_same, factor[order][k], Reals{});
          factor[order][k] = Select(is_same, Reals{}, factor[order][k]);
        }
      }
    }
    if (kTaps == 1 || !Any(all_same)) return;
    for (int order = 0; order < orders && order < kOrders; ++order) {
      factor[order][0] = Select(all_same, SumOfWeights(base + order, t), factor[order][0]);
    }
  }
};

// Finds the pairs along one axis.  Without kPairs every tap has a place to itself, of which the
// first pixel alone is read.
template <typename Interpolation, bool kPairs, typename Real>
class AxisFinder {
 public:
  using Reals = RealVector<Real>;
  using Indices = IndexVector<Real>;
  using Index = IndexOf<Real>;

  // `base` is the order of derivative of the weights.  Along an axis of `size` pixels.
  // REQUIRES: size is at least 2 with kPairs, and orders at most kOrders.
  TF_STN_INLINE AxisFinder(PaddingMode padding, Index size, int base, int orders,
                           AxisTaps<Real>* axis)
      : padding_{padding}, size_(size), base_(base), orders_(orders), axis_(axis) {}

  // Writes the taps of coordinates [0, count), which are repeated to fill the last vector.
  TF_STN_INLINE void Find(const Real* x, int count) {
    Real low, high;
    FindLimits(&low, &high);
    axis_->pairs = kPlain;
    for (int i = 0; i < count; i += kLanes<Real>) {
      const Reals coordinate = LoadElements<kLanes<Real>>(x + i);
      Reals bounded = Select(coordinate < low, Reals{} + low, coordinate);
      bounded = Select(bounded > high, Reals{} + high, bounded);
      Indices index;
      Reals t;
      Interpolation::Locate(bounded, &index, &t);
      if (Any((index < 0) | (index > size_ - kRead))) {
        WriteAnywhere(index, t, i);
      } else {
        WriteInside(index, t, i);
      }
    }
  }

 private:
  static constexpr int kTaps = Interpolation::kTaps;
  static constexpr int kInPair = kPairs && kTaps > 1 ? 2 : 1;
  static constexpr int kPlain = (kTaps + kInPair - 1) / kInPair;
  // Pixels that are read from the first on: of a pair always both.
  static constexpr int kRead = kPairs ? 2 * ((kTaps + 1) / 2) : kTaps;

  // Beyond these limits coordinates make no difference, and would be no index.
  TF_STN_INLINE void FindLimits(Real* low, Real* high) const {
    const bool repeats = Repeats(padding_.mode);
    const Real far = static_cast<Real>(sizeof(Real) == 8 ? int64_t{1} << 60 : (1 << 30) + 1024);
    // A large size is rounded as a Real, though never to less than itself.
    *high = repeats ? far : static_cast<Real>(size_ + kTaps + (size_ >> 20));
    *low = repeats ? -far : static_cast<Real>(-1 - kTaps);
  }

  TF_STN_INLINE void StoreIndices(const Indices& indices, int i, Index* to) const {
    __builtin_memcpy(to + i, &indices, sizeof(indices));
  }

  // Writes the pairs of a vector of points whose taps are all inside the image.
  TF_STN_INLINE void WriteInside(const Indices& index, const Reals& t, int i) {
    for (int pair = 0; pair < kPlain; ++pair) {
      const int k = pair * kInPair;
      StoreIndices(index + k, i, axis_->first[pair]);
      // Both bounds, since g++ 12 mistakes the first one for more than there is room for.
      for (int order = 0; order < orders_ && order < kOrders; ++order) {
        for (int slot = 0; slot < 2; ++slot) {
          const bool has_tap = slot < kInPair && k + slot < kTaps;
          Store<kLanes<Real>>(
              has_tap ? Interpolation::Derivative(k + slot, base_ + order, t) : Reals{},
              axis_->factor[pair][order][slot] + i);
        }
      }
    }
    for (int order = 0; order < orders_ && order < kOrders; ++order) {
      StoreIndices(Indices{}, i, axis_->sticks_out[order]);
      Store<kLanes<Real>>(Reals{}, axis_->outside[order] + i);
    }
  }

  TF_STN_INLINE void WriteAnywhere(const Indices& index, const Reals& t, int i) {
    VectorTaps<Interpolation, Real> taps;
    for (int k = 0; k < kTaps; ++k) {
      taps.index[k] = padding_.Resolve(Indices(index + k), size_);
      for (int order = 0; order < orders_ && order < kOrders; ++order) {
        taps.factor[order][k] = Interpolation::Derivative(k, base_ + order, t);
      }
    }
    taps.Merge(base_, orders_, t);
    for (int order = 0; order < orders_ && order < kOrders; ++order) {
      Indices sticks_out{};
      Reals outside{};
      for (int k = 0; k < kTaps; ++k) {
        const Indices is_out = taps.index[k] == kReadsAsZero;
        sticks_out |= is_out & (taps.factor[order][k] != 0);
        outside += Select(is_out, taps.factor[order][k], Reals{});
      }
      StoreIndices(sticks_out, i, axis_->sticks_out[order]);
      Store<kLanes<Real>>(outside, axis_->outside[order] + i);
    }
    for (int pair = 0; pair < kPlain; ++pair) {
      if (kInPair == 2 && pair * 2 + 1 < kTaps) {
        WriteTwo(taps, pair, i);
      } else {
        WriteOne(taps, pair, i);
      }
    }
  }

  // Returns the first pixel of the pair that has `low`, or of any where there is none.
  TF_STN_INLINE Indices FirstOf(const Indices& low) const {
    const Index last = kPairs ? size_ - 2 : size_ - 1;
    const Indices inside = Select(low < 0, Indices{}, low);
    return Select(inside > last, Indices{} + last, inside);
  }

  TF_STN_INLINE void WriteOne(const VectorTaps<Interpolation, Real>& taps, int pair, int i) {
    const int k = pair * kInPair;
    const Indices first = FirstOf(taps.index[k]);
    StoreIndices(first, i, axis_->first[pair]);
    for (int order = 0; order < orders_ && order < kOrders; ++order) {
      for (int slot = 0; slot < 2; ++slot) {
        Store<kLanes<Real>>(Select(taps.index[k] == first + slot, taps.factor[order][k], Reals{}),
                            axis_->factor[pair][order][slot] + i);
      }
    }
  }

  // Writes a pair of taps whose pixels are next to each other.  Where the image's seam parts them,
  // the second tap goes to a pair of its own.
  TF_STN_INLINE void WriteTwo(const VectorTaps<Interpolation, Real>& taps, int pair, int i) {
    const Indices* const tap = taps.index + 2 * pair;
    const Indices low = Select(tap[0] < tap[1], tap[0], tap[1]);
    const Indices high = Select(tap[0] < tap[1], tap[1], tap[0]);
    const Indices is_parted = (low >= 0) & (high - low > 1);
    const Indices first = FirstOf(Select(is_parted, tap[0], Select(low < 0, high, low)));
    StoreIndices(first, i, axis_->first[pair]);
    for (int order = 0; order < orders_ && order < kOrders; ++order) {
      const Reals* const factor = taps.factor[order] + 2 * pair;
      for (int slot = 0; slot < 2; ++slot) {
        Reals sum = Select(tap[0] == first + slot, factor[0], Reals{});
        sum += Select((tap[1] == first + slot) & ~is_parted, factor[1], Reals{});
        Store<kLanes<Real>>(sum, axis_->factor[pair][order][slot] + i);
      }
    }
    if (Any(is_parted)) WriteSeam(taps, pair, is_parted, i);
  }

  // Not inlined: it is rare.
  __attribute__((noinline)) void WriteSeam(const VectorTaps<Interpolation, Real>& taps, int pair,
                                           const Indices& is_parted, int i) {
    if (axis_->pairs == kPlain) {
      axis_->pairs = 2 * kPlain;
      for (int seam = kPlain; seam < 2 * kPlain; ++seam) {
        __builtin_memset(axis_->first[seam], 0, sizeof(axis_->first[seam]));
        __builtin_memset(axis_->factor[seam], 0, sizeof(axis_->factor[seam]));
      }
    }
    const Indices& tap = taps.index[2 * pair + 1];
    const Indices first = FirstOf(tap);
    StoreIndices(first, i, axis_->first[kPlain + pair]);
    for (int order = 0; order < orders_ && order < kOrders; ++order) {
      for (int slot = 0; slot < 2; ++slot) {
        Store<kLanes<Real>>(
            Select(is_parted & (tap == first + slot), taps.factor[order][2 * pair + 1], Reals{}),
            axis_->factor[kPlain + pair][order][slot] + i);
      }
    }
  }

  const AnyPadding padding_;
  const Index size_;
  const int base_, orders_;
  AxisTaps<Real>* const axis_;
};

}  // namespace TF_STN_ISA
}  // namespace tf_stn

#endif  // TF_STN_CC_KERNELS_CPU_SIMD_AXES_H_
