"""Samples images at real-valued coordinates, differentiably."""

from typing import Any

import tensorflow as tf

from tf_stn import _portable
from tf_stn._checks import as_tensor, check_mode
from tf_stn._implementation import is_portable
from tf_stn._library import ops
from tf_stn._observing import note
from tf_stn._pixels import sample_pixels, to_data
from tf_stn._symbolic import accepts_keras_tensors

INTERPOLATIONS = ("nearest", "linear", "cubic")
PADDINGS = ("zeros", "border", "reflect", "symmetric", "wrap")

# Types are compared by number where a single call from Python is to be quick.
_FLOAT64_ENUM = tf.float64.as_datatype_enum


def coordinate_type(dtype: tf.DType) -> tf.DType:
    """Returns the type in which coordinates for `dtype` are kept: float32 or float64."""
    return tf.float64 if dtype.as_datatype_enum == _FLOAT64_ENUM else tf.float32


def to_coordinates(value: Any, dtype: tf.DType, argument: str) -> tf.Tensor:
    """Converts `value` to a tensor of type `dtype`; complex numbers and text are errors.

    Numbers in lists are converted at once, so that float64 loses nothing.
    """
    tensor = as_tensor(argument, value, dtype_hint=dtype)
    if tensor.dtype.as_datatype_enum == dtype.as_datatype_enum:
        return tensor
    if not (tensor.dtype.is_floating or tensor.dtype.is_integer):
        raise TypeError(f"`{argument}` must hold real numbers, received {tensor.dtype.name}")
    return tf.cast(tensor, dtype)


def check_modes(interpolation: str, padding: str) -> None:
    """Raises a ValueError unless both are known."""
    check_mode("interpolation", interpolation, INTERPOLATIONS)
    check_mode("padding", padding, PADDINGS)


@accepts_keras_tensors
def resampler(
    data: tf.Tensor,
    warp: tf.Tensor,
    *,
    interpolation: str = "linear",
    padding: str = "zeros",
    fill_value: float | tf.Tensor = 0.0,
    name: str | None = None,
) -> tf.Tensor:
    """Samples images or volumes at real-valued pixel coordinates.

    Pixel `(0, 0)` has its centre at `(0, 0)`, so an image of width `W` spans `x` in
    `[0, W - 1]`. For normalised coordinates use `tf_stn.affine_grid`.

    >>> image = tf.reshape([0., 10., 20., 30.], [1, 2, 2, 1])
    >>> tf_stn.resampler(image, [[[0.5, 0.0], [1.0, 0.5]]])[0, :, 0].numpy()
    array([ 5., 20.], dtype=float32)

    Args:
      data: `[batch, height, width, channels]`, or volumes `[batch, depth, height, width,
        channels]`; float16, bfloat16, float32 or float64. Or integers, without a gradient: uint8,
        int8, uint16 and int16 are computed in float32, rounded to the nearest, of two to the even
        one, and limited to what the type holds; int32, int64 and bool, which are for labels, are
        sampled exactly, and by `"nearest"` alone.
      warp: `[batch, ..., 2]`, as `(x, y)` in pixels with `x` along the width, or for volumes
        `[batch, ..., 3]`, as `(x, y, z)` with `z` along the depth. Any real type; computed in
        float64 where `data` is float64, otherwise in float32: half precision cannot tell
        neighbouring pixels apart beyond 2048. NaN gives NaN, of integers 0; infinite or huge is
        outside the image. Several grids for each image are one warp `[batch, grids, ..., 2]`; and
        one of `data` and `warp` may have a batch of 1, which goes with each item of the other's.
        No image is ever copied for that.
      interpolation: How neighbouring pixels are blended, along each axis. `"nearest"`: the
        nearest pixel alone, of two the one of even index. `"linear"` (default): by distance,
        over the two nearest. `"cubic"`: by the cubic convolution of Keys with a = -0.75, over
        four. A pixel of weight zero is not read, so on a pixel centre the sample is that pixel,
        bit for bit.
      padding: Which pixel is read for an index outside the image `a b c d`. `"zeros"` (default):
        `0 0 0 | a b c d | 0 0 0`, so that linear samples fade to zero over one pixel.
        `"border"`: `a a a | a b c d | d d d`. `"reflect"`: `d c b | a b c d | c b a`.
        `"symmetric"`: `c b a | a b c d | d c b`. `"wrap"`: `b c d | a b c d | a b c`.
      fill_value: For `"zeros"`, what lies outside instead: a number, or one for each channel,
        `[channels]`; for integers one that their type holds. Default 0.
      name: Name of the operation.

    Returns:
      `[batch, ..., channels]`, of the type of `data`. The same bits in every run; on a processor
      with other instructions the last ones may differ.

    Gradients:
      `data`: exact, summed in float32 for half types; points with a NaN coordinate contribute
      nothing. On the CPU the same bits for any number of threads; on the GPU atomic additions,
      unless `tf.config.experimental.enable_op_determinism()` asks for the same bits in every run,
      which takes longer. `warp`: exact between pixel centres and right-hand on them, for
      `"cubic"` exact everywhere, for `"nearest"` zero; zero where the sample is constant outside
      the image, NaN for a NaN coordinate. `fill_value`: exact. Samples of integers have no
      gradients: `tf.GradientTape` gives None, and warns that its target is not of floating point.
      Only the gradients that somebody needs are computed. They are differentiable in turn, in all
      arguments, and so are theirs, to any order, in forward mode (`tf.autodiff.ForwardAccumulator`)
      too. Beyond the second order, a graph must know whether `data` are images or volumes.

    XLA:
      With `jit_compile=True` the same kernels run, and give the same bits, from TensorFlow 2.20 on;
      on a GPU where the library was built with CUDA. Shapes must be known when the function is
      compiled: after `tf.boolean_mask` and its like they are not.

    Raises:
      TypeError: `data`, `warp` or `fill_value` is of another type.
      ValueError: unknown mode, labels that are not to be sampled by `"nearest"`, or a `fill_value`
        that does not fit; in graph mode also mismatched shapes.
      tf.errors.InvalidArgumentError: mismatched shapes, or an image without pixels where there
        are points.

    Reference:
      Jaderberg et al., Spatial Transformer Networks, 2015, equations 5 to 7,
      https://arxiv.org/abs/1506.02025; Keys, Cubic convolution interpolation for digital image
      processing, 1981. PyTorch's `grid_sample` and ONNX's `GridSample` give the same: their
      padding `"reflection"` is `"reflect"` with align_corners and `"symmetric"` without. So does
      SciPy's `map_coordinates` of order 0 and 1, with modes grid-constant, nearest, mirror,
      reflect and grid-wrap for ours in their order. But halfway between two pixels SciPy takes
      the upper one; and outside, where we map the rounded index and they round the mapped
      coordinate, under `"symmetric"` PyTorch and ONNX may take the other one.
    """
    data, warp, output = sample(data, warp, interpolation, padding, fill_value, name)
    note("resampler", data, lambda: warp, output)
    return output


def sample(
    data: tf.Tensor,
    warp: tf.Tensor,
    interpolation: str = "linear",
    padding: str = "zeros",
    fill_value: float | tf.Tensor = 0.0,
    name: str | None = None,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Does what `resampler` does, and lets nobody look on.

    Returns:
      `data` and `warp` as tensors, and what is sampled.
    """
    check_modes(interpolation, padding)
    data = to_data(data)
    warp = to_coordinates(warp, coordinate_type(data.dtype), "warp")
    implementation = _portable.resampler if is_portable() else ops.tf_stn_resampler
    modes = {"interpolation": interpolation, "padding": padding}

    def sample_numbers(data: tf.Tensor, fill: list[tf.Tensor]) -> tf.Tensor:
        return implementation(data, warp, fill, name=name, **modes)

    return data, warp, sample_pixels(data, fill_value, **modes, sample=sample_numbers)
