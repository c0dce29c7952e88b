#include "absl/status/status.h"
#include "cc/core/shapes.h"
#include "cc/ops/shape_functions.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/shape_inference.h"
#include "tensorflow/core/platform/errors.h"

namespace tf_stn {
namespace {

using tensorflow::shape_inference::DimensionHandle;
using tensorflow::shape_inference::InferenceContext;
using tensorflow::shape_inference::ShapeHandle;

// [B, H, W, C], [B, 2, 3] and (h, w) give [B, h, w, C].
absl::Status AffineResamplerShape(InferenceContext* context) {
  ShapeHandle data = context->input(0), matrix = context->input(1), output_size;
  TF_RETURN_IF_ERROR(
      StatusOf(CheckSizeShape("output_size", ToPartialShape(context, context->input(2)), 2)));
  if (const auto* size = context->input_tensor(2); size != nullptr) {
    const auto* sides = static_cast<const int32_t*>(size->data());
    TF_RETURN_IF_ERROR(StatusOf(CheckSize("output_size", sides[0], sides[1])));
  }
  TF_RETURN_IF_ERROR(context->MakeShapeFromShapeTensor(2, &output_size));
  TF_RETURN_IF_ERROR(StatusOf(CheckAffineResamplerShapes(ToPartialShape(context, data),
                                                         ToPartialShape(context, matrix),
                                                         ToPartialShape(context, output_size))));
  TF_RETURN_IF_ERROR(context->WithRank(data, 4, &data));
  TF_RETURN_IF_ERROR(context->WithRank(matrix, 3, &matrix));
  TF_RETURN_IF_ERROR(context->WithRank(output_size, 2, &output_size));
  DimensionHandle batch;
  TF_RETURN_IF_ERROR(context->Merge(context->Dim(data, 0), context->Dim(matrix, 0), &batch));
  context->set_output(0, context->MakeShape({batch, context->Dim(output_size, 0),
                                             context->Dim(output_size, 1), context->Dim(data, 3)}));
  return absl::OkStatus();
}

// Each gradient has the shape of its input, or [0] if it was not asked for.
absl::Status AffineResamplerGradShape(InferenceContext* context) {
  TF_RETURN_IF_ERROR(StatusOf(CheckAffineResamplerGradShapes(
      ToPartialShape(context, context->input(0)), ToPartialShape(context, context->input(1)),
      ToPartialShape(context, context->input(2)))));
  TF_RETURN_IF_ERROR(SetGradientShape(context, 0, "compute_grad_data"));
  return SetGradientShape(context, 1, "compute_grad_matrix");
}

}  // namespace

REGISTER_OP("TfStn>AffineResampler")
    .Input("data: T")
    .Input("matrix: Tmatrix")
    .Input("output_size: int32")
    .Output("output: T")
    .Attr("T: {half, bfloat16, float, double}")
    .Attr("Tmatrix: {float, double}")
    .Attr("interpolation: {'linear'} = 'linear'")
    .Attr("padding: {'zeros'} = 'zeros'")
    .SetShapeFn(AffineResamplerShape)
    .Doc(R"doc(
Samples images at the points of an affine grid that is never stored.

Output pixel `(row, column)` of image `n` is the sample, as `TfStn>Resampler`
defines it, at

    x = matrix[n, 0, 0] column + (matrix[n, 0, 1] row + matrix[n, 0, 2])
    y = matrix[n, 1, 0] column + (matrix[n, 1, 1] row + matrix[n, 1, 2])

Coordinates, weights and sums are float64 for float64 data and float32 for all
other types.  The matrix `[[1, 0, 0], [0, 1, 0]]` returns the images, bit for bit.
The result does not depend on the number of threads.

data: Images, `[batch, height, width, channels]`.
matrix: From output pixels to pixels of the images, `[batch, 2, 3]`.  double if
  data is, otherwise float.
output_size: (height, width) of the output.  Zero gives an empty output.
output: Samples, `[batch, *output_size, channels]`.
interpolation: As in `TfStn>Resampler`.  'linear': by distance along each axis, over
  the two nearest pixels.
padding: What lies outside the image.  'zeros': 0 0 0 | a b c d | 0 0 0.
)doc");

REGISTER_OP("TfStn>AffineResamplerGrad")
    .Input("data: T")
    .Input("matrix: Tmatrix")
    .Input("grad_output: T")
    .Output("grad_data: T")
    .Output("grad_matrix: Tmatrix")
    .Attr("T: {half, bfloat16, float, double}")
    .Attr("Tmatrix: {float, double}")
    .Attr("interpolation: {'linear'} = 'linear'")
    .Attr("padding: {'zeros'} = 'zeros'")
    .Attr("compute_grad_data: bool = true")
    .Attr("compute_grad_matrix: bool = true")
    .SetShapeFn(AffineResamplerGradShape)
    .Doc(R"doc(
Computes the gradients of `TfStn>AffineResampler`.

`grad_data` is that of `TfStn>ResamplerGrad`.  With `(gx, gy)` the `grad_warp` of a
point there,

    grad_matrix[n, 0] = sum over points of gx (column, row, 1)
    grad_matrix[n, 1] = sum over points of gy (column, row, 1)

which is summed in float64 and in a fixed order, so that the result does not depend
on the number of threads.  (A thread of a GPU sums float32 with what rounding loses,
then all of them float64.)  No gradient per point is ever stored.

Only what somebody needs is computed, as in `TfStn>ResamplerGrad`.

data: As in the forward op.
matrix: As in the forward op.
grad_output: Gradient of the output, `[batch, *output_size, channels]`.
grad_data: Gradient of `data`, of its shape; `[0]` without compute_grad_data.
grad_matrix: Gradient of `matrix`, of its shape; `[0]` without compute_grad_matrix.
interpolation: As in the forward op.
padding: As in the forward op.
compute_grad_data: Whether `grad_data` is needed.
compute_grad_matrix: Whether `grad_matrix` is needed.
)doc");

}  // namespace tf_stn
