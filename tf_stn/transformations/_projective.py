"""Projective maps of images."""

import tensorflow as tf

from tf_stn import _small_matrices
from tf_stn._numbers import real_type, to_real
from tf_stn._sizes import received_shape
from tf_stn._symbolic import accepts_keras_tensors
from tf_stn.transformations._base import Transformation
from tf_stn.transformations._frame import Frame

_FLAT = 1e-6  # Of the area that corners would enclose if they were far apart.


class Projective(Transformation):
    """A homography: the first eight entries of a 3x3 matrix, row by row; the last one is 1.

    >>> tilt = [[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.5]]
    >>> points = [[1.0, -1.0], [1.0, 0.0]]
    >>> tf_stn.transformations.Projective().map_points(tilt, points)[0].numpy()
    array([[ 2., -2.],
           [ 1.,  0.]], dtype=float32)

    Points at infinity, whose denominator is closer to zero than 1e-6, are as far away as with
    1e-6: outside the image, with finite gradients. So nothing is ever NaN. Parameters can also be
    found by where the output's corners lie, `parameters_of_corners`.
    """

    kind = "projective"
    identity_parameters = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0)

    def compute_matrix(self, parameters: tf.Tensor, frame: Frame) -> tf.Tensor:
        entries = tf.concat([parameters, tf.ones_like(parameters[:, :1])], axis=-1)
        return tf.reshape(entries, [-1, 3, 3])

    def _parameters(self, matrix: tf.Tensor) -> tf.Tensor:
        entries = tf.reshape(matrix, [-1, 9])
        return entries[:, :8] / entries[:, 8:]

    def compute_inverse(self, parameters: tf.Tensor, frame: Frame) -> tf.Tensor:
        return self._parameters(_small_matrices.inverse(self.compute_matrix(parameters, frame)))

    def compute_composition(self, first: tf.Tensor, second: tf.Tensor, frame: Frame) -> tf.Tensor:
        outer, inner = (self.compute_matrix(each, frame) for each in (first, second))
        return self._parameters(_small_matrices.product(outer, inner))

    @accepts_keras_tensors
    def parameters_of_corners(self, corners: tf.Tensor, *, name: str | None = None) -> tf.Tensor:
        """Returns the parameters of the map that takes the output's corners to these points.

        >>> corners = [[[-0.5, -1.0], [0.5, -1.0], [1.0, 1.0], [-1.0, 1.0]]]
        >>> projective = tf_stn.transformations.Projective()
        >>> parameters = projective.parameters_of_corners(corners)
        >>> middle_of_the_left_side = [[-1.0, 0.0]]
        >>> projective.map_points(parameters, middle_of_the_left_side)[0].numpy().round(3)
        array([[-0.667, -0.333]], dtype=float32)

        Of a quadrilateral that is not convex, parts lie at infinity. Three corners in line give a
        map onto that line, and four that enclose no area, counted by their orientation, the affine
        map that comes closest to them.

        The map from one quadrilateral to another is `compose(parameters_of_corners(target),
        inverse(parameters_of_corners(source)))`.

        Args:
          corners: `[batch, 4, 2]`, float32 or float64: where in the input, as normalised (x, y),
            the output's corners (-1, -1), (1, -1), (1, 1) and (-1, 1) lie, in this order, which
            goes around.
          name: Name of the operation.

        Returns:
          `[batch, 8]`, of the type of `corners`.

        Gradients:
          `corners`: exact.

        Raises:
          TypeError: `corners` are not numbers.
          ValueError: `corners` is of another shape.

        Reference: Heckbert, Fundamentals of texture mapping and image warping, 1989, section 2.2.3.
        """
        with tf.name_scope(name or "parameters_of_corners"):
            corners = to_real("corners", corners, real_type(corners))
            if not corners.shape.is_compatible_with([None, 4, 2]):
                raise ValueError(
                    f"`corners` must have shape [batch, 4, 2], received {received_shape(corners)}"
                )
            return self._parameters(_matrix_of_corners(corners))


def _matrix_of_corners(corners: tf.Tensor) -> tf.Tensor:
    # In homogeneous coordinates the map is linear. So it takes the corners to w (x, y, 1) whose
    # sums over both diagonals are equal, and w is the area of the triangle of the other three.
    areas = [_area(*(corners[:, (i + k) % 4] for k in (1, 2, 3))) for i in range(4)]
    weights = tf.stack(areas, axis=-1)
    extent = tf.reduce_sum(tf.math.squared_difference(corners, corners[:, :1]), axis=[1, 2])
    is_flat = tf.abs(tf.reduce_sum(weights, axis=-1)) <= _FLAT * extent
    weights = tf.where(is_flat[:, None], tf.ones_like(weights), weights)[..., None]
    homogeneous = weights * tf.concat([corners, tf.ones_like(corners[..., :1])], axis=-1)
    ends = tf.constant([[-1, -1, 1], [1, -1, 1], [1, 1, 1], [-1, 1, 1]], corners.dtype)
    return _small_matrices.product(tf.linalg.matrix_transpose(homogeneous), ends)


def _area(a: tf.Tensor, b: tf.Tensor, c: tf.Tensor) -> tf.Tensor:
    """Returns twice the area of triangles, negative where they go around the other way."""
    side, other = b - a, c - a
    return side[..., 0] * other[..., 1] - side[..., 1] * other[..., 0]
