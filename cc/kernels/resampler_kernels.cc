// The kernels of all ops: check, allocate, call the device.  One class for each kind of op, for
// every input that says where the points are.

#include <type_traits>

#include "absl/status/status.h"
#include "cc/core/call.h"
#include "cc/core/inputs.h"
#include "cc/core/modes.h"
#include "cc/core/pixel_types.h"
#include "cc/core/shapes.h"
#include "cc/kernels/device.h"
#include "cc/kernels/op_attributes.h"
#include "cc/kernels/op_inputs.h"
#include "tensorflow/core/framework/kernel_def_builder.h"
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

constexpr char kResampler[] = "TfStn>Resampler";

template <typename Device, typename Input, typename T>
class SampleOp : public OpKernel {
 public:
  explicit SampleOp(OpKernelConstruction* context)
      : OpKernel(context), modes_(ReadModes(context)) {}

  void Compute(OpKernelContext* context) override {
    Input input(OperandOf(context->input(0)), OperandOf(context->input(1)));
    const PartialShape& data = input.data().shape;
    const T* fill;
    OP_REQUIRES_OK(context, CheckForwardInputs(context, &input));
    OP_REQUIRES_OK(context, ReadFill(context, modes_, data, &fill));
    OP_REQUIRES_OK(context, StatusOf(CheckDerivative(modes_, data)));
    TensorShape shape;
    OP_REQUIRES_OK(context, TensorShape::BuildTensorShape(input.OutputShape().sizes(), &shape));
    Tensor* output = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(0, shape, &output));
    if (output->NumElements() == 0) return;
    VisitRank(data, [&](auto rank) {
      const SampleCall<PointsOf<Input, rank, T>, T> call = {MakeCall<rank>(input, modes_, fill),
                                                            Elements<T>(output)};
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
    Input input(OperandOf(context->input(0)), OperandOf(context->input(1)));
    const Operand grad_output = OperandOf(context->input(2));
    const PartialShape& data = input.data().shape;
    const T* fill;
    OP_REQUIRES_OK(context, StatusOf(input.CheckWithOutput(grad_output.shape)));
    OP_REQUIRES_OK(context, ReadFill(context, modes_, data, &fill));
    OP_REQUIRES_OK(context, StatusOf(CheckDerivative(modes_, data)));
    VisitRank(data, [&](auto rank) {
      GradientCall<PointsOf<Input, rank, T>, T> call = {MakeCall<rank>(input, modes_, fill),
                                                        grad_output.As<T>(), nullptr, nullptr};
      OP_REQUIRES_OK(context, AllocateGradient(context, 0, compute_grad_data_,
                                               context->input(0).shape(), &call.grad_data));
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
    Input input(OperandOf(context->input(0)), OperandOf(context->input(1)));
    const Operand grad_output = OperandOf(context->input(2));
    const Operand grad_grad_data = OperandOf(context->input(3));
    const Operand grad_grad_points = OperandOf(context->input(4));
    const PartialShape& data = input.data().shape;
    const T* fill;
    OP_REQUIRES_OK(context, StatusOf(input.CheckWithOutput(grad_output.shape)));
    OP_REQUIRES_OK(context,
                   StatusOf(input.CheckDirections(grad_grad_data.shape, grad_grad_points.shape)));
    OP_REQUIRES_OK(context, ReadFill(context, modes_, data, &fill));
    VisitRank(data, [&](auto rank) {
      SecondOrderCall<PointsOf<Input, rank, T>, T> call = {
          {MakeCall<rank>(input, modes_, fill), grad_output.As<T>(), nullptr, nullptr},
          grad_grad_data.AsUnlessEmpty<T>(),
          grad_grad_points.AsUnlessEmpty<Coordinate<T>>(),
          nullptr};
      OP_REQUIRES_OK(context, AllocateGradient(context, 0, compute_grad_data_,
                                               context->input(0).shape(), &call.grad_data));
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
template <typename Input>
class WrongTypeOp : public OpKernel {
 public:
  explicit WrongTypeOp(OpKernelConstruction* context) : OpKernel(context) {
    context->CtxFailure(
        CheckPointType(Input::kName, context->input_type(0), context->input_type(1)));
  }
  void Compute(OpKernelContext*) override {}
};

template <typename T>
using OtherCoordinate = std::conditional_t<std::is_same_v<Coordinate<T>, float>, double, float>;

// Registers a class for `op` on a device, for these types of pixels and points.  `has_size` is
// whether the op is told the size of its output.
template <typename Kernel, typename Device, typename Input, typename T, typename Real>
void Register(const char* op, bool has_size) {
  tensorflow::KernelDefBuilder builder(op);
  builder.Device(Device::kName)
      .TypeConstraint("T", DataTypeOf<T>())
      .TypeConstraint(Input::kTypeAttribute, DataTypeOf<Real>());
  if (has_size) builder.HostMemory("output_size");
  tensorflow::kernel_factory::OpKernelRegistrar(
      builder.Build(), op,
      [](OpKernelConstruction* context) -> OpKernel* { return new Kernel(context); });
}

// Registers two kernels, one for the type of points that goes with T and one for the other type.
template <template <typename, typename, typename> typename Op, typename Device, typename Input,
          typename T>
void RegisterBoth(const char* op) {
  using Kernel = Op<Device, Input, T>;
  const bool has_size = Input::kHasSize && std::is_same_v<Kernel, SampleOp<Device, Input, T>>;
  Register<Kernel, Device, Input, T, Coordinate<T>>(op, has_size);
  Register<WrongTypeOp<Input>, Device, Input, T, OtherCoordinate<T>>(op, has_size);
}

template <typename Device, typename T>
void RegisterType() {
  RegisterBoth<SampleOp, Device, WarpInput, T>(kResampler);
  RegisterBoth<GradientOp, Device, WarpInput, T>("TfStn>ResamplerGrad");
  RegisterBoth<SecondOrderOp, Device, WarpInput, T>("TfStn>ResamplerGradGrad");
  RegisterBoth<SampleOp, Device, DisplacementInput, T>("TfStn>DisplacementResampler");
  RegisterBoth<GradientOp, Device, DisplacementInput, T>("TfStn>DisplacementResamplerGrad");
  RegisterBoth<SecondOrderOp, Device, DisplacementInput, T>("TfStn>DisplacementResamplerGradGrad");
  RegisterBoth<SampleOp, Device, AffineInput, T>("TfStn>AffineResampler");
  RegisterBoth<GradientOp, Device, AffineInput, T>("TfStn>AffineResamplerGrad");
  RegisterBoth<SampleOp, Device, ProjectiveInput, T>("TfStn>ProjectiveResampler");
  RegisterBoth<GradientOp, Device, ProjectiveInput, T>("TfStn>ProjectiveResamplerGrad");
}

template <typename Device>
void RegisterDevice() {
#define TF_STN_REGISTER(T, ...) RegisterType<Device, T>();
  TF_STN_FOR_EACH_PIXEL_TYPE(TF_STN_REGISTER)
#undef TF_STN_REGISTER
}

// Registers all kernels when the library is loaded, and returns whether it did.  It does not where
// a copy of the library has: of two kernels for the same types, TensorFlow runs neither.
bool RegisterAll() {
  if (tensorflow::GetRegisteredKernelsForOp(kResampler).kernel_size() > 0) return false;
  RegisterDevice<CpuDevice>();
#if defined(TF_STN_CUDA)
  RegisterDevice<GpuDevice>();
#endif
  return true;
}

[[maybe_unused]] const bool kHasRegistered = RegisterAll();

}  // namespace
}  // namespace tf_stn
