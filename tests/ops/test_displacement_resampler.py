"""The displacement resampler: the resampler at pixels that are moved, which nobody stores."""

import functools

import numpy as np
import pytest
import tensorflow as tf
from problems import MODES, RANKS

import tf_stn
from tf_stn import displacement_resampler, fields, resampler
from tf_stn._library import ops
from tf_stn._pixels import DATA_TYPES

ALL_RANKS = pytest.mark.parametrize("rank", RANKS.values(), ids=RANKS)
# Sides of images, and of an output whose lines are longer than a block of points.
IMAGE = {2: (6, 9), 3: (4, 5, 6)}
OUTPUT = {2: (5, 71), 3: (3, 2, 7)}


def problem(rng, rank, dtype, images=2, fields=2):
    """Returns images and displacements, which lead anywhere in the images and around them."""
    data = tf.cast(rng.normal(size=[images, *IMAGE[rank], 3]), dtype)
    places = rng.uniform(-3, 12, size=[fields, *OUTPUT[rank], rank])
    displacement = places - tf_stn.identity_grid(OUTPUT[rank], dtype="float64")
    odd = [np.nan, np.inf, -np.inf, 1e30, -1e30, 0.0]
    displacement = displacement.numpy()
    displacement[0].reshape(-1)[: 5 * len(odd) : 5] = odd
    return data, tf.cast(displacement, "float64" if dtype == "float64" else "float32")


def by_grid(data, displacement, **modes):
    """Does the same with a grid in memory."""
    size = displacement.shape[1:-1]
    warp = tf_stn.identity_grid(size, dtype=displacement.dtype.name) + displacement
    return resampler(data, warp, **modes)


def weighted_sum(tensor):
    """Returns a sum in which no element can stand for another."""
    weights = tf.cast(tf.range(tf.size(tensor)) % 7, tensor.dtype)
    return tf.reduce_sum(tensor * tf.reshape(weights, tensor.shape))


def with_gradients(function, data, displacement, order):
    """Returns samples and their gradients up to an order, in all arguments."""
    inputs = [data, displacement]
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        if order == 1:
            results = [function(*inputs)]
        else:
            results = with_gradients(function, *inputs, order - 1)
        loss = tf.add_n([weighted_sum(tf.cast(result, tf.float64)) for result in results])
    return [*results, *tape.gradient(loss, inputs)]


def by_both(data, displacement, order, **modes):
    """Returns samples and gradients without a grid, and the same with one."""
    functions = [functools.partial(f, **modes) for f in (displacement_resampler, by_grid)]
    return [with_gradients(function, data, displacement, order) for function in functions]


def assert_same_bits(results, expected):
    for i, (result, want) in enumerate(zip(results, expected, strict=True)):
        assert (result.dtype, result.shape) == (want.dtype, want.shape), i
        both = tf.cast(result, tf.float64), tf.cast(want, tf.float64)
        np.testing.assert_array_equal(*both, err_msg=f"result {i}")


@pytest.mark.usefixtures("on_cpu")
@ALL_RANKS
@pytest.mark.parametrize("dtype", [dtype.name for dtype in DATA_TYPES])
def test_samples_and_gradients_have_the_bits_of_the_resampler(rng, rank, dtype):
    data, displacement = problem(rng, rank, dtype)
    for interpolation, padding in MODES:
        modes = {"interpolation": interpolation, "padding": padding}
        assert_same_bits(*by_both(data, displacement, 2, **modes))


@pytest.mark.usefixtures("on_cpu")
@ALL_RANKS
@pytest.mark.parametrize("images, fields", [(1, 3), (3, 1), (1, 1)])
def test_one_goes_with_each_of_the_others(rng, rank, images, fields):
    data, displacement = problem(rng, rank, "float32", images, fields)
    for modes in ({}, {"fill_value": [1.0, -2.0, 0.5], "interpolation": "cubic"}):
        assert_same_bits(*by_both(data, displacement, 1, **modes))


@pytest.mark.usefixtures("on_cpu")
def test_a_field_of_many_pixels_is_divided_among_threads(rng):
    """Bands of the image list the points that lie in them."""
    data = tf.constant(rng.normal(size=[1, 300, 400, 3]), tf.float32)
    displacement = tf.constant(rng.normal(0, 4, size=[1, 300, 400, 2]), tf.float32)
    assert_same_bits(*by_both(data, displacement, 2))


def test_gradients_of_the_third_order_are_those_of_the_resampler(rng):
    data = tf.constant(rng.normal(size=[1, 5, 6, 1]))
    displacement = tf.constant(rng.uniform(0.1, 0.9, size=[1, 4, 3, 2]))
    modes = {"interpolation": "cubic", "fill_value": 1.5}
    results, expected = by_both(data, displacement, 3, **modes)
    for result, want in zip(results, expected, strict=True):
        np.testing.assert_allclose(result, want, rtol=1e-12, atol=1e-12)


def test_no_grid_is_stored_in_any_order():
    """No op is there that could read one."""

    def gradients(data, displacement):
        return with_gradients(displacement_resampler, data, displacement, 3)

    specs = [tf.TensorSpec([1, 7, 8, 3], tf.float64), tf.TensorSpec([1, 4, 5, 2], tf.float64)]
    graph = tf.function(gradients, input_signature=specs).get_concrete_function().graph
    ours = {op.type for op in graph.get_operations() if op.type.startswith("TfStn>")}
    assert ours == {f"TfStn>DisplacementResampler{suffix}" for suffix in ("", "Grad", "GradGrad")}


def test_an_image_may_have_several_displacements(rng):
    """Through the op: the function takes one, lest a batch be mistaken for a depth."""
    data = tf.constant(rng.normal(size=[2, 6, 9, 3]))
    displacement = tf.constant(rng.normal(size=[2, 4, 5, 7, 2]))
    output = ops.tf_stn_displacement_resampler(data, displacement, [])
    assert output.shape == [2, 4, 5, 7, 3]
    for i in range(4):
        expected = displacement_resampler(data, displacement[:, i])
        np.testing.assert_array_equal(output[:, i], expected)


@pytest.mark.parametrize("portable", [False, True], ids=["compiled", "portable"])
@pytest.mark.parametrize(
    "data, displacement, message",
    [
        ((3, 4, 5, 1), (2, 4, 5, 2), "must have the same batch size, or one of them 1"),
        ((1, 4, 5, 1), (1, 3, 4, 5, 3), r"`displacement` must have shape \[batch.*, received"),
        ((1, 3, 4, 5, 1), (1, 4, 5, 2), r"`displacement` must have shape \[batch.*, received"),
        ((1, 0, 5, 1), (1, 4, 5, 2), "`data` must have a height and a width of at least 1"),
        ((4, 5, 1), (1, 4, 5, 2), r"`data` must have shape \[batch"),
    ],
    ids=["batch", "of volumes", "of images", "no pixels", "no batch"],
)
def test_shapes_that_do_not_go_together_are_refused_by_name(data, displacement, message, portable):
    def sample(data, displacement):
        if not portable:
            return displacement_resampler(data, displacement)
        with tf_stn.portable():
            return displacement_resampler(data, displacement)

    arguments = tf.zeros(data), tf.zeros(displacement)
    for call in (sample, tf.function(sample)):
        with pytest.raises((ValueError, tf.errors.InvalidArgumentError), match=message):
            call(*arguments)


@ALL_RANKS
def test_portable_implementation_gives_the_same(rng, rank):
    data, displacement = problem(rng, rank, "float64")
    finite = tf.where(tf.abs(displacement) < 1e6, displacement, 0.25)
    expected = with_gradients(displacement_resampler, data, finite, 2)
    with tf_stn.portable():
        results = with_gradients(displacement_resampler, data, finite, 2)
    for result, want in zip(results, expected, strict=True):
        np.testing.assert_allclose(result, want, rtol=1e-11, atol=1e-11)


def test_fields_and_layers_store_no_grid(rng):
    """Steps of a velocity field, and layers of fields where the output is of the image's size."""
    images = tf.constant(rng.normal(size=[2, 8, 9, 3]), tf.float32)
    field = tf.constant(rng.normal(size=[2, 8, 9, 2]), tf.float32)
    several = tf.constant(rng.normal(size=[2, 4, 8, 9, 2]), tf.float32)
    dense = tf_stn.layers.Transform(tf_stn.transformations.DenseDisplacement())
    velocity = tf_stn.layers.Transform(tf_stn.transformations.VelocityField())
    cases = {
        "exponential": (lambda: fields.exponential(field), 7),
        "inverse": (lambda: fields.inverse(field / 9), None),
        "compose": (lambda: fields.compose(field, field), 1),
        "dense": (lambda: dense([images, field]), 1),
        "several": (lambda: dense([images, several]), 1),
        "velocity": (lambda: velocity([images, field]), 8),
    }
    for name, (function, count) in cases.items():
        graph = tf.function(function).get_concrete_function().graph
        types = [op.type for op in graph.get_operations()]
        assert "TfStn>Resampler" not in types, name
        found = types.count("TfStn>DisplacementResampler")
        assert found == count or (count is None and found > 0), name
