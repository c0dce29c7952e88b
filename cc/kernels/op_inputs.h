// Reading an op's tensors, and allocating its gradients.

#ifndef TF_STN_CC_KERNELS_OP_INPUTS_H_
#define TF_STN_CC_KERNELS_OP_INPUTS_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "cc/core/inputs.h"
#include "cc/core/modes.h"
#include "cc/core/shapes.h"
#include "cc/kernels/op_attributes.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/framework/tensor_shape.h"

namespace tf_stn {

// Returns the elements of a tensor.  Unlike flat(), it takes a tensor that begins anywhere, such as
// a view that another library has handed over.
// REQUIRES: T is its type, or the plain type for it.
template <typename T>
T* Elements(tensorflow::Tensor* tensor) {
  return static_cast<T*>(tensor->data());
}

inline Operand OperandOf(const tensorflow::Tensor& tensor) {
  const auto sizes = tensor.shape().dim_sizes();
  return {PartialShape(std::vector<int64_t>(sizes.begin(), sizes.end())), tensor.data()};
}

// Checks the inputs of the forward op.
template <typename Input>
absl::Status CheckForwardInputs(tensorflow::OpKernelContext* context, Input* input) {
  if constexpr (Input::kHasSize) {
    const Operand size = OperandOf(context->input(2));
    const auto* const sides = size.As<int32_t>();
    return StatusOf(input->Check(size.shape, std::vector<int64_t>(sides, sides + size.count())));
  } else {
    return StatusOf(input->Check());
  }
}

// Points `fill` to the pixel that fills what lies outside, if the op has one.
template <typename T>
absl::Status ReadFill(tensorflow::OpKernelContext* context, const Modes& modes,
                      const PartialShape& data, const T** fill) {
  *fill = nullptr;
  tensorflow::OpInputList list;
  TF_RETURN_IF_ERROR(context->input_list("fill_value", &list));
  std::vector<PartialShape> shapes;
  for (const tensorflow::Tensor& tensor : list) shapes.push_back(OperandOf(tensor).shape);
  TF_RETURN_IF_ERROR(StatusOf(CheckFill(shapes, modes, data)));
  if (list.size() > 0) *fill = OperandOf(list[0]).As<T>();
  return absl::OkStatus();
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
