// Reading an op's attributes and tensors into a call.

#ifndef TF_STN_CC_KERNELS_OP_INPUTS_H_
#define TF_STN_CC_KERNELS_OP_INPUTS_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <type_traits>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "cc/core/call.h"
#include "cc/core/modes.h"
#include "cc/core/pixel_types.h"
#include "cc/core/shapes.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/framework/tensor_shape.h"
#include "tensorflow/core/framework/types.h"

namespace tf_stn {

// The type by which TensorFlow knows pixels of type T.
template <typename T>
struct TensorTypeOf {
  using type = T;
};
template <>
struct TensorTypeOf<Half> {
  using type = Eigen::half;
};
template <>
struct TensorTypeOf<BFloat16> {
  using type = Eigen::bfloat16;
};

template <typename T>
constexpr tensorflow::DataType DataTypeOf() {
  return tensorflow::DataTypeToEnum<typename TensorTypeOf<T>::type>::value;
}

inline absl::Status StatusOf(const std::string& error) {
  return error.empty() ? absl::OkStatus() : absl::InvalidArgumentError(error);
}

// Returns the elements of a tensor.  Unlike flat(), it takes a tensor that begins anywhere, such as
// a view that another library has handed over.
// REQUIRES: T is its type, or the plain type for it.
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

inline PartialShape ShapeOf(const tensorflow::Tensor& tensor) {
  return ToPartialShape(tensor.shape());
}

// Reads the attribute `derivative` into `modes`.
inline absl::Status ReadDerivative(tensorflow::OpKernelConstruction* context, Modes* modes) {
  // Far more than any network needs; all orders above 3 are zero everywhere.
  constexpr int32_t kHighest = 100;
  std::vector<int32_t> orders;
  TF_RETURN_IF_ERROR(context->GetAttr("derivative", &orders));
  const bool is_valid = orders.size() <= 3 &&
                        std::all_of(orders.begin(), orders.end(),
                                    [](int32_t order) { return 0 <= order && order <= kHighest; });
  if (!is_valid) {
    return absl::InvalidArgumentError(absl::StrCat("`derivative` must be an order from 0 to ",
                                                   kHighest, " for each of x, y and z, received [",
                                                   absl::StrJoin(orders, ", "), "]"));
  }
  std::copy(orders.begin(), orders.end(), modes->derivative);
  return absl::OkStatus();
}

// Returns the modes that the attributes say.
inline Modes ReadModes(tensorflow::OpKernelConstruction* context) {
  Modes modes;
  const auto read = [&](const char* attribute, const auto& names, auto* mode) -> absl::Status {
    std::string name;
    TF_RETURN_IF_ERROR(context->GetAttr(attribute, &name));
    if (ParseMode(names, name, mode)) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrCat("`", attribute, "` has no mode '", name, "'"));
  };
  const auto read_all = [&]() -> absl::Status {
    TF_RETURN_IF_ERROR(read("interpolation", kInterpolationNames, &modes.interpolation));
    TF_RETURN_IF_ERROR(read("padding", kPaddingNames, &modes.padding));
    return context->HasAttr("derivative") ? ReadDerivative(context, &modes) : absl::OkStatus();
  };
  const absl::Status status = read_all();
  if (!status.ok()) context->CtxFailure(status);
  return modes;
}

// Returns an error if there are orders of a derivative, but not one for each coordinate.
inline absl::Status CheckDerivative(const Modes& modes, int rank) {
  if (rank == 3 || modes.derivative[2] == 0) return absl::OkStatus();
  return absl::InvalidArgumentError("`derivative` must have no order in z for images");
}

// Calls visit(std::integral_constant<int, rank>) with the number of spatial axes.
// REQUIRES: the shape of `data` has been checked.
template <typename Visit>
void VisitRank(const tensorflow::Tensor& data, const Visit& visit) {
  if (data.dims() == 4) return visit(std::integral_constant<int, 2>());
  visit(std::integral_constant<int, 3>());
}

// Points `fill` to the pixel that fills what lies outside, if the op has one.
template <typename T>
absl::Status ReadFill(tensorflow::OpKernelContext* context, const Modes& modes,
                      const PartialShape& data, const T** fill) {
  *fill = nullptr;
  tensorflow::OpInputList list;
  TF_RETURN_IF_ERROR(context->input_list("fill_value", &list));
  if (list.size() == 0) return absl::OkStatus();
  TF_RETURN_IF_ERROR(StatusOf(
      CheckFillMode(static_cast<size_t>(list.size()), modes.padding == PaddingMode::kZeros)));
  TF_RETURN_IF_ERROR(StatusOf(CheckFillShape(ShapeOf(list[0]), data)));
  *fill = Elements<T>(list[0]);
  return absl::OkStatus();
}

// Sets what all calls have but the points.
template <typename Points, typename T>
void SetCall(const Modes& modes, const tensorflow::Tensor& data, const T* fill,
             int64_t points_per_image, Call<Points, T>* call) {
  constexpr int kRank = Points::kRank;
  call->modes = modes;
  for (int d = 0; d < kRank; ++d) call->sizes.image.size[d] = data.dim_size(1 + d);
  call->sizes.image.channels = data.dim_size(1 + kRank);
  call->sizes.images = data.dim_size(0);
  call->sizes.points_per_image = points_per_image;
  call->data = Elements<T>(data);
  call->fill = fill;
}

// Allocates output `index`, a gradient of this shape, and points `gradient` to it unless it is
// empty.  If the op was not asked to `compute` it, it is of shape [0].  If nobody reads the output,
// there is none.
template <typename Number>
absl::Status AllocateGradient(tensorflow::OpKernelContext* context, int index, bool compute,
                              const tensorflow::TensorShape& shape, Number** gradient) {
  *gradient = nullptr;
  if (!context->output_required(index)) return absl::OkStatus();
  tensorflow::Tensor* output = nullptr;
  if (!compute) return context->allocate_output(index, tensorflow::TensorShape({0}), &output);
  TF_RETURN_IF_ERROR(context->allocate_output(index, shape, &output));
  if (output->NumElements() > 0) *gradient = Elements<Number>(output);
  return absl::OkStatus();
}

}  // namespace tf_stn

#endif  // TF_STN_CC_KERNELS_OP_INPUTS_H_
