// The ops TfStn>AffineResampler and TfStn>AffineResamplerGrad: as the resampler's,
// with points that come from a matrix and are never stored.

#include <cstdint>
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

template <typename T>
using Points = AffinePoints<kRank, Coordinate<T>>;

template <typename Device, typename T>
class AffineResamplerOp : public OpKernel {
 public:
  explicit AffineResamplerOp(OpKernelConstruction* context)
      : OpKernel(context), modes_(ReadModes(context)) {}

  void Compute(OpKernelContext* context) override {
    const Tensor& data = context->input(0);
    const Tensor& matrix = context->input(1);
    const Tensor& output_size = context->input(2);
    std::string error = CheckSizeShape("output_size", ToPartialShape(output_size.shape()), kRank);
    OP_REQUIRES(context, error.empty(), absl::InvalidArgumentError(error));
    const int64_t height = Elements<int32_t>(output_size)[0];
    const int64_t width = Elements<int32_t>(output_size)[1];
    error = CheckSize("output_size", height, width);
    OP_REQUIRES(context, error.empty(), absl::InvalidArgumentError(error));
    error = CheckAffineResamplerShapes(ToPartialShape(data.shape()), ToPartialShape(matrix.shape()),
                                       PartialShape({height, width}));
    OP_REQUIRES(context, error.empty(), absl::InvalidArgumentError(error));

    TensorShape shape;
    for (const int64_t side : {data.dim_size(0), height, width, data.dim_size(3)}) {
      OP_REQUIRES_OK(context, shape.AddDimWithStatus(side));
    }
    Tensor* output = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(0, shape, &output));
    if (output->NumElements() == 0) return;

    functor::Resampler<Device, Points<T>, T>()(
        context,
        {modes_, SizesOf(data, height * width), Elements<T>(data),
         Points<T>{Elements<Coordinate<T>>(matrix), {height, width}}, Elements<T>(output)});
  }

 private:
  const Modes modes_;
};

template <typename Device, typename T>
class AffineResamplerGradOp : public OpKernel {
 public:
  explicit AffineResamplerGradOp(OpKernelConstruction* context)
      : OpKernel(context), modes_(ReadModes(context)) {
    OP_REQUIRES_OK(context, context->GetAttr("compute_grad_data", &compute_grad_data_));
    OP_REQUIRES_OK(context, context->GetAttr("compute_grad_matrix", &compute_grad_matrix_));
  }

  void Compute(OpKernelContext* context) override {
    const Tensor& data = context->input(0);
    const Tensor& matrix = context->input(1);
    const Tensor& grad_output = context->input(2);
    const std::string error =
        CheckAffineResamplerGradShapes(ToPartialShape(data.shape()), ToPartialShape(matrix.shape()),
                                       ToPartialShape(grad_output.shape()));
    OP_REQUIRES(context, error.empty(), absl::InvalidArgumentError(error));

    const int64_t height = grad_output.dim_size(1), width = grad_output.dim_size(2);
    const int64_t points_per_image = grad_output.NumElements() == 0 ? 0 : height * width;
    ResamplerGradArguments<Points<T>, T> arguments{
        modes_,
        SizesOf(data, points_per_image),
        Elements<T>(data),
        Points<T>{Elements<Coordinate<T>>(matrix), {height, width}},
        Elements<T>(grad_output),
        nullptr,
        nullptr};
    OP_REQUIRES_OK(context, AllocateGradient(context, 0, compute_grad_data_, data.shape(),
                                             &arguments.grad_data));
    OP_REQUIRES_OK(context, AllocateGradient(context, 1, compute_grad_matrix_, matrix.shape(),
                                             &arguments.grad_points));
    functor::ResamplerGrad<Device, Points<T>, T>()(context, arguments);
  }

 private:
  const Modes modes_;
  bool compute_grad_data_ = true;
  bool compute_grad_matrix_ = true;
};

struct Matrix {
  static constexpr char kName[] = "matrix";
};

#define TF_STN_REGISTER(DEVICE, T)                                                                 \
  TF_STN_REGISTER_KERNEL("TfStn>AffineResampler", DEVICE, T, "Tmatrix", Matrix, AffineResamplerOp, \
                         .HostMemory("output_size"));                                              \
  TF_STN_REGISTER_KERNEL("TfStn>AffineResamplerGrad", DEVICE, T, "Tmatrix", Matrix,                \
                         AffineResamplerGradOp, )

TF_STN_REGISTER_ALL(TF_STN_REGISTER);

#undef TF_STN_REGISTER

}  // namespace
}  // namespace tf_stn
