// Samples images: the kernel of bilinear interpolation with zeros outside, the kernel of all modes,
// and their launcher.

#include <cstdint>

#include "cc/core/call.h"
#include "cc/core/pixel_types.h"
#include "cc/core/stencil.h"
#include "cc/kernels/gpu/cuda.h"
#include "cc/kernels/gpu/fast_division.h"
#include "cc/kernels/gpu/launch.h"
#include "cc/kernels/gpu/launchers.h"
#include "cc/kernels/gpu/pixels.h"
#include "cc/kernels/gpu/tap_lines.h"

namespace tf_stn {
namespace {

// How samples are divided among threads: each takes kWidth channels of a point, a pack.
// Neighbouring threads write neighbouring memory.
template <typename Index>
struct Packs {
  template <typename Points, typename T>
  Packs(const Call<Points, T>& call, int width)
      : points_per_image(call.sizes.points_per_image),
        per_point(call.sizes.image.channels / width),
        count(static_cast<Index>(call.sizes.points() * (call.sizes.image.channels / width))) {}

  FastDivision<Index> points_per_image;
  FastDivision<Index> per_point;
  Index count;
};

template <typename Real, typename T, int kWidth>
__device__ void StoreSums(const Real (&sum)[kWidth], T* to) {
  Channels<T, kWidth> result;
  for (int c = 0; c < kWidth; ++c) result.values[c] = ToPixel<T>(sum[c]);
  Store(result, to);
}

// Blocks of the kernel of all modes that a multiprocessor must be able to run at once: with 48, 64
// or 80 registers for a thread.  Turing has room for the threads of four.
template <typename Stencil, typename T, int kWidth>
inline constexpr int kSampleBlocks = [] {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
  constexpr int kMost = 4;
#else
  constexpr int kMost = 5;
#endif
  constexpr bool kIsFloat = sizeof(typename Stencil::Real) == 4;
  constexpr bool kIsNearest = kIsFloat && Stencil::kCount == 1;
  // Half-precision pixels would be spilled on some architectures.
  constexpr bool kIsNarrow = kIsFloat && sizeof(T) == 4 && Stencil::kCount * kWidth <= 4;
  return kIsNearest || kIsNarrow ? kMost : Stencil::kRank == 2 ? 4 : 3;
}();

template <typename Stencil, typename Points, typename T, int kWidth>
__global__ void __launch_bounds__(kThreads, kBlocks)
    BilinearSampleKernel(Extent<Stencil::kRank, typename Stencil::Index> image,
                         FastPoints<Points, typename Stencil::Index> points,
                         Packs<typename Stencil::Index> packs, const T* __restrict__ data,
                         T* __restrict__ output) {
  using Index = typename Stencil::Index;
  using Real = typename Stencil::Real;
  const Index step = static_cast<Index>(gridDim.x) * kThreads;
  Index pack = static_cast<Index>(blockIdx.x) * kThreads + threadIdx.x;
  for (; pack < packs.count; pack += step) {
    const Index p = packs.per_point.Quotient(pack);
    const Index first = (pack - p * packs.per_point.divisor()) * kWidth;
    const Index n = packs.points_per_image.Quotient(p);
    Real point[Stencil::kRank];
    points.At(n, p - n * packs.points_per_image.divisor(), point);
    const Stencil stencil({}, image, point);

    const auto is_read = [&](int k) { return stencil.weight(k) != Real(0); };
    Channels<T, kWidth> pixels[Stencil::kCount];
    LoadPixels<kWidth>(stencil, data, n * image.elements() + first, is_read, pixels);
    Real sum[kWidth];
    for (int c = 0; c < kWidth; ++c) sum[c] = -Real(0);  // See AddPixels() in plain_loops.h.
#pragma unroll
    for (int k = 0; k < Stencil::kCount; ++k) {
      if (!is_read(k)) continue;
      for (int c = 0; c < kWidth; ++c) {
        sum[c] += stencil.weight(k) * static_cast<Real>(pixels[k].values[c]);
      }
    }
    StoreSums(sum, output + p * image.channels + first);
  }
}

template <typename Stencil, typename Points, typename T, int kWidth>
__global__ void __launch_bounds__(kThreads, kSampleBlocks<Stencil, T, kWidth>)
    SampleKernel(Images<Stencil, T> images, FastPoints<Points, int64_t> points,
                 Packs<int64_t> packs, T* __restrict__ output) {
  using Real = typename Stencil::Real;
  const auto& extent = images.extent;
  const int64_t step = static_cast<int64_t>(gridDim.x) * kThreads;
  int64_t pack = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  for (; pack < packs.count; pack += step) {
    const int64_t p = packs.per_point.Quotient(pack);
    const int64_t first = (pack - p * packs.per_point.divisor()) * kWidth;
    const int64_t n = packs.points_per_image.Quotient(p);
    Real point[Stencil::kRank];
    points.At(n, p - n * packs.points_per_image.divisor(), point);
    Real sum[kWidth];
    for (int c = 0; c < kWidth; ++c) sum[c] = -Real(0);  // See AddPixels() in plain_loops.h.
    const T* image = images.data + (n * extent.elements() + first);
    const T* fill = images.fill == nullptr ? nullptr : images.fill + first;
    TapLines<Stencil>(images.rules, extent, point).ForEach([&](const auto& line) {
      const auto weight = [&](int k) { return line.weight(k); };
      const auto is_read = [&](int k) { return line.weight(k) != Real(0); };
      Channels<T, kWidth> pixels[Stencil::kTaps];
      LoadLine<kWidth>(line, image, fill, is_read, pixels);
      AddLine<kWidth>(line, weight, pixels, sum);
    });
    StoreSums(sum, output + p * extent.channels + first);
  }
}

template <typename Points, typename T>
const char* LaunchBilinear(const SampleCall<Points, T>& call, void* stream) {
  const auto launch = [&](auto tag, auto width) {
    using Stencil = typename decltype(tag)::type;
    using Index = typename Stencil::Index;
    const Packs<Index> packs(call, width);
    return Launch(&BilinearSampleKernel<Stencil, Points, T, width>, Blocks(packs.count, kThreads),
                  kThreads, stream, To<Index>(call.sizes.image),
                  FastPoints<Points, Index>(call.points), packs, call.data, call.output);
  };
  return VisitBilinearAndWidth(call, launch, call.data, call.output);
}

template <typename Points, typename T>
const char* LaunchGeneral(const SampleCall<Points, T>& call, void* stream) {
  return VisitGeneral(call, [&](auto tag, const auto& rules) {
    using Stencil = typename decltype(tag)::type;
    const auto launch = [&](auto width) {
      const Packs<int64_t> packs(call, width);
      return Launch(&SampleKernel<Stencil, Points, T, width>, Blocks(packs.count, kThreads),
                    kThreads, stream, Images<Stencil, T>(rules, call),
                    FastPoints<Points, int64_t>(call.points), packs, call.output);
    };
    return VisitWidth<T, kWidest<T>, 1>(call.sizes.image.channels, launch, call.data, call.fill,
                                        call.output);
  });
}

}  // namespace

template <typename Points, typename T>
const char* LaunchSample(const SampleCall<Points, T>& call, void* stream) {
  if (!HasSamples(call)) return nullptr;
  return VisitKind(call, [&](const auto& known) {
    if constexpr (Points::kRank == 2) {
      if (IsBilinear(known)) return LaunchBilinear(known, stream);
    }
    return LaunchGeneral(known, stream);
  });
}

#define TF_STN_INSTANTIATE(...) \
  template const char* LaunchSample(const SampleCall<__VA_ARGS__>&, void*);
TF_STN_FOR_EACH_PIXEL_TYPE(TF_STN_INSTANTIATE_FOR_PIXEL)
#undef TF_STN_INSTANTIATE

}  // namespace tf_stn
