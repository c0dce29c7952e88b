#include "cc/core/shapes.h"
#include "cc/ops/attributes.h"
#include "cc/ops/shape_functions.h"
#include "tensorflow/core/framework/op.h"

namespace tf_stn {

REGISTER_OP("TfStn>Resampler")
    .Input("data: T")
    .Input("warp: Twarp")
    .Input("fill_value: num_fill * T")
    .Output("output: T")
    .Attr(PixelTypeAttribute())
    .Attr("Twarp: {float, double}")
    .Attr(InterpolationAttribute())
    .Attr(PaddingAttribute())
    .Attr("num_fill: int >= 0 = 0")
    .Attr("derivative: list(int) = []")
    .SetShapeFn(ResamplerShape<kWarp>)
    .Doc(R"doc(
Samples images or volumes at real-valued pixel coordinates.

A sample is a sum over neighbouring pixels, each times the product of its weights along
the axes.  For images and linear interpolation, with `x0 = floor(x)`, `y0 = floor(y)`,
`a = x - x0`, `b = y - y0` and `Uij = data[n, y0 + j, x0 + i, c]`, it is

    (1 - b) ((1 - a) U00 + a U10) + b ((1 - a) U01 + a U11)

With `t` the distance to floor(x), the weights of the pixels from floor(x) - 1 on are,
for cubic interpolation,

    a t (1 - t)^2    ((a + 2) t - (a + 3)) t^2 + 1    and the same for 1 - t, mirrored

`padding` says which pixel is read for an index outside the image.  Taps on one pixel along
an axis count as one, with the sum of their weights.  A pixel of weight zero is not read, so a
sample on a pixel centre is that pixel, bit for bit, whatever its neighbours.  A NaN coordinate
gives NaN.  An infinite or huge one is outside the image; where the padding repeats the image, it
is limited to 2^30.

Coordinates, weights and sums are float64 for float64 data and float32 for all
other types.  The result does not depend on the number of threads.

Zero points, an empty batch and zero channels give an empty output.  An image
without pixels is an error where there are points.

data: Images, `[batch, height, width, channels]`, or volumes,
  `[batch, depth, height, width, channels]`.
warp: Coordinates, `[batch, ..., 2]`, as (x, y) in pixels, or `[batch, ..., 3]`, as
  (x, y, z).  Pixel (0, 0) has its centre at (0, 0); x runs along the width, z along the
  depth.  double if data is, otherwise float.  One of `data` and `warp` may have a batch
  of 1, which goes with each item of the other's.
fill_value: At most one tensor `[channels]`: for 'zeros', the pixel that lies outside.
output: Samples, `[batch, ..., channels]`.
interpolation: How neighbouring pixels are blended, along each axis.  'nearest': the
  nearest pixel, of two the even one.  'linear': by distance, over the two nearest.
  'cubic': by Keys' convolution with a = -0.75, over four.
)doc" + PaddingDoc() +
         R"doc(num_fill: Whether there is a `fill_value`: 0 or 1.
derivative: Orders of a derivative along x, y and z, zero if left out: the weights
  are differentiated as often as these say, each on its own axis.
)doc");

REGISTER_OP("TfStn>ResamplerGrad")
    .Input("data: T")
    .Input("warp: Twarp")
    .Input("grad_output: T")
    .Input("fill_value: num_fill * T")
    .Output("grad_data: T")
    .Output("grad_warp: Twarp")
    .Attr(PixelTypeAttribute())
    .Attr("Twarp: {float, double}")
    .Attr(InterpolationAttribute())
    .Attr(PaddingAttribute())
    .Attr("num_fill: int >= 0 = 0")
    .Attr("derivative: list(int) = []")
    .Attr("compute_grad_data: bool = true")
    .Attr("compute_grad_warp: bool = true")
    .SetShapeFn(ResamplerGradShape<kWarp>)
    .Doc(R"doc(
Computes the gradients of `TfStn>Resampler`.

`grad_data` adds each point's `grad_output` times its weights to the pixels that
it read.  `grad_warp` is the sum over channels of `grad_output` times the derivative of
the sample: for images and linear interpolation

    d/dx = (1 - b) (U10 - U00) + b (U11 - U01)
    d/dy = (1 - a) (U01 - U00) + a (U11 - U10)

which on a pixel centre is the right-hand derivative.  As in the forward op, a
pixel of factor zero takes no part in a sum.  A NaN coordinate adds
nothing to `grad_data` and has a NaN `grad_warp`; one outside the image, where
the output is constant, has a `grad_warp` of zero.  Without channels, all of `grad_warp` is zero.

Where one of `data` and `warp` has a batch of 1, its gradient is the sum over the batch.

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
fill_value: As in the forward op.
grad_data: Gradient of `data`, of its shape; `[0]` without compute_grad_data.
grad_warp: Gradient of `warp`, of its shape; `[0]` without compute_grad_warp.
interpolation: As in the forward op.
padding: As in the forward op.
num_fill: As in the forward op.
derivative: As in the forward op.
compute_grad_data: Whether `grad_data` is needed.
compute_grad_warp: Whether `grad_warp` is needed.
)doc");

REGISTER_OP("TfStn>ResamplerGradGrad")
    .Input("data: T")
    .Input("warp: Twarp")
    .Input("grad_output: T")
    .Input("grad_grad_data: T")
    .Input("grad_grad_warp: Twarp")
    .Input("fill_value: num_fill * T")
    .Output("grad_data: T")
    .Output("grad_warp: Twarp")
    .Output("grad_grad_output: T")
    .Attr(PixelTypeAttribute())
    .Attr("Twarp: {float, double}")
    .Attr(InterpolationAttribute())
    .Attr(PaddingAttribute())
    .Attr("num_fill: int >= 0 = 0")
    .Attr("compute_grad_data: bool = true")
    .Attr("compute_grad_warp: bool = true")
    .Attr("compute_grad_grad_output: bool = true")
    .SetShapeFn(ResamplerGradGradShape<kWarp>)
    .Doc(R"doc(
Computes the gradients of `TfStn>ResamplerGrad`.

They are those of

    <grad_grad_data, grad_data> + <grad_grad_warp, grad_warp>

in `data`, `warp` and `grad_output`.  With `d/ds` the derivative in the direction of
each point's `grad_grad_warp`, and a sample's gradients as in `TfStn>ResamplerGrad`,

    grad_grad_output = sample of grad_grad_data + d/ds sample of data
    grad_warp        = grad_warp of grad_grad_data + d/ds grad_warp of data
    grad_data        = grad_output, added to pixels by d/ds of their weights

For linear interpolation the second derivative along one axis is zero, and that along
two axes is constant between pixel centres.  Rounding, NaN and the order of sums are as
in `TfStn>ResamplerGrad`.

data: As in the forward op.
warp: As in the forward op.
grad_output: As in the gradient op.
grad_grad_data: Gradient of `grad_data`, of its shape, or `[0]` for zero.
grad_grad_warp: Gradient of `grad_warp`, of its shape, or `[0]` for zero.
fill_value: As in the forward op.
grad_data: Gradient of `data`, of its shape; `[0]` without compute_grad_data.
grad_warp: Gradient of `warp`, of its shape; `[0]` without compute_grad_warp.
grad_grad_output: Gradient of `grad_output`, of its shape; `[0]` without
  compute_grad_grad_output.
interpolation: As in the forward op.
padding: As in the forward op.
num_fill: As in the forward op.
compute_grad_data: Whether `grad_data` is needed.
compute_grad_warp: Whether `grad_warp` is needed.
compute_grad_grad_output: Whether `grad_grad_output` is needed.
)doc");

}  // namespace tf_stn
