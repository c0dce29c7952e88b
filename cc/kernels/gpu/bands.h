// Images divided into bands of slabs, for the gradient of data without atomics: it has the same
// bits in every run.
//
// A block owns a band, and each of its threads every kThreads-th element of it.  All threads look
// at kThreads points at a time and list those that touch the band, in their order.  Then each goes
// through the list and adds what falls on its own elements.  So every element sums its points in
// their order, as on the CPU.  The bits may still differ from the CPU's, since the compiler may
// contract products and sums.

#ifndef TF_STN_CC_KERNELS_GPU_BANDS_H_
#define TF_STN_CC_KERNELS_GPU_BANDS_H_

#include <cstdint>

#include "cc/core/call.h"
#include "cc/core/stencil.h"
#include "cc/kernels/gpu/cuda.h"
#include "cc/kernels/gpu/launch.h"

namespace tf_stn {

struct Bands {
  int64_t slabs;  // Of a band, at most.
  int64_t per_image;
  int64_t count;
};

template <int Rank>
Bands BandsOf(const Sizes<Rank>& sizes) {
  constexpr int64_t kEnoughBands = 1024;  // For every multiprocessor to be busy.
  const int64_t slabs = sizes.image.size[0];
  const int64_t in_band = CeilDivide(slabs * sizes.images, kEnoughBands);
  const int64_t per_image = CeilDivide(slabs, in_band);
  return {in_band, per_image, sizes.images * per_image};
}

// The band of a block.
template <typename Index>
struct BlockBand {
  template <int Rank>
  __device__ BlockBand(const Bands& bands, Index number, const Extent<Rank, Index>& extent) {
    image = number / static_cast<Index>(bands.per_image);
    const Index slabs = static_cast<Index>(bands.slabs);
    slab_begin = (number - image * static_cast<Index>(bands.per_image)) * slabs;
    const Index slabs_left = extent.size[0] - slab_begin;
    slab_end = slab_begin + (slabs_left < slabs ? slabs_left : slabs);
    begin = slab_begin * extent.slab_elements();
    end = slab_end * extent.slab_elements();
  }

  Index image, slab_begin, slab_end;
  Index begin, end;  // Elements of the image.
};

// Counts the threads for which `is_listed` holds, and returns to each how many of them come before
// it.  All threads of a block must call it, and meet once more before the next call.
__device__ inline int PlaceInList(bool is_listed, int* count) {
  __shared__ Shared<int[kThreads / kWarpSize]> listed_by_warp;
  const int thread = threadIdx.x, warp = thread / kWarpSize, lane = thread % kWarpSize;
  const unsigned int votes = __ballot_sync(kWholeWarp, is_listed);
  if (lane == 0) listed_by_warp.value[warp] = __popc(votes);
  __syncthreads();
  int place = __popc(votes & ((1u << lane) - 1));
  *count = 0;
  for (int w = 0; w < kThreads / kWarpSize; ++w) {
    if (w < warp) place += listed_by_warp.value[w];
    *count += listed_by_warp.value[w];
  }
  return place;
}

// Adds `weight` times the gradient of a sample to the pixel at `offset`: to those of its elements
// that the thread owns.
template <typename Index, typename Real, typename Gradient>
__device__ void AddOwnElements(Real weight, const Gradient& gradient, Index channels, Index begin,
                               Index offset, Real* grad_image) {
  const int thread = threadIdx.x;
  Index c = (thread - (offset - begin)) & (kThreads - 1);  // The first one.
#pragma unroll 1
  for (; c < channels; c += kThreads) {
    grad_image[offset + c] += weight * static_cast<Real>(gradient[c]);
  }
}

}  // namespace tf_stn

#endif  // TF_STN_CC_KERNELS_GPU_BANDS_H_
