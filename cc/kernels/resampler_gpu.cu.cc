// The resampler's CUDA kernels and their launchers.  No TensorFlow here: nvcc
// compiles it for the device, and g++ for a test that runs it on the host.

#include <cstdint>
#include <type_traits>

#include "cc/core/coordinates.h"
#include "cc/core/half.h"
#include "cc/core/modes.h"
#include "cc/core/stencil.h"
#include "cc/kernels/cuda.h"
#include "cc/kernels/resampler.h"

namespace tf_stn {
namespace {

constexpr int kThreads = 256;
constexpr int kBlocks = 4;  // On a multiprocessor at once: at most 64 registers a thread.
constexpr int kWarpSize = 32;
constexpr unsigned int kWholeWarp = 0xffffffffu;

// Kernels loop when there is more work than for this many blocks, and compute in
// 32-bit integers when no count is above the limit.  A test sets both low.
#if !defined(TF_STN_MOST_BLOCKS)
#define TF_STN_MOST_BLOCKS (1 << 16)
#define TF_STN_INT32_LIMIT (1 << 30)
#endif
constexpr int64_t kMostBlocks = TF_STN_MOST_BLOCKS;
constexpr int64_t kInt32Limit = TF_STN_INT32_LIMIT;

// Neighbouring channels that are moved in one access of 16 bytes at most.
template <typename T, int kWidth>
struct alignas(sizeof(T) * kWidth) Channels {
  T values[kWidth];
};

template <typename T>
constexpr int kWidest = 16 / sizeof(T);

// Adds kWidth numbers to neighbouring places, as other threads may at the same
// time.
template <int kWidth, typename Real>
__device__ void AtomicAdd(Real* where, const Real* values) {
  if constexpr (kHasAtomicFloat4 && std::is_same_v<Real, float> && kWidth % 4 == 0) {
    for (int i = 0; i < kWidth; i += 4) {
      atomicAdd(reinterpret_cast<float4*>(where + i),
                make_float4(values[i], values[i + 1], values[i + 2], values[i + 3]));
    }
  } else {
    for (int i = 0; i < kWidth; ++i) atomicAdd(where + i, values[i]);
  }
}

// Each thread samples kWidth channels of a point; neighbouring threads write
// neighbouring memory.
template <typename Stencil, typename Points, typename T, int kWidth>
__global__ void __launch_bounds__(kThreads, kBlocks)
    SampleKernel(Extent<Stencil::kRank, typename Stencil::Index> image, Points points,
                 typename Stencil::Index points_per_image, typename Stencil::Index count,
                 const T* data, T* output) {
  using Index = typename Stencil::Index;
  using Real = typename Stencil::Real;
  using Pack = Channels<T, kWidth>;
  const Index packs = image.channels / kWidth;
  const Index step = static_cast<Index>(gridDim.x) * kThreads;
  Index item = static_cast<Index>(blockIdx.x) * kThreads + threadIdx.x;
  for (; item < count * packs; item += step) {
    const Index p = item / packs;
    const Index first = (item - p * packs) * kWidth;
    Real point[Stencil::kRank];
    points.At(p, point);
    const Stencil stencil(image, point);
    const T* pixels = data + p / points_per_image * image.elements() + first;
    Real sum[kWidth];
    for (int c = 0; c < kWidth; ++c) sum[c] = -Real(0);  // As in cc/core/resample.h.
#pragma unroll
    for (int k = 0; k < Stencil::kCount; ++k) {
      const Real weight = stencil.weight(k);
      const Index offset = stencil.offset(k);
      if (weight == Real(0)) continue;
      if (offset == kReadsAsZero) {
        for (int c = 0; c < kWidth; ++c) sum[c] += weight * Real(0);
      } else {
        const Pack pack = *reinterpret_cast<const Pack*>(pixels + offset);
        for (int c = 0; c < kWidth; ++c) sum[c] += weight * static_cast<Real>(pack.values[c]);
      }
    }
    Pack result;
    for (int c = 0; c < kWidth; ++c) result.values[c] = static_cast<T>(sum[c]);
    *reinterpret_cast<Pack*>(output + p * image.channels + first) = result;
  }
}

// `lanes` neighbouring threads, a power of two, share the channels of a point.
// For the gradient of warp, each keeps one inner product for each pixel of the
// stencil in registers, and shuffles add them up; for that of data, each adds its
// channels to the image atomically.
template <typename Stencil, typename Points, typename T, int kWidth, bool kData, bool kWarp>
__global__ void __launch_bounds__(kThreads, kBlocks)
    GradientKernel(Extent<Stencil::kRank, typename Stencil::Index> image, Points points,
                   typename Stencil::Index points_per_image, typename Stencil::Index count,
                   int lanes, const T* data, const T* grad_output,
                   typename Stencil::Real* grad_data, typename Stencil::Real* grad_warp) {
  using Index = typename Stencil::Index;
  using Real = typename Stencil::Real;
  using Pack = Channels<T, kWidth>;
  const Index points_per_block = kThreads / lanes;
  const Index lane = threadIdx.x % lanes;
  // The same for all threads of a block, so that all of them meet at shuffles.
  Index base = blockIdx.x * points_per_block;
  for (; base < count; base += gridDim.x * points_per_block) {
    const Index p = base + threadIdx.x / lanes;
    const bool is_point = p < count;
    const Index n = is_point ? p / points_per_image : 0;
    Real point[Stencil::kRank];
    points.At(is_point ? p : 0, point);
    const Stencil stencil(image, point);
    Real products[Stencil::kCount] = {};
    const Index start = n * image.elements();
    for (Index first = is_point ? lane * kWidth : image.channels; first < image.channels;
         first += lanes * kWidth) {
      const Pack gradient =
          *reinterpret_cast<const Pack*>(grad_output + p * image.channels + first);
#pragma unroll
      for (int k = 0; k < Stencil::kCount; ++k) {
        const Index offset = stencil.offset(k);
        if (offset == kReadsAsZero) continue;
        if constexpr (kWarp) {
          const Pack pixel = *reinterpret_cast<const Pack*>(data + start + offset + first);
          for (int c = 0; c < kWidth; ++c) {
            products[k] +=
                static_cast<Real>(pixel.values[c]) * static_cast<Real>(gradient.values[c]);
          }
        }
        if constexpr (kData) {
          const Real weight = stencil.weight(k);
          if (!(weight < 0 || weight > 0)) continue;  // Zero or NaN.
          Real parts[kWidth];
          for (int c = 0; c < kWidth; ++c) {
            parts[c] = weight * static_cast<Real>(gradient.values[c]);
          }
          AtomicAdd<kWidth>(grad_data + start + offset + first, parts);
        }
      }
    }
    if constexpr (kWarp) {
#pragma unroll
      for (int k = 0; k < Stencil::kCount; ++k) {
        for (int delta = lanes / 2; delta > 0; delta /= 2) {
          products[k] += __shfl_down_sync(kWholeWarp, products[k], delta, lanes);
        }
      }
      if (!is_point || lane != 0) continue;
#pragma unroll
      for (int d = 0; d < Stencil::kRank; ++d) {
        Real sum = 0;
#pragma unroll
        for (int k = 0; k < Stencil::kCount; ++k) {
          const Real slope = stencil.slope(k, d);
          if (slope != Real(0)) sum += slope * products[k];
        }
        grad_warp[p * Stencil::kRank + d] = sum;
      }
    }
  }
}

// Writes dL/dU without atomics: the same bits in every run.
//
// A block owns a band of rows of one image, and a thread every kThreads-th element
// of the band.  All threads look at kThreads points at a time, list those that
// touch the band in their order, and then each goes through the list and adds
// what falls on its own elements.
template <typename Stencil, typename Points, typename T>
__global__ void __launch_bounds__(kThreads, kBlocks)
    OrderedDataGradientKernel(Extent<Stencil::kRank, typename Stencil::Index> image, Points points,
                              typename Stencil::Index points_per_image,
                              typename Stencil::Index rows_per_band,
                              typename Stencil::Index bands_per_image,
                              typename Stencil::Index bands, const T* grad_output,
                              typename Stencil::Real* grad_data) {
  using Index = typename Stencil::Index;
  using Real = typename Stencil::Real;
  __shared__ Index listed[kThreads];
  __shared__ int listed_by_warp[kThreads / kWarpSize];
  const int thread = threadIdx.x, warp = thread / kWarpSize, lane = thread % kWarpSize;
  for (Index band = blockIdx.x; band < bands; band += gridDim.x) {
    const Index n = band / bands_per_image;
    const Index row_begin = (band - n * bands_per_image) * rows_per_band;
    const Index rows_left = image.size[0] - row_begin;
    const Index row_end = row_begin + (rows_left < rows_per_band ? rows_left : rows_per_band);
    const Index begin = row_begin * image.row_elements(), end = row_end * image.row_elements();
    Real* grad_image = grad_data + n * image.elements();
    for (Index i = begin + thread; i < end; i += kThreads) grad_image[i] = Real(0);

    const Index last = (n + 1) * points_per_image;
    for (Index base = n * points_per_image; base < last; base += kThreads) {
      const Index mine = base + thread;
      Real point[Stencil::kRank];
      bool touches = false;
      if (mine < last) {
        points.At(mine, point);
        touches = Stencil::Touches(image, point, row_begin, row_end);
      }
      const unsigned int votes = __ballot_sync(kWholeWarp, touches);
      if (lane == 0) listed_by_warp[warp] = __popc(votes);
      __syncthreads();
      int position = __popc(votes & ((1u << lane) - 1)), count = 0;
      for (int w = 0; w < kThreads / kWarpSize; ++w) {
        if (w < warp) position += listed_by_warp[w];
        count += listed_by_warp[w];
      }
      if (touches) listed[position] = mine;
      __syncthreads();

      for (int i = 0; i < count; ++i) {
        const Index p = listed[i];
        points.At(p, point);
        const Stencil stencil(image, point);
#pragma unroll
        for (int k = 0; k < Stencil::kCount; ++k) {
          const Real weight = stencil.weight(k);
          const Index offset = stencil.offset(k);
          const bool is_nan_or_zero = !(weight < 0 || weight > 0);
          if (is_nan_or_zero || offset < begin || offset >= end) continue;
          // The first channel of this pixel that is an element of this thread.
          Index c = (thread - (offset - begin)) % kThreads;
          if (c < 0) c += kThreads;
          for (; c < image.channels; c += kThreads) {
            grad_image[offset + c] +=
                weight * static_cast<Real>(grad_output[p * image.channels + c]);
          }
        }
      }
      __syncthreads();  // The list is read before it is written again.
    }
  }
}

template <typename Real, typename T>
__global__ void __launch_bounds__(kThreads, kBlocks)
    RoundKernel(int64_t count, const Real* sums, T* rounded) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * kThreads;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; i < count;
       i += step) {
    rounded[i] = static_cast<T>(sums[i]);
  }
}

unsigned int Blocks(int64_t items, int64_t items_per_block) {
  const int64_t blocks = (items + items_per_block - 1) / items_per_block;
  return static_cast<unsigned int>(blocks < kMostBlocks ? blocks : kMostBlocks);
}

template <int Rank, typename Index>
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
         sizes.points() * Rank <= kInt32Limit &&
         sizes.points() * sizes.image.channels <= kInt32Limit;
}

// Whether all of these begin where an access of 16 bytes may.
template <typename... Pointers>
bool AreAligned(Pointers... pointers) {
  return ((reinterpret_cast<uintptr_t>(pointers) % 16 == 0) && ...);
}

// Calls visit(TypeTag<Stencil>, width) with the index type and the number of
// channels an access that the arguments allow.
template <int Rank, typename T, typename Visit>
const char* VisitKernel(const Modes& modes, const ResamplerSizes<Rank>& sizes, bool is_aligned,
                        const Visit& visit) {
  using Real = Coordinate<T>;
  const char* error = nullptr;
  const auto visit_width = [&](auto tag) {
    if (is_aligned && sizes.image.channels % kWidest<T> == 0) {
      error = visit(tag, std::integral_constant<int, kWidest<T>>());
    } else {
      error = visit(tag, std::integral_constant<int, 1>());
    }
  };
  if (FitsInt32(sizes)) {
    VisitStencil<Rank, Real, int32_t>(modes, visit_width);
  } else {
    VisitStencil<Rank, Real, int64_t>(modes, visit_width);
  }
  return error;
}

// Launches GradientKernel for the gradients that have somewhere to go.
template <typename Stencil, int kWidth, typename Points, typename T>
const char* LaunchGradients(const ResamplerGradArguments<Points, T>& arguments,
                            typename Stencil::Real* grad_data, typename Stencil::Real* grad_warp,
                            void* stream) {
  using Index = typename Stencil::Index;
  const auto& sizes = arguments.sizes;
  int lanes = 1;
  // A thread takes up to four channels one by one before it shares them.
  const int64_t alone = kWidth == 1 ? 4 : kWidth;
  while (lanes < kWarpSize && lanes * alone < sizes.image.channels) lanes *= 2;
  const auto launch = [&](auto kernel) {
    return Launch(kernel, Blocks(sizes.points(), kThreads / lanes), kThreads, stream,
                  To<Points::kRank, Index>(sizes.image), arguments.points,
                  static_cast<Index>(sizes.points_per_image), static_cast<Index>(sizes.points()),
                  lanes, arguments.data, arguments.grad_output, grad_data, grad_warp);
  };
  if (grad_data == nullptr) return launch(&GradientKernel<Stencil, Points, T, kWidth, false, true>);
  if (grad_warp == nullptr) return launch(&GradientKernel<Stencil, Points, T, kWidth, true, false>);
  return launch(&GradientKernel<Stencil, Points, T, kWidth, true, true>);
}

template <typename Stencil, typename Points, typename T>
const char* LaunchOrderedDataGradient(const ResamplerGradArguments<Points, T>& arguments,
                                      typename Stencil::Real* grad_data, void* stream) {
  using Index = typename Stencil::Index;
  constexpr int64_t kEnoughBands = 1024;  // To keep every multiprocessor busy.
  const auto& sizes = arguments.sizes;
  const int64_t rows = sizes.image.size[0];
  const int64_t rows_per_band = (rows * sizes.images + kEnoughBands - 1) / kEnoughBands;
  const int64_t bands_per_image = (rows + rows_per_band - 1) / rows_per_band;
  const int64_t bands = sizes.images * bands_per_image;
  return Launch(&OrderedDataGradientKernel<Stencil, Points, T>, Blocks(bands, 1), kThreads, stream,
                To<Points::kRank, Index>(sizes.image), arguments.points,
                static_cast<Index>(sizes.points_per_image), static_cast<Index>(rows_per_band),
                static_cast<Index>(bands_per_image), static_cast<Index>(bands),
                arguments.grad_output, grad_data);
}

}  // namespace

template <typename Points, typename T>
const char* LaunchResampler(const ResamplerArguments<Points, T>& arguments, void* stream) {
  const auto& sizes = arguments.sizes;
  if (sizes.points() * sizes.image.channels == 0) return nullptr;
  return VisitKernel<Points::kRank, T>(
      arguments.modes, sizes, AreAligned(arguments.data, arguments.output),
      [&](auto tag, auto width) {
        using Stencil = typename decltype(tag)::type;
        using Index = typename Stencil::Index;
        return Launch(&SampleKernel<Stencil, Points, T, width>,
                      Blocks(sizes.points() * (sizes.image.channels / width), kThreads), kThreads,
                      stream, To<Points::kRank, Index>(sizes.image), arguments.points,
                      static_cast<Index>(sizes.points_per_image),
                      static_cast<Index>(sizes.points()), arguments.data, arguments.output);
      });
}

template <typename Points, typename T>
const char* LaunchResamplerGrad(const ResamplerGradArguments<Points, T>& arguments,
                                Coordinate<T>* sums, bool deterministic, void* stream) {
  using Real = Coordinate<T>;
  const auto& sizes = arguments.sizes;
  const int64_t elements =
      arguments.grad_data == nullptr ? 0 : sizes.images * sizes.image.elements();
  Real* grad_data = nullptr;
  if constexpr (std::is_same_v<T, Real>) {
    grad_data = arguments.grad_data;
  } else {
    if (arguments.grad_data != nullptr) grad_data = sums;
  }
  if (elements > 0) {
    const char* error =
        FillWithZeros(grad_data, static_cast<size_t>(elements) * sizeof(Real), stream);
    if (error != nullptr) return error;
  }
  if (sizes.points() > 0) {
    const bool is_aligned = AreAligned(arguments.data, arguments.grad_output, grad_data);
    const char* error = VisitKernel<Points::kRank, T>(
        arguments.modes, sizes, is_aligned, [&](auto tag, auto width) -> const char* {
          using Stencil = typename decltype(tag)::type;
          Real* added = grad_data;
          if (deterministic && grad_data != nullptr) {
            const char* error = LaunchOrderedDataGradient<Stencil>(arguments, grad_data, stream);
            if (error != nullptr) return error;
            added = nullptr;
          }
          if (added == nullptr && arguments.grad_points == nullptr) return nullptr;
          return LaunchGradients<Stencil, width>(arguments, added, arguments.grad_points, stream);
        });
    if (error != nullptr) return error;
  }
  if constexpr (!std::is_same_v<T, Real>) {
    if (elements > 0) {
      return Launch(&RoundKernel<Real, T>, Blocks(elements, kThreads), kThreads, stream, elements,
                    grad_data, arguments.grad_data);
    }
  }
  return nullptr;
}

#define TF_STN_INSTANTIATE(T)                                                                      \
  template const char* LaunchResampler(const ResamplerArguments<WarpPoints<2, Coordinate<T>>, T>&, \
                                       void*);                                                     \
  template const char* LaunchResamplerGrad(                                                        \
      const ResamplerGradArguments<WarpPoints<2, Coordinate<T>>, T>&, Coordinate<T>*, bool, void*)

TF_STN_INSTANTIATE(Half);
TF_STN_INSTANTIATE(BFloat16);
TF_STN_INSTANTIATE(float);
TF_STN_INSTANTIATE(double);

#undef TF_STN_INSTANTIATE

}  // namespace tf_stn
