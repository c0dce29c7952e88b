// How GPU kernels are launched: the size of blocks and grids, and the choice of an
// instance by index type and by the channels that one access moves.

#ifndef TF_STN_CC_KERNELS_GPU_LAUNCH_H_
#define TF_STN_CC_KERNELS_GPU_LAUNCH_H_

#include <cstdint>
#include <type_traits>

#include "cc/core/coordinates.h"
#include "cc/core/modes.h"
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

// Calls visit(TypeTag<Stencil>, width) with the index type and the number of channels
// a thread moves at a time, both of which the sizes and the pointers allow.
//
// Each pair is one more instance of a kernel, for every type and architecture.  So
// what needs 64 bits has the extremes alone.
template <int Rank, typename T, typename Visit, typename... Pointers>
const char* VisitKernel(const Modes& modes, const ResamplerSizes<Rank>& sizes, const Visit& visit,
                        Pointers... pointers) {
  const char* error = nullptr;
  const auto visit_width = [&](auto tag) {
    constexpr bool kIsSmall = sizeof(typename decltype(tag)::type::Index) == sizeof(int32_t);
    const auto visit_if_possible = [&](auto width) {
      const bool is_possible =
          sizes.image.channels % width == 0 && AreAligned(kAccessBytes<T, width>, pointers...);
      if (is_possible) error = visit(tag, width);
      return is_possible;
    };
    if (visit_if_possible(std::integral_constant<int, kWidest<T>>())) return;
    if constexpr (kIsSmall && kWidest<T> > 4) {
      if (visit_if_possible(std::integral_constant<int, 4>())) return;
    }
    if constexpr (kIsSmall && kWidest<T> > 2) {
      if (visit_if_possible(std::integral_constant<int, 2>())) return;
    }
    if constexpr (kIsSmall) {
      if (visit_if_possible(std::integral_constant<int, 3>())) return;
    }
    visit_if_possible(std::integral_constant<int, 1>());
  };
  if (FitsInt32(sizes)) {
    VisitStencil<Rank, Coordinate<T>, int32_t>(modes, visit_width);
  } else {
    VisitStencil<Rank, Coordinate<T>, int64_t>(modes, visit_width);
  }
  return error;
}

}  // namespace tf_stn

#endif  // TF_STN_CC_KERNELS_GPU_LAUNCH_H_
