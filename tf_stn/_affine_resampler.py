"""Samples images under affine transformations, without a grid in memory."""

import tensorflow as tf

from tf_stn._grids import Size, pixel_matrix, spatial_rank
from tf_stn._library import ops
from tf_stn._resampler import (
    check_modes,
    coordinate_type,
    to_coordinates,
    to_data,
    to_fill,
)

_IMAGES = {
    2: ("[batch, height, width, channels]", "a height and a width"),
    3: ("[batch, depth, height, width, channels]", "a depth, a height and a width"),
}


def image_size(argument: str, images: tf.Tensor, rank: int = 2) -> tuple[int, ...] | tf.Tensor:
    """Returns the sides of images or volumes; an error if one is zero, now or in the graph."""
    shape, sides = _IMAGES[rank]
    if images.shape.rank not in (None, rank + 2):
        raise ValueError(f"`{argument}` must have shape {shape}, received {images.shape.as_list()}")
    static = (None,) if images.shape.rank is None else tuple(images.shape[1:-1])
    expected = f"`{argument}` must have {sides} of at least 1, received shape"
    if 0 in static:
        raise ValueError(f"{expected} {images.shape.as_list()}")
    if None not in static:
        return static
    late = tf.shape(images)
    check = tf.debugging.Assert(tf.reduce_all(late[1:-1] > 0), [expected, late])
    with tf.control_dependencies([check]):
        sides = tf.identity(late[1:-1])
    sides.set_shape([rank])
    return sides


def _rank_of(data: tf.Tensor, theta: tf.Tensor, output_size: Size | None) -> int:
    """Returns the number of spatial axes of `data`, by the others where it is not known yet."""
    if data.shape.rank not in (None, 4, 5):
        raise ValueError(
            "`data` must have shape [batch, height, width, channels] or [batch, depth, height, "
            f"width, channels], received {data.shape.as_list()}"
        )
    return spatial_rank(theta, output_size) if data.shape.rank is None else data.shape.rank - 2


def _with_rank(data: tf.Tensor, rank: int) -> tf.Tensor:
    """Returns `data`, of `rank` spatial axes, as a tensor that knows it; else an error later."""
    if data.shape.rank is not None:
        return data
    late, expected = tf.shape(data), f"`data` must have shape {_IMAGES[rank][0]}, received"
    check = tf.debugging.Assert(tf.equal(tf.size(late), rank + 2), [expected, late])
    with tf.control_dependencies([check]):
        return tf.ensure_shape(data, [None] * (rank + 2))


def affine_resampler(
    data: tf.Tensor,
    theta: tf.Tensor,
    output_size: Size | None = None,
    align_corners: bool = True,
    interpolation: str = "linear",
    padding: str = "zeros",
    fill_value: float | tf.Tensor = 0.0,
    name: str | None = None,
) -> tf.Tensor:
    """Samples each image or volume under its affine transformation.

    The same as `resampler(data, affine_grid(theta, output_size, input_size))`, but the points are
    computed where they are used: neither the grid nor its gradient is ever stored.

    >>> image = tf.reshape([0., 10., 20., 30.], [1, 2, 2, 1])
    >>> flip = tf.constant([[-1.0, 0.0, 0.0, 0.0, 1.0, 0.0]])
    >>> tf_stn.affine_resampler(image, flip)[0, :, :, 0].numpy()
    array([[10.,  0.],
           [30., 20.]], dtype=float32)

    Args:
      data: `[batch, height, width, channels]`, or volumes `[batch, depth, height, width,
        channels]`; float16, bfloat16, float32 or float64.
      theta: `[batch, 2, 3]`, or `[batch, 6]` in the order of its rows, and for volumes
        `[batch, 3, 4]` or `[batch, 12]`; from normalised output to normalised input coordinates,
        as in `affine_grid`. Any real type; computed in float64 where `data` is float64, otherwise
        in float32. Several transformations of each image are one θ `[batch, n, 2, 3]`; and one of
        `data` and `theta` may have a batch of 1, which goes with each item of the other's. No
        image is ever copied for that.
      output_size: `(height, width)` of the output, or `(depth, height, width)`, as integers or
        integer tensors; by default that of `data`.
      align_corners: Whether -1 and 1 are the centres of the outermost pixels (default) or their
        outer edges; see `affine_grid`.
      interpolation: As in `resampler`; default `"linear"`.
      padding: As in `resampler`; default `"zeros"`.
      fill_value: As in `resampler`; default 0.
      name: Name of the operation.

    Returns:
      `[batch, ..., *output_size, channels]`, of the type of `data`. The identity θ returns `data`,
      bit for bit, where the sizes are equal.

    Gradients:
      `data`: as in `resampler`. `theta`: exact; summed over all points in a fixed order, without
      the rounding of a float32 sum. Only the gradients that somebody needs are computed. They are
      differentiable in turn, to any order; gradients of gradients do store the grid.

    XLA:
      There is no XLA kernel; see `resampler`.

    Raises:
      TypeError: `data`, `theta` or `fill_value` is of another type.
      ValueError: unknown mode, `theta` not of a shape above, a `fill_value` that does not fit, or
        a size that is not as many positive integers; in graph mode also mismatched shapes.
      tf.errors.InvalidArgumentError: mismatched shapes, or an image without pixels.

    Reference:
      Jaderberg et al., Spatial Transformer Networks, 2015, equations 1 and 5 to 7,
      https://arxiv.org/abs/1506.02025
    """
    check_modes(interpolation, padding)
    with tf.name_scope(name or "affine_resampler"):
        data = to_data(data)
        theta = to_coordinates(theta, coordinate_type(data.dtype), "theta")
        rank = _rank_of(data, theta, output_size)
        data = _with_rank(data, rank)
        input_size = image_size("data", data, rank)
        output_size = input_size if output_size is None else output_size
        matrix, size = pixel_matrix(theta, rank, output_size, input_size, align_corners)
        return ops.tf_stn_affine_resampler(
            data,
            matrix,
            tf.cast(size, tf.int32),
            to_fill(fill_value, data, padding),
            interpolation=interpolation,
            padding=padding,
        )
