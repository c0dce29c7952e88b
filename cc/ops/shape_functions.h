// What shape functions have in common.

#ifndef TF_STN_CC_OPS_SHAPE_FUNCTIONS_H_
#define TF_STN_CC_OPS_SHAPE_FUNCTIONS_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "cc/core/shapes.h"
#include "tensorflow/core/framework/shape_inference.h"
#include "tensorflow/core/platform/errors.h"

namespace tf_stn {

static_assert(tensorflow::shape_inference::InferenceContext::kUnknownDim == PartialShape::kUnknown);

inline PartialShape ToPartialShape(tensorflow::shape_inference::InferenceContext* context,
                                   tensorflow::shape_inference::ShapeHandle shape) {
  if (!context->RankKnown(shape)) return PartialShape();
  std::vector<int64_t> sizes(static_cast<size_t>(context->Rank(shape)));
  for (size_t d = 0; d < sizes.size(); ++d) {
    sizes[d] = context->Value(context->Dim(shape, static_cast<int64_t>(d)));
  }
  return PartialShape(std::move(sizes));
}

// Returns the size of the batch that two inputs have in common, one of which may be 1.
inline tensorflow::shape_inference::DimensionHandle BroadcastBatch(
    tensorflow::shape_inference::InferenceContext* context,
    tensorflow::shape_inference::ShapeHandle a, tensorflow::shape_inference::ShapeHandle b) {
  const auto batch_of = [context](tensorflow::shape_inference::ShapeHandle shape) {
    return context->RankKnown(shape) ? context->Dim(shape, 0) : context->UnknownDim();
  };
  const auto batch_a = batch_of(a), batch_b = batch_of(b);
  if (batch_a.SameHandle(batch_b)) return batch_a;
  const int64_t size_a = context->Value(batch_a), size_b = context->Value(batch_b);
  if (size_a == 1) return batch_b;
  if (size_b == 1) return batch_a;
  if (size_a != PartialShape::kUnknown) return batch_a;
  if (size_b != PartialShape::kUnknown) return batch_b;
  return context->UnknownDim();
}

inline absl::Status StatusOf(const std::string& error) {
  return error.empty() ? absl::OkStatus() : absl::InvalidArgumentError(error);
}

// Checks input `fill_value`, if there is one.
inline absl::Status CheckFill(tensorflow::shape_inference::InferenceContext* context) {
  std::vector<tensorflow::shape_inference::ShapeHandle> inputs;
  TF_RETURN_IF_ERROR(context->input("fill_value", &inputs));
  std::string padding;
  TF_RETURN_IF_ERROR(context->GetAttr("padding", &padding));
  std::vector<PartialShape> fill;
  for (const auto input : inputs) fill.push_back(ToPartialShape(context, input));
  return StatusOf(CheckFill(fill, padding == "zeros", ToPartialShape(context, context->input(0))));
}

// Gives gradient `index` the shape of that input, or [0] where `attribute` says that
// it was not asked for.
inline absl::Status SetGradientShape(tensorflow::shape_inference::InferenceContext* context,
                                     int index, const char* attribute) {
  bool compute;
  TF_RETURN_IF_ERROR(context->GetAttr(attribute, &compute));
  context->set_output(index, compute ? context->input(index) : context->Vector(0));
  return absl::OkStatus();
}

}  // namespace tf_stn

#endif  // TF_STN_CC_OPS_SHAPE_FUNCTIONS_H_
