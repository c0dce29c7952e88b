"""Transformations: what the parameters that a localisation network predicts mean."""

import tensorflow as tf


class Affine:
    """Every affine map: six parameters, the rows of θ."""

    num_parameters = 6
    identity_parameters = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)

    def matrix(self, parameters: tf.Tensor) -> tf.Tensor:
        """Returns θ, `[batch, 2, 3]`, for `parameters` of shape `[batch, 6]`."""
        return tf.reshape(parameters, [-1, 2, 3])


_TRANSFORMATIONS = {"affine": Affine}


def get(name: str) -> Affine:
    """Returns the transformation called `name`; a ValueError if there is none."""
    if name not in _TRANSFORMATIONS:
        known = ", ".join(repr(known) for known in _TRANSFORMATIONS)
        raise ValueError(f"`transformation` must be one of {known}, received {name!r}")
    return _TRANSFORMATIONS[name]()
