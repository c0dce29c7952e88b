"""What one writes in TensorFlow without a compiled op: a gather for each neighbour, and weights."""

import itertools

import numpy as np
import tensorflow as tf

from peers.graph import GraphPeer, affine_grid, compiled_by_xla, steps_by_tape
from peers.peer import Step


def resampler(data: tf.Tensor, warp: tf.Tensor) -> tf.Tensor:
    """Returns samples of `data` at `warp`, with zeros outside."""
    batch, height, width, channels = data.shape
    pixels = tf.reshape(data, [-1, channels])
    first = tf.reshape(tf.range(batch) * (height * width), [-1, 1, 1])
    x, y = tf.unstack(warp, axis=-1)
    left, top = tf.floor(x), tf.floor(y)
    right_weight, bottom_weight = x - left, y - top
    left, top = tf.cast(left, tf.int32), tf.cast(top, tf.int32)

    def tap(column: tf.Tensor, row: tf.Tensor, weight: tf.Tensor) -> tf.Tensor:
        inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
        column = tf.clip_by_value(column, 0, width - 1)
        row = tf.clip_by_value(row, 0, height - 1)
        values = tf.gather(pixels, first + row * width + column)
        return tf.where(inside, weight, 0.0)[..., None] * values

    return tf.add_n(
        [
            tap(left, top, (1 - right_weight) * (1 - bottom_weight)),
            tap(left + 1, top, right_weight * (1 - bottom_weight)),
            tap(left, top + 1, (1 - right_weight) * bottom_weight),
            tap(left + 1, top + 1, right_weight * bottom_weight),
        ]
    )


def volume_resampler(data: tf.Tensor, warp: tf.Tensor) -> tf.Tensor:
    """The same for volumes: eight gathers, by the loop over corners of voxelmorph's `interpn`."""
    batch, *size, channels = data.shape
    voxels = tf.reshape(data, [-1, channels])
    points = warp[..., ::-1]  # In the order of the axes.
    low = tf.floor(points)
    high_weight = points - low
    low = tf.cast(low, tf.int32)
    last = tf.constant(size) - 1
    strides = tf.constant([size[1] * size[2], size[2], 1])
    first = tf.reshape(tf.range(batch) * (size[0] * size[1] * size[2]), [-1, 1, 1, 1])
    total = tf.zeros([])
    for corner in itertools.product((0, 1), repeat=3):
        index = low + corner
        is_inside = tf.reduce_all((index >= 0) & (index <= last), axis=-1)
        index = tf.clip_by_value(index, 0, last)
        values = tf.gather(voxels, first + tf.reduce_sum(index * strides, axis=-1))
        weight = tf.reduce_prod(
            tf.where(tf.constant(corner) == 1, high_weight, 1 - high_weight), -1
        )
        total += tf.where(is_inside, weight, 0.0)[..., None] * values
    return total


class Gather(GraphPeer):
    """Gathers, one op after the other."""

    def steps(self, inputs: dict[str, np.ndarray]) -> dict[str, Step]:
        tensors = {name: tf.constant(array) for name, array in inputs.items()}
        sizes = inputs["grad_output"].shape[1:-1], inputs["data"].shape[1:-1]
        sampler = resampler if len(sizes[0]) == 2 else volume_resampler
        return steps_by_tape(
            sampler, lambda data, theta: sampler(data, affine_grid(theta, *sizes)), tensors
        )


class GatherXla(Gather):
    """The same, compiled by XLA."""

    def steps(self, inputs: dict[str, np.ndarray]) -> dict[str, Step]:
        return compiled_by_xla(super().steps(inputs))
