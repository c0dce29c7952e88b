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

// [B, H, W, C] and [B, ..., 2] give [B, ..., C].
absl::Status ResamplerShape(InferenceContext* context) {
  ShapeHandle data = context->input(0);
  ShapeHandle warp = context->input(1);
  TF_RETURN_IF_ERROR(
      StatusOf(CheckResamplerShapes(ToPartialShape(context, data), ToPartialShape(context, warp))));
  if (!context->RankKnown(warp)) {
    context->set_output(0, context->UnknownShape());
    return absl::OkStatus();
  }
  TF_RETURN_IF_ERROR(context->WithRank(data, 4, &data));
  DimensionHandle batch;
  TF_RETURN_IF_ERROR(context->Merge(context->Dim(data, 0), context->Dim(warp, 0), &batch));
  ShapeHandle output;
  TF_RETURN_IF_ERROR(context->ReplaceDim(warp, 0, batch, &output));
  TF_RETURN_IF_ERROR(context->ReplaceDim(output, -1, context->Dim(data, 3), &output));
  context->set_output(0, output);
  return absl::OkStatus();
}

absl::Status ResamplerGradShape(InferenceContext* context) {
  TF_RETURN_IF_ERROR(StatusOf(CheckResamplerGradShapes(
      ToPartialShape(context, context->input(0)), ToPartialShape(context, context->input(1)),
      ToPartialShape(context, context->input(2)))));
  TF_RETURN_IF_ERROR(SetGradientShape(context, 0, "compute_grad_data"));
  return SetGradientShape(context, 1, "compute_grad_warp");
}

}  // namespace

REGISTER_OP("TfStn>Resampler")
    .Input("data: T")
    .Input("warp: Twarp")
    .Output("output: T")
    .Attr("T: {half, bfloat16, float, double}")
    .Attr("Twarp: {float, double}")
    .Attr("interpolation: {'linear'} = 'linear'")
    .Attr("padding: {'zeros'} = 'zeros'")
    .SetShapeFn(ResamplerShape)
    .Doc(R"doc(
Samples images at real-valued pixel coordinates.

With `x0 = floor(x)`, `y0 = floor(y)`, `a = x - x0`, `b = y - y0` and
`Uij = data[n, y0 + j, x0 + i, c]`, the sample at `(x, y)` is

    (1 - b) ((1 - a) U00 + a U10) + b ((1 - a) U01 + a U11)

where pixels outside the image are zero.  A pixel of weight zero is not read, so
a sample on a pixel centre is that pixel, bit for bit, whatever its neighbours.
A NaN coordinate gives NaN; an infinite or huge one is outside the image.

Coordinates, weights and sums are float64 for float64 data and float32 for all
other types.  The result does not depend on the number of threads.

Zero points, an empty batch and zero channels give an empty output.  An image
without pixels is an error where there are points.

data: Images, `[batch, height, width, channels]`.
warp: Coordinates, `[batch, ..., 2]`, as (x, y) in pixels.  Pixel (0, 0) has its
  centre at (0, 0); x runs along the width.  double if data is, otherwise float.
output: Samples, `[batch, ..., channels]`.
interpolation: How neighbouring pixels are blended.  'linear': by distance along
  each axis, over the two nearest.
padding: What lies outside the image.  'zeros': 0 0 0 | a b c d | 0 0 0.
)doc");

REGISTER_OP("TfStn>ResamplerGrad")
    .Input("data: T")
    .Input("warp: Twarp")
    .Input("grad_output: T")
    .Output("grad_data: T")
    .Output("grad_warp: Twarp")
    .Attr("T: {half, bfloat16, float, double}")
    .Attr("Twarp: {float, double}")
    .Attr("interpolation: {'linear'} = 'linear'")
    .Attr("padding: {'zeros'} = 'zeros'")
    .Attr("compute_grad_data: bool = true")
    .Attr("compute_grad_warp: bool = true")
    .SetShapeFn(ResamplerGradShape)
    .Doc(R"doc(
Computes the gradients of `TfStn>Resampler`.

`grad_data` adds each point's `grad_output` times its weights to the pixels that
it read.  `grad_warp` is the sum over channels of `grad_output` times

    d/dx = (1 - b) (U10 - U00) + b (U11 - U01)
    d/dy = (1 - a) (U01 - U00) + a (U11 - U10)

which on a pixel centre is the right-hand derivative.  As in the forward op, a
pixel of factor zero takes no part in a sum.  A NaN coordinate adds
nothing to `grad_data` and has a NaN `grad_warp`; one outside the image, where
the output is constant, has a `grad_warp` of zero.

Only what somebody needs is computed.  A gradient function that knows that an
input needs no gradient says so by an attribute; besides, a graph's executor
tells the kernel which outputs have a consumer.

On the CPU, every pixel of `grad_data` sums its points in their order, in float32
for half types, so the result does not depend on the number of threads.  On the
GPU, points are added atomically in any order, in float32 for half types; under
op determinism another kernel adds them in their order, which gives the same
bits in every run and costs time, the more the more points there are.

data: As in the forward op.
warp: As in the forward op.
grad_output: Gradient of the output, `[batch, ..., channels]`.
grad_data: Gradient of `data`, of its shape; `[0]` without compute_grad_data.
grad_warp: Gradient of `warp`, of its shape; `[0]` without compute_grad_warp.
interpolation: As in the forward op.
padding: As in the forward op.
compute_grad_data: Whether `grad_data` is needed.
compute_grad_warp: Whether `grad_warp` is needed.
)doc");

}  // namespace tf_stn
