// Computes the gradients of data and of points: kernels of bilinear interpolation with zeros
// outside, kernels of all modes, and their launcher.
//
// There are two kernels of each kind: one for points that are stored, which writes the gradient of
// each point, and one for points of items, which sums them tile by tile; see tiles.h.

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

// Adds the inner products of the pixels of a stencil with the gradient of a sample to `products`.
template <int kWidth, typename Stencil, typename T>
__device__ void AddInnerProducts(const Stencil& stencil, const T* __restrict__ data,
                                 typename Stencil::Index start, const Channels<T, kWidth>& gradient,
                                 typename Stencil::Real* products) {
  using Real = typename Stencil::Real;
  Channels<T, kWidth> pixels[Stencil::kCount];
  LoadPixels<kWidth>(stencil, data, start, [](int) { return true; }, pixels);
#pragma unroll
  for (int k = 0; k < Stencil::kCount; ++k) {
    if (stencil.offset(k) == kReadsAsZero) continue;
    for (int c = 0; c < kWidth; ++c) {
      products[k] += static_cast<Real>(pixels[k].values[c]) * static_cast<Real>(gradient.values[c]);
    }
  }
}

// Adds the gradient of a sample, times the weights of a stencil, to the gradients of its pixels,
// atomically.
template <int kWidth, typename Stencil, typename T>
__device__ void ScatterPixels(const Stencil& stencil, const Channels<T, kWidth>& gradient,
                              typename Stencil::Index start,
                              typename Stencil::Real* __restrict__ grad_data) {
  using Real = typename Stencil::Real;
#pragma unroll
  for (int k = 0; k < Stencil::kCount; ++k) {
    const Real weight = stencil.weight(k);
    const typename Stencil::Index offset = stencil.offset(k);
    const bool is_nan_or_zero = !(weight < 0 || weight > 0);
    if (is_nan_or_zero || offset == kReadsAsZero) continue;
    Real parts[kWidth];
    for (int c = 0; c < kWidth; ++c) parts[c] = weight * static_cast<Real>(gradient.values[c]);
    AtomicAdd<kWidth>(grad_data + (start + offset), parts);
  }
}

// Adds the gradient of data from one point, if kData, and writes the gradient of the point, if it
// is wanted.  The image and the point's output begin where the two `start` say.
//
// `lanes` neighbouring threads, a power of two, share the channels of the point.  Each keeps one
// inner product for each pixel of the stencil, shuffles add them, and the first lane has the
// gradient of the point.  All threads of a warp must call it, with false for `is_point` where there
// is none.
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
      AddInnerProducts(stencil, data, image_start + first, gradient, products);
    }
    if constexpr (kData) ScatterPixels(stencil, gradient, image_start + first, grad_data);
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

// For points that are stored, those of each image for itself.  `grad_points` is null if it is not
// needed, which without kData is never so.
template <typename Stencil, typename Points, typename T, int kWidth, bool kData>
__global__ void __launch_bounds__(kThreads, kGradientBlocks<Stencil, kWidth, 0>)
    BilinearPointGradientKernel(Extent<Stencil::kRank, typename Stencil::Index> image,
                                FastPoints<Points, typename Stencil::Index> points,
                                FastDivision<typename Stencil::Index> points_per_image,
                                typename Stencil::Index count, int lanes,
                                const T* __restrict__ data, const T* __restrict__ grad_output,
                                typename Stencil::Real* __restrict__ grad_data,
                                typename Stencil::Real* __restrict__ grad_points) {
  using Index = typename Stencil::Index;
  using Real = typename Stencil::Real;
  const Index points_per_block = kThreads / lanes;
  const int lane = threadIdx.x % lanes;
  const Index elements = image.elements();
  // The same for all threads of a block, so that all of them take part in shuffles.
  Index base = blockIdx.x * points_per_block;
  for (; base < count; base += gridDim.x * points_per_block) {
    const Index mine = base + threadIdx.x / lanes;
    const bool is_point = mine < count;
    const Index p = is_point ? mine : base;
    const Index start = points_per_image.Quotient(p) * elements;
    Real point[Stencil::kRank], grad_point[Stencil::kRank];
    points.At(Index{0}, p, point);  // Counted as if all were of one image.
    GradientOfPoint<kWidth, kData>(Stencil({}, image, point), image.channels, is_point, lane, lanes,
                                   data, start, grad_output, p * image.channels, grad_data,
                                   grad_points != nullptr, grad_point);
    if (!is_point || lane != 0 || grad_points == nullptr) continue;
    for (int d = 0; d < Stencil::kRank; ++d) grad_points[p * Stencil::kRank + d] = grad_point[d];
  }
}

// For points of items.  Writes for each tile its part of the gradient of the item to `parts`, which
// is null if it is not needed; without kData that is never so.
template <typename Stencil, typename Points, typename T, int kWidth, bool kData>
__global__ void __launch_bounds__(kThreads, kGradientBlocks<Stencil, kWidth, Points::kParameters>)
    BilinearItemGradientKernel(Extent<Stencil::kRank, typename Stencil::Index> image,
                               FastPoints<Points, typename Stencil::Index> points, Tiles tiles,
                               int lanes, const T* __restrict__ data,
                               const T* __restrict__ grad_output,
                               typename Stencil::Real* __restrict__ grad_data,
                               double* __restrict__ parts) {
  using Index = typename Stencil::Index;
  using Real = typename Stencil::Real;
  constexpr int kRank = Stencil::kRank;
  const Index points_per_block = kThreads / lanes;
  const int lane = threadIdx.x % lanes;
  const Index count = static_cast<Index>(tiles.count());
  for (Index tile = blockIdx.x; tile < count; tile += gridDim.x) {
    const Index in_batch = tile / static_cast<Index>(tiles.per_item);
    const Index n = in_batch / static_cast<Index>(tiles.items_per_image);
    const Real* item =
        ItemOf(points.source, n, in_batch - n * static_cast<Index>(tiles.items_per_image));
    const Index begin =
        (tile - in_batch * static_cast<Index>(tiles.per_item)) * static_cast<Index>(tiles.points);
    const Index end = EndOfTile<Index>(tiles, begin);
    const Index start = n * image.elements();
    ItemSum<Points> sum;
    for (Index base = begin; base < end; base += points_per_block) {
      const Index mine = base + threadIdx.x / lanes;
      const bool is_point = mine < end;
      const Index q = is_point ? mine : begin;
      Real point[kRank], grad_point[kRank];
      points.source.At(item, q, point);
      const Index p = in_batch * static_cast<Index>(tiles.points_per_item) + q;
      GradientOfPoint<kWidth, kData>(Stencil({}, image, point), image.channels, is_point, lane,
                                     lanes, data, start, grad_output, p * image.channels, grad_data,
                                     parts != nullptr, grad_point);
      if (!is_point || lane != 0 || parts == nullptr) continue;
      sum.Add(points.source, item, q, grad_point);
    }
    if (parts != nullptr) sum.Write(parts + int64_t{tile} * Points::kParameters);
  }
}

// Adds the gradient of data from one point of image `n`, unless grad_data is null, and that of the
// point, if it is wanted.  `lanes` neighbouring threads share the channels of the point: each adds
// its part of the gradient of the point.
template <typename Stencil, typename T>
__device__ void AddGradientOfPoint(const Images<Stencil, T>& images,
                                   const typename Stencil::Real* point, int64_t n, int lane,
                                   int lanes, const T* __restrict__ grad_output,
                                   typename Stencil::Real* __restrict__ grad_data,
                                   bool wants_grad_point, typename Stencil::Real* grad_point) {
  using Real = typename Stencil::Real;
  const auto& extent = images.extent;
  const int64_t start = n * extent.elements();
  TapLines<Stencil>(images.rules, extent, point).ForEach([&](const auto& line) {
    Real products[Stencil::kTaps] = {};
#pragma unroll 1
    for (int64_t first = lane; first < extent.channels; first += lanes) {
      const auto gradient = Load<T, 1>(grad_output + first);
      if (wants_grad_point) {
        const T* fill = images.fill == nullptr ? nullptr : images.fill + first;
        Channels<T, 1> pixels[Stencil::kTaps];
        LoadLine<1>(line, images.data + (start + first), fill, [](int) { return true; }, pixels);
        AddProducts(line, fill != nullptr, pixels, gradient, products);
      }
      if (grad_data != nullptr) {
        ScatterLine<1>(
            line, [&](int k) { return line.weight(k); }, gradient, grad_data + (start + first));
      }
    }
    const auto slope = [&](int k, int d) { return line.slope(k, d); };
    if (wants_grad_point) AddSlopes(line, slope, products, grad_point);
  });
}

// For points that are stored, summed over `repeats` images where these share them.  Without
// grad_points, `count` may be all points of all images.
template <typename Stencil, typename Points, typename T>
__global__ void __launch_bounds__(kThreads, kGeneralBlocks<Stencil, false>)
    PointGradientKernel(Images<Stencil, T> images, FastPoints<Points, int64_t> points,
                        FastDivision<int64_t> points_per_image, int64_t count, int64_t repeats,
                        int lanes, const T* __restrict__ grad_output,
                        typename Stencil::Real* __restrict__ grad_data,
                        typename Stencil::Real* __restrict__ grad_points) {
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
      Real point[kRank];
      points.At(own, q, point);
#pragma unroll 1
      for (int64_t n = own; n < own + repeats; ++n) {
        const int64_t p = n * points_per_image.divisor() + q;
        AddGradientOfPoint(images, point, n, lane, lanes, grad_output + p * images.extent.channels,
                           grad_data, grad_points != nullptr, grad_point);
      }
    }
    if (grad_points == nullptr) continue;
    SumOverLanes<kRank>(lanes, grad_point);
    if (i >= count || lane != 0) continue;
    for (int d = 0; d < kRank; ++d) grad_points[i * kRank + d] = grad_point[d];
  }
}

// Blocks as of other gradients of all modes, or fewer where a projective matrix of a volume has
// more sums.
template <typename Stencil, typename Points>
inline constexpr int kItemBlocks = Points::kParameters > 12 ? 1 : kGeneralBlocks<Stencil, false>;

// For points of items.  Writes for each tile its part of the gradient of the item to `parts`, which
// is null if it is not needed.
template <typename Stencil, typename Points, typename T>
__global__ void __launch_bounds__(kThreads, kItemBlocks<Stencil, Points>)
    ItemGradientKernel(Images<Stencil, T> images, FastPoints<Points, int64_t> points, Tiles tiles,
                       FastDivision<int64_t> tiles_per_item, FastDivision<int64_t> items_per_image,
                       int lanes, const T* __restrict__ grad_output,
                       typename Stencil::Real* __restrict__ grad_data, double* __restrict__ parts) {
  using Real = typename Stencil::Real;
  constexpr int kRank = Stencil::kRank;
  const int64_t points_per_block = kThreads / lanes;
  const int lane = threadIdx.x % lanes;
  for (int64_t tile = blockIdx.x; tile < tiles.count(); tile += gridDim.x) {
    const int64_t in_batch = tiles_per_item.Quotient(tile);
    const int64_t n = items_per_image.Quotient(in_batch);
    const Real* item = ItemOf(points.source, n, in_batch - n * tiles.items_per_image);
    const int64_t begin = (tile - in_batch * tiles.per_item) * tiles.points;
    const int64_t end = EndOfTile(tiles, begin);
    ItemSum<Points> sum;
    for (int64_t base = begin; base < end; base += points_per_block) {
      const int64_t q = base + threadIdx.x / lanes;
      const bool is_point = q < end;
      Real grad_point[kRank] = {};
      if (is_point) {
        Real point[kRank];
        points.source.At(item, q, point);
        const int64_t p = in_batch * tiles.points_per_item + q;
        AddGradientOfPoint(images, point, n, lane, lanes, grad_output + p * images.extent.channels,
                           grad_data, parts != nullptr, grad_point);
      }
      if (parts == nullptr) continue;
      SumOverLanes<kRank>(lanes, grad_point);
      if (!is_point || lane != 0) continue;
      sum.Add(points.source, item, q, grad_point);
    }
    if (parts != nullptr) sum.Write(parts + tile * Points::kParameters);
  }
}

// All launchers below add the gradient of data to `grad_data`, unless it is null, and write that of
// points, if it is needed: of items, as parts for each tile.

template <typename Points, typename T>
const char* LaunchBilinear(const GradientCall<Points, T>& call, const Tiles& tiles,
                           Coordinate<T>* grad_data, double* parts, void* stream) {
  const int lanes = Lanes<T>(call.sizes.image.channels);
  const auto launch = [&](auto tag, auto width) {
    using Stencil = typename decltype(tag)::type;
    using Index = typename Stencil::Index;
    const auto image = To<Index>(call.sizes.image);
    if constexpr (Points::kIsStored) {
      auto* kernel = &BilinearPointGradientKernel<Stencil, Points, T, width, false>;
      if (grad_data != nullptr) {
        kernel = &BilinearPointGradientKernel<Stencil, Points, T, width, true>;
      }
      const int64_t count = call.sizes.points();
      return Launch(kernel, Blocks(count, kThreads / lanes), kThreads, stream, image,
                    FastPoints<Points, Index>(call.points),
                    FastDivision<Index>(call.sizes.points_per_image), static_cast<Index>(count),
                    lanes, call.data, call.grad_output, grad_data, call.grad_points);
    } else {
      auto* kernel = &BilinearItemGradientKernel<Stencil, Points, T, width, false>;
      if (grad_data != nullptr) {
        kernel = &BilinearItemGradientKernel<Stencil, Points, T, width, true>;
      }
      return Launch(kernel, Blocks(tiles.count(), 1), kThreads, stream, image,
                    FastPoints<Points, Index>(call.points), tiles, lanes, call.data,
                    call.grad_output, grad_data, parts);
    }
  };
  return VisitBilinearAndWidth(call, launch, call.data, call.grad_output, grad_data);
}

template <typename Points, typename T>
const char* LaunchGeneral(const GradientCall<Points, T>& call, const Tiles& tiles,
                          Coordinate<T>* grad_data, double* parts, void* stream) {
  const auto& sizes = call.sizes;
  const int lanes = Lanes<T>(sizes.image.channels);
  return VisitGeneral(call, [&](auto tag, const auto& rules) {
    using Stencil = typename decltype(tag)::type;
    const Images<Stencil, T> images(rules, call);
    if constexpr (Points::kIsStored) {
      const bool sums_images = call.shares_points() && call.grad_points != nullptr;
      const int64_t count = sums_images ? sizes.points_per_image : sizes.points();
      return Launch(&PointGradientKernel<Stencil, Points, T>, Blocks(count, kThreads / lanes),
                    kThreads, stream, images, FastPoints<Points, int64_t>(call.points),
                    FastDivision<int64_t>(sizes.points_per_image), count,
                    sums_images ? sizes.images : 1, lanes, call.grad_output, grad_data,
                    call.grad_points);
    } else {
      return Launch(&ItemGradientKernel<Stencil, Points, T>, Blocks(tiles.count(), 1), kThreads,
                    stream, images, FastPoints<Points, int64_t>(call.points), tiles,
                    FastDivision<int64_t>(tiles.per_item),
                    FastDivision<int64_t>(tiles.items_per_image), lanes, call.grad_output,
                    grad_data, parts);
    }
  });
}

template <typename Points, typename T>
const char* LaunchKernel(const GradientCall<Points, T>& call, const Tiles& tiles,
                         Coordinate<T>* grad_data, double* parts, void* stream) {
  if constexpr (Points::kRank == 2) {
    const bool sums_images = Points::kIsStored && call.shares_points();
    if (IsBilinear(call) && !sums_images) {
      return LaunchBilinear(call, tiles, grad_data, parts, stream);
    }
  }
  return LaunchGeneral(call, tiles, grad_data, parts, stream);
}

template <typename Points, typename T>
const char* LaunchGradients(const GradientCall<Points, T>& call, Coordinate<T>* grad_data,
                            double* parts, void* stream) {
  if constexpr (Points::kIsStored) {
    return LaunchKernel(call, Tiles(), grad_data, nullptr, stream);
  } else {
    if (call.grad_points == nullptr) parts = nullptr;
    const Tiles tiles = TilesOf(call);
    const char* const error = LaunchKernel(call, tiles, grad_data, parts, stream);
    if (error != nullptr || parts == nullptr) return error;
    const int64_t stored = call.points.stored;
    return Launch(&SumTilesKernel<Points::kParameters, Coordinate<T>>, Blocks(stored, 1), kThreads,
                  stream, stored, tiles.items / stored, tiles.per_item, parts, call.grad_points);
  }
}

// Returns the bytes of the parts that tiles write.
template <typename Points, typename T>
size_t BytesOfParts(const GradientCall<Points, T>& call) {
  if (Points::kIsStored || call.grad_points == nullptr || !HasSamples(call)) return 0;
  return static_cast<size_t>(TilesOf(call).count() * call.points.parameters_per_item()) *
         sizeof(double);
}

}  // namespace

template <typename Points, typename T>
size_t GradientWorkspace(const GradientCall<Points, T>& call) {
  return DeviceSums<T>(call, nullptr).bytes() + BytesOfParts(call);
}

template <typename Points, typename T>
const char* LaunchGradient(const GradientCall<Points, T>& call, void* workspace, bool deterministic,
                           void* stream) {
  const DeviceSums<T> data(call, workspace);
  auto* const parts = reinterpret_cast<double*>(static_cast<char*>(workspace) + data.bytes());
  const bool has_samples = HasSamples(call);
  const bool is_ordered = has_samples && deterministic && data.sums() != nullptr;
  const char* error =
      is_ordered ? LaunchOrderedGradient(call, nullptr, data.sums(), stream) : data.Clear(stream);
  if (error != nullptr) return error;
  if (!has_samples) {
    error = ClearPointGradient(call, stream);
  } else {
    auto* const added = is_ordered ? nullptr : data.sums();
    if (added != nullptr || call.grad_points != nullptr) {
      if constexpr (Points::kIsStored) {
        error = LaunchGradients(call, added, parts, stream);
      } else {  // Each kind has as many sums as its items have parameters.
        error = VisitKind(
            call, [&](const auto& known) { return LaunchGradients(known, added, parts, stream); });
      }
    }
  }
  return error == nullptr ? data.Finish(stream) : error;
}

#define TF_STN_INSTANTIATE(...)                                        \
  template size_t GradientWorkspace(const GradientCall<__VA_ARGS__>&); \
  template const char* LaunchGradient(const GradientCall<__VA_ARGS__>&, void*, bool, void*);
TF_STN_FOR_EACH_PIXEL_TYPE(TF_STN_INSTANTIATE_FOR_PIXEL)
#undef TF_STN_INSTANTIATE

}  // namespace tf_stn
