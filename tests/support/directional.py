"""Gradients held against differences along a few directions: two calls of a function for each."""

import numpy as np
import tensorflow as tf


def assert_gradients_equal_differences(function, values, step=1e-6, rtol=1e-6, directions=3):
    """Of the sum of what `function` returns, weighted at random, in float64.

    Args:
      function: Of as many float64 tensors as there are values.
      values: Where, away from kinks.
      step: Of the central differences.
      rtol: How far both may differ, over the sizes of all their terms.
      directions: How many are tried.
    """
    rng = np.random.default_rng(0)
    values = [tf.constant(value, tf.float64) for value in values]
    with tf.GradientTape() as tape:
        tape.watch(values)
        output = function(*values)
        weights = rng.normal(size=output.shape)
        loss = tf.reduce_sum(weights * output)
    gradients = tape.gradient(loss, values)
    assert all(gradient is not None for gradient in gradients)
    for _ in range(directions):
        moves = [rng.normal(size=value.shape) for value in values]
        ends = [
            np.sum(weights * function(*(v + sign * step * m for v, m in zip(values, moves))))
            for sign in (1, -1)
        ]
        terms = [gradient * move for gradient, move in zip(gradients, moves)]
        size = max(1.0, sum(float(tf.reduce_sum(tf.abs(term))) for term in terms))
        slope = sum(float(tf.reduce_sum(term)) for term in terms)
        np.testing.assert_allclose(slope, (ends[0] - ends[1]) / (2 * step), atol=rtol * size)
