// The forward kernel for any modes.  No TensorFlow here: nvcc compiles it for the device,
// and g++ for a test that runs it on the host.

#include <cstdint>

#include "cc/core/coordinates.h"
#include "cc/core/half.h"
#include "cc/core/padding.h"
#include "cc/core/resample.h"
#include "cc/kernels/cuda.h"
#include "cc/kernels/divider.h"
#include "cc/kernels/gpu_any.h"
#include "cc/kernels/gpu_launch.h"
#include "cc/kernels/gpu_pixels.h"
#include "cc/kernels/gpu_points.h"
#include "cc/kernels/gpu_rows.h"
#include "cc/kernels/resampler.h"

namespace tf_stn {
namespace {

// Each thread samples kWidth channels of a point, a pack; neighbouring threads write
// neighbouring memory.
template <typename Stencil, typename Points, typename T, int kWidth>
__global__ void __launch_bounds__(kThreads, kAnyBlocks<Stencil>)
    AnySampleKernel(Images<Stencil, T> images, DevicePoints<Points, int64_t> points,
                    Divider<int64_t> points_per_image, Divider<int64_t> packs_per_point,
                    int64_t packs, T* __restrict__ output) {
  using Real = typename Stencil::Real;
  const auto& extent = images.extent;
  const int64_t step = static_cast<int64_t>(gridDim.x) * kThreads;
  int64_t pack = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  for (; pack < packs; pack += step) {
    const int64_t p = packs_per_point.Quotient(pack);
    const int64_t first = (pack - p * packs_per_point.divisor()) * kWidth;
    const int64_t n = points_per_image.Quotient(p);
    Real point[Stencil::kRank];
    points.At(n, p - n * points_per_image.divisor(), point);
    Real sum[kWidth];
    for (int c = 0; c < kWidth; ++c) sum[c] = -Real(0);  // As in cc/core/resample.h.
    const T* image = images.data + (n * extent.elements() + first);
    const T* fill = images.fill == nullptr ? nullptr : images.fill + first;
    StencilRows<Stencil>(images.rules, extent, point).ForEach([&](const auto& row) {
      const auto weight = [&](int k) { return row.weight(k); };
      const auto is_read = [&](int k) { return row.weight(k) != Real(0); };
      Channels<T, kWidth> pixels[Stencil::kTaps];
      LoadRow<kWidth>(row, image, fill, is_read, pixels);
      AddRow<kWidth>(row, weight, pixels, sum);
    });
    Channels<T, kWidth> result;
    for (int c = 0; c < kWidth; ++c) result.values[c] = static_cast<T>(sum[c]);
    *reinterpret_cast<Channels<T, kWidth>*>(output + p * extent.channels + first) = result;
  }
}

}  // namespace

template <typename Points, typename T>
const char* LaunchAnySample(const ResamplerArguments<Points, T>& arguments, void* stream) {
  const auto& sizes = arguments.sizes;
  return VisitAnyKernel<Points::kRank, T>(arguments.modes, [&](auto tag, const auto& rules) {
    using Stencil = typename decltype(tag)::type;
    const auto launch = [&](auto width) {
      const int64_t packs_per_point = sizes.image.channels / width;
      const int64_t packs = sizes.points() * packs_per_point;
      return Launch(&AnySampleKernel<Stencil, Points, T, width>, Blocks(packs, kThreads), kThreads,
                    stream, ImagesOf<Stencil>(arguments, rules),
                    DevicePoints<Points, int64_t>(arguments.points),
                    Divider<int64_t>(sizes.points_per_image), Divider<int64_t>(packs_per_point),
                    packs, arguments.output);
    };
    return VisitWidth<T, kWidest<T>, 1>(sizes.image.channels, launch, arguments.data,
                                        arguments.fill, arguments.output);
  });
}

#define TF_STN_INSTANTIATE(Points, Rank, T)                                                       \
  template const char* LaunchAnySample(const ResamplerArguments<Points<Rank, Coordinate<T>>, T>&, \
                                       void*)
TF_STN_FOR_ALL_WARPS(TF_STN_INSTANTIATE);
TF_STN_FOR_ALL_MATRICES(TF_STN_INSTANTIATE);
#undef TF_STN_INSTANTIATE

}  // namespace tf_stn
