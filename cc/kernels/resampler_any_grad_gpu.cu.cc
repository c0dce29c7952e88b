// The kernels of both gradients for any modes.  No TensorFlow here: nvcc compiles it for the
// device, and g++ for a test that runs it on the host.

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
#include "cc/kernels/gpu_points.h"
#include "cc/kernels/gpu_rows.h"
#include "cc/kernels/resampler.h"

namespace tf_stn {
namespace {

// Adds what one point of image `n` adds to `grad_data`, unless it is null, and to
// dL/d(x, y[, z]) of the point, if it is wanted.  `lanes` neighbouring threads share the
// channels of the point: of its gradient, each adds its part.
template <typename Stencil, typename T>
__device__ void AddAnyGradient(const Images<Stencil, T>& images,
                               const typename Stencil::Real* point, int64_t n, int lane, int lanes,
                               const T* __restrict__ grad_output,
                               typename Stencil::Real* __restrict__ grad_data,
                               bool wants_grad_point, typename Stencil::Real* grad_point) {
  using Real = typename Stencil::Real;
  const auto& extent = images.extent;
  const int64_t start = n * extent.elements();
  StencilRows<Stencil>(images.rules, extent, point).ForEach([&](const auto& row) {
    Real products[Stencil::kTaps] = {};
#pragma unroll 1
    for (int64_t first = lane; first < extent.channels; first += lanes) {
      const auto gradient = Load<T, 1>(grad_output + first);
      if (wants_grad_point) {
        const T* fill = images.fill == nullptr ? nullptr : images.fill + first;
        Channels<T, 1> pixels[Stencil::kTaps];
        LoadRow<1>(row, images.data + (start + first), fill, [](int) { return true; }, pixels);
        AddProducts(row, fill != nullptr, pixels, gradient, products);
      }
      if (grad_data != nullptr) {
        ScatterRow<1>(
            row, [&](int k) { return row.weight(k); }, gradient, grad_data + (start + first));
      }
    }
    const auto slope = [&](int k, int d) { return row.slope(k, d); };
    if (wants_grad_point) AddSlopes(row, slope, products, grad_point);
  });
}

// The gradient of stored points, summed over `repeats` images where these share them.
// Without grad_warp, `count` may be all points of all images.
template <typename Stencil, typename T>
__global__ void __launch_bounds__(kThreads, kAnyBlocks<Stencil>)
    AnyWarpGradientKernel(Images<Stencil, T> images,
                          WarpPoints<Stencil::kRank, typename Stencil::Real> points,
                          Divider<int64_t> points_per_image, int64_t count, int64_t repeats,
                          int lanes, const T* __restrict__ grad_output,
                          typename Stencil::Real* __restrict__ grad_data,
                          typename Stencil::Real* __restrict__ grad_warp) {
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
      Real point[kRank];
      points.At(own, q, point);
#pragma unroll 1
      for (int64_t n = own; n < own + repeats; ++n) {
        const int64_t p = n * points_per_image.divisor() + q;
        AddAnyGradient(images, point, n, lane, lanes, grad_output + p * images.extent.channels,
                       grad_data, grad_warp != nullptr, grad_point);
      }
    }
    if (grad_warp == nullptr) continue;
    SumOverLanes<kRank>(lanes, grad_point);
    if (i >= count || lane != 0) continue;
    for (int d = 0; d < kRank; ++d) grad_warp[i * kRank + d] = grad_point[d];
  }
}

// The gradient of points from a matrix.  Writes for each tile its part of dL/dmatrix to
// `parts`, which is null if nobody needs it.
template <typename Stencil, typename T>
__global__ void __launch_bounds__(kThreads, kAnyBlocks<Stencil>) AnyMatrixGradientKernel(
    Images<Stencil, T> images,
    DevicePoints<AffinePoints<Stencil::kRank, typename Stencil::Real>, int64_t> points, Tiles tiles,
    Divider<int64_t> tiles_per_output, Divider<int64_t> outputs_per_image, int lanes,
    const T* __restrict__ grad_output, typename Stencil::Real* __restrict__ grad_data,
    double* __restrict__ parts) {
  using Real = typename Stencil::Real;
  constexpr int kRank = Stencil::kRank;
  const int64_t points_per_block = kThreads / lanes;
  const int lane = threadIdx.x % lanes;
  for (int64_t tile = blockIdx.x; tile < tiles.count(); tile += gridDim.x) {
    const int64_t output = tiles_per_output.Quotient(tile);
    const int64_t n = outputs_per_image.Quotient(output);
    const Real* matrix = points.MatrixOf(n, output - n * tiles.outputs_per_image);
    const int64_t begin = (tile - output * tiles.per_output) * tiles.points;
    const int64_t end = EndOfTile(tiles, begin);
    MatrixSum<kRank, Real> sum;
    for (int64_t base = begin; base < end; base += points_per_block) {
      const int64_t i = base + threadIdx.x / lanes;
      const bool is_point = i < end;
      Real grad_point[kRank] = {};
      if (is_point) {
        int64_t pixel[kRank];
        points.PixelOf(i, pixel);
        Real point[kRank];
        AffinePoints<kRank, Real>::Map(matrix, pixel, point);
        const int64_t p = output * tiles.output_points + i;
        AddAnyGradient(images, point, n, lane, lanes, grad_output + p * images.extent.channels,
                       grad_data, parts != nullptr, grad_point);
      }
      if (parts == nullptr) continue;
      SumOverLanes<kRank>(lanes, grad_point);
      if (!is_point || lane != 0) continue;
      int64_t pixel[kRank];
      points.PixelOf(i, pixel);
      sum.Add(grad_point, pixel);
    }
    if (parts != nullptr) sum.Write(parts + tile * kParameters<kRank>);
  }
}

}  // namespace

template <typename T, int Rank>
const char* LaunchAnyGradients(
    const ResamplerGradArguments<WarpPoints<Rank, Coordinate<T>>, T>& arguments,
    Coordinate<T>* grad_data, void* stream) {
  const auto& sizes = arguments.sizes;
  const int lanes = Lanes<T>(sizes.image.channels);
  const bool is_shared = arguments.points.per_image == 0 && arguments.grad_points != nullptr;
  const int64_t count = is_shared ? sizes.points_per_image : sizes.points();
  return VisitAnyKernel<Rank, T>(arguments.modes, [&](auto tag, const auto& rules) {
    using Stencil = typename decltype(tag)::type;
    return Launch(&AnyWarpGradientKernel<Stencil, T>, Blocks(count, kThreads / lanes), kThreads,
                  stream, ImagesOf<Stencil>(arguments, rules), arguments.points,
                  Divider<int64_t>(sizes.points_per_image), count, is_shared ? sizes.images : 1,
                  lanes, arguments.grad_output, grad_data, arguments.grad_points);
  });
}

template <typename T, int Rank>
const char* LaunchAnyGradients(
    const ResamplerGradArguments<AffinePoints<Rank, Coordinate<T>>, T>& arguments,
    const Tiles& tiles, Coordinate<T>* grad_data, double* parts, void* stream) {
  using Points = AffinePoints<Rank, Coordinate<T>>;
  const auto& sizes = arguments.sizes;
  return VisitAnyKernel<Rank, T>(arguments.modes, [&](auto tag, const auto& rules) {
    using Stencil = typename decltype(tag)::type;
    return Launch(&AnyMatrixGradientKernel<Stencil, T>, Blocks(tiles.count(), 1), kThreads, stream,
                  ImagesOf<Stencil>(arguments, rules),
                  DevicePoints<Points, int64_t>(arguments.points), tiles,
                  Divider<int64_t>(tiles.per_output), Divider<int64_t>(tiles.outputs_per_image),
                  Lanes<T>(sizes.image.channels), arguments.grad_output, grad_data, parts);
  });
}

#define TF_STN_INSTANTIATE_WARP(Points, Rank, T)    \
  template const char* LaunchAnyGradients<T, Rank>( \
      const ResamplerGradArguments<Points<Rank, Coordinate<T>>, T>&, Coordinate<T>*, void*)
#define TF_STN_INSTANTIATE_MATRIX(Points, Rank, T)                                                 \
  template const char* LaunchAnyGradients<T, Rank>(                                                \
      const ResamplerGradArguments<Points<Rank, Coordinate<T>>, T>&, const Tiles&, Coordinate<T>*, \
      double*, void*)
TF_STN_FOR_ALL_WARPS(TF_STN_INSTANTIATE_WARP);
TF_STN_FOR_ALL_MATRICES(TF_STN_INSTANTIATE_MATRIX);
#undef TF_STN_INSTANTIATE_WARP
#undef TF_STN_INSTANTIATE_MATRIX

}  // namespace tf_stn
