// The stencil of a point, line by line, for kernels of all modes: all taps of a stencil would be
// too many for registers.
//
// A line is the taps along x at one tap along each other axis.  The taps along x are kept; the
// others are computed anew for each line.

#ifndef TF_STN_CC_KERNELS_GPU_TAP_LINES_H_
#define TF_STN_CC_KERNELS_GPU_TAP_LINES_H_

#include <cstdint>

#include "cc/core/interpolation.h"
#include "cc/core/padding.h"
#include "cc/core/stencil.h"
#include "cc/kernels/gpu/cuda.h"
#include "cc/kernels/gpu/pixels.h"

namespace tf_stn {

// Of pixel k of the line, offset and weights are those of that pixel of the stencil, to the bit.
template <typename Stencil>
class TapLine {
 public:
  using Real = typename Stencil::Real;
  using Index = typename Stencil::Index;
  static constexpr int kRank = Stencil::kRank;
  static constexpr int kTaps = Stencil::kTaps;

  // Returns where the line starts in the image, or kReadsAsZero.
  __device__ Index start() const { return start_; }

  __device__ Index offset(int k) const {
    const Index index = taps_[k].index;
    return start_ == kReadsAsZero || index == kReadsAsZero ? kReadsAsZero : start_ + index;
  }

  __device__ Real weight(int k) const { return Product(k, kNoAxis, kNoAxis); }
  __device__ Real slope(int k, int coordinate) const {
    return Product(k, kRank - 1 - coordinate, kNoAxis);
  }
  __device__ Real curvature(int k, int a, int b) const {
    return Product(k, kRank - 1 - a, kRank - 1 - b);
  }

  // The same, differentiated in a direction of the point; see Weights in cc/core/plain_loops.h.
  __device__ Real directed_weight(int k, const Real* direction) const {
    Real sum = 0;
#pragma unroll
    for (int d = 0; d < kRank; ++d) sum += direction[d] * slope(k, d);
    return sum;
  }
  __device__ Real directed_slope(int k, int coordinate, const Real* direction) const {
    Real sum = 0;
#pragma unroll
    for (int d = 0; d < kRank; ++d) sum += direction[d] * curvature(k, d, coordinate);
    return sum;
  }

 private:
  template <typename>
  friend class TapLines;

  static constexpr int kNoAxis = -1;

  __device__ static Real Factor(const Tap<Real, Index>& tap, int axis, int a, int b) {
    return axis == a && axis == b ? tap.curvature : axis == a || axis == b ? tap.slope : tap.weight;
  }

  __device__ Real Product(int k, int a, int b) const {
    Real product = Factor(taps_[k], kRank - 1, a, b);
#pragma unroll
    for (int d = kRank - 2; d >= 0; --d) product *= Factor(others_[d], d, a, b);
    return product;
  }

  Index start_;
  Tap<Real, Index> taps_[kTaps];        // Along x; their indices are in elements.
  Tap<Real, Index> others_[kRank - 1];  // Along the other axes.
};

// Returns the padded index for one outside the image.  Out of line: paddings take many
// instructions, and few points need them.
template <typename Padding, typename Index>
TF_STN_OUT_OF_LINE __device__ Index ResolveOutside(Padding padding, Index index, Index size) {
  return padding.Resolve(index, size);
}

// Which taps along an axis are merged; see MergeTaps() in cc/core/stencil.h.  There are 4 bits for
// each tap: the number of steps back to the tap that it is merged into.  So it is 0 if none are.
using Merges = uint32_t;

__device__ inline int StepsBack(Merges merges, int k) { return (merges >> (4 * k)) & 15; }

// All taps into the first.
template <int kTaps>
inline constexpr Merges kAllMerged = [] {
  Merges merges = 0;
  for (int k = 1; k < kTaps; ++k) merges |= static_cast<Merges>(k) << (4 * k);
  return merges;
}();

// Returns the derivative of the weight of tap k, of any order and with the taps that are merged
// into it; 0 if it is itself merged into another.  Out of line, since few points have merged taps,
// and few calls an order.
template <typename Interpolation, typename Real>
TF_STN_OUT_OF_LINE __device__ Real AnyDerivative(Merges merges, int k, int order, Real t) {
  if (StepsBack(merges, k) != 0) return 0;
  if (merges == kAllMerged<Interpolation::kTaps>) return SumOfWeights(order, t);
  Real sum = 0;
#pragma unroll 1
  for (int j = k; j < Interpolation::kTaps; ++j) {
    if (StepsBack(merges, j) == j - k) sum += Interpolation::Derivative(j, order, t);
  }
  return sum;
}

// The same for an interpolation of one tap.  Its two arguments need fewer registers.
template <typename Interpolation, typename Real>
TF_STN_OUT_OF_LINE __device__ Real AnyDerivative(int order, Real t) {
  static_assert(Interpolation::kTaps == 1);
  return Interpolation::Derivative(0, order, t);
}

template <typename Stencil>
class TapLines;

template <int Rank, typename Interpolation, typename Padding, typename RealType, typename IndexType,
          typename OrdersType>
class TapLines<Stencil<Rank, Interpolation, Padding, RealType, IndexType, OrdersType>> {
 public:
  using Whole = Stencil<Rank, Interpolation, Padding, RealType, IndexType, OrdersType>;
  using Real = RealType;
  using Index = IndexType;
  static constexpr int kRank = Rank;
  static constexpr int kTaps = Whole::kTaps;

  // `rules` and `extent` must outlive this object.
  __device__ TapLines(const typename Whole::Rules& rules, const Extent<kRank, Index>& extent,
                      const Real* point)
      : rules_(rules), extent_(extent) {
#pragma unroll
    for (int d = 0; d < kRank; ++d) {
      Interpolation::Locate(Bounded<Index>(point[kRank - 1 - d]), &first_[d], &t_[d]);
      merges_[d] = MergesAlong(d);
    }
#pragma unroll
    for (int k = 0; k < kTaps; ++k) line_.taps_[k] = TapOf(kRank - 1, k, extent.channels);
  }

  // As Stencil::Touches(), in less code.
  __device__ static bool Touches(const typename Whole::Rules& rules,
                                 const Extent<kRank, Index>& extent, const Real* point, Index begin,
                                 Index end) {
    Index first;
    Real t;
    Interpolation::Locate(Bounded<Index>(point[kRank - 1]), &first, &t);
#pragma unroll 1
    for (int k = 0; k < kTaps; ++k) {
      const Index slab = Resolved(rules.padding, first + k, extent.size[0]);
      if (begin <= slab && slab < end) return true;
    }
    return false;
  }

  // Calls visit(line) for all lines, in the order of the stencil's pixels.
  template <typename Visit>
  __device__ void ForEach(const Visit& visit) {
    VisitAxis<0>(0, visit);
  }

 private:
  __device__ static Index Resolved(const Padding& padding, Index index, Index size) {
    return 0 <= index && index < size ? index : ResolveOutside(padding, index, size);
  }

  __device__ Index IndexOf(int axis, int k) const {
    return Resolved(rules_.padding, first_[axis] + k, extent_.size[axis]);
  }

  __device__ Merges MergesAlong(int axis) const {
    static_assert(kTaps <= 8);
    Merges merges = 0;
    if (!MayMerge<kTaps, Padding>(first_[axis], extent_.size[axis])) return merges;
#pragma unroll 1
    for (int k = 1; k < kTaps; ++k) {
      const Index index = IndexOf(axis, k);
#pragma unroll 1
      for (int j = 0; j < k; ++j) {
        if (index == kReadsAsZero || IndexOf(axis, j) != index) continue;
        merges |= static_cast<Merges>(k - j) << (4 * k);
        break;
      }
    }
    return merges;
  }

  // Returns a tap of an axis, with its padded index in elements, or kReadsAsZero.
  __device__ Tap<Real, Index> TapOf(int axis, int k, Index stride) const {
    const Merges merges = merges_[axis];
    const int order = rules_.orders.Of(kRank - 1 - axis);
    const Real t = t_[axis];
    Index index = IndexOf(axis, k);
    if (StepsBack(merges, k) != 0) index = kReadsAsZero;
    if (index != kReadsAsZero) index *= stride;
    if (merges == 0 && order == 0) {
      return {index, Interpolation::Derivative(k, 0, t), Interpolation::Derivative(k, 1, t),
              Interpolation::Derivative(k, 2, t)};
    }
    const auto derivative = [&](int more) {
      if constexpr (kTaps == 1) {
        return AnyDerivative<Interpolation>(order + more, t);
      } else {
        return AnyDerivative<Interpolation>(merges, k, order + more, t);
      }
    };
    return {index, derivative(0), derivative(1), derivative(2)};
  }

  template <int kAxis, typename Visit>
  __device__ void VisitAxis(Index start, const Visit& visit) {
    if constexpr (kAxis == kRank - 1) {
      line_.start_ = start;
      visit(line_);
    } else {
      Index stride = extent_.channels;
#pragma unroll
      for (int d = kAxis + 1; d < kRank; ++d) stride *= extent_.size[d];
      // Two lines at a time; more would be too much code.
      [[maybe_unused]] constexpr int kUnrolled = kTaps == 2 && kAxis == kRank - 2 ? 2 : 1;
#pragma unroll kUnrolled
      for (int k = 0; k < kTaps; ++k) {
        line_.others_[kAxis] = TapOf(kAxis, k, stride);
        const Index index = line_.others_[kAxis].index;
        const bool is_outside = start == kReadsAsZero || index == kReadsAsZero;
        VisitAxis<kAxis + 1>(is_outside ? Index{kReadsAsZero} : start + index, visit);
      }
    }
  }

  const typename Whole::Rules& rules_;
  const Extent<kRank, Index>& extent_;
  Index first_[kRank];
  Real t_[kRank];
  Merges merges_[kRank];
  TapLine<Whole> line_;
};

// Loads kWidth channels of the pixels of a line for which is_needed(k) holds, all of them before
// the first is used.  `image` and `fill` point to the first of these channels.  All other pixels,
// and those outside if there is no fill, are zeros.
template <int kWidth, typename Stencil, typename T, typename IsNeeded>
__device__ void LoadLine(const TapLine<Stencil>& line, const T* __restrict__ image,
                         const T* __restrict__ fill, const IsNeeded& is_needed,
                         Channels<T, kWidth>* pixels) {
#pragma unroll
  for (int k = 0; k < Stencil::kTaps; ++k) {
    const auto offset = line.offset(k);
    const T* pixel = offset == kReadsAsZero ? fill : image + offset;
    pixels[k] = Channels<T, kWidth>{};
    if (is_needed(k) && pixel != nullptr) pixels[k] = Load<T, kWidth>(pixel);
  }
}

// Adds the pixels of a line, times weight_of(k), to `sum`.
template <int kWidth, typename Stencil, typename T, typename Weight>
__device__ void AddLine(const TapLine<Stencil>&, const Weight& weight_of,
                        const Channels<T, kWidth>* pixels, typename Stencil::Real* sum) {
  using Real = typename Stencil::Real;
#pragma unroll
  for (int k = 0; k < Stencil::kTaps; ++k) {
    const Real weight = weight_of(k);
    if (weight == Real(0)) continue;
    for (int c = 0; c < kWidth; ++c) sum[c] += weight * static_cast<Real>(pixels[k].values[c]);
  }
}

// Adds the inner products of the pixels of a line with the gradient of a sample to `products`.
template <int kWidth, typename Stencil, typename T>
__device__ void AddProducts(const TapLine<Stencil>& line, bool has_fill,
                            const Channels<T, kWidth>* pixels, const Channels<T, kWidth>& gradient,
                            typename Stencil::Real* products) {
  using Real = typename Stencil::Real;
#pragma unroll
  for (int k = 0; k < Stencil::kTaps; ++k) {
    if (!has_fill && line.offset(k) == kReadsAsZero) continue;
    for (int c = 0; c < kWidth; ++c) {
      products[k] += static_cast<Real>(pixels[k].values[c]) * static_cast<Real>(gradient.values[c]);
    }
  }
}

// Adds the products of a line, times slope_of(k, d), to the gradient of the point.
template <typename Stencil, typename Slope>
__device__ void AddSlopes(const TapLine<Stencil>&, const Slope& slope_of,
                          const typename Stencil::Real* products,
                          typename Stencil::Real* grad_point) {
#pragma unroll
  for (int k = 0; k < Stencil::kTaps; ++k) {
#pragma unroll
    for (int d = 0; d < Stencil::kRank; ++d) {
      const auto slope = slope_of(k, d);
      if (slope != 0) grad_point[d] += slope * products[k];
    }
  }
}

// Adds the gradient of a sample, times weight_of(k), to the gradients of a line's pixels,
// atomically.  `grad_image` points to the first of the channels.
template <int kWidth, typename Stencil, typename T, typename Weight>
__device__ void ScatterLine(const TapLine<Stencil>& line, const Weight& weight_of,
                            const Channels<T, kWidth>& gradient,
                            typename Stencil::Real* grad_image) {
  using Real = typename Stencil::Real;
#pragma unroll
  for (int k = 0; k < Stencil::kTaps; ++k) {
    const Real weight = weight_of(k);
    const auto offset = line.offset(k);
    const bool is_nan_or_zero = !(weight < 0 || weight > 0);
    if (is_nan_or_zero || offset == kReadsAsZero) continue;
    Real parts[kWidth];
    for (int c = 0; c < kWidth; ++c) parts[c] = weight * static_cast<Real>(gradient.values[c]);
    AtomicAdd<kWidth>(grad_image + offset, parts);
  }
}

}  // namespace tf_stn

#endif  // TF_STN_CC_KERNELS_GPU_TAP_LINES_H_
