"""Matrices and fields between the coordinates of a frame."""

import tensorflow as tf

from tf_stn._grids import (
    axes_to_normalised,
    axes_to_pixels,
    change_coordinates,
    change_points,
    map_pixels,
)
from tf_stn._resampler import sample
from tf_stn._sizes import Sides, image_size
from tf_stn.transformations._frame import Frame


def in_pixels(matrix: tf.Tensor, frame: Frame) -> tf.Tensor:
    """Returns normalised matrices in pixels of the output and the input."""
    return change_coordinates(
        axes_to_pixels(frame.known_input_size, frame.align_corners, matrix.dtype),
        matrix,
        axes_to_normalised(frame.known_output_size, frame.align_corners, matrix.dtype),
    )


def _places(size: Sides, frame: Frame, dtype: tf.DType) -> tf.Tensor:
    """Returns where in an image of this size the pixels of the output lie, `[1, *output, rank]`."""
    identity = tf.eye(frame.rank, frame.rank + 1, dtype=dtype)[None]
    to_size = axes_to_pixels(size, frame.align_corners, dtype)
    to_normalised = axes_to_normalised(frame.known_output_size, frame.align_corners, dtype)
    matrix = change_coordinates(to_size, identity, to_normalised)
    return map_pixels(matrix, frame.known_output_size, frame.rank)


def warp_of_identity(frame: Frame, dtype: tf.DType) -> tf.Tensor:
    """Returns the warp of the map that changes nothing, `[1, *output_size, rank]`."""
    return _places(frame.known_input_size, frame, dtype)


def field_size(field: tf.Tensor) -> Sides:
    """Returns the sides of a field, `[n, *size, channels]`."""
    return image_size("parameters", field, field.shape.rank - 2)


def resize_field(field: tf.Tensor, frame: Frame) -> tf.Tensor:
    """Returns a field, which lies over the whole output, at the pixels of the output."""
    size = field_size(field)
    is_known = isinstance(size, tuple) and isinstance(frame.output_size, tuple)
    if is_known and size == frame.output_size:
        return field
    return sample(field, _places(size, frame, field.dtype), padding="border")[-1]


def sample_field(field: tf.Tensor, points: tf.Tensor, frame: Frame) -> tf.Tensor:
    """Returns a field, which lies over the whole output, at normalised points."""
    to_pixels = axes_to_pixels(field_size(field), frame.align_corners, points.dtype)
    at = change_points(to_pixels, points)
    return sample(field, at, padding="border")[-1]
