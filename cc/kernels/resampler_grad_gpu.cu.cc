// The launcher of the kernels of both gradients, and those of linear interpolation of
// images with zeros outside.  No TensorFlow here: nvcc compiles it for the device, and g++
// for a test that runs it on the host.

#include <cstddef>
#include <cstdint>

#include "cc/core/coordinates.h"
#include "cc/core/half.h"
#include "cc/core/stencil.h"
#include "cc/kernels/cuda.h"
#include "cc/kernels/divider.h"
#include "cc/kernels/gpu_any.h"
#include "cc/kernels/gpu_gradient.h"
#include "cc/kernels/gpu_launch.h"
#include "cc/kernels/gpu_ordered_gradient.h"
#include "cc/kernels/gpu_pixels.h"
#include "cc/kernels/gpu_points.h"
#include "cc/kernels/resampler.h"

namespace tf_stn {
namespace {

// Adds what one point adds to its image's gradient, if kData, and writes dL/d(x, y[, z])
// of the point, if it is wanted.  The image and the point's output are where the two
// `start` say.
//
// `lanes` neighbouring threads, a power of two, share the channels of the point.  For
// the gradient of the point, each keeps one inner product for each pixel of the stencil
// in registers, shuffles add them up, and the first lane has the result.  All threads
// of a warp must call it, with false for `is_point` where there is none.
template <int kWidth, bool kData, typename Stencil, typename T>
__device__ void GradientOfPoint(const Stencil& stencil, typename Stencil::Index channels,
                                bool is_point, int lane, int lanes, const T* __restrict__ data,
                                typename Stencil::Index image_start,
                                const T* __restrict__ grad_output,
                                typename Stencil::Index output_start,
                                typename Stencil::Real* __restrict__ grad_data,
                                bool wants_grad_point, typename Stencil::Real* grad_point) {
  using Index = typename Stencil::Index;
  using Real = typename Stencil::Real;
  Real products[Stencil::kCount] = {};
  for (Index first = is_point ? lane * kWidth : channels; first < channels;
       first += lanes * kWidth) {
    const auto gradient = Load<T, kWidth>(grad_output + (output_start + first));
    if (!kData || wants_grad_point) {
      Channels<T, kWidth> pixels[Stencil::kCount];
      LoadPixels<kWidth>(stencil, data, image_start + first, [](int) { return true; }, pixels);
#pragma unroll
      for (int k = 0; k < Stencil::kCount; ++k) {
        if (stencil.offset(k) == kReadsAsZero) continue;
        for (int c = 0; c < kWidth; ++c) {
          products[k] +=
              static_cast<Real>(pixels[k].values[c]) * static_cast<Real>(gradient.values[c]);
        }
      }
    }
    if constexpr (kData) {
#pragma unroll
      for (int k = 0; k < Stencil::kCount; ++k) {
        const Real weight = stencil.weight(k);
        const Index offset = stencil.offset(k);
        const bool is_nan_or_zero = !(weight < 0 || weight > 0);
        if (is_nan_or_zero || offset == kReadsAsZero) continue;
        Real parts[kWidth];
        for (int c = 0; c < kWidth; ++c) parts[c] = weight * static_cast<Real>(gradient.values[c]);
        AtomicAdd<kWidth>(grad_data + (image_start + offset + first), parts);
      }
    }
  }
  if (kData && !wants_grad_point) return;
#pragma unroll
  for (int k = 0; k < Stencil::kCount; ++k) {
    for (int delta = lanes / 2; delta > 0; delta /= 2) {
      products[k] += __shfl_down_sync(kWholeWarp, products[k], delta, lanes);
    }
  }
#pragma unroll
  for (int d = 0; d < Stencil::kRank; ++d) {
    grad_point[d] = 0;
#pragma unroll
    for (int k = 0; k < Stencil::kCount; ++k) {
      const Real slope = stencil.slope(k, d);
      if (slope != Real(0)) grad_point[d] += slope * products[k];
    }
  }
}

// The gradient of points that are stored, those of each image for itself; `grad_warp` is
// null if nobody needs it, which without kData is never so.
template <typename Stencil, typename T, int kWidth, bool kData>
__global__ void __launch_bounds__(kThreads, kGradientBlocks<Stencil, kWidth, false>)
    WarpGradientKernel(Extent<Stencil::kRank, typename Stencil::Index> image,
                       WarpPoints<Stencil::kRank, typename Stencil::Real> points,
                       Divider<typename Stencil::Index> points_per_image,
                       typename Stencil::Index count, int lanes, const T* __restrict__ data,
                       const T* __restrict__ grad_output,
                       typename Stencil::Real* __restrict__ grad_data,
                       typename Stencil::Real* __restrict__ grad_warp) {
  using Index = typename Stencil::Index;
  using Real = typename Stencil::Real;
  const Index points_per_block = kThreads / lanes;
  const int lane = threadIdx.x % lanes;
  const Index elements = image.elements();
  // The same for all threads of a block, so that all of them meet at shuffles.
  Index base = blockIdx.x * points_per_block;
  for (; base < count; base += gridDim.x * points_per_block) {
    const Index mine = base + threadIdx.x / lanes;
    const bool is_point = mine < count;
    const Index p = is_point ? mine : base;
    const Index start = points_per_image.Quotient(p) * elements;
    Real point[Stencil::kRank], grad_point[Stencil::kRank];
    points.At(Index{0}, p, point);  // As stored, all are one image's.
    GradientOfPoint<kWidth, kData>(Stencil({}, image, point), image.channels, is_point, lane, lanes,
                                   data, start, grad_output, p * image.channels, grad_data,
                                   grad_warp != nullptr, grad_point);
    if (!is_point || lane != 0 || grad_warp == nullptr) continue;
    for (int d = 0; d < Stencil::kRank; ++d) grad_warp[p * Stencil::kRank + d] = grad_point[d];
  }
}

// The gradient of points from a matrix.  Writes for each tile its part of dL/dmatrix to
// `parts`, which is null if nobody needs it; without kData that is never so.
template <typename Stencil, typename T, int kWidth, bool kData>
__global__ void __launch_bounds__(kThreads, kGradientBlocks<Stencil, kWidth, true>)
    MatrixGradientKernel(
        Extent<Stencil::kRank, typename Stencil::Index> image,
        DevicePoints<AffinePoints<Stencil::kRank, typename Stencil::Real>, typename Stencil::Index>
            points,
        Tiles tiles, int lanes, const T* __restrict__ data, const T* __restrict__ grad_output,
        typename Stencil::Real* __restrict__ grad_data, double* __restrict__ parts) {
  using Index = typename Stencil::Index;
  using Real = typename Stencil::Real;
  constexpr int kRank = Stencil::kRank;
  const Index points_per_block = kThreads / lanes;
  const int lane = threadIdx.x % lanes;
  const Index count = static_cast<Index>(tiles.count());
  for (Index tile = blockIdx.x; tile < count; tile += gridDim.x) {
    const Index output = tile / static_cast<Index>(tiles.per_output);
    const Index n = output / static_cast<Index>(tiles.outputs_per_image);
    const Real* matrix =
        points.MatrixOf(n, output - n * static_cast<Index>(tiles.outputs_per_image));
    const Index begin =
        (tile - output * static_cast<Index>(tiles.per_output)) * static_cast<Index>(tiles.points);
    const Index end = EndOfTile<Index>(tiles, begin);
    const Index start = n * image.elements();
    MatrixSum<kRank, Real> sum;
    for (Index base = begin; base < end; base += points_per_block) {
      const Index mine = base + threadIdx.x / lanes;
      const bool is_point = mine < end;
      const Index p = is_point ? mine : begin;
      Index pixel[kRank];
      points.PixelOf(p, pixel);
      Real point[kRank], grad_point[kRank];
      AffinePoints<kRank, Real>::Map(matrix, pixel, point);
      const Index in_batch = output * static_cast<Index>(tiles.output_points) + p;
      GradientOfPoint<kWidth, kData>(Stencil({}, image, point), image.channels, is_point, lane,
                                     lanes, data, start, grad_output, in_batch * image.channels,
                                     grad_data, parts != nullptr, grad_point);
      if (!is_point || lane != 0 || parts == nullptr) continue;
      sum.Add(grad_point, pixel);
    }
    if (parts != nullptr) sum.Write(parts + int64_t{tile} * kParameters<kRank>);
  }
}

// Launches the kernel for the gradients that have somewhere to go, at least one.
template <typename T>
const char* LaunchLinearGradients(
    const ResamplerGradArguments<WarpPoints<2, Coordinate<T>>, T>& arguments,
    Coordinate<T>* grad_data, void* stream) {
  const auto& sizes = arguments.sizes;
  const int lanes = Lanes<T>(sizes.image.channels);
  return VisitLinearKernel<T>(
      sizes,
      [&](auto tag, auto width) {
        using Stencil = typename decltype(tag)::type;
        using Index = typename Stencil::Index;
        auto* kernel = &WarpGradientKernel<Stencil, T, width, false>;
        if (grad_data != nullptr) kernel = &WarpGradientKernel<Stencil, T, width, true>;
        return Launch(kernel, Blocks(sizes.points(), kThreads / lanes), kThreads, stream,
                      To<Index>(sizes.image), arguments.points,
                      Divider<Index>(sizes.points_per_image), static_cast<Index>(sizes.points()),
                      lanes, arguments.data, arguments.grad_output, grad_data,
                      arguments.grad_points);
      },
      arguments.data, arguments.grad_output, grad_data);
}

template <typename T>
const char* LaunchLinearGradients(
    const ResamplerGradArguments<AffinePoints<2, Coordinate<T>>, T>& arguments, const Tiles& tiles,
    Coordinate<T>* grad_data, double* parts, void* stream) {
  using Points = AffinePoints<2, Coordinate<T>>;
  const auto& sizes = arguments.sizes;
  return VisitLinearKernel<T>(
      sizes,
      [&](auto tag, auto width) {
        using Stencil = typename decltype(tag)::type;
        using Index = typename Stencil::Index;
        auto* kernel = &MatrixGradientKernel<Stencil, T, width, false>;
        if (grad_data != nullptr) kernel = &MatrixGradientKernel<Stencil, T, width, true>;
        return Launch(kernel, Blocks(tiles.count(), 1), kThreads, stream, To<Index>(sizes.image),
                      DevicePoints<Points, Index>(arguments.points), tiles,
                      Lanes<T>(sizes.image.channels), arguments.data, arguments.grad_output,
                      grad_data, parts);
      },
      arguments.data, arguments.grad_output, grad_data);
}

// Launches what adds to `grad_data`, unless it is null, and writes grad_points, unless that
// is null.
template <int Rank, typename T>
const char* LaunchGradients(
    const ResamplerGradArguments<WarpPoints<Rank, Coordinate<T>>, T>& arguments,
    Coordinate<T>* grad_data, double*, void* stream) {
  if constexpr (Rank == 2) {
    if (IsLinearImageWithZeros<Rank>(arguments.modes, arguments.fill) &&
        arguments.points.per_image != 0) {
      return LaunchLinearGradients<T>(arguments, grad_data, stream);
    }
  }
  return LaunchAnyGradients<T, Rank>(arguments, grad_data, stream);
}

template <int Rank, typename T>
const char* LaunchGradients(
    const ResamplerGradArguments<AffinePoints<Rank, Coordinate<T>>, T>& arguments,
    Coordinate<T>* grad_data, double* parts, void* stream) {
  const Tiles tiles = TilesOf<T>(arguments.sizes, arguments.points);
  if (arguments.grad_points == nullptr) parts = nullptr;
  const auto launch = [&] {
    if constexpr (Rank == 2) {
      if (IsLinearImageWithZeros<Rank>(arguments.modes, arguments.fill)) {
        return LaunchLinearGradients<T>(arguments, tiles, grad_data, parts, stream);
      }
    }
    return LaunchAnyGradients<T, Rank>(arguments, tiles, grad_data, parts, stream);
  };
  const char* error = launch();
  if (error != nullptr || parts == nullptr) return error;
  const int64_t matrices = arguments.points.stored;
  return Launch(&SumTilesKernel<kParameters<Rank>, Coordinate<T>>, Blocks(matrices, 1), kThreads,
                stream, matrices, tiles.outputs / matrices, tiles.per_output, parts,
                arguments.grad_points);
}

template <typename Points, typename T>
const char* LaunchOrderedGradient(const ResamplerGradArguments<Points, T>& arguments,
                                  Coordinate<T>* grad_data, void* stream) {
  if constexpr (Points::kRank == 2) {
    if (IsLinearImageWithZeros<Points::kRank>(arguments.modes, arguments.fill)) {
      const auto launch = [&](auto tag) {
        return LaunchOrderedDataGradient<typename decltype(tag)::type>(arguments, grad_data,
                                                                       stream);
      };
      using Real = Coordinate<T>;
      return FitsInt32(arguments.sizes)
                 ? launch(TypeTag<Stencil<2, Linear, Zeros, Real, int32_t>>())
                 : launch(TypeTag<Stencil<2, Linear, Zeros, Real, int64_t>>());
    }
  }
  return LaunchAnyOrderedGradient(arguments, nullptr, grad_data, stream);
}

// Returns the bytes of the workspace that tiles take.
template <typename Points, typename T>
size_t BytesOfTiles(const ResamplerGradArguments<Points, T>& arguments) {
  if constexpr (kAreFromMatrix<Points>) {
    if (arguments.grad_points == nullptr) return 0;
    const int64_t tiles = TilesOf<T>(arguments.sizes, arguments.points).count();
    return static_cast<size_t>(tiles * kParameters<Points::kRank>) * sizeof(double);
  } else {
    return 0;
  }
}

}  // namespace

template <typename Points, typename T>
size_t ResamplerGradWorkspace(const ResamplerGradArguments<Points, T>& arguments) {
  return DeviceSums<T>(arguments.sizes, arguments.grad_data).bytes() + BytesOfTiles(arguments);
}

template <typename Points, typename T>
const char* LaunchResamplerGrad(const ResamplerGradArguments<Points, T>& arguments, void* workspace,
                                bool deterministic, void* stream) {
  using Real = Coordinate<T>;
  const DeviceSums<T> sums(arguments.sizes, arguments.grad_data);
  Real* grad_data = sums.In(workspace);
  auto* parts = reinterpret_cast<double*>(static_cast<char*>(workspace) + sums.bytes());
  const char* error = nullptr;
  if (arguments.sizes.points() == 0) {
    error = sums.Clear(workspace, stream);
    if (error == nullptr && arguments.grad_points != nullptr) {
      const auto count = static_cast<size_t>(NumbersOf(arguments.points));
      error = FillWithZeros(arguments.grad_points, count * sizeof(Real), stream);
    }
    return error == nullptr ? sums.Round(workspace, stream) : error;
  }
  if (grad_data != nullptr) {
    error = deterministic ? LaunchOrderedGradient(arguments, grad_data, stream)
                          : sums.Clear(workspace, stream);
    if (error != nullptr) return error;
  }
  Real* added = deterministic ? nullptr : grad_data;
  if (added != nullptr || arguments.grad_points != nullptr) {
    error = LaunchGradients<Points::kRank, T>(arguments, added, parts, stream);
    if (error != nullptr) return error;
  }
  return sums.Round(workspace, stream);
}

#define TF_STN_INSTANTIATE(Points, Rank, T)                           \
  template size_t ResamplerGradWorkspace(                             \
      const ResamplerGradArguments<Points<Rank, Coordinate<T>>, T>&); \
  template const char* LaunchResamplerGrad(                           \
      const ResamplerGradArguments<Points<Rank, Coordinate<T>>, T>&, void*, bool, void*)
TF_STN_FOR_ALL_WARPS(TF_STN_INSTANTIATE);
TF_STN_FOR_ALL_MATRICES(TF_STN_INSTANTIATE);
#undef TF_STN_INSTANTIATE

}  // namespace tf_stn
