"""Affine families whose parameters are entries of a matrix."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tf_stn import _small_matrices
from tf_stn._checks import check_mode
from tf_stn._grids import UNITS
from tf_stn.transformations._base import Transformation
from tf_stn.transformations._frame import Frame


def check_rank(rank: Any) -> int:
    """Returns `rank` as an integer; a ValueError unless it is 2 or 3."""
    if isinstance(rank, bool) or not isinstance(rank, (int, np.integer)) or rank not in (2, 3):
        raise ValueError(f"`rank` must be 2 for images or 3 for volumes, received {rank!r}")
    return int(rank)


def scaled_and_shifted(scales: Sequence[tf.Tensor], shift: tf.Tensor) -> tf.Tensor:
    """Returns a matrix of these factors of x, y[, z], each `[n]`, and this shift, `[n, rank]`."""
    # Not by tf.linalg.diag, of which an exporter makes a graph that ONNX Runtime refuses.
    columns = tf.unstack(tf.eye(len(scales), dtype=shift.dtype), axis=-1)
    columns = [tf.expand_dims(s, -1) * e for s, e in zip(scales, columns, strict=True)]
    return tf.stack([*columns, shift], axis=-1)


def normalised_shift(shift: tf.Tensor, shift_units: str, frame: Frame) -> tf.Tensor:
    """Returns a shift in normalised units."""
    return shift if shift_units == "normalised" else shift * (2 / frame.span(shift.dtype))


class Translation(Transformation):
    """A shift: (tx, ty[, tz]).

    >>> tf_stn.transformations.Translation().matrix([[0.5, 0.25]])[0].numpy()
    array([[1.  , 0.  , 0.5 ],
           [0.  , 1.  , 0.25]], dtype=float32)

    Args:
      rank: 2 for images (default), 3 for volumes.
      shift_units: `"normalised"` (default), where half an image is 1, or `"pixels"` of the input.
    """

    kind = "affine"

    def __init__(self, rank: int = 2, *, shift_units: str = "normalised") -> None:
        check_mode("shift_units", shift_units, UNITS)
        self.rank = check_rank(rank)
        self.shift_units = shift_units
        self.identity_parameters = (0.0,) * self.rank

    def compute_matrix(self, parameters: tf.Tensor, frame: Frame) -> tf.Tensor:
        shift = normalised_shift(parameters, self.shift_units, frame)
        return scaled_and_shifted([tf.ones_like(parameters[:, 0])] * self.rank, shift)

    def compute_inverse(self, parameters: tf.Tensor, frame: Frame) -> tf.Tensor:
        return -parameters

    def compute_composition(self, first: tf.Tensor, second: tf.Tensor, frame: Frame) -> tf.Tensor:
        return first + second

    def compute_window(self, scale: Sequence[float], shift: Sequence[float]) -> tuple[float, ...]:
        if self.shift_units == "pixels":
            return super().compute_window(scale, shift)
        return tuple(shift)


class Attention(Transformation):
    """A window of the image's proportions: (s, tx, ty[, tz]), or the shift alone.

    >>> tf_stn.transformations.Attention().matrix([[0.5, 0.25, 0.0]])[0].numpy()
    array([[0.5 , 0.  , 0.25],
           [0.  , 0.5 , 0.  ]], dtype=float32)

    Reference: equation 2 of Jaderberg et al., Spatial Transformer Networks, 2015.

    Args:
      scale: The window's size over the image's, for all images; None (default): predicted.
      rank: 2 for images (default), 3 for volumes.
    """

    kind = "affine"

    def __init__(self, scale: float | None = None, rank: int = 2) -> None:
        is_number = isinstance(scale, (int, float, np.number)) and not isinstance(scale, bool)
        if scale is not None and not (is_number and np.isfinite(scale)):
            raise ValueError(f"`scale` must be a finite number or None, received {scale!r}")
        self.scale = None if scale is None else float(scale)
        self.rank = check_rank(rank)
        self.identity_parameters = (() if scale is not None else (1.0,)) + (0.0,) * self.rank

    def compute_matrix(self, parameters: tf.Tensor, frame: Frame) -> tf.Tensor:
        shift = parameters[:, -self.rank :]
        if self.scale is None:
            scale = parameters[:, 0]
        else:  # tf.cast would take the number through float32.
            scale = tf.fill(tf.shape(shift)[:1], tf.constant(self.scale, shift.dtype))
        return scaled_and_shifted([scale] * self.rank, shift)

    def compute_inverse(self, parameters: tf.Tensor, frame: Frame) -> tf.Tensor:
        if self.scale is not None:
            return super().compute_inverse(parameters, frame)
        scale, shift = parameters[:, :1], parameters[:, 1:]
        return tf.concat([1 / scale, -shift / scale], axis=-1)

    def compute_composition(self, first: tf.Tensor, second: tf.Tensor, frame: Frame) -> tf.Tensor:
        if self.scale is not None:
            return super().compute_composition(first, second, frame)
        scale, shift = first[:, :1], first[:, 1:]
        return tf.concat([scale * second[:, :1], scale * second[:, 1:] + shift], axis=-1)

    def compute_window(self, scale: Sequence[float], shift: Sequence[float]) -> tuple[float, ...]:
        return (*(() if self.scale is not None else (max(scale),)), *shift)


class Affine(Transformation):
    """Every affine map: the rows of θ, six parameters, or for volumes twelve.

    >>> tf_stn.transformations.Affine().identity_parameters
    (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)

    Args:
      rank: 2 for images (default), 3 for volumes.
    """

    kind = "affine"

    def __init__(self, rank: int = 2) -> None:
        self.rank = check_rank(rank)
        self.identity_parameters = tuple(np.eye(self.rank, self.rank + 1).ravel().tolist())

    def compute_matrix(self, parameters: tf.Tensor, frame: Frame) -> tf.Tensor:
        return tf.reshape(parameters, [-1, self.rank, self.rank + 1])

    def _parameters(self, matrix: tf.Tensor) -> tf.Tensor:
        return tf.reshape(matrix, [-1, self.num_parameters])

    def compute_inverse(self, parameters: tf.Tensor, frame: Frame) -> tf.Tensor:
        return self._parameters(_small_matrices.inverse(self.compute_matrix(parameters, frame)))

    def compute_composition(self, first: tf.Tensor, second: tf.Tensor, frame: Frame) -> tf.Tensor:
        outer, inner = (self.compute_matrix(each, frame) for each in (first, second))
        return self._parameters(_small_matrices.product(outer, _small_matrices.to_square(inner)))

    def compute_window(self, scale: Sequence[float], shift: Sequence[float]) -> tuple[float, ...]:
        matrix = np.concatenate([np.diag(scale), np.reshape(shift, [-1, 1])], axis=1)
        return tuple(matrix.ravel().tolist())


class ConstrainedAffine(Transformation):
    """An affine map of which some entries are fixed; the others are the parameters, row by row.

    >>> scales = tf_stn.transformations.ConstrainedAffine([[1, 0, 0], [0, 1, 0]])
    >>> scales.matrix([[0.5, 0.25]])[0].numpy()
    array([[0.5 , 0.  , 0.  ],
           [0.  , 0.25, 0.  ]], dtype=float32)

    `inverse` and `compose` are there where their matrices have the same fixed entries, as for
    scales and shifts.

    Args:
      free: Which entries of θ are predicted, `[2, 3]`, or `[3, 4]` for volumes.
      fixed: What the others are, of the same shape; by default as in the identity. For free ones
        it says from where training starts.
    """

    kind = "affine"

    def __init__(
        self, free: Sequence[Sequence[bool]], fixed: Sequence[Sequence[float]] | None = None
    ) -> None:
        mask = np.array(free)
        if mask.shape not in ((2, 3), (3, 4)) or not mask.any():
            raise ValueError(
                f"`free` must be [2, 3] or [3, 4] truth values, at least one of them true, "
                f"received {free!r}"
            )
        self.rank = len(mask)
        values = np.eye(*mask.shape) if fixed is None else np.array(fixed, np.float64)
        if values.shape != mask.shape:
            raise ValueError(
                f"`fixed` must have the shape of `free`, {list(mask.shape)}, received {fixed!r}"
            )
        self._mask, self._values = mask.astype(bool), values
        self.free = self._mask.tolist()
        self.fixed = values.tolist()
        self.identity_parameters = tuple(values[self._mask].tolist())

    def compute_matrix(self, parameters: tf.Tensor, frame: Frame) -> tf.Tensor:
        columns = iter(tf.unstack(parameters, axis=-1))
        entries = [
            next(columns)
            if free
            else tf.fill(tf.shape(parameters)[:1], tf.constant(value, parameters.dtype))
            for free, value in zip(self._mask.ravel(), self._values.ravel(), strict=True)
        ]
        return tf.reshape(tf.stack(entries, axis=-1), [-1, self.rank, self.rank + 1])

    def _parameters(self, matrix: tf.Tensor) -> tf.Tensor:
        entries = tf.unstack(tf.reshape(matrix, [-1, self._mask.size]), axis=-1)
        return tf.stack([entry for entry, free in zip(entries, self._mask.flat) if free], axis=-1)

    def _example(self, seed: int) -> np.ndarray:
        """Returns a square matrix of the family whose free entries have nothing in common."""
        entries = np.random.default_rng(seed).uniform(0.5, 1.5, self._mask.shape)
        square = np.eye(self.rank + 1)
        square[:-1] = np.where(self._mask, entries, self._values)
        return square

    def _has(self, square: np.ndarray) -> bool:
        """Whether the fixed entries of a matrix are those of the family."""
        return np.allclose(square[:-1][~self._mask], self._values[~self._mask], atol=1e-9)

    def compute_inverse(self, parameters: tf.Tensor, frame: Frame) -> tf.Tensor:
        example = self._example(0)
        if abs(np.linalg.det(example)) < 1e-9 or not self._has(np.linalg.inv(example)):
            return super().compute_inverse(parameters, frame)
        return self._parameters(_small_matrices.inverse(self.compute_matrix(parameters, frame)))

    def compute_composition(self, first: tf.Tensor, second: tf.Tensor, frame: Frame) -> tf.Tensor:
        if not self._has(self._example(0) @ self._example(1)):
            return super().compute_composition(first, second, frame)
        outer, inner = (self.compute_matrix(each, frame) for each in (first, second))
        return self._parameters(_small_matrices.product(outer, _small_matrices.to_square(inner)))
