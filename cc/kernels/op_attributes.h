// Reading what is known of an op before it runs: its attributes, and the types of its inputs.  For
// kernels of every kind.

#ifndef TF_STN_CC_KERNELS_OP_ATTRIBUTES_H_
#define TF_STN_CC_KERNELS_OP_ATTRIBUTES_H_

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "cc/core/modes.h"
#include "cc/core/pixel_types.h"
#include "tensorflow/core/framework/op_kernel.h"
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

// Returns an error unless points, an argument of this name, are of the type that goes with `data`.
inline absl::Status CheckPointType(const char* name, tensorflow::DataType data,
                                   tensorflow::DataType points) {
  tensorflow::DataType expected = tensorflow::DT_INVALID;
#define TF_STN_FIND(T, ...) \
  if (data == DataTypeOf<T>()) expected = DataTypeOf<Coordinate<T>>();
  TF_STN_FOR_EACH_PIXEL_TYPE(TF_STN_FIND)
#undef TF_STN_FIND
  if (points == expected) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "`", name, "` must be of type ", tensorflow::DataTypeString(expected), " for `data` of type ",
      tensorflow::DataTypeString(data), ", received ", tensorflow::DataTypeString(points)));
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

}  // namespace tf_stn

#endif  // TF_STN_CC_KERNELS_OP_ATTRIBUTES_H_
