"""What Keras promises of every layer, held by the spatial transformer and by what is inside it."""

import numpy as np
import pytest
import tensorflow as tf

from tf_stn import transformations
from tf_stn._keras import keras
from tf_stn.layers import SpatialTransformer, Transform
from tf_stn.metrics import FractionOutside
from tf_stn.regularizers import Identity, Outside, Smoothness
from tf_stn.transformations import Attention, Bounded, Rigid, Scaled, Several, Tiled

IS_KERAS_3 = hasattr(keras, "Operation")
IMAGES = np.random.default_rng(0).random([6, 12, 16, 1], np.float32)
TARGETS = np.random.default_rng(1).random([6, 2], np.float32)


def net(units=4):
    return keras.Sequential(
        [keras.layers.Flatten(), keras.layers.Dense(units, activation="tanh", name="features")]
    )


def model_of(layer):
    end = [keras.layers.Flatten(), keras.layers.Dense(2)]
    return keras.Sequential([keras.Input(IMAGES.shape[1:]), layer, *end])


def reloaded(model, folder):
    model.save(folder / "model.keras")
    return keras.models.load_model(folder / "model.keras")


def disturb(layer, rng):
    layer.head.kernel.assign(0.1 * rng.normal(size=layer.head.kernel.shape))


def moved_by_training(model):
    """Returns which weights of the first layer training moves."""
    before = [weight.numpy() for weight in model.layers[0].weights]
    model.compile("sgd", "mse", jit_compile=False)
    model.fit(IMAGES, TARGETS, epochs=2, verbose=0)
    after = model.layers[0].weights
    return [a.name for a, b in zip(after, before, strict=True) if (a.numpy() != b).any()]


# Frozen


def of_constructor(folder):
    return model_of(SpatialTransformer(net(), trainable=False))


def of_attribute(folder):
    model = model_of(SpatialTransformer(net()))
    model.layers[0].trainable = False
    return model


FROZEN = {
    "constructor": of_constructor,
    "attribute": of_attribute,
    "constructor, loaded": lambda folder: reloaded(of_constructor(folder), folder),
    "constructor, cloned": lambda folder: keras.models.clone_model(of_constructor(folder)),
    "attribute, loaded": lambda folder: reloaded(of_attribute(folder), folder),
    "attribute, cloned": lambda folder: keras.models.clone_model(of_attribute(folder)),
}


@pytest.mark.parametrize("way", FROZEN)
def test_frozen_layer_moves_no_weight(way, tmp_path):
    model = FROZEN[way](tmp_path)
    assert model.layers[0].trainable is False
    assert moved_by_training(model) == []


def test_layer_that_is_not_frozen_trains():
    assert len(moved_by_training(model_of(SpatialTransformer(net())))) >= 2


def test_layer_frozen_before_it_is_built_stays_frozen_and_can_be_thawed():
    layer = SpatialTransformer(net(), trainable=False)
    again = SpatialTransformer.from_config(layer.get_config())
    again(IMAGES)
    assert again.trainable_variables == []
    again.trainable = True
    assert len(again.trainable_variables) == 4


@pytest.mark.parametrize("part", ["head", "localisation"])
def test_frozen_part_stays_frozen_when_loaded_and_cloned(part, tmp_path):
    model = model_of(SpatialTransformer(net()))
    getattr(model.layers[0], part).trainable = False
    for each in (model, reloaded(model, tmp_path), keras.models.clone_model(model)):
        assert len(each.layers[0].trainable_variables) == 2
        assert getattr(each.layers[0], part).trainable_variables == []


# Quantised


@pytest.mark.skipif(not IS_KERAS_3, reason="Keras 2 does not quantise")
@pytest.mark.parametrize("mode", ["int8", "int4"])
def test_quantised_model_is_saved_loaded_and_cloned(rng, mode, tmp_path):
    model = model_of(SpatialTransformer(net(), "similarity"))
    disturb(model.layers[0], rng)
    exact = model(IMAGES)
    model.quantize(mode)
    expected = model(IMAGES)
    assert not np.array_equal(expected, exact)
    np.testing.assert_array_equal(reloaded(model, tmp_path)(IMAGES), expected)
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    np.testing.assert_array_equal(clone(IMAGES), expected)


# Saved


LAYERS = {
    "a name": lambda: SpatialTransformer(net(), "rigid"),
    "all options": lambda: SpatialTransformer(
        net(),
        Rigid(spacing=(2.0, 1.0)),
        output_size=(5, 6),
        interpolation="cubic",
        fill_value=[0.5],
        align_corners=False,
        regularizer=[Identity(0.1), Outside(), Smoothness(power=1)],
        activity_regularizer=keras.regularizers.L2(0.1),
        name="look",
    ),
    "wrappers": lambda: SpatialTransformer(
        net(), Bounded(Scaled(Tiled(Attention(), (1, 2)), 0.5, gradient=0.1), [0.1, 0.2, 0.3])
    ),
    "several fields": lambda: SpatialTransformer(
        keras.layers.Conv2D(3, 3, padding="same"), Several(transformations.DenseDisplacement(), 2)
    ),
    "a Transform": lambda: SpatialTransformer(
        net(), Transform("affine", metrics=FractionOutside(), padding="border", name="own")
    ),
    "a head": lambda: SpatialTransformer(
        net(), "rigid", head=keras.layers.Dense(3, use_bias=False)
    ),
    "no head": lambda: SpatialTransformer(net(6), head=None),
}
BY_LAYER = pytest.mark.parametrize("kind", LAYERS)


@BY_LAYER
def test_layer_is_saved_loaded_and_cloned(rng, kind, tmp_path):
    layer = LAYERS[kind]()
    model = keras.Sequential([keras.Input(IMAGES.shape[1:]), layer])
    for weight in layer.weights:
        weight.assign(weight + 0.1 * rng.normal(size=weight.shape))
    loaded, clone = reloaded(model, tmp_path), keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    for again in (loaded, clone):
        np.testing.assert_array_equal(again(IMAGES), model(IMAGES))
        np.testing.assert_allclose(again.losses, model.losses, rtol=1e-6)
        assert again.layers[0].name == layer.name
        assert again.layers[0].transform.get_config() == layer.transform.get_config()


@BY_LAYER
def test_layer_that_is_not_built_goes_through_its_config(kind):
    layer = LAYERS[kind]()
    again = type(layer).from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    assert again(IMAGES).shape == layer(IMAGES).shape


@BY_LAYER
@pytest.mark.parametrize("ending", ["weights.h5", "h5"])
def test_layer_is_kept_by_other_files(rng, kind, ending, tmp_path):
    model = keras.Sequential([keras.Input(IMAGES.shape[1:]), LAYERS[kind]()])
    for weight in model.weights:
        weight.assign(weight + 0.1 * rng.normal(size=weight.shape))
    path = tmp_path / f"model.{ending}"
    if ending == "h5":
        model.save(path)
        again = keras.models.load_model(path)
    else:
        model.save_weights(path)
        again = keras.Sequential([keras.Input(IMAGES.shape[1:]), LAYERS[kind]()])
        again.load_weights(path)
    np.testing.assert_array_equal(again(IMAGES), model(IMAGES))


@BY_LAYER
def test_all_weights_get_a_gradient(rng, kind):
    layer = LAYERS[kind]()
    layer(IMAGES)
    for weight in layer.trainable_variables:
        weight.assign(weight + 0.05 * rng.normal(size=weight.shape))
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.sin(layer(IMAGES)))
    assert all(np.any(each) for each in tape.gradient(loss, layer.trainable_variables))


# Types


@pytest.mark.parametrize("integer", [np.int64, np.int32, np.uint8], ids=lambda kind: kind.__name__)
def test_integers_may_be_those_of_numpy(integer):
    layer = SpatialTransformer(
        net(),
        Several(transformations.ThinPlateSpline((integer(2), integer(3))), integer(2)),
        output_size=(integer(5), integer(6)),
    )
    assert layer(IMAGES).shape == (6, 2, 5, 6, 1)
    again = SpatialTransformer.from_config(layer.get_config())
    assert again.get_config()["transformation"] == layer.get_config()["transformation"]


@pytest.mark.parametrize("dtype", ["uint8", "int32", "bool", "complex64"])
def test_what_the_call_refuses_parameters_refuses_too(dtype):
    layer = SpatialTransformer(net())
    layer(IMAGES)
    images = tf.cast(255 * IMAGES, dtype)
    for call in (layer, layer.parameters, layer.theta, layer.warp):
        with pytest.raises(TypeError, match=rf"`images` must be of type float16.*received {dtype}"):
            call(images)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_what_the_call_takes_parameters_takes_too(dtype):
    layer = SpatialTransformer(net())
    images = tf.cast(IMAGES, dtype)
    assert layer(images).dtype == tf.float32
    for call in (layer.parameters, layer.theta, layer.warp):
        assert call(images).dtype == tf.float32


def test_lists_and_arrays_are_taken_as_tensors_are():
    layer = SpatialTransformer(net())
    layer(IMAGES)
    expected = layer.parameters(tf.constant(IMAGES))
    for images in (IMAGES, IMAGES.astype(np.float64), IMAGES.tolist()):
        np.testing.assert_allclose(layer.parameters(images), expected, atol=1e-6)


def test_keras_tensors_are_refused_where_the_call_is_meant():
    layer = SpatialTransformer(net())
    layer(IMAGES)
    for method in (layer.parameters, layer.theta, layer.warp):
        with pytest.raises(ValueError, match=r"`images` of .* return_parameters=True"):
            method(keras.Input(IMAGES.shape[1:]))


# Masks and regularizers


@pytest.mark.skipif(not IS_KERAS_3, reason="masks of Keras 2 are attached to symbolic tensors")
def test_mask_passes():
    images = tf.constant(IMAGES)
    images._keras_mask = mask = tf.constant([True, False] * 3)
    np.testing.assert_array_equal(SpatialTransformer(net())(images)._keras_mask, mask)


@pytest.mark.skipif(not IS_KERAS_3, reason="Reshape of Keras 2 takes no masks")
@pytest.mark.parametrize("masked", [True, False])
def test_mask_reaches_what_comes_after_the_frames_of_a_film(rng, masked):
    film = rng.random([2, 3, 12, 16, 1]).astype(np.float32)
    if masked:
        film[:, 2] = 0
    model = keras.Sequential(
        [
            keras.Input(film.shape[1:]),
            keras.layers.TimeDistributed(keras.layers.Flatten()),
            keras.layers.Masking(),
            keras.layers.TimeDistributed(keras.layers.Reshape((12, 16, 1))),
            keras.layers.TimeDistributed(SpatialTransformer(net())),
            keras.layers.TimeDistributed(keras.layers.Flatten()),
            keras.layers.GlobalAveragePooling1D(),
        ]
    )
    expected = film[:, : 2 if masked else 3].mean(axis=1).reshape(2, -1)
    np.testing.assert_allclose(model(film), expected, atol=1e-5)


def test_activity_regularizer_is_of_the_output_and_divided_by_the_batch():
    layer = SpatialTransformer(net(), activity_regularizer=keras.regularizers.L2(0.5))
    output = layer(IMAGES)
    np.testing.assert_allclose(layer.losses, [0.5 * np.sum(output**2) / 6], rtol=1e-5)
