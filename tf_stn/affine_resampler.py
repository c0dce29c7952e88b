"""Samples images under affine transformations, without a grid in memory."""

import tensorflow as tf

from tf_stn._library import ops
from tf_stn.grids import Size, pixel_matrix
from tf_stn.resampler import (
    check_modes,
    coordinate_type,
    needed_gradients,
    to_coordinates,
    to_data,
)


def image_size(argument: str, images: tf.Tensor) -> tuple[int, int] | tf.Tensor:
    """Returns the height and width of images; an error if one is zero, now or in the graph."""
    if images.shape.rank not in (None, 4):
        raise ValueError(
            f"`{argument}` must have shape [batch, height, width, channels], "
            f"received {images.shape.as_list()}"
        )
    static = (None, None) if images.shape.rank is None else tuple(images.shape[1:3])
    expected = f"`{argument}` must have a height and a width of at least 1, received shape"
    if 0 in static:
        raise ValueError(f"{expected} {images.shape.as_list()}")
    if None not in static:
        return static
    shape = tf.shape(images)
    check = tf.debugging.Assert(tf.reduce_all(shape[1:3] > 0), [expected, shape])
    with tf.control_dependencies([check]):
        return tf.identity(shape[1:3])


def affine_resampler(
    data: tf.Tensor,
    theta: tf.Tensor,
    output_size: Size | None = None,
    align_corners: bool = True,
    interpolation: str = "linear",
    padding: str = "zeros",
    name: str | None = None,
) -> tf.Tensor:
    """Samples each image under its affine transformation.

    The same as `resampler(data, affine_grid(theta, output_size, input_size))`, but the points are
    computed where they are used: neither the grid nor its gradient is ever stored.

    >>> image = tf.reshape([0., 10., 20., 30.], [1, 2, 2, 1])
    >>> flip = tf.constant([[-1.0, 0.0, 0.0, 0.0, 1.0, 0.0]])
    >>> tf_stn.affine_resampler(image, flip)[0, :, :, 0].numpy()
    array([[10.,  0.],
           [30., 20.]], dtype=float32)

    Args:
      data: `[batch, height, width, channels]`, float16, bfloat16, float32 or float64.
      theta: `[batch, 2, 3]`, or `[batch, 6]` in the order of its rows; from normalised output to
        normalised input coordinates, as in `affine_grid`. Any real type; computed in float64
        where `data` is float64, otherwise in float32.
      output_size: `(height, width)` of the output, as integers or integer tensors; by default
        that of `data`.
      align_corners: Whether -1 and 1 are the centres of the outermost pixels (default) or their
        outer edges; see `affine_grid`.
      interpolation: As in `resampler`; `"linear"` (default).
      padding: As in `resampler`; `"zeros"` (default).
      name: Name of the operation.

    Returns:
      `[batch, *output_size, channels]`, of the type of `data`. The identity θ returns `data`, bit
      for bit, where the sizes are equal.

    Gradients:
      `data`: as in `resampler`. `theta`: exact; summed over all points in a fixed order, without
      the rounding of a float32 sum. Only the gradients that somebody needs are computed. Gradients
      of gradients are not defined yet, and asking for one raises a LookupError.

    XLA:
      There is no XLA kernel; see `resampler`.

    Raises:
      TypeError: `data` or `theta` is of another type.
      ValueError: unknown mode, `theta` not of a shape above, or a size that is not two positive
        integers; in graph mode also mismatched shapes.
      tf.errors.InvalidArgumentError: mismatched shapes, or an image without pixels.

    Reference:
      Jaderberg et al., Spatial Transformer Networks, 2015, equations 1 and 5 to 7,
      https://arxiv.org/abs/1506.02025
    """
    check_modes(interpolation, padding)
    with tf.name_scope(name or "affine_resampler"):
        data = to_data(data)
        theta = to_coordinates(theta, coordinate_type(data.dtype), "theta")
        input_size = image_size("data", data)
        output_size = input_size if output_size is None else output_size
        matrix, size = pixel_matrix(theta, output_size, input_size, align_corners)
        return ops.tf_stn_affine_resampler(
            data,
            matrix,
            tf.cast(size, tf.int32),
            interpolation=interpolation,
            padding=padding,
        )


@tf.RegisterGradient("TfStn>AffineResampler")
def _affine_resampler_gradient(op, grad_output):
    gradients = needed_gradients(op, ops.tf_stn_affine_resampler_grad, "matrix", grad_output)
    return [*gradients, None]
