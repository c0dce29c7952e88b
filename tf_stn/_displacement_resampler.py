"""Samples images at their pixels moved by a field of displacements."""

import tensorflow as tf

from tf_stn import _portable, _shapes
from tf_stn._grids import displaced_pixels
from tf_stn._implementation import is_portable
from tf_stn._library import ops
from tf_stn._observing import note
from tf_stn._pixels import sample_pixels, to_data
from tf_stn._resampler import check_modes, coordinate_type, to_coordinates
from tf_stn._sizes import check_field_shape, static_shape
from tf_stn._symbolic import accepts_keras_tensors


@accepts_keras_tensors
def displacement_resampler(
    data: tf.Tensor,
    displacement: tf.Tensor,
    *,
    interpolation: str = "linear",
    padding: str = "zeros",
    fill_value: float | tf.Tensor = 0.0,
    name: str | None = None,
) -> tf.Tensor:
    """Samples each image or volume at its pixels, moved by a displacement.

    Output pixel `(x, y)` shows the input at `(x, y) + displacement[..., y, x, :]`: the map goes
    from the output to the input. The same as
    `resampler(data, identity_grid(displacement) + displacement)`, but the points are computed where
    they are used: no grid is ever stored.

    >>> image = tf.reshape([0., 10., 20., 30.], [1, 1, 4, 1])
    >>> right = tf.ones([1, 1, 4, 2]) * [1.0, 0.0]
    >>> tf_stn.displacement_resampler(image, right)[0, 0, :, 0].numpy()
    array([10., 20., 30.,  0.], dtype=float32)

    Args:
      data: As in `resampler`.
      displacement: `[batch, height, width, 2]`, as `(dx, dy)` in pixels of the input, or for
        volumes `[batch, depth, height, width, 3]`, as `(dx, dy, dz)`. Its sides are those of the
        output. Any real type; computed in float64 where `data` is float64, otherwise in float32.
        One of `data` and `displacement` may have a batch of 1, which goes with each item of the
        other's.
      interpolation: As in `resampler`; default `"linear"`.
      padding: As in `resampler`; default `"zeros"`.
      fill_value: As in `resampler`; default 0.
      name: Name of the operation.

    Returns:
      `[batch, height, width, channels]` or `[batch, depth, height, width, channels]`, of the type
      of `data`. A displacement of zero returns `data`, bit for bit, where the sizes are equal.

    Gradients:
      `data`, `fill_value`: as in `resampler`. `displacement`: as of `warp` in `resampler`.

    Raises:
      TypeError: `data`, `displacement` or `fill_value` is of another type.
      ValueError: `displacement` is not of a shape above, an unknown mode, or a `fill_value` that
        does not fit; in graph mode also mismatched shapes.
      tf.errors.InvalidArgumentError: mismatched shapes.

    Reference:
      Balakrishnan et al., VoxelMorph: a learning framework for deformable medical image
      registration, 2019, https://arxiv.org/abs/1809.05231
    """
    check_modes(interpolation, padding)
    with tf.name_scope(name or "displacement_resampler"):
        data = to_data(data)
        displacement = to_coordinates(displacement, coordinate_type(data.dtype), "displacement")
        check_field_shape("displacement", displacement)
        output = sample_displaced(data, displacement, interpolation, padding, fill_value)
        rank = displacement.shape.rank - 2
        note("displacement_resampler", data, lambda: displaced_pixels(displacement, rank), output)
        return output


def sample_displaced(
    data: tf.Tensor,
    displacement: tf.Tensor,
    interpolation: str = "linear",
    padding: str = "zeros",
    fill_value: float | tf.Tensor = 0.0,
) -> tf.Tensor:
    """Does what `displacement_resampler` does, and lets nobody look on.

    Args:
      data: As in `displacement_resampler`, but a tensor.
      displacement: The same, of the type of coordinates; it may have axes after the batch.
      interpolation: As in `displacement_resampler`, like the following.
      padding: The same.
      fill_value: The same.
    """
    modes = {"interpolation": interpolation, "padding": padding}

    def sample(data: tf.Tensor, fill: list[tf.Tensor]) -> tf.Tensor:
        if not is_portable():
            return ops.tf_stn_displacement_resampler(data, displacement, fill, **modes)
        # What the op does, with a grid in memory.
        shapes = static_shape(data), static_shape(displacement)
        _shapes.check(_shapes.resampler_error(*shapes, "displacement"))
        rank = displacement.shape[-1] or displacement.shape.rank - 2
        return _portable.resampler(data, displaced_pixels(displacement, rank), fill, **modes)

    return sample_pixels(data, fill_value, **modes, sample=sample)
