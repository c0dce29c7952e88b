// The launcher of the forward kernels, and the one of linear interpolation of images with
// zeros outside.  No TensorFlow here: nvcc compiles it for the device, and g++ for a test
// that runs it on the host.

#include <cstdint>

#include "cc/core/coordinates.h"
#include "cc/core/half.h"
#include "cc/core/stencil.h"
#include "cc/kernels/cuda.h"
#include "cc/kernels/divider.h"
#include "cc/kernels/gpu_any.h"
#include "cc/kernels/gpu_launch.h"
#include "cc/kernels/gpu_pixels.h"
#include "cc/kernels/gpu_points.h"
#include "cc/kernels/resampler.h"

namespace tf_stn {
namespace {

// Each thread samples kWidth channels of a point, a pack; neighbouring threads write
// neighbouring memory.
template <typename Stencil, typename Points, typename T, int kWidth>
__global__ void __launch_bounds__(kThreads, kBlocks)
    SampleKernel(Extent<Stencil::kRank, typename Stencil::Index> image,
                 DevicePoints<Points, typename Stencil::Index> points,
                 Divider<typename Stencil::Index> points_per_image,
                 Divider<typename Stencil::Index> packs_per_point, typename Stencil::Index packs,
                 const T* __restrict__ data, T* __restrict__ output) {
  using Index = typename Stencil::Index;
  using Real = typename Stencil::Real;
  const Index step = static_cast<Index>(gridDim.x) * kThreads;
  Index pack = static_cast<Index>(blockIdx.x) * kThreads + threadIdx.x;
  for (; pack < packs; pack += step) {
    const Index p = packs_per_point.Quotient(pack);
    const Index first = (pack - p * packs_per_point.divisor()) * kWidth;
    const Index n = points_per_image.Quotient(p);
    Real point[Stencil::kRank];
    points.At(n, p - n * points_per_image.divisor(), point);
    const Stencil stencil({}, image, point);

    const auto is_read = [&](int k) { return stencil.weight(k) != Real(0); };
    Channels<T, kWidth> pixels[Stencil::kCount];
    LoadPixels<kWidth>(stencil, data, n * image.elements() + first, is_read, pixels);
    Real sum[kWidth];
    for (int c = 0; c < kWidth; ++c) sum[c] = -Real(0);  // As in cc/core/resample.h.
#pragma unroll
    for (int k = 0; k < Stencil::kCount; ++k) {
      if (!is_read(k)) continue;
      for (int c = 0; c < kWidth; ++c) {
        sum[c] += stencil.weight(k) * static_cast<Real>(pixels[k].values[c]);
      }
    }
    Channels<T, kWidth> result;
    for (int c = 0; c < kWidth; ++c) result.values[c] = static_cast<T>(sum[c]);
    *reinterpret_cast<Channels<T, kWidth>*>(output + p * image.channels + first) = result;
  }
}

template <typename Points, typename T>
const char* LaunchLinearSample(const ResamplerArguments<Points, T>& arguments, void* stream) {
  const auto& sizes = arguments.sizes;
  return VisitLinearKernel<T>(
      sizes,
      [&](auto tag, auto width) {
        using Stencil = typename decltype(tag)::type;
        using Index = typename Stencil::Index;
        const int64_t packs_per_point = sizes.image.channels / width;
        const int64_t packs = sizes.points() * packs_per_point;
        return Launch(&SampleKernel<Stencil, Points, T, width>, Blocks(packs, kThreads), kThreads,
                      stream, To<Index>(sizes.image), DevicePoints<Points, Index>(arguments.points),
                      Divider<Index>(sizes.points_per_image), Divider<Index>(packs_per_point),
                      static_cast<Index>(packs), arguments.data, arguments.output);
      },
      arguments.data, arguments.output);
}

}  // namespace

template <typename Points, typename T>
const char* LaunchResampler(const ResamplerArguments<Points, T>& arguments, void* stream) {
  const auto& sizes = arguments.sizes;
  if (sizes.points() * sizes.image.channels == 0) return nullptr;
  if constexpr (Points::kRank == 2) {
    if (IsLinearImageWithZeros<Points::kRank>(arguments.modes, arguments.fill)) {
      return LaunchLinearSample(arguments, stream);
    }
  }
  return LaunchAnySample(arguments, stream);
}

#define TF_STN_INSTANTIATE(Points, Rank, T)                                                       \
  template const char* LaunchResampler(const ResamplerArguments<Points<Rank, Coordinate<T>>, T>&, \
                                       void*)
TF_STN_FOR_ALL_WARPS(TF_STN_INSTANTIATE);
TF_STN_FOR_ALL_MATRICES(TF_STN_INSTANTIATE);
#undef TF_STN_INSTANTIATE

}  // namespace tf_stn
