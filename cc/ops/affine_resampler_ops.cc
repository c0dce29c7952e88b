#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "cc/core/shapes.h"
#include "cc/ops/attributes.h"
#include "cc/ops/shape_functions.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/shape_inference.h"
#include "tensorflow/core/platform/errors.h"

namespace tf_stn {
namespace {

using tensorflow::shape_inference::DimensionHandle;
using tensorflow::shape_inference::InferenceContext;
using tensorflow::shape_inference::ShapeHandle;

// [B, H, W, C], [B, ..., 2, 3] and (h, w) give [B, ..., h, w, C]; volumes likewise.
absl::Status AffineResamplerShape(InferenceContext* context) {
  const ShapeHandle data = context->input(0), matrix = context->input(1);
  const PartialShape data_shape = ToPartialShape(context, data);
  TF_RETURN_IF_ERROR(StatusOf(CheckData(data_shape)));
  TF_RETURN_IF_ERROR(StatusOf(CheckSizeShape(
      "output_size", ToPartialShape(context, context->input(2)), SpatialRank(data_shape))));
  if (const auto* size = context->input_tensor(2); size != nullptr) {
    const auto* sides = static_cast<const int32_t*>(size->data());
    TF_RETURN_IF_ERROR(StatusOf(CheckSize(
        "output_size", PartialShape(std::vector<int64_t>(sides, sides + size->NumElements())))));
  }
  ShapeHandle output_size;
  TF_RETURN_IF_ERROR(context->MakeShapeFromShapeTensor(2, &output_size));
  TF_RETURN_IF_ERROR(StatusOf(CheckAffineResamplerShapes(
      data_shape, ToPartialShape(context, matrix), ToPartialShape(context, output_size))));
  TF_RETURN_IF_ERROR(CheckFill(context));
  if (!data_shape.has_rank() || !context->RankKnown(matrix)) {
    context->set_output(0, context->UnknownShape());
    return absl::OkStatus();
  }
  const int rank = data_shape.rank() - 2;
  TF_RETURN_IF_ERROR(context->WithRank(output_size, rank, &output_size));
  std::vector<DimensionHandle> sizes = {BroadcastBatch(context, data, matrix)};
  for (int d = 1; d + 2 < context->Rank(matrix); ++d) sizes.push_back(context->Dim(matrix, d));
  for (int d = 0; d < rank; ++d) sizes.push_back(context->Dim(output_size, d));
  sizes.push_back(context->Dim(data, -1));
  context->set_output(0, context->MakeShape(sizes));
  return absl::OkStatus();
}

// Each gradient has the shape of its input, or [0] if it was not asked for.
absl::Status AffineResamplerGradShape(InferenceContext* context) {
  TF_RETURN_IF_ERROR(StatusOf(CheckAffineResamplerGradShapes(
      ToPartialShape(context, context->input(0)), ToPartialShape(context, context->input(1)),
      ToPartialShape(context, context->input(2)))));
  TF_RETURN_IF_ERROR(CheckFill(context));
  TF_RETURN_IF_ERROR(SetGradientShape(context, 0, "compute_grad_data"));
  return SetGradientShape(context, 1, "compute_grad_matrix");
}

}  // namespace

REGISTER_OP("TfStn>AffineResampler")
    .Input("data: T")
    .Input("matrix: Tmatrix")
    .Input("output_size: int32")
    .Input("fill_value: num_fill * T")
    .Output("output: T")
    .Attr(PixelTypeAttribute())
    .Attr("Tmatrix: {float, double}")
    .Attr(InterpolationAttribute())
    .Attr(PaddingAttribute())
    .Attr("num_fill: int >= 0 = 0")
    .SetShapeFn(AffineResamplerShape)
    .Doc(R"doc(
Samples images or volumes at the points of an affine grid that is never stored.

Output pixel `(row, column)` of image `n` is the sample, as `TfStn>Resampler`
defines it, at

    x = matrix[n, 0, 0] column + (matrix[n, 0, 1] row + matrix[n, 0, 2])
    y = matrix[n, 1, 0] column + (matrix[n, 1, 1] row + matrix[n, 1, 2])

and that of a volume, with a slice beside row and column, at (x, y, z) likewise.

Coordinates, weights and sums are float64 for float64 data and float32 for all
other types.  The matrix `[[1, 0, 0], [0, 1, 0]]` returns the images, bit for bit.
The result does not depend on the number of threads.

data: Images, `[batch, height, width, channels]`, or volumes,
  `[batch, depth, height, width, channels]`.
matrix: From output pixels to pixels of the images, `[batch, ..., 2, 3]`, or of volumes,
  `[batch, ..., 3, 4]`.  An image may have several, each of which gives an output.  double
  if data is, otherwise float.  One of `data` and `matrix` may have a batch of 1, which
  goes with each item of the other's.
output_size: (height, width) of the output, or (depth, height, width).  Zero gives an
  empty output.
fill_value: At most one tensor `[channels]`: for 'zeros', the pixel that lies outside.
output: Samples, `[batch, ..., *output_size, channels]`.
interpolation: How neighbouring pixels are blended, along each axis.  'nearest': the
  nearest pixel, of two the even one.  'linear': by distance, over the two nearest.
  'cubic': by Keys' convolution with a = -0.75, over four.
)doc" + PaddingDoc() +
         R"doc(num_fill: Whether there is a `fill_value`: 0 or 1.
)doc");

REGISTER_OP("TfStn>AffineResamplerGrad")
    .Input("data: T")
    .Input("matrix: Tmatrix")
    .Input("grad_output: T")
    .Input("fill_value: num_fill * T")
    .Output("grad_data: T")
    .Output("grad_matrix: Tmatrix")
    .Attr(PixelTypeAttribute())
    .Attr("Tmatrix: {float, double}")
    .Attr(InterpolationAttribute())
    .Attr(PaddingAttribute())
    .Attr("num_fill: int >= 0 = 0")
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
grad_output: Gradient of the output, `[batch, ..., *output_size, channels]`.
fill_value: As in the forward op.
grad_data: Gradient of `data`, of its shape; `[0]` without compute_grad_data.
grad_matrix: Gradient of `matrix`, of its shape; `[0]` without compute_grad_matrix.
interpolation: As in the forward op.
padding: As in the forward op.
num_fill: As in the forward op.
compute_grad_data: Whether `grad_data` is needed.
compute_grad_matrix: Whether `grad_matrix` is needed.
)doc");

}  // namespace tf_stn
