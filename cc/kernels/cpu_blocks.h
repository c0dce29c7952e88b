// Walks over points block by block, asking for the next block's pixels ahead.

#ifndef TF_STN_CC_KERNELS_CPU_BLOCKS_H_
#define TF_STN_CC_KERNELS_CPU_BLOCKS_H_

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "cc/core/stencil.h"
#include "cc/kernels/cpu_pixels.h"
#include "cc/kernels/cpu_stencils.h"
#include "cc/kernels/cpu_vectors.h"
#include "cc/kernels/resampler.h"
#include "cc/kernels/resampler_cpu.h"

namespace tf_stn {
namespace TF_STN_ISA {

// From so many channels on, what bounds a point is to move its pixels.
inline constexpr int64_t kManyChannels = 16;

TF_STN_INLINE int64_t Smaller(int64_t a, int64_t b) { return a < b ? a : b; }
TF_STN_INLINE int64_t Larger(int64_t a, int64_t b) { return a > b ? a : b; }

// Asks for the pixels of a block, which comes next, while another one is dealt with.
// Points that follow a row share lines of the cache.  Through many channels, the
// processor itself sees where it goes.
template <typename Real, typename T>
TF_STN_INLINE void Prefetch(const Block<Real>& block, const Extent<2>& image, const T* pixels) {
  constexpr int64_t kFitsTheCache = 1 << 15;
  if (image.elements() * static_cast<int64_t>(sizeof(T)) <= kFitsTheCache) return;
  if (image.channels >= kManyChannels) return;
  const int64_t row_elements = image.row_elements();
  const int64_t rows = block.row[block.count - 1] - block.row[0];
  const bool follows_a_row = Smaller(rows, -rows) * 8 > -block.count;
  const int step = image.channels == 1 || follows_a_row ? 4 : 1;
  for (int p = 0; p < block.count; p += step) {
    __builtin_prefetch(pixels + block.offset[p]);
    __builtin_prefetch(pixels + block.offset[p] + row_elements);
  }
}

// Calls use(block, p) for blocks of points, in order, p being the number of the first one,
// and prepare(block, p) for the next block before it uses one.  prepare(block, p) returns
// whether there are points from p on; blocks are of kBlockPoints but for the last.
template <typename AnyBlock, typename Prepare, typename Use>
TF_STN_INLINE void InTurn(int64_t p, const Prepare& prepare, const Use& use) {
  AnyBlock blocks[2];
  int current = 0;
  if (!prepare(&blocks[0], p)) return;
  for (bool has_next = true; has_next; p += kBlockPoints, current = 1 - current) {
    has_next = prepare(&blocks[1 - current], p + kBlockPoints);
    use(blocks[current], p);
  }
}

template <typename Real>
TF_STN_INLINE void ZeroRows(const Extent<2>& image, const GradientTask& task, Real* grad_image) {
  const int64_t row = image.row_elements();
  __builtin_memset(static_cast<void*>(grad_image + task.row_begin * row), 0,
                   static_cast<size_t>((task.row_end - task.row_begin) * row) * sizeof(Real));
}

// Rounds the sums of a task's rows to the gradient, which is they themselves if T is Real.
template <typename Real, typename T>
TF_STN_INLINE void RoundRows(const Extent<2>& image, const GradientTask& task,
                             const Real* grad_image, T* rounded) {
  if constexpr (!std::is_same_v<T, Real>) {
    const int64_t begin = task.row_begin * image.row_elements();
    const int64_t end = task.row_end * image.row_elements();
    ForChannels<Real>(end - begin, [&](auto width, int64_t i) {
      constexpr int kWidth = decltype(width)::value;
      Store<kWidth>(LoadElements<kWidth>(grad_image + begin + i), rounded + begin + i);
    });
  }
}

// Calls body(begin, end, owns_outside) for runs of a task's points, but for those that have
// nothing in its band of rows.  Points without pixels are nobody's, so each range of them
// is given to some band.  `ranges` are those of the image, or null.
template <typename Body>
TF_STN_INLINE void ForRanges(const GradientTask& task, const ResamplerSizes<2>& sizes,
                             const RowRange* ranges, const Body& body) {
  const int64_t rows = sizes.image.size[0];
  const int64_t number_of_ranges = (sizes.points_per_image + kRangePoints - 1) / kRangePoints;
  for (int64_t begin = task.point_begin; begin < task.point_end;) {
    const int64_t range = begin / kRangePoints;
    const int64_t end = Smaller(task.point_end, (range + 1) * kRangePoints);
    const int64_t row_of_outside = rows * range / number_of_ranges;
    const bool owns_outside = task.row_begin <= row_of_outside && row_of_outside < task.row_end;
    if (ranges == nullptr || owns_outside ||
        (ranges[range].first < task.row_end && ranges[range].last + 1 >= task.row_begin)) {
      body(begin, end, owns_outside);
    }
    begin = end;
  }
}

}  // namespace TF_STN_ISA
}  // namespace tf_stn

#endif  // TF_STN_CC_KERNELS_CPU_BLOCKS_H_
