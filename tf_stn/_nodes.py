"""What saved Keras models name, beside layers: calls of functions as nodes, and transformations.

It must be registered before models are loaded; `import tf_stn` does that.
"""

from typing import Any

import numpy as np
import tensorflow as tf

from tf_stn import transformations
from tf_stn._keras import check_tensor, keras, trace
from tf_stn._observing import sampling_of
from tf_stn._symbolic import call_function, is_symbolic

_PUBLIC = (getattr(transformations, name) for name in transformations.__all__)
TRANSFORMATIONS = [each for each in _PUBLIC if isinstance(each, type)]
for _transformation in TRANSFORMATIONS:
    keras.saving.register_keras_serializable(package="tf_stn")(_transformation)


def _check_tensors(argument: str, value: Any) -> None:
    """Raises a ValueError if a symbolic tensor is of the Keras that this package is not using."""
    if isinstance(value, (list, tuple)):
        for item in value:
            _check_tensors(argument, item)
    elif is_symbolic(value):
        check_tensor(argument, value)


def _node_name(label: str) -> str:
    """Returns a name that no other node has: `resampler_1`, `resampler_2`."""
    function = label.rpartition(".")[-1]
    return f"{function}_{keras.backend.get_uid(function)}"


if hasattr(keras, "Operation"):  # Keras 3.

    @keras.saving.register_keras_serializable(package="tf_stn", name="Function")
    class FunctionOperation(keras.Operation):
        """A call of a function as a node. Its arguments are the node's, and saved with it."""

        def __init__(self, function: str, *, name: str | None = None) -> None:
            super().__init__(name=name or _node_name(function))
            self.function = function

        def call(self, **arguments: Any) -> Any:
            with sampling_of(self.name):
                return call_function(self.function, arguments)

        def compute_output_spec(self, **arguments: Any) -> Any:
            return trace(super().compute_output_spec, **arguments)

        def get_config(self) -> dict[str, Any]:
            return {"function": self.function, "name": self.name}

    def _call(label: str, arguments: dict[str, Any], name: str | None) -> Any:
        # Not __call__, which wraps errors once more.
        return FunctionOperation(label, name=name).symbolic_call(**arguments)

else:  # tf_keras, whose models have nodes of layers alone.

    @keras.saving.register_keras_serializable(package="tf_stn", name="Function")
    class FunctionLayer(keras.layers.Layer):
        """A call of a function as a layer, of the arguments that are tensors of the model.

        The others are saved in its config.
        """

        def __init__(
            self, function: str, arguments: dict[str, Any] | None = None, **kwargs: Any
        ) -> None:
            kwargs["name"] = kwargs.get("name") or _node_name(function)
            super().__init__(autocast=False, **kwargs)
            self.function = function
            # Hidden from the tracking of attributes, which would wrap lists and dictionaries.
            self._arguments = lambda: arguments or {}

        def call(self, inputs: dict[str, Any]) -> Any:
            with sampling_of(self.name):
                return call_function(self.function, self._arguments() | inputs)

        def get_config(self) -> dict[str, Any]:
            return super().get_config() | {
                "function": self.function,
                "arguments": {name: _saved(value) for name, value in self._arguments().items()},
            }

        @classmethod
        def from_config(cls, config: dict[str, Any]) -> "FunctionLayer":
            arguments = {name: _loaded(value) for name, value in config["arguments"].items()}
            return cls(**{**config, "arguments": arguments})

    def _saved(value: Any) -> Any:
        """Returns an argument as JSON can hold it."""
        if isinstance(value, (np.ndarray, np.generic, tf.Tensor, tf.Variable)):
            value = np.asarray(value)
            return {"array": value.tolist(), "dtype": tf.as_dtype(value.dtype).name}
        if hasattr(value, "get_config"):
            return {"object": keras.saving.serialize_keras_object(value)}
        if isinstance(value, (list, tuple)):
            return [_saved(item) for item in value]
        return value.name if isinstance(value, tf.DType) else value

    def _loaded(value: Any) -> Any:
        if isinstance(value, dict) and "array" in value:
            # [()] makes a number of an array without axes.
            return np.array(value["array"], tf.as_dtype(value["dtype"]).as_numpy_dtype)[()]
        if isinstance(value, dict):
            # By the names of classes, by which HDF5 files refer to them.
            with keras.saving.custom_object_scope(
                {each.__name__: each for each in TRANSFORMATIONS}
            ):
                return keras.saving.deserialize_keras_object(value["object"])
        return [_loaded(item) for item in value] if isinstance(value, list) else value

    def _call(label: str, arguments: dict[str, Any], name: str | None) -> Any:
        inputs = {name: value for name, value in arguments.items() if is_symbolic(value)}
        others = {name: value for name, value in arguments.items() if name not in inputs}
        return FunctionLayer(label, others, name=name)(inputs)


def call_as_node(label: str, arguments: dict[str, Any], name: str | None) -> Any:
    """Calls a function of symbolic tensors, and returns symbolic tensors."""
    for argument, value in arguments.items():
        _check_tensors(argument, value)
    return _call(label, arguments, name)
