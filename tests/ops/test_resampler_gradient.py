"""Gradients in data and in warp: finite differences, the reference, kinks, adjoints."""

import numpy as np
import pytest
import reference
import tensorflow as tf
from implementations import BOTH, COMPILED, SLOW_IF_PORTABLE

from tf_stn import resampler
from tf_stn._resampler import INTERPOLATIONS, PADDINGS

pytestmark = BOTH

STEP = 1e-3  # Exact for a function linear in each coordinate, bar rounding.
HEIGHT, WIDTH = 4, 5
HALF_ACCURACY = {"float16": 2e-3, "bfloat16": 2e-2, "float32": 1e-5}


def points(region, rng):
    """Eight points no closer than 10 steps to a kink, that is, to an integer."""
    low, high = {"inside": (0, 3), "edge": (-1, 0), "outside": (-9, -1)}[region]
    cell = rng.integers(low, high, size=[2, 8, 2])
    return cell + rng.uniform(0.01, 0.99, size=cell.shape)


def gradients(data, warp, grad_output, interpolation="linear", padding="zeros"):
    with tf.GradientTape() as tape:
        tape.watch([data, warp])
        output = resampler(data, warp, interpolation=interpolation, padding=padding)
    return tape.gradient(output, [data, warp], grad_output)


@SLOW_IF_PORTABLE
@pytest.mark.parametrize("channels", [1, 3, 8])
@pytest.mark.parametrize("region", ["inside", "edge", "outside"])
def test_gradient_equals_central_differences(rng, region, channels):
    data = tf.constant(rng.normal(size=[2, HEIGHT, WIDTH, channels]))
    warp = tf.constant(points(region, rng))
    analytic, numeric = tf.test.compute_gradient(resampler, [data, warp], delta=STEP)
    for name, a, n in zip(("data", "warp"), analytic, numeric):
        np.testing.assert_allclose(a, n, rtol=0, atol=1e-9, err_msg=name)


@COMPILED
def test_gradient_check_can_fail(rng):
    """A check that accepts a gradient one part in a thousand off is no check."""

    @tf.custom_gradient
    def wrong(data, warp):
        return resampler(data, warp), lambda g: [1.001 * x for x in gradients(data, warp, g)]

    data = tf.constant(rng.normal(size=[1, HEIGHT, WIDTH, 1]))
    warp = tf.constant(points("inside", rng)[:1])
    analytic, numeric = tf.test.compute_gradient(wrong, [data, warp], delta=STEP)
    for a, n in zip(analytic, numeric):
        with pytest.raises(AssertionError):
            np.testing.assert_allclose(a, n, rtol=0, atol=1e-9)


@pytest.mark.parametrize("point_axes", [(), (1,), (6,), (2, 3)], ids=str)
def test_gradient_equals_the_reference(rng, run, point_axes):
    data = rng.normal(size=[2, HEIGHT, WIDTH, 3])
    warp = rng.uniform(-2, 6, [2, *point_axes, 2])
    grad_output = rng.normal(size=[2, *point_axes, 3])
    for gradient, expected in zip(
        run(gradients, data, warp, grad_output),
        reference.resample_gradients(data, warp, grad_output),
    ):
        np.testing.assert_allclose(gradient, expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_gradient_of_every_mode_equals_the_reference(rng, interpolation, padding):
    data = tf.constant(rng.normal(size=[2, HEIGHT, WIDTH, 3]))
    warp = tf.constant(rng.uniform(-2, 6, [2, 20, 2]))
    inputs = (data, warp, tf.constant(rng.normal(size=[2, 20, 3])), interpolation, padding)
    for gradient, expected in zip(gradients(*inputs), reference.resample_gradients(*inputs)):
        np.testing.assert_allclose(gradient, expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("channels", [1, 2, 7, 8, 9, 33])
@pytest.mark.parametrize("dtype", HALF_ACCURACY)
def test_gradient_in_low_precision_equals_float64(rng, dtype, channels):
    data = tf.cast(rng.uniform(-1, 1, [2, HEIGHT, WIDTH, channels]), dtype)
    warp = tf.constant(rng.uniform(-2, 6, [2, 30, 2]), tf.float32)
    grad_output = tf.cast(rng.uniform(-1, 1, [2, 30, channels]), dtype)
    low = gradients(data, warp, grad_output)
    assert [gradient.dtype for gradient in low] == [data.dtype, tf.float32]
    high = gradients(*(tf.cast(x, tf.float64) for x in (data, warp, grad_output)))
    # grad_data is rounded once to its type; grad_warp is float32 throughout.
    for gradient, expected, accuracy in zip(low, high, (HALF_ACCURACY[dtype], 1e-5)):
        scale = tf.reduce_max(tf.abs(expected))
        np.testing.assert_allclose(
            tf.cast(gradient, tf.float64) / scale, expected / scale, rtol=0, atol=accuracy
        )


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_gradient_of_half_data_is_summed_in_float32(dtype):
    """4,096 times 1 stops at 2,048 in float16 and at 256 in bfloat16."""
    data, warp = tf.zeros([1, 1, 1, 1], dtype), tf.zeros([1, 4096, 2])
    grad_data, _ = gradients(data, warp, tf.ones([1, 4096, 1], dtype))
    assert grad_data[0, 0, 0, 0] == 4096


@pytest.mark.parametrize("dtype, accuracy", [("float64", 1e-13), ("float32", 1e-5)])
def test_gradient_of_data_is_the_adjoint_of_sampling(rng, dtype, accuracy):
    """<A x, y> = <x, A' y> for the linear map A that `warp` stands for."""
    x = tf.cast(rng.normal(size=[2, 17, 19, 5]), dtype)
    warp = tf.cast(rng.uniform(-3, 22, [2, 400, 2]), dtype)
    y = tf.cast(rng.normal(size=[2, 400, 5]), dtype)
    grad_data, _ = gradients(x, warp, y)
    left = tf.reduce_sum(tf.cast(resampler(x, warp) * y, tf.float64))
    right = tf.reduce_sum(tf.cast(x * grad_data, tf.float64))
    np.testing.assert_allclose(left, right, rtol=0, atol=accuracy * float(tf.norm(x) * tf.norm(y)))


@pytest.mark.parametrize(
    "x, expected",
    [(0.0, 2.0), (1.0, 4.0), (2.0, -7.0), (-1.0, 1.0), (3.0, 0.0), (-2.0, 0.0)],
    ids=["first pixel", "middle", "last pixel", "one before", "one after", "two before"],
)
def test_gradient_on_a_pixel_centre_is_the_right_hand_one(x, expected):
    data = tf.constant([1.0, 3.0, 7.0], tf.float64)
    on_x, on_y = tf.reshape(data, [1, 1, 3, 1]), tf.reshape(data, [1, 3, 1, 1])
    one = tf.ones([1, 1, 1], tf.float64)
    assert gradients(on_x, tf.constant([[[x, 0.0]]], tf.float64), one)[1][0, 0, 0] == expected
    assert gradients(on_y, tf.constant([[[0.0, x]]], tf.float64), one)[1][0, 0, 1] == expected


def test_gradient_of_a_constant_image_vanishes_inside(rng):
    data = tf.fill([1, HEIGHT, WIDTH, 3], 0.1)
    warp = tf.constant(rng.uniform(0, 3, [1, 50, 2]), tf.float32)
    grad_output = tf.constant(rng.normal(size=[1, 50, 3]), tf.float32)
    np.testing.assert_allclose(gradients(data, warp, grad_output)[1], 0, atol=1e-7)


def test_points_that_share_a_pixel_add_up():
    data, warp = tf.zeros([1, 3, 3, 2]), tf.ones([1, 5, 2])
    grad_output = tf.reshape(tf.range(10.0), [1, 5, 2])
    expected = np.zeros([1, 3, 3, 2])
    expected[0, 1, 1] = [20, 25]
    np.testing.assert_array_equal(gradients(data, warp, grad_output)[0], expected)
