// What the resampler's kernels take, for every device: plain pointers and
// sizes, no TensorFlow.  The caller owns all memory and has checked all shapes.

#ifndef TF_STN_CC_KERNELS_RESAMPLER_H_
#define TF_STN_CC_KERNELS_RESAMPLER_H_

#include <cstddef>
#include <cstdint>

#include "cc/core/coordinates.h"
#include "cc/core/modes.h"
#include "cc/core/portability.h"
#include "cc/core/stencil.h"

namespace tf_stn {

template <int Rank>
struct ResamplerSizes {
  Extent<Rank> image;
  int64_t images;
  int64_t points_per_image;

  TF_STN_HD int64_t points() const { return images * points_per_image; }
};

// Points is WarpPoints or AffinePoints, from cc/core/coordinates.h.
template <typename Points, typename T>
struct ResamplerArguments {
  Modes modes;
  ResamplerSizes<Points::kRank> sizes;
  const T* data;  // [images, ..., channels]
  const T* fill;  // [channels]: the pixels outside; null if they are zeros.
  Points points;
  T* output;  // [images, points_per_image, channels]
};

template <typename Points, typename T>
struct ResamplerGradArguments {
  Modes modes;
  ResamplerSizes<Points::kRank> sizes;
  const T* data;
  const T* fill;
  Points points;
  const T* grad_output;        // [images, points_per_image, channels]
  T* grad_data;                // As data; null if nobody needs it.
  Coordinate<T>* grad_points;  // As the warp or the matrix; null if nobody needs it.
};

// The gradients of <grad_grad_data, grad_data> + <grad_grad_points, grad_points>; see
// SecondOrder in cc/core/resample.h.
template <typename Points, typename T>
struct ResamplerGradGradArguments {
  Modes modes;
  ResamplerSizes<Points::kRank> sizes;
  const T* data;
  const T* fill;
  Points points;
  const T* grad_output;
  const T* grad_grad_data;                // Null for zero.
  const Coordinate<T>* grad_grad_points;  // Null for zero.
  T* grad_data;                           // Null if nobody needs it, as all that follow.
  Coordinate<T>* grad_points;
  T* grad_grad_output;
};

// Launchers of the GPU kernels, for T one of Half, BFloat16, float and double and
// points of rank 2 and 3.  All pointers are to device memory; `stream` is a
// cudaStream_t.  They return null, or what CUDA says went wrong.
template <typename Points, typename T>
const char* LaunchResampler(const ResamplerArguments<Points, T>& arguments, void* stream);

// Returns the bytes of device memory that LaunchResamplerGrad() needs while it runs:
// for sums of half types, and for parts of the gradient of a matrix.
template <typename Points, typename T>
size_t ResamplerGradWorkspace(const ResamplerGradArguments<Points, T>& arguments);

// `workspace` begins at a multiple of 16 bytes; null if none is needed.
// `deterministic` asks for the same bits of grad_data in every run, at the price of
// more time; grad_points always has them.
template <typename Points, typename T>
const char* LaunchResamplerGrad(const ResamplerGradArguments<Points, T>& arguments, void* workspace,
                                bool deterministic, void* stream);

// The same for the gradient's gradient, of points in a warp alone.
template <typename Points, typename T>
size_t ResamplerGradGradWorkspace(const ResamplerGradGradArguments<Points, T>& arguments);

template <typename Points, typename T>
const char* LaunchResamplerGradGrad(const ResamplerGradGradArguments<Points, T>& arguments,
                                    void* workspace, bool deterministic, void* stream);

}  // namespace tf_stn

#endif  // TF_STN_CC_KERNELS_RESAMPLER_H_
