// What the ops have in common: reading attributes and tensors, and registration.

#ifndef TF_STN_CC_KERNELS_OP_SUPPORT_H_
#define TF_STN_CC_KERNELS_OP_SUPPORT_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <type_traits>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "cc/core/coordinates.h"
#include "cc/core/modes.h"
#include "cc/core/shapes.h"
#include "cc/kernels/functors.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/framework/tensor_shape.h"
#include "tensorflow/core/framework/types.h"

namespace tf_stn {

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

// Far more than any network needs; all orders above 3 are zero everywhere.
inline constexpr int32_t kHighestDerivative = 100;

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
  if (!context->HasAttr("derivative")) return modes;
  std::vector<int32_t> orders;
  const auto read_orders = [&]() {
    OP_REQUIRES_OK(context, context->GetAttr("derivative", &orders));
    const bool is_valid =
        orders.size() <= 3 && std::all_of(orders.begin(), orders.end(), [](int32_t order) {
          return 0 <= order && order <= kHighestDerivative;
        });
    OP_REQUIRES(context, is_valid,
                absl::InvalidArgumentError(absl::StrCat(
                    "`derivative` must be an order from 0 to ", kHighestDerivative,
                    " for each of x, y and z, received [", absl::StrJoin(orders, ", "), "]")));
    std::copy(orders.begin(), orders.end(), modes.derivative);
  };
  read_orders();
  return modes;
}

// Calls visit(std::integral_constant<int, rank>) with the number of spatial axes.
// REQUIRES: the shape of `data` has been checked.
template <typename Visit>
void VisitRank(const tensorflow::Tensor& data, const Visit& visit) {
  if (data.dims() == 4) return visit(std::integral_constant<int, 2>());
  visit(std::integral_constant<int, 3>());
}

// How images and points go together.  One image takes all points, whatever their batch.
struct Batches {
  int64_t images;
  int64_t per_image;      // Items of points of an image.
  int64_t stored_stride;  // As WarpPoints::per_image: 0 if all images share the items.
};

// `items` are points or matrices, their batch and all axes that follow.
inline Batches BatchesOf(const tensorflow::Tensor& data, int64_t batch, int64_t items) {
  const int64_t images = data.dim_size(0);
  if (images == 1) return {1, items, items};
  const int64_t per_image = batch == 0 ? 0 : items / batch;
  return {images, per_image, batch == 1 ? 0 : per_image};
}

template <int Rank, typename Real>
WarpPoints<Rank, Real> PointsOf(const tensorflow::Tensor& warp, const Batches& batches) {
  return {Elements<Real>(warp), batches.stored_stride, warp.NumElements() / Rank};
}

template <int Rank>
ResamplerSizes<Rank> SizesOf(const tensorflow::Tensor& data, int64_t points_per_image) {
  ResamplerSizes<Rank> sizes{};
  for (int d = 0; d < Rank; ++d) sizes.image.size[d] = data.dim_size(1 + d);
  sizes.image.channels = data.dim_size(1 + Rank);
  sizes.images = data.dim_size(0);
  sizes.points_per_image = points_per_image;
  return sizes;
}

// Points `fill` to the pixel that fills what lies outside, if the op has one.
template <typename T>
absl::Status ReadFill(tensorflow::OpKernelContext* context, const Modes& modes,
                      const PartialShape& data, const T** fill) {
  *fill = nullptr;
  tensorflow::OpInputList list;
  TF_RETURN_IF_ERROR(context->input_list("fill_value", &list));
  if (list.size() == 0) return absl::OkStatus();
  std::string error =
      CheckFillMode(static_cast<size_t>(list.size()), modes.padding == PaddingMode::kZeros);
  if (error.empty()) error = CheckFillShape(ToPartialShape(list[0].shape()), data);
  if (!error.empty()) return absl::InvalidArgumentError(error);
  *fill = Elements<T>(list[0]);
  return absl::OkStatus();
}

// Returns an error if there are orders of a derivative, but not one for each coordinate.
inline absl::Status CheckDerivative(const Modes& modes, int rank) {
  if (rank == 3 || modes.derivative[2] == 0) return absl::OkStatus();
  return absl::InvalidArgumentError("`derivative` must have no order in z for images");
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
