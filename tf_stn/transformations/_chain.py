"""Two transformations, one after the other, in a single sampling."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tf_stn import _small_matrices, fields
from tf_stn.transformations._base import KINDS, Transformation
from tf_stn.transformations._fields import pixels_of_field
from tf_stn.transformations._frame import Frame
from tf_stn.transformations._wrappers import check_transformation


class Chain(Transformation):
    """As if an image were warped by `first`, and the result by `second`, but sampled once.

    >>> transformations = tf_stn.transformations
    >>> both = transformations.Chain(transformations.Attention(), transformations.Translation())
    >>> both.num_parameters  # Those of the first, then those of the second.
    5

    As a map of points that is `x -> first(second(x))`. Two affine ones make an affine one.

    Args:
      first: Any transformation.
      second: One of the same rank. A field goes with another field alone, since parameters of
        each pixel and of the image do not fit into one tensor; `tf_stn.fields.compose` takes a
        field and a matrix.
    """

    def __init__(self, first: Transformation, second: Transformation) -> None:
        self.first = check_transformation("first", first)
        self.second = check_transformation("second", second)
        self.rank = first.rank
        if second.rank != first.rank:
            raise ValueError(
                f"`second` must be of the rank of `first`, {first.rank}, received {second!r}"
            )
        if (first.kind == "field") != (second.kind == "field"):
            raise ValueError(
                "`first` and `second` must both be fields or neither; tf_stn.fields.compose takes "
                f"a field and a matrix; received {first!r} and {second!r}"
            )
        counts = {each.count for each in (first, second)} - {None}
        if len(counts) > 1:
            raise ValueError(
                f"`first` and `second` must be as many of each image, received {first!r} and "
                f"{second!r}"
            )
        self.count = next(iter(counts), None)
        self.kind = max(first.kind, second.kind, key=KINDS.index)

    def _join(self, attribute: str) -> Sequence[Any]:
        parts = [np.array(getattr(each, attribute)) for each in (self.first, self.second)]
        if max(part.ndim for part in parts) > 1:
            parts = [np.broadcast_to(p, [self.count or 1, p.shape[-1]]) for p in parts]
        joined = np.concatenate(parts, axis=-1).tolist()
        return tuple(tuple(each) if isinstance(each, list) else each for each in joined)

    @property
    def identity_parameters(self) -> Sequence[float]:  # type: ignore[override]
        """Parameters of the map that changes nothing."""
        return self._join("identity_parameters")

    @property
    def initial_parameters(self) -> Sequence[Any]:
        """The parameters from which training starts."""
        return self._join("initial_parameters")

    def _split(self, parameters: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        count = self.first.num_parameters
        return parameters[..., :count], parameters[..., count:]

    def compute_matrix(self, parameters: tf.Tensor, frame: Frame) -> tf.Tensor:
        pairs = zip((self.first, self.second), self._split(parameters), strict=True)
        first, second = (each.compute_matrix(part, frame) for each, part in pairs)
        if self.kind == "projective":
            first = _small_matrices.to_square(first)
        return _small_matrices.product(first, _small_matrices.to_square(second))

    def compute_points(self, parameters: tf.Tensor, points: tf.Tensor, frame: Frame) -> tf.Tensor:
        first, second = self._split(parameters)
        between = self.second.compute_points(second, points, frame)
        return self.first.compute_points(first, between, frame)

    def compute_displacement(self, parameters: tf.Tensor, frame: Frame) -> tf.Tensor:
        first, second = self._split(parameters)
        return _compose_fields(
            self.first.compute_displacement(first, frame),
            self.second.compute_displacement(second, frame),
            frame,
        )

    @property
    def has_inverse_map(self) -> bool:
        return self.first.has_inverse_map and self.second.has_inverse_map

    def compute_inverse_displacement(self, parameters: tf.Tensor, frame: Frame) -> tf.Tensor:
        first, second = self._split(parameters)
        return _compose_fields(
            self.second.compute_inverse_displacement(second, frame),
            self.first.compute_inverse_displacement(first, frame),
            frame,
        )


def _compose_fields(first: tf.Tensor, second: tf.Tensor, frame: Frame) -> tf.Tensor:
    """Returns the field of x -> first(second(x)), all in pixels of the input, on one grid."""
    pixels = pixels_of_field(first, frame)
    return fields.compose(first / pixels, second / pixels) * pixels
