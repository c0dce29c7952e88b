"""Gradient descent from coarse to fine, as the examples of alignment do it."""

from collections.abc import Callable

import keras
import tensorflow as tf
from tqdm import trange

SHRINKS = (4, 2, 1)  # From coarse to fine: how many pixels become one, along each axis.


def shrink(images: tf.Tensor, factor: int) -> tf.Tensor:
    """Returns images or volumes of means of `factor` pixels along each axis.

    Their edges stay where they are, but not the centres of their outermost pixels. So what is
    normalised by the edges, `align_corners=False`, means the same for all sizes.
    """
    return tf.nn.avg_pool(images, factor, factor, "VALID")


def mean_square(difference: tf.Tensor) -> tf.Tensor:
    return tf.reduce_mean(difference**2)


def descend(
    loss: Callable[[], tf.Tensor],
    variable: tf.Variable,
    steps: int,
    learning_rate: float,
    name: str,
    after_step: Callable[[], None] = lambda: None,
) -> None:
    """Changes `variable` so that `loss()` becomes smaller: Adam, with a progress bar.

    Args:
      loss: Returns what is to become smaller, a number.
      variable: What it depends on.
      steps: How many steps.
      learning_rate: How far the first step goes; later ones become shorter, by a cosine to nothing.
      name: What the progress bar says.
      after_step: Called after every step.
    """
    optimizer = keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(learning_rate, steps))
    optimizer.build([variable])

    @tf.function
    def step() -> tf.Tensor:
        with tf.GradientTape() as tape:
            value = loss()
        optimizer.apply([tape.gradient(value, variable)], [variable])
        return value

    with trange(steps, desc=name) as progress:
        for _ in progress:
            progress.set_postfix(loss=f"{step():.5f}", refresh=False)
            after_step()
