"""Families of which every place of the output has parameters of its own."""

import tensorflow as tf

from tf_stn import fields
from tf_stn._numbers import check_integer
from tf_stn.transformations._affine import check_rank
from tf_stn.transformations._base import Transformation
from tf_stn.transformations._frame import Frame
from tf_stn.transformations._geometry import field_size


def pixels_of_field(field: tf.Tensor, frame: Frame) -> tf.Tensor:
    """Returns how many pixels of the input a pixel of a field's own grid is, along x, y[, z]."""
    own = Frame(frame.rank, field_size(field), align_corners=frame.align_corners)
    return frame.span(field.dtype) / own.span(field.dtype)


class DenseDisplacement(Transformation):
    """A displacement (dx, dy[, dz]) of every output pixel, in pixels of the input.

    >>> right = [[[[1.0, 0.0]]]]  # One for the whole output.
    >>> tf_stn.transformations.DenseDisplacement().warp(right, (1, 2), (1, 2))[0, 0].numpy()
    array([[1., 0.],
           [2., 0.]], dtype=float32)

    The parameters are a field, `[batch, height, width, 2]` or `[batch, depth, height, width, 3]`.
    One of another size than the output is interpolated, so a coarse field gives a smooth map.

    Args:
      rank: 2 for images (default), 3 for volumes.
    """

    kind = "field"

    def __init__(self, rank: int = 2) -> None:
        self.rank = check_rank(rank)
        self.identity_parameters = (0.0,) * self.rank

    def compute_displacement(self, parameters: tf.Tensor, frame: Frame) -> tf.Tensor:
        return parameters


class VelocityField(Transformation):
    """A map that hardly folds: along a velocity (vx, vy[, vz]) at every pixel, for a time of 1.

    >>> velocities = tf_stn.transformations.VelocityField()
    >>> there = velocities.warp(tf.ones([1, 4, 4, 2]), (4, 4), (4, 4))
    >>> there[0, 0, 0].numpy()
    array([1., 1.], dtype=float32)

    The parameters are a field, `[batch, height, width, 2]` or `[batch, depth, height, width, 3]`,
    in pixels of the input. One of another size than the output is integrated as it is, and then
    interpolated. `inverse` gives the parameters of the map back, the negative ones.

    Reference: Arsigny et al., A log-Euclidean framework for statistics on diffeomorphisms, 2006;
    Dalca et al., Unsupervised learning of probabilistic diffeomorphic registration for images and
    surfaces, 2019.

    Args:
      rank: 2 for images (default), 3 for volumes.
      steps: How often the displacement is composed with itself; see `tf_stn.fields.exponential`.
    """

    kind = "field"

    def __init__(self, rank: int = 2, *, steps: int = 7) -> None:
        self.rank = check_rank(rank)
        self.steps = check_integer("steps", steps, 0, 30)
        self.identity_parameters = (0.0,) * self.rank

    def compute_displacement(self, parameters: tf.Tensor, frame: Frame) -> tf.Tensor:
        pixels = pixels_of_field(parameters, frame)
        return fields.exponential(parameters / pixels, steps=self.steps) * pixels

    @property
    def has_inverse_map(self) -> bool:
        return True

    def compute_inverse_displacement(self, parameters: tf.Tensor, frame: Frame) -> tf.Tensor:
        return self.compute_displacement(-parameters, frame)

    def compute_inverse(self, parameters: tf.Tensor, frame: Frame) -> tf.Tensor:
        return -parameters
