"""What lies outside the image, where it is not zero: samples there, and its gradient."""

import numpy as np
import pytest
import tensorflow as tf

from tf_stn import affine_resampler, resampler
from tf_stn._library import ops

NAN, INF = float("nan"), float("inf")
INTERPOLATIONS = ("nearest", "linear", "cubic")


def gradients(function, *inputs):
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        output = function(*inputs)
    return tape.gradient(output, inputs)


@pytest.fixture
def images(rng):
    return tf.constant(rng.normal(size=[2, 6, 7, 3]), tf.float32)


@pytest.fixture
def warp(rng):
    return tf.constant(rng.uniform(-3, 9, size=[2, 40, 2]), tf.float32)


@pytest.mark.parametrize("graph", [False, True], ids=["eager", "graph"])
@pytest.mark.parametrize("sample", [resampler, affine_resampler], ids=lambda f: f.__name__)
def test_fill_value_may_be_a_constant_in_gradients_of_every_order(images, warp, sample, graph):
    points = warp if sample is resampler else tf.tile(2 * tf.eye(2, 3)[None], [2, 1, 1])

    def first(data, points):
        return tf.reduce_sum(sample(data, points, interpolation="cubic", fill_value=2.0) ** 2)

    def second(data, points):
        return sum(tf.reduce_sum(g**2) for g in gradients(first, data, points))

    def third(data, points):
        return sum(tf.reduce_sum(g**2) for g in gradients(second, data, points))

    for function in (first, second, third):
        run = tf.function(gradients) if graph else gradients
        for gradient in run(function, images, points):
            assert np.count_nonzero(gradient) > 0


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("fill", [NAN, -INF, -1e9], ids=str)
def test_fill_value_leaves_points_that_do_not_reach_it_alone(images, rng, interpolation, fill):
    inside = tf.constant(rng.uniform(1.1, 3.9, size=[2, 40, 2]), tf.float32)

    def results(fill_value):
        def first(data, warp):
            return tf.reduce_sum(resampler(data, warp, interpolation, fill_value=fill_value) ** 2)

        def second(data, warp):
            return tf.reduce_sum(gradients(first, data, warp)[1] ** 2)

        samples = resampler(images, inside, interpolation, fill_value=fill_value)
        return [samples, *gradients(first, images, inside), *gradients(second, images, inside)]

    for result, expected in zip(results(fill), results(0.0), strict=True):
        np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("column", [0.0, 6.0], ids=["first", "last"])
def test_fill_value_of_weight_zero_is_not_read(images, rng, interpolation, column):
    rows = rng.uniform(1.1, 3.9, size=[2, 500])
    warp = tf.constant(np.stack([np.full_like(rows, column), rows], axis=-1), tf.float32)

    def results(fill_value):
        def sample(warp):
            return resampler(images, warp, interpolation, fill_value=fill_value)

        return sample(warp), gradients(sample, warp)[0][..., 1]

    for result, expected in zip(results(INF), results(0.0), strict=True):
        np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("fill_type", [tf.float32, tf.int32], ids=lambda t: t.name)
@pytest.mark.parametrize("fill", [2, [1, 2, 3]], ids=["number", "channels"])
def test_fill_value_is_a_number_or_a_pixel(run, images, fill, fill_type):
    outside = run(
        lambda data, value: resampler(data, tf.fill([2, 1, 2], -5.0), fill_value=value),
        images,
        tf.constant(fill, fill_type),
    )
    np.testing.assert_array_equal(outside[:, 0], np.broadcast_to(np.float32(fill), [2, 3]))


def test_length_of_fill_value_may_be_unknown_in_a_graph(images, warp):
    @tf.function(input_signature=[tf.TensorSpec([None])])
    def sample(fill_value):
        return resampler(images, warp, fill_value=fill_value)

    expected = resampler(images, warp, fill_value=[1.0, 2.0, 3.0])
    np.testing.assert_array_equal(sample(tf.constant([1.0, 2.0, 3.0])), expected)
    with pytest.raises(tf.errors.InvalidArgumentError, match="`fill_value` must have shape"):
        sample(tf.constant([1.0, 2.0]))


@pytest.mark.parametrize(
    "zero", [0, 0.0, np.float32(0), np.int64(0)], ids=lambda z: type(z).__name__
)
def test_zero_goes_with_every_padding(images, warp, zero):
    expected = resampler(images, warp, padding="wrap")
    np.testing.assert_array_equal(
        resampler(images, warp, padding="wrap", fill_value=zero), expected
    )


@pytest.mark.parametrize("dtype", [tf.float16, tf.bfloat16], ids=lambda t: t.name)
def test_gradient_of_fill_value_is_summed_in_float32(dtype):
    """A half-precision sum of ones would end at 2048, or at 256."""
    data, warp = tf.ones([1, 2, 2, 1], dtype), tf.fill([1, 8192, 2], -9.0)
    (gradient,) = gradients(
        lambda fill: resampler(data, warp, fill_value=fill), tf.constant([1.0], dtype)
    )
    assert gradient == 8192


def test_gradient_of_fill_value_without_images_is_zero():
    data, warp = tf.ones([0, 0, 0, 2]), tf.zeros([1, 5, 2])
    (gradient,) = gradients(lambda fill: resampler(data, warp, fill_value=fill), tf.ones([2]))
    np.testing.assert_array_equal(gradient, [0, 0])


@pytest.mark.parametrize(
    ("count", "padding", "received"),
    [(2, "zeros", "received 2"), (1, "wrap", "received 1 with another padding")],
    ids=["two of them", "another padding"],
)
def test_raw_op_says_what_goes_with_fill_value(run, images, warp, count, padding, received):
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError), match=received):
        run(
            lambda data, warp: ops.tf_stn_resampler(
                data, warp, [tf.ones([3])] * count, padding=padding
            ),
            images,
            warp,
        )
