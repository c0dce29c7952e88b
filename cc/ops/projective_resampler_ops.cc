#include "cc/ops/attributes.h"
#include "cc/ops/shape_functions.h"
#include "tensorflow/core/framework/op.h"

namespace tf_stn {

REGISTER_OP("TfStn>ProjectiveResampler")
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
    .SetShapeFn(MatrixResamplerShape<true>)
    .Doc(R"doc(
Samples images or volumes under projective transformations, homographies.

Output pixel `(row, column)` of image `n` is the sample, as `TfStn>Resampler` defines it,
at `(x, y) = (u / w, v / w)`, where

    u = matrix[n, 0, 0] column + (matrix[n, 0, 1] row + matrix[n, 0, 2])
    v = matrix[n, 1, 0] column + (matrix[n, 1, 1] row + matrix[n, 1, 2])
    w = matrix[n, 2, 0] column + (matrix[n, 2, 1] row + matrix[n, 2, 2])

and that of a volume, with a slice beside row and column, at (x, y, z) likewise.  A `w`
that is nearer to zero than 1e-6 counts as 1e-6, or -1e-6 if it is negative, so that points
at infinity are far outside.  The points are never stored.

Coordinates, weights and sums are float64 for float64 data and float32 for all
other types.  The identity returns the images, bit for bit.
The result does not depend on the number of threads.

data: Images, `[batch, height, width, channels]`, or volumes,
  `[batch, depth, height, width, channels]`.
matrix: From output pixels to pixels of the images, `[batch, ..., 3, 3]`, or of volumes,
  `[batch, ..., 4, 4]`.  An image may have several, each of which gives an output.  double
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

REGISTER_OP("TfStn>ProjectiveResamplerGrad")
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
    .SetShapeFn(MatrixResamplerGradShape<true>)
    .Doc(R"doc(
Computes the gradients of `TfStn>ProjectiveResampler`.

`grad_data` is that of `TfStn>ResamplerGrad`.  With `(gx, gy)` the `grad_warp` of a
point there,

    grad_matrix[n, 0] = sum over points of gx / w (column, row, 1)
    grad_matrix[n, 1] = sum over points of gy / w (column, row, 1)
    grad_matrix[n, 2] = sum over points of -(gx x + gy y) / w (column, row, 1)

which is summed as in `TfStn>AffineResamplerGrad`.  Points at infinity, whose `w` is limited,
add nothing to the last row.

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
