"""Numbers in arguments: converted, and checked with errors that name the argument."""

from typing import Any

import numpy as np
import tensorflow as tf

from tf_stn._checks import as_tensor


def real_type(*values: Any) -> tf.DType:
    """Returns float64 if one of `values` is an array or a tensor of that type, else float32."""
    types = [value.dtype for value in values if hasattr(value, "dtype")]
    return tf.float64 if any(tf.as_dtype(each) == tf.float64 for each in types) else tf.float32


def to_real(argument: str, value: Any, dtype: tf.DType | None = None) -> tf.Tensor:
    """Converts `value` to a tensor of real numbers, of `dtype`, by default its `real_type`.

    Numbers in lists are converted at once, so that float64 loses nothing.
    """
    dtype = dtype or real_type(value)
    tensor = as_tensor(argument, value, dtype_hint=dtype)
    if not (tensor.dtype.is_floating or tensor.dtype.is_integer):
        raise TypeError(f"`{argument}` must hold real numbers, received {tensor.dtype.name}")
    return tf.cast(tensor, dtype)


def check_integer(argument: str, value: Any, least: int, most: int | None = None) -> int:
    """Returns `value` as a Python integer; a ValueError unless it is one in this range."""
    is_integer = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not (is_integer and value >= least and (most is None or value <= most)):
        expected = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise ValueError(f"`{argument}` must be an integer {expected}, received {value!r}")
    return int(value)


def check_number(argument: str, value: Any, positive: bool = False) -> float:
    """Returns `value` as a Python float; a ValueError unless it is finite and not negative."""
    is_number = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(
        value, bool
    )
    if not is_number or not (0 < value < np.inf or (value == 0 and not positive)):
        expected = "a positive number" if positive else "a number of at least 0"
        raise ValueError(f"`{argument}` must be {expected}, received {value!r}")
    return float(value)


def check_holds(
    condition: tf.Tensor, value: tf.Tensor, message: str, *data: tf.Tensor
) -> tf.Tensor:
    """Returns `value`; an error with `message` and `data` unless `condition` holds.

    Eagerly, and where a graph knows the condition, a ValueError now; otherwise an
    InvalidArgumentError when the graph runs.
    """
    known = tf.get_static_value(condition)
    if known is None:
        with tf.control_dependencies([tf.debugging.Assert(condition, [message, *data])]):
            return tf.identity(value)
    if not known:
        received = ", ".join(f"{np.asarray(tf.get_static_value(each)).tolist()}" for each in data)
        raise ValueError(f"{message} {received}")
    return value
