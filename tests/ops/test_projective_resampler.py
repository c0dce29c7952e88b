"""The projective resampler: points that are divided where they are read, and never stored."""

import functools

import numpy as np
import pytest
import tensorflow as tf
from problems import MODES, RANKS

import tf_stn
from tf_stn import projective_resampler, resampler
from tf_stn._grids import projective_grid
from tf_stn._library import ops

ALL_RANKS = pytest.mark.parametrize("rank", RANKS.values(), ids=RANKS)
# Sides of images, and of an output whose lines are longer than a block of points.
IMAGE = {2: (6, 9), 3: (4, 5, 6)}
OUTPUT = {2: (5, 71), 3: (3, 4, 7)}
TOLERANCE = {"float64": 1e-11, "float32": 2e-4}


def problem(rng, rank, dtype="float64", images=2, shape=(2,)):
    """Returns images and matrices in pixels, which show about the whole of an image."""
    data = tf.constant(rng.normal(size=[images, *IMAGE[rank], 2]), dtype)
    scale = np.array(IMAGE[rank][::-1]) / OUTPUT[rank][::-1]
    matrix = np.broadcast_to(np.diag([*scale, 1.0]), [*shape, rank + 1, rank + 1]).copy()
    matrix[..., :rank, :rank] += rng.uniform(-0.03, 0.03, size=[*shape, rank, rank])
    matrix[..., rank] += rng.uniform(-0.3, 0.3, size=[*shape, rank + 1])
    matrix[..., rank, :rank] = rng.uniform(-0.004, 0.004, size=[*shape, rank])
    return data, tf.constant(matrix, "float64" if dtype == "float64" else "float32")


def by_op(rank, **modes):
    return lambda data, matrix: projective_resampler(
        data, matrix, OUTPUT[rank], units="pixels", **modes
    )


def by_grid(rank, **modes):
    """The same with a grid in memory."""
    return lambda data, matrix: resampler(
        data, projective_grid(matrix, OUTPUT[rank], rank), **modes
    )


def with_gradients(function, data, matrix, order):
    """Returns samples and their gradients up to an order, in both arguments."""
    with tf.GradientTape() as tape:
        tape.watch([data, matrix])
        if order == 1:
            results = [function(data, matrix)]
        else:
            results = with_gradients(function, data, matrix, order - 1)
        loss = tf.add_n([tf.reduce_mean(result**2) for result in results])
    return [*results, *tape.gradient(loss, [data, matrix])]


def assert_near(results, expected, tolerance):
    for i, (result, want) in enumerate(zip(results, expected, strict=True)):
        assert (result.dtype, result.shape) == (want.dtype, want.shape), i
        scale = max(1.0, float(np.max(np.abs(want))))
        np.testing.assert_allclose(result, want, rtol=0, atol=tolerance * scale, err_msg=str(i))


@ALL_RANKS
@pytest.mark.parametrize("order", [1, 2])
def test_equals_the_resampler_at_the_points_of_a_grid(rng, rank, order):
    data, matrix = problem(rng, rank)
    for interpolation, padding in MODES if order == 1 else MODES[-2:]:
        modes = {"interpolation": interpolation, "padding": padding}
        results, expected = (
            with_gradients(form(rank, **modes), data, matrix, order) for form in (by_op, by_grid)
        )
        assert_near(results, expected, TOLERANCE["float64"])


def test_gradients_of_the_third_order_are_those_of_a_grid(rng):
    data, matrix = problem(rng, 2)
    modes = {"interpolation": "cubic", "fill_value": 1.5}
    results, expected = (
        with_gradients(form(2, **modes), data, matrix, 3) for form in (by_op, by_grid)
    )
    assert_near(results, expected, 1e-9)


@pytest.mark.parametrize("images, shape", [(1, (3,)), (3, (1,)), (2, (2, 4))], ids=str)
def test_one_goes_with_each_of_the_others_and_an_image_may_have_several(rng, images, shape):
    data, matrix = problem(rng, 2, "float32", images, shape)
    results, expected = (
        with_gradients(form(2, fill_value=[1.0, -2.0]), data, matrix, 1)
        for form in (by_op, by_grid)
    )
    assert_near(results, expected, TOLERANCE["float32"])


@pytest.mark.parametrize("padding", ["zeros", "border", "wrap"])
def test_lines_that_cross_infinity_and_bands_of_large_images(rng, padding):
    """Bands of an image look for the columns of each line that lie in them."""
    data = tf.constant(rng.normal(size=[2, 200, 300, 2]))
    straight = [[1.1, 0.1, -20.0], [0.05, 0.9, 10.0], [0.0013, -0.0007, 1.0]]
    crossing = [[0.5, 0.2, -40.0], [0.3, -0.4, 9.0], [-0.01, 0.002, 1.503]]
    matrix = np.array([straight, crossing])
    # So that no coordinate is an integer, where slopes jump; and no divisor nearer to zero.
    matrix[:, :2] += rng.uniform(-1e-3, 1e-3, size=[2, 2, 3])
    size = (220, 310)
    forms = (
        lambda d, m: projective_resampler(d, m, size, units="pixels", padding=padding),
        lambda d, m: resampler(d, projective_grid(m, size, 2), padding=padding),
    )
    results, expected = (with_gradients(form, data, tf.constant(matrix), 1) for form in forms)
    # Near infinity, coordinates are as large as their rounding.
    assert_near(results[:2], expected[:2], 1e-6)
    for of_matrix, want in zip(results[2], expected[2], strict=True):
        np.testing.assert_allclose(of_matrix, want, rtol=1e-5)


def test_gradient_of_the_matrix_is_summed_in_double(rng):
    """Of a million points in float32 it is that of float64, but for the rounding of each point."""
    side = 1000
    data = rng.normal(size=[1, 9, 9, 1]).astype(np.float32)
    matrix = np.array([[[8e-3, 1e-4, 0.1], [-1e-4, 8e-3, 0.2], [1e-5, 2e-5, 1.0]]], np.float32)
    gradients = []
    for dtype in ("float32", "float64"):
        inputs = [tf.constant(data, dtype), tf.constant(matrix, dtype)]
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            output = projective_resampler(
                *inputs, (side, side), units="pixels", interpolation="cubic", padding="border"
            )
            loss = tf.reduce_sum(output)
        gradients.append(tape.gradient(loss, inputs[1]).numpy())
    single, double = gradients
    scale = np.abs(double).max(axis=-1, keepdims=True)
    np.testing.assert_allclose(single / scale, double / scale, rtol=0, atol=2e-5)


def test_no_grid_is_stored_for_samples_and_their_gradients():
    def gradients(data, matrix):
        return with_gradients(by_op(2), data, matrix, 1)

    specs = [tf.TensorSpec([1, 6, 9, 2]), tf.TensorSpec([1, 3, 3])]
    graph = tf.function(gradients, input_signature=specs).get_concrete_function().graph
    ours = {op.type for op in graph.get_operations() if op.type.startswith("TfStn>")}
    assert ours == {"TfStn>ProjectiveResampler", "TfStn>ProjectiveResamplerGrad"}


@pytest.mark.parametrize("divisor", [[0.0, 0.0, 0.0], [0.0, 0.0, np.nan], [0.0, 0.0, np.inf]])
def test_matrices_that_show_nothing_do_so_as_with_a_grid(rng, divisor):
    data, matrix = problem(rng, 2, shape=(1,))
    matrix = tf.concat([matrix[:, :2], np.array([[divisor]])], axis=1)
    np.testing.assert_array_equal(by_op(2)(data, matrix), by_grid(2)(data, matrix))


@pytest.mark.parametrize("portable", [False, True], ids=["compiled", "portable"])
@pytest.mark.parametrize(
    "data, matrix, message",
    [
        ((1, 4, 5, 1), (1, 2, 3), r"`matrix` must have shape \[batch.*3, 3\].*received"),
        ((1, 4, 5, 1), (1, 4, 4), r"`matrix` must have shape \[batch.*3, 3\].*received"),
        ((1, 4, 5, 1), (3, 3), r"`matrix` must have shape \[batch.*3, 3\].*received"),
        ((3, 4, 5, 1), (2, 3, 3), "must have the same batch size, or one of them 1"),
        ((1, 0, 5, 1), (1, 3, 3), "`data` must have a height and a width of at least 1"),
    ],
    ids=["affine", "of volumes", "no batch", "batches", "no pixels"],
)
def test_shapes_that_do_not_go_together_are_refused_by_name(data, matrix, message, portable):
    def sample(data, matrix):
        if not portable:
            return projective_resampler(data, matrix)
        with tf_stn.portable():
            return projective_resampler(data, matrix)

    for call in (sample, tf.function(sample)):
        with pytest.raises((ValueError, tf.errors.InvalidArgumentError), match=message):
            call(tf.zeros(data), tf.zeros(matrix))


def test_the_op_refuses_what_is_not_square_by_name():
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"`matrix` must have shape \[batch"):
        ops.tf_stn_projective_resampler(tf.zeros([1, 4, 5, 1]), tf.zeros([1, 2, 3]), [4, 5], [])


@ALL_RANKS
def test_portable_implementation_gives_the_same(rng, rank):
    data, matrix = problem(rng, rank)
    expected = with_gradients(by_op(rank), data, matrix, 2)
    with tf_stn.portable():
        results = with_gradients(by_op(rank), data, matrix, 2)
    assert_near(results, expected, 1e-10)


def test_layers_of_homographies_store_no_grid():
    layer = tf_stn.layers.Transform("projective")
    call = tf.function(functools.partial(layer.__call__))
    specs = [tf.TensorSpec([2, 6, 7, 1]), tf.TensorSpec([2, 8])]
    graph = call.get_concrete_function(specs).graph
    types = {op.type for op in graph.get_operations()}
    assert "TfStn>ProjectiveResampler" in types
    assert "TfStn>Resampler" not in types
