"""Sizes of images and volumes: numbers, tensors, or an image whose sides are meant."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf

from tf_stn._implementation import is_portable

# Integers, tensors, or an image or volume whose sides are meant.
Size: TypeAlias = Sequence[int] | Sequence[tf.Tensor] | tf.Tensor
# Sides as integers, or as an int64 tensor where they are known only when the graph runs.
Sides: TypeAlias = tuple[int, ...] | tf.Tensor

# By the number of spatial axes.
SIDES = {
    2: "two positive integers (height, width)",
    3: "three positive integers (depth, height, width)",
}
IMAGES = {
    2: "[batch, height, width, channels]",
    3: "[batch, depth, height, width, channels]",
}
FIELDS = "[batch, height, width, 2] or [batch, depth, height, width, 3]"
_AT_LEAST_ONE = {2: "a height and a width", 3: "a depth, a height and a width"}


def static_shape(tensor: Any) -> tuple[int | None, ...] | None:
    """Returns the shape of a tensor as far as it is known, as Python integers.

    `tensor.shape[i]` is not always one: in TensorFlow 1 behaviour it is a Dimension.
    """
    shape = tf.TensorShape(tensor.shape)
    return None if shape.rank is None else tuple(shape.as_list())


def received_shape(tensor: Any) -> str:
    """Returns the shape of a tensor as errors show it."""
    shape = static_shape(tensor)
    return "a tensor of unknown rank" if shape is None else str(list(shape))


def check_field_shape(argument: str, field: tf.Tensor) -> None:
    """Raises a ValueError unless a tensor has the shape of a field of displacements."""
    shape = static_shape(field)
    if shape is None or len(shape) not in (4, 5) or shape[-1] not in (None, len(shape) - 2):
        raise ValueError(f"`{argument}` must have shape {FIELDS}, received {received_shape(field)}")


def _as_integer(side: Any) -> Any:
    return side.value if isinstance(side, tf.compat.v1.Dimension) else side


def _is_positive_integer(side: Any) -> bool:
    is_integer = isinstance(side, (int, np.integer)) and not isinstance(side, bool)
    return is_integer and bool(side > 0)


def check_size(argument: str, size: Any, rank: int) -> tuple[int, ...]:
    """Returns `size` as Python integers; a ValueError unless it is `rank` positive integers."""
    try:
        sides = tuple(map(_as_integer, size))
    except (TypeError, ValueError):
        sides = ()
    if len(sides) != rank or not all(map(_is_positive_integer, sides)):
        hint = ""
        if len(sides) == rank and None in sides:
            hint = "; where sides are unknown, give the image itself"
        raise ValueError(f"`{argument}` must be {SIDES[rank]}, received {size!r}{hint}")
    return tuple(int(side) for side in sides)


def _late_size(argument: str, size: tf.Tensor, rank: int) -> tf.Tensor:
    """Returns `size`, known only when the graph runs, as `[rank]` int64, and checks it then."""
    expected = f"`{argument}` must be {SIDES[rank]}, received"
    if not size.dtype.is_integer or not size.shape.is_compatible_with([rank]):
        raise ValueError(f"{expected} a {size.dtype.name} tensor of shape {size.shape}")
    size = tf.cast(size, tf.int64)
    is_size = tf.equal(tf.rank(size), 1) & tf.equal(tf.size(size), rank)
    is_size &= tf.reduce_all(size > 0)
    with tf.control_dependencies([tf.debugging.Assert(is_size, [expected, size])]):
        return tf.reshape(size, [rank])


def _is_image(size: Any) -> bool:
    """Whether an image or volume stands for its size, which has one axis."""
    if not (tf.is_tensor(size) or isinstance(size, np.ndarray)):
        return False
    shape = static_shape(size)
    return shape is not None and len(shape) > 3


def parse_size(argument: str, size: Size | None, rank: int) -> Sides:
    """Returns the sides that `size` gives."""
    if _is_image(size):
        return image_size(argument, size, rank)
    if isinstance(size, Sequence) and any(tf.is_tensor(side) for side in size):
        size = tf.stack([tf.cast(_as_integer(side), tf.int64) for side in size])
    if not tf.is_tensor(size):
        return check_size(argument, size, rank)
    static = tf.get_static_value(size)
    if static is None:
        return _late_size(argument, size, rank)
    return check_size(argument, static, rank)


def image_size(argument: str, images: Any, rank: int = 2) -> Sides:
    """Returns the sides of images or volumes; an error if one is zero, now or in the graph."""
    shape = static_shape(images)
    if shape is not None and len(shape) != rank + 2:
        raise ValueError(f"`{argument}` must have shape {IMAGES[rank]}, received {list(shape)}")
    sides: tuple[int | None, ...] = (None,) if shape is None else shape[1:-1]
    expected = f"`{argument}` must have {_AT_LEAST_ONE[rank]} of at least 1, received shape"
    if 0 in sides:
        raise ValueError(f"{expected} {list(shape or ())}")
    known = [side for side in sides if side is not None]
    if len(known) == len(sides):
        return tuple(known)
    late = tf.shape(images)
    check = tf.debugging.Assert(tf.reduce_all(late[1:-1] > 0), [expected, late])
    with tf.control_dependencies([check]):
        result = tf.identity(late[1:-1])
    result.set_shape([rank])
    return tf.cast(result, tf.int64)


def with_spatial_rank(data: tf.Tensor, otherwise: int) -> tuple[tf.Tensor, int]:
    """Returns `data` and its number of spatial axes.

    Where that is not known yet, it is taken to be `otherwise`, and checked when the graph runs.
    """
    shape = static_shape(data)
    if shape is not None and len(shape) in (4, 5):
        return data, len(shape) - 2
    if shape is not None:
        raise ValueError(
            f"`data` must have shape {IMAGES[2]} or {IMAGES[3]}, received {list(shape)}"
        )
    late = tf.shape(data)
    expected = f"`data` must have shape {IMAGES[otherwise]}, received"
    check = tf.debugging.Assert(tf.equal(tf.size(late), otherwise + 2), [expected, late])
    with tf.control_dependencies([check]):
        return tf.ensure_shape(data, [None] * (otherwise + 2)), otherwise


def known_rank(size: Size | None) -> int | None:
    """Returns the number of spatial axes of the image that has this size, if that is known."""
    if _is_image(size):
        return len(static_shape(size) or ()) - 2
    if tf.is_tensor(size):
        shape = static_shape(size)
        return shape[0] if shape is not None and len(shape) == 1 else None
    return len(size) if isinstance(size, (Sequence, np.ndarray, tf.TensorShape)) else None


def wide_type(dtype: tf.DType) -> tf.DType:
    """Returns the type of intermediate results that shall not round numbers of `dtype`: float64.

    But float32 for float32 in the portable implementation, since LiteRT has no float64.
    """
    return dtype if is_portable() else tf.float64


def in_order_of_coordinates(sides: Sides, dtype: tf.DType) -> np.ndarray | tf.Tensor:
    """Returns width, height[, depth], for coordinates of `dtype`: in `wide_type` if unknown."""
    if tf.is_tensor(sides):
        return tf.cast(sides[::-1], wide_type(dtype))
    return np.array(sides[::-1], np.float64)
