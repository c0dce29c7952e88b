"""Transformations: what the parameters that a localisation network predicts mean."""

import tensorflow as tf

from tf_stn.resampler import check_mode


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
    check_mode("transformation", name, tuple(_TRANSFORMATIONS))
    return _TRANSFORMATIONS[name]()
