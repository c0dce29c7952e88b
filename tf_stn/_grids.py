"""Grids of sample points, and the one place where normalised coordinates become pixels."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from tf_stn._resampler import coordinate_type, to_coordinates

Size = Sequence[int] | Sequence[tf.Tensor] | tf.Tensor


# By the number of spatial axes.
_SIDES = {
    2: "two positive integers (height, width)",
    3: "three positive integers (depth, height, width)",
}
_THETAS = {
    2: "`theta` must have shape [batch, ..., 2, 3] or [batch, 6], received",
    3: "`theta` must have shape [batch, ..., 3, 4] or [batch, 12], received",
}


def check_size(argument: str, size: Sequence[int], rank: int = 2) -> tuple[int, ...]:
    """Returns `size` as Python integers; a ValueError unless it is `rank` positive integers."""
    try:
        sides = tuple(size)
    except TypeError:
        sides = ()
    is_size = len(sides) == rank and all(
        isinstance(side, (int, np.integer)) and not isinstance(side, bool) and side > 0
        for side in sides
    )
    if not is_size:
        raise ValueError(f"`{argument}` must be {_SIDES[rank]}, received {size!r}")
    return tuple(int(side) for side in sides)


def _late_size(argument: str, size: tf.Tensor, rank: int) -> tf.Tensor:
    """Returns `size`, known only when the graph runs, as `[rank]` int64, and checks it then."""
    expected = f"`{argument}` must be {_SIDES[rank]}, received"
    if not size.dtype.is_integer or not size.shape.is_compatible_with([rank]):
        raise ValueError(f"{expected} a {size.dtype.name} tensor of shape {size.shape}")
    size = tf.cast(size, tf.int64)
    is_size = (tf.rank(size) == 1) & (tf.size(size) == rank) & tf.reduce_all(size > 0)
    with tf.control_dependencies([tf.debugging.Assert(is_size, [expected, size])]):
        return tf.reshape(size, [rank])


def _parse_size(argument: str, size: Size, rank: int) -> tuple[int, ...] | tf.Tensor:
    """Returns the sides as integers, or as a tensor where they are not known yet."""
    if isinstance(size, Sequence) and any(tf.is_tensor(side) for side in size):
        size = tf.stack([tf.cast(side, tf.int64) for side in size])
    if not tf.is_tensor(size):
        return check_size(argument, size, rank)
    static = tf.get_static_value(size)
    if static is None:
        return _late_size(argument, size, rank)
    return check_size(argument, static, rank)


def _known_sides(size: Size | None) -> int | None:
    """Returns how many sides `size` has, if that is known."""
    if tf.is_tensor(size):
        return size.shape[0] if size.shape.rank == 1 else None
    return len(size) if isinstance(size, (Sequence, np.ndarray)) else None


def spatial_rank(theta: tf.Tensor, output_size: Size | None) -> int:
    """Returns 3 for transformations of volumes, and 2 for all others.

    Where the shape of `theta` is not known, `output_size` decides.
    """
    shape = theta.shape
    if shape.rank in (None, 0) or shape[-1] is None:
        return 3 if _known_sides(output_size) == 3 else 2
    return 3 if (shape.rank == 2 and shape[-1] == 12) or (shape.rank > 2 and shape[-1] == 4) else 2


def _as_matrices(theta: tf.Tensor, rank: int) -> tf.Tensor:
    """Gives `theta` the shape `[batch, ..., rank, rank + 1]`."""
    matrix = [rank, rank + 1]
    flat = [rank * (rank + 1)]
    shape = theta.shape
    fits = (
        shape.rank is None
        or (shape.rank == 2 and shape[1:].is_compatible_with(flat))
        or (shape.rank > 2 and shape[-2:].is_compatible_with(matrix))
    )
    if not fits:
        raise ValueError(f"{_THETAS[rank]} {shape.as_list()}")
    if shape.rank is not None and shape.rank > 2 and shape[-2:].is_fully_defined():
        return theta
    late = tf.shape(theta)
    if shape.rank is None or not shape[1:].is_fully_defined():
        ends = tf.concat([[-1, -1], late], axis=0)[-2:]
        is_matrix = (tf.rank(theta) > 2) & tf.reduce_all(ends == matrix)
        is_flat = (tf.rank(theta) == 2) & tf.reduce_all(ends[-1:] == flat)
        check = tf.debugging.Assert(is_matrix | is_flat, [_THETAS[rank], late])
        with tf.control_dependencies([check]):
            theta = tf.identity(theta)
    if shape.rank is None:
        late_start = late[: tf.maximum(1, tf.rank(theta) - 2)]
        return tf.reshape(theta, tf.concat([late_start, matrix], axis=0))
    static = shape[:1] if shape.rank == 2 else shape[:-2]
    late_start = late[:1] if shape.rank == 2 else late[:-2]
    theta = tf.reshape(theta, tf.concat([late_start, matrix], axis=0))
    theta.set_shape(static + matrix)  # An op for that has no forward mode in graphs.
    return theta


def _to_pixels(
    matrices: tf.Tensor,
    output_size: np.ndarray | tf.Tensor,
    input_size: np.ndarray | tf.Tensor,
    align_corners: bool,
) -> tf.Tensor:
    """Returns `M = S_in θ S_out⁻¹`, from output pixels `(j, i, 1)` to input pixels `(x, y)`.

    For volumes, from `(j, i, h, 1)` to `(x, y, z)`.

    `S⁻¹` maps pixel `j` of `n` to `(2 j - (n - 1)) / span`, where `span` is `n - 1` with
    `align_corners` and `n` without. Sizes are multiplied before they are divided, in float64, so
    that equal sizes and the identity θ give exactly the identity.

    Args:
      matrices: θ, `[batch, ..., 2, 3]` or `[batch, ..., 3, 4]`, normalised.
      output_size: (width, height[, depth]), float64.
      input_size: (width, height[, depth]), float64.
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
    linear, shift = matrices[..., :-1], matrices[..., -1]
    shift = shift * half_span - tf.reduce_sum(linear * to_middle, axis=-1) + middle
    return tf.concat([linear * scale, shift[..., None]], axis=-1)


def pixel_matrix(
    theta: tf.Tensor, rank: int, output_size: Size, input_size: Size, align_corners: bool
) -> tuple[tf.Tensor, tuple[int, ...] | tf.Tensor]:
    """Returns the matrices from output to input pixels and the output's size.

    Arguments are checked; they are those of `affine_grid`. The matrices are
    `[batch, ..., rank, rank + 1]`, of the type of coordinates.
    """
    theta = tf.convert_to_tensor(theta, dtype_hint=tf.float32)
    theta = to_coordinates(theta, coordinate_type(theta.dtype), "theta")
    matrices = _as_matrices(theta, rank)
    output_size = _parse_size("output_size", output_size, rank)
    sizes = [output_size, _parse_size("input_size", input_size, rank)]
    if any(tf.is_tensor(size) for size in sizes):
        sizes = [tf.cast(size, tf.float64)[::-1] for size in sizes]
    else:
        sizes = [np.array(size[::-1], np.float64) for size in sizes]
    return _to_pixels(matrices, *sizes, align_corners), output_size


def pixel_axes(size: Sequence[int] | tf.Tensor, rank: int, dtype: tf.DType) -> list[tf.Tensor]:
    """Returns the columns, rows[, slices] of an output, each shaped to broadcast over it."""
    axes = []
    for axis in range(rank):
        shape = [1] * rank
        shape[axis] = -1
        axes.append(tf.reshape(tf.cast(tf.range(size[axis]), dtype), shape))
    return axes[::-1]


def map_pixels(matrix: tf.Tensor, size: Sequence[int] | tf.Tensor, rank: int) -> tf.Tensor:
    """Returns where `matrix` maps the pixels of an output, `[batch, ..., *size, rank]`."""
    # Not a matrix product, which some GPUs compute in ten bits of precision by default.
    for _ in range(rank):
        matrix = tf.expand_dims(matrix, -3)
    *steps, total = tf.unstack(matrix, num=rank + 1, axis=-1)
    pixels = pixel_axes(size, rank, matrix.dtype)
    # From the slowest axis on, as the compiled loops add them.
    for step, pixel in reversed(list(zip(steps, pixels, strict=True))):
        total = step * pixel[..., None] + total
    return total


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
    Volumes have a third coordinate, `z`, along their depth.

    >>> identity = tf.constant([[1.0, 0.0, 0.0, 0.0, 1.0, 0.0]])
    >>> tf_stn.affine_grid(identity, output_size=(2, 2), input_size=(3, 5))[0].numpy()
    array([[[0., 0.],
            [4., 0.]],
    <BLANKLINE>
           [[0., 2.],
            [4., 2.]]], dtype=float32)

    Args:
      theta: `[batch, ..., 2, 3]`, or `[batch, 6]` in the order of its rows; for volumes
        `[batch, ..., 3, 4]` or `[batch, 12]`. Any real type; computed in float64 where it is
        float64, otherwise in float32.
      output_size: `(height, width)` of the output, or `(depth, height, width)`, as integers or
        integer tensors.
      input_size: The same of the image that will be sampled.
      align_corners: Where -1 and 1 are. True (default), as in the paper, cuDNN and MXNet: at the
        centres of the outermost pixels. False: at their outer edges.
      name: Name of the operation.

    Returns:
      The warp, `[batch, ..., height, width, 2]`, as `(x, y)` in pixels of the input, or
      `[batch, ..., depth, height, width, 3]`, as `(x, y, z)`, for `tf_stn.resampler`. The
      identity θ and equal sizes give exactly the pixel centres. An output of a single row or
      column lies in the middle.

    Gradients:
      `theta`: exact; the sum over points of the gradient of the warp times
      `(x_t, y_t, 1)`, scaled to pixels. It is made of TensorFlow's own operations, so there are
      gradients of any order.

    Raises:
      TypeError: `theta` does not hold real numbers.
      ValueError: `theta` is not of a shape above, or a size is not as many positive integers.
      tf.errors.InvalidArgumentError: the same, where it is known only when the graph runs.

    Reference:
      Jaderberg et al., Spatial Transformer Networks, 2015, equation 1,
      https://arxiv.org/abs/1506.02025
    """
    with tf.name_scope(name or "affine_grid"):
        theta = tf.convert_to_tensor(theta, dtype_hint=tf.float32)
        rank = spatial_rank(theta, output_size)
        matrix, size = pixel_matrix(theta, rank, output_size, input_size, align_corners)
        return map_pixels(matrix, size, rank)


def _spans(size: Sequence[int] | tf.Tensor, align_corners: bool) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns for x, y[, z] the number of pixels, and from -1 to 1 how many there are, float64."""
    size = tf.cast(size, tf.float64)[::-1]
    return size, size - 1 if align_corners else size


def normalised_points(
    output_size: Size, rank: int, align_corners: bool, dtype: tf.DType
) -> tf.Tensor:
    """Returns the normalised coordinates of an output's pixels, `[*output_size, rank]`."""
    size = _parse_size("output_size", output_size, rank)
    sizes, spans = _spans(size, align_corners)
    axes = pixel_axes(size, rank, tf.float64)
    points = [
        (2 * axis - (sizes[i] - 1)) / tf.maximum(spans[i], 1.0) for i, axis in enumerate(axes)
    ]
    shape = tf.cast(size, tf.int32)
    return tf.cast(tf.stack([tf.broadcast_to(p, shape) for p in points], axis=-1), dtype)


def from_identity(
    moved: tf.Tensor, output_size: Size, input_size: Size, align_corners: bool
) -> tf.Tensor:
    """Returns the warp that moves an output's pixels by so much, from where the identity has them.

    Exact where nothing moves, which a sum of normalised coordinates is not.

    Args:
      moved: Normalised, `[batch, *output_size, rank]`.
      output_size: As in `affine_grid`.
      input_size: As in `affine_grid`.
      align_corners: As in `affine_grid`.
    """
    rank = moved.shape[-1]
    identity = tf.eye(rank, rank + 1, dtype=moved.dtype)[None]
    _, spans = _spans(_parse_size("input_size", input_size, rank), align_corners)
    return affine_grid(identity, output_size, input_size, align_corners) + moved * tf.cast(
        spans / 2, moved.dtype
    )
