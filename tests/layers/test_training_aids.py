"""What the layer offers against transformers that go blank, diverge or never move."""

import numpy as np
import pytest
import tensorflow as tf

from tf_stn import SpatialTransformer, resampler
from tf_stn._keras import keras
from tf_stn.metrics import fraction_outside
from tf_stn.regularizers import Outside
from tf_stn.transformations import Attention, DenseDisplacement


def localisation():
    return keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(4, activation="tanh")])


def moved_layer(rng, **arguments):
    """A layer that has left its start."""
    layer = SpatialTransformer(localisation(), **arguments)
    layer.build((None, 6, 7, 2))
    layer.regression.kernel.assign(rng.normal(size=layer.regression.kernel.shape))
    return layer


@pytest.fixture
def images(rng):
    return tf.constant(rng.normal(size=[3, 6, 7, 2]), tf.float32)


def test_bounded_parameters_stay_near_their_start(rng, images):
    bound = [0.3, 0.1, 0.5, 0.1, 0.3, 0.5]
    layer = moved_layer(rng, bound=bound)
    layer.regression.kernel.assign(1e3 * layer.regression.kernel)
    moved = layer.parameters(images) - np.array([1.0, 0, 0, 0, 1, 0], np.float32)
    assert (np.abs(moved) <= np.array(bound) * 1.0001).all()
    assert (np.abs(moved) > np.array(bound) * 0.9).any()


def test_bound_leaves_the_start_and_small_moves_as_they_are(rng, images):
    layer = SpatialTransformer(localisation(), bound=0.5)
    np.testing.assert_array_equal(layer(images), images)
    layer.regression.kernel.assign(1e-3 * rng.normal(size=layer.regression.kernel.shape))
    free = SpatialTransformer(layer.localisation)
    free.build(images.shape)
    free.regression.set_weights(layer.regression.get_weights())
    np.testing.assert_allclose(layer.parameters(images), free.parameters(images), atol=1e-6)


def test_gradient_scale_changes_the_gradient_alone(rng, images):
    layer = moved_layer(rng, gradient_scale=0.1)
    plain = SpatialTransformer(layer.localisation)
    plain.build(images.shape)
    plain.regression.set_weights(layer.regression.get_weights())
    gradients = []
    for each in (layer, plain):
        weights = [*each.localisation.weights, *each.regression.weights]
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(each(images) ** 2)
        gradients.append(tape.gradient(loss, weights))
    np.testing.assert_array_equal(layer(images), plain(images))
    for scaled, full in zip(*gradients, strict=True):
        np.testing.assert_allclose(scaled, 0.1 * full, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("num_transformers", [None, 2])
def test_parameter_scale_multiplies_what_is_learned(rng, images, num_transformers):
    layer = moved_layer(rng, parameter_scale=0.1, num_transformers=num_transformers)
    plain = SpatialTransformer(layer.localisation, num_transformers=num_transformers)
    plain.build(images.shape)
    plain.regression.set_weights(layer.regression.get_weights())
    start = np.array([1.0, 0, 0, 0, 1, 0], np.float32)
    expected = start + 0.1 * (plain.parameters(images) - start)
    np.testing.assert_allclose(layer.parameters(images), expected, atol=1e-6)


def test_parameter_scale_leaves_the_start_as_it_is(images):
    layer = SpatialTransformer(localisation(), parameter_scale=0.1)
    np.testing.assert_array_equal(layer(images), images)


@pytest.mark.parametrize(
    ("optimizer", "argument", "slows"),
    [
        ("SGD", "gradient_scale", True),
        ("Adam", "gradient_scale", False),
        ("Adam", "parameter_scale", True),
    ],
)
def test_what_slows_a_transformer_depends_on_the_optimiser(rng, images, optimizer, argument, slows):
    """By 100 in one step, from where the kernel is zero and there is no other way to move."""
    moves = []
    for scale in (1.0, 0.01):
        keras.utils.set_random_seed(0)
        layer = SpatialTransformer(localisation(), **{argument: scale})
        model = keras.Sequential([keras.Input((6, 7, 2)), layer])
        model.compile(getattr(keras.optimizers, optimizer)(1e-2), "mse")
        before = layer.parameters(images)
        model.train_on_batch(images, tf.roll(images, 1, axis=1))
        moves.append(np.abs(layer.parameters(images) - before).mean())
    assert moves[0] > 0
    ratio = moves[1] / moves[0]
    assert 0.005 < ratio < 0.02 if slows else ratio > 0.9


def test_identity_penalty_pulls_where_the_bound_has_no_gradient(rng, images):
    layer = moved_layer(rng, bound=0.5, identity_penalty=1.0)
    layer.regression.kernel.assign(1e3 * layer.regression.kernel)
    with tf.GradientTape(persistent=True) as tape:
        loss = tf.reduce_sum(layer(images) ** 2)
        (penalty,) = layer.losses
    assert np.abs(tape.gradient(loss, layer.regression.bias)).max() < 1e-3
    assert np.abs(tape.gradient(penalty, layer.regression.bias)).max() > 1


def test_penalties_are_losses_of_the_layer(rng, images):
    layer = moved_layer(rng, identity_penalty=2.0, outside_penalty=3.0)
    layer(images)
    moved = layer.parameters(images) - np.array([1.0, 0, 0, 0, 1, 0], np.float32)
    warp = layer._transformation.warp(layer.parameters(images), (6, 7), (6, 7))
    expected = [2 * np.mean(moved**2), 3 * Outside()(warp, (6, 7))]
    np.testing.assert_allclose(sorted(layer.losses), sorted(expected), rtol=1e-5)
    assert SpatialTransformer(localisation())(images) is not None
    assert moved_layer(rng).losses == []


def test_outside_penalty_brings_a_window_back(rng, images):
    """It starts wholly outside, where the images give no gradient."""
    keras.utils.set_random_seed(0)
    layer = SpatialTransformer(localisation(), transformation="translation", outside_penalty=1.0)
    layer.build(images.shape)
    layer.regression.bias.assign([3.0, 0.0])
    model = keras.Sequential([keras.Input((6, 7, 2)), layer])
    model.compile(keras.optimizers.SGD(0.1), "mse")

    def outside():
        warp = layer._transformation.warp(layer.parameters(images), (6, 7), (6, 7))
        return np.mean(fraction_outside(warp, (6, 7)))

    assert outside() == 1
    model.fit(images, images, epochs=60, verbose=0)
    assert outside() < 0.9


def test_fraction_outside_is_a_metric_of_the_model(rng, images):
    layer = moved_layer(rng, track_outside=True)
    model = keras.Sequential([keras.Input((6, 7, 2)), layer])
    model.compile("sgd", "mse")
    logs = model.evaluate(images, images, return_dict=True, verbose=0)
    warp = layer._transformation.warp(layer.parameters(images), (6, 7), (6, 7))
    assert np.isclose(logs["fraction_outside"], np.mean(fraction_outside(warp, (6, 7))))


@pytest.mark.parametrize("transformation", ["affine", "projective", "dense_displacement"])
@pytest.mark.parametrize("stack", ["transformers", "channels"])
def test_several_transformers_share_a_localisation_net(rng, images, transformation, stack):
    is_field = transformation == "dense_displacement"
    net = keras.layers.Conv2D(4, 3, padding="same") if is_field else localisation()
    layer = SpatialTransformer(
        net, (4, 5), transformation=transformation, num_transformers=3, stack=stack
    )
    layer.build(images.shape)
    layer.regression.kernel.assign(0.1 * rng.normal(size=layer.regression.kernel.shape))
    output, parameters = layer(images), layer.parameters(images)
    assert output.shape == layer.compute_output_shape(images.shape)
    if stack == "channels":
        output = tf.transpose(tf.reshape(output, [3, 4, 5, 3, 2]), [0, 3, 1, 2, 4])
    for i in range(3):
        warp = layer._transformation.warp(parameters[:, i], (4, 5), (6, 7))
        np.testing.assert_allclose(output[:, i], resampler(images, warp), atol=1e-5)


def test_several_windows_start_side_by_side(rng):
    images = tf.constant(rng.normal(size=[1, 8, 8, 1]), tf.float32)
    layer = SpatialTransformer(
        localisation(), (4, 4), transformation=Attention(0.5), align_corners=False,
        num_transformers=4, start="tiled",
    )  # fmt: skip
    windows = layer(images)[0]
    tiles = [images[0, y : y + 4, x : x + 4] for y in (0, 4) for x in (0, 4)]
    np.testing.assert_allclose(windows, tiles, atol=1e-6)


def test_everything_is_saved(rng, images, tmp_path):
    layer = moved_layer(
        rng, transformation="attention", num_transformers=2, stack="channels", start="tiled",
        bound=[0.1, 0.2, 0.3], gradient_scale=0.5, parameter_scale=0.5, identity_penalty=0.1,
        outside_penalty=0.2, track_outside=True,
    )  # fmt: skip
    model = keras.Sequential([keras.Input((6, 7, 2)), layer])
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again(images), model(images))
    configs = [each.get_config() for each in (again.layers[0], layer)]
    for config in configs:
        del config["localisation"]  # Keras adds shapes to it.
    assert configs[0] == configs[1]


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_keeps_coordinates_in_float32(rng, policy):
    """On 512 pixels, where a half-precision coordinate would be off by up to a pixel."""
    images = tf.constant(rng.normal(size=[1, 512, 512, 1]), tf.float32)
    net = keras.layers.GlobalAveragePooling2D(dtype="float32")
    outputs = []
    for dtype in (policy, "float32"):
        layer = SpatialTransformer(net, dtype=dtype)
        layer.build(images.shape)
        layer.regression.bias.assign([0.9, 0.05, 0.013, -0.04, 1.02, -0.027])
        assert layer.parameters(images).dtype == tf.float32
        outputs.append(tf.cast(layer(images), tf.float32))
    rounding = 2**-7 if policy == "mixed_bfloat16" else 2**-10
    np.testing.assert_allclose(outputs[0], outputs[1], atol=6 * rounding)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_transformers": 0}, "`num_transformers` must be a positive integer"),
        ({"num_transformers": True}, "`num_transformers` must be a positive integer"),
        ({"stack": "rows"}, "`stack` must be one of"),
        ({"start": "random"}, "`start` must be one of"),
        (
            {"start": "tiled", "transformation": "projective"},
            "`transformation` must have windows",
        ),
        ({"bound": -1.0}, "`bound` must be a positive number"),
        ({"bound": [1.0, 2.0]}, "`bound` must be a positive number, or 6 of them"),
        ({"parameter_scale": 0.0}, "`parameter_scale` must be a positive number, received 0.0"),
        (
            {"gradient_scale": -1.0},
            "`gradient_scale` must be a number of at least 0, received -1.0",
        ),
        ({"identity_penalty": "1"}, "`identity_penalty` must be a number of at least 0"),
        ({"outside_penalty": np.nan}, "`outside_penalty` must be a number of at least 0"),
        ({"parameter_scale": [0.1]}, "`parameter_scale` must be a positive number"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        SpatialTransformer(localisation(), **arguments)


def test_displacement_penalties_take_fields(rng, images):
    net = keras.layers.Conv2D(4, 3, padding="same")
    layer = SpatialTransformer(
        net, transformation=DenseDisplacement(), identity_penalty=1.0, num_transformers=2, bound=9.0
    )
    layer.build(images.shape)
    layer.regression.kernel.assign(rng.normal(size=layer.regression.kernel.shape))
    layer(images)
    unbounded = 9 * np.arctanh(layer.parameters(images) / 9)
    np.testing.assert_allclose(layer.losses[0], np.mean(unbounded**2), rtol=1e-4)


def test_one_after_the_other_samples_what_the_first_has_found(rng, images):
    layers = [
        SpatialTransformer(keras.layers.Flatten(), (6, 6), transformation="attention"),
        SpatialTransformer(keras.layers.Flatten(), (4, 4)),
    ]
    model = keras.Sequential([keras.Input(images.shape[1:]), *layers])
    for weight in model.trainable_variables:
        weight.assign(weight + 0.02 * rng.normal(size=weight.shape))
    np.testing.assert_array_equal(model(images), layers[1](layers[0](images)))
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model(images) ** 2)
    gradients = tape.gradient(loss, model.trainable_variables)
    assert all(np.any(gradient) for gradient in gradients)
