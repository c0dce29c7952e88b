// Sums of many numbers: accurate, and in an order that is the same in every run.

#ifndef TF_STN_CC_KERNELS_GPU_SUMS_H_
#define TF_STN_CC_KERNELS_GPU_SUMS_H_

#include "cc/kernels/gpu/cuda.h"
#include "cc/kernels/gpu/launch.h"

namespace tf_stn {

// The sum of one thread: doubles are added in double.
template <typename Real>
class RunningSum {
 public:
  __device__ void Add(Real value) { sum_ += value; }
  __device__ double Value() const { return sum_; }

 private:
  Real sum_ = 0;
};

// Floats are added by Kahan's summation, with two floats: the sum, and what its last rounding has
// added.  Many GPUs are slow at double.
template <>
class RunningSum<float> {
 public:
  __device__ void Add(float value) {
    const float correct = value - excess_;
    const float sum = sum_ + correct;
    const float excess = (sum - sum_) - correct;
    excess_ = excess == excess ? excess : 0;  // It is NaN once the sum is infinite.
    sum_ = sum;
  }
  __device__ double Value() const {
    return static_cast<double>(sum_) - static_cast<double>(excess_);
  }

 private:
  float sum_ = 0;
  float excess_ = 0;
};

// Sums kCount numbers, each over all threads of a block.  Thread i returns the sum of the i-th
// number.  All threads must call it.
template <int kCount>
__device__ double SumOverBlock(const double* mine) {
  static_assert(kCount <= kThreads);
  __shared__ Shared<double[kThreads / kWarpSize][kCount]> by_warp;
  const int thread = threadIdx.x;
#pragma unroll
  for (int i = 0; i < kCount; ++i) {
    double sum = mine[i];
#pragma unroll 1
    for (int delta = kWarpSize / 2; delta > 0; delta /= 2) {
      sum += __shfl_down_sync(kWholeWarp, sum, delta, kWarpSize);
    }
    if (thread % kWarpSize == 0) by_warp.value[thread / kWarpSize][i] = sum;
  }
  __syncthreads();
  double sum = 0;
  if (thread < kCount) {
#pragma unroll 1
    for (int w = 0; w < kThreads / kWarpSize; ++w) sum += by_warp.value[w][thread];
  }
  __syncthreads();  // All sums are read before the memory is written again.
  return sum;
}

// Sums the parts of a point's gradient that `lanes` neighbouring threads have.  The first of them
// gets the result.  All threads of a warp must call it.
template <int kRank, typename Real>
__device__ void SumOverLanes(int lanes, Real* grad_point) {
#pragma unroll
  for (int d = 0; d < kRank; ++d) {
#pragma unroll 1
    for (int delta = lanes / 2; delta > 0; delta /= 2) {
      grad_point[d] += __shfl_down_sync(kWholeWarp, grad_point[d], delta, lanes);
    }
  }
}

}  // namespace tf_stn

#endif  // TF_STN_CC_KERNELS_GPU_SUMS_H_
