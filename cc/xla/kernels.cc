// How XLA compiles the ops: each as a custom call, to a handler that runs it on the CPU or a GPU.
//
// This is a library of its own, since it needs more of TensorFlow than the ops do: it may fail to
// load, and they work all the same.  Of the library with the ops it uses nothing but names.

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/types/span.h"
#include "cc/core/inputs.h"
#include "cc/core/modes.h"
#include "cc/core/shapes.h"
#include "cc/kernels/op_attributes.h"
#include "cc/xla/targets.h"
#include "tensorflow/compiler/tf2xla/xla_op_kernel.h"
#include "tensorflow/compiler/tf2xla/xla_op_registry.h"
#include "tensorflow/core/framework/kernel_def.pb.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/tensor_shape.h"
#include "tensorflow/core/util/determinism.h"
#include "xla/hlo/builder/xla_builder.h"
#include "xla/shape.h"
#include "xla/shape_util.h"

namespace tf_stn {
namespace {

using tensorflow::OpKernel;
using tensorflow::OpKernelConstruction;
using tensorflow::XlaOpKernelContext;

// What an error ends in where our kernels cannot go, but those of TensorFlow can.
constexpr char kRemedy[] =
    "; trace the function `with tf_stn.portable():`, which samples by TensorFlow's own ops";

// Returns an error unless there are handlers for a device.
absl::Status CheckDevice(const std::string& device) {
  if (device == tensorflow::DEVICE_CPU_XLA_JIT) return absl::OkStatus();
#if defined(TF_STN_CUDA)
  if (device == tensorflow::DEVICE_GPU_XLA_JIT) return absl::OkStatus();
#endif
  return absl::UnimplementedError(
      absl::StrCat("This build of tf_stn has no kernels for ", device, kRemedy));
}

// The sizes are in row-major order in memory, as our loops read them.
absl::StatusOr<xla::Shape> RowMajor(xla::PrimitiveType type, const PartialShape& shape) {
  // It says so where there are more elements than can be counted.
  tensorflow::TensorShape checked;
  TF_RETURN_IF_ERROR(tensorflow::TensorShape::BuildTensorShape(shape.sizes(), &checked));
  return xla::ShapeUtil::MakeShapeWithDescendingLayout(type, shape.sizes());
}

// What an op becomes: operands, without a size of the output, and results.
class CustomCall {
 public:
  // Adds input `index` of the op as an operand, unless its shape is not known yet.
  absl::Status AddOperand(XlaOpKernelContext* context, int index, const char* name) {
    TF_ASSIGN_OR_RETURN(const xla::Shape shape, context->InputXlaShape(index));
    if (!shape.is_static()) {
      return absl::UnimplementedError(absl::StrCat(
          "`", name, "` must have a shape that is known when XLA compiles the function, received ",
          xla::ShapeUtil::HumanString(shape), kRemedy));
    }
    const auto sizes = shape.dimensions();
    shapes_.emplace_back(std::vector<int64_t>(sizes.begin(), sizes.end()));
    TF_ASSIGN_OR_RETURN(xla::Shape row_major, RowMajor(shape.element_type(), shapes_.back()));
    operands_.push_back(context->Input(index));
    operand_shapes_.push_back(std::move(row_major));
    return absl::OkStatus();
  }

  // Adds a result of the type of an operand.
  absl::Status AddResult(size_t like, const PartialShape& shape) {
    TF_ASSIGN_OR_RETURN(xla::Shape row_major,
                        RowMajor(operand_shapes_[like].element_type(), shape));
    result_shapes_.push_back(std::move(row_major));
    return absl::OkStatus();
  }

  // Adds a gradient of an operand, of shape [0] if it is not to be computed.
  absl::Status AddGradient(size_t operand, bool compute) {
    return AddResult(operand, compute ? shapes_[operand] : PartialShape({0}));
  }

  const PartialShape& shape(size_t operand) const { return shapes_[operand]; }

  // Returns the shapes of operands from `first` on.
  std::vector<PartialShape> ShapesFrom(size_t first) const {
    return {shapes_.begin() + static_cast<std::ptrdiff_t>(first), shapes_.end()};
  }

  // Adds the call to the graph that is compiled, and sets the outputs of the op.
  void Build(XlaOpKernelContext* context, const char* target, const std::string& attributes) {
    const bool is_tuple = result_shapes_.size() > 1;
    const xla::XlaOp call = xla::CustomCallWithLayout(
        context->builder(), target, operands_,
        is_tuple ? xla::ShapeUtil::MakeTupleShape(result_shapes_) : result_shapes_[0],
        operand_shapes_, attributes, /*has_side_effect=*/false, /*output_operand_aliasing=*/{},
        /*literal=*/nullptr, xla::CustomCallSchedule::SCHEDULE_NONE,
        xla::CustomCallApiVersion::API_VERSION_TYPED_FFI);
    for (size_t i = 0; i < result_shapes_.size(); ++i) {
      const auto index = static_cast<int64_t>(i);
      context->SetOutput(static_cast<int>(i), is_tuple ? xla::GetTupleElement(call, index) : call);
    }
  }

 private:
  std::vector<xla::XlaOp> operands_;
  std::vector<PartialShape> shapes_;  // Of operands.
  std::vector<xla::Shape> operand_shapes_, result_shapes_;
};

// What all ops have in common: the same checks as TensorFlow's kernels, with the same errors.
template <typename Input>
class CompiledOp : public tensorflow::XlaOpKernel {
 public:
  explicit CompiledOp(OpKernelConstruction* context)
      : XlaOpKernel(context), modes_(ReadModes(context)) {
    OP_REQUIRES_OK(context, CheckDevice(context->device_type().type_string()));
    OP_REQUIRES_OK(context,
                   CheckPointType(Input::kName, context->input_type(0), context->input_type(1)));
  }

  void Compile(XlaOpKernelContext* context) final { OP_REQUIRES_OK(context, TryCompile(context)); }

 protected:
  virtual absl::Status TryCompile(XlaOpKernelContext* context) = 0;

  // Makes a call with the inputs of these names as operands, and the fill value, if there is one.
  absl::StatusOr<CustomCall> CallWith(XlaOpKernelContext* context,
                                      const std::vector<const char*>& names) const {
    CustomCall call;
    for (size_t i = 0; i < names.size(); ++i) {
      TF_RETURN_IF_ERROR(call.AddOperand(context, static_cast<int>(i), names[i]));
    }
    int begin, end;
    TF_RETURN_IF_ERROR(InputRange("fill_value", &begin, &end));
    for (int i = begin; i < end; ++i) {
      TF_RETURN_IF_ERROR(call.AddOperand(context, i, "fill_value"));
    }
    return call;
  }

  // Checks the fill value, of a call with so many other operands, and the derivative.
  absl::Status CheckModes(const CustomCall& call, size_t operands) const {
    const PartialShape& data = call.shape(0);
    TF_RETURN_IF_ERROR(StatusOf(CheckFill(call.ShapesFrom(operands), modes_, data)));
    return StatusOf(CheckDerivative(modes_, data));
  }

  // Returns the attributes of the custom call, in MLIR's notation.
  std::string Attributes() const {
    const auto name = [](const auto& names, auto mode) { return names[static_cast<int>(mode)]; };
    return absl::StrCat("{", kInterpolationAttribute, " = \"",
                        name(kInterpolationNames, modes_.interpolation), "\", ", kPaddingAttribute,
                        " = \"", name(kPaddingNames, modes_.padding), "\", ", kDerivativeAttribute,
                        " = array<i64: ", absl::StrJoin(modes_.derivative, ", "), ">, ",
                        kDeterministicAttribute, " = ",
                        tensorflow::OpDeterminismRequired() ? "true" : "false", "}");
  }

 private:
  const Modes modes_;
};

template <typename Input>
class CompiledSampleOp : public CompiledOp<Input> {
 public:
  using CompiledOp<Input>::CompiledOp;

 protected:
  absl::Status TryCompile(XlaOpKernelContext* context) override {
    TF_ASSIGN_OR_RETURN(CustomCall call, this->CallWith(context, {"data", Input::kName}));
    Input input({call.shape(0)}, {call.shape(1)});
    TF_RETURN_IF_ERROR(Check(context, &input));
    TF_RETURN_IF_ERROR(this->CheckModes(call, 2));
    TF_RETURN_IF_ERROR(call.AddResult(0, input.OutputShape()));
    call.Build(context, Targets<Input>::kSample, this->Attributes());
    return absl::OkStatus();
  }

 private:
  static absl::Status Check(XlaOpKernelContext* context, Input* input) {
    if constexpr (Input::kHasSize) {
      TF_ASSIGN_OR_RETURN(const xla::Shape shape, context->InputXlaShape("output_size"));
      const auto sizes = shape.dimensions();
      std::vector<int64_t> sides;
      if (shape.dimensions().size() == 1) {
        TF_RETURN_IF_ERROR(context->ConstantInputAsIntVector("output_size", &sides));
      }
      return StatusOf(input->Check(PartialShape(std::vector<int64_t>(sizes.begin(), sizes.end())),
                                   std::move(sides)));
    } else {
      return StatusOf(input->Check());
    }
  }
};

template <typename Input>
class CompiledGradientOp : public CompiledOp<Input> {
 public:
  explicit CompiledGradientOp(OpKernelConstruction* context) : CompiledOp<Input>(context) {
    OP_REQUIRES_OK(context, context->GetAttr("compute_grad_data", &compute_grad_data_));
    OP_REQUIRES_OK(context, context->GetAttr(Input::kComputeAttribute, &compute_grad_points_));
  }

 protected:
  absl::Status TryCompile(XlaOpKernelContext* context) override {
    TF_ASSIGN_OR_RETURN(CustomCall call,
                        this->CallWith(context, {"data", Input::kName, "grad_output"}));
    Input input({call.shape(0)}, {call.shape(1)});
    TF_RETURN_IF_ERROR(StatusOf(input.CheckWithOutput(call.shape(2))));
    TF_RETURN_IF_ERROR(this->CheckModes(call, 3));
    TF_RETURN_IF_ERROR(call.AddGradient(0, compute_grad_data_));
    TF_RETURN_IF_ERROR(call.AddGradient(1, compute_grad_points_));
    call.Build(context, Targets<Input>::kGradient, this->Attributes());
    return absl::OkStatus();
  }

 private:
  bool compute_grad_data_ = true;
  bool compute_grad_points_ = true;
};

template <typename Input>
class CompiledSecondOrderOp : public CompiledOp<Input> {
 public:
  explicit CompiledSecondOrderOp(OpKernelConstruction* context) : CompiledOp<Input>(context) {
    OP_REQUIRES_OK(context, context->GetAttr("compute_grad_data", &compute_grad_data_));
    OP_REQUIRES_OK(context, context->GetAttr(Input::kComputeAttribute, &compute_grad_points_));
    OP_REQUIRES_OK(context,
                   context->GetAttr("compute_grad_grad_output", &compute_grad_grad_output_));
  }

 protected:
  absl::Status TryCompile(XlaOpKernelContext* context) override {
    TF_ASSIGN_OR_RETURN(CustomCall call,
                        this->CallWith(context, {"data", Input::kName, "grad_output",
                                                 "grad_grad_data", Input::kSecondName}));
    Input input({call.shape(0)}, {call.shape(1)});
    TF_RETURN_IF_ERROR(StatusOf(input.CheckWithOutput(call.shape(2))));
    TF_RETURN_IF_ERROR(StatusOf(input.CheckDirections(call.shape(3), call.shape(4))));
    TF_RETURN_IF_ERROR(this->CheckModes(call, 5));
    TF_RETURN_IF_ERROR(call.AddGradient(0, compute_grad_data_));
    TF_RETURN_IF_ERROR(call.AddGradient(1, compute_grad_points_));
    TF_RETURN_IF_ERROR(call.AddGradient(2, compute_grad_grad_output_));
    call.Build(context, Targets<Input>::kSecondOrder, this->Attributes());
    return absl::OkStatus();
  }

 private:
  bool compute_grad_data_ = true;
  bool compute_grad_points_ = true;
  bool compute_grad_grad_output_ = true;
};

// The input that must be known when the function is compiled.
constexpr char kSizeInput[] = "output_size";

// Registers a class for an op.
//
// TensorFlow makes kernels of what is registered with XLA once, before it compiles the first
// function of a process.  If that was before this library was loaded, they are made here.
template <typename Op>
void Register(const char* op, bool has_size) {
  const auto make = [](OpKernelConstruction* context) -> OpKernel* { return new Op(context); };
  auto builder = tensorflow::XlaOpRegistrationBuilder::Name(op);
  if (has_size) builder.CompileTimeConstantInput(kSizeInput);
  const tensorflow::XlaOpRegistrar registrar(builder.Build(make));
  const tensorflow::KernelList made = tensorflow::GetRegisteredKernelsForOp("Abs");
  for (const tensorflow::KernelDef& kernel : made.kernel()) {
    if (!tensorflow::XlaOpRegistry::IsBackendRegistered(kernel.device_type())) continue;
    auto* const definition = new tensorflow::KernelDef;  // The registrar takes it.
    definition->set_op(op);
    definition->set_device_type(kernel.device_type());
    if (has_size) definition->add_host_memory_arg(kSizeInput);
    tensorflow::kernel_factory::OpKernelRegistrar(definition, op, make);
  }
}

// Registers all ops when the library is loaded, and returns whether it did.  It does not where they
// are unknown or a copy of this library has: both would end the process.
bool RegisterAll() {
  constexpr char kAffineResampler[] = "TfStn>AffineResampler";
  if (tensorflow::OpRegistry::Global()->LookUp(kAffineResampler) == nullptr) return false;
  const auto* known = tensorflow::XlaOpRegistry::CompileTimeConstantInputArgNames(kAffineResampler);
  if (known != nullptr && !known->empty()) return false;
  Register<CompiledSampleOp<WarpInput>>("TfStn>Resampler", false);
  Register<CompiledGradientOp<WarpInput>>("TfStn>ResamplerGrad", false);
  Register<CompiledSecondOrderOp<WarpInput>>("TfStn>ResamplerGradGrad", false);
  Register<CompiledSampleOp<DisplacementInput>>("TfStn>DisplacementResampler", false);
  Register<CompiledGradientOp<DisplacementInput>>("TfStn>DisplacementResamplerGrad", false);
  Register<CompiledSecondOrderOp<DisplacementInput>>("TfStn>DisplacementResamplerGradGrad", false);
  Register<CompiledSampleOp<AffineInput>>(kAffineResampler, true);
  Register<CompiledGradientOp<AffineInput>>("TfStn>AffineResamplerGrad", false);
  Register<CompiledSampleOp<ProjectiveInput>>("TfStn>ProjectiveResampler", true);
  Register<CompiledGradientOp<ProjectiveInput>>("TfStn>ProjectiveResamplerGrad", false);
  return true;
}

[[maybe_unused]] const bool kHasRegistered = RegisterAll();

}  // namespace
}  // namespace tf_stn
