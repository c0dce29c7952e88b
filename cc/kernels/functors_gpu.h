// The functors for GPUs: from TensorFlow's types and streams to CUDA's, and back
// from CUDA's errors.

#ifndef TF_STN_CC_KERNELS_FUNCTORS_GPU_H_
#define TF_STN_CC_KERNELS_FUNCTORS_GPU_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "cc/kernels/functors.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/framework/tensor_shape.h"
#include "tensorflow/core/framework/types.h"
#include "tensorflow/core/util/determinism.h"
#include "xla/stream_executor/stream.h"

namespace tf_stn {
namespace functor {

// Returns the cudaStream_t on which TensorFlow runs the op.
inline void* StreamOf(tensorflow::OpKernelContext* context) {
  return context->op_device_context()->stream()->platform_specific_handle().stream;
}

inline absl::Status StatusOfLaunch(const char* error) {
  if (error == nullptr) return absl::OkStatus();
  return absl::InternalError(absl::StrCat("The resampler's GPU kernel was not launched: ", error));
}

template <typename Points, typename T>
struct Resampler<GPUDevice, Points, T> {
  void operator()(tensorflow::OpKernelContext* context,
                  const ResamplerArguments<Points, T>& arguments) {
    const auto& [modes, sizes, data, points, output] = arguments;
    OP_REQUIRES_OK(context,
                   StatusOfLaunch(LaunchResampler<Points, PlainType<T>>(
                       {modes, sizes, ToPlain(data), points, ToPlain(output)}, StreamOf(context))));
  }
};

template <typename Points, typename T>
struct ResamplerGrad<GPUDevice, Points, T> {
  void operator()(tensorflow::OpKernelContext* context,
                  const ResamplerGradArguments<Points, T>& arguments) {
    const auto& [modes, sizes, data, points, grad_output, grad_data, grad_points] = arguments;
    const ResamplerGradArguments<Points, PlainType<T>> on_device = {
        modes, sizes, ToPlain(data), points, ToPlain(grad_output), ToPlain(grad_data), grad_points};
    tensorflow::Tensor workspace;
    const auto bytes = static_cast<int64_t>(ResamplerGradWorkspace(on_device));
    if (bytes > 0) {
      OP_REQUIRES_OK(context, context->allocate_temp(tensorflow::DT_INT8,
                                                     tensorflow::TensorShape({bytes}), &workspace));
    }
    OP_REQUIRES_OK(context, StatusOfLaunch(LaunchResamplerGrad(
                                on_device, bytes > 0 ? workspace.data() : nullptr,
                                tensorflow::OpDeterminismRequired(), StreamOf(context))));
  }
};

}  // namespace functor
}  // namespace tf_stn

#endif  // TF_STN_CC_KERNELS_FUNCTORS_GPU_H_
