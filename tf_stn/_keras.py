"""Which Keras the layer is built on: the one that `tf.keras` is, Keras 3 or tf_keras.

What needs Keras takes it from here.
"""

import os
from collections.abc import Callable
from typing import Any

import tensorflow as tf

# What TensorFlow takes for true, in its `KerasLazyLoader`.
_IS_LEGACY = os.environ.get("TF_USE_LEGACY_KERAS") in ("true", "True", "1")

if _IS_LEGACY:
    try:
        import tf_keras as keras
    except ImportError as error:
        minor = ".".join(tf.__version__.split(".")[:2])
        raise ImportError(
            "TF_USE_LEGACY_KERAS is set, but tf_keras cannot be imported. Install it with: "
            f"pip install --no-deps 'tf_keras=={minor}.*', or unset the variable for Keras 3"
        ) from error
else:
    import keras

_SWITCH = (
    "Without TF_USE_LEGACY_KERAS in the environment, SpatialTransformer is a layer of Keras 3"
    if _IS_LEGACY
    else "With TF_USE_LEGACY_KERAS=1 in the environment, SpatialTransformer is a layer of tf_keras"
)


def _other_keras(value: Any) -> str | None:
    """Returns the name of the Keras that `value` is of, if it is not this one."""
    # By name, since the other one need not be there.
    packages = {base.__module__.split(".")[0] for base in type(value).__mro__}
    return next(iter(packages & {"keras", "tf_keras"} - {keras.__name__}), None)


def check_layer(argument: str, value: Any) -> None:
    """Raises a ValueError unless `value` is a layer or model of this Keras."""
    if isinstance(value, keras.layers.Layer):
        return
    expected = f"a layer or model of {keras.__name__} {keras.__version__}"
    other = _other_keras(value)
    received = f"{value!r} of {other}. {_SWITCH}" if other else f"{value!r}"
    raise ValueError(f"`{argument}` must be {expected}, received {received}")


def check_tensor(argument: str, value: Any) -> None:
    """Raises a ValueError if `value` is a symbolic tensor of another Keras.

    TensorFlow would compute with it all the same, and a model would know nothing of the layer.
    """
    other = _other_keras(value)
    if other:
        raise ValueError(
            f"`{argument}` must be a tensor of {keras.__name__} {keras.__version__} or of "
            f"TensorFlow, received {value!r} of {other}. {_SWITCH}"
        )


def trace(compute_output_spec: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Returns the symbolic tensors that an operation of Keras 3 makes of others, by its method.

    An error is the one that the operation raised. Keras makes a paragraph of it, whose context it
    is.
    """

    def dense(value: Any) -> Any:
        # Keras takes a product with a Python number for sparse, though nothing about it is.
        if isinstance(value, keras.KerasTensor) and value.sparse:
            return keras.KerasTensor(value.shape, value.dtype, name=value.name)
        return value

    args, kwargs = tf.nest.map_structure(dense, (args, kwargs))
    try:
        return compute_output_spec(*args, **kwargs)
    except Exception as error:
        raise (error.__context__ or error) from None
