// Runs a call on the GPU: what the doors of all frameworks ask for.

#ifndef TF_STN_CC_KERNELS_GPU_RUN_H_
#define TF_STN_CC_KERNELS_GPU_RUN_H_

#include <cstddef>
#include <functional>
#include <string>

#include "cc/core/call.h"
#include "cc/kernels/gpu/launchers.h"

namespace tf_stn {

// What a framework provides to the GPU's kernels.
struct Gpu {
  void* stream;        // A cudaStream_t.
  bool deterministic;  // Whether gradients must have the same bits in every run.

  // Returns device memory for what is queued on the stream until the call returns, aligned to 16
  // bytes, or null if there is none.
  std::function<void*(size_t bytes)> allocate;
};

inline std::string ErrorOfLaunch(const char* error) {
  if (error == nullptr) return "";
  return std::string("The resampler's GPU kernel was not launched: ") + error;
}

// Calls launch(workspace) with memory of so many bytes, or null for none.
template <typename Launch>
std::string LaunchIn(const Gpu& gpu, size_t bytes, const Launch& launch) {
  void* const workspace = bytes == 0 ? nullptr : gpu.allocate(bytes);
  if (bytes > 0 && workspace == nullptr) return ErrorOfLaunch("out of memory");
  return ErrorOfLaunch(launch(workspace));
}

// They queue what writes all outputs that the call has.  They return what went wrong, or "".

template <typename Points, typename T>
std::string RunOnGpu(const Gpu& gpu, const SampleCall<Points, T>& call) {
  return ErrorOfLaunch(LaunchSample(call, gpu.stream));
}

template <typename Points, typename T>
std::string RunOnGpu(const Gpu& gpu, const GradientCall<Points, T>& call) {
  return LaunchIn(gpu, GradientWorkspace(call), [&](void* workspace) {
    return LaunchGradient(call, workspace, gpu.deterministic, gpu.stream);
  });
}

template <typename Points, typename T>
std::string RunOnGpu(const Gpu& gpu, const SecondOrderCall<Points, T>& call) {
  return LaunchIn(gpu, SecondOrderWorkspace(call), [&](void* workspace) {
    return LaunchSecondOrder(call, workspace, gpu.deterministic, gpu.stream);
  });
}

}  // namespace tf_stn

#endif  // TF_STN_CC_KERNELS_GPU_RUN_H_
