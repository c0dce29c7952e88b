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

// The functions of ops whose points are stored.

// [B, ..., C] and [B, ..., rank] give [B, ..., C].
template <const PointsInput& kInput>
absl::Status ResamplerShape(tensorflow::shape_inference::InferenceContext* context) {
  const auto data = context->input(0), points = context->input(1);
  TF_RETURN_IF_ERROR(StatusOf(CheckResamplerShapes(kInput, ToPartialShape(context, data),
                                                   ToPartialShape(context, points))));
  TF_RETURN_IF_ERROR(CheckFill(context));
  if (!context->RankKnown(points)) {
    context->set_output(0, context->UnknownShape());
    return absl::OkStatus();
  }
  const auto channels = context->RankKnown(data) ? context->Dim(data, -1) : context->UnknownDim();
  tensorflow::shape_inference::ShapeHandle output;
  TF_RETURN_IF_ERROR(
      context->ReplaceDim(points, 0, BroadcastBatch(context, data, points), &output));
  TF_RETURN_IF_ERROR(context->ReplaceDim(output, -1, channels, &output));
  context->set_output(0, output);
  return absl::OkStatus();
}

// Gives the gradients of data and of points the shapes of these.
inline absl::Status SetResamplerGradientShapes(
    const PointsInput& input, tensorflow::shape_inference::InferenceContext* context) {
  const std::string compute_points = "compute_grad_" + std::string(input.name);
  TF_RETURN_IF_ERROR(CheckFill(context));
  TF_RETURN_IF_ERROR(SetGradientShape(context, 0, "compute_grad_data"));
  return SetGradientShape(context, 1, compute_points.c_str());
}

template <const PointsInput& kInput>
absl::Status ResamplerGradShape(tensorflow::shape_inference::InferenceContext* context) {
  TF_RETURN_IF_ERROR(StatusOf(CheckResamplerGradShapes(
      kInput, ToPartialShape(context, context->input(0)),
      ToPartialShape(context, context->input(1)), ToPartialShape(context, context->input(2)))));
  return SetResamplerGradientShapes(kInput, context);
}

template <const PointsInput& kInput>
absl::Status ResamplerGradGradShape(tensorflow::shape_inference::InferenceContext* context) {
  PartialShape shapes[5];
  for (int i = 0; i < 5; ++i) shapes[i] = ToPartialShape(context, context->input(i));
  const auto& [data, points, grad_output, grad_grad_data, grad_grad_points] = shapes;
  TF_RETURN_IF_ERROR(StatusOf(CheckResamplerGradShapes(kInput, data, points, grad_output)));
  TF_RETURN_IF_ERROR(
      StatusOf(CheckResamplerDirections(kInput, data, points, grad_grad_data, grad_grad_points)));
  TF_RETURN_IF_ERROR(SetResamplerGradientShapes(kInput, context));
  return SetGradientShape(context, 2, "compute_grad_grad_output");
}

// The functions of ops whose points are mapped by matrices.

// [B, H, W, C], [B, ..., 2, 3] or [B, ..., 3, 3], and (h, w) give [B, ..., h, w, C]; volumes
// likewise.
template <bool kIsProjective>
absl::Status MatrixResamplerShape(tensorflow::shape_inference::InferenceContext* context) {
  const auto data = context->input(0), matrix = context->input(1);
  const PartialShape data_shape = ToPartialShape(context, data);
  TF_RETURN_IF_ERROR(StatusOf(CheckData(data_shape)));
  TF_RETURN_IF_ERROR(StatusOf(CheckSizeShape(
      "output_size", ToPartialShape(context, context->input(2)), SpatialRank(data_shape))));
  if (const auto* size = context->input_tensor(2); size != nullptr) {
    const auto* sides = static_cast<const int32_t*>(size->data());
    TF_RETURN_IF_ERROR(StatusOf(CheckSize(
        "output_size", PartialShape(std::vector<int64_t>(sides, sides + size->NumElements())))));
  }
  tensorflow::shape_inference::ShapeHandle output_size;
  TF_RETURN_IF_ERROR(context->MakeShapeFromShapeTensor(2, &output_size));
  TF_RETURN_IF_ERROR(StatusOf(CheckMatrixResamplerShapes(kIsProjective, data_shape,
                                                         ToPartialShape(context, matrix),
                                                         ToPartialShape(context, output_size))));
  TF_RETURN_IF_ERROR(CheckFill(context));
  if (!data_shape.has_rank() || !context->RankKnown(matrix)) {
    context->set_output(0, context->UnknownShape());
    return absl::OkStatus();
  }
  const int rank = data_shape.rank() - 2;
  TF_RETURN_IF_ERROR(context->WithRank(output_size, rank, &output_size));
  std::vector<tensorflow::shape_inference::DimensionHandle> sizes = {
      BroadcastBatch(context, data, matrix)};
  for (int d = 1; d + 2 < context->Rank(matrix); ++d) sizes.push_back(context->Dim(matrix, d));
  for (int d = 0; d < rank; ++d) sizes.push_back(context->Dim(output_size, d));
  sizes.push_back(context->Dim(data, -1));
  context->set_output(0, context->MakeShape(sizes));
  return absl::OkStatus();
}

// Each gradient has the shape of its input, or [0] if it was not asked for.
template <bool kIsProjective>
absl::Status MatrixResamplerGradShape(tensorflow::shape_inference::InferenceContext* context) {
  TF_RETURN_IF_ERROR(StatusOf(CheckMatrixResamplerGradShapes(
      kIsProjective, ToPartialShape(context, context->input(0)),
      ToPartialShape(context, context->input(1)), ToPartialShape(context, context->input(2)))));
  TF_RETURN_IF_ERROR(CheckFill(context));
  TF_RETURN_IF_ERROR(SetGradientShape(context, 0, "compute_grad_data"));
  return SetGradientShape(context, 1, "compute_grad_matrix");
}

}  // namespace tf_stn

#endif  // TF_STN_CC_OPS_SHAPE_FUNCTIONS_H_
