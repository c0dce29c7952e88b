"""Checks of arguments: an error names the argument, what was expected and what was received."""

import difflib
import reprlib
from collections.abc import Iterable
from typing import Any

import numpy as np
import tensorflow as tf

# What other libraries call it. A name is suggested where the argument knows it.
_OTHER_NAMES = {
    "bilinear": "linear",
    "trilinear": "linear",
    "bicubic": "cubic",
    "tricubic": "cubic",
    "constant": "zeros",
    "grid-constant": "zeros",
    "edge": "border",
    "replicate": "border",
    "nearest": "border",
    "clamp": "border",
    "reflection": "reflect",
    "mirror": "reflect",
    "circular": "wrap",
    "periodic": "wrap",
    "grid-wrap": "wrap",
    "normalized": "normalised",
    "tps": "thin_plate_spline",
    "homography": "projective",
    "perspective": "projective",
    "euclidean": "rigid",
    "ddf": "dense_displacement",
    "flow": "dense_displacement",
    "svf": "velocity_field",
    "ffd": "b_spline",
    "bspline": "b_spline",
}


def suggestion(value: Any, known: Iterable[str]) -> str:
    """Returns "; did you mean ...?" with the known name that `value` resembles, or nothing."""
    known = tuple(known)
    if not isinstance(value, str):
        return ""
    meant = _OTHER_NAMES.get(value.lower())
    if meant not in known:
        meant = next(iter(difflib.get_close_matches(value.lower(), known, n=1)), None)
    return f"; did you mean {meant!r}?" if meant else ""


def check_mode(argument: str, value: Any, known: Iterable[str]) -> None:
    """Raises a ValueError unless `value` is one of `known`."""
    known = tuple(known)
    if not (isinstance(value, str) and value in known):
        names = ", ".join(repr(name) for name in known)
        raise ValueError(
            f"`{argument}` must be one of {names}, received {value!r}{suggestion(value, known)}"
        )


def as_tensor(argument: str, value: Any, dtype_hint: tf.DType | None = None) -> tf.Tensor:
    """Returns `value` as a tensor; a TypeError or ValueError if it cannot be one.

    Python numbers become `dtype_hint` at once, so that float64 loses nothing; arrays keep
    their type.
    """
    if isinstance(value, tf.Tensor):
        return value
    expected = f"`{argument}` must be a tensor or an array of numbers"
    if value is None or isinstance(value, (tf.RaggedTensor, tf.SparseTensor)):
        raise TypeError(f"{expected}, received {reprlib.repr(value)}")
    if isinstance(value, (np.ndarray, np.generic)):
        dtype_hint = None
    try:
        return tf.convert_to_tensor(value, dtype_hint=dtype_hint)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{expected}, received {reprlib.repr(value)}: {error}") from error
