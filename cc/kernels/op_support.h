// What the ops have in common: reading attributes and tensors, and registration.

#ifndef TF_STN_CC_KERNELS_OP_SUPPORT_H_
#define TF_STN_CC_KERNELS_OP_SUPPORT_H_

#include <cstdint>
#include <string>
#include <type_traits>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "cc/core/coordinates.h"
#include "cc/core/modes.h"
#include "cc/core/shapes.h"
#include "cc/kernels/functors.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/framework/tensor_shape.h"
#include "tensorflow/core/framework/types.h"

namespace tf_stn {

inline constexpr int kRank = 2;

// Returns the elements of a tensor.  Unlike flat(), it takes a tensor that begins
// anywhere, such as a view that another library has handed over.
// REQUIRES: T is its type.
template <typename T>
T* Elements(tensorflow::Tensor* tensor) {
  return static_cast<T*>(tensor->data());
}

template <typename T>
const T* Elements(const tensorflow::Tensor& tensor) {
  return static_cast<const T*>(tensor.data());
}

inline PartialShape ToPartialShape(const tensorflow::TensorShape& shape) {
  const auto sizes = shape.dim_sizes();
  return PartialShape(std::vector<int64_t>(sizes.begin(), sizes.end()));
}

inline Modes ReadModes(tensorflow::OpKernelConstruction* context) {
  Modes modes;
  std::string name;
  const auto read = [&](const char* attribute, auto parse, auto* mode) {
    OP_REQUIRES_OK(context, context->GetAttr(attribute, &name));
    OP_REQUIRES(
        context, parse(name, mode),
        absl::InvalidArgumentError(absl::StrCat("`", attribute, "` has no mode '", name, "'")));
  };
  read("interpolation", ParseInterpolation, &modes.interpolation);
  read("padding", ParsePadding, &modes.padding);
  return modes;
}

// Returns the shape of `images` images, `data`, with this many points each.
inline ResamplerSizes<kRank> SizesOf(const tensorflow::Tensor& data, int64_t points_per_image) {
  return {
      {{data.dim_size(1), data.dim_size(2)}, data.dim_size(3)}, data.dim_size(0), points_per_image};
}

// Allocates output `index`, a gradient of this shape, and points `gradient` to it
// unless it is empty.  If the op was not asked to `compute` it, it is of shape [0].
// If nobody reads the output, there is none.
template <typename Real>
absl::Status AllocateGradient(tensorflow::OpKernelContext* context, int index, bool compute,
                              const tensorflow::TensorShape& shape, Real** gradient) {
  if (!context->output_required(index)) return absl::OkStatus();
  tensorflow::Tensor* output = nullptr;
  if (!compute) return context->allocate_output(index, tensorflow::TensorShape({0}), &output);
  TF_RETURN_IF_ERROR(context->allocate_output(index, shape, &output));
  if (output->NumElements() > 0) *gradient = Elements<Real>(output);
  return absl::OkStatus();
}

// Stands where `data` and the coordinates are of types that do not go together,
// to say so.  Argument::kName is the input that has the coordinates.
template <typename T, typename Argument>
class WrongCoordinateTypeOp : public tensorflow::OpKernel {
 public:
  explicit WrongCoordinateTypeOp(tensorflow::OpKernelConstruction* context)
      : tensorflow::OpKernel(context) {
    const auto name = [](auto type) { return tensorflow::DataTypeString(type); };
    context->CtxFailure(absl::InvalidArgumentError(absl::StrCat(
        "`", Argument::kName, "` must be of type ",
        name(tensorflow::DataTypeToEnum<Coordinate<T>>::value), " for `data` of type ",
        name(tensorflow::DataTypeToEnum<T>::value), ", received ", name(context->input_type(1)))));
  }
  void Compute(tensorflow::OpKernelContext*) override {}
};

template <typename T>
using OtherCoordinate = std::conditional_t<std::is_same_v<Coordinate<T>, float>, double, float>;

// Registers two kernels, for one type of coordinates and for the other.  `type` is
// the op's attribute that has it; what follows are extra calls on the builder.
#define TF_STN_REGISTER_KERNEL(op, DEVICE, T, type, Argument, Op, ...)               \
  REGISTER_KERNEL_BUILDER(Name(op)                                                   \
                              .Device(tensorflow::DEVICE_##DEVICE)                   \
                              .TypeConstraint<T>("T")                                \
                              .TypeConstraint<Coordinate<T>>(type) __VA_ARGS__,      \
                          Op<DEVICE##Device, T>);                                    \
  REGISTER_KERNEL_BUILDER(Name(op)                                                   \
                              .Device(tensorflow::DEVICE_##DEVICE)                   \
                              .TypeConstraint<T>("T")                                \
                              .TypeConstraint<OtherCoordinate<T>>(type) __VA_ARGS__, \
                          WrongCoordinateTypeOp<T, Argument>)

// Calls register_for(DEVICE, T) for all devices and types of this build.  The types
// are those that the ops advertise; a test compares the lists.
#define TF_STN_REGISTER_TYPES(register_for, DEVICE) \
  register_for(DEVICE, Eigen::half);                \
  register_for(DEVICE, Eigen::bfloat16);            \
  register_for(DEVICE, float);                      \
  register_for(DEVICE, double)

#if defined(TF_STN_CUDA)
#define TF_STN_REGISTER_ALL(register_for)   \
  TF_STN_REGISTER_TYPES(register_for, CPU); \
  TF_STN_REGISTER_TYPES(register_for, GPU)
#else
#define TF_STN_REGISTER_ALL(register_for) TF_STN_REGISTER_TYPES(register_for, CPU)
#endif

}  // namespace tf_stn

#endif  // TF_STN_CC_KERNELS_OP_SUPPORT_H_
