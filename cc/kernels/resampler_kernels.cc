// The kernels of all ops: check, allocate, call the device.  One class for each kind of op, for
// every input that says where the points are.

#include <cstdint>
#include <string>
#include <type_traits>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "cc/core/call.h"
#include "cc/core/modes.h"
#include "cc/core/pixel_types.h"
#include "cc/core/shapes.h"
#include "cc/kernels/device.h"
#include "cc/kernels/op_inputs.h"
#include "cc/kernels/point_inputs.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/framework/tensor_shape.h"

namespace tf_stn {
namespace {

using tensorflow::OpKernel;
using tensorflow::OpKernelConstruction;
using tensorflow::OpKernelContext;
using tensorflow::Tensor;
using tensorflow::TensorShape;

template <typename Device, typename Input, typename T>
class SampleOp : public OpKernel {
 public:
  explicit SampleOp(OpKernelConstruction* context)
      : OpKernel(context), modes_(ReadModes(context)) {}

  void Compute(OpKernelContext* context) override {
    const Tensor& data = context->input(0);
    Input input;
    const T* fill;
    OP_REQUIRES_OK(context, input.ReadForSample(context));
    OP_REQUIRES_OK(context, ReadFill(context, modes_, ShapeOf(data), &fill));
    OP_REQUIRES_OK(context, CheckDerivative(modes_, data.dims() - 2));
    TensorShape shape;
    OP_REQUIRES_OK(context, input.OutputShape(&shape));
    Tensor* output = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(0, shape, &output));
    if (output->NumElements() == 0) return;
    VisitRank(data, [&](auto rank) {
      using Points = typename Input::template Source<rank, Coordinate<T>>;
      SampleCall<Points, T> call;
      int64_t points_per_image;
      call.points = input.template Points<rank, Coordinate<T>>(&points_per_image);
      SetCall(modes_, data, fill, points_per_image, &call);
      call.output = Elements<T>(output);
      OP_REQUIRES_OK(context, Device::Run(context, call));
    });
  }

 private:
  const Modes modes_;
};

template <typename Device, typename Input, typename T>
class GradientOp : public OpKernel {
 public:
  explicit GradientOp(OpKernelConstruction* context)
      : OpKernel(context), modes_(ReadModes(context)) {
    OP_REQUIRES_OK(context, context->GetAttr("compute_grad_data", &compute_grad_data_));
    OP_REQUIRES_OK(context, context->GetAttr(Input::kComputeAttribute, &compute_grad_points_));
  }

  void Compute(OpKernelContext* context) override {
    const Tensor& data = context->input(0);
    Input input;
    const T* fill;
    OP_REQUIRES_OK(context, input.ReadForGradient(context));
    OP_REQUIRES_OK(context, ReadFill(context, modes_, ShapeOf(data), &fill));
    OP_REQUIRES_OK(context, CheckDerivative(modes_, data.dims() - 2));
    VisitRank(data, [&](auto rank) {
      using Points = typename Input::template Source<rank, Coordinate<T>>;
      GradientCall<Points, T> call;
      int64_t points_per_image;
      call.points = input.template Points<rank, Coordinate<T>>(&points_per_image);
      SetCall(modes_, data, fill, points_per_image, &call);
      call.grad_output = Elements<T>(context->input(2));
      OP_REQUIRES_OK(
          context, AllocateGradient(context, 0, compute_grad_data_, data.shape(), &call.grad_data));
      OP_REQUIRES_OK(context, AllocateGradient(context, 1, compute_grad_points_,
                                               context->input(1).shape(), &call.grad_points));
      OP_REQUIRES_OK(context, Device::Run(context, call));
    });
  }

 private:
  const Modes modes_;
  bool compute_grad_data_ = true;
  bool compute_grad_points_ = true;
};

// Returns the elements of a gradient's gradient, or null if it is absent.
template <typename Number>
const Number* ElementsUnlessAbsent(const Tensor& tensor) {
  return tensor.NumElements() == 0 ? nullptr : Elements<Number>(tensor);
}

// Of points that are stored.
template <typename Device, typename Input, typename T>
class SecondOrderOp : public OpKernel {
 public:
  explicit SecondOrderOp(OpKernelConstruction* context)
      : OpKernel(context), modes_(ReadModes(context)) {
    OP_REQUIRES_OK(context, context->GetAttr("compute_grad_data", &compute_grad_data_));
    OP_REQUIRES_OK(context, context->GetAttr(Input::kComputeAttribute, &compute_grad_points_));
    OP_REQUIRES_OK(context,
                   context->GetAttr("compute_grad_grad_output", &compute_grad_grad_output_));
  }

  void Compute(OpKernelContext* context) override {
    const Tensor& data = context->input(0);
    Input input;
    const T* fill;
    OP_REQUIRES_OK(context, input.ReadForGradient(context));
    OP_REQUIRES_OK(context,
                   StatusOf(CheckResamplerGradGradShapes(
                       ShapeOf(data), ShapeOf(context->input(1)), ShapeOf(context->input(2)),
                       ShapeOf(context->input(3)), ShapeOf(context->input(4)))));
    OP_REQUIRES_OK(context, ReadFill(context, modes_, ShapeOf(data), &fill));
    VisitRank(data, [&](auto rank) {
      using Real = Coordinate<T>;
      using Points = typename Input::template Source<rank, Real>;
      SecondOrderCall<Points, T> call;
      int64_t points_per_image;
      call.points = input.template Points<rank, Real>(&points_per_image);
      SetCall(modes_, data, fill, points_per_image, &call);
      call.grad_output = Elements<T>(context->input(2));
      call.grad_grad_data = ElementsUnlessAbsent<T>(context->input(3));
      call.grad_grad_points = ElementsUnlessAbsent<Real>(context->input(4));
      OP_REQUIRES_OK(
          context, AllocateGradient(context, 0, compute_grad_data_, data.shape(), &call.grad_data));
      OP_REQUIRES_OK(context, AllocateGradient(context, 1, compute_grad_points_,
                                               context->input(1).shape(), &call.grad_points));
      OP_REQUIRES_OK(context, AllocateGradient(context, 2, compute_grad_grad_output_,
                                               context->input(2).shape(), &call.grad_grad_output));
      OP_REQUIRES_OK(context, Device::Run(context, call));
    });
  }

 private:
  const Modes modes_;
  bool compute_grad_data_ = true;
  bool compute_grad_points_ = true;
  bool compute_grad_grad_output_ = true;
};

// Stands where `data` and the points are of types that do not go together, to say so.
template <typename Input, typename T>
class WrongTypeOp : public OpKernel {
 public:
  explicit WrongTypeOp(OpKernelConstruction* context) : OpKernel(context) {
    const auto name = [](auto type) { return tensorflow::DataTypeString(type); };
    context->CtxFailure(absl::InvalidArgumentError(
        absl::StrCat("`", Input::kName, "` must be of type ", name(DataTypeOf<Coordinate<T>>()),
                     " for `data` of type ", name(DataTypeOf<T>()), ", received ",
                     name(context->input_type(1)))));
  }
  void Compute(OpKernelContext*) override {}
};

// Registers two kernels, one for the type of points that goes with T and one for the other type.
// What follows are extra calls on the builder.
#define TF_STN_REGISTER(op, DeviceType, Input, T, Op, ...)                                        \
  REGISTER_KERNEL_BUILDER(Name(op)                                                                \
                              .Device(DeviceType::kName)                                          \
                              .TypeConstraint("T", DataTypeOf<T>())                               \
                              .TypeConstraint(Input::kTypeAttribute, DataTypeOf<Coordinate<T>>()) \
                                  __VA_ARGS__,                                                    \
                          Op<DeviceType, Input, T>);                                              \
  REGISTER_KERNEL_BUILDER(                                                                        \
      Name(op)                                                                                    \
          .Device(DeviceType::kName)                                                              \
          .TypeConstraint("T", DataTypeOf<T>())                                                   \
          .TypeConstraint(Input::kTypeAttribute, DataTypeOf<OtherCoordinate<T>>()) __VA_ARGS__,   \
      WrongTypeOp<Input, T>);

template <typename T>
using OtherCoordinate = std::conditional_t<std::is_same_v<Coordinate<T>, float>, double, float>;

#define TF_STN_REGISTER_ALL(DeviceType, T)                                              \
  TF_STN_REGISTER("TfStn>Resampler", DeviceType, WarpInput, T, SampleOp, )              \
  TF_STN_REGISTER("TfStn>ResamplerGrad", DeviceType, WarpInput, T, GradientOp, )        \
  TF_STN_REGISTER("TfStn>ResamplerGradGrad", DeviceType, WarpInput, T, SecondOrderOp, ) \
  TF_STN_REGISTER("TfStn>AffineResampler", DeviceType, MatrixInput, T, SampleOp,        \
                  .HostMemory("output_size"))                                           \
  TF_STN_REGISTER("TfStn>AffineResamplerGrad", DeviceType, MatrixInput, T, GradientOp, )

#if defined(TF_STN_CUDA)
#define TF_STN_REGISTER_TYPE(T, ...) \
  TF_STN_REGISTER_ALL(CpuDevice, T) TF_STN_REGISTER_ALL(GpuDevice, T)
#else
#define TF_STN_REGISTER_TYPE(T, ...) TF_STN_REGISTER_ALL(CpuDevice, T)
#endif

TF_STN_FOR_EACH_PIXEL_TYPE(TF_STN_REGISTER_TYPE)

#undef TF_STN_REGISTER
#undef TF_STN_REGISTER_ALL
#undef TF_STN_REGISTER_TYPE

}  // namespace
}  // namespace tf_stn
