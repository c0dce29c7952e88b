// The launchers of the GPU kernels, for all types of pixels and sources of points of rank 2 and 3.
//
// All pointers are to device memory; `stream` is a cudaStream_t.  The kernels run asynchronously.
// Launchers return null, or the text of a CUDA error.

#ifndef TF_STN_CC_KERNELS_GPU_LAUNCHERS_H_
#define TF_STN_CC_KERNELS_GPU_LAUNCHERS_H_

#include <cstddef>

#include "cc/core/call.h"
#include "cc/core/pixel_types.h"

namespace tf_stn {

template <typename Points, typename T>
const char* LaunchSample(const SampleCall<Points, T>& call, void* stream);

// Returns the bytes of device memory that LaunchGradient() needs while its kernels run: for sums of
// half-precision pixels, and for parts of the gradient of items.
template <typename Points, typename T>
size_t GradientWorkspace(const GradientCall<Points, T>& call);

// `workspace` begins at a multiple of 16 bytes; it is null if no bytes are needed.  `deterministic`
// asks for a grad_data that has the same bits in every run, which takes longer; grad_points always
// has.
template <typename Points, typename T>
const char* LaunchGradient(const GradientCall<Points, T>& call, void* workspace, bool deterministic,
                           void* stream);

// The same for the second order, of points that are stored.  For other sources the launcher returns
// an error.
template <typename Points, typename T>
size_t SecondOrderWorkspace(const SecondOrderCall<Points, T>& call);

template <typename Points, typename T>
const char* LaunchSecondOrder(const SecondOrderCall<Points, T>& call, void* workspace,
                              bool deterministic, void* stream);

// A part of the two above: writes the gradient of data to `sums`, with the same bits in every run.
// With directions, one for each stored point, the weights are differentiated in them.
//
// REQUIRES: there are samples.
template <typename Points, typename T>
const char* LaunchOrderedGradient(const GradientCall<Points, T>& call,
                                  const Coordinate<T>* directions, Coordinate<T>* sums,
                                  void* stream);

}  // namespace tf_stn

#endif  // TF_STN_CC_KERNELS_GPU_LAUNCHERS_H_
