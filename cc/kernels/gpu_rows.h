// A stencil as a GPU kernel takes it where its taps are too many for registers: row by
// row.  Only the taps along x are kept; the one along each other axis is found anew.

#ifndef TF_STN_CC_KERNELS_GPU_ROWS_H_
#define TF_STN_CC_KERNELS_GPU_ROWS_H_

#include "cc/core/interpolation.h"
#include "cc/core/padding.h"
#include "cc/core/stencil.h"
#include "cc/kernels/cuda.h"
#include "cc/kernels/gpu_launch.h"
#include "cc/kernels/gpu_pixels.h"

namespace tf_stn {

// The taps along x at one tap along each other axis: of pixel `k` of the row, the same
// numbers, to the bit, as of that pixel of the stencil.
template <typename Stencil>
class StencilRow {
 public:
  using Real = typename Stencil::Real;
  using Index = typename Stencil::Index;
  static constexpr int kRank = Stencil::kRank;
  static constexpr int kTaps = Stencil::kTaps;

  // Returns where the row starts in the image, or kReadsAsZero.
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

  // The same in a direction of the point, as DirectedStencil in cc/core/resample.h.
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
  friend class StencilRows;

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

// Returns what a padding makes of an index outside the image: many instructions, and few
// points come here.
template <typename Padding, typename Index>
TF_STN_OUT_OF_LINE __device__ Index ResolveOutside(Padding padding, Index index, Index size) {
  return padding.Resolve(index, size);
}

// Returns the derivative of a weight.  That of an order which is no constant is rare, too.
template <typename Interpolation, typename Real>
TF_STN_OUT_OF_LINE __device__ Real AnyDerivative(int k, int order, Real t) {
  return Interpolation::Derivative(k, order, t);
}

// Returns the derivative of a weight of order `base`, which is 0 as a rule, and `more`, which
// the compiler knows.
template <typename Interpolation, typename Real>
__device__ Real DerivativeFrom(int base, int k, int more, Real t) {
  if (base != 0) return AnyDerivative<Interpolation>(k, base + more, t);
  return Interpolation::Derivative(k, more, t);
}

template <typename Stencil>
class StencilRows;

template <int Rank, typename Interpolation, typename Padding, typename RealType, typename IndexType,
          typename OrdersType>
class StencilRows<Stencil<Rank, Interpolation, Padding, RealType, IndexType, OrdersType>> {
 public:
  using Whole = Stencil<Rank, Interpolation, Padding, RealType, IndexType, OrdersType>;
  using Real = RealType;
  using Index = IndexType;
  using Row = StencilRow<Whole>;
  static constexpr int kRank = Rank;
  static constexpr int kTaps = Whole::kTaps;

  // `rules` and `extent` must live as long as this does.
  __device__ StencilRows(const typename Whole::Rules& rules, const Extent<kRank, Index>& extent,
                         const Real* point)
      : rules_(rules), extent_(extent) {
#pragma unroll
    for (int d = 0; d < kRank; ++d) {
      Interpolation::Locate(Bounded<Index>(point[kRank - 1 - d]), &first_[d], &t_[d]);
    }
#pragma unroll
    for (int k = 0; k < kTaps; ++k) row_.taps_[k] = TapOf(kRank - 1, k, extent.channels);
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
      const Index row = Resolved(rules.padding, first + k, extent.size[0]);
      if (begin <= row && row < end) return true;
    }
    return false;
  }

  // Calls visit(row) for all rows, in the order of the stencil's pixels.
  template <typename Visit>
  __device__ void ForEach(const Visit& visit) {
    VisitAxis<0>(0, visit);
  }

 private:
  __device__ static Index Resolved(const Padding& padding, Index index, Index size) {
    return 0 <= index && index < size ? index : ResolveOutside(padding, index, size);
  }

  // Returns a tap of an axis, with its padded index in elements, or kReadsAsZero.
  __device__ Tap<Real, Index> TapOf(int axis, int k, Index stride) const {
    const Index index = Resolved(rules_.padding, first_[axis] + k, extent_.size[axis]);
    const int order = rules_.orders.Of(kRank - 1 - axis);
    const auto derivative = [&](int more) {
      return DerivativeFrom<Interpolation>(order, k, more, t_[axis]);
    };
    return {index == kReadsAsZero ? Index{kReadsAsZero} : index * stride, derivative(0),
            derivative(1), derivative(2)};
  }

  template <int kAxis, typename Visit>
  __device__ void VisitAxis(Index start, const Visit& visit) {
    if constexpr (kAxis == kRank - 1) {
      row_.start_ = start;
      visit(row_);
    } else {
      Index stride = extent_.channels;
#pragma unroll
      for (int d = kAxis + 1; d < kRank; ++d) stride *= extent_.size[d];
      // Two rows at a time; more would be too much code.
      [[maybe_unused]] constexpr int kUnrolled = kTaps == 2 && kAxis == kRank - 2 ? 2 : 1;
#pragma unroll kUnrolled
      for (int k = 0; k < kTaps; ++k) {
        row_.others_[kAxis] = TapOf(kAxis, k, stride);
        const Index index = row_.others_[kAxis].index;
        const bool is_outside = start == kReadsAsZero || index == kReadsAsZero;
        VisitAxis<kAxis + 1>(is_outside ? Index{kReadsAsZero} : start + index, visit);
      }
    }
  }

  const typename Whole::Rules& rules_;
  const Extent<kRank, Index>& extent_;
  Index first_[kRank];
  Real t_[kRank];
  Row row_;
};

// Reads kWidth channels of the pixels of a row, all of them before the first is used;
// `is_needed(k)` says of which.  `image` and `fill` begin at the first channel.  The others,
// and those outside if there is no fill, are zeros.
template <int kWidth, typename Stencil, typename T, typename IsNeeded>
__device__ void LoadRow(const StencilRow<Stencil>& row, const T* __restrict__ image,
                        const T* __restrict__ fill, const IsNeeded& is_needed,
                        Channels<T, kWidth>* pixels) {
#pragma unroll
  for (int k = 0; k < Stencil::kTaps; ++k) {
    const auto offset = row.offset(k);
    const T* pixel = offset == kReadsAsZero ? fill : image + offset;
    pixels[k] = Channels<T, kWidth>{};
    if (is_needed(k) && pixel != nullptr) pixels[k] = Load<T, kWidth>(pixel);
  }
}

// Adds the pixels of a row times weight_of(k).
template <int kWidth, typename Stencil, typename T, typename Weight>
__device__ void AddRow(const StencilRow<Stencil>&, const Weight& weight_of,
                       const Channels<T, kWidth>* pixels, typename Stencil::Real* sum) {
  using Real = typename Stencil::Real;
#pragma unroll
  for (int k = 0; k < Stencil::kTaps; ++k) {
    const Real weight = weight_of(k);
    if (weight == Real(0)) continue;
    for (int c = 0; c < kWidth; ++c) sum[c] += weight * static_cast<Real>(pixels[k].values[c]);
  }
}

// Adds the inner products of the pixels of a row with the gradient of a sample.
template <int kWidth, typename Stencil, typename T>
__device__ void AddProducts(const StencilRow<Stencil>& row, bool has_fill,
                            const Channels<T, kWidth>* pixels, const Channels<T, kWidth>& gradient,
                            typename Stencil::Real* products) {
  using Real = typename Stencil::Real;
#pragma unroll
  for (int k = 0; k < Stencil::kTaps; ++k) {
    if (!has_fill && row.offset(k) == kReadsAsZero) continue;
    for (int c = 0; c < kWidth; ++c) {
      products[k] += static_cast<Real>(pixels[k].values[c]) * static_cast<Real>(gradient.values[c]);
    }
  }
}

// Adds the products of a row times slope_of(k, d) to the gradient of a point.
template <typename Stencil, typename Slope>
__device__ void AddSlopes(const StencilRow<Stencil>&, const Slope& slope_of,
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

// Adds the gradient of a sample times weight_of(k) to the gradients of a row's pixels, as
// other threads may at the same time.  `grad_image` begins at the first channel.
template <int kWidth, typename Stencil, typename T, typename Weight>
__device__ void ScatterRow(const StencilRow<Stencil>& row, const Weight& weight_of,
                           const Channels<T, kWidth>& gradient,
                           typename Stencil::Real* grad_image) {
  using Real = typename Stencil::Real;
#pragma unroll
  for (int k = 0; k < Stencil::kTaps; ++k) {
    const Real weight = weight_of(k);
    const auto offset = row.offset(k);
    const bool is_nan_or_zero = !(weight < 0 || weight > 0);
    if (is_nan_or_zero || offset == kReadsAsZero) continue;
    Real parts[kWidth];
    for (int c = 0; c < kWidth; ++c) parts[c] = weight * static_cast<Real>(gradient.values[c]);
    AtomicAdd<kWidth>(grad_image + offset, parts);
  }
}

// Sums the parts of a point's gradient that `lanes` neighbouring threads have; the first of
// them has the result.  All threads of a warp must call it.
template <int kRank, typename Real>
__device__ void SumOverLanes(int lanes, Real* grad_point) {
#pragma unroll
  for (int d = 0; d < kRank; ++d) {
#pragma unroll 1
    for (int delta = lanes / 2; delta > 0; delta /= 2) {
      grad_point[d] += __shfl_down_sync(kWholeWarp, grad_point[d], delta, lanes);
    }
  }
}

}  // namespace tf_stn

#endif  // TF_STN_CC_KERNELS_GPU_ROWS_H_
