// The ops TfStn>Resampler and TfStn>ResamplerGrad: check, allocate, call the device.

#include <string>

#include "absl/status/status.h"
#include "cc/core/coordinates.h"
#include "cc/core/modes.h"
#include "cc/core/shapes.h"
#include "cc/kernels/functors.h"
#include "cc/kernels/functors_cpu.h"
#include "cc/kernels/op_support.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/framework/tensor_shape.h"

#if defined(TF_STN_CUDA)
#include "cc/kernels/functors_gpu.h"
#endif

namespace tf_stn {
namespace {

using tensorflow::OpKernel;
using tensorflow::OpKernelConstruction;
using tensorflow::OpKernelContext;
using tensorflow::Tensor;
using tensorflow::TensorShape;

template <typename Device, typename T>
class ResamplerOp : public OpKernel {
 public:
  explicit ResamplerOp(OpKernelConstruction* context)
      : OpKernel(context), modes_(ReadModes(context)) {}

  void Compute(OpKernelContext* context) override {
    const Tensor& data = context->input(0);
    const Tensor& warp = context->input(1);
    const PartialShape data_shape = ToPartialShape(data.shape());
    const std::string error = CheckResamplerShapes(data_shape, ToPartialShape(warp.shape()));
    OP_REQUIRES(context, error.empty(), absl::InvalidArgumentError(error));
    const T* fill;
    OP_REQUIRES_OK(context, ReadFill(context, modes_, data_shape, &fill));
    OP_REQUIRES_OK(context, CheckDerivative(modes_, data.dims() - 2));

    TensorShape shape = warp.shape();
    OP_REQUIRES_OK(context,
                   shape.SetDimWithStatus(0, Broadcast(data.dim_size(0), warp.dim_size(0))));
    OP_REQUIRES_OK(context,
                   shape.SetDimWithStatus(shape.dims() - 1, data.dim_size(data.dims() - 1)));
    Tensor* output = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(0, shape, &output));
    if (output->NumElements() == 0) return;

    VisitRank(data, [&](auto rank) {
      using Points = WarpPoints<rank, Coordinate<T>>;
      const Batches batches = BatchesOf(data, warp.dim_size(0), warp.NumElements() / rank);
      functor::Resampler<Device, Points, T>()(
          context, {modes_, SizesOf<rank>(data, batches.per_image), Elements<T>(data), fill,
                    PointsOf<rank, Coordinate<T>>(warp, batches), Elements<T>(output)});
    });
  }

 private:
  const Modes modes_;
};

template <typename Device, typename T>
class ResamplerGradOp : public OpKernel {
 public:
  explicit ResamplerGradOp(OpKernelConstruction* context)
      : OpKernel(context), modes_(ReadModes(context)) {
    OP_REQUIRES_OK(context, context->GetAttr("compute_grad_data", &compute_grad_data_));
    OP_REQUIRES_OK(context, context->GetAttr("compute_grad_warp", &compute_grad_warp_));
  }

  void Compute(OpKernelContext* context) override {
    const Tensor& data = context->input(0);
    const Tensor& warp = context->input(1);
    const Tensor& grad_output = context->input(2);
    const PartialShape data_shape = ToPartialShape(data.shape());
    const std::string error = CheckResamplerGradShapes(data_shape, ToPartialShape(warp.shape()),
                                                       ToPartialShape(grad_output.shape()));
    OP_REQUIRES(context, error.empty(), absl::InvalidArgumentError(error));
    const T* fill;
    OP_REQUIRES_OK(context, ReadFill(context, modes_, data_shape, &fill));
    OP_REQUIRES_OK(context, CheckDerivative(modes_, data.dims() - 2));

    VisitRank(data, [&](auto rank) {
      using Points = WarpPoints<rank, Coordinate<T>>;
      const Batches batches = BatchesOf(data, warp.dim_size(0), warp.NumElements() / rank);
      ResamplerGradArguments<Points, T> arguments{modes_,
                                                  SizesOf<rank>(data, batches.per_image),
                                                  Elements<T>(data),
                                                  fill,
                                                  PointsOf<rank, Coordinate<T>>(warp, batches),
                                                  Elements<T>(grad_output),
                                                  nullptr,
                                                  nullptr};
      OP_REQUIRES_OK(context, AllocateGradient(context, 0, compute_grad_data_, data.shape(),
                                               &arguments.grad_data));
      OP_REQUIRES_OK(context, AllocateGradient(context, 1, compute_grad_warp_, warp.shape(),
                                               &arguments.grad_points));
      functor::ResamplerGrad<Device, Points, T>()(context, arguments);
    });
  }

 private:
  const Modes modes_;
  bool compute_grad_data_ = true;
  bool compute_grad_warp_ = true;
};

struct Warp {
  static constexpr char kName[] = "warp";
};

#define TF_STN_REGISTER(DEVICE, T)                                                    \
  TF_STN_REGISTER_KERNEL("TfStn>Resampler", DEVICE, T, "Twarp", Warp, ResamplerOp, ); \
  TF_STN_REGISTER_KERNEL("TfStn>ResamplerGrad", DEVICE, T, "Twarp", Warp, ResamplerGradOp, )

TF_STN_REGISTER_ALL(TF_STN_REGISTER);

#undef TF_STN_REGISTER

}  // namespace
}  // namespace tf_stn
