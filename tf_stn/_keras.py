"""Which Keras the layer is built on: the one that `tf.keras` is, Keras 3 or tf_keras.

What needs Keras takes it from here.
"""

import os
from typing import Any

import tensorflow as tf

# What TensorFlow takes for true, see `KerasLazyLoader` there.
IS_LEGACY = os.environ.get("TF_USE_LEGACY_KERAS") in ("true", "True", "1")

if IS_LEGACY:
    try:
        import tf_keras as keras
    except ImportError as error:
        minor = ".".join(tf.__version__.split(".")[:2])
        raise ImportError(
            "TF_USE_LEGACY_KERAS is set, but tf_keras cannot be imported. Install it with: "
            f"pip install 'tf_keras=={minor}.*' or unset the variable for Keras 3"
        ) from error
else:
    import keras

_NAME = f"{keras.__name__} {keras.__version__}"


def check_layer(argument: str, value: Any) -> None:
    """Raises a ValueError unless `value` is a layer or model of this Keras."""
    if isinstance(value, keras.layers.Layer):
        return
    hint = ""
    # Not by what is imported: the other one may not be.
    if any(base.__module__.startswith(("keras.", "tf_keras.")) for base in type(value).__mro__):
        hint = (
            ", which is of another Keras. TF_USE_LEGACY_KERAS=1 in the environment makes tf.keras, "
            "and SpatialTransformer, those of tf_keras; without it they are those of Keras 3"
        )
    raise ValueError(f"`{argument}` must be a layer or model of {_NAME}, received {value!r}{hint}")
