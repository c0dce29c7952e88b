"""Rotations of pixels, whatever the proportions of the image and the spacing of its pixels.

Let span be the number of pixels from -1 to 1 and d the distance of pixels along (x, y[, z]). With
E = diag(span d), a rotation R of lengths is θ = E⁻¹ R E in normalised coordinates: only the ratios
of E matter, and so the size of the input and the spacing, never the size of the output.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tf_stn import _small_matrices
from tf_stn._checks import check_mode
from tf_stn._grids import UNITS
from tf_stn.transformations._affine import check_rank, normalised_shift
from tf_stn.transformations._base import Transformation
from tf_stn.transformations._frame import Frame


def rotation(angles: tf.Tensor) -> tf.Tensor:
    """Returns rotations `[n, rank, rank]`: by one angle, or about x, then y, then z."""
    if angles.shape.as_list()[-1] == 1:
        cosine, sine = tf.cos(angles[:, 0]), tf.sin(angles[:, 0])
        return tf.stack([tf.stack([cosine, -sine], -1), tf.stack([sine, cosine], -1)], axis=-2)
    (a, b, c), (p, q, r) = (tf.unstack(f(angles), axis=-1) for f in (tf.cos, tf.sin))
    rows = [
        [c * b, c * q * p - r * a, c * q * a + r * p],
        [r * b, r * q * p + c * a, r * q * a - c * p],
        [-q, b * p, b * a],
    ]
    return tf.stack([tf.stack(row, axis=-1) for row in rows], axis=-2)


def angles_of(rotations: tf.Tensor) -> tf.Tensor:
    """Returns the angles about x, y and z of rotations of volumes, `[n, 3]`.

    Where that about y is ±90°, the other two are not unique; their gradient is not finite there.
    """
    about_y = tf.asin(tf.clip_by_value(-rotations[:, 2, 0], -1, 1))
    about_x = tf.atan2(rotations[:, 2, 1], rotations[:, 2, 2])
    about_z = tf.atan2(rotations[:, 1, 0], rotations[:, 0, 0])
    return tf.stack([about_x, about_y, about_z], axis=-1)


def _turn_lengths(rotations: tf.Tensor, extent: tf.Tensor) -> tf.Tensor:
    """Returns E⁻¹ R E, for extents `[rank]` or `[n, rank]`.

    The diagonal is divided by itself, so the identity stays exact.
    """
    return rotations * (extent[..., None, :] / extent[..., :, None])


def _scale(matrices: tf.Tensor, scales: tf.Tensor) -> tf.Tensor:
    # Not scales[:, None, None]: in graphs, TensorFlow may join it with the slice that made scales,
    # put what was stacked in place of a slice of a stack, and forget the axes.
    return tf.reshape(scales, [-1, 1, 1]) * matrices


def _check_spacing(spacing: Any, rank: int) -> tuple[float, ...] | None:
    if spacing is None:
        return None
    values = np.array(spacing, np.float64) if np.ndim(spacing) == 1 else np.zeros(0)
    if values.shape != (rank,) or not (np.isfinite(values) & (values > 0)).all():
        raise ValueError(
            f"`spacing` must be {rank} positive numbers, in the order of the axes, received "
            f"{spacing!r}"
        )
    return tuple(values.tolist())


class Similarity(Transformation):
    """A scale, a rotation and a shift: `(scale, *angles, *shift)`, one angle in images.

    >>> enlarged = tf_stn.transformations.Similarity()
    >>> enlarged.matrix([[0.5, 0.0, 0.25, 0.0]], input_size=(20, 30))[0].numpy()
    array([[ 0.5 , -0.  ,  0.25],
           [ 0.  ,  0.5 ,  0.  ]], dtype=float32)

    Lengths are turned and scaled, so right angles stay right angles whatever the proportions of
    the image: `matrix` needs its size. A positive angle, in radians, turns the content
    counter-clockwise, as OpenCV and Keras' `RandomRotation` do; a scale below 1 enlarges it. In
    volumes the rotation about x comes first, then y, then z. A scale of zero shows a single point
    everywhere.

    `inverse` and `compose` of volumes read angles off a product of rotations. Where the one about
    y is ±90°, the other two are not unique, and gradients are not finite.

    Args:
      rank: 2 for images (default), 3 for volumes.
      spacing: Distances of pixels in the order of the axes, where they differ: `(5.0, 1.0, 1.0)`
        for volumes of slices 5 mm apart, of pixels of 1 mm. By default they are equal.
      shift_units: `"normalised"` (default), where half an image is 1, or `"pixels"` of the input.
    """

    kind = "affine"

    def __init__(
        self,
        rank: int = 2,
        *,
        spacing: Sequence[float] | None = None,
        shift_units: str = "normalised",
    ) -> None:
        check_mode("shift_units", shift_units, UNITS)
        self.rank = check_rank(rank)
        self.spacing = _check_spacing(spacing, self.rank)
        self.shift_units = shift_units
        self.identity_parameters = (1.0, *[0.0] * (3 if self.rank == 2 else 6))

    def _parts(self, parameters: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Returns scales, angles and shifts."""
        return parameters[:, 0], parameters[:, 1 : -self.rank], parameters[:, -self.rank :]

    def _parameters(self, scale: tf.Tensor, angles: tf.Tensor, shift: tf.Tensor) -> tf.Tensor:
        return tf.concat([scale[:, None], angles, shift], axis=-1)

    def compute_matrix(self, parameters: tf.Tensor, frame: Frame) -> tf.Tensor:
        scale, angles, shift = self._parts(parameters)
        extent = frame.extent(parameters.dtype, self.spacing)
        linear = _scale(_turn_lengths(rotation(angles), extent), scale)
        shift = normalised_shift(shift, self.shift_units, frame)
        return tf.concat([linear, shift[..., None]], axis=-1)

    def _of_shifts(self, linear: tf.Tensor, frame: Frame) -> tf.Tensor:
        """Returns what a rotation does to shifts, in their units."""
        extent = frame.distances if self.shift_units == "pixels" else frame.extent
        return _turn_lengths(linear, extent(linear.dtype, self.spacing))

    def compute_inverse(self, parameters: tf.Tensor, frame: Frame) -> tf.Tensor:
        scale, angles, shift = self._parts(parameters)
        back = tf.linalg.matrix_transpose(rotation(angles))
        angles = -angles if self.rank == 2 else angles_of(back)
        linear = self._of_shifts(_scale(back, 1 / scale), frame)
        return self._parameters(1 / scale, angles, -_small_matrices.transform(linear, shift))

    def compute_composition(self, first: tf.Tensor, second: tf.Tensor, frame: Frame) -> tf.Tensor:
        (scale, angles, shift), (scale2, angles2, shift2) = map(self._parts, (first, second))
        turn = rotation(angles)
        if self.rank == 2:
            both = angles + angles2
        else:
            both = angles_of(_small_matrices.product(turn, rotation(angles2)))
        moved = _small_matrices.transform(self._of_shifts(_scale(turn, scale), frame), shift2)
        return self._parameters(scale * scale2, both, moved + shift)

    def compute_window(self, scale: Sequence[float], shift: Sequence[float]) -> tuple[float, ...]:
        if self.shift_units == "pixels":
            return super().compute_window(scale, shift)
        return (max(scale), *[0.0] * (1 if self.rank == 2 else 3), *shift)


class Rigid(Similarity):
    """A rotation and a shift: (angle, tx, ty), or for volumes (x, y and z angle, tx, ty, tz).

    >>> turn = tf_stn.transformations.Rigid(shift_units="pixels")
    >>> turn.map_points([[np.pi / 2, 0.0, 0.0]], [[5.0, 2.0]], (5, 9), units="pixels")[0].numpy()
    array([[4., 3.]], dtype=float32)

    A `Similarity` without the scale; see there.

    Args:
      rank: 2 for images (default), 3 for volumes.
      spacing: As in `Similarity`.
      shift_units: As in `Similarity`.
    """

    def __init__(
        self,
        rank: int = 2,
        *,
        spacing: Sequence[float] | None = None,
        shift_units: str = "normalised",
    ) -> None:
        super().__init__(rank, spacing=spacing, shift_units=shift_units)
        self.identity_parameters = self.identity_parameters[1:]

    def _parts(self, parameters: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        angles, shift = parameters[:, : -self.rank], parameters[:, -self.rank :]
        return tf.ones_like(parameters[:, 0]), angles, shift

    def _parameters(self, scale: tf.Tensor, angles: tf.Tensor, shift: tf.Tensor) -> tf.Tensor:
        return tf.concat([angles, shift], axis=-1)

    def compute_window(self, scale: Sequence[float], shift: Sequence[float]) -> tuple[float, ...]:
        return super().compute_window(scale, shift)[1:]
