// The gradient of items, such as matrices, from those of their points.
//
// The points of an item are divided into tiles.  A block sums the gradient of the item's parameters
// over a tile, and another kernel adds the tiles of each item.  So no gradient of a point is
// stored, and the order of sums depends on the sizes alone.
//
// Also the memory in which the gradient of data is summed.

#ifndef TF_STN_CC_KERNELS_GPU_TILES_H_
#define TF_STN_CC_KERNELS_GPU_TILES_H_

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "cc/core/call.h"
#include "cc/core/pixel_types.h"
#include "cc/core/portability.h"
#include "cc/kernels/gpu/cuda.h"
#include "cc/kernels/gpu/launch.h"
#include "cc/kernels/gpu/sums.h"

namespace tf_stn {

struct Tiles {
  int64_t items;  // Of all images; those that images share count for each.
  int64_t items_per_image;
  int64_t points_per_item;
  int64_t points;  // Of a tile, at most.
  int64_t per_item;

  TF_STN_HD int64_t count() const { return items * per_item; }
};

// REQUIRES: there are samples.
template <typename Points, typename T>
Tiles TilesOf(const Call<Points, T>& call) {
  // Enough for every multiprocessor to be busy.  More would take longer to add up.
  constexpr int64_t kEnoughTiles = kMostBlocks < 2048 ? kMostBlocks : 2048;
  const int64_t points_per_item = call.points.points_per_item();
  const int64_t items_per_image = call.sizes.points_per_image / points_per_item;
  const int64_t items = call.sizes.images * items_per_image;
  const int64_t at_once = kThreads / Lanes<T>(call.sizes.image.channels);
  const int64_t wanted = CeilDivide(kEnoughTiles, items);
  const int64_t rounds = CeilDivide(CeilDivide(points_per_item, wanted), at_once);
  return {items, items_per_image, points_per_item, rounds * at_once,
          CeilDivide(points_per_item, rounds * at_once)};
}

// Returns where the tile that begins at point `begin` of its item ends.
template <typename Index>
__device__ Index EndOfTile(const Tiles& tiles, Index begin) {
  const Index left = static_cast<Index>(tiles.points_per_item) - begin;
  const Index most = static_cast<Index>(tiles.points);
  return begin + (left < most ? left : most);
}

// The gradient of the parameters of an item, summed over the points of a thread.
template <typename Points>
class ItemSum {
 public:
  using Real = typename Points::Real;
  static constexpr int kParameters = Points::kParameters;

  // Adds the gradient of a point.  `source` is the source of points, with any division.
  template <typename Source, typename Index>
  __device__ void Add(const Source& source, const Real* item, Index point, const Real* grad_point) {
    source.Pull(item, point, grad_point, [&](int k, Real value) { sums_[k].Add(value); });
  }

  // Writes the sum over all threads of a block, all of which must call it.
  __device__ void Write(double* part) const {
    double mine[kParameters];
    for (int k = 0; k < kParameters; ++k) mine[k] = sums_[k].Value();
    const double sum = SumOverBlock<kParameters>(mine);
    const int k = threadIdx.x;
    if (k < kParameters) part[k] = sum;
  }

 private:
  RunningSum<Real> sums_[kParameters];
};

// Adds the tiles of each stored item, in all of `images` where these share it.  A block takes an
// item, and a thread every kThreads-th tile.
template <int kCount, typename Real>
__global__ void __launch_bounds__(kThreads, kBlocks)
    SumTilesKernel(int64_t stored, int64_t images, int64_t tiles_per_item,
                   const double* __restrict__ parts, Real* __restrict__ sums) {
  const int i = threadIdx.x;
  for (int64_t item = blockIdx.x; item < stored; item += gridDim.x) {
    double mine[kCount] = {};
#pragma unroll 1
    for (int64_t tile = i; tile < images * tiles_per_item; tile += kThreads) {
      const int64_t n = tile / tiles_per_item;
      const int64_t before = (n * stored + item) * tiles_per_item;
      const double* part = parts + (before + tile - n * tiles_per_item) * kCount;
#pragma unroll
      for (int k = 0; k < kCount; ++k) mine[k] += part[k];
    }
    const double sum = SumOverBlock<kCount>(mine);
    if (i < kCount) sums[item * kCount + i] = static_cast<Real>(sum);
  }
}

template <typename Real, typename T>
__global__ void __launch_bounds__(kThreads, kBlocks)
    ToPixelsKernel(int64_t count, const Real* __restrict__ sums, T* __restrict__ pixels) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * kThreads;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; i < count;
       i += step) {
    pixels[i] = ToPixel<T>(sums[i]);
  }
}

// The memory in which grad_data is summed: grad_data itself or, where the type of sums is another,
// the begin of the workspace.
template <typename T>
class DeviceSums {
 public:
  using Real = Coordinate<T>;

  template <typename Points>
  DeviceSums(const GradientCall<Points, T>& call, void* workspace)
      : grad_data_(call.grad_data), count_(call.grad_data == nullptr ? 0 : call.sizes.elements()) {
    if constexpr (kAreCopy) {
      sums_ = grad_data_ == nullptr ? nullptr : static_cast<Real*>(workspace);
    } else {
      sums_ = grad_data_;
    }
  }

  // Returns the bytes of the workspace that they take, a multiple of 16.
  size_t bytes() const {
    return kAreCopy ? static_cast<size_t>(CeilDivide(count_, 4) * 4) * sizeof(Real) : 0;
  }

  // Null if grad_data is not needed.
  Real* sums() const { return sums_; }

  const char* Clear(void* stream) const {
    if (count_ == 0) return nullptr;
    return FillWithZeros(sums_, static_cast<size_t>(count_) * sizeof(Real), stream);
  }

  // Writes the sums to grad_data.
  const char* Finish([[maybe_unused]] void* stream) const {
    if constexpr (kAreCopy) {
      if (count_ == 0) return nullptr;
      return Launch(&ToPixelsKernel<Real, T>, Blocks(count_, kThreads), kThreads, stream, count_,
                    sums_, grad_data_);
    } else {
      return nullptr;
    }
  }

 private:
  static constexpr bool kAreCopy = !std::is_same_v<T, Real>;

  T* grad_data_;
  int64_t count_;
  Real* sums_;
};

// Fills the gradient of points with zeros, if it is needed.
template <typename Points, typename T>
const char* ClearPointGradient(const GradientCall<Points, T>& call, void* stream) {
  const int64_t count = call.points.stored * call.points.parameters_per_item();
  if (call.grad_points == nullptr || count == 0) return nullptr;
  return FillWithZeros(call.grad_points, static_cast<size_t>(count) * sizeof(Coordinate<T>),
                       stream);
}

}  // namespace tf_stn

#endif  // TF_STN_CC_KERNELS_GPU_TILES_H_
