#include "cc/ops/attributes.h"
#include "cc/ops/shape_functions.h"
#include "tensorflow/core/framework/op.h"

namespace tf_stn {

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
    .SetShapeFn(MatrixResamplerShape<false>)
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
    .SetShapeFn(MatrixResamplerGradShape<false>)
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
