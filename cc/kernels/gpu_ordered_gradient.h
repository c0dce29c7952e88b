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

// The rows of images, divided among blocks.
struct Bands {
  int64_t rows;  // At most, in a band.
  int64_t per_image;
  int64_t count;
};

template <int Rank>
Bands BandsOf(const ResamplerSizes<Rank>& sizes) {
  constexpr int64_t kEnoughBands = 1024;  // To keep every multiprocessor busy.
  const int64_t rows = sizes.image.size[0];
  const int64_t in_band = CeilDivide(rows * sizes.images, kEnoughBands);
  const int64_t per_image = CeilDivide(rows, in_band);
  return {in_band, per_image, sizes.images * per_image};
}

// The part of an image that a block owns.
template <typename Index>
struct Band {
  template <int Rank>
  __device__ Band(const Bands& bands, Index number, const Extent<Rank, Index>& extent) {
    image = number / static_cast<Index>(bands.per_image);
    const Index rows = static_cast<Index>(bands.rows);
    row_begin = (number - image * static_cast<Index>(bands.per_image)) * rows;
    const Index rows_left = extent.size[0] - row_begin;
    row_end = row_begin + (rows_left < rows ? rows_left : rows);
    begin = row_begin * extent.row_elements();
    end = row_end * extent.row_elements();
  }

  Index image, row_begin, row_end;
  Index begin, end;  // Elements of the image.
};

// Counts the threads for which `is_listed` holds.  Returns to each how many come before it.
// All threads of a block must call it, and meet once more before the next time.
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

// Adds `weight` times the gradient of a point to the pixel at `offset`: to its elements that
// are this thread's, which has every kThreads-th from `begin` on.
template <typename Index, typename Real, typename Gradient>
__device__ void AddOwnElements(Real weight, const Gradient& gradient, Index channels, Index begin,
                               Index offset, Real* grad_image) {
  const int thread = threadIdx.x;
  Index c = (thread - (offset - begin)) & (kThreads - 1);  // The first.
#pragma unroll 1
  for (; c < channels; c += kThreads) {
    grad_image[offset + c] += weight * static_cast<Real>(gradient[c]);
  }
}

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
                              typename Stencil::Index points_per_image, Bands bands,
                              const T* __restrict__ grad_output,
                              typename Stencil::Real* __restrict__ grad_data) {
  using Index = typename Stencil::Index;
  using Real = typename Stencil::Real;
  __shared__ Shared<Contribution<Stencil>[kThreads]> listed;
  for (Index i = blockIdx.x; i < static_cast<Index>(bands.count); i += gridDim.x) {
    const Band<Index> band(bands, i, image);
    Real* grad_image = grad_data + band.image * image.elements();
    for (Index e = band.begin + threadIdx.x; e < band.end; e += kThreads) grad_image[e] = Real(0);

    for (Index base = 0; base < points_per_image; base += kThreads) {
      const Index mine = base + threadIdx.x;
      Real point[Stencil::kRank];
      bool touches = false;
      if (mine < points_per_image) {
        points.At(band.image, mine, point);
        touches = Stencil::Touches({}, image, point, band.row_begin, band.row_end);
      }
      int count;
      const int place = PlaceInList(touches, &count);  // All have read the list before.
      if (touches) {
        const Stencil stencil({}, image, point);
        Contribution<Stencil>& contribution = listed.value[place];
        contribution.point = band.image * points_per_image + mine;
#pragma unroll
        for (int k = 0; k < Stencil::kCount; ++k) {
          const Real weight = stencil.weight(k);
          const Index offset = stencil.offset(k);
          const bool is_nan_or_zero = !(weight < 0 || weight > 0);
          const bool is_in_band = band.begin <= offset && offset < band.end;
          contribution.offset[k] = offset;
          contribution.weight[k] = is_nan_or_zero || !is_in_band ? Real(0) : weight;
        }
      }
      __syncthreads();

      for (int j = 0; j < count; ++j) {
        const Contribution<Stencil>& contribution = listed.value[j];
        const T* gradient = grad_output + contribution.point * image.channels;
#pragma unroll
        for (int k = 0; k < Stencil::kCount; ++k) {
          const Real weight = contribution.weight[k];
          if (weight == Real(0)) continue;
          AddOwnElements(weight, gradient, image.channels, band.begin, contribution.offset[k],
                         grad_image);
        }
      }
    }
  }
}

template <typename Stencil, typename Points, typename T>
const char* LaunchOrderedDataGradient(const ResamplerGradArguments<Points, T>& arguments,
                                      typename Stencil::Real* grad_data, void* stream) {
  using Index = typename Stencil::Index;
  const auto& sizes = arguments.sizes;
  const Bands bands = BandsOf(sizes);
  return Launch(&OrderedDataGradientKernel<Stencil, Points, T>, Blocks(bands.count, 1), kThreads,
                stream, To<Index>(sizes.image), DevicePoints<Points, Index>(arguments.points),
                static_cast<Index>(sizes.points_per_image), bands, arguments.grad_output,
                grad_data);
}

}  // namespace tf_stn

#endif  // TF_STN_CC_KERNELS_GPU_ORDERED_GRADIENT_H_
