"""Samples images at real-valued coordinates, differentiably."""

from collections.abc import Callable

import tensorflow as tf

from tf_stn._library import ops

INTERPOLATIONS = ("linear",)
PADDINGS = ("zeros",)
DATA_TYPES = (tf.float16, tf.bfloat16, tf.float32, tf.float64)


# Types are compared by number where a single call from Python is to be quick.
_DATA_TYPE_ENUMS = frozenset(dtype.as_datatype_enum for dtype in DATA_TYPES)
_FLOAT64_ENUM = tf.float64.as_datatype_enum


def as_tensor(value, dtype_hint: tf.DType | None = None) -> tf.Tensor:
    """Converts `value` to a tensor, unless it is one."""
    if isinstance(value, tf.Tensor):
        return value
    return tf.convert_to_tensor(value, dtype_hint=dtype_hint)


def coordinate_type(dtype: tf.DType) -> tf.DType:
    """Returns the type in which coordinates for `dtype` are kept: float32 or float64."""
    return tf.float64 if dtype.as_datatype_enum == _FLOAT64_ENUM else tf.float32


def to_coordinates(value, dtype: tf.DType, argument: str) -> tf.Tensor:
    """Converts `value` to a tensor of type `dtype`; complex numbers and text are errors.

    Numbers in lists are converted at once, so that float64 loses nothing.
    """
    tensor = as_tensor(value, dtype_hint=dtype)
    if tensor.dtype.as_datatype_enum == dtype.as_datatype_enum:
        return tensor
    if not (tensor.dtype.is_floating or tensor.dtype.is_integer):
        raise TypeError(f"`{argument}` must hold real numbers, received {tensor.dtype.name}")
    return tf.cast(tensor, dtype)


def check_mode(argument: str, value: str, known: tuple[str, ...]) -> None:
    """Raises a ValueError unless `value` is one of `known`."""
    if not (isinstance(value, str) and value in known):
        names = ", ".join(repr(name) for name in known)
        raise ValueError(f"`{argument}` must be one of {names}, received {value!r}")


def check_modes(interpolation: str, padding: str) -> None:
    """Raises a ValueError unless both are known."""
    check_mode("interpolation", interpolation, INTERPOLATIONS)
    check_mode("padding", padding, PADDINGS)


def to_data(value) -> tf.Tensor:
    """Converts `value` to a tensor; a TypeError unless it is of one of DATA_TYPES."""
    data = as_tensor(value)
    if data.dtype.as_datatype_enum not in _DATA_TYPE_ENUMS:
        raise TypeError(
            "`data` must be of type float16, bfloat16, float32 or float64, "
            f"received {data.dtype.name}"
        )
    return data


def resampler(
    data: tf.Tensor,
    warp: tf.Tensor,
    interpolation: str = "linear",
    padding: str = "zeros",
    name: str | None = None,
) -> tf.Tensor:
    """Samples images at real-valued pixel coordinates.

    Pixel `(0, 0)` has its centre at `(0, 0)`, so an image of width `W` spans `x` in
    `[0, W - 1]`. Normalised coordinates are the grid generator's business; see
    `tf_stn.affine_grid`.

    >>> image = tf.reshape([0., 10., 20., 30.], [1, 2, 2, 1])
    >>> tf_stn.resampler(image, [[[0.5, 0.0], [1.0, 0.5]]])[0, :, 0].numpy()
    array([ 5., 20.], dtype=float32)

    Args:
      data: `[batch, height, width, channels]`, float16, bfloat16, float32 or float64.
      warp: `[batch, ..., 2]`, as `(x, y)` in pixels with `x` along the width. Any real type;
        computed in float64 where `data` is float64, otherwise in float32: half precision
        cannot tell neighbouring pixels apart beyond 2048. NaN gives NaN; infinite or huge
        is outside the image.
      interpolation: How neighbouring pixels are blended. `"linear"` (default): by distance
        along each axis, over the two nearest. A pixel of weight zero is not read, so on a
        pixel centre the sample is that pixel, bit for bit.
      padding: What lies outside the image. `"zeros"` (default): `0 0 0 | a b c d | 0 0 0`,
        so that samples fade to zero over one pixel.
      name: Name of the operation.

    Returns:
      `[batch, ..., channels]`, of the type of `data`. The same bits in every run; on a processor
      with other instructions the last ones may differ.

    Gradients:
      `data`: exact, summed in float32 for half types; points with a NaN coordinate contribute
      nothing. On the CPU the same bits for any number of threads; on the GPU atomic additions,
      unless `tf.config.experimental.enable_op_determinism()` asks for the same bits in every run,
      which takes longer. `warp`: exact between pixel centres and right-hand on them; zero outside
      the image, NaN for a NaN coordinate. Only the gradients that somebody needs are computed.
      Gradients of gradients are not defined yet, and asking for one raises a LookupError.

    XLA:
      There is no XLA kernel. A Keras layer of your own that calls this sets
      `self.supports_jit = False`, as `tf_stn.SpatialTransformer` does.

    Raises:
      TypeError: `data` or `warp` is of another type.
      ValueError: unknown mode; in graph mode also mismatched shapes.
      tf.errors.InvalidArgumentError: mismatched shapes, or an image without pixels where there
        are points.

    Reference:
      Jaderberg et al., Spatial Transformer Networks, 2015, equations 5 to 7,
      https://arxiv.org/abs/1506.02025
    """
    check_modes(interpolation, padding)
    data = to_data(data)
    warp = to_coordinates(warp, coordinate_type(data.dtype), "warp")
    return ops.tf_stn_resampler(data, warp, interpolation=interpolation, padding=padding, name=name)


def needed_gradients(op: tf.Operation, gradient_op: Callable, argument: str, grad_output):
    """Calls an op's gradient op for those of `data` and `argument` that somebody needs."""
    # A tape knows which inputs need no gradient. `tf.gradients` does not say, but in its graphs
    # the executor tells the kernel which outputs nobody consumes.
    unneeded = getattr(op, "skip_input_indices", None) or ()
    gradients = gradient_op(
        *op.inputs[:2],
        grad_output,
        interpolation=op.get_attr("interpolation"),
        padding=op.get_attr("padding"),
        compute_grad_data=0 not in unneeded,
        **{f"compute_grad_{argument}": 1 not in unneeded},
    )
    return [None if i in unneeded else gradient for i, gradient in enumerate(gradients)]


@tf.RegisterGradient("TfStn>Resampler")
def _resampler_gradient(op, grad_output):
    return needed_gradients(op, ops.tf_stn_resampler_grad, "warp", grad_output)
