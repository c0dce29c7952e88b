"""What pixels may be: floating point numbers, with gradients, or integers and booleans, without.

Samplers compute with floating point numbers. Integers become such numbers before they are sampled,
and samples become integers again: rounded to the nearest, of two the even one, and limited to what
the type holds; a NaN becomes 0. Those that a float32 does not hold exactly, and booleans, are
labels rather than amounts: they can be picked, by `"nearest"`, but not blended. Their digits of
base 2^16 then are picked one by one, so that nothing is lost.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tf_stn._checks import as_tensor
from tf_stn._sizes import static_shape

DATA_TYPES = (tf.float16, tf.bfloat16, tf.float32, tf.float64)
# Amounts, which are blended, and labels, which are not.
BLENDED_TYPES = (tf.uint8, tf.int8, tf.uint16, tf.int16)
LABEL_TYPES = (tf.int32, tf.int64, tf.bool)
INTEGER_TYPES = (*BLENDED_TYPES, *LABEL_TYPES)

# Types are compared by number where a single call from Python is to be quick.
_DATA_TYPE_ENUMS = frozenset(dtype.as_datatype_enum for dtype in DATA_TYPES)
_BASE = 2**16

Sampler = Callable[[tf.Tensor, list[tf.Tensor]], tf.Tensor]


def is_integer(dtype: tf.DType) -> bool:
    """Whether pixels of this type are sampled as numbers of another, without a gradient."""
    return dtype.as_datatype_enum not in _DATA_TYPE_ENUMS


def to_data(value: Any) -> tf.Tensor:
    """Converts `value` to a tensor; a TypeError unless it is of a type that pixels may have."""
    data = as_tensor("data", value)
    if is_integer(data.dtype) and data.dtype not in INTEGER_TYPES:
        raise TypeError(f"`data` must be of type {type_names()}, received {data.dtype.name}")
    return data


def type_names() -> str:
    """Returns the names of all types of pixels."""
    *names, last = [dtype.name for dtype in (*DATA_TYPES, *INTEGER_TYPES)]
    return f"{', '.join(names)} or {last}"


def _exact_fill(fill_value: Any, dtype: tf.DType) -> Any:
    """Returns a fill of integers; an error if their type does not hold it."""
    if tf.is_tensor(fill_value):
        if fill_value.dtype != dtype:
            raise TypeError(
                f"`fill_value` must be of type {dtype.name} for `data` of that type, received "
                f"{fill_value.dtype.name}"
            )
        return fill_value
    values = np.asarray(fill_value)
    low, high = (0, 1) if dtype == tf.bool else (dtype.min, dtype.max)
    is_whole = (
        values.dtype.kind in "biuf" and np.isfinite(values).all() and not np.mod(values, 1).any()
    )
    if not (is_whole and all(low <= int(value) <= high for value in values.flat)):
        raise ValueError(
            f"`fill_value` must be of values that {dtype.name} holds, the type of `data`, "
            f"received {fill_value!r}"
        )
    return values.astype(dtype.as_numpy_dtype)


def to_fill(fill_value: Any, data: tf.Tensor, padding: str) -> list[tf.Tensor]:
    """Returns the input of an op that has the pixels outside: `[channels]`, or none for zeros."""
    if isinstance(fill_value, (int, float, np.integer, np.floating)) and fill_value == 0:
        return []
    if padding != "zeros":
        raise ValueError(
            "`fill_value` goes with padding 'zeros' alone, whose pixels outside it replaces, "
            f"received padding {padding!r}"
        )
    if is_integer(data.dtype):
        fill_value = _exact_fill(fill_value, data.dtype)
    fill = as_tensor("fill_value", fill_value, dtype_hint=data.dtype)
    if not (fill.dtype.is_floating or fill.dtype.is_integer or fill.dtype == data.dtype):
        raise TypeError(f"`fill_value` must hold real numbers, received {fill.dtype.name}")
    fill = tf.cast(fill, data.dtype)
    shape = static_shape(data)
    channels = shape[-1] if shape else None
    if fill.shape.rank != 0 and not fill.shape.is_compatible_with([channels]):
        raise ValueError(
            f"`fill_value` must be a number or have shape [channels], here [{channels}], "
            f"received shape {fill.shape}"
        )
    if fill.shape.rank == 1:
        return [fill]
    if fill.shape.rank == 0 and channels is not None:
        return [tf.broadcast_to(fill, [channels])]
    # A number gets the channels of the data, anything else keeps its shape.
    late = tf.concat([tf.shape(fill), tf.shape(data)[-1:]], axis=0)
    return [tf.broadcast_to(fill, late[: tf.maximum(tf.rank(fill), 1)])]


def _digits(pixels: tf.Tensor) -> list[tf.Tensor]:
    """Returns integers as numbers of type float32 that are exact: digits, the lowest first."""
    digits = []
    if pixels.dtype in (tf.int32, tf.int64):
        for _ in range(pixels.dtype.size // 2 - 1):
            digits.append(tf.math.floormod(pixels, _BASE))
            pixels = tf.math.floordiv(pixels, _BASE)
    return [tf.cast(digit, tf.float32) for digit in (*digits, pixels)]


def _to_integers(digits: list[tf.Tensor], dtype: tf.DType) -> tf.Tensor:
    """Returns what is sampled of each digit as integers."""
    digits = [tf.where(tf.math.is_nan(each), tf.zeros_like(each), each) for each in digits]
    if dtype == tf.bool:
        return digits[0] != 0
    if dtype in BLENDED_TYPES:
        return tf.cast(tf.clip_by_value(tf.round(digits[0]), dtype.min, dtype.max), dtype)
    *lower, pixels = [tf.cast(each, dtype) for each in digits]
    for digit in reversed(lower):
        pixels = pixels * _BASE + digit
    return pixels


def sample_pixels(
    data: tf.Tensor, fill_value: Any, interpolation: str, padding: str, sample: Sampler
) -> tf.Tensor:
    """Samples pixels of any type.

    Args:
      data: As `to_data` returns it.
      fill_value: As the user gave it.
      interpolation: By which labels are not blended.
      padding: Of which zeros alone have a fill.
      sample: Samples data of one of DATA_TYPES, given that and a fill as `to_fill` returns it.

    Returns:
      Samples of the type of `data`.
    """
    fill = to_fill(fill_value, data, padding)
    if not is_integer(data.dtype):
        return sample(data, fill)
    if data.dtype in LABEL_TYPES and interpolation != "nearest":
        raise ValueError(
            f"`interpolation` must be 'nearest' for `data` of type {data.dtype.name}, which is "
            f"not blended, received {interpolation!r}"
        )
    digits = _digits(data)
    fills = [_digits(pixel) for pixel in fill]
    sampled = [sample(digit, [each[k] for each in fills]) for k, digit in enumerate(digits)]
    return _to_integers(sampled, data.dtype)
