// The kernels of both gradients and their launcher.  No TensorFlow here: nvcc compiles
// it for the device, and g++ for a test that runs it on the host.

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "cc/core/coordinates.h"
#include "cc/core/half.h"
#include "cc/core/stencil.h"
#include "cc/kernels/cuda.h"
#include "cc/kernels/divider.h"
#include "cc/kernels/gpu_launch.h"
#include "cc/kernels/gpu_ordered_gradient.h"
#include "cc/kernels/gpu_pixels.h"
#include "cc/kernels/gpu_points.h"
#include "cc/kernels/gpu_sums.h"
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

// The gradient of stored points; `grad_warp` is null if nobody needs it, which without
// kData is never so.
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
    points.At(p, point);
    GradientOfPoint<kWidth, kData>(Stencil(image, point), image.channels, is_point, lane, lanes,
                                   data, start, grad_output, p * image.channels, grad_data,
                                   grad_warp != nullptr, grad_point);
    if (!is_point || lane != 0 || grad_warp == nullptr) continue;
    for (int d = 0; d < Stencil::kRank; ++d) grad_warp[p * Stencil::kRank + d] = grad_point[d];
  }
}

// The points of an image, divided among blocks.  A block sums dL/dmatrix over a tile,
// and another kernel sums the tiles of an image: no gradient of a point is stored, and
// the order of sums depends on the sizes alone.
struct Tiles {
  int64_t points;  // At most, in a tile.
  int64_t per_image;
};

template <int Rank>
inline constexpr int kParameters = Rank * (Rank + 1);

// The gradient of points from a matrix.  Writes for each tile its part of dL/dmatrix to
// `parts`, which is null if nobody needs it; without kData that is never so.
template <typename Stencil, typename T, int kWidth, bool kData>
__global__ void __launch_bounds__(kThreads, kGradientBlocks<Stencil, kWidth, true>)
    MatrixGradientKernel(
        Extent<Stencil::kRank, typename Stencil::Index> image,
        DevicePoints<AffinePoints<Stencil::kRank, typename Stencil::Real>, typename Stencil::Index>
            points,
        typename Stencil::Index points_per_image, typename Stencil::Index points_per_tile,
        typename Stencil::Index tiles_per_image, typename Stencil::Index tiles, int lanes,
        const T* __restrict__ data, const T* __restrict__ grad_output,
        typename Stencil::Real* __restrict__ grad_data, double* __restrict__ parts) {
  using Index = typename Stencil::Index;
  using Real = typename Stencil::Real;
  constexpr int kRank = Stencil::kRank;
  const Index points_per_block = kThreads / lanes;
  const int lane = threadIdx.x % lanes;
  for (Index tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
    const Index n = tile / tiles_per_image;
    const Index begin = (tile - n * tiles_per_image) * points_per_tile;
    const Index left = points_per_image - begin;
    const Index end = begin + (left < points_per_tile ? left : points_per_tile);
    const Index start = n * image.elements();
    RunningSum<Real> sums[kParameters<kRank>];
    for (Index base = begin; base < end; base += points_per_block) {
      const Index mine = base + threadIdx.x / lanes;
      const bool is_point = mine < end;
      const Index in_image = is_point ? mine : begin;
      const PointNumbers<Index> p = {n * points_per_image + in_image, n, in_image};
      Real point[kRank], grad_point[kRank];
      points.At(p, point);
      GradientOfPoint<kWidth, kData>(Stencil(image, point), image.channels, is_point, lane, lanes,
                                     data, start, grad_output, p.in_batch * image.channels,
                                     grad_data, parts != nullptr, grad_point);
      if (!is_point || lane != 0 || parts == nullptr) continue;
      Index pixel[kRank];
      points.PixelOf(p, pixel);
#pragma unroll
      for (int d = 0; d < kRank; ++d) {
        RunningSum<Real>* row = sums + d * (kRank + 1);
        for (int k = 0; k < kRank; ++k) row[k].Add(grad_point[d] * static_cast<Real>(pixel[k]));
        row[kRank].Add(grad_point[d]);
      }
    }
    if (parts == nullptr) continue;
    double mine[kParameters<kRank>];
    for (int i = 0; i < kParameters<kRank>; ++i) mine[i] = sums[i].Value();
    const double sum = SumOverBlock<kParameters<kRank>>(mine);
    const int i = threadIdx.x;
    if (i < kParameters<kRank>) parts[int64_t{tile} * kParameters<kRank> + i] = sum;
  }
}

// Sums the tiles of each image: a block takes an image, a thread every kThreads-th tile.
template <int kCount, typename Real>
__global__ void __launch_bounds__(kThreads, kBlocks)
    SumTilesKernel(int64_t images, int64_t tiles_per_image, const double* __restrict__ parts,
                   Real* __restrict__ sums) {
  const int i = threadIdx.x;
  for (int64_t n = blockIdx.x; n < images; n += gridDim.x) {
    double mine[kCount] = {};
    for (int64_t tile = i; tile < tiles_per_image; tile += kThreads) {
      const double* part = parts + (n * tiles_per_image + tile) * kCount;
      for (int k = 0; k < kCount; ++k) mine[k] += part[k];
    }
    const double sum = SumOverBlock<kCount>(mine);
    if (i < kCount) sums[n * kCount + i] = static_cast<Real>(sum);
  }
}

template <typename Real, typename T>
__global__ void __launch_bounds__(kThreads, kBlocks)
    RoundKernel(int64_t count, const Real* __restrict__ sums, T* __restrict__ rounded) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * kThreads;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; i < count;
       i += step) {
    rounded[i] = static_cast<T>(sums[i]);
  }
}

// Returns the threads that share the channels of a point.  Each takes at least four of
// them, even one by one, before another helps.
template <typename T>
int Lanes(int64_t channels) {
  constexpr int64_t kAlone = kWidest<T> < 4 ? 4 : kWidest<T>;
  int lanes = 1;
  while (lanes < kWarpSize && lanes * kAlone < channels) lanes *= 2;
  return lanes;
}

template <typename T, int Rank>
Tiles TilesOf(const ResamplerSizes<Rank>& sizes) {
  // To keep every multiprocessor busy; more would be more to sum in the end.
  constexpr int64_t kEnoughTiles = kMostBlocks < 2048 ? kMostBlocks : 2048;
  if (sizes.points() == 0) return {1, 0};
  const int64_t at_once = kThreads / Lanes<T>(sizes.image.channels);
  const int64_t wanted = CeilDivide(kEnoughTiles, sizes.images);
  const int64_t rounds = CeilDivide(CeilDivide(sizes.points_per_image, wanted), at_once);
  return {rounds * at_once, CeilDivide(sizes.points_per_image, rounds * at_once)};
}

// Where half types are summed, and where tiles are: one after the other in the workspace.
template <typename Points, typename T>
size_t BytesOfSums(const ResamplerGradArguments<Points, T>& arguments) {
  if (arguments.grad_data == nullptr || std::is_same_v<T, Coordinate<T>>) return 0;
  const int64_t count = arguments.sizes.images * arguments.sizes.image.elements();
  return static_cast<size_t>(CeilDivide(count, 4) * 4) * sizeof(Coordinate<T>);
}

template <typename Points, typename T>
size_t BytesOfTiles(const ResamplerGradArguments<Points, T>& arguments) {
  if (arguments.grad_points == nullptr || !kAreFromMatrix<Points>) return 0;
  const int64_t tiles = arguments.sizes.images * TilesOf<T>(arguments.sizes).per_image;
  return static_cast<size_t>(tiles * kParameters<Points::kRank>) * sizeof(double);
}

// Launches the kernel for the gradients that have somewhere to go, at least one.
template <typename Stencil, int kWidth, typename Real, typename T>
const char* LaunchGradients(
    const ResamplerGradArguments<WarpPoints<Stencil::kRank, Real>, T>& arguments, Real* grad_data,
    double*, void* stream) {
  using Index = typename Stencil::Index;
  const auto& sizes = arguments.sizes;
  const int lanes = Lanes<T>(sizes.image.channels);
  const auto kernel = grad_data == nullptr ? &WarpGradientKernel<Stencil, T, kWidth, false>
                                           : &WarpGradientKernel<Stencil, T, kWidth, true>;
  return Launch(kernel, Blocks(sizes.points(), kThreads / lanes), kThreads, stream,
                To<Index>(sizes.image), arguments.points, Divider<Index>(sizes.points_per_image),
                static_cast<Index>(sizes.points()), lanes, arguments.data, arguments.grad_output,
                grad_data, arguments.grad_points);
}

template <typename Stencil, int kWidth, typename Real, typename T>
const char* LaunchGradients(
    const ResamplerGradArguments<AffinePoints<Stencil::kRank, Real>, T>& arguments, Real* grad_data,
    double* parts, void* stream) {
  using Index = typename Stencil::Index;
  using Points = AffinePoints<Stencil::kRank, Real>;
  const auto& sizes = arguments.sizes;
  const Tiles tiles = TilesOf<T>(sizes);
  const auto kernel = grad_data == nullptr ? &MatrixGradientKernel<Stencil, T, kWidth, false>
                                           : &MatrixGradientKernel<Stencil, T, kWidth, true>;
  const char* error = Launch(kernel, Blocks(sizes.images * tiles.per_image, 1), kThreads, stream,
                             To<Index>(sizes.image), DevicePoints<Points, Index>(arguments.points),
                             static_cast<Index>(sizes.points_per_image),
                             static_cast<Index>(tiles.points), static_cast<Index>(tiles.per_image),
                             static_cast<Index>(sizes.images * tiles.per_image),
                             Lanes<T>(sizes.image.channels), arguments.data, arguments.grad_output,
                             grad_data, arguments.grad_points == nullptr ? nullptr : parts);
  if (error != nullptr || arguments.grad_points == nullptr) return error;
  return Launch(&SumTilesKernel<Points::kParameters, Real>, Blocks(sizes.images, 1), kThreads,
                stream, sizes.images, tiles.per_image, parts, arguments.grad_points);
}

}  // namespace

template <typename Points, typename T>
size_t ResamplerGradWorkspace(const ResamplerGradArguments<Points, T>& arguments) {
  return BytesOfSums(arguments) + BytesOfTiles(arguments);
}

template <typename Points, typename T>
const char* LaunchResamplerGrad(const ResamplerGradArguments<Points, T>& arguments, void* workspace,
                                bool deterministic, void* stream) {
  using Real = Coordinate<T>;
  const auto& sizes = arguments.sizes;
  const bool has_points = sizes.points() > 0;
  const int64_t elements =
      arguments.grad_data == nullptr ? 0 : sizes.images * sizes.image.elements();
  Real* grad_data = nullptr;
  if constexpr (std::is_same_v<T, Real>) {
    grad_data = arguments.grad_data;
  } else {
    if (arguments.grad_data != nullptr) grad_data = static_cast<Real*>(workspace);
  }
  auto* parts = reinterpret_cast<double*>(static_cast<char*>(workspace) + BytesOfSums(arguments));

  // What no kernel writes, or one only adds to.
  const char* error = nullptr;
  if (elements > 0 && !(deterministic && has_points)) {
    error = FillWithZeros(grad_data, static_cast<size_t>(elements) * sizeof(Real), stream);
  }
  if (error == nullptr && !has_points && kAreFromMatrix<Points> &&
      arguments.grad_points != nullptr) {
    const int64_t count = sizes.images * kParameters<Points::kRank>;
    error = FillWithZeros(arguments.grad_points, static_cast<size_t>(count) * sizeof(Real), stream);
  }
  if (error != nullptr) return error;

  if (has_points) {
    error = VisitKernel<Points::kRank, T>(
        arguments.modes, sizes,
        [&](auto tag, auto width) -> const char* {
          using Stencil = typename decltype(tag)::type;
          Real* added = grad_data;
          if (deterministic && grad_data != nullptr) {
            const char* error = LaunchOrderedDataGradient<Stencil>(arguments, grad_data, stream);
            if (error != nullptr) return error;
            added = nullptr;
          }
          if (added == nullptr && arguments.grad_points == nullptr) return nullptr;
          return LaunchGradients<Stencil, width>(arguments, added, parts, stream);
        },
        arguments.data, arguments.grad_output, arguments.grad_data);
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

template <typename T>
using Warp = WarpPoints<2, Coordinate<T>>;
template <typename T>
using Affine = AffinePoints<2, Coordinate<T>>;

#define TF_STN_INSTANTIATE(Points, T)                                                          \
  template size_t ResamplerGradWorkspace(const ResamplerGradArguments<Points<T>, T>&);         \
  template const char* LaunchResamplerGrad(const ResamplerGradArguments<Points<T>, T>&, void*, \
                                           bool, void*)

TF_STN_INSTANTIATE(Warp, Half);
TF_STN_INSTANTIATE(Warp, BFloat16);
TF_STN_INSTANTIATE(Warp, float);
TF_STN_INSTANTIATE(Warp, double);
TF_STN_INSTANTIATE(Affine, Half);
TF_STN_INSTANTIATE(Affine, BFloat16);
TF_STN_INSTANTIATE(Affine, float);
TF_STN_INSTANTIATE(Affine, double);

#undef TF_STN_INSTANTIATE

}  // namespace tf_stn
