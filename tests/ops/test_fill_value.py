"""What lies outside the image, where it is not zero."""

import numpy as np
import pytest
import reference
import tensorflow as tf
from implementations import BOTH, COMPILED, SLOW_IF_PORTABLE
from problems import coordinates_of, problem

from tf_stn import affine_resampler, resampler
from tf_stn._library import ops
from tf_stn._pixels import DATA_TYPES

pytestmark = BOTH

SHAPE_ERRORS = (ValueError, tf.errors.InvalidArgumentError)
FILL = (0.5, -2.0, 0.25)


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


@SLOW_IF_PORTABLE
@pytest.mark.parametrize("dtype", DATA_TYPES, ids=lambda dtype: dtype.name)
@pytest.mark.parametrize("fill", [1.5, -1, np.float32(2), FILL, tf.constant(FILL)], ids=repr)
def test_fill_value_is_what_lies_outside(run, fill, dtype):
    data, warp, *_ = problem(2)
    inputs = [tf.cast(data, dtype), tf.cast(warp, coordinates_of(dtype.name))]
    output = run(lambda d, w: resampler(d, w, fill_value=fill), *inputs)
    expected = reference.resample(data, warp, fill_value=fill)
    accuracy = 0.02 if dtype.size == 2 else 1e-6
    np.testing.assert_allclose(tf.cast(output, tf.float64), expected, rtol=0, atol=accuracy)


def test_far_point_is_the_fill_value_exactly():
    data, fill = tf.ones([1, 3, 3, 2]), tf.constant([0.1, -7.0])
    for interpolation in ("nearest", "linear", "cubic"):
        far = [[[-9.0, 1.0], [1.0, 1e30], [np.inf, -np.inf]]]
        output = resampler(data, far, interpolation=interpolation, fill_value=fill)
        np.testing.assert_allclose(output, np.broadcast_to(fill, [1, 3, 2]), rtol=1e-6)


def test_zero_is_the_same_as_none(rng):
    data, warp, *_ = map(tf.constant, problem(2))
    np.testing.assert_array_equal(
        resampler(data, warp, fill_value=tf.zeros([3], tf.float64)), resampler(data, warp)
    )


@SLOW_IF_PORTABLE
@pytest.mark.parametrize("graph", [False, True], ids=["eager", "graph"])
@pytest.mark.parametrize("interpolation", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize("rank", [2, 3], ids=["images", "volumes"])
def test_gradients_of_both_orders_in_it_equal_the_reference(rank, interpolation, graph):
    data, warp, grad_output, *directions = problem(rank)

    def gradients(data, warp, grad_output, fill):
        with tf.GradientTape() as outer:
            outer.watch(fill)
            with tf.GradientTape() as inner:
                inner.watch([data, warp, fill])
                output = resampler(data, warp, interpolation=interpolation, fill_value=fill)
            first = inner.gradient(output, [data, warp, fill], grad_output)
        directed = [tf.constant(direction) for direction in directions]
        return first[2], outer.gradient(first[:2], fill, directed)

    inputs = (data, warp, grad_output)
    run = tf.function(gradients) if graph else gradients
    first, second = run(*map(tf.constant, (*inputs, np.array(FILL))))
    modes = {"interpolation": interpolation, "fill_value": FILL}
    expected = reference.all_gradients(*inputs, **modes)[2]
    np.testing.assert_allclose(first, expected, rtol=0, atol=1e-12)
    expected = reference.second_order(*inputs, *directions, **modes)[3]
    np.testing.assert_allclose(second, expected, rtol=0, atol=1e-12)


def test_nan_coordinate_adds_nothing_to_its_gradient():
    data, fill = tf.ones([1, 3, 3, 2]), tf.ones([2])
    for warp in ([[[np.nan, 1.0], [-9.0, 1.0]]], [[[np.nan, np.nan], [1.0, 9.0]]]):
        with tf.GradientTape() as tape:
            tape.watch(fill)
            output = resampler(data, tf.constant(warp), fill_value=fill)
        np.testing.assert_array_equal(tape.gradient(output, fill), [1.0, 1.0])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_its_gradient_of_half_data_is_summed_in_float32(dtype):
    """4,096 times 1 stops at 2,048 in float16 and at 256 in bfloat16."""
    data, fill = tf.zeros([1, 1, 1, 2], dtype), tf.ones([2], dtype)
    with tf.GradientTape() as tape:
        tape.watch(fill)
        output = resampler(data, tf.fill([1, 4096, 2], -9.0), fill_value=fill)
    np.testing.assert_array_equal(tf.cast(tape.gradient(output, fill), tf.float32), [4096, 4096])


def test_gradient_through_a_number_reaches_it():
    value = tf.Variable(2.0)
    with tf.GradientTape() as tape:
        output = resampler(tf.ones([1, 2, 2, 3]), [[[-0.25, 0.0], [9.0, 0.0]]], fill_value=value)
    assert tape.gradient(output, value) == 3 * (0.25 + 1)


def test_affine_resampler_has_the_same(rng):
    data, fill = tf.constant(problem(2)[0]), tf.constant(FILL, tf.float64)
    theta = tf.constant(rng.normal(size=[2, 2, 3]))
    warp = reference.affine_grid(theta, (4, 5), (4, 5))
    with tf.GradientTape() as tape:
        tape.watch(fill)
        output = affine_resampler(data, theta, fill_value=fill)
    expected = reference.resample(data, warp, fill_value=FILL)
    np.testing.assert_allclose(output, expected, rtol=0, atol=1e-12)
    expected = reference.all_gradients(data, warp, np.ones(output.shape), fill_value=FILL)[2]
    np.testing.assert_allclose(tape.gradient(output, fill), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("padding", ["border", "reflect", "symmetric", "wrap"])
def test_other_paddings_have_nothing_to_fill(padding):
    with pytest.raises(ValueError, match=f"padding 'zeros' alone.*received padding '{padding}'"):
        resampler(
            tf.zeros([1, 2, 2, 1]),
            tf.zeros([1, 1, 2]),
            interpolation="linear",
            padding=padding,
            fill_value=1.0,
        )


@pytest.mark.parametrize("shape", [(2,), (3, 1), (1, 3)], ids=str)
def test_wrong_shape_is_refused_by_name(run, shape):
    with pytest.raises(SHAPE_ERRORS, match=r"`fill_value` must .*received"):
        run(
            lambda d, w: resampler(d, w, fill_value=tf.ones(shape)),
            tf.zeros([1, 2, 2, 3]),
            tf.zeros([1, 1, 2]),
        )


@pytest.mark.parametrize("value", ["1", 1j, tf.constant(True)], ids=repr)
def test_what_is_no_number_is_refused_by_name(value):
    with pytest.raises(TypeError, match="`fill_value` must hold real numbers, received"):
        resampler(tf.zeros([1, 2, 2, 1]), tf.zeros([1, 1, 2]), fill_value=value)


@COMPILED
def test_raw_op_refuses_two_and_other_paddings(run):
    inputs = [tf.zeros([1, 2, 2, 1]), tf.zeros([1, 1, 2]), tf.ones([1])]
    for fills, options in ((2, {}), (1, {"padding": "wrap"})):
        with pytest.raises(SHAPE_ERRORS, match="`fill_value` must be one tensor"):
            run(
                lambda d, w, f, n=fills, options=options: ops.tf_stn_resampler(
                    d, w, [f] * n, **options
                ),
                *inputs,
            )


@SLOW_IF_PORTABLE
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


@pytest.mark.parametrize("interpolation", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize("fill", [np.nan, -np.inf, -1e9], ids=str)
def test_fill_value_leaves_points_that_do_not_reach_it_alone(images, rng, interpolation, fill):
    inside = tf.constant(rng.uniform(1.1, 3.9, size=[2, 40, 2]), tf.float32)

    def results(fill_value):
        def first(data, warp):
            return tf.reduce_sum(
                resampler(data, warp, interpolation=interpolation, fill_value=fill_value) ** 2
            )

        def second(data, warp):
            return tf.reduce_sum(gradients(first, data, warp)[1] ** 2)

        samples = resampler(images, inside, interpolation=interpolation, fill_value=fill_value)
        return [samples, *gradients(first, images, inside), *gradients(second, images, inside)]

    for result, expected in zip(results(fill), results(0.0), strict=True):
        np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("interpolation", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize("column", [0.0, 6.0], ids=["first", "last"])
def test_fill_value_of_weight_zero_is_not_read(images, rng, interpolation, column):
    rows = rng.uniform(1.1, 3.9, size=[2, 500])
    warp = tf.constant(np.stack([np.full_like(rows, column), rows], axis=-1), tf.float32)

    def results(fill_value):
        def sample(warp):
            return resampler(images, warp, interpolation=interpolation, fill_value=fill_value)

        return sample(warp), gradients(sample, warp)[0][..., 1]

    for result, expected in zip(results(np.inf), results(0.0), strict=True):
        np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-4)


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


def test_gradient_of_fill_value_without_images_is_zero():
    data, warp = tf.ones([0, 0, 0, 2]), tf.zeros([1, 5, 2])
    (gradient,) = gradients(lambda fill: resampler(data, warp, fill_value=fill), tf.ones([2]))
    np.testing.assert_array_equal(gradient, [0, 0])
