"""Derivatives along a direction, by `tf.autodiff.ForwardAccumulator`."""

import numpy as np
import pytest
import tensorflow as tf
from implementations import BOTH, SLOW_IF_PORTABLE

import tf_stn

pytestmark = BOTH

STEP = 1e-4


def derivative(function, point, direction):
    """Returns the derivative of `function` along `direction`, by forward mode."""
    with tf.autodiff.ForwardAccumulator(point, direction) as accumulator:
        value = function(point)
    return accumulator.jvp(value)


def difference(function, point, direction):
    """Returns the same by differences."""
    ahead, behind = function(point + STEP * direction), function(point - STEP * direction)
    return (ahead - behind) / (2 * STEP)


@pytest.fixture(
    params=["resampler", "displacement_resampler", "affine_resampler", "projective_resampler"]
)
def problem(request, rng):
    """A function of coordinates or θ, a point away from kinks, and a direction; float64."""
    images = tf.constant(rng.random([2, 6, 7, 2]))
    if request.param == "resampler":
        point = rng.integers(-1, 6, [2, 8, 2]) + rng.uniform(0.2, 0.8, [2, 8, 2])
        return (
            lambda warp: tf_stn.resampler(images, warp, interpolation="cubic", padding="reflect"),
            tf.constant(point),
            tf.constant(rng.normal(size=point.shape)),
        )
    if request.param == "displacement_resampler":
        field = rng.uniform(0.2, 0.8, [2, 6, 7, 2])
        return (
            lambda field: tf_stn.displacement_resampler(images, field, interpolation="cubic"),
            tf.constant(field),
            tf.constant(rng.normal(size=field.shape)),
        )
    if request.param == "projective_resampler":
        matrix = np.array([[[0.91, 0.13, 0.05], [-0.17, 0.83, 0.02], [0.11, -0.07, 1.1]]])
        return (
            lambda m: tf_stn.projective_resampler(images, m, (4, 3), interpolation="cubic"),
            tf.constant(matrix),
            tf.constant(rng.normal(size=matrix.shape)),
        )
    theta = np.array([[0.91, 0.13, 0.05, -0.17, 0.83, 0.02]])
    return (
        lambda theta: tf_stn.affine_resampler(images, theta, (4, 3), interpolation="cubic"),
        tf.constant(theta),
        tf.constant(rng.normal(size=theta.shape)),
    )


@pytest.fixture(params=["eager", "graph"])
def compiled(request):
    return (lambda function: function) if request.param == "eager" else tf.function


@pytest.mark.parametrize("shape", [[None, 6], None], ids=str)
def test_of_affine_resampler_needs_no_known_shape(shape):
    image = tf.reshape(tf.range(12.0), [1, 3, 4, 1])
    theta = tf.constant([[0.9, 0.0, 0.0, 0.0, 0.9, 0.1]])

    def along_ones(theta):
        return derivative(
            lambda theta: tf_stn.affine_resampler(image, theta), theta, tf.ones_like(theta)
        )

    signature = [tf.TensorSpec(shape, tf.float32)]
    in_graph = tf.function(along_ones, input_signature=signature)(theta)
    np.testing.assert_allclose(in_graph, along_ones(theta), rtol=1e-6)


def test_is_the_derivative(problem, compiled):
    function, point, direction = problem
    found = compiled(derivative)(function, point, direction)
    expected = difference(function, point, direction)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@SLOW_IF_PORTABLE
def test_of_a_gradient_is_a_product_with_the_hessian(problem, compiled):
    function, point, direction = problem

    def gradient(point):
        with tf.GradientTape() as tape:
            tape.watch(point)
            loss = tf.reduce_sum(function(point) ** 2)
        return tape.gradient(loss, point)

    found = compiled(derivative)(gradient, point, direction)
    expected = difference(gradient, point, direction)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@SLOW_IF_PORTABLE
def test_of_itself_is_the_second_derivative(problem, compiled):
    function, point, direction = problem

    def first(point):
        return derivative(function, point, direction)

    found = compiled(derivative)(first, point, direction)
    expected = difference(first, point, direction)
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
