"""Transformations that change what the parameters of another one mean, or how many there are."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tf_stn import _small_matrices
from tf_stn._numbers import check_integer, check_number
from tf_stn.transformations._base import Transformation
from tf_stn.transformations._frame import Frame


def check_transformation(argument: str, value: Any) -> Transformation:
    """Returns `value`; a TypeError unless it is a transformation."""
    if not isinstance(value, Transformation):
        raise TypeError(
            f"`{argument}` must be a transformation, an object of a class of "
            f"tf_stn.transformations or your own, received {value!r}"
        )
    return value


class Wrapper(Transformation):
    """Delegates to another transformation, whose parameters are `inner_parameters` of its own."""

    def __init__(self, transformation: Transformation) -> None:
        self.transformation = check_transformation("transformation", transformation)
        self.rank = transformation.rank
        self.kind = transformation.kind
        self.count = transformation.count

    @property
    def identity_parameters(self) -> Sequence[float]:  # type: ignore[override]
        """Parameters of the map that changes nothing."""
        return self.transformation.identity_parameters

    @property
    def initial_parameters(self) -> Sequence[Any]:
        """The parameters from which training starts."""
        return self.transformation.initial_parameters

    def inner_parameters(self, parameters: tf.Tensor) -> tf.Tensor:
        """Returns the parameters of the inner transformation, of the same shape."""
        return parameters

    def compute_matrix(self, parameters: tf.Tensor, frame: Frame) -> tf.Tensor:
        return self.transformation.compute_matrix(self.inner_parameters(parameters), frame)

    def compute_points(self, parameters: tf.Tensor, points: tf.Tensor, frame: Frame) -> tf.Tensor:
        return self.transformation.compute_points(self.inner_parameters(parameters), points, frame)

    def compute_displacement(self, parameters: tf.Tensor, frame: Frame) -> tf.Tensor:
        return self.transformation.compute_displacement(self.inner_parameters(parameters), frame)

    def compute_warp(self, parameters: tf.Tensor, frame: Frame) -> tf.Tensor:
        return self.transformation.compute_warp(self.inner_parameters(parameters), frame)

    @property
    def has_inverse_map(self) -> bool:
        return self.transformation.has_inverse_map

    def compute_inverse_displacement(self, parameters: tf.Tensor, frame: Frame) -> tf.Tensor:
        inner = self.inner_parameters(parameters)
        return self.transformation.compute_inverse_displacement(inner, frame)

    def _start(self, parameters: tf.Tensor) -> tf.Tensor:
        """Returns the initial parameters, shaped to broadcast with `[n, ..., num_parameters]`."""
        return self._for_each(np.array(self.initial_parameters, np.float64), parameters)

    def _for_each(self, values: np.ndarray, parameters: tf.Tensor) -> tf.Tensor:
        """Returns numbers, `[num_parameters]` or `[count, num_parameters]`, like `parameters`.

        Those of several transformations repeat from image to image.
        """
        sides = [1] * (parameters.shape.rank - 2)
        like = tf.constant(values.reshape([-1, *sides, values.shape[-1]]), parameters.dtype)
        if len(values) == 1 or values.ndim == 1:
            return like
        images = tf.shape(parameters)[0] // len(values)
        return tf.tile(like, [images, *[1] * (len(sides) + 1)])


class SameParameters(Wrapper):
    """A wrapper whose parameters mean the same as those of the inner transformation."""

    def compute_inverse(self, parameters: tf.Tensor, frame: Frame) -> tf.Tensor:
        return self.transformation.compute_inverse(parameters, frame)

    def compute_composition(self, first: tf.Tensor, second: tf.Tensor, frame: Frame) -> tf.Tensor:
        return self.transformation.compute_composition(first, second, frame)


def _check_like_parameters(
    argument: str, value: Any, transformation: Transformation, allow_number: bool
) -> np.ndarray:
    """Returns numbers for the parameters: one for all, one for each, or for each of several."""
    count, several = transformation.num_parameters, transformation.count
    shapes: list[tuple[int, ...]] = [(count,), *([] if several is None else [(several, count)])]
    try:
        values = np.array(value, np.float64)
    except (TypeError, ValueError):
        values = np.array(np.nan)
    if np.isnan(values).any() or values.shape not in (*([()] if allow_number else []), *shapes):
        expected = " or ".join(str(list(shape)) for shape in shapes)
        one = "a number, or " if allow_number else ""
        raise ValueError(
            f"`{argument}` must be {one}numbers of shape {expected}, as the parameters of "
            f"{transformation!r}, received {value!r}"
        )
    return values


class StartingAt(SameParameters):
    """The same transformation, but training starts from other parameters than the identity's.

    >>> attention = tf_stn.transformations.Attention()
    >>> closer = tf_stn.transformations.StartingAt(attention, (0.5, 0.0, 0.0))
    >>> closer.initial_parameters
    (0.5, 0.0, 0.0)

    Args:
      transformation: Any transformation.
      parameters: Its `num_parameters` numbers; of several transformations `[count,
        num_parameters]`, or the same for all.
    """

    def __init__(self, transformation: Transformation, parameters: Sequence[Any]) -> None:
        super().__init__(transformation)
        values = _check_like_parameters("parameters", parameters, transformation, False)
        if not np.isfinite(values).all():
            raise ValueError(f"`parameters` must be finite, received {parameters!r}")
        if self.count is not None:
            values = np.broadcast_to(values, [self.count, self.num_parameters])
        self.parameters = _nested_tuple(values)

    @property
    def initial_parameters(self) -> Sequence[Any]:
        """The parameters from which training starts."""
        return self.parameters


def _nested_tuple(values: np.ndarray) -> Any:
    return tuple(map(_nested_tuple, values)) if values.ndim else float(values)


class Scaled(Wrapper):
    """Moves more slowly, or learns more slowly: parameters p become start + scale (p - start).

    >>> slow = tf_stn.transformations.Scaled(tf_stn.transformations.Translation(), 0.1)
    >>> slow.matrix([[1.0, 2.0]])[0, :, 2].numpy()
    array([0.1, 0.2], dtype=float32)

    A scale below 1 cures transformations that jump about, or leave the image, while the rest of
    the network still learns, under any optimiser. A `gradient` below 1 does so under optimisers
    such as SGD; Adam and its kin divide a gradient by its size, and so undo it.

    Args:
      transformation: Any transformation.
      scale: By what the distance of the parameters from their start is multiplied; positive.
      gradient: By what their gradient alone is multiplied; at least 0.
    """

    def __init__(
        self, transformation: Transformation, scale: float = 1.0, *, gradient: float = 1.0
    ) -> None:
        super().__init__(transformation)
        self.scale = check_number("scale", scale, positive=True)
        self.gradient = check_number("gradient", gradient)

    def inner_parameters(self, parameters: tf.Tensor) -> tf.Tensor:
        dtype = parameters.dtype
        if self.scale != 1:
            start = self._start(parameters)
            parameters = start + tf.constant(self.scale, dtype) * (parameters - start)
        if self.gradient != 1:
            scaled = tf.constant(self.gradient, dtype) * parameters
            # Of the same value, to the bit.
            parameters = scaled - tf.stop_gradient(scaled) + tf.stop_gradient(parameters)
        return parameters


class Bounded(Wrapper):
    """Keeps parameters near their start: p becomes start + b tanh((p - start) / b).

    >>> translation = tf_stn.transformations.Translation()
    >>> bounded = tf_stn.transformations.Bounded(translation, 0.5)
    >>> bounded.matrix([[99.0, 0.0]])[0, :, 2].numpy()
    array([0.5, 0. ], dtype=float32)

    Either `bound` says how far they may get on both sides, or `low` and `high` say between which
    values they stay; then b is the room on that side. The start is kept exactly, and near it
    parameters are as they were: the slope there is 1. Where p is far beyond the bound there is
    hardly a gradient.

    Args:
      transformation: Any transformation.
      bound: A positive number, or one for each parameter. `np.inf`: no bound.
      low: A number below the start, or one for each parameter. `-np.inf`: no bound on that side.
      high: The same above the start.
    """

    def __init__(
        self,
        transformation: Transformation,
        bound: float | Sequence[float] | None = None,
        *,
        low: float | Sequence[float] | None = None,
        high: float | Sequence[float] | None = None,
    ) -> None:
        super().__init__(transformation)
        given = (bound is not None, low is not None, high is not None)
        if given not in ((True, False, False), (False, True, True)):
            raise ValueError(
                "either `bound` or both `low` and `high` must be given, received "
                f"bound={bound!r}, low={low!r}, high={high!r}"
            )
        self.bound, self.low, self.high = (
            None
            if value is None
            else _nested_tuple(_check_like_parameters(argument, value, transformation, True))
            for argument, value in (("bound", bound), ("low", low), ("high", high))
        )
        self._below, self._above = self._room()

    def _room(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns the room below and above the start, for each parameter."""
        start = np.array(self.initial_parameters, np.float64)
        if self.bound is not None:
            below = above = np.array(self.bound)
            if not (below > 0).all():
                raise ValueError(f"`bound` must be positive, received {self.bound!r}")
        else:
            below, above = start - np.array(self.low), np.array(self.high) - start
            if not ((below > 0).all() and (above > 0).all()):
                raise ValueError(
                    f"`low` and `high` must lie on either side of the start {start.tolist()}, "
                    f"received low={self.low!r}, high={self.high!r}"
                )
        return np.broadcast_to(below, start.shape), np.broadcast_to(above, start.shape)

    def inner_parameters(self, parameters: tf.Tensor) -> tf.Tensor:
        start = self._start(parameters)
        moved = parameters - start
        below, above = (self._for_each(room, parameters) for room in (self._below, self._above))
        room = tf.where(moved < 0, below, above)
        is_bound = tf.math.is_finite(room)
        finite = tf.where(is_bound, room, tf.ones_like(room))
        return start + tf.where(is_bound, finite * tf.tanh(moved / finite), moved)


class Several(SameParameters):
    """Several transformations of each image: parameters `[batch, count, num_parameters]`.

    >>> two = tf_stn.transformations.Several(tf_stn.transformations.Attention(), 2)
    >>> two.matrix(tf.zeros([5, 2, 3])).shape
    TensorShape([5, 2, 2, 3])

    Args:
      transformation: A transformation that is not several already.
      count: How many of each image.
    """

    def __init__(self, transformation: Transformation, count: int) -> None:
        super().__init__(transformation)
        if transformation.count is not None:
            raise ValueError(
                f"`transformation` must be one, not several already, received {transformation!r}"
            )
        self.count = check_integer("count", count, 1)

    @property
    def initial_parameters(self) -> Sequence[Any]:
        """The parameters from which training starts, `[count, num_parameters]`."""
        return (tuple(self.transformation.initial_parameters),) * (self.count or 1)


class Tiled(SameParameters):
    """Several windows of each image that start side by side.

    >>> windows = tf_stn.transformations.Tiled(tf_stn.transformations.Attention(), (1, 2))
    >>> windows.initial_parameters
    ((1.0, -0.5, 0.0), (1.0, 0.5, 0.0))

    Parameters are `[batch, rows columns, num_parameters]`, row by row. Windows that keep the
    image's proportions are as large as the larger side of a tile.

    Args:
      transformation: `Attention`, `Affine`, `Similarity`, `Rigid` or `Translation`, with normalised
        shifts.
      tiles: (rows, columns), or (slices, rows, columns) for volumes.
    """

    def __init__(self, transformation: Transformation, tiles: Sequence[int]) -> None:
        super().__init__(transformation)
        if transformation.count is not None:
            raise ValueError(
                f"`transformation` must be one, not several already, received {transformation!r}"
            )
        counts = tuple(tiles) if isinstance(tiles, (Sequence, np.ndarray)) else ()
        are_counts = [isinstance(n, (int, np.integer)) and not isinstance(n, bool) for n in counts]
        if len(counts) != self.rank or not all(are_counts) or min(counts) < 1:
            raise ValueError(
                f"`tiles` must be {self.rank} positive integers, one for each axis, received "
                f"{tiles!r}"
            )
        self.tiles = tuple(int(n) for n in counts)
        self.count = int(np.prod(self.tiles))
        self._initial = tuple(
            transformation.compute_window(
                [1 / n for n in self.tiles[::-1]],
                [(2 * i + 1) / n - 1 for i, n in zip(place[::-1], self.tiles[::-1], strict=True)],
            )
            for place in np.ndindex(*self.tiles)
        )

    @property
    def initial_parameters(self) -> Sequence[Any]:
        """The parameters from which training starts, `[count, num_parameters]`."""
        return self._initial


class Inverse(Wrapper):
    """The map back, by the same parameters.

    >>> zoom = tf_stn.transformations.Attention()
    >>> tf_stn.transformations.Inverse(zoom).matrix([[0.5, 0.25, 0.0]])[0].numpy()
    array([[ 2. , -0. , -0.5],
           [-0. ,  2. , -0. ]], dtype=float32)

    Where there is no map back, it is infinite or NaN.

    Args:
      transformation: An affine or projective one, or a `VelocityField`. The map back of other
        fields is found by `tf_stn.fields.inverse`.
    """

    def __init__(self, transformation: Transformation) -> None:
        super().__init__(transformation)
        if not transformation.has_inverse_map:
            raise ValueError(
                "`transformation` must be affine, projective or a VelocityField; "
                f"tf_stn.fields.inverse finds the map back of a field, received {transformation!r}"
            )

    def compute_matrix(self, parameters: tf.Tensor, frame: Frame) -> tf.Tensor:
        return _small_matrices.inverse(self.transformation.compute_matrix(parameters, frame))

    def compute_points(self, parameters: tf.Tensor, points: tf.Tensor, frame: Frame) -> tf.Tensor:
        return Transformation.compute_points(self, parameters, points, frame)

    def compute_displacement(self, parameters: tf.Tensor, frame: Frame) -> tf.Tensor:
        return self.transformation.compute_inverse_displacement(parameters, frame)

    def compute_inverse_displacement(self, parameters: tf.Tensor, frame: Frame) -> tf.Tensor:
        return self.transformation.compute_displacement(parameters, frame)

    def compute_warp(self, parameters: tf.Tensor, frame: Frame) -> tf.Tensor:
        return Transformation.compute_warp(self, parameters, frame)
