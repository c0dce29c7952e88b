// The gradient of the images without atomics: the same bits in every run.

#ifndef TF_STN_CC_KERNELS_GPU_ORDERED_GRADIENT_H_
#define TF_STN_CC_KERNELS_GPU_ORDERED_GRADIENT_H_

#include <cstdint>

#include "cc/core/stencil.h"
#include "cc/kernels/cuda.h"
#include "cc/kernels/gpu_launch.h"
#include "cc/kernels/gpu_points.h"
#include "cc/kernels/resampler.h"

namespace tf_stn {

// What a point adds to a band of rows: nothing where the weight is zero.
template <typename Stencil>
struct Contribution {
  typename Stencil::Index point;
  typename Stencil::Index offset[Stencil::kCount];
  typename Stencil::Real weight[Stencil::kCount];
};

// A block owns a band of rows of one image, and a thread every kThreads-th element
// of the band.  All threads look at kThreads points at a time, list what those that
// touch the band add to it, in their order, and then each goes through the list and
// adds what falls on its own elements.
//
// So every element sums its points in their order, as on the CPU.  Products are
// contracted with additions, as the compiler likes; the bits need not be the CPU's.
template <typename Stencil, typename Points, typename T>
__global__ void __launch_bounds__(kThreads, kBlocks)
    OrderedDataGradientKernel(Extent<Stencil::kRank, typename Stencil::Index> image,
                              DevicePoints<Points, typename Stencil::Index> points,
                              typename Stencil::Index points_per_image,
                              typename Stencil::Index rows_per_band,
                              typename Stencil::Index bands_per_image,
                              typename Stencil::Index bands, const T* __restrict__ grad_output,
                              typename Stencil::Real* __restrict__ grad_data) {
  using Index = typename Stencil::Index;
  using Real = typename Stencil::Real;
  __shared__ Shared<Contribution<Stencil>[kThreads]> listed;
  __shared__ Shared<int[kThreads / kWarpSize]> listed_by_warp;
  const int thread = threadIdx.x, warp = thread / kWarpSize, lane = thread % kWarpSize;
  for (Index band = blockIdx.x; band < bands; band += gridDim.x) {
    const Index n = band / bands_per_image;
    const Index row_begin = (band - n * bands_per_image) * rows_per_band;
    const Index rows_left = image.size[0] - row_begin;
    const Index row_end = row_begin + (rows_left < rows_per_band ? rows_left : rows_per_band);
    const Index begin = row_begin * image.row_elements(), end = row_end * image.row_elements();
    Real* grad_image = grad_data + n * image.elements();
    for (Index i = begin + thread; i < end; i += kThreads) grad_image[i] = Real(0);

    for (Index base = 0; base < points_per_image; base += kThreads) {
      const Index mine = base + thread;
      const Index p = n * points_per_image + mine;
      Real point[Stencil::kRank];
      bool touches = false;
      if (mine < points_per_image) {
        points.At({p, n, mine}, point);
        touches = Stencil::Touches(image, point, row_begin, row_end);
      }
      const unsigned int votes = __ballot_sync(kWholeWarp, touches);
      if (lane == 0) listed_by_warp.value[warp] = __popc(votes);
      __syncthreads();  // Also, the list of the round before has been read.
      int position = __popc(votes & ((1u << lane) - 1)), count = 0;
      for (int w = 0; w < kThreads / kWarpSize; ++w) {
        if (w < warp) position += listed_by_warp.value[w];
        count += listed_by_warp.value[w];
      }
      if (touches) {
        const Stencil stencil(image, point);
        Contribution<Stencil>& contribution = listed.value[position];
        contribution.point = p;
#pragma unroll
        for (int k = 0; k < Stencil::kCount; ++k) {
          const Real weight = stencil.weight(k);
          const Index offset = stencil.offset(k);
          const bool is_nan_or_zero = !(weight < 0 || weight > 0);
          const bool is_in_band = begin <= offset && offset < end;
          contribution.offset[k] = offset;
          contribution.weight[k] = is_nan_or_zero || !is_in_band ? Real(0) : weight;
        }
      }
      __syncthreads();

      for (int i = 0; i < count; ++i) {
        const Contribution<Stencil>& contribution = listed.value[i];
        const T* gradient = grad_output + contribution.point * image.channels;
#pragma unroll
        for (int k = 0; k < Stencil::kCount; ++k) {
          const Real weight = contribution.weight[k];
          if (weight == Real(0)) continue;
          // The first channel of this pixel that is an element of this thread.
          const Index offset = contribution.offset[k];
          Index c = (thread - (offset - begin)) & (kThreads - 1);
          for (; c < image.channels; c += kThreads) {
            grad_image[offset + c] += weight * static_cast<Real>(gradient[c]);
          }
        }
      }
    }
  }
}

template <typename Stencil, typename Points, typename T>
const char* LaunchOrderedDataGradient(const ResamplerGradArguments<Points, T>& arguments,
                                      typename Stencil::Real* grad_data, void* stream) {
  using Index = typename Stencil::Index;
  constexpr int64_t kEnoughBands = 1024;  // To keep every multiprocessor busy.
  const auto& sizes = arguments.sizes;
  const int64_t rows = sizes.image.size[0];
  const int64_t rows_per_band = CeilDivide(rows * sizes.images, kEnoughBands);
  const int64_t bands_per_image = CeilDivide(rows, rows_per_band);
  const int64_t bands = sizes.images * bands_per_image;
  return Launch(&OrderedDataGradientKernel<Stencil, Points, T>, Blocks(bands, 1), kThreads, stream,
                To<Index>(sizes.image), DevicePoints<Points, Index>(arguments.points),
                static_cast<Index>(sizes.points_per_image), static_cast<Index>(rows_per_band),
                static_cast<Index>(bands_per_image), static_cast<Index>(bands),
                arguments.grad_output, grad_data);
}

}  // namespace tf_stn

#endif  // TF_STN_CC_KERNELS_GPU_ORDERED_GRADIENT_H_
