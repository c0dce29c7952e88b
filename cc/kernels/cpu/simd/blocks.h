// Walks over points block by block, and prefetches the pixels of the next block.

#ifndef TF_STN_CC_KERNELS_CPU_SIMD_BLOCKS_H_
#define TF_STN_CC_KERNELS_CPU_SIMD_BLOCKS_H_

#include <cstdint>

#include "cc/core/stencil.h"
#include "cc/kernels/cpu/simd/bilinear_stencils.h"
#include "cc/kernels/cpu/simd/pixels.h"
#include "cc/kernels/cpu/simd/points.h"
#include "cc/kernels/cpu/simd/vectors.h"

namespace tf_stn {
namespace TF_STN_ISA {

// From so many channels on, what bounds a point is to move its pixels.
inline constexpr int64_t kManyChannels = 16;

// Prefetches the pixels of the next block while another one is computed.  Points that follow a
// row of the image share cache lines.  Through many channels, the processor prefetches by itself.
template <typename Real, typename T>
TF_STN_INLINE void Prefetch(const Block<Real>& block, const Extent<2>& image, const T* pixels) {
  constexpr int64_t kFitsTheCache = 1 << 15;
  if (image.elements() * static_cast<int64_t>(sizeof(T)) <= kFitsTheCache) return;
  if (image.channels >= kManyChannels) return;
  const int64_t slab_elements = image.slab_elements();
  const int64_t rows = block.row[block.count - 1] - block.row[0];
  const bool follows_a_row = Smaller(rows, -rows) * 8 > -block.count;
  const int step = image.channels == 1 || follows_a_row ? 4 : 1;
  for (int p = 0; p < block.count; p += step) {
    __builtin_prefetch(pixels + block.offset[p]);
    __builtin_prefetch(pixels + block.offset[p] + slab_elements);
  }
}

// Calls use(block, p) for blocks of points, in order, p being the number of the first one, and
// prepare(block, p) for the next block before each.  prepare(block, p) returns whether there are
// points from p on; all blocks but the last are of kBlockPoints.
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

}  // namespace TF_STN_ISA
}  // namespace tf_stn

#endif  // TF_STN_CC_KERNELS_CPU_SIMD_BLOCKS_H_
