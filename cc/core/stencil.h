// The pixels that one sample point reads: the tensor product of its taps along each axis.
//
//   value            =  sum_k  weight(k)    * pixel(offset(k))
//   d value / d x_d  =  sum_k  slope(k, d)  * pixel(offset(k))
//   d value / d data =         weight(k)    at offset(k)
//
// A stencil may itself be one of derivatives, of some order along each axis: then these are the
// weights, and all else is as above.  So the family is closed under differentiation.
//
// A pixel outside the image is a zero that takes part in these sums, so that a NaN coordinate,
// whose weights and slopes are NaN, shows in all of them.

#ifndef TF_STN_CC_CORE_STENCIL_H_
#define TF_STN_CC_CORE_STENCIL_H_

#include <cstdint>
#include <type_traits>

#include "cc/core/interpolation.h"
#include "cc/core/padding.h"
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

// Shape of one image, channels last; size[0] is the slowest axis.
template <int Rank, typename Index = int64_t>
struct Extent {
  Index size[Rank];
  Index channels;

  // Elements of a slab, one step along axis 0: a row of an image, a slice of a volume.
  TF_STN_HD Index slab_elements() const {
    Index product = channels;
    for (int d = 1; d < Rank; ++d) product *= size[d];
    return product;
  }

  TF_STN_HD Index elements() const { return size[0] * slab_elements(); }
};

// Orders of the derivative along each coordinate, x first: none, or known when running.
struct NoOrders {
  TF_STN_HD static constexpr int Of(int) { return 0; }
};

template <int Rank>
struct Orders {
  int of[Rank];

  TF_STN_HD int Of(int coordinate) const { return of[coordinate]; }
};

// Returns the derivative, of this order, of the sum of all weights.
template <typename Real>
TF_STN_HD inline Real SumOfWeights(int order, Real t) {
  return Constant(ScalarType<Real>(order == 0), t);
}

// Merges taps that the padding has brought onto one pixel into the first of them, so that an
// infinite pixel has the weight and the slope that it really has, which may be zero.  Where all
// taps are on one pixel, that is the sum of all weights, without rounding.
template <int kTaps, typename Real, typename Index>
TF_STN_HD inline void MergeTaps(int order, Real t, Tap<Real, Index>* taps) {
  int merged = 0;
  for (int k = 1; k < kTaps; ++k) {
    for (int j = 0; j < k; ++j) {
      if (taps[k].index == kReadsAsZero || taps[j].index != taps[k].index) continue;
      taps[j].weight += taps[k].weight;
      taps[j].slope += taps[k].slope;
      taps[j].curvature += taps[k].curvature;
      taps[k] = {kReadsAsZero, 0, 0, 0};
      ++merged;
    }
  }
  if (merged < kTaps - 1) return;
  taps[0].weight = SumOfWeights(order, t);
  taps[0].slope = SumOfWeights(order + 1, t);
  taps[0].curvature = SumOfWeights(order + 2, t);
}

// Whether the padding may bring some of the taps from index `first` on onto one pixel.
template <int kTaps, typename Padding, typename Index>
TF_STN_HD inline bool MayMerge(Index first, Index size) {
  constexpr bool kIsPossible = kTaps > 1 && !std::is_same_v<Padding, Zeros>;
  return kIsPossible && (first < 0 || first > size - kTaps);
}

// Writes the taps of a coordinate along an axis of `size` pixels: their derivatives of this order
// as weights, of the next one as slopes, and of the one after that as curvatures.  Their indices
// are resolved by the padding, and those on one pixel merged.
template <typename Interpolation, typename Padding, typename Real, typename Index>
TF_STN_HD inline void FindTaps(const Padding& padding, Real x, Index size, int order,
                               Tap<Real, Index>* taps) {
  constexpr int kTaps = Interpolation::kTaps;
  Index first;
  Real t;
  Interpolation::Locate(Bounded<Index>(x), &first, &t);
  for (int k = 0; k < kTaps; ++k) {
    taps[k] = {padding.Resolve(first + k, size), Interpolation::Derivative(k, order, t),
               Interpolation::Derivative(k, order + 1, t),
               Interpolation::Derivative(k, order + 2, t)};
  }
  if (MayMerge<kTaps, Padding>(first, size)) MergeTaps<kTaps>(order, t, taps);
}

template <int Rank, typename Interpolation, typename Padding, typename RealType,
          typename IndexType = int64_t, typename OrdersType = NoOrders>
class Stencil {
 public:
  using Real = RealType;
  using Index = IndexType;
  static constexpr int kRank = Rank;
  static constexpr int kTaps = Interpolation::kTaps;

  // Number of pixels read: kTaps to the power of the rank.
  TF_STN_HD static constexpr int Count() {
    int count = 1;
    for (int d = 0; d < kRank; ++d) count *= kTaps;
    return count;
  }
  static constexpr int kCount = Count();

  // What is the same for all points.
  struct Rules {
    Padding padding;
    OrdersType orders;
  };

  // `point` is (x, y[, z]) in pixels: x runs along the last spatial axis.
  TF_STN_HD Stencil(const Rules& rules, const Extent<kRank, Index>& extent, const Real* point) {
    Index stride = extent.channels;
    for (int d = kRank - 1; d >= 0; --d) {
      const int coordinate = kRank - 1 - d;
      Tap<Real, Index>* taps = taps_[d];
      FindTaps<Interpolation>(rules.padding, point[coordinate], extent.size[d],
                              rules.orders.Of(coordinate), taps);
      for (int k = 0; k < kTaps; ++k) {
        if (taps[k].index != kReadsAsZero) taps[k].index *= stride;
      }
      stride *= extent.size[d];
    }
  }

  // Returns where pixel `k` starts in the image, or kReadsAsZero.
  TF_STN_HD Index offset(int k) const {
    Index sum = 0;
    for (int d = kRank - 1; d >= 0; --d, k /= kTaps) {
      const Index index = taps_[d][k % kTaps].index;
      if (index == kReadsAsZero) return kReadsAsZero;
      sum += index;
    }
    return sum;
  }

  TF_STN_HD Real weight(int k) const { return Product(k, kNoAxis, kNoAxis); }

  // Returns d weight(k) / d point[coordinate].
  TF_STN_HD Real slope(int k, int coordinate) const {
    return Product(k, kRank - 1 - coordinate, kNoAxis);
  }

  // Returns d^2 weight(k) / d point[a] d point[b].
  TF_STN_HD Real curvature(int k, int a, int b) const {
    return Product(k, kRank - 1 - a, kRank - 1 - b);
  }

  // Whether the stencil of `point` may read a slab in [begin, end).  Cheaper than to construct the
  // stencil.
  TF_STN_HD static bool Touches(const Rules& rules, const Extent<kRank, Index>& extent,
                                const Real* point, Index begin, Index end) {
    Index first;
    Real t;
    Interpolation::Locate(Bounded<Index>(point[kRank - 1]), &first, &t);
    for (int k = 0; k < kTaps; ++k) {
      const Index slab = rules.padding.Resolve(first + k, extent.size[0]);
      if (begin <= slab && slab < end) return true;
    }
    return false;
  }

 private:
  static constexpr int kNoAxis = -1;

  // The product over all axes, differentiated along two of them, which may be the same.
  TF_STN_HD Real Product(int k, int a, int b) const {
    Real product = 1;
    for (int d = kRank - 1; d >= 0; --d, k /= kTaps) {
      const Tap<Real, Index>& tap = taps_[d][k % kTaps];
      product *= d == a && d == b ? tap.curvature : d == a || d == b ? tap.slope : tap.weight;
    }
    return product;
  }

  // Taps of each axis; their indices are in elements.
  Tap<Real, Index> taps_[kRank][kTaps];
};

}  // namespace tf_stn

#endif  // TF_STN_CC_CORE_STENCIL_H_
