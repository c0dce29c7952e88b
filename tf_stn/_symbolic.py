"""Lets functions take the symbolic tensors of Keras: the call becomes a node of the model.

Nothing here imports Keras. Where a process has not imported it, there are no symbolic tensors.
"""

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar, cast

import tensorflow as tf

# Decorated functions, by the name under which models are saved: `resampler`,
# `matrices.inverse`, `transformations.Transformation.matrix`.
FUNCTIONS: dict[str, Callable[..., Any]] = {}

_Function = TypeVar("_Function", bound=Callable[..., Any])


@functools.lru_cache(maxsize=1024)
def _is_symbolic_type(kind: type) -> bool:
    # By name, so that this is quick and asks for neither Keras.
    return any(
        base.__name__ == "KerasTensor" and base.__module__.split(".")[0] in ("keras", "tf_keras")
        for base in kind.__mro__
    )


def is_symbolic(value: Any) -> bool:
    """Whether `value` is a symbolic tensor of Keras, or a list or tuple that holds one."""
    if isinstance(value, (list, tuple)):
        return any(is_symbolic(item) for item in value)
    return _is_symbolic_type(type(value))  # type: ignore[arg-type]  # Classes are hashable.


def _public_name(function: Callable[..., Any]) -> str:
    """Returns the name that users know, without the modules of the implementation."""
    modules = [name for name in function.__module__.split(".")[1:] if not name.startswith("_")]
    return ".".join([*modules, function.__qualname__])


def accepts_keras_tensors(function: _Function) -> _Function:
    """Decorates a public function or method, so that it may be called in a functional model.

    If an argument is a symbolic tensor of Keras, or a list or tuple that holds one, the call
    becomes a node of the model, which is saved and loaded with it. Otherwise the function is called
    as it is. An argument `name` names the node.
    """
    label = _public_name(function)
    # AutoGraph would rewrite everything that is called below, in seconds, and for nothing.
    not_rewritten = tf.autograph.experimental.do_not_convert(function)
    FUNCTIONS[label] = not_rewritten
    signature = inspect.signature(function)

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        if not (any(map(is_symbolic, args)) or any(map(is_symbolic, kwargs.values()))):
            call = function if tf.executing_eagerly() else not_rewritten
            return call(*args, **kwargs)
        from tf_stn._nodes import call_as_node

        # All by name, so that a saved model does not depend on the order of arguments.
        arguments = signature.bind(*args, **kwargs).arguments
        if "self" in arguments:  # A node has a `self` of its own.
            arguments["transformation"] = arguments.pop("self")
        return call_as_node(label, arguments, arguments.pop("name", None))

    return cast(_Function, wrapper)


def call_function(label: str, arguments: dict[str, Any]) -> Any:
    """Calls a decorated function, or a method of its argument `transformation`."""
    arguments = dict(arguments)
    if "transformation" in arguments:
        return FUNCTIONS[label](arguments.pop("transformation"), **arguments)
    return FUNCTIONS[label](**arguments)
