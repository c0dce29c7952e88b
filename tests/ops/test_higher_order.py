"""Gradients of gradients, in every way that TensorFlow has to ask for them."""

import itertools

import keras
import numpy as np
import pytest
import reference
import tensorflow as tf
from problems import MODE_IDS, MODES, RANKS, assert_near, problem, smooth_problem

from tf_stn import SpatialTransformer, affine_resampler, resampler
from tf_stn._gradients import compose_second_order
from tf_stn._library import ops

ALL_MODES = pytest.mark.parametrize("modes", MODES, ids=MODE_IDS)
ALL_RANKS = pytest.mark.parametrize("rank", RANKS.values(), ids=RANKS)
ACCURACY = 1e-7
STEP = 1e-5
SMALL = {"images": 1, "grids": 1, "points": (4,), "channels": 1}


def flat(tensors):
    return tf.concat([tf.reshape(tensor, [-1]) for tensor in tensors], axis=0)


def first_order(function, inputs, weights=None):
    """Returns the gradients of <weights, function(inputs)>; an error if there is none for one."""
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        output = function(*inputs)
    gradients = tape.gradient(output, inputs, weights)
    assert all(gradient is not None for gradient in gradients)
    return gradients


def quotient(function, inputs, directions, step=STEP):
    """Returns the central difference of a function in a direction."""
    ends = [
        function(*[x + sign * step * d for x, d in zip(inputs, directions)]) for sign in (1, -1)
    ]
    return (ends[0] - ends[1]) / (2 * step)


def random_like(rng, tensors):
    return [tf.constant(rng.uniform(-1, 1, tensor.shape), tensor.dtype) for tensor in tensors]


def assert_gradient(rng, function, inputs, accuracy=ACCURACY, directions=3):
    """Holds the gradient of a function's output, weighted at random, against differences."""
    inputs = list(inputs)
    weights = random_like(rng, [function(*inputs)])[0]
    gradients = first_order(function, inputs, weights)
    for _ in range(directions):
        for i, (x, gradient) in enumerate(zip(inputs, gradients)):
            direction = [tf.zeros_like(other) for other in inputs]
            (direction[i],) = random_like(rng, [x])
            numeric = tf.reduce_sum(weights * quotient(function, inputs, direction))
            analytic = tf.reduce_sum(gradient * direction[i])
            np.testing.assert_allclose(analytic, numeric, rtol=accuracy, atol=accuracy)


def gradient_of(modes):
    """Returns the function from (data, warp, grad_output) to both gradients."""

    def function(data, warp, grad_output):
        return flat(
            first_order(
                lambda data, warp: resampler(data, warp, interpolation=modes[0], padding=modes[1]),
                [data, warp],
                grad_output,
            )
        )

    return function


@ALL_RANKS
@ALL_MODES
@pytest.mark.parametrize("order", [1, 2])
def test_jacobian_of_first_and_second_order_equals_differences(order, modes, rank):
    data, warp, grad_output, *_ = smooth_problem(rank, **SMALL)
    functions = {
        1: (
            lambda data, warp: resampler(data, warp, interpolation=modes[0], padding=modes[1]),
            [data, warp],
        ),
        2: (gradient_of(modes), [data, warp, grad_output]),
    }
    function, inputs = functions[order]
    for analytic, numeric in zip(*tf.test.compute_gradient(function, inputs, delta=STEP)):
        np.testing.assert_allclose(analytic, numeric, rtol=0, atol=ACCURACY)


@ALL_RANKS
@ALL_MODES
def test_third_order_equals_differences(rng, modes, rank):
    inputs = smooth_problem(rank, **SMALL | {"channels": 2, "grids": 2, "images": 2})
    names = dict(zip(("interpolation", "padding"), modes))

    def second_order(*inputs):
        return flat(ops.tf_stn_resampler_grad_grad(*inputs, [], **names))

    assert_gradient(rng, second_order, inputs, directions=1)


def test_gradient_check_can_fail(rng):
    """A check that accepts a gradient one part in a million off is no check."""
    data, warp, *_ = smooth_problem(2, **SMALL)

    @tf.custom_gradient
    def wrong(data, warp):
        def gradient(g):
            right = first_order(
                lambda d, w: resampler(d, w, interpolation="cubic"), [data, warp], g
            )
            return [x * (1 + 1e-6) for x in right]

        return resampler(data, warp, interpolation="cubic"), gradient

    with pytest.raises(AssertionError):
        assert_gradient(rng, wrong, [data, warp])


@ALL_RANKS
@ALL_MODES
def test_fused_second_order_equals_the_composed_one(modes, rank):
    inputs = [tf.constant(x) for x in problem(rank)]
    names = dict(zip(("interpolation", "padding"), modes))
    none = tf.zeros([0], tf.float64)
    fills = [[], [tf.constant([1.0, -2.0, 0.5], tf.float64)]][: 1 + (modes[1] == "zeros")]
    for fill, without_data, without_warp in itertools.product(fills, (False, True), (False, True)):
        directions = [none if without_data else inputs[3], none if without_warp else inputs[4]]
        fused = ops.tf_stn_resampler_grad_grad(*inputs[:3], *directions, fill, **names)
        composed = compose_second_order(*inputs[:3], *directions, fill, names)
        for a, b in zip(fused, composed):
            assert_near(a, b, "float64")


@ALL_RANKS
@ALL_MODES
def test_hessian_is_symmetric(rng, modes, rank):
    data, warp, *_ = smooth_problem(rank, **SMALL)
    sizes = [tf.size(data), tf.size(warp)]

    def gradient(parameters):
        d, w = tf.split(parameters, sizes)
        inputs = [tf.reshape(d, data.shape), tf.reshape(w, warp.shape)]
        return flat(
            first_order(
                lambda d, w: resampler(d, w, interpolation=modes[0], padding=modes[1]) ** 2, inputs
            )
        )

    parameters = flat([data, warp])
    with tf.GradientTape() as tape:
        tape.watch(parameters)
        result = gradient(parameters)
    hessian = tape.jacobian(result, parameters)
    assert np.any(hessian)
    np.testing.assert_allclose(hessian, tf.transpose(hessian), rtol=0, atol=1e-12)


@ALL_RANKS
def test_tapes_nested_as_deep_as_wanted_give_the_derivative_of_that_order(rank):
    data, warp, *_ = (x.numpy() for x in smooth_problem(rank))
    data_tensor = tf.constant(data)

    def derivative(points, coordinates):
        if not coordinates:
            return resampler(data_tensor, points, interpolation="cubic", padding="reflect")[..., 0]
        with tf.GradientTape() as tape:
            tape.watch(points)
            lower = tf.reduce_sum(derivative(points, coordinates[1:]))
        return tape.gradient(lower, points)[..., coordinates[0]]

    for coordinates in ((0,), (1, 0), (0, 0), (1, 1, 0), (0, 0, 0), (0, 1, 0, 1), (rank - 1,) * 3):
        orders = tuple(coordinates.count(d) for d in range(rank))
        right = reference.resample(data, warp, "cubic", "reflect", derivative=orders)[..., 0]
        for run in (derivative, tf.function(derivative)):
            assert_near(run(tf.constant(warp), coordinates), right, "float64", f"{coordinates}")


def test_third_order_where_not_even_the_rank_is_known_is_an_error_that_says_so(rng):
    data, warp, *_ = smooth_problem(2, **SMALL)

    def third(data, warp):
        with tf.GradientTape() as tape:
            tape.watch(warp)
            second = gradient_of(("cubic", "zeros"))
            with tf.GradientTape() as inner:
                inner.watch(warp)
                value = second(data, warp, tf.ones([1, 4, 1], tf.float64))
            value = inner.gradient(value, warp)
        return tape.gradient(value, warp)

    def with_shapes(*shapes):
        signature = [tf.TensorSpec(shape, tf.float64) for shape in shapes]
        return tf.function(third, input_signature=signature)(data, warp)

    expected = third(data, warp)
    np.testing.assert_allclose(with_shapes([None] * 4, None), expected)
    np.testing.assert_allclose(with_shapes(None, [None, None, 2]), expected)
    with pytest.raises(ValueError, match="whether `data` are images or volumes"):
        with_shapes(None, None)


@pytest.mark.parametrize("graph", [False, True], ids=["eager", "graph"])
def test_batch_jacobian_equals_differences(rng, graph):
    data, warp, *_ = smooth_problem(2, channels=2)

    def jacobians(warp):
        with tf.GradientTape() as outer:
            outer.watch(warp)
            with tf.GradientTape() as inner:
                inner.watch(warp)
                output = resampler(data, warp, interpolation="cubic")
            first = inner.batch_jacobian(output, warp)
            loss = tf.reduce_sum(first**2, axis=[1, 2, 3, 4])
        return first, outer.gradient(loss, warp)

    first, second = (tf.function(jacobians) if graph else jacobians)(warp)
    direction = random_like(rng, [warp])
    numeric = quotient(lambda warp: resampler(data, warp, interpolation="cubic"), [warp], direction)
    np.testing.assert_allclose(
        tf.einsum("bpcqd,bqd->bpc", first, direction[0]), numeric, rtol=0, atol=ACCURACY
    )
    numeric = quotient(lambda warp: tf.reduce_sum(jacobians(warp)[0] ** 2), [warp], direction)
    np.testing.assert_allclose(tf.reduce_sum(second * direction[0]), numeric, rtol=ACCURACY)


def test_graph_of_version_1_has_gradients_of_gradients():
    data, warp, *_ = (x.numpy() for x in smooth_problem(2, **SMALL))
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        inputs = [tf.constant(data), tf.constant(warp)]
        output = resampler(*inputs, interpolation="cubic")
        first = tf.gradients(output**2, inputs)
        second = tf.gradients([g**2 for g in first], inputs)
        third = tf.gradients([g**2 for g in second], inputs)
        late = session.run([first, second, third])
    inputs = [tf.constant(data), tf.constant(warp)]

    def squares(order):
        if order == 0:
            return lambda *x: [resampler(*x, interpolation="cubic") ** 2]
        lower = squares(order - 1)

        def gradient(*x):
            with tf.GradientTape() as tape:
                tape.watch(x)
                y = lower(*x)
            return [g**2 for g in tape.gradient(y, x)]

        return gradient

    for order, result in enumerate(late, start=1):
        for a, b in zip(result, squares(order)(*inputs)):
            np.testing.assert_allclose(a**2, b, rtol=1e-10, atol=1e-12)


# The transformation, as any function of an image and θ.

THETA = [[0.81, 0.13, 0.053, -0.17, 0.77, 0.031]]
THETA_OF_VOLUMES = [[0.81, 0.13, -0.07, 0.053, -0.17, 0.77, 0.11, 0.031, 0.05, -0.12, 0.83, 0.017]]


def transformation_problem(rank, rng):
    """Returns data, two θ for it, and the size of the output, with no point near a kink."""
    data = tf.constant(problem(rank, images=1, channels=2)[0])
    theta = tf.constant([THETA, THETA_OF_VOLUMES][rank - 2], tf.float64)
    theta = tf.reshape(theta, [1, 1, rank, rank + 1]) * [[[[1.0]], [[0.93]]]]
    size = (3, 2, 2)[-rank:]
    warp = reference.affine_grid(theta, size, data.shape[1:-1])
    assert np.abs(2 * warp - np.round(2 * warp)).min() > 1e-3
    return data, theta, size


@ALL_RANKS
@ALL_MODES
def test_gradients_of_theta_of_three_orders_equal_differences(rng, modes, rank):
    data, theta, size = transformation_problem(rank, rng)

    def output(data, theta):
        return affine_resampler(
            data, theta, size, align_corners=True, interpolation=modes[0], padding=modes[1]
        )

    def first(data, theta, grad_output):
        return flat(first_order(output, [data, theta], grad_output))

    (grad_output,) = random_like(rng, [output(data, theta)])
    inputs = [data, theta, grad_output]
    weights = random_like(rng, [first(*inputs)])[0]

    def second(data, theta, grad_output):
        return flat(first_order(first, [data, theta, grad_output], weights))

    assert_gradient(rng, output, inputs[:2], directions=1)
    assert_gradient(rng, first, inputs, directions=1)
    assert_gradient(rng, second, inputs, directions=1)


@ALL_RANKS
def test_gradient_of_the_fill_value_of_three_orders_equals_differences(rng, rank):
    data, theta, size = transformation_problem(rank, rng)
    points = smooth_problem(rank, images=1, grids=1, channels=2)[1]
    fill = tf.constant([0.7, -1.3], tf.float64)
    functions = [
        (
            lambda d, p, f: resampler(d, p, interpolation="cubic", fill_value=f),
            [data, points, fill],
        ),
        (
            lambda d, t, f: affine_resampler(
                d, 1.4 * t, size, align_corners=True, interpolation="cubic", fill_value=f
            ),
            [data, theta, fill],
        ),
    ]
    for function, inputs in functions:
        weights = random_like(rng, [function(*inputs)])[0]

        def first(*inputs, function=function, weights=weights):
            return flat(first_order(function, inputs, weights))

        more = random_like(rng, [first(*inputs)])[0]

        def second(*inputs, first=first, more=more):
            return flat(first_order(lambda *x: first(*x) ** 2, inputs, more))

        gradient = first_order(function, inputs, weights)[2]
        assert np.all(gradient)
        for checked in (function, first, second):
            assert_gradient(rng, checked, inputs, directions=1)


FORWARD_PROBLEMS = {
    "warp": lambda: (
        lambda d, x: resampler(d, x, interpolation="cubic"),
        smooth_problem(2, **SMALL)[:2],
    ),
    "theta": lambda: (
        lambda d, x: affine_resampler(d, x, (3, 2), align_corners=True, interpolation="cubic"),
        transformation_problem(2, None)[:2],
    ),
}


@pytest.mark.parametrize(
    "argument, graph",
    [("warp", False), ("warp", True), ("theta", True)],
    ids=["warp", "warp in a graph", "theta in a graph"],
)
def test_forward_mode_equals_differences(rng, argument, graph):
    """Alone, over and under reverse mode, and over itself.

    For theta, whose many small operations TensorFlow takes long to trace, alone and over reverse.
    """
    function, (data, x) = FORWARD_PROBLEMS[argument]()
    (direction,) = random_like(rng, [x])

    def forward(function):
        def jvp(x):
            with tf.autodiff.ForwardAccumulator(x, direction) as accumulator:
                y = function(x)
            return accumulator.jvp(y)

        return jvp

    def reverse(function):
        def gradient(x):
            with tf.GradientTape() as tape:
                tape.watch(x)
                y = tf.reduce_sum(function(x) ** 2)
            return tape.gradient(y, x)

        return gradient

    def sample(x):
        return function(data, x)

    lower_orders = [sample, reverse(sample), forward(sample)]
    for lower in lower_orders[: 3 if argument == "warp" else 2]:
        made = forward(lower)
        result = (tf.function(made) if graph else made)(x)
        numeric = quotient(lower, [x], [direction])
        np.testing.assert_allclose(result, numeric, rtol=1e-6, atol=1e-7)

    if argument == "theta":
        return
    made = reverse(forward(sample))
    gradient = (tf.function(made) if graph else made)(x)
    numeric = quotient(lambda x: tf.reduce_sum(forward(sample)(x) ** 2), [x], [direction])
    np.testing.assert_allclose(tf.reduce_sum(gradient * direction), numeric, rtol=1e-6)


def test_forward_mode_of_data_is_sampling_of_the_direction(rng):
    data, warp, _, direction, _ = smooth_problem(3)
    with tf.autodiff.ForwardAccumulator(data, direction) as accumulator:
        output = resampler(data, warp, interpolation="cubic", padding="wrap")
    expected = resampler(direction, warp, interpolation="cubic", padding="wrap")
    np.testing.assert_allclose(accumulator.jvp(output), expected, rtol=0, atol=1e-13)


def test_hessian_vector_product_is_the_same_in_every_mode(rng):
    data, warp, *_ = smooth_problem(2)
    (direction,) = random_like(rng, [warp])

    def gradient(warp):
        return first_order(lambda w: resampler(data, w, interpolation="cubic") ** 2, [warp])[0]

    with tf.GradientTape() as tape:
        tape.watch(warp)
        first = gradient(warp)
    reverse_over_reverse = tape.gradient(first, warp, direction)
    with tf.autodiff.ForwardAccumulator(warp, direction) as accumulator:
        first = gradient(warp)
    forward_over_reverse = accumulator.jvp(first)
    with tf.GradientTape() as tape:
        tape.watch(warp)
        along = tf.reduce_sum(gradient(warp) * direction)
    numeric = quotient(gradient, [warp], [direction])
    for product in (reverse_over_reverse, forward_over_reverse, tape.gradient(along, warp)):
        np.testing.assert_allclose(product, numeric, rtol=0, atol=ACCURACY * 10)


# Training that differentiates a gradient.


def critic(interpolation):
    """A critic of images that looks through a spatial transformer; all of it smooth."""
    localisation = keras.Sequential(
        [
            keras.layers.Conv2D(2, 3, activation="tanh", dtype="float64"),
            keras.layers.GlobalAveragePooling2D(dtype="float64"),
        ]
    )
    images = keras.Input([6, 5, 1], dtype="float64")
    transformer = SpatialTransformer(
        localisation, output_size=(4, 3), interpolation=interpolation, dtype="float64"
    )
    x = keras.layers.Flatten(dtype="float64")(transformer(images))
    x = keras.layers.Dense(3, activation="tanh", dtype="float64")(x)
    return keras.Model(images, keras.layers.Dense(1, dtype="float64")(x))


PENALTIES = {
    "R1": lambda gradient: tf.reduce_mean(tf.reduce_sum(gradient**2, axis=[1, 2, 3])),
    "WGAN-GP": lambda gradient: tf.reduce_mean(
        (tf.sqrt(tf.reduce_sum(gradient**2, axis=[1, 2, 3])) - 1) ** 2
    ),
}


@pytest.mark.parametrize("graph", [False, True], ids=["eager", "graph"])
@pytest.mark.parametrize("interpolation", ["linear", "cubic"])
@pytest.mark.parametrize("name", PENALTIES)
def test_gradient_penalty_reaches_every_weight(rng, name, interpolation, graph):
    model = critic(interpolation)
    images = tf.constant(rng.normal(size=[3, 6, 5, 1]))
    for weight in model.trainable_variables:
        weight.assign_add(rng.normal(scale=0.1, size=weight.shape))

    def penalty():
        with tf.GradientTape() as tape:
            tape.watch(images)
            score = model(images, training=True)
        return PENALTIES[name](tape.gradient(score, images))

    def gradients():
        with tf.GradientTape() as tape:
            loss = penalty()
        return tape.gradient(loss, model.trainable_variables)

    found = (tf.function(gradients) if graph else gradients)()
    *all_but_bias, last_bias = found
    assert last_bias is None or not np.any(last_bias)  # It does not change the gradient.
    for weight, gradient in zip(model.trainable_variables, all_but_bias):
        assert np.any(gradient), weight.path
        (direction,) = random_like(rng, [gradient])
        value, ends = weight.numpy(), []
        for sign in (1, -1):
            weight.assign(value + sign * 1e-6 * direction)
            ends.append(float(penalty()))
        weight.assign(value)
        numeric = (ends[0] - ends[1]) / 2e-6
        analytic = float(tf.reduce_sum(gradient * direction))
        np.testing.assert_allclose(analytic, numeric, rtol=1e-5, atol=1e-8, err_msg=weight.path)


@pytest.mark.parametrize("size", [(6, 5), (None, None)], ids=["known size", "unknown size"])
def test_layer_has_forward_mode_in_a_graph(rng, size):
    localisation = keras.Sequential(
        [
            keras.layers.GlobalAveragePooling2D(dtype="float64"),
            keras.layers.Dense(2, activation="tanh", dtype="float64"),
        ]
    )
    layer = SpatialTransformer(localisation, dtype="float64")
    images, direction = (tf.constant(rng.normal(size=[2, 6, 5, 1])) for _ in range(2))
    layer.build([2, *size, 1])
    for weight in layer.trainable_variables:
        weight.assign_add(rng.normal(scale=0.1, size=weight.shape))

    @tf.function(input_signature=[tf.TensorSpec([2, *size, 1], tf.float64)] * 2)
    def forward(images, direction):
        with tf.autodiff.ForwardAccumulator(images, direction) as accumulator:
            output = layer(images)
        return accumulator.jvp(output)

    numeric = quotient(layer, [images], [direction], step=1e-6)
    np.testing.assert_allclose(forward(images, direction), numeric, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("channels", [1, 3, 20])
@pytest.mark.parametrize("direction", [(np.nan, 1.0), (1.0, np.inf), (np.nan, 0.0)], ids=str)
def test_a_direction_that_is_not_finite_shows_in_its_gradients(direction, channels, rng):
    data = tf.constant(rng.normal(size=[1, 5, 6, channels]), tf.float32)
    warp = tf.constant([[[1.3, 2.2]]])
    grad_output = tf.ones([1, 1, channels])
    _, grad_warp, grad_grad_output = ops.tf_stn_resampler_grad_grad(
        data, warp, grad_output, data, tf.constant([[direction]], tf.float32), []
    )
    is_finite = np.isfinite(direction)
    # Its own component by the curvature along its axis, which is zero; the other by the mixed one.
    assert not np.isfinite(grad_warp[0, 0])[~is_finite].any()
    assert not np.isfinite(grad_warp[0, 0])[::-1][~is_finite].any()
    assert not np.isfinite(grad_grad_output).any()
