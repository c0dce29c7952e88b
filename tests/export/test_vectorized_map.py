"""`tf.vectorized_map` and jacobians call each op once for all iterations, and compute the same."""

import itertools
import sys

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.ops.parallel_for import pfor

import tf_stn
from tf_stn import _vectorized_map
from tf_stn._keras import keras

ITERATIONS = 4


@pytest.fixture(autouse=True)
def loops_fail(monkeypatch):
    """Lets no test pass whose ops run in a loop, which TensorFlow only warns of."""

    def fail(pfor_input, **kwargs):
        raise AssertionError(f"{pfor_input.op_type} runs in a loop")

    monkeypatch.setattr(pfor, "_fallback_converter", fail)


def by_warp(data, warp):
    return tf_stn.resampler(data, warp, interpolation="cubic", padding="zeros", fill_value=0.5)


def by_theta(data, theta):
    return tf_stn.affine_resampler(data, theta, (3, 4), padding="reflect")


def by_field(data, field):
    return tf_stn.displacement_resampler(data, field, interpolation="cubic", fill_value=0.5)


def by_homography(data, matrix):
    return tf_stn.projective_resampler(data, matrix, (3, 4), padding="reflect")


FUNCTIONS = {
    "resampler": by_warp,
    "displacement_resampler": by_field,
    "affine_resampler": by_theta,
    "projective_resampler": by_homography,
}
# Batches of images and of points in one iteration, and which of the two differ between iterations.
STACKED = {"images": (True, False), "points": (False, True), "both": (True, True)}
BATCHES = list(itertools.product([1, 3], repeat=2))


def operands(name, images, points, stacked, dtype=tf.float64, seed=0):
    """Returns images and points, which have a first axis of iterations where they are stacked."""
    rng = np.random.default_rng(seed)
    first = [[ITERATIONS] if each else [] for each in stacked]
    data = rng.normal(size=[*first[0], images, 5, 6, 2])
    if name == "resampler":
        second = rng.uniform(-1, 6, size=[*first[1], points, 7, 2])
    elif name == "displacement_resampler":
        second = rng.uniform(-2, 2, size=[*first[1], points, 3, 4, 2])
    elif name == "projective_resampler":
        second = np.eye(3) + rng.normal(0, 0.1, size=[*first[1], points, 3, 3])
    else:
        second = np.eye(2, 3) + rng.normal(0, 0.2, size=[*first[1], points, 2, 3])
    return tf.constant(data, dtype), tf.constant(second, dtype)


def with_gradients(function, order=1):
    """Returns a function that also returns gradients, of the order given, in both arguments."""

    def call(*arguments):
        with tf.GradientTape() as tape:
            tape.watch(arguments)
            if order == 1:
                outputs = [function(*arguments)]
            else:
                outputs = with_gradients(function, order - 1)(*arguments)
            loss = tf.add_n([tf.reduce_sum(output**2) for output in outputs])
        return [*outputs, *tape.gradient(loss, arguments)]

    return call


def vectorize(function, stacked):
    """Returns `function` of arguments that are stacked or the same in all iterations."""

    def call(*arguments):
        def body(mapped):
            mapped = iter(mapped)
            return function(*(next(mapped) if s else a for a, s in zip(arguments, stacked)))

        mapped = [a for a, s in zip(arguments, stacked) if s]
        return tf.vectorized_map(body, mapped, fallback_to_while_loop=False)

    return call


def one_by_one(function, stacked, arguments):
    """Returns what `vectorize` does, by a loop in Python."""
    results = [
        function(*(a[i] if s else a for a, s in zip(arguments, stacked))) for i in range(ITERATIONS)
    ]
    return [tf.stack(each) for each in zip(*results)]


def assert_equal(results, expected, tolerance=1e-13):
    for result, want in zip(results, expected, strict=True):
        scale = max(1.0, np.max(np.abs(want)))
        np.testing.assert_allclose(result, want, rtol=0, atol=tolerance * scale)


@pytest.mark.parametrize("stacked", STACKED)
@pytest.mark.parametrize(
    "name, images, points",
    [
        *(("resampler", *batches) for batches in BATCHES),
        ("displacement_resampler", 1, 3),
        ("displacement_resampler", 3, 1),
        ("affine_resampler", 1, 3),
        ("affine_resampler", 3, 1),
        ("projective_resampler", 1, 3),
    ],
)
def test_all_batches_are_mapped_as_one_by_one(name, images, points, stacked):
    function, stacked = with_gradients(FUNCTIONS[name]), STACKED[stacked]
    arguments = operands(name, images, points, stacked)
    results = vectorize(function, stacked)(*arguments)
    assert_equal(results, one_by_one(function, stacked, arguments))


# One for each way in which iterations are laid out, and a batch that is copied.
@pytest.mark.parametrize("images, points, stacked", [(1, 3, "images"), (3, 1, "both")])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_gradients_of_gradients_are_mapped(name, images, points, stacked):
    function, stacked = with_gradients(FUNCTIONS[name], order=2), STACKED[stacked]
    arguments = operands(name, images, points, stacked)
    results = vectorize(function, stacked)(*arguments)
    assert_equal(results, one_by_one(function, stacked, arguments))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_gradients_in_points_alone_share_the_images(name):
    """Which then are not copied: neither they nor copies of them are an input of a gradient op."""

    def gradients(data, points):
        with tf.GradientTape() as outer:
            outer.watch(points)
            with tf.GradientTape() as tape:
                tape.watch(points)
                output = FUNCTIONS[name](data, points)
            gradient = tape.gradient(output, points, output**2)
        return [gradient, outer.gradient(gradient, points)]

    arguments = operands(name, 3, 3, (False, True))
    mapped = tf.function(vectorize(gradients, (False, True)))
    assert_equal(mapped(*arguments), one_by_one(gradients, (False, True), arguments))
    sizes = [
        operation.inputs[0].shape.num_elements()
        for operation in mapped.get_concrete_function(*arguments).graph.get_operations()
        if operation.type.startswith("TfStn>")
    ]
    assert sizes
    assert max(sizes) == tf.size(arguments[0])


@pytest.mark.parametrize("images, points", BATCHES)
def test_unknown_sides_are_mapped(images, points):
    function, stacked = with_gradients(by_warp), (True, True)
    arguments = operands("resampler", images, points, stacked)
    signature = [tf.TensorSpec([None] * each.shape.rank, each.dtype) for each in arguments]
    mapped = tf.function(vectorize(function, stacked), input_signature=signature)
    assert_equal(mapped(*arguments), one_by_one(function, stacked, arguments))


def test_an_unknown_number_of_axes_is_mapped():
    stacked = (False, True)
    arguments = operands("resampler", 1, 3, stacked)
    signature = [tf.TensorSpec(None, each.dtype) for each in arguments]
    mapped = tf.function(vectorize(lambda *a: [by_warp(*a)], stacked), input_signature=signature)
    assert_equal(mapped(*arguments), one_by_one(lambda *a: [by_warp(*a)], stacked, arguments))


@pytest.mark.parametrize("images, points", [(0, 0), (0, 1), (1, 0)])
def test_empty_batches_are_mapped(images, points):
    function, stacked = with_gradients(by_warp), (True, True)
    arguments = operands("resampler", images, points, stacked)
    known = vectorize(function, stacked)(*arguments)
    signature = [tf.TensorSpec([None] * each.shape.rank, each.dtype) for each in arguments]
    unknown = tf.function(vectorize(function, stacked), input_signature=signature)(*arguments)
    for results in (known, unknown):
        assert [result.shape for result in results] == [
            [ITERATIONS, 0, 7, 2],
            *(each.shape for each in arguments),
        ]
        assert not any(np.any(result) for result in results)


def test_volumes_of_half_types_are_mapped(rng):
    data = tf.constant(rng.normal(size=[ITERATIONS, 2, 3, 4, 5, 2]), tf.float16)
    warp = tf.constant(rng.uniform(-1, 4, size=[2, 6, 3]), tf.float32)

    def sample(data, warp):
        with tf.GradientTape() as tape:
            tape.watch(data)
            output = tf_stn.resampler(data, warp, interpolation="nearest", padding="wrap")
        return [output, tape.gradient(output, data)]

    results = vectorize(sample, (True, False))(data, warp)
    assert_equal(results, one_by_one(sample, (True, False), (data, warp)), tolerance=0)


def test_loops_inside_loops_are_mapped():
    data, warp = operands("resampler", 1, 1, (True, True))

    def outer(data):
        return vectorize(by_warp, (False, True))(data, warp)

    result = vectorize(outer, (True,))(data)
    expected = [[by_warp(d, w) for w in tf.unstack(warp)] for d in tf.unstack(data)]
    np.testing.assert_allclose(result, expected, rtol=0, atol=1e-13)


def test_a_mapped_function_has_gradients():
    stacked = (False, True)
    arguments = operands("affine_resampler", 3, 3, stacked)

    def gradient(map_):
        with tf.GradientTape() as tape:
            tape.watch(arguments)
            loss = tf.reduce_sum(map_() ** 2)
        return tape.gradient(loss, arguments)

    function = lambda *a: [by_theta(*a)]  # noqa: E731
    results = gradient(lambda: vectorize(by_theta, stacked)(*arguments))
    assert_equal(results, gradient(lambda: one_by_one(function, stacked, arguments)[0]))


def test_forward_mode_is_mapped():
    stacked = (True, True)
    arguments = operands("affine_resampler", 1, 1, stacked)

    def derivative(data, theta):
        with tf.autodiff.ForwardAccumulator([data, theta], [data**2, theta**2]) as accumulator:
            output = by_theta(data, theta)
        return [accumulator.jvp(output)]

    results = vectorize(derivative, stacked)(*arguments)
    assert_equal(results, one_by_one(derivative, stacked, arguments))


@pytest.mark.parametrize("images, points", [(1, 1), (2, 2), (1, 2), (2, 1)])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_jacobians_have_the_bits_of_a_loop(name, images, points):
    arguments = operands(name, images, points, (False, False), tf.float32)

    @tf.function
    def jacobians(use_pfor):
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(arguments)
            # Gradients that are not one-hot, so that there are sums to be rounded.
            output = FUNCTIONS[name](*arguments)
            output = tf.reduce_sum(output * tf.math.cumsum(output, axis=1), axis=-1)
        return tape.jacobian(output, arguments, experimental_use_pfor=use_pfor)

    for result, expected in zip(jacobians(True), jacobians(False), strict=True):
        assert np.any(expected)
        np.testing.assert_array_equal(result, expected)


def test_batch_jacobians_are_those_of_each_item():
    data, theta = operands("affine_resampler", 3, 3, (False, False))

    def jacobian(data, theta, name):
        with tf.GradientTape() as tape:
            tape.watch(theta)
            output = by_theta(data, theta)
        return getattr(tape, name)(output, theta)

    result = jacobian(data, theta, "batch_jacobian")
    for i in range(3):
        one = jacobian(data[i : i + 1], theta[i : i + 1], "jacobian")
        np.testing.assert_allclose(result[i], one[0, ..., 0, :, :], rtol=0, atol=1e-13)


@pytest.mark.parametrize("transformation", ["rigid", "dense_displacement"])
def test_gradients_of_each_image_are_those_of_the_image_alone(transformation, rng):
    images = tf.constant(rng.random([3, 8, 9, 2], np.float32))
    net = keras.Sequential([keras.layers.Flatten()])
    if transformation == "dense_displacement":
        net = keras.layers.Conv2D(4, 3, padding="same")
    layer = tf_stn.SpatialTransformer(net, transformation)
    layer(images)
    for variable in layer.trainable_variables:
        variable.assign_add(rng.normal(0, 0.02, variable.shape))

    def gradients(image):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(layer(image[None]) ** 2)
        return tape.gradient(loss, layer.trainable_variables)

    results = tf.vectorized_map(gradients, images, fallback_to_while_loop=False)
    expected = [tf.stack(each) for each in zip(*map(gradients, images))]
    assert_equal(results, expected, tolerance=3e-5)


def test_portable_form_runs_in_no_loop_either():
    tensors = operands("affine_resampler", 1, 3, STACKED["both"])
    function = with_gradients(by_theta)
    with tf_stn.portable():
        results = tf.vectorized_map(lambda each: function(*each), tensors)
    expected = [tf.stack(each) for each in zip(*map(function, *tensors))]
    assert_equal(results, expected, tolerance=1e-12)


def test_what_has_no_batch_axis_cannot_differ_between_iterations():
    """TensorFlow then runs the op in a loop, unless that is not wanted."""
    data, warp = operands("resampler", 1, 1, (False, False))

    def sample(fill):
        return tf_stn.resampler(data, warp, fill_value=fill)

    with pytest.raises(ValueError, match="expected to be loop invariant"):
        tf.vectorized_map(sample, tf.constant([1.0, 2.0]), fallback_to_while_loop=False)


@pytest.mark.parametrize("missing", ["module", "name"])
def test_without_the_registry_of_tensorflow_there_are_no_converters(missing, monkeypatch):
    """It is private, and may go."""
    monkeypatch.setattr(pfor, "_pfor_converter_registry", {})
    if missing == "module":
        monkeypatch.setitem(sys.modules, pfor.__name__, None)
    else:
        monkeypatch.delattr(pfor, "RegisterPFor")
    _vectorized_map._register()
    assert not pfor._pfor_converter_registry


def test_converters_are_registered_once_where_the_package_is_imported_again():
    before = dict(pfor._pfor_converter_registry)
    _vectorized_map._register()
    assert pfor._pfor_converter_registry == before
    assert sum(op.startswith("TfStn>") for op in before) == len(_vectorized_map._OPS)
