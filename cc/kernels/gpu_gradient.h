// What the kernels of gradients share: how many threads take a point, where half types are
// summed, and how the gradients of points add up to that of their matrix.

#ifndef TF_STN_CC_KERNELS_GPU_GRADIENT_H_
#define TF_STN_CC_KERNELS_GPU_GRADIENT_H_

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "cc/core/coordinates.h"
#include "cc/core/portability.h"
#include "cc/kernels/cuda.h"
#include "cc/kernels/gpu_launch.h"
#include "cc/kernels/gpu_sums.h"
#include "cc/kernels/resampler.h"

namespace tf_stn {

// Returns the threads that share the channels of a point.  Each takes at least four of
// them, even one by one, before another helps.
template <typename T>
int Lanes(int64_t channels) {
  constexpr int64_t kAlone = kWidest<T> < 4 ? 4 : kWidest<T>;
  int lanes = 1;
  while (lanes < kWarpSize && lanes * kAlone < channels) lanes *= 2;
  return lanes;
}

// The points of an output, divided among blocks.  A block sums dL/dmatrix over a tile, and
// another kernel sums the tiles of a matrix: no gradient of a point is stored, and the
// order of sums depends on the sizes alone.
struct Tiles {
  int64_t outputs;  // Of all images, one after the other.
  int64_t outputs_per_image;
  int64_t output_points;
  int64_t points;  // At most, in a tile.
  int64_t per_output;

  TF_STN_HD int64_t count() const { return outputs * per_output; }
};

template <typename T, int Rank, typename Real>
Tiles TilesOf(const ResamplerSizes<Rank>& sizes, const AffinePoints<Rank, Real>& points) {
  // To keep every multiprocessor busy; more would be more to sum in the end.
  constexpr int64_t kEnoughTiles = kMostBlocks < 2048 ? kMostBlocks : 2048;
  if (sizes.points() == 0) return {0, 1, 1, 1, 0};
  const int64_t output_points = points.output_points();
  const int64_t outputs_per_image = sizes.points_per_image / output_points;
  const int64_t outputs = sizes.images * outputs_per_image;
  const int64_t at_once = kThreads / Lanes<T>(sizes.image.channels);
  const int64_t wanted = CeilDivide(kEnoughTiles, outputs);
  const int64_t rounds = CeilDivide(CeilDivide(output_points, wanted), at_once);
  return {outputs, outputs_per_image, output_points, rounds * at_once,
          CeilDivide(output_points, rounds * at_once)};
}

// Returns where the tile that begins at point `begin` of its output ends.
template <typename Index>
__device__ Index EndOfTile(const Tiles& tiles, Index begin) {
  const Index left = static_cast<Index>(tiles.output_points) - begin;
  const Index most = static_cast<Index>(tiles.points);
  return begin + (left < most ? left : most);
}

template <int Rank>
inline constexpr int kParameters = Rank * (Rank + 1);

// The sum of dL/dmatrix over points of a thread.
template <int Rank, typename Real>
class MatrixSum {
 public:
  // Adds dL/d(x, y[, z]) times (column, row[, slice], 1).
  template <typename Index>
  __device__ void Add(const Real* grad_point, const Index* pixel) {
#pragma unroll
    for (int d = 0; d < Rank; ++d) {
      RunningSum<Real>* row = sums_ + d * (Rank + 1);
      for (int k = 0; k < Rank; ++k) row[k].Add(grad_point[d] * static_cast<Real>(pixel[k]));
      row[Rank].Add(grad_point[d]);
    }
  }

  // Writes the sum over all threads of a block, all of which must call it.
  __device__ void Write(double* part) const {
    double mine[kParameters<Rank>];
    for (int i = 0; i < kParameters<Rank>; ++i) mine[i] = sums_[i].Value();
    const double sum = SumOverBlock<kParameters<Rank>>(mine);
    const int i = threadIdx.x;
    if (i < kParameters<Rank>) part[i] = sum;
  }

 private:
  RunningSum<Real> sums_[kParameters<Rank>];
};

// Sums the tiles of each matrix, in all of `images` where they share it: a block takes a
// matrix, a thread every kThreads-th tile.
template <int kCount, typename Real>
__global__ void __launch_bounds__(kThreads, kBlocks)
    SumTilesKernel(int64_t matrices, int64_t images, int64_t tiles_per_output,
                   const double* __restrict__ parts, Real* __restrict__ sums) {
  const int i = threadIdx.x;
  for (int64_t m = blockIdx.x; m < matrices; m += gridDim.x) {
    double mine[kCount] = {};
#pragma unroll 1
    for (int64_t tile = i; tile < images * tiles_per_output; tile += kThreads) {
      const int64_t n = tile / tiles_per_output;
      const int64_t before = (n * matrices + m) * tiles_per_output;
      const double* part = parts + (before + tile - n * tiles_per_output) * kCount;
#pragma unroll
      for (int k = 0; k < kCount; ++k) mine[k] += part[k];
    }
    const double sum = SumOverBlock<kCount>(mine);
    if (i < kCount) sums[m * kCount + i] = static_cast<Real>(sum);
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

// The place where grad_data is summed: itself, or for half types the workspace's begin.
template <typename T>
class DeviceSums {
 public:
  using Real = Coordinate<T>;

  template <int Rank>
  DeviceSums(const ResamplerSizes<Rank>& sizes, T* grad_data)
      : grad_data_(grad_data),
        count_(grad_data == nullptr ? 0 : sizes.images * sizes.image.elements()) {}

  // Returns the bytes of the workspace that they take, a multiple of 16.
  size_t bytes() const {
    return kAreCopy ? static_cast<size_t>(CeilDivide(count_, 4) * 4) * sizeof(Real) : 0;
  }

  // Returns them, or null if nobody needs them.
  Real* In(void* workspace) const {
    if constexpr (kAreCopy) {
      return grad_data_ == nullptr ? nullptr : static_cast<Real*>(workspace);
    } else {
      return grad_data_;
    }
  }

  const char* Clear(void* workspace, void* stream) const {
    if (count_ == 0) return nullptr;
    return FillWithZeros(In(workspace), static_cast<size_t>(count_) * sizeof(Real), stream);
  }

  // Writes what they have become to grad_data.
  const char* Round([[maybe_unused]] void* workspace, [[maybe_unused]] void* stream) const {
    if constexpr (kAreCopy) {
      if (count_ == 0) return nullptr;
      return Launch(&RoundKernel<Real, T>, Blocks(count_, kThreads), kThreads, stream, count_,
                    In(workspace), grad_data_);
    } else {
      return nullptr;
    }
  }

 private:
  static constexpr bool kAreCopy = !std::is_same_v<T, Real>;

  T* grad_data_;
  int64_t count_;
};

// Returns how many numbers there are in the gradient of stored points.
template <int Rank, typename Real>
int64_t NumbersOf(const WarpPoints<Rank, Real>& points) {
  return points.stored * Rank;
}

template <int Rank, typename Real>
int64_t NumbersOf(const AffinePoints<Rank, Real>& points) {
  return points.stored * kParameters<Rank>;
}

}  // namespace tf_stn

#endif  // TF_STN_CC_KERNELS_GPU_GRADIENT_H_
