"""Families that move control points on a regular grid, and everything else smoothly."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tf_stn._grids import axes_to_normalised, from_identity
from tf_stn._numbers import check_number
from tf_stn._sizes import wide_type
from tf_stn._splines import b_spline_weights, thin_plate_kernel
from tf_stn.transformations._base import Transformation
from tf_stn.transformations._frame import Frame


def _check_control_points(control_points: Any, least: int) -> tuple[int, ...]:
    counts = tuple(control_points) if isinstance(control_points, (Sequence, np.ndarray)) else ()
    is_integer = [isinstance(n, (int, np.integer)) and not isinstance(n, bool) for n in counts]
    if len(counts) not in (2, 3) or not all(is_integer) or min(counts) < least:
        raise ValueError(
            "`control_points` must be two integers (rows, columns) or three (slices, rows, "
            f"columns) of at least {least}, received {control_points!r}"
        )
    return tuple(int(n) for n in counts)


class ThinPlateSpline(Transformation):
    """The smoothest map that takes a regular grid of control points where the parameters say.

    >>> spline = tf_stn.transformations.ThinPlateSpline((3, 3))
    >>> places = tf.reshape(tf.constant(spline.identity_parameters), [1, 9, 2])
    >>> moved = tf.reshape(places + tf.constant([0.25, 0.0]), [1, 18])
    >>> spline.map_points(moved, [[0.5, 0.5]])[0].numpy()
    array([[0.75, 0.5 ]], dtype=float32)

    The parameters are the places in the input, (x, y) by (x, y), or (x, y, z) by (x, y, z), of
    control points that divide the output evenly, in the order of the pixels of an image. Since
    those never lie on a line or in a plane, there is a spline for all parameters; where they bring
    control points together, it folds the image.

    For landmarks of each image anywhere, see `tf_stn.fields.thin_plate_spline`.

    Reference: Bookstein, Principal warps: thin-plate splines and the decomposition of
    deformations, 1989.

    Args:
      control_points: (rows, columns) of them, or (slices, rows, columns) for volumes, at least 2
        along each axis; default (4, 4).
      regularization: How much the spline may miss its points to be smoother; default 0, not at
        all. What is added to the diagonal of the kernel r² log r, or for volumes -r. Very large
        values leave an affine map, of least squares.
    """

    def __init__(
        self, control_points: Sequence[int] = (4, 4), *, regularization: float = 0.0
    ) -> None:
        self.control_points = _check_control_points(control_points, least=2)
        self.regularization = check_number("regularization", regularization)
        self.rank = len(self.control_points)
        axes = [np.linspace(-1, 1, n) for n in self.control_points]
        grid = np.stack(np.meshgrid(*axes, indexing="ij")[::-1], axis=-1)
        self._control = grid.reshape(-1, self.rank)
        self.identity_parameters = tuple(self._control.ravel().tolist())
        # Displacements of the control points to the coefficients of the spline.
        count = len(self._control)
        affine = np.concatenate([np.ones([count, 1]), self._control], axis=1)
        kernel = thin_plate_kernel(self._squares(self._control), self.rank)
        kernel += self.regularization * np.eye(count)
        zeros = np.zeros([self.rank + 1, self.rank + 1])
        system = np.block([[kernel, affine], [affine.T, zeros]])
        self._solution = np.linalg.inv(system)[:, :count]

    def _squares(self, points: np.ndarray | tf.Tensor) -> np.ndarray | tf.Tensor:
        """Returns the squares of distances to the control points, `[..., control points]`."""
        differences = points[..., None, :] - self._control
        return sum(differences[..., i] ** 2 for i in range(self.rank))

    def compute_points(self, parameters: tf.Tensor, points: tf.Tensor, frame: Frame) -> tf.Tensor:
        # In float64, also because GPUs round products of float32 matrices to ten bits.
        exact = tf.cast(points, wide_type(points.dtype))
        kernel = thin_plate_kernel(self._squares(exact), self.rank)
        basis = tf.concat([kernel, tf.ones_like(exact[..., :1]), exact], axis=-1)
        weights = tf.linalg.matmul(basis, self._solution[None])
        moved = tf.cast(parameters, exact.dtype) - np.array(self.identity_parameters)
        moved = tf.reshape(moved, [-1, len(self._control), self.rank])
        return points + tf.cast(tf.linalg.matmul(weights, moved), points.dtype)


class BSpline(Transformation):
    """Free-form deformation: displacements of control points, between which it is smooth.

    >>> spline = tf_stn.transformations.BSpline((4, 5))
    >>> spline.num_parameters
    40
    >>> spline.map_points(tf.fill([1, 40], 0.25), [[0.0, 0.0]])[0].numpy().round(6)
    array([[0.25, 0.25]], dtype=float32)

    The parameters are displacements, (dx, dy) by (dx, dy), or (dx, dy, dz) by (dx, dy, dz), in
    normalised units, of the control points of a uniform cubic B-spline, in the order of the
    pixels of an image. Along an axis of n control points the image is divided into n - 3 cells,
    and one row of control points lies outside on either side. A control point moves what is
    within two cells of it. Outside the image the displacement of its edge goes on.

    Reference: Rueckert et al., Nonrigid registration using free-form deformations, 1999.

    Args:
      control_points: (rows, columns) of them, or (slices, rows, columns) for volumes, at least 4
        along each axis; default (7, 7), four cells along each axis.
    """

    def __init__(self, control_points: Sequence[int] = (7, 7)) -> None:
        self.control_points = _check_control_points(control_points, least=4)
        self.rank = len(self.control_points)
        self.identity_parameters = (0.0,) * (self.rank * int(np.prod(self.control_points)))

    def _weights(self, positions: tf.Tensor, axis: int) -> tf.Tensor:
        """Returns the weights of an axis' control points at normalised positions."""
        cells = self.control_points[axis] - 3
        return b_spline_weights((positions + 1) * (cells / 2), cells)

    def compute_points(self, parameters: tf.Tensor, points: tf.Tensor, frame: Frame) -> tf.Tensor:
        # In float64, also because GPUs round products of float32 matrices to ten bits.
        exact = tf.cast(points, wide_type(points.dtype))
        weights = tf.ones_like(exact[..., :1])
        for axis in range(self.rank):
            of_axis = self._weights(exact[..., self.rank - 1 - axis], axis)
            products = weights[..., :, None] * of_axis[..., None, :]
            weights = tf.reshape(products, tf.concat([tf.shape(weights)[:-1], [-1]], axis=0))
        control = tf.reshape(tf.cast(parameters, exact.dtype), [-1, self._count, self.rank])
        return points + tf.cast(tf.linalg.matmul(weights, control), points.dtype)

    @property
    def _count(self) -> int:
        return self.num_parameters // self.rank

    def compute_warp(self, parameters: tf.Tensor, frame: Frame) -> tf.Tensor:
        """Axis by axis, of which a regular grid has few positions."""
        exact = wide_type(parameters.dtype)
        moved = tf.cast(parameters, exact)
        moved = tf.reshape(moved, [-1, *self.control_points, self.rank])
        output_size = frame.known_output_size
        maps = axes_to_normalised(output_size, frame.align_corners, exact)
        for axis in range(self.rank):
            i = self.rank - 1 - axis  # Of coordinates.
            pixels = tf.cast(tf.range(output_size[axis]), exact)
            positions = (maps.factor[i] * pixels + maps.offset[i]) / maps.divisor[i]
            weights = self._weights(positions, axis)
            # The axis of control points goes to the end, and comes back as one of pixels.
            moved = tf.tensordot(moved, weights, [[1], [1]])
            moved = tf.transpose(moved, [0, *range(1, self.rank), self.rank + 1, self.rank])
        moved = tf.cast(moved, parameters.dtype)
        return from_identity(moved, output_size, frame.known_input_size, frame.align_corners)
