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

inline absl::Status StatusOf(const std::string& error) {
  return error.empty() ? absl::OkStatus() : absl::InvalidArgumentError(error);
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
