"""By how much sample points lie outside an image."""

from typing import Any

import numpy as np
import tensorflow as tf

from tf_stn._numbers import to_real
from tf_stn._sizes import Size, in_order_of_coordinates, parse_size, received_shape


def beyond(warp: Any, input_size: Size) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns how far outside the outermost pixel centres coordinates are, and where the last is.

    What rounding may add to an identity does not count: two units in the last place of the size.

    Args:
      warp: Points in pixels, `[..., rank]`, as (x, y[, z]).
      input_size: Of the image that they sample.

    Returns:
      Pixels, of the shape of `warp`; NaN for NaN. Last coordinates, `[rank]`.
    """
    warp = to_real("warp", warp)
    if warp.shape.rank is None or warp.shape.rank < 2 or warp.shape[-1] not in (2, 3):
        raise ValueError(
            "`warp` must have shape [batch, ..., 2] or [batch, ..., 3], received "
            f"{received_shape(warp)}"
        )
    size = parse_size("input_size", input_size, warp.shape[-1])
    last = tf.cast(in_order_of_coordinates(size, warp.dtype) - 1, warp.dtype)
    distance = tf.nn.relu(-warp) + tf.nn.relu(warp - last)
    rounding = 2 * np.finfo(warp.dtype.as_numpy_dtype).eps * tf.maximum(last, 1)
    return tf.where(distance <= rounding, tf.zeros_like(distance), distance), last
