"""What one writes in TensorFlow without a compiled op: four gathers and their weights."""

import functools

import numpy as np
import tensorflow as tf

from peers.graph import GraphPeer, affine_grid, training_step
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


class Gather(GraphPeer):
    """Gathers, one op after the other."""

    def steps(self, inputs: dict[str, np.ndarray]) -> dict[str, Step]:
        data, theta, warp, grad_output = (
            tf.constant(inputs[name]) for name in ("data", "theta", "warp", "grad_output")
        )
        sizes = inputs["grad_output"].shape[1:3], inputs["data"].shape[1:3]

        def backward() -> dict[str, tf.Tensor]:
            with tf.GradientTape() as tape:
                tape.watch([data, warp])
                output = resampler(data, warp)
            grad_data, grad_warp = tape.gradient(output, [data, warp], grad_output)
            return {"grad_data": grad_data, "grad_warp": grad_warp}

        def transform(data: tf.Tensor, theta: tf.Tensor) -> tf.Tensor:
            return resampler(data, affine_grid(theta, *sizes))

        return {
            "forward": lambda: {"output": resampler(data, warp)},
            "backward": backward,
            "train": lambda: training_step(transform, data, theta, grad_output),
        }


class GatherXla(Gather):
    """The same, compiled by XLA."""

    def steps(self, inputs: dict[str, np.ndarray]) -> dict[str, Step]:
        compiled = functools.partial(tf.function, jit_compile=True)
        return {row: compiled(step) for row, step in super().steps(inputs).items()}
