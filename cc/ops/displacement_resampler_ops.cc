#include "cc/core/shapes.h"
#include "cc/ops/attributes.h"
#include "cc/ops/shape_functions.h"
#include "tensorflow/core/framework/op.h"

namespace tf_stn {

REGISTER_OP("TfStn>DisplacementResampler")
    .Input("data: T")
    .Input("displacement: Tdisplacement")
    .Input("fill_value: num_fill * T")
    .Output("output: T")
    .Attr(PixelTypeAttribute())
    .Attr("Tdisplacement: {float, double}")
    .Attr(InterpolationAttribute())
    .Attr(PaddingAttribute())
    .Attr("num_fill: int >= 0 = 0")
    .Attr("derivative: list(int) = []")
    .SetShapeFn(ResamplerShape<kDisplacement>)
    .Doc(R"doc(
Samples images or volumes at their pixels, moved by displacements.

Output pixel `(row, column)` of image `n` is the sample, as `TfStn>Resampler` defines it,
at

    x = column + displacement[n, row, column, 0]
    y = row + displacement[n, row, column, 1]

and that of a volume, with a slice beside row and column, at (x, y, z) likewise.  The
points are never stored.  A displacement of zero returns the images, bit for bit.

data: Images, `[batch, height, width, channels]`, or volumes,
  `[batch, depth, height, width, channels]`.
displacement: `[batch, ..., height, width, 2]`, as (x, y) in pixels of the images, or for
  volumes `[batch, ..., depth, height, width, 3]`, as (x, y, z).  Its sides are those of the
  output.  An image may have several, each of which gives an output.  double if data is,
  otherwise float.  One of `data` and `displacement` may have a batch of 1, which goes with
  each item of the other's.
fill_value: At most one tensor `[channels]`: for 'zeros', the pixel that lies outside.
output: Samples, `[batch, ..., height, width, channels]`, or of volumes likewise.
interpolation: How neighbouring pixels are blended, along each axis.  'nearest': the
  nearest pixel, of two the even one.  'linear': by distance, over the two nearest.
  'cubic': by Keys' convolution with a = -0.75, over four.
)doc" + PaddingDoc() +
         R"doc(num_fill: Whether there is a `fill_value`: 0 or 1.
derivative: Orders of a derivative, as in `TfStn>Resampler`.
)doc");

REGISTER_OP("TfStn>DisplacementResamplerGrad")
    .Input("data: T")
    .Input("displacement: Tdisplacement")
    .Input("grad_output: T")
    .Input("fill_value: num_fill * T")
    .Output("grad_data: T")
    .Output("grad_displacement: Tdisplacement")
    .Attr(PixelTypeAttribute())
    .Attr("Tdisplacement: {float, double}")
    .Attr(InterpolationAttribute())
    .Attr(PaddingAttribute())
    .Attr("num_fill: int >= 0 = 0")
    .Attr("derivative: list(int) = []")
    .Attr("compute_grad_data: bool = true")
    .Attr("compute_grad_displacement: bool = true")
    .SetShapeFn(ResamplerGradShape<kDisplacement>)
    .Doc(R"doc(
Computes the gradients of `TfStn>DisplacementResampler`.

They are those of `TfStn>ResamplerGrad` at the same points: `grad_displacement` of a pixel
is the `grad_warp` of its point.

Only what somebody needs is computed, as in `TfStn>ResamplerGrad`.

data: As in the forward op.
displacement: As in the forward op.
grad_output: Gradient of the output, of its shape.
fill_value: As in the forward op.
grad_data: Gradient of `data`, of its shape; `[0]` without compute_grad_data.
grad_displacement: Gradient of `displacement`, of its shape; `[0]` without
  compute_grad_displacement.
interpolation: As in the forward op.
padding: As in the forward op.
num_fill: As in the forward op.
derivative: As in the forward op.
compute_grad_data: Whether `grad_data` is needed.
compute_grad_displacement: Whether `grad_displacement` is needed.
)doc");

REGISTER_OP("TfStn>DisplacementResamplerGradGrad")
    .Input("data: T")
    .Input("displacement: Tdisplacement")
    .Input("grad_output: T")
    .Input("grad_grad_data: T")
    .Input("grad_grad_displacement: Tdisplacement")
    .Input("fill_value: num_fill * T")
    .Output("grad_data: T")
    .Output("grad_displacement: Tdisplacement")
    .Output("grad_grad_output: T")
    .Attr(PixelTypeAttribute())
    .Attr("Tdisplacement: {float, double}")
    .Attr(InterpolationAttribute())
    .Attr(PaddingAttribute())
    .Attr("num_fill: int >= 0 = 0")
    .Attr("compute_grad_data: bool = true")
    .Attr("compute_grad_displacement: bool = true")
    .Attr("compute_grad_grad_output: bool = true")
    .SetShapeFn(ResamplerGradGradShape<kDisplacement>)
    .Doc(R"doc(
Computes the gradients of `TfStn>DisplacementResamplerGrad`.

They are those of `TfStn>ResamplerGradGrad` at the same points, with displacements in the
place of warps.

data: As in the forward op.
displacement: As in the forward op.
grad_output: As in the gradient op.
grad_grad_data: Gradient of `grad_data`, of its shape, or `[0]` for zero.
grad_grad_displacement: Gradient of `grad_displacement`, of its shape, or `[0]` for zero.
fill_value: As in the forward op.
grad_data: Gradient of `data`, of its shape; `[0]` without compute_grad_data.
grad_displacement: Gradient of `displacement`, of its shape; `[0]` without
  compute_grad_displacement.
grad_grad_output: Gradient of `grad_output`, of its shape; `[0]` without
  compute_grad_grad_output.
interpolation: As in the forward op.
padding: As in the forward op.
num_fill: As in the forward op.
compute_grad_data: Whether `grad_data` is needed.
compute_grad_displacement: Whether `grad_displacement` is needed.
compute_grad_grad_output: Whether `grad_grad_output` is needed.
)doc");

}  // namespace tf_stn
