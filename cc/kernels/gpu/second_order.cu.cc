// Computes the gradients of both gradients, for points that are stored: the kernel, for all modes,
// and its launcher.  See SecondOrderCall in cc/core/call.h.

#include <cstddef>
#include <cstdint>

#include "cc/core/call.h"
#include "cc/core/pixel_types.h"
#include "cc/core/stencil.h"
#include "cc/kernels/gpu/cuda.h"
#include "cc/kernels/gpu/fast_division.h"
#include "cc/kernels/gpu/launch.h"
#include "cc/kernels/gpu/launchers.h"
#include "cc/kernels/gpu/pixels.h"
#include "cc/kernels/gpu/sums.h"
#include "cc/kernels/gpu/tap_lines.h"
#include "cc/kernels/gpu/tiles.h"

namespace tf_stn {
namespace {

// What the kernel reads beside the images and points, and where its results go; null as in the
// call.
template <typename Real, typename T>
struct SecondOrder {
  template <typename Points>
  SecondOrder(const SecondOrderCall<Points, T>& call, Real* sums)
      : grad_output(call.grad_output),
        grad_grad_data(call.grad_grad_data),
        grad_grad_points(call.grad_grad_points),
        grad_data(sums),
        grad_points(call.grad_points),
        grad_grad_output(call.grad_grad_output) {}

  const T* grad_output;
  const T* grad_grad_data;
  const Real* grad_grad_points;
  Real* grad_data;
  Real* grad_points;
  T* grad_grad_output;
};

// Adds to the gradients, or for grad_grad_output writes, what one point of image `n` gives in
// channel `c`.  `direction` is its grad_grad_points.
template <typename Stencil, typename T>
__device__ void AddChannel(const Images<Stencil, T>& images,
                           const SecondOrder<typename Stencil::Real, T>& second,
                           const typename Stencil::Real* point,
                           const typename Stencil::Real* direction, int64_t n, int64_t p, int64_t c,
                           typename Stencil::Real* grad_point) {
  using Real = typename Stencil::Real;
  constexpr int kTaps = Stencil::kTaps;
  const auto& extent = images.extent;
  const int64_t start = n * extent.elements() + c;
  const int64_t in_output = p * extent.channels + c;
  const T* fill = images.fill == nullptr ? nullptr : images.fill + c;
  const auto gradient = Load<T, 1>(second.grad_output + in_output);
  const bool wants_samples = second.grad_grad_output != nullptr;
  const bool wants_points = second.grad_points != nullptr;
  Real sum[1] = {-Real(0)};  // See AddPixels() in plain_loops.h.

  TapLines<Stencil>(images.rules, extent, point).ForEach([&](const auto& line) {
    const auto is_read = [](int) { return true; };
    Channels<T, 1> pixels[kTaps];
    if (second.grad_grad_data != nullptr && (wants_samples || wants_points)) {
      const T* no_fill = nullptr;
      LoadLine<1>(line, second.grad_grad_data + start, no_fill, is_read, pixels);
      AddLine<1>(line, [&](int k) { return line.weight(k); }, pixels, sum);
      Real products[kTaps] = {};
      AddProducts(line, no_fill != nullptr, pixels, gradient, products);
      const auto slope = [&](int k, int d) { return line.slope(k, d); };
      AddSlopes(line, slope, products, grad_point);
    }
    if (second.grad_grad_points == nullptr) return;
    const auto weight = [&](int k) { return line.directed_weight(k, direction); };
    if (wants_samples || wants_points) {
      LoadLine<1>(line, images.data + start, fill, is_read, pixels);
      AddLine<1>(line, weight, pixels, sum);
      Real products[kTaps] = {};
      AddProducts(line, fill != nullptr, pixels, gradient, products);
      const auto slope = [&](int k, int d) { return line.directed_slope(k, d, direction); };
      AddSlopes(line, slope, products, grad_point);
    }
    if (second.grad_data != nullptr) {
      ScatterLine<1>(line, weight, gradient, second.grad_data + start);
    }
  });
  if (wants_samples) second.grad_grad_output[in_output] = ToPixel<T>(sum[0]);
}

// `lanes` neighbouring threads share the channels of a point, in `repeats` images where these share
// it.  Without grad_points, `count` may be all points of all images.
template <typename Stencil, typename Points, typename T>
__global__ void __launch_bounds__(kThreads, kGeneralBlocks<Stencil, true>)
    SecondOrderKernel(Images<Stencil, T> images, FastPoints<Points, int64_t> points,
                      SecondOrder<typename Stencil::Real, T> second,
                      FastDivision<int64_t> points_per_image, int64_t count, int64_t repeats,
                      int lanes) {
  using Real = typename Stencil::Real;
  constexpr int kRank = Stencil::kRank;
  const int64_t points_per_block = kThreads / lanes;
  const int lane = threadIdx.x % lanes;
  // The same for all threads of a block, so that all of them take part in shuffles.
  for (int64_t base = blockIdx.x * points_per_block; base < count;
       base += gridDim.x * points_per_block) {
    const int64_t i = base + threadIdx.x / lanes;
    Real grad_point[kRank] = {};
    if (i < count) {
      const int64_t own = points_per_image.Quotient(i);
      const int64_t q = i - own * points_per_image.divisor();
      Real point[kRank], direction[kRank] = {};
      points.At(own, q, point);
      if (second.grad_grad_points != nullptr) {
        const int64_t stored = own * points.source.per_image + q;
        for (int d = 0; d < kRank; ++d) direction[d] = second.grad_grad_points[stored * kRank + d];
      }
#pragma unroll 1
      for (int64_t n = own; n < own + repeats; ++n) {
        const int64_t p = n * points_per_image.divisor() + q;
#pragma unroll 1
        for (int64_t c = lane; c < images.extent.channels; c += lanes) {
          AddChannel(images, second, point, direction, n, p, c, grad_point);
        }
      }
    }
    if (second.grad_points == nullptr) continue;
    SumOverLanes<kRank>(lanes, grad_point);
    if (i >= count || lane != 0) continue;
    for (int d = 0; d < kRank; ++d) second.grad_points[i * kRank + d] = grad_point[d];
  }
}

template <typename Points, typename T>
const char* LaunchGeneral(const SecondOrderCall<Points, T>& call, Coordinate<T>* grad_data,
                          void* stream) {
  const auto& sizes = call.sizes;
  const int lanes = Lanes<T>(sizes.image.channels);
  const bool sums_images = call.shares_points() && call.grad_points != nullptr;
  const int64_t count = sums_images ? sizes.points_per_image : sizes.points();
  return VisitGeneral(call, [&](auto tag, const auto& rules) {
    using Stencil = typename decltype(tag)::type;
    return Launch(&SecondOrderKernel<Stencil, Points, T>, Blocks(count, kThreads / lanes), kThreads,
                  stream, Images<Stencil, T>(rules, call), FastPoints<Points, int64_t>(call.points),
                  SecondOrder<Coordinate<T>, T>(call, grad_data),
                  FastDivision<int64_t>(sizes.points_per_image), count,
                  sums_images ? sizes.images : 1, lanes);
  });
}

}  // namespace

template <typename Points, typename T>
size_t SecondOrderWorkspace(const SecondOrderCall<Points, T>& call) {
  return DeviceSums<T>(call, nullptr).bytes();
}

template <typename Points, typename T>
const char* LaunchSecondOrder(const SecondOrderCall<Points, T>& call, void* workspace,
                              bool deterministic, void* stream) {
  if constexpr (!Points::kIsStored) {
    return "the second order needs points that are stored";
  } else {
    const DeviceSums<T> data(call, workspace);
    const bool has_samples = HasSamples(call);
    // Without a direction of points the gradient of data is zero: all is linear in the data.
    const bool adds_data =
        has_samples && call.grad_data != nullptr && call.grad_grad_points != nullptr;
    const bool is_ordered = adds_data && deterministic;
    const char* error =
        is_ordered ? LaunchOrderedGradient(call, call.grad_grad_points, data.sums(), stream)
                   : data.Clear(stream);
    if (error != nullptr) return error;
    if (!has_samples) {
      error = ClearPointGradient(call, stream);
    } else {
      auto* const added = adds_data && !is_ordered ? data.sums() : nullptr;
      if (added != nullptr || call.grad_points != nullptr || call.grad_grad_output != nullptr) {
        error = LaunchGeneral(call, added, stream);
      }
    }
    return error == nullptr ? data.Finish(stream) : error;
  }
}

#define TF_STN_INSTANTIATE(...)                                              \
  template size_t SecondOrderWorkspace(const SecondOrderCall<__VA_ARGS__>&); \
  template const char* LaunchSecondOrder(const SecondOrderCall<__VA_ARGS__>&, void*, bool, void*);
TF_STN_FOR_EACH_PIXEL_TYPE(TF_STN_INSTANTIATE_FOR_PIXEL)
#undef TF_STN_INSTANTIATE

}  // namespace tf_stn
