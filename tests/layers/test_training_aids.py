"""What there is against transformers that go blank, diverge or never move."""

import numpy as np
import pytest
import tensorflow as tf

from tf_stn import SpatialTransformer, resampler
from tf_stn._keras import keras
from tf_stn.layers import Transform
from tf_stn.metrics import FractionOutside, fraction_outside
from tf_stn.regularizers import Identity, Outside
from tf_stn.transformations import (
    Affine,
    Attention,
    Bounded,
    DenseDisplacement,
    Projective,
    Scaled,
    Several,
    Translation,
)


def localisation():
    return keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(4, activation="tanh")])


def moved_layer(rng, transformation="affine", **arguments):
    """A layer that has left its start."""
    layer = SpatialTransformer(localisation(), transformation, **arguments)
    layer.build((None, 6, 7, 2))
    layer.head.kernel.assign(rng.normal(size=layer.head.kernel.shape))
    return layer


def with_weights_of(layer, transformation):
    """The same net and head before another transformation."""
    other = SpatialTransformer(layer.localisation, transformation)
    other.build((None, 6, 7, 2))
    other.head.set_weights(layer.head.get_weights())
    return other


@pytest.fixture
def images(rng):
    return tf.constant(rng.normal(size=[3, 6, 7, 2]), tf.float32)


def test_bounded_transformations_stay_near_their_start(rng, images):
    bound = np.array([0.3, 0.1, 0.5, 0.1, 0.3, 0.5])
    layer = moved_layer(rng, Bounded(Affine(), bound))
    layer.head.kernel.assign(1e3 * layer.head.kernel)
    moved = np.reshape(layer.theta(images) - np.eye(2, 3, dtype=np.float32), [3, 6])
    assert (np.abs(moved) <= bound * 1.0001).all()
    assert (np.abs(moved) > bound * 0.9).any()


@pytest.mark.parametrize(
    "wrapped", [Bounded(Affine(), 0.5), Scaled(Affine(), 0.1)], ids=["Bounded", "Scaled"]
)
def test_wrappers_leave_the_start_as_it_is(images, wrapped):
    np.testing.assert_array_equal(SpatialTransformer(localisation(), wrapped)(images), images)


def test_bound_leaves_small_moves_as_they_are(rng, images):
    layer = moved_layer(rng, Bounded(Affine(), 0.5))
    layer.head.kernel.assign(1e-3 * layer.head.kernel)
    free = with_weights_of(layer, "affine")
    np.testing.assert_allclose(layer.theta(images), free.theta(images), atol=1e-6)


def test_scaled_gradient_changes_the_gradient_alone(rng, images):
    layer = moved_layer(rng, Scaled(Affine(), gradient=0.1))
    plain = with_weights_of(layer, "affine")
    gradients = []
    for each in (layer, plain):
        weights = [*each.localisation.weights, *each.head.weights]
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(each(images) ** 2)
        gradients.append(tape.gradient(loss, weights))
    np.testing.assert_array_equal(layer(images), plain(images))
    for scaled, full in zip(*gradients, strict=True):
        np.testing.assert_allclose(scaled, 0.1 * full, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("optimizer", "option", "slows"),
    [("SGD", "gradient", True), ("Adam", "gradient", False), ("Adam", "scale", True)],
)
def test_what_slows_a_transformer_depends_on_the_optimiser(rng, images, optimizer, option, slows):
    """By 100 in one step, from where the kernel is zero and there is no other way to move."""
    moves = []
    for scale in (1.0, 0.01):
        keras.utils.set_random_seed(0)
        layer = SpatialTransformer(localisation(), Scaled(Affine(), **{option: scale}))
        model = keras.Sequential([keras.Input((6, 7, 2)), layer])
        model.compile(getattr(keras.optimizers, optimizer)(1e-2), "mse")
        before = layer.theta(images)
        model.train_on_batch(images, tf.roll(images, 1, axis=1))
        moves.append(np.abs(layer.theta(images) - before).mean())
    assert moves[0] > 0
    ratio = moves[1] / moves[0]
    assert 0.005 < ratio < 0.02 if slows else ratio > 0.9


def test_identity_regularizer_pulls_where_the_bound_has_no_gradient(rng, images):
    layer = moved_layer(rng, Bounded(Affine(), 0.5), regularizer=Identity())
    layer.head.kernel.assign(1e3 * layer.head.kernel)
    with tf.GradientTape(persistent=True) as tape:
        loss = tf.reduce_sum(layer(images) ** 2)
        (penalty,) = layer.losses
    assert np.abs(tape.gradient(loss, layer.head.bias)).max() < 1e-3
    assert np.abs(tape.gradient(penalty, layer.head.bias)).max() > 1


def test_regularizers_are_losses_of_the_layer(rng, images):
    layer = moved_layer(rng, regularizer=[Identity(2.0), Outside(3.0)])
    layer(images)
    moved = layer.parameters(images) - np.array([1.0, 0, 0, 0, 1, 0], np.float32)
    expected = [2 * np.mean(moved**2), 3 * Outside()(layer.warp(images), (6, 7))]
    np.testing.assert_allclose(layer.losses, expected, rtol=1e-5)
    assert moved_layer(rng).losses == []


def test_outside_regularizer_brings_a_window_back(images):
    """It starts wholly outside, where the images give no gradient."""
    keras.utils.set_random_seed(0)
    layer = SpatialTransformer(localisation(), "translation", regularizer=Outside())
    layer.build(images.shape)
    layer.head.bias.assign([3.0, 0.0])
    model = keras.Sequential([keras.Input((6, 7, 2)), layer])
    model.compile(keras.optimizers.SGD(0.1), "mse")

    def outside():
        return np.mean(fraction_outside(layer.warp(images), (6, 7)))

    assert outside() == 1
    model.fit(images, images, epochs=60, verbose=0)
    assert outside() < 0.9


def test_metric_of_a_transform_is_one_of_the_model(rng, images):
    layer = moved_layer(rng, Transform("affine", metrics=FractionOutside()))
    model = keras.Sequential([keras.Input((6, 7, 2)), layer])
    model.compile("sgd", "mse")
    logs = model.evaluate(images, images, return_dict=True, verbose=0)
    expected = np.mean(fraction_outside(layer.warp(images), (6, 7)))
    assert np.isclose(logs["fraction_outside"], expected)
    assert 0 < expected < 1


@pytest.mark.parametrize("size", [(28, 28), (60, 150)], ids=str)
def test_untrained_layer_sees_nothing_outside(size):
    layer = SpatialTransformer(
        keras.layers.GlobalAveragePooling2D(),
        Transform("affine", output_size=size, metrics=FractionOutside(), regularizer=Outside()),
    )
    layer(tf.zeros([2, 128, 129, 1]))
    assert float(layer.transform.warp_metrics[0].result()) == 0
    assert float(sum(layer.losses)) == 0


@pytest.mark.parametrize("kind", [Affine, Projective, DenseDisplacement], ids=lambda k: k.__name__)
def test_several_transformations_share_a_localisation_net(rng, images, kind):
    is_field = kind is DenseDisplacement
    net = keras.layers.Conv2D(4, 3, padding="same") if is_field else localisation()
    layer = SpatialTransformer(net, Several(kind(), 3), output_size=(4, 5))
    layer.build(images.shape)
    layer.head.kernel.assign(0.1 * rng.normal(size=layer.head.kernel.shape))
    output, parameters = layer(images), layer.parameters(images)
    assert output.shape == layer.compute_output_shape(images.shape) == (3, 3, 4, 5, 2)
    for i in range(3):
        warp = kind().warp(parameters[:, i], (4, 5), (6, 7))
        np.testing.assert_allclose(output[:, i], resampler(images, warp), atol=1e-5)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_keeps_coordinates_in_float32(rng, policy):
    """On 512 pixels, where a half-precision coordinate would be off by up to a pixel."""
    images = tf.constant(rng.normal(size=[1, 512, 512, 1]), tf.float32)
    net = keras.layers.GlobalAveragePooling2D(dtype="float32")
    outputs = []
    for dtype in (policy, "float32"):
        layer = SpatialTransformer(net, dtype=dtype)
        layer.build(images.shape)
        layer.head.bias.assign([0.9, 0.05, 0.013, -0.04, 1.02, -0.027])
        assert layer.parameters(images).dtype == tf.float32
        outputs.append(tf.cast(layer(images), tf.float32))
    rounding = 2**-7 if policy == "mixed_bfloat16" else 2**-10
    np.testing.assert_allclose(outputs[0], outputs[1], atol=6 * rounding)


def test_fields_are_regularized_before_their_bound(rng, images):
    net = keras.layers.Conv2D(4, 3, padding="same")
    layer = SpatialTransformer(
        net, Several(Bounded(DenseDisplacement(), 9.0), 2), regularizer=Identity()
    )
    layer.build(images.shape)
    layer.head.kernel.assign(rng.normal(size=layer.head.kernel.shape))
    layer(images)
    np.testing.assert_allclose(layer.losses, [np.mean(layer.parameters(images) ** 2)], rtol=1e-4)


def test_one_after_the_other_samples_what_the_first_has_found(rng, images):
    layers = [
        SpatialTransformer(keras.layers.Flatten(), Attention(), output_size=(6, 6)),
        SpatialTransformer(keras.layers.Flatten(), Translation(), output_size=(4, 4)),
    ]
    model = keras.Sequential([keras.Input(images.shape[1:]), *layers])
    for weight in model.trainable_variables:
        weight.assign(weight + 0.02 * rng.normal(size=weight.shape))
    np.testing.assert_array_equal(model(images), layers[1](layers[0](images)))
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model(images) ** 2)
    gradients = tape.gradient(loss, model.trainable_variables)
    assert all(np.any(gradient) for gradient in gradients)
