// The kernel of the gradients' gradients and its launcher.  No TensorFlow here: nvcc
// compiles it for the device, and g++ for a test that runs it on the host.

#include <cstddef>
#include <cstdint>

#include "cc/core/coordinates.h"
#include "cc/core/half.h"
#include "cc/core/padding.h"
#include "cc/core/resample.h"
#include "cc/kernels/cuda.h"
#include "cc/kernels/divider.h"
#include "cc/kernels/gpu_any.h"
#include "cc/kernels/gpu_gradient.h"
#include "cc/kernels/gpu_launch.h"
#include "cc/kernels/gpu_pixels.h"
#include "cc/kernels/gpu_rows.h"
#include "cc/kernels/resampler.h"

namespace tf_stn {
namespace {

// Where the gradients go; null if nobody needs one.
template <typename Real, typename T>
struct GradGradOutputs {
  Real* grad_data;
  Real* grad_warp;
  T* grad_grad_output;
};

// Adds, or for grad_grad_output writes, what one point of image `n` does to 1 channels
// from `first` on.  `direction` is its grad_grad_warp.
template <typename Stencil, typename T>
__device__ void GradGradOfChannel(const Images<Stencil, T>& images,
                                  const SecondOrder<Stencil, T>& second,
                                  const typename Stencil::Real* point,
                                  const typename Stencil::Real* direction, int64_t n, int64_t p,
                                  int64_t first,
                                  const GradGradOutputs<typename Stencil::Real, T>& outputs,
                                  typename Stencil::Real* grad_point) {
  using Real = typename Stencil::Real;
  constexpr int kTaps = Stencil::kTaps;
  const auto& extent = images.extent;
  const int64_t start = n * extent.elements() + first;
  const int64_t in_output = p * extent.channels + first;
  const T* fill = images.fill == nullptr ? nullptr : images.fill + first;
  const auto gradient = Load<T, 1>(second.grad_output + in_output);
  const bool wants_samples = outputs.grad_grad_output != nullptr;
  const bool wants_point = outputs.grad_warp != nullptr;
  Real sum[1];
  for (int c = 0; c < 1; ++c) sum[c] = -Real(0);  // As in cc/core/resample.h.

  StencilRows<Stencil>(images.rules, extent, point).ForEach([&](const auto& row) {
    const auto is_read = [](int) { return true; };
    Channels<T, 1> pixels[kTaps];
    if (second.grad_grad_data != nullptr && (wants_samples || wants_point)) {
      const T* no_fill = nullptr;
      LoadRow<1>(row, second.grad_grad_data + start, no_fill, is_read, pixels);
      AddRow<1>(row, [&](int k) { return row.weight(k); }, pixels, sum);
      Real products[kTaps] = {};
      AddProducts(row, no_fill != nullptr, pixels, gradient, products);
      const auto slope = [&](int k, int d) { return row.slope(k, d); };
      AddSlopes(row, slope, products, grad_point);
    }
    if (second.grad_grad_warp == nullptr) return;
    const auto weight = [&](int k) { return row.directed_weight(k, direction); };
    if (wants_samples || wants_point) {
      LoadRow<1>(row, images.data + start, fill, is_read, pixels);
      AddRow<1>(row, weight, pixels, sum);
      Real products[kTaps] = {};
      AddProducts(row, fill != nullptr, pixels, gradient, products);
      const auto slope = [&](int k, int d) { return row.directed_slope(k, d, direction); };
      AddSlopes(row, slope, products, grad_point);
    }
    if (outputs.grad_data != nullptr) {
      ScatterRow<1>(row, weight, gradient, outputs.grad_data + start);
    }
  });
  if (!wants_samples) return;
  Channels<T, 1> result;
  for (int c = 0; c < 1; ++c) result.values[c] = static_cast<T>(sum[c]);
  *reinterpret_cast<Channels<T, 1>*>(outputs.grad_grad_output + in_output) = result;
}

// `lanes` neighbouring threads share the channels of a stored point, in `repeats` images
// where these share it.  Without grad_warp, `count` may be all points of all images.
template <typename Stencil, typename T>
__global__ void __launch_bounds__(kThreads, kAnyBlocks<Stencil>)
    GradGradKernel(Images<Stencil, T> images,
                   WarpPoints<Stencil::kRank, typename Stencil::Real> points,
                   SecondOrder<Stencil, T> second, Divider<int64_t> points_per_image, int64_t count,
                   int64_t repeats, int lanes, GradGradOutputs<typename Stencil::Real, T> outputs) {
  using Real = typename Stencil::Real;
  constexpr int kRank = Stencil::kRank;
  const int64_t points_per_block = kThreads / lanes;
  const int lane = threadIdx.x % lanes;
  // The same for all threads of a block, so that all of them meet at shuffles.
  for (int64_t base = blockIdx.x * points_per_block; base < count;
       base += gridDim.x * points_per_block) {
    const int64_t i = base + threadIdx.x / lanes;
    Real grad_point[kRank] = {};
    if (i < count) {
      const int64_t own = points_per_image.Quotient(i);
      const int64_t q = i - own * points_per_image.divisor();
      Real point[kRank], direction[kRank] = {};
      points.At(own, q, point);
      if (second.grad_grad_warp != nullptr) {
        const int64_t stored = own * points.per_image + q;
        for (int d = 0; d < kRank; ++d) direction[d] = second.grad_grad_warp[stored * kRank + d];
      }
#pragma unroll 1
      for (int64_t n = own; n < own + repeats; ++n) {
        const int64_t p = n * points_per_image.divisor() + q;
#pragma unroll 1
        for (int64_t first = lane; first < images.extent.channels; first += lanes) {
          GradGradOfChannel(images, second, point, direction, n, p, first, outputs, grad_point);
        }
      }
    }
    if (outputs.grad_warp == nullptr) continue;
    SumOverLanes<kRank>(lanes, grad_point);
    if (i >= count || lane != 0) continue;
    for (int d = 0; d < kRank; ++d) outputs.grad_warp[i * kRank + d] = grad_point[d];
  }
}

template <typename T, int Rank>
const char* LaunchGradGrad(
    const ResamplerGradGradArguments<WarpPoints<Rank, Coordinate<T>>, T>& arguments,
    Coordinate<T>* grad_data, void* stream) {
  const auto& sizes = arguments.sizes;
  const int lanes = Lanes<T>(sizes.image.channels);
  const bool is_shared = arguments.points.per_image == 0 && arguments.grad_points != nullptr;
  const int64_t count = is_shared ? sizes.points_per_image : sizes.points();
  return VisitAnyKernel<Rank, T>(arguments.modes, [&](auto tag, const auto& rules) {
    using Stencil = typename decltype(tag)::type;
    const SecondOrder<Stencil, T> second = {arguments.grad_output, arguments.grad_grad_data,
                                            arguments.grad_grad_points};
    const GradGradOutputs<Coordinate<T>, T> outputs = {grad_data, arguments.grad_points,
                                                       arguments.grad_grad_output};
    return Launch(&GradGradKernel<Stencil, T>, Blocks(count, kThreads / lanes), kThreads, stream,
                  ImagesOf<Stencil>(arguments, rules), arguments.points, second,
                  Divider<int64_t>(sizes.points_per_image), count, is_shared ? sizes.images : 1,
                  lanes, outputs);
  });
}

}  // namespace

template <typename Points, typename T>
size_t ResamplerGradGradWorkspace(const ResamplerGradGradArguments<Points, T>& arguments) {
  return DeviceSums<T>(arguments.sizes, arguments.grad_data).bytes();
}

template <typename Points, typename T>
const char* LaunchResamplerGradGrad(const ResamplerGradGradArguments<Points, T>& arguments,
                                    void* workspace, bool deterministic, void* stream) {
  using Real = Coordinate<T>;
  const auto& a = arguments;
  const bool has_points = a.sizes.points() > 0;
  const bool adds_data = has_points && a.grad_data != nullptr && a.grad_grad_points != nullptr;
  const DeviceSums<T> sums(a.sizes, a.grad_data);
  Real* grad_data = sums.In(workspace);
  const char* error = nullptr;
  if (adds_data && deterministic) {
    const ResamplerGradArguments<Points, T> first_order = {
        a.modes, a.sizes, a.data, a.fill, a.points, a.grad_output, nullptr, nullptr};
    error = LaunchAnyOrderedGradient(first_order, a.grad_grad_points, grad_data, stream);
  } else {
    error = sums.Clear(workspace, stream);
  }
  if (error == nullptr && !has_points && a.grad_points != nullptr) {
    const auto count = static_cast<size_t>(NumbersOf(a.points));
    error = FillWithZeros(a.grad_points, count * sizeof(Real), stream);
  }
  if (error != nullptr) return error;
  Real* added = adds_data && !deterministic ? grad_data : nullptr;
  const bool has_outputs =
      added != nullptr || a.grad_points != nullptr || a.grad_grad_output != nullptr;
  if (has_points && has_outputs) {
    error = LaunchGradGrad<T, Points::kRank>(a, added, stream);
    if (error != nullptr) return error;
  }
  return sums.Round(workspace, stream);
}

#define TF_STN_INSTANTIATE(Points, Rank, T)                               \
  template size_t ResamplerGradGradWorkspace(                             \
      const ResamplerGradGradArguments<Points<Rank, Coordinate<T>>, T>&); \
  template const char* LaunchResamplerGradGrad(                           \
      const ResamplerGradGradArguments<Points<Rank, Coordinate<T>>, T>&, void*, bool, void*)
TF_STN_FOR_ALL_WARPS(TF_STN_INSTANTIATE);
#undef TF_STN_INSTANTIATE

}  // namespace tf_stn
