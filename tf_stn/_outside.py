"""How far sample points lie outside the image: to watch it, and to train against it."""

import numpy as np
import tensorflow as tf

from tf_stn._checks import as_tensor
from tf_stn._sizes import Size, check_size


def _beyond(warp: tf.Tensor, input_size: Size) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns by how many pixels each coordinate is beyond the outermost centres, and the spans."""
    warp = as_tensor("warp", warp)
    if not tf.is_tensor(input_size):
        input_size = np.array(check_size("input_size", input_size, warp.shape[-1]))
    last = tf.cast(input_size, warp.dtype)[::-1] - 1
    return tf.nn.relu(-warp) + tf.nn.relu(warp - last), last


def fraction_outside(warp: tf.Tensor, input_size: Size) -> tf.Tensor:
    """Returns which part of the points lie outside the image, where padding is seen.

    >>> float(tf_stn.fraction_outside([[[0.0, 0.0], [-0.5, 1.0]]], (2, 3)))
    0.5

    Args:
      warp: Points in pixels, `[batch, ..., 2]`, or `[batch, ..., 3]` for volumes.
      input_size: `(height, width)` or `(depth, height, width)` of the image that they sample.

    Returns:
      A number from 0 to 1, of the type of `warp`. NaN coordinates count as outside.

    Gradients:
      None; see `distance_outside` for what can be trained.

    Raises:
      ValueError: `input_size` is not as many positive integers.
    """
    beyond, _ = _beyond(warp, input_size)
    is_outside = tf.reduce_any(~(beyond <= 0), axis=-1)
    return tf.reduce_mean(tf.cast(is_outside, beyond.dtype))


def distance_outside(warp: tf.Tensor, input_size: Size) -> tf.Tensor:
    """Returns the mean square of the distance to the image, which has a side of 2.

    >>> float(tf_stn.distance_outside([[[3.0, 0.0], [1.0, 1.0]]], (3, 3)))
    0.5

    Args:
      warp: Points in pixels, `[batch, ..., 2]`, or `[batch, ..., 3]` for volumes.
      input_size: `(height, width)` or `(depth, height, width)` of the image that they sample.

    Returns:
      A number of the type of `warp`; 0 where all points are inside.

    Gradients:
      `warp`: exact; zero inside, and it grows with the distance.

    Raises:
      ValueError: `input_size` is not as many positive integers.
    """
    beyond, last = _beyond(warp, input_size)
    normalised = beyond * 2 / tf.maximum(last, 1)
    return tf.reduce_mean(tf.reduce_sum(normalised**2, axis=-1))
