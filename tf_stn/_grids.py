"""Grids of sample points, and the one place where normalised coordinates become pixels."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tf_stn._checks import as_tensor, check_mode
from tf_stn._resampler import coordinate_type, to_coordinates
from tf_stn._sizes import (
    Sides,
    Size,
    in_order_of_coordinates,
    known_rank,
    parse_size,
    static_shape,
    wide_type,
)
from tf_stn._symbolic import accepts_keras_tensors

UNITS = ("normalised", "pixels")
# By the number of spatial axes.
_THETAS = {
    2: "`theta` must have shape [batch, ..., 2, 3] or [batch, 6], received",
    3: "`theta` must have shape [batch, ..., 3, 4] or [batch, 12], received",
}


def spatial_rank(theta: tf.Tensor, output_size: Size | None) -> int:
    """Returns 3 for transformations of volumes, and 2 for all others.

    Where the shape of `theta` is not known, `output_size` decides.
    """
    shape = static_shape(theta)
    if not shape or shape[-1] is None:
        return 3 if known_rank(output_size) == 3 else 2
    return 3 if (len(shape) == 2 and shape[-1] == 12) or (len(shape) > 2 and shape[-1] == 4) else 2


def _checked_late(theta: tf.Tensor, rank: int) -> tf.Tensor:
    """Returns `theta`, whose shape is not fully known, and checks it when the graph runs."""
    late = tf.shape(theta)
    ends = tf.concat([[-1, -1], late], axis=0)[-2:]
    is_matrix = (tf.rank(theta) > 2) & tf.reduce_all(tf.equal(ends, [rank, rank + 1]))
    is_flat = tf.equal(tf.rank(theta), 2) & tf.equal(ends[-1], rank * (rank + 1))
    check = tf.debugging.Assert(is_matrix | is_flat, [_THETAS[rank], late])
    with tf.control_dependencies([check]):
        return tf.identity(theta)


def _as_matrices(theta: tf.Tensor, rank: int) -> tf.Tensor:
    """Gives `theta` the shape `[batch, ..., rank, rank + 1]`."""
    matrix = [rank, rank + 1]
    shape = static_shape(theta)
    fits = (
        shape is None
        or (len(shape) == 2 and shape[1] in (None, rank * (rank + 1)))
        or (len(shape) > 2 and tf.TensorShape(shape[-2:]).is_compatible_with(matrix))
    )
    if not fits:
        raise ValueError(f"{_THETAS[rank]} {theta.shape.as_list()}")
    if shape is not None and len(shape) > 2 and None not in shape[-2:]:
        return theta
    late = tf.shape(theta)
    if shape is None or None in shape[1:]:
        theta = _checked_late(theta, rank)
    if shape is None:
        late_start = late[: tf.maximum(1, tf.rank(theta) - 2)]
        return tf.reshape(theta, tf.concat([late_start, matrix], axis=0))
    static = shape[:1] if len(shape) == 2 else shape[:-2]
    late_start = late[:1] if len(shape) == 2 else late[:-2]
    theta = tf.reshape(theta, tf.concat([late_start, matrix], axis=0))
    theta.set_shape([*static, *matrix])  # An op for that has no forward mode in graphs.
    return theta


class AxisMaps(NamedTuple):
    """Maps along x, y[, z], each `v -> (factor v + offset) / divisor`, in `wide_type`.

    Factors of two maps are multiplied before they are divided. So a map and its inverse give
    exactly the identity, whatever the sizes.
    """

    factor: np.ndarray | tf.Tensor
    offset: np.ndarray | tf.Tensor
    divisor: np.ndarray | tf.Tensor


def _span(sides: np.ndarray | tf.Tensor, align_corners: bool) -> np.ndarray | tf.Tensor:
    """Returns how many pixels there are from -1 to 1."""
    return sides - 1 if align_corners else sides


def axes_to_pixels(size: Sides, align_corners: bool, dtype: tf.DType) -> AxisMaps:
    """Returns S, which maps normalised coordinates to pixels: `(span v + n - 1) / 2`."""
    sides = in_order_of_coordinates(size, dtype)
    return AxisMaps(_span(sides, align_corners), sides - 1, 0 * sides + 2)


def axes_to_normalised(size: Sides, align_corners: bool, dtype: tf.DType) -> AxisMaps:
    """Returns S⁻¹, which maps pixels to normalised coordinates: `(2 v - (n - 1)) / span`."""
    sides = in_order_of_coordinates(size, dtype)
    maximum = tf.maximum if tf.is_tensor(sides) else np.maximum
    # An axis of one pixel sits in the middle: its span only must not be zero.
    return AxisMaps(0 * sides + 2, 1 - sides, maximum(_span(sides, align_corners), 1))


def change_points(maps: AxisMaps, points: tf.Tensor) -> tf.Tensor:
    """Returns where `maps` take points, `[..., rank]`."""
    factor, offset = (tf.cast(x / maps.divisor, points.dtype) for x in (maps.factor, maps.offset))
    return points * factor + offset


def change_coordinates(outer: AxisMaps, matrices: tf.Tensor, inner: AxisMaps) -> tf.Tensor:
    """Returns matrices that apply `inner`, then `matrices`, then `outer`.

    Args:
      outer: Maps of the coordinates that come out.
      matrices: `[..., rank, rank + 1]`, or projective ones `[..., rank + 1, rank + 1]`.
      inner: Maps of the coordinates that go in.
    """
    (rank,) = static_shape(outer.factor) or ()
    divisor = outer.divisor[:, None] * inner.divisor[None, :]
    scale = outer.factor[:, None] * inner.factor[None, :] / divisor
    offset = outer.factor[:, None] * inner.offset[None, :] / divisor
    scale, offset, factor, middle = (
        tf.cast(x, matrices.dtype)
        for x in (scale, offset, outer.factor / outer.divisor, outer.offset / outer.divisor)
    )
    linear, shift = matrices[..., :rank, :-1], matrices[..., :rank, -1]
    linear, shift = linear * scale, shift * factor + tf.reduce_sum(linear * offset, axis=-1)
    shape = static_shape(matrices)
    if shape is None or shape[-2] == rank:  # The last row of an affine one is 0, ..., 0, 1.
        return tf.concat([linear, tf.expand_dims(shift + middle, -1)], axis=-1)
    scale, offset = (
        tf.cast(x / inner.divisor, matrices.dtype) for x in (inner.factor, inner.offset)
    )
    row = matrices[..., rank:, :-1]
    last = matrices[..., rank:, -1] + tf.reduce_sum(row * offset, axis=-1)
    bottom = tf.concat([row * scale, last[..., None]], axis=-1)
    top = tf.concat([linear, shift[..., None]], axis=-1) + middle[:, None] * bottom
    return tf.concat([top, bottom], axis=-2)


def pixel_matrix(
    theta: tf.Tensor,
    rank: int,
    output_size: Size,
    input_size: Size | None,
    align_corners: bool,
    units: str,
) -> tuple[tf.Tensor, Sides]:
    """Returns the matrices from output to input pixels and the output's size.

    `M = S_in θ S_out⁻¹` maps output pixels `(x, y, 1)` to input pixels `(x, y)`; for volumes
    `(x, y, z, 1)` to `(x, y, z)`. Arguments are checked; they are those of `affine_grid`. The
    matrices are `[batch, ..., rank, rank + 1]`, of the type of coordinates.
    """
    theta = as_tensor("theta", theta, dtype_hint=tf.float32)
    matrices = _as_matrices(to_coordinates(theta, coordinate_type(theta.dtype), "theta"), rank)
    return to_pixel_units(matrices, rank, output_size, input_size, align_corners, units)


def to_pixel_units(
    matrices: tf.Tensor,
    rank: int,
    output_size: Size,
    input_size: Size | None,
    align_corners: bool,
    units: str,
) -> tuple[tf.Tensor, Sides]:
    """Returns affine or projective matrices in pixels, and the output's size."""
    check_mode("units", units, UNITS)
    output = parse_size("output_size", output_size, rank)
    if units == "pixels":
        return matrices, output
    known, dtype = parse_size("input_size", input_size, rank), matrices.dtype
    to_input = axes_to_pixels(known, align_corners, dtype)
    to_normalised = axes_to_normalised(output, align_corners, dtype)
    return change_coordinates(to_input, matrices, to_normalised), output


def pixel_axes(size: Sides, rank: int, dtype: tf.DType) -> list[tf.Tensor]:
    """Returns the columns, rows[, slices] of an output, each shaped to broadcast over it."""
    axes = []
    for axis in range(rank):
        shape = [1] * rank
        shape[axis] = -1
        axes.append(tf.reshape(tf.cast(tf.range(size[axis]), dtype), shape))
    return axes[::-1]


def map_pixels(matrix: tf.Tensor, size: Sides, rank: int) -> tf.Tensor:
    """Returns where `matrix` maps the pixels of an output, `[batch, ..., *size, rows]`."""
    # Not a matrix product, which some GPUs compute in ten bits of precision by default.
    for _ in range(rank):
        matrix = tf.expand_dims(matrix, -3)
    *steps, total = tf.unstack(matrix, num=rank + 1, axis=-1)
    pixels = pixel_axes(size, rank, matrix.dtype)
    # From the slowest axis on, as the compiled loops add them.
    for step, pixel in reversed(list(zip(steps, pixels, strict=True))):
        total = step * pixel[..., None] + total
    return total


@accepts_keras_tensors
def affine_grid(
    theta: tf.Tensor,
    output_size: Size,
    input_size: Size | None = None,
    *,
    units: str = "normalised",
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
        integer tensors. Or an image or volume `[batch, *size, channels]`, whose sides are meant:
        the way to give sides that are unknown in a functional model.
      input_size: The same of the image that will be sampled. Not needed with `units="pixels"`.
      units: Of `theta`. `"normalised"` (default): half an image is 1, and the origin is in its
        middle. `"pixels"`: `theta` maps output pixels `(x, y, 1)` to input pixels `(x, y)`, as
        matrices of OpenCV do, and `align_corners` has no effect.
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
      ValueError: `theta` is not of a shape above, a size is not as many positive integers, or
        `units` is unknown.
      tf.errors.InvalidArgumentError: the same, where it is known only when the graph runs.

    Reference:
      Jaderberg et al., Spatial Transformer Networks, 2015, equation 1,
      https://arxiv.org/abs/1506.02025
    """
    with tf.name_scope(name or "affine_grid"):
        theta = as_tensor("theta", theta, dtype_hint=tf.float32)
        rank = spatial_rank(theta, output_size)
        matrix, size = pixel_matrix(theta, rank, output_size, input_size, align_corners, units)
        return map_pixels(matrix, size, rank)


@accepts_keras_tensors
def identity_grid(size: Size, *, dtype: str = "float32", name: str | None = None) -> tf.Tensor:
    """Returns the centres of the pixels of an image: the warp that changes nothing.

    >>> tf_stn.identity_grid((1, 3)).numpy()
    array([[[[0., 0.],
             [1., 0.],
             [2., 0.]]]], dtype=float32)

    Args:
      size: `(height, width)` or `(depth, height, width)`, as in `affine_grid`, or an image or
        volume whose sides are meant.
      dtype: `"float32"` (default) or `"float64"`.
      name: Name of the operation.

    Returns:
      `[1, height, width, 2]`, as `(x, y)` in pixels, or `[1, depth, height, width, 3]`, as
      `(x, y, z)`.

    Raises:
      ValueError: `size` is not two or three positive integers, or `dtype` is another type.
    """
    if dtype not in ("float32", "float64"):  # Also equal to tf.float32.
        raise ValueError(f"`dtype` must be 'float32' or 'float64', received {dtype!r}")
    rank = known_rank(size)
    if rank not in (2, 3):
        raise ValueError(
            "`size` must be (height, width), (depth, height, width), or an image or volume, "
            f"received {size!r}"
        )
    with tf.name_scope(name or "identity_grid"):
        sides = parse_size("size", size, rank)
        axes = pixel_axes(sides, rank, tf.as_dtype(dtype))
        shape = tf.cast(tf.stack(sides), tf.int32)
        return tf.stack([tf.broadcast_to(axis, shape) for axis in axes], axis=-1)[None]


def displaced_pixels(displacement: tf.Tensor, rank: int) -> tf.Tensor:
    """Returns the pixels of outputs, moved by displacements `[batch, ..., *size, rank]`: a warp."""
    shape = static_shape(displacement)
    sides = (None,) if shape is None else shape[-1 - rank : -1]
    size = tf.shape(displacement)[-1 - rank : -1] if None in sides else sides
    return identity_grid(size, dtype=displacement.dtype.name) + displacement


# Nearer to zero, a denominator counts as this: the point is far outside, with finite gradients.
SMALLEST_DENOMINATOR = 1e-6


def bounded_denominator(points: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the last of homogeneous coordinates, not too near to zero, and where it was."""
    denominator = points[..., -1:]
    smallest = tf.constant(SMALLEST_DENOMINATOR, points.dtype)
    signed = tf.where(denominator < 0, -smallest, smallest)
    is_small = tf.abs(denominator) < smallest
    return tf.where(is_small, signed, denominator), is_small


def divide_homogeneous(points: tf.Tensor) -> tf.Tensor:
    """Returns the points of homogeneous coordinates, `[..., rank + 1]`; never NaN at infinity."""
    return points[..., :-1] / bounded_denominator(points)[0]


def projective_grid(matrices: tf.Tensor, output_size: Sides, rank: int) -> tf.Tensor:
    """Returns where projective matrices in pixels map the pixels of an output."""
    return divide_homogeneous(map_pixels(matrices, output_size, rank))


def normalised_points(
    output_size: Sides, rank: int, align_corners: bool, dtype: tf.DType
) -> tf.Tensor:
    """Returns the normalised coordinates of an output's pixels, `[*output_size, rank]`."""
    maps = axes_to_normalised(output_size, align_corners, dtype)
    axes = pixel_axes(output_size, rank, wide_type(dtype))
    points = [
        (maps.factor[i] * axis + maps.offset[i]) / maps.divisor[i] for i, axis in enumerate(axes)
    ]
    shape = tf.cast(tf.stack(output_size), tf.int32)
    return tf.cast(tf.stack([tf.broadcast_to(p, shape) for p in points], axis=-1), dtype)


def from_identity(
    moved: tf.Tensor, output_size: Sides, input_size: Sides, align_corners: bool
) -> tf.Tensor:
    """Returns the warp that moves an output's pixels by so much, from where the identity has them.

    Exact where nothing moves, which a sum of normalised coordinates is not.

    Args:
      moved: Normalised, `[batch, *output_size, rank]`.
      output_size: Sides of the output.
      input_size: Sides of the image.
      align_corners: As in `affine_grid`.
    """
    rank = moved.shape.as_list()[-1]
    identity = tf.eye(rank, rank + 1, dtype=moved.dtype)[None]
    to_pixels = axes_to_pixels(input_size, align_corners, moved.dtype)
    half_span = tf.cast(to_pixels.factor / 2, moved.dtype)
    grid = affine_grid(identity, output_size, input_size, align_corners=align_corners)
    return grid + moved * half_span
