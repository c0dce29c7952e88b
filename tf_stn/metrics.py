"""Metrics of Keras that watch where a spatial transformer looks."""

from typing import Any

import tensorflow as tf

from tf_stn._keras import keras
from tf_stn._outside import beyond
from tf_stn._sizes import Size

__all__ = ["FractionOutside", "fraction_outside"]


def fraction_outside(warp: tf.Tensor, input_size: Size) -> tf.Tensor:
    """Returns for each image which part of its sample points lies outside, where padding is seen.

    >>> warp = [[[0.0, 0.0], [-0.5, 1.0]]]
    >>> tf_stn.metrics.fraction_outside(warp, input_size=(2, 3)).numpy()
    array([0.5], dtype=float32)

    Args:
      warp: Points in pixels, `[batch, ..., 2]`, or `[batch, ..., 3]` for volumes.
      input_size: `(height, width)` or `(depth, height, width)` of the image that they sample, as
        integers or integer tensors.

    Returns:
      `[batch]`, from 0 to 1: float64 where `warp` is float64, otherwise float32. Outside is what
      lies beyond the outermost pixel centres by more than rounding, two units in the last place of
      the size; and NaN.

    Gradients:
      None; see `tf_stn.regularizers.Outside` for what can be trained.

    Raises:
      TypeError: `warp` does not hold real numbers.
      ValueError: `warp` is not of such a shape, or `input_size` is not as many positive integers.
    """
    distance, _ = beyond(warp, input_size)
    # NaN is not within any bounds.
    is_outside = tf.cast(tf.reduce_any(~(distance <= 0), axis=-1), distance.dtype)
    return tf.reduce_mean(is_outside, axis=list(range(1, is_outside.shape.rank)))


@keras.saving.register_keras_serializable(package="tf_stn")
class FractionOutside(keras.metrics.Mean):
    """The part of the sample points that lie outside their images, on average over all images.

    A spatial transformer that has lost its image, or looks only at its padding, is seen by it long
    before the loss tells.

    >>> metric = tf_stn.metrics.FractionOutside()
    >>> metric.update_state([[[0.0, 0.0], [-0.5, 1.0]]], input_size=(2, 3))
    >>> float(metric.result())
    0.5

    Args:
      name: Name of the metric; default `"fraction_outside"`.
      dtype: Of its result; default that of Keras' configuration.
    """

    def __init__(self, name: str = "fraction_outside", dtype: Any = None) -> None:
        super().__init__(name=name, dtype=dtype)

    def update_state(self, warp: tf.Tensor, input_size: Size, sample_weight: Any = None) -> Any:
        """Adds the points of some images; see `fraction_outside`.

        Args:
          warp: Points in pixels, `[batch, ..., 2]`, or `[batch, ..., 3]` for volumes.
          input_size: `(height, width)` or `(depth, height, width)` of the images.
          sample_weight: How much each image counts, `[batch]`; default None: all the same.
        """
        return super().update_state(fraction_outside(warp, input_size), sample_weight)
