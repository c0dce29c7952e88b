"""Samples images under projective transformations."""

import tensorflow as tf

from tf_stn import _portable, _shapes
from tf_stn._grids import projective_grid, to_pixel_units
from tf_stn._implementation import is_portable
from tf_stn._library import ops
from tf_stn._observing import note
from tf_stn._pixels import sample_pixels, to_data
from tf_stn._resampler import check_modes, coordinate_type, to_coordinates
from tf_stn._sizes import Size, image_size, received_shape, static_shape, with_spatial_rank
from tf_stn._symbolic import accepts_keras_tensors


def _rank_of(matrix: tf.Tensor) -> int:
    """Returns the number of spatial axes that projective matrices are for."""
    shape = static_shape(matrix)
    if shape is None or len(shape) < 3 or shape[-2:] not in ((3, 3), (4, 4)):
        raise ValueError(
            "`matrix` must have shape [batch, ..., 3, 3], or [batch, ..., 4, 4] for volumes, "
            f"received {received_shape(matrix)}"
        )
    return 2 if shape[-1] == 3 else 3


@accepts_keras_tensors
def projective_resampler(
    data: tf.Tensor,
    matrix: tf.Tensor,
    output_size: Size | None = None,
    *,
    units: str = "normalised",
    align_corners: bool = True,
    interpolation: str = "linear",
    padding: str = "zeros",
    fill_value: float | tf.Tensor = 0.0,
    name: str | None = None,
) -> tf.Tensor:
    """Samples each image or volume under its projective transformation, a homography.

    Output point `(x, y)` shows the input at `(u / w, v / w)`, `(u, v, w) = matrix (x, y, 1)ᵀ`. The
    points are computed where they are used: neither a grid nor its gradient is ever stored.

    >>> image = tf.reshape([0., 10., 20., 30.], [1, 1, 4, 1])
    >>> closer = tf.constant([[[0.5, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.5]]])
    >>> tf_stn.projective_resampler(image, closer, units="pixels")[0, 0, :, 0].numpy()
    array([ 0., 10., 20., 30.], dtype=float32)

    Args:
      data: As in `resampler`.
      matrix: `[batch, 3, 3]`, or for volumes `[batch, 4, 4]`; from output points to input points.
        Any real type; computed in float64 where `data` is float64, otherwise in float32. Several
        transformations of each image are `[batch, n, 3, 3]`; and one of `data` and `matrix` may
        have a batch of 1, which goes with each item of the other's. A point at infinity, whose
        `w` is closer to zero than 1e-6, is as far away as with 1e-6.
      output_size: As in `affine_resampler`; by default that of `data`.
      units: Of the points: `"normalised"` (default), or `"pixels"`, as matrices of OpenCV are with
        `WARP_INVERSE_MAP`; see `affine_grid`.
      align_corners: As in `affine_grid`; default True.
      interpolation: As in `resampler`; default `"linear"`.
      padding: As in `resampler`; default `"zeros"`.
      fill_value: As in `resampler`; default 0.
      name: Name of the operation.

    Returns:
      `[batch, ..., *output_size, channels]`, of the type of `data`. The identity returns `data`,
      bit for bit, where the sizes are equal.

    Gradients:
      `data`, `fill_value`: as in `resampler`. `matrix`: exact, and finite where points lie at
      infinity; summed over all points in a fixed order, without the rounding of a float32 sum.
      Only the gradients that somebody needs are computed. They are differentiable in turn, to any
      order; gradients of gradients do store the grid.

    Raises:
      TypeError: `data`, `matrix` or `fill_value` is of another type.
      ValueError: unknown mode or units, `matrix` not of a shape above, a `fill_value` that does not
        fit, or a size that is not as many positive integers; in graph mode also mismatched shapes.
      tf.errors.InvalidArgumentError: mismatched shapes, or an image without pixels.

    Reference:
      Heckbert, Fundamentals of texture mapping and image warping, 1989
    """
    check_modes(interpolation, padding)
    with tf.name_scope(name or "projective_resampler"):
        data = to_data(data)
        matrix = to_coordinates(matrix, coordinate_type(data.dtype), "matrix")
        data, rank = with_spatial_rank(data, _rank_of(matrix))
        if _rank_of(matrix) != rank:
            raise ValueError(
                f"`matrix` must have shape [batch, ..., {rank + 1}, {rank + 1}] for `data` of "
                f"shape {data.shape.as_list()}, received {matrix.shape.as_list()}"
            )
        input_size = image_size("data", data, rank)
        output_size = input_size if output_size is None else output_size
        pixels, size = to_pixel_units(matrix, rank, output_size, input_size, align_corners, units)
        modes = {"interpolation": interpolation, "padding": padding}

        def sample(data: tf.Tensor, fill: list[tf.Tensor]) -> tf.Tensor:
            if not is_portable():
                size_tensor = tf.cast(size, tf.int32)
                return ops.tf_stn_projective_resampler(data, pixels, size_tensor, fill, **modes)
            # What the op does, with a grid in memory.
            _shapes.check_matrix_resampler(data, pixels, size, is_projective=True)
            return _portable.resampler(data, projective_grid(pixels, size, rank), fill, **modes)

        output = sample_pixels(data, fill_value, **modes, sample=sample)
        note(
            "projective_resampler",
            data,
            lambda: projective_grid(pixels, size, rank),
            output,
            is_straight=True,
        )
        return output
