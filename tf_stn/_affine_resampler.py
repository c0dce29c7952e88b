"""Samples images under affine transformations, without a grid in memory."""

import tensorflow as tf

from tf_stn import _portable, _shapes
from tf_stn._grids import map_pixels, pixel_matrix, spatial_rank
from tf_stn._implementation import is_portable
from tf_stn._library import ops
from tf_stn._observing import note
from tf_stn._pixels import sample_pixels, to_data
from tf_stn._resampler import check_modes, coordinate_type, to_coordinates
from tf_stn._sizes import Size, image_size, with_spatial_rank
from tf_stn._symbolic import accepts_keras_tensors


@accepts_keras_tensors
def affine_resampler(
    data: tf.Tensor,
    theta: tf.Tensor,
    output_size: Size | None = None,
    *,
    units: str = "normalised",
    align_corners: bool = True,
    interpolation: str = "linear",
    padding: str = "zeros",
    fill_value: float | tf.Tensor = 0.0,
    name: str | None = None,
) -> tf.Tensor:
    """Samples each image or volume under its affine transformation.

    The same as `resampler(data, affine_grid(theta, output_size, data))`, but the points are
    computed where they are used: neither the grid nor its gradient is ever stored.

    >>> image = tf.reshape([0., 10., 20., 30.], [1, 2, 2, 1])
    >>> flip = tf.constant([[-1.0, 0.0, 0.0, 0.0, 1.0, 0.0]])
    >>> tf_stn.affine_resampler(image, flip)[0, :, :, 0].numpy()
    array([[10.,  0.],
           [30., 20.]], dtype=float32)

    Args:
      data: `[batch, height, width, channels]`, or volumes `[batch, depth, height, width,
        channels]`; of any type that `resampler` takes.
      theta: `[batch, 2, 3]`, or `[batch, 6]` in the order of its rows, and for volumes
        `[batch, 3, 4]` or `[batch, 12]`; from normalised output to normalised input coordinates,
        as in `affine_grid`. Any real type; computed in float64 where `data` is float64, otherwise
        in float32. Several transformations of each image are one θ `[batch, n, 2, 3]`; and one of
        `data` and `theta` may have a batch of 1, which goes with each item of the other's. No
        image is ever copied for that.
      output_size: `(height, width)` of the output, or `(depth, height, width)`, as integers or
        integer tensors, or an image or volume whose sides are meant; by default that of `data`.
      units: Of `theta`: `"normalised"` (default), or `"pixels"`, from output pixels to input
        pixels, as matrices of OpenCV are with `WARP_INVERSE_MAP`; see `affine_grid`.
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
      As in `resampler`. `output_size` may be a tensor that XLA can compute when it compiles.

    Raises:
      TypeError: `data`, `theta` or `fill_value` is of another type.
      ValueError: unknown mode or units, `theta` not of a shape above, a `fill_value` that does not
        fit, or a size that is not as many positive integers; in graph mode also mismatched shapes.
      tf.errors.InvalidArgumentError: mismatched shapes, or an image without pixels.

    Reference:
      Jaderberg et al., Spatial Transformer Networks, 2015, equations 1 and 5 to 7,
      https://arxiv.org/abs/1506.02025
    """
    check_modes(interpolation, padding)
    with tf.name_scope(name or "affine_resampler"):
        data = to_data(data)
        theta = to_coordinates(theta, coordinate_type(data.dtype), "theta")
        data, rank = with_spatial_rank(data, spatial_rank(theta, output_size))
        input_size = image_size("data", data, rank)
        output_size = input_size if output_size is None else output_size
        matrix, size = pixel_matrix(theta, rank, output_size, input_size, align_corners, units)
        modes = {"interpolation": interpolation, "padding": padding}

        def sample(data: tf.Tensor, fill: list[tf.Tensor]) -> tf.Tensor:
            if not is_portable():
                size_tensor = tf.cast(size, tf.int32)
                return ops.tf_stn_affine_resampler(data, matrix, size_tensor, fill, **modes)
            # What the op does, with a grid in memory.
            _shapes.check_matrix_resampler(data, matrix, size, is_projective=False)
            return _portable.resampler(data, map_pixels(matrix, size, rank), fill, **modes)

        output = sample_pixels(data, fill_value, **modes, sample=sample)
        note(
            "affine_resampler",
            data,
            lambda: map_pixels(matrix, size, rank),
            output,
            is_straight=True,
        )
        return output
