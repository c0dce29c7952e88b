"""Grids of sample points, and the one place where normalised coordinates become pixels."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from tf_stn.resampler import coordinate_type, to_coordinates

Size = Sequence[int] | Sequence[tf.Tensor] | tf.Tensor


def check_size(argument: str, size: Sequence[int]) -> tuple[int, int]:
    """Returns `size` as two Python integers; a ValueError unless it is two positive integers."""
    try:
        sides = tuple(size)
    except TypeError:
        sides = ()
    is_size = len(sides) == 2 and all(
        isinstance(side, (int, np.integer)) and not isinstance(side, bool) and side > 0
        for side in sides
    )
    if not is_size:
        raise ValueError(
            f"`{argument}` must be two positive integers (height, width), received {size!r}"
        )
    return int(sides[0]), int(sides[1])


def _late_size(argument: str, size: tf.Tensor) -> tf.Tensor:
    """Returns `size`, known only when the graph runs, as `[2]` int64, and checks it then."""
    expected = f"`{argument}` must be two positive integers (height, width), received"
    if not size.dtype.is_integer or not size.shape.is_compatible_with([2]):
        raise ValueError(f"{expected} a {size.dtype.name} tensor of shape {size.shape}")
    size = tf.cast(size, tf.int64)
    is_size = (tf.rank(size) == 1) & (tf.size(size) == 2) & tf.reduce_all(size > 0)
    with tf.control_dependencies([tf.debugging.Assert(is_size, [expected, size])]):
        return tf.reshape(size, [2])


def _parse_size(argument: str, size: Size) -> tuple[int, int] | tf.Tensor:
    """Returns `(height, width)` as integers, or as a tensor where they are not known yet."""
    if isinstance(size, Sequence) and any(tf.is_tensor(side) for side in size):
        size = tf.stack([tf.cast(side, tf.int64) for side in size])
    if not tf.is_tensor(size):
        return check_size(argument, size)
    static = tf.get_static_value(size)
    return _late_size(argument, size) if static is None else check_size(argument, static)


def _as_matrices(theta: tf.Tensor) -> tf.Tensor:
    """Gives `theta` the shape `[batch, 2, 3]`."""
    if not any(theta.shape.is_compatible_with(shape) for shape in ([None, 6], [None, 2, 3])):
        raise ValueError(
            f"`theta` must have shape [batch, 2, 3] or [batch, 6], received {theta.shape.as_list()}"
        )
    if not theta.shape[1:].is_fully_defined():
        shape = tf.shape(theta)
        sides = tf.concat([shape[1:], [-1, -1, -1]], axis=0)[:3]
        is_known = tf.reduce_all(sides == [[6, -1, -1], [2, 3, -1]], axis=1)
        message = "`theta` must have shape [batch, 2, 3] or [batch, 6], received"
        check = tf.debugging.Assert(tf.reduce_any(is_known), [message, shape])
        with tf.control_dependencies([check]):
            theta = tf.identity(theta)
    return tf.reshape(theta, [-1, 2, 3])


def _to_pixels(
    matrices: tf.Tensor,
    output_size: np.ndarray | tf.Tensor,
    input_size: np.ndarray | tf.Tensor,
    align_corners: bool,
) -> tf.Tensor:
    """Returns `M = S_in θ S_out⁻¹`, from output pixels `(j, i, 1)` to input pixels `(x, y)`.

    `S⁻¹` maps pixel `j` of `n` to `(2 j - (n - 1)) / span`, where `span` is `n - 1` with
    `align_corners` and `n` without. Sizes are multiplied before they are divided, in float64, so
    that equal sizes and the identity θ give exactly the identity.

    Args:
      matrices: θ, `[batch, 2, 3]`, normalised.
      output_size: `[2]`, (width, height), float64.
      input_size: `[2]`, (width, height), float64.
      align_corners: As in `affine_grid`.
    """
    maximum = tf.maximum if tf.is_tensor(output_size) else np.maximum
    # An output of one pixel sits in the middle: its span only must not be zero.
    output_span = maximum(output_size - 1, 1) if align_corners else maximum(output_size, 1)
    input_span = input_size - 1 if align_corners else input_size
    scale = input_span[:, None] / output_span[None, :]
    to_middle = input_span[:, None] * (output_size - 1)[None, :] / (2 * output_span[None, :])
    scale, to_middle, half_span, middle = (
        tf.cast(x, matrices.dtype) for x in (scale, to_middle, input_span / 2, (input_size - 1) / 2)
    )
    linear, shift = matrices[..., :2], matrices[..., 2]
    shift = shift * half_span - tf.reduce_sum(linear * to_middle, axis=-1) + middle
    return tf.concat([linear * scale, shift[..., None]], axis=-1)


def pixel_matrix(
    theta: tf.Tensor, output_size: Size, input_size: Size, align_corners: bool
) -> tuple[tf.Tensor, tuple[int, int] | tf.Tensor]:
    """Returns the matrices from output to input pixels, `[batch, 2, 3]`, and the output's size.

    Arguments are checked; they are those of `affine_grid`. The type is that of coordinates.
    """
    theta = tf.convert_to_tensor(theta, dtype_hint=tf.float32)
    theta = to_coordinates(theta, coordinate_type(theta.dtype), "theta")
    output_size = _parse_size("output_size", output_size)
    sizes = [output_size, _parse_size("input_size", input_size)]
    if any(tf.is_tensor(size) for size in sizes):
        sizes = [tf.cast(size, tf.float64)[::-1] for size in sizes]
    else:
        sizes = [np.array(size[::-1], np.float64) for size in sizes]
    return _to_pixels(_as_matrices(theta), *sizes, align_corners), output_size


def affine_grid(
    theta: tf.Tensor,
    output_size: Size,
    input_size: Size,
    align_corners: bool = True,
    name: str | None = None,
) -> tf.Tensor:
    """Returns where each output pixel of an affine transformation lies in the input.

    `(x_n, y_n) = θ (x_t, y_t, 1)ᵀ`, where `(x_t, y_t)` is the output pixel and `(x_n, y_n)` the
    point of the input that it shows, both normalised to `[-1, 1]`. So a scale below 1 zooms in.

    >>> identity = tf.constant([[1.0, 0.0, 0.0, 0.0, 1.0, 0.0]])
    >>> tf_stn.affine_grid(identity, output_size=(2, 2), input_size=(3, 5))[0].numpy()
    array([[[0., 0.],
            [4., 0.]],
    <BLANKLINE>
           [[0., 2.],
            [4., 2.]]], dtype=float32)

    Args:
      theta: `[batch, 2, 3]`, or `[batch, 6]` in the order of its rows. Any real type; computed in
        float64 where it is float64, otherwise in float32.
      output_size: `(height, width)` of the output, as integers or integer tensors.
      input_size: `(height, width)` of the image that will be sampled.
      align_corners: Where -1 and 1 are. True (default), as in the paper, cuDNN and MXNet: at the
        centres of the outermost pixels. False: at their outer edges.
      name: Name of the operation.

    Returns:
      The warp, `[batch, height, width, 2]`, as `(x, y)` in pixels of the input, for
      `tf_stn.resampler`. The identity θ and equal sizes give exactly the pixel centres. An output
      of a single row or column lies in the middle.

    Gradients:
      `theta`: exact; the sum over points of the gradient of the warp times
      `(x_t, y_t, 1)`, scaled to pixels. It is made of TensorFlow's own operations, so there are
      gradients of any order.

    Raises:
      TypeError: `theta` does not hold real numbers.
      ValueError: `theta` is not of a shape above, or a size is not two positive integers.
      tf.errors.InvalidArgumentError: the same, where it is known only when the graph runs.

    Reference:
      Jaderberg et al., Spatial Transformer Networks, 2015, equation 1,
      https://arxiv.org/abs/1506.02025
    """
    with tf.name_scope(name or "affine_grid"):
        matrix, size = pixel_matrix(theta, output_size, input_size, align_corners)
        height, width = size[0], size[1]
        columns = tf.cast(tf.range(width), matrix.dtype)[None, None, :, None]
        rows = tf.cast(tf.range(height), matrix.dtype)[None, :, None, None]
        # Not a matrix product, which some GPUs compute in ten bits of precision by default.
        along_x, along_y, origin = tf.unstack(matrix[:, None, None], axis=-1)
        return along_x * columns + (along_y * rows + origin)
