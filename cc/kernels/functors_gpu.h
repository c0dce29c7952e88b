// The functors for GPUs: from TensorFlow's types and streams to CUDA's, and back
// from CUDA's errors.

#ifndef TF_STN_CC_KERNELS_FUNCTORS_GPU_H_
#define TF_STN_CC_KERNELS_FUNCTORS_GPU_H_

#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "cc/kernels/functors.h"
#include "cc/kernels/resampler.h"
#include "tensorflow/core/framework/op_kernel.h"
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

// Allocates `bytes` for as long as the kernels run, and points `workspace` to them, or to
// nothing if there are none.
inline absl::Status AllocateWorkspace(tensorflow::OpKernelContext* context, size_t bytes,
                                      tensorflow::Tensor* tensor, void** workspace) {
  *workspace = nullptr;
  if (bytes == 0) return absl::OkStatus();
  tensorflow::TensorShape shape;
  TF_RETURN_IF_ERROR(shape.AddDimWithStatus(static_cast<int64_t>(bytes)));
  TF_RETURN_IF_ERROR(context->allocate_temp(tensorflow::DT_INT8, shape, tensor));
  *workspace = tensor->data();
  return absl::OkStatus();
}

template <typename Points, typename T>
struct Resampler<GPUDevice, Points, T> {
  void operator()(tensorflow::OpKernelContext* context,
                  const ResamplerArguments<Points, T>& arguments) {
    const auto& a = arguments;
    const ResamplerArguments<Points, PlainType<T>> on_device = {
        a.modes, a.sizes, ToPlain(a.data), ToPlain(a.fill), a.points, ToPlain(a.output)};
    OP_REQUIRES_OK(context, StatusOfLaunch(LaunchResampler(on_device, StreamOf(context))));
  }
};

template <typename Points, typename T>
struct ResamplerGrad<GPUDevice, Points, T> {
  void operator()(tensorflow::OpKernelContext* context,
                  const ResamplerGradArguments<Points, T>& arguments) {
    const auto& a = arguments;
    const ResamplerGradArguments<Points, PlainType<T>> on_device = {a.modes,
                                                                    a.sizes,
                                                                    ToPlain(a.data),
                                                                    ToPlain(a.fill),
                                                                    a.points,
                                                                    ToPlain(a.grad_output),
                                                                    ToPlain(a.grad_data),
                                                                    a.grad_points};
    tensorflow::Tensor tensor;
    void* workspace;
    OP_REQUIRES_OK(context, AllocateWorkspace(context, ResamplerGradWorkspace(on_device), &tensor,
                                              &workspace));
    OP_REQUIRES_OK(context, StatusOfLaunch(LaunchResamplerGrad(on_device, workspace,
                                                               tensorflow::OpDeterminismRequired(),
                                                               StreamOf(context))));
  }
};

template <typename Points, typename T>
struct ResamplerGradGrad<GPUDevice, Points, T> {
  void operator()(tensorflow::OpKernelContext* context,
                  const ResamplerGradGradArguments<Points, T>& arguments) {
    const auto& a = arguments;
    const ResamplerGradGradArguments<Points, PlainType<T>> on_device = {
        a.modes,
        a.sizes,
        ToPlain(a.data),
        ToPlain(a.fill),
        a.points,
        ToPlain(a.grad_output),
        ToPlain(a.grad_grad_data),
        a.grad_grad_points,
        ToPlain(a.grad_data),
        a.grad_points,
        ToPlain(a.grad_grad_output)};
    tensorflow::Tensor tensor;
    void* workspace;
    OP_REQUIRES_OK(context, AllocateWorkspace(context, ResamplerGradGradWorkspace(on_device),
                                              &tensor, &workspace));
    OP_REQUIRES_OK(context, StatusOfLaunch(LaunchResamplerGradGrad(
                                on_device, workspace, tensorflow::OpDeterminismRequired(),
                                StreamOf(context))));
  }
};

}  // namespace functor
}  // namespace tf_stn

#endif  // TF_STN_CC_KERNELS_FUNCTORS_GPU_H_
