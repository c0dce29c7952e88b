"""One image with many grids, many images with one grid, several θ for each, and empty batches."""

import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from implementations import BOTH, COMPILED, SLOW_IF_PORTABLE
from problems import RANKS, coordinates_of, problem

from tf_stn import affine_grid, affine_resampler, resampler
from tf_stn._pixels import DATA_TYPES

pytestmark = BOTH

ALL_RANKS = pytest.mark.parametrize("rank", RANKS.values(), ids=RANKS)
BATCHES = pytest.mark.parametrize(
    "images, grids", [(1, 5), (5, 1), (1, 1)], ids=["one image", "one grid", "one of both"]
)
MODES = pytest.mark.parametrize("modes", [("linear", "zeros"), ("cubic", "reflect")], ids="-".join)
HALF = ("float16", "bfloat16")


def transformations(rng, *shape, rank):
    """Returns θ of this shape and `[rank, rank + 1]`, around the identity."""
    return np.eye(rank, rank + 1) + rng.normal(scale=0.2, size=[*shape, rank, rank + 1])


def with_gradients(function, inputs, grad_output):
    """Returns the output, the gradients, and those of the gradients' squares."""
    with tf.GradientTape() as outer:
        outer.watch(inputs)
        with tf.GradientTape() as inner:
            inner.watch(inputs)
            output = function(*inputs)
        gradients = inner.gradient(output, inputs, grad_output)
        squares = [g**2 for g in gradients]
    return output, *gradients, *outer.gradient(squares, inputs)


def assert_equal_to_tiled(function, inputs, grad_output):
    """Holds `function` of inputs of a batch of 1 or more against the one with copies."""
    batch = max(len(x) for x in inputs)
    assert len(grad_output) == batch

    def tiled(*inputs):
        return function(*[tf.repeat(x, batch // len(x), axis=0) for x in inputs])

    found = with_gradients(function, inputs, grad_output)
    expected = with_gradients(tiled, inputs, grad_output)
    for a, b in zip(found, expected):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-11)


@SLOW_IF_PORTABLE
@ALL_RANKS
@BATCHES
@MODES
def test_output_and_gradients_equal_those_of_copies(modes, images, grids, rank):
    data, warp, grad_output, *_ = map(tf.constant, problem(rank, images, grids))
    assert_equal_to_tiled(
        lambda d, w: resampler(d, w, interpolation=modes[0], padding=modes[1]),
        [data, warp],
        grad_output,
    )


@SLOW_IF_PORTABLE
@ALL_RANKS
@BATCHES
@MODES
@pytest.mark.parametrize("several", [(), (3,), (2, 2)], ids=["one θ", "three θ", "2 x 2 θ"])
def test_several_theta_and_one_image_equal_those_of_copies(
    rng, several, modes, images, grids, rank
):
    size = (2, 3, 4)[-rank:]
    data = tf.constant(problem(rank, images)[0])
    theta = tf.constant(transformations(rng, grids, *several, rank=rank))
    shape = [max(images, grids), *several, *size, 3]
    grad_output = tf.constant(rng.normal(size=shape))

    def transform(data, theta):
        return affine_resampler(
            data, theta, size, align_corners=True, interpolation=modes[0], padding=modes[1]
        )

    output = transform(data, theta)
    assert output.shape == shape
    warp = affine_grid(theta, size, data.shape[1:-1])
    np.testing.assert_allclose(
        output, resampler(data, warp, interpolation=modes[0], padding=modes[1]), rtol=0, atol=1e-12
    )
    assert_equal_to_tiled(transform, [data, theta], grad_output)


@pytest.mark.parametrize("dtype", DATA_TYPES, ids=lambda dtype: dtype.name)
@BATCHES
def test_gradients_of_every_type_are_summed_over_the_batch(images, grids, dtype):
    data, warp, grad_output, *_ = problem(2, images, grids)
    inputs = [tf.cast(data, dtype), tf.cast(warp, coordinates_of(dtype.name))]
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        output = resampler(*inputs)
    found = tape.gradient(output, inputs, tf.cast(grad_output, dtype))
    exact = [tf.constant(data), tf.constant(warp)]
    with tf.GradientTape() as tape:
        tape.watch(exact)
        output = resampler(*exact)
    for a, b in zip(found, tape.gradient(output, exact, tf.constant(grad_output))):
        accuracy = 0.02 if dtype.name in HALF else 1e-5
        np.testing.assert_allclose(tf.cast(a, tf.float64), b, rtol=accuracy, atol=accuracy)


@SLOW_IF_PORTABLE
@BATCHES
def test_batches_may_be_known_late(rng, images, grids):
    """A graph that does not know the batches runs any of them, forward and backward."""
    data, warp, *_ = map(tf.constant, problem(2, images, grids))
    theta = tf.constant(transformations(rng, grids, rank=2))

    def warped(data, warp):
        return resampler(data, warp, interpolation="cubic")

    def transformed(data, theta):
        return affine_resampler(data, theta, (3, 3), align_corners=True, interpolation="cubic")

    for function, inputs in ((warped, [data, warp]), (transformed, [data, theta])):
        for shapes in ([[None, *x.shape[1:]] for x in inputs], [None, None]):
            signature = [tf.TensorSpec(shape, tf.float64) for shape in shapes]

            @tf.function(input_signature=signature)
            def late(a, b, function=function):
                with tf.GradientTape() as tape:
                    tape.watch([a, b])
                    output = function(a, b)
                gradients = tape.gradient(output, [a, b], tf.ones_like(output))
                return output, *gradients

            for found, expected in zip(late(*inputs), late.python_function(*inputs)):
                np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


def test_batch_of_a_graph_is_that_of_the_input_that_has_more():
    def shape(data, warp):
        signature = [tf.TensorSpec([data, 4, 5, 3]), tf.TensorSpec([warp, 7, 2])]
        function = tf.function(resampler, input_signature=signature)
        return function.get_concrete_function().output_shapes.as_list()

    assert shape(1, 6) == shape(6, 1) == shape(6, None) == shape(None, 6) == [6, 7, 3]
    assert shape(1, 1) == [1, 7, 3]
    assert shape(1, None) == shape(None, 1) == shape(None, None) == [None, 7, 3]


@ALL_RANKS
@pytest.mark.parametrize(
    "images, grids, points",
    [(0, 1, 4), (1, 0, 4), (0, 0, 4), (1, 3, 0), (3, 1, 0)],
    ids=["no image, one grid", "one image, no grid", "neither", "no points", "no shared points"],
)
def test_empty_batch_has_zero_gradients_of_both_orders(images, grids, points, rank):
    size = (2, 3, 4)[-rank:]
    data = tf.ones([images, *size, 3], tf.float64)
    warp = tf.ones([grids, points, rank], tf.float64)
    batch = 0 if 0 in (images, grids) else max(images, grids)
    for results in (
        with_gradients(lambda d, w: resampler(d, w, interpolation="cubic"), [data, warp], None),
        with_gradients(lambda d, w: resampler(d, w, fill_value=2.0), [data, warp], None),
    ):
        assert results[0].shape == [batch, points, 3]
        for gradient, x in zip(results[1:], [data, warp, data, warp]):
            np.testing.assert_array_equal(gradient, np.zeros(x.shape))
    if points:
        theta = tf.ones([grids, rank, rank + 1], tf.float64)
        results = with_gradients(lambda d, t: affine_resampler(d, t, size), [data, theta], None)
        assert results[0].shape == [batch, *size, 3]
        for gradient, x in zip(results[1:], [data, theta, data, theta]):
            np.testing.assert_array_equal(gradient, np.zeros(x.shape))


MEMORY_SCRIPT = """
import resource, tensorflow as tf, tf_stn

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # MB

image = tf.ones([1, 1024, 1024, 4])  # 16 MB; 256 copies would be 4 GB.
theta = tf.repeat(tf.constant([[[1.0, 0, 0], [0, 1, 0]]]), 256, axis=0)
tf_stn.affine_resampler(image[:, :8, :8], theta[:2], (8, 8))  # Whatever is set up once.
before = peak()
for _ in range(2):
    with tf.GradientTape() as outer:
        outer.watch([image, theta])
        with tf.GradientTape() as inner:
            inner.watch([image, theta])
            output = tf_stn.affine_resampler(image, theta, (8, 8))
            output += tf_stn.affine_resampler(image, theta[:, None], (8, 8))[:, 0]
        first = inner.gradient(output, [image, theta])
        loss = tf.reduce_sum(first[0]) + tf.reduce_sum(first[1])
    outer.gradient(loss, [image, theta])
print(peak() - before)
"""


@COMPILED
def test_no_image_is_copied_for_many_grids():
    """Gradients of both orders of 256 grids on one image take a few images, not 256."""
    result = subprocess.run(
        [sys.executable, "-c", MEMORY_SCRIPT], check=True, capture_output=True, text=True
    )
    assert float(result.stdout) < 20 * 16
