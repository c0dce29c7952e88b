// How kernels are launched: the size of blocks and grids, and which instance of a kernel runs, by
// stencil, type of indices and the number of channels that one access moves.

#ifndef TF_STN_CC_KERNELS_GPU_LAUNCH_H_
#define TF_STN_CC_KERNELS_GPU_LAUNCH_H_

#include <cstdint>
#include <type_traits>

#include "cc/core/call.h"
#include "cc/core/interpolation.h"
#include "cc/core/modes.h"
#include "cc/core/padding.h"
#include "cc/core/pixel_types.h"
#include "cc/core/stencil.h"
#include "cc/kernels/gpu/cuda.h"
#include "cc/kernels/gpu/pixels.h"

namespace tf_stn {

inline constexpr int kThreads = 256;
inline constexpr int kWarpSize = 32;
inline constexpr unsigned int kWholeWarp = 0xffffffffu;

// Blocks that a multiprocessor, which has 65,536 registers, must be able to run at once.  Four of
// them leave 64 registers for a thread.
inline constexpr int kBlocks = 4;

// The same for gradients of bilinear interpolation.  A kernel that keeps further sums in registers
// has 80 of them, or 128 where numbers or indices have 64 bits, an access moves eight channels, or
// there are more sums than of an affine matrix; and as many as a thread can have where two of these
// hold.
template <typename Stencil, int kWidth, int kSums>
inline constexpr int kGradientBlocks = [] {
  constexpr bool kIsLong = sizeof(typename Stencil::Index) == 8;
  constexpr bool kIsWide = sizeof(typename Stencil::Real) == 8 || kWidth == 8;
  constexpr bool kHasMany = kSums > 6;
  if (kHasMany) return kIsLong || kIsWide ? 1 : 2;
  return kIsLong || (kIsWide && kSums > 0) ? 2 : kIsWide || kSums > 0 ? 3 : 4;
}();

// The same for gradients of all modes: 128 registers, or as many as a thread can have where numbers
// of 64 bits need them.
template <typename Stencil, bool kSecondOrder>
inline constexpr int kGeneralBlocks =
    sizeof(typename Stencil::Real) == 8 && (Stencil::kTaps > 2 || kSecondOrder) ? 1 : 2;

// Kernels loop when there is more work than for this many blocks, and compute in 32-bit integers
// when no count exceeds the limit.  Tests compile with small numbers.
#if !defined(TF_STN_MOST_BLOCKS)
#define TF_STN_MOST_BLOCKS (1 << 16)
#define TF_STN_INT32_LIMIT (1 << 29)
#endif
inline constexpr int64_t kMostBlocks = TF_STN_MOST_BLOCKS;
inline constexpr int64_t kInt32Limit = TF_STN_INT32_LIMIT;

// Returns a / b, rounded up.
inline int64_t CeilDivide(int64_t a, int64_t b) { return (a + b - 1) / b; }

inline unsigned int Blocks(int64_t items, int64_t items_per_block) {
  const int64_t blocks = CeilDivide(items, items_per_block);
  return static_cast<unsigned int>(blocks < kMostBlocks ? blocks : kMostBlocks);
}

// Returns how many neighbouring threads share the channels of a point.  There are at least four
// channels for each, or as many as one access moves.
template <typename T>
int Lanes(int64_t channels) {
  constexpr int64_t kAlone = kWidest<T> < 4 ? 4 : kWidest<T>;
  int lanes = 1;
  while (lanes < kWarpSize && lanes * kAlone < channels) lanes *= 2;
  return lanes;
}

// Whether there are samples.  Without, gradients are zeros, and no kernel needs to run.
template <typename Points, typename T>
bool HasSamples(const Call<Points, T>& call) {
  return call.sizes.points() > 0 && call.sizes.image.channels > 0;
}

template <typename Index, int Rank>
Extent<Rank, Index> To(const Extent<Rank>& extent) {
  Extent<Rank, Index> result{};
  for (int d = 0; d < Rank; ++d) result.size[d] = static_cast<Index>(extent.size[d]);
  result.channels = static_cast<Index>(extent.channels);
  return result;
}

// The images of a call and the rules by which they are read.
//
// Kernels do not take the call itself: the compiler leaves a parameter of more than 128 bytes in
// memory and loads its members again and again.
template <typename Stencil, typename T>
struct Images {
  template <typename Points>
  Images(const typename Stencil::Rules& rules, const Call<Points, T>& call)
      : rules(rules), extent(call.sizes.image), data(call.data), fill(call.fill) {}

  typename Stencil::Rules rules;
  Extent<Stencil::kRank> extent;
  const T* data;
  const T* fill;
};

// The same call with another source of its points.
template <typename Points, typename T, typename Other>
Call<Other, T> WithPoints(const Call<Points, T>& call, const Other& points) {
  return {call.modes, call.sizes, call.data, call.fill, points};
}

template <typename Points, typename T, typename Other>
SampleCall<Other, T> WithPoints(const SampleCall<Points, T>& call, const Other& points) {
  const Call<Points, T>& base = call;
  return {WithPoints(base, points), call.output};
}

template <typename Points, typename T, typename Other>
GradientCall<Other, T> WithPoints(const GradientCall<Points, T>& call, const Other& points) {
  const Call<Points, T>& base = call;
  return {WithPoints(base, points), call.grad_output, call.grad_data, call.grad_points};
}

// Calls visit(points) with a source of a known kind, and returns the result.
template <typename Points, typename Visit>
auto VisitKindOf(const Points& points, const Visit& visit) {
  return visit(points);
}

template <int Rank, typename Real, typename Visit>
auto VisitKindOf(const WarpPoints<Rank, Real>& points, const Visit& visit) {
  if (points.are_displacements) return visit(points.template Of<WarpKind::kDisplacements>());
  return visit(points.template Of<WarpKind::kPoints>());
}

template <int Rank, typename Real, typename Visit>
auto VisitKindOf(const MatrixPoints<Rank, Real>& points, const Visit& visit) {
  if (points.is_projective()) return visit(points.template Of<MatrixKind::kProjective>());
  return visit(points.template Of<MatrixKind::kAffine>());
}

// Calls visit(call) with points of a known kind, for kernels that have no registers for all kinds,
// and returns the result.
template <typename CallType, typename Visit>
auto VisitKind(const CallType& call, const Visit& visit) {
  return VisitKindOf(call.points,
                     [&](const auto& points) { return visit(WithPoints(call, points)); });
}

// Whether int32_t can hold every index and every number of elements, and one step of a loop beyond.
template <typename Points, typename T>
bool FitsInt32(const Call<Points, T>& call) {
  const auto& sizes = call.sizes;
  return sizes.elements() <= kInt32Limit &&
         call.points.stored * call.points.parameters_per_item() <= kInt32Limit &&
         sizes.points() * Points::kRank <= kInt32Limit &&
         sizes.points() * sizes.image.channels <= kInt32Limit;
}

// Whether all of these begin at a multiple of `bytes`.
template <typename... Pointers>
bool AreAligned(int bytes, Pointers... pointers) {
  return ((reinterpret_cast<uintptr_t>(pointers) % static_cast<uintptr_t>(bytes) == 0) && ...);
}

// Calls visit(std::integral_constant<int, width>) with the first of the widths that divides the
// channels and for which all pointers are aligned, and returns the result.
//
// REQUIRES: the last width is 1.
template <typename T, int kWidth, int... kNarrower, typename Visit, typename... Pointers>
const char* VisitWidth(int64_t channels, const Visit& visit, Pointers... pointers) {
  const bool is_possible =
      channels % kWidth == 0 && AreAligned(kAccessBytes<T, kWidth>, pointers...);
  if (is_possible) return visit(std::integral_constant<int, kWidth>());
  if constexpr (sizeof...(kNarrower) > 0) {
    return VisitWidth<T, kNarrower...>(channels, visit, pointers...);
  }
  return nullptr;
}

// Whether the kernels of bilinear interpolation with zeros outside can be used: most networks are
// trained with it, and they are faster than those of all modes.
template <typename Points, typename T>
bool IsBilinear(const Call<Points, T>& call) {
  return Points::kRank == 2 && call.modes.is_linear_with_zeros() && call.fill == nullptr;
}

// The stencil of these kernels, for pixels of type T.
template <typename T, typename Index>
using Bilinear = Stencil<2, Linear, Zeros, Coordinate<T>, Index>;

// Calls visit(TypeTag<Bilinear>) with the type of indices that the call needs, and returns the
// result.
template <typename Points, typename T, typename Visit>
const char* VisitBilinear(const Call<Points, T>& call, const Visit& visit) {
  return FitsInt32(call) ? visit(TypeTag<Bilinear<T, int32_t>>())
                         : visit(TypeTag<Bilinear<T, int64_t>>());
}

// Calls visit(TypeTag<Bilinear>, width), also with the number of channels of an access that the
// number of channels and the pointers allow, and returns the result.
//
// Each pair is one more instance of a kernel, for every type and architecture.  Therefore indices
// of 64 bits have the extremes only.
template <typename Points, typename T, typename Visit, typename... Pointers>
const char* VisitBilinearAndWidth(const Call<Points, T>& call, const Visit& visit,
                                  Pointers... pointers) {
  constexpr int kMost = kWidest<T>;
  return VisitBilinear(call, [&](auto tag) {
    const auto visit_width = [&](auto width) { return visit(tag, width); };
    const int64_t channels = call.sizes.image.channels;
    if constexpr (sizeof(typename decltype(tag)::type::Index) == 8) {
      return VisitWidth<T, kMost, 1>(channels, visit_width, pointers...);
    } else {
      // Where the widest access moves fewer than four channels, it is tried twice.
      return VisitWidth<T, kMost, (kMost < 4 ? kMost : 4), 2, 3, 1>(channels, visit_width,
                                                                    pointers...);
    }
  });
}

// Calls visit(TypeTag<Stencil>, rules) for the stencil of the call's modes, with indices of 64
// bits, and returns the result.
template <typename Points, typename T, typename Visit>
const char* VisitGeneral(const Call<Points, T>& call, const Visit& visit) {
  const char* error = nullptr;
  VisitStencil<Points::kRank, Coordinate<T>>(
      call.modes, [&](auto tag, const auto& rules) { error = visit(tag, rules); });
  return error;
}

// Expands TF_STN_INSTANTIATE(Points, T) for a type of pixels T and all sources of points; a visitor
// for TF_STN_FOR_EACH_PIXEL_TYPE.  The macro must be variadic, since the name of a source has
// commas.
#define TF_STN_INSTANTIATE_SOURCE(Source, Rank, T) \
  TF_STN_INSTANTIATE(Source<Rank, Coordinate<T>>, T)
#define TF_STN_INSTANTIATE_FOR_PIXEL(T, ...)              \
  TF_STN_FOR_EACH_SOURCE(TF_STN_INSTANTIATE_SOURCE, 2, T) \
  TF_STN_FOR_EACH_SOURCE(TF_STN_INSTANTIATE_SOURCE, 3, T)

}  // namespace tf_stn

#endif  // TF_STN_CC_KERNELS_GPU_LAUNCH_H_
