"""Regularizers of Keras that keep transformations small, smooth, or inside the image.

Each can be given to a layer of `tf_stn.layers`, which adds its value to the losses, or be called by
itself. A layer hands over what the attribute `of` asks for: `"parameters"`, what a localisation net
predicts minus what it starts from; `"warp"`, sample points and the size of the image; or
`"displacement"`, a field in pixels of the output. That of any other regularizer of Keras counts as
`"parameters"`.
"""

from typing import Any

import tensorflow as tf

from tf_stn import fields
from tf_stn._keras import keras
from tf_stn._numbers import check_number, to_real
from tf_stn._outside import beyond
from tf_stn._sizes import Size, received_shape

__all__ = ["BendingEnergy", "Folding", "Identity", "Outside", "Smoothness"]


class _Regularizer(keras.regularizers.Regularizer):
    """What all of them share: a factor, and how they are saved."""

    of: str

    def __init__(self, factor: float = 1.0) -> None:
        self.factor = check_number("factor", factor)

    def get_config(self) -> dict[str, Any]:
        return {"factor": self.factor}

    def __repr__(self) -> str:
        arguments = ", ".join(f"{name}={value!r}" for name, value in self.get_config().items())
        return f"{type(self).__name__}({arguments})"


@keras.saving.register_keras_serializable(package="tf_stn")
class Identity(_Regularizer):
    """Keeps parameters near those that training starts from: their mean square distance.

    Of the parameters before a bound, so that it pulls where the bound has no gradient.

    >>> moved = tf.constant([[1.0, 0.0, 2.0, 0.0]])
    >>> float(tf_stn.regularizers.Identity(0.1)(moved)).__round__(3)
    0.125

    Args:
      factor: What the value is multiplied by, at least 0; default 1.
    """

    of = "parameters"

    def __call__(self, parameters: tf.Tensor) -> tf.Tensor:
        """Returns the value of parameters minus their start, of any shape."""
        return self.factor * tf.reduce_mean(to_real("parameters", parameters) ** 2)


@keras.saving.register_keras_serializable(package="tf_stn")
class Outside(_Regularizer):
    """Brings sample points back that are outside: the mean square of their distance to the image.

    An image has sides of 2 here. It has a gradient where the images have none.

    >>> warp = tf.constant([[[3.0, 0.0], [1.0, 1.0]]])
    >>> float(tf_stn.regularizers.Outside()(warp, input_size=(3, 3)))
    0.5

    Args:
      factor: What the value is multiplied by, at least 0; default 1.
    """

    of = "warp"

    def __call__(self, warp: tf.Tensor, input_size: Size) -> tf.Tensor:
        """Returns the value of points, 0 where all are inside.

        Args:
          warp: Points in pixels, `[batch, ..., 2]`, or `[batch, ..., 3]` for volumes.
          input_size: `(height, width)` or `(depth, height, width)` of the image that they sample.
        """
        distance, last = beyond(warp, input_size)
        normalised = distance * 2 / tf.maximum(last, 1)
        return self.factor * tf.reduce_mean(tf.reduce_sum(normalised**2, axis=-1))


def _difference(values: tf.Tensor, axis: int) -> tf.Tensor:
    """Returns by how much each pixel along an axis differs from the one before."""
    before = (slice(None),) * axis
    from_second, up_to_last = (*before, slice(1, None)), (*before, slice(None, -1))
    return values[from_second] - values[up_to_last]


def _mean(values: tf.Tensor) -> tf.Tensor:
    """Returns the mean, and 0 of nothing: an axis of one pixel has no differences."""
    count = tf.cast(tf.size(values), values.dtype)
    return tf.math.divide_no_nan(tf.reduce_sum(values), count)


def _to_fields(displacement: Any) -> tf.Tensor:
    """Converts `displacement`, with any axes before its sizes, to `[n, *size, rank]`."""
    field = to_real("displacement", displacement)
    rank = field.shape[-1] if field.shape.rank else None
    if rank not in (2, 3) or field.shape.rank < rank + 2:
        raise ValueError(
            "`displacement` must have shape [batch, ..., height, width, 2] or [batch, ..., depth, "
            f"height, width, 3], received {received_shape(field)}"
        )
    if field.shape.rank == rank + 2:
        return field
    sides = field.shape[-rank - 1 :]
    flat = tf.reshape(field, tf.concat([[-1], tf.shape(field)[-rank - 1 :]], axis=0))
    flat.set_shape([None, *sides])
    return flat


@keras.saving.register_keras_serializable(package="tf_stn")
class Smoothness(_Regularizer):
    """Makes displacements of neighbouring pixels alike: the mean of `|their difference|ᵖ`.

    >>> shear = tf.constant([[[[0.0, 0.0], [0.5, 0.0]], [[0.0, 0.0], [0.5, 0.0]]]])
    >>> float(tf_stn.regularizers.Smoothness()(shear))  # Of along x 0.125, and along y 0.
    0.0625

    Args:
      factor: What the value is multiplied by, at least 0; default 1.
      power: p, at least 1; default 2. With 1, few large differences cost no more than many small
        ones.

    Reference: Balakrishnan et al., VoxelMorph: a learning framework for deformable medical image
    registration, 2019, equation 7, whose mean over axes this is.
    """

    of = "displacement"

    def __init__(self, factor: float = 1.0, *, power: float = 2.0) -> None:
        super().__init__(factor)
        self.power = check_number("power", power)
        if self.power < 1:
            raise ValueError(f"`power` must be a number of at least 1, received {power!r}")

    def __call__(self, displacement: tf.Tensor) -> tf.Tensor:
        """Returns the value of fields, `[batch, ..., height, width, 2]` or of volumes."""
        field = _to_fields(displacement)
        rank = field.shape[-1]
        steps = [_difference(field, axis) for axis in range(1, rank + 1)]
        means = [
            _mean(step**2 if self.power == 2 else tf.abs(step) ** self.power) for step in steps
        ]
        return self.factor * tf.add_n(means) / rank

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"power": self.power}


@keras.saving.register_keras_serializable(package="tf_stn")
class BendingEnergy(_Regularizer):
    """Makes displacements bend little: the mean of all their squared second differences.

    Those of two axes count twice, as the sum over rows and columns of a Hessian does. Nothing that
    is affine costs anything.

    >>> bent = tf.constant([[[[0.0, 0.0], [1.0, 0.0], [0.0, 0.0]]]])
    >>> float(tf_stn.regularizers.BendingEnergy()(bent))  # (-2)² for x, and 0 for y.
    2.0

    Args:
      factor: What the value is multiplied by, at least 0; default 1.

    Reference: Rueckert et al., Nonrigid registration using free-form deformations, 1999, equation
    4.
    """

    of = "displacement"

    def __call__(self, displacement: tf.Tensor) -> tf.Tensor:
        """Returns the value of fields, `[batch, ..., height, width, 2]` or of volumes."""
        field = _to_fields(displacement)
        rank = field.shape[-1]
        steps = [_difference(field, axis) for axis in range(1, rank + 1)]
        means = [
            (1 if i == j else 2) * _mean(_difference(steps[i], j + 1) ** 2)
            for i in range(rank)
            for j in range(i, rank)
        ]
        return self.factor * tf.add_n(means)


@keras.saving.register_keras_serializable(package="tf_stn")
class Folding(_Regularizer):
    """Unfolds maps: the mean of relu(-determinant) of their Jacobian.

    0 where no pixel is turned inside out; it has no gradient there.

    >>> folded = tf.constant([[[[0.0, 0.0], [-3.0, 0.0]], [[0.0, 0.0], [-3.0, 0.0]]]])
    >>> float(tf_stn.regularizers.Folding()(folded))  # The determinant is 1 - 3.
    2.0

    Args:
      factor: What the value is multiplied by, at least 0; default 1.
    """

    of = "displacement"

    def __call__(self, displacement: tf.Tensor) -> tf.Tensor:
        """Returns the value of fields, `[batch, ..., height, width, 2]` or of volumes."""
        determinant = fields.jacobian_determinant(_to_fields(displacement))
        return self.factor * _mean(tf.nn.relu(-determinant))
