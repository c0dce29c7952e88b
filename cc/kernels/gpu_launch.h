// How GPU kernels are launched: the size of blocks and grids, and the choice of an
// instance by stencil, index type and the channels that one access moves.

#ifndef TF_STN_CC_KERNELS_GPU_LAUNCH_H_
#define TF_STN_CC_KERNELS_GPU_LAUNCH_H_

#include <cstdint>
#include <type_traits>

#include "cc/core/coordinates.h"
#include "cc/core/interpolation.h"
#include "cc/core/modes.h"
#include "cc/core/padding.h"
#include "cc/core/stencil.h"
#include "cc/kernels/cuda.h"
#include "cc/kernels/gpu_pixels.h"
#include "cc/kernels/resampler.h"

namespace tf_stn {

inline constexpr int kThreads = 256;
inline constexpr int kBlocks = 4;  // On a multiprocessor at once: at most 64 registers a thread.
inline constexpr int kWarpSize = 32;
inline constexpr unsigned int kWholeWarp = 0xffffffffu;

// The same for a kernel that keeps `more` than others in registers: 80 of them, or 128
// where numbers or indices are of 64 bits or channels come by the eight.
template <typename Stencil, int kWidth, bool kMore>
inline constexpr int kGradientBlocks = [] {
  constexpr bool kIsLong = sizeof(typename Stencil::Index) == 8;
  constexpr bool kIsWide = sizeof(typename Stencil::Real) == 8 || kWidth == 8;
  return kIsLong || (kIsWide && kMore) ? 2 : kIsWide || kMore ? 3 : 4;
}();

// The same for a kernel that takes any modes: 128 registers, or as many as there are for
// numbers of 64 bits.
template <typename Stencil>
inline constexpr int kAnyBlocks = sizeof(typename Stencil::Real) == 8 ? 1 : 2;

// Kernels loop when there is more work than for this many blocks, and compute in
// 32-bit integers when no count is above the limit.  A test sets both low.
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

template <typename Index, int Rank>
Extent<Rank, Index> To(const Extent<Rank>& extent) {
  Extent<Rank, Index> result{};
  for (int d = 0; d < Rank; ++d) result.size[d] = static_cast<Index>(extent.size[d]);
  result.channels = static_cast<Index>(extent.channels);
  return result;
}

// Whether every index and every number of elements is small enough for int32_t,
// with room for the last step of a loop.
template <int Rank>
bool FitsInt32(const ResamplerSizes<Rank>& sizes) {
  return sizes.images * sizes.image.elements() <= kInt32Limit &&
         sizes.images * Rank * (Rank + 1) <= kInt32Limit && sizes.points() * Rank <= kInt32Limit &&
         sizes.points() * sizes.image.channels <= kInt32Limit;
}

// Whether all of these begin at a multiple of `bytes`.
template <typename... Pointers>
bool AreAligned(int bytes, Pointers... pointers) {
  return ((reinterpret_cast<uintptr_t>(pointers) % static_cast<uintptr_t>(bytes) == 0) && ...);
}

// Neighbouring channels that an access of 16 bytes moves, the most there is.
template <typename T>
inline constexpr int kWidest = 16 / static_cast<int>(sizeof(T));

// Calls visit(std::integral_constant<int, width>) with the first of the widths that
// divides the channels and that all pointers are aligned for, and returns what it does.
// The last one must be 1.
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

// Whether the kernels of linear interpolation with zeros outside apply.
template <int Rank, typename T>
bool IsLinearImageWithZeros(const Modes& modes, const T* fill) {
  return Rank == 2 && modes.is_linear_with_zeros() && fill == nullptr;
}

// Calls visit(TypeTag<Stencil>, width) for linear interpolation of images with zeros
// outside, with the index type and the number of channels a thread moves at a time that
// the sizes and the pointers allow, and returns what it does.
//
// Each pair is one more instance of a kernel, for every type and architecture.  So
// what needs 64 bits has the extremes alone.
template <typename T, typename Visit, typename... Pointers>
const char* VisitLinearKernel(const ResamplerSizes<2>& sizes, const Visit& visit,
                              Pointers... pointers) {
  constexpr int kMost = kWidest<T>;
  if (FitsInt32(sizes)) {
    using Narrow = Stencil<2, Linear, Zeros, Coordinate<T>, int32_t>;
    const auto visit_width = [&](auto width) { return visit(TypeTag<Narrow>(), width); };
    // Of these, types for which an access moves fewer have the widest several times.
    return VisitWidth<T, kMost, (kMost < 4 ? kMost : 4), 2, 3, 1>(sizes.image.channels, visit_width,
                                                                  pointers...);
  }
  using Long = Stencil<2, Linear, Zeros, Coordinate<T>, int64_t>;
  const auto visit_width = [&](auto width) { return visit(TypeTag<Long>(), width); };
  return VisitWidth<T, kMost, 1>(sizes.image.channels, visit_width, pointers...);
}

// Calls visit(TypeTag<Stencil>, rules) for the stencil of `modes` that takes all of them as
// it runs, with indices of 64 bits, and returns what it does.
template <int Rank, typename T, typename Visit>
const char* VisitAnyKernel(const Modes& modes, const Visit& visit) {
  const char* error = nullptr;
  VisitAnyStencil<Rank, Coordinate<T>>(
      modes, [&](auto tag, const auto& rules) { error = visit(tag, rules); });
  return error;
}

}  // namespace tf_stn

#endif  // TF_STN_CC_KERNELS_GPU_LAUNCH_H_
