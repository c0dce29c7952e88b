"""The Keras layer: what Keras asks of any layer, and what a spatial transformer promises."""

import numpy as np
import pytest
import tensorflow as tf

from tf_stn import SpatialTransformer, affine_grid, resampler
from tf_stn._keras import keras
from tf_stn.transformations import Affine, Projective, Several

POLICIES = ("float32", "float64", "mixed_float16", "mixed_bfloat16", "float16", "bfloat16")
IDENTITY = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]


def localisation(**kwargs):
    return keras.Sequential(
        [
            keras.layers.Conv2D(4, 3, activation="relu"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(8, activation="relu"),
        ],
        **kwargs,
    )


def classifier(size=(12, 10, 1), **kwargs):
    images = keras.Input(size)
    x = SpatialTransformer(localisation(), **kwargs)(images)
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(8, 3)(x))
    return keras.Model(images, keras.layers.Dense(2)(x))


def disturb(layer, rng, scale=0.2):
    """Moves the weights away from the identity."""
    for variable in layer.trainable_variables:
        variable.assign_add(rng.normal(scale=scale, size=variable.shape))


@pytest.fixture
def images(rng):
    return rng.uniform(size=[3, 12, 10, 2]).astype(np.float32)


@pytest.fixture
def policy(request):
    before = keras.mixed_precision.global_policy()
    keras.mixed_precision.set_global_policy(request.param)
    yield request.param
    keras.mixed_precision.set_global_policy(before)


def test_untrained_layer_returns_its_input_bit_for_bit(images):
    np.testing.assert_array_equal(SpatialTransformer(localisation())(images), images)


def test_output_is_the_sampled_grid_of_theta(rng, images):
    layer = SpatialTransformer(localisation(), output_size=(5, 7), align_corners=False)
    layer.build(images.shape)
    disturb(layer, rng)
    theta = layer.theta(images)
    assert theta.shape == (3, 2, 3)
    assert not np.allclose(theta, IDENTITY)
    expected = resampler(images, affine_grid(theta, (5, 7), (12, 10), align_corners=False))
    # Coordinates are computed with other roundings than those of the grid.
    np.testing.assert_allclose(layer(images), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("count", [None, 2], ids=str)
@pytest.mark.parametrize("kind", [Affine, Projective], ids=lambda kind: kind.__name__)
def test_warp_is_where_the_layer_samples(rng, images, kind, count):
    transformation = Several(kind(), count) if count else kind()
    layer = SpatialTransformer(
        localisation(), transformation, output_size=(5, 7), align_corners=False
    )
    layer.build(images.shape)
    disturb(layer, rng, scale=0.1)
    warp = layer.warp(images)
    assert warp.shape == (3, *([count] if count else []), 5, 7, 2)
    np.testing.assert_allclose(layer(images), resampler(images, warp), rtol=0, atol=1e-5)


def test_layer_without_weights_has_no_warp(images):
    with pytest.raises(ValueError, match="must be built or called before"):
        SpatialTransformer(localisation()).warp(images)


def test_all_weights_receive_a_gradient_once_theta_has_moved(rng, images):
    layer = SpatialTransformer(localisation())
    layer.build(images.shape)
    disturb(layer, rng)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(images) ** 2)
    gradients = tape.gradient(loss, layer.trainable_variables)
    assert len(gradients) == 6
    assert all(np.any(gradient) for gradient in gradients)


def test_training_finds_a_shift():
    """Blobs lie left or right of the middle; moving them there is all there is to learn."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:16, :16]
    centre = rng.uniform(4, 12, [256, 2, 1, 1])
    blobs = np.exp(-((x - centre[:, 0]) ** 2 + (y - centre[:, 1]) ** 2) / 8)[..., None]
    target = np.broadcast_to(np.exp(-((x - 7.5) ** 2 + (y - 7.5) ** 2) / 8)[..., None], blobs.shape)
    net = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(32, activation="relu")])
    model = keras.Sequential([keras.Input((16, 16, 1)), SpatialTransformer(net)])
    model.compile(keras.optimizers.Adam(3e-3), "mse")
    before = model.evaluate(blobs, target, verbose=0)
    model.fit(blobs, target, epochs=30, verbose=0)
    assert model.evaluate(blobs, target, verbose=0) < before / 10


@pytest.mark.parametrize("output_size", [None, (5, 7)], ids=str)
def test_config_round_trip_keeps_everything(images, output_size):
    layer = SpatialTransformer(
        localisation(name="eyes"),
        output_size=output_size,
        align_corners=False,
        name="look",
        dtype="float64",
    )
    again = SpatialTransformer.from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    assert again.name == "look"
    assert again.localisation.name == "eyes"
    assert again.transform.output_size == output_size
    assert again(images).dtype == tf.float64


def test_keras_file_round_trip_keeps_the_function(rng, images, tmp_path):
    model = classifier((12, 10, 2), output_size=(6, 6))
    disturb(model, rng)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again(images), model(images))
    again.compile("sgd", "mse")
    again.fit(images, np.zeros([3, 2]), verbose=0)


@pytest.mark.parametrize("save", ["export", "tf.saved_model.save"])
def test_saved_model_round_trip_keeps_the_function(rng, images, tmp_path, save):
    model = classifier((None, None, 2))
    disturb(model, rng)
    expected = model(images)
    if save == "export":
        model.export(str(tmp_path))
        again = tf.saved_model.load(str(tmp_path))
        function = again.serve
    else:
        tf.saved_model.save(model, str(tmp_path))
        again = tf.saved_model.load(str(tmp_path))
        function = again.signatures["serving_default"]
    output = tf.nest.flatten(function(tf.constant(images)))[0]
    np.testing.assert_allclose(output, expected, rtol=0, atol=1e-6)


def test_weights_file_round_trip_keeps_the_function(rng, images, tmp_path):
    model, other = classifier((12, 10, 2)), classifier((12, 10, 2))
    disturb(model, rng)
    model.save_weights(tmp_path / "model.weights.h5")
    other.load_weights(tmp_path / "model.weights.h5")
    np.testing.assert_array_equal(other(images), model(images))


@pytest.mark.parametrize("policy", POLICIES, indirect=True)
def test_theta_is_full_precision_under_every_policy(rng, policy):
    images = rng.uniform(size=[2, 12, 10, 1])
    layer = SpatialTransformer(localisation())
    output = layer(images)
    assert output.dtype == layer.compute_dtype
    assert layer.theta(images).dtype == ("float64" if policy == "float64" else "float32")
    np.testing.assert_array_equal(layer.theta(images), [IDENTITY, IDENTITY])
    np.testing.assert_array_equal(output, tf.cast(images, output.dtype))


@pytest.mark.parametrize("policy", POLICIES, indirect=True)
def test_model_trains_under_every_policy(rng, policy):
    model = classifier()
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    before = [w.numpy() for w in model.trainable_weights]
    images, labels = rng.uniform(size=[32, 12, 10, 1]), rng.integers(0, 2, 32)
    history = model.fit(images, labels, epochs=2, verbose=0)
    assert np.all(np.isfinite(history.history["loss"]))
    moved = [np.any(a.numpy() != b) for a, b in zip(model.trainable_weights, before)]
    # Weights that are themselves half may be too coarse for a small step.
    assert any(moved) if policy in ("float16", "bfloat16") else all(moved)


def test_layer_policy_overrides_the_global_one(images):
    layer = SpatialTransformer(localisation(), dtype="mixed_bfloat16")
    assert layer(images).dtype == tf.bfloat16
    assert layer.theta(images).dtype == tf.float32


def test_unknown_batch_and_spatial_sizes(rng):
    model = keras.Sequential([keras.Input((None, None, 1)), SpatialTransformer(localisation())])
    assert model.output_shape == (None, None, None, 1)
    predict = tf.function(model, input_signature=[tf.TensorSpec([None, None, None, 1])])
    for shape in ([1, 8, 9, 1], [3, 20, 5, 1]):
        images = rng.uniform(size=shape).astype(np.float32)
        np.testing.assert_array_equal(predict(images), images)


def test_empty_batch_gives_an_empty_batch():
    net = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(4)])
    assert SpatialTransformer(net, output_size=(3, 4))(tf.zeros([0, 6, 5, 2])).shape == (0, 3, 4, 2)


@pytest.mark.parametrize("output_size", [None, (5, 7)], ids=str)
@pytest.mark.parametrize("shape", [(2, 8, 9, 3), (None, 8, 9, 3), (None, None, None, 3)], ids=str)
def test_compute_output_shape_agrees_with_symbolic_calls(shape, output_size):
    layer = SpatialTransformer(localisation(), output_size=output_size)
    expected = (shape[0], *(output_size or shape[1:3]), 3)
    assert layer.compute_output_shape(shape) == expected
    images = keras.Input(batch_shape=shape)
    assert tuple(layer(images).shape) == expected


def test_training_flag_reaches_the_localisation_net(images):
    net = keras.Sequential([keras.layers.Flatten(), keras.layers.Dropout(0.99)])
    layer = SpatialTransformer(net)
    layer.build(images.shape)
    layer.head.kernel.assign_add(tf.ones_like(layer.head.kernel))
    calm = layer(images, training=False)
    np.testing.assert_array_equal(layer(images, training=False), calm)
    assert not np.array_equal(layer(images, training=True), calm)


def test_localisation_may_be_a_functional_or_a_subclassed_model(images):
    class Subclassed(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(4)

        def call(self, x):
            return self.dense(tf.reduce_mean(x, axis=[1, 2]))

    inputs = keras.Input((12, 10, 2))
    functional = keras.Model(inputs, keras.layers.Flatten()(inputs))
    for net in (functional, Subclassed(), keras.layers.GlobalMaxPooling2D()):
        np.testing.assert_array_equal(SpatialTransformer(net)(images), images)


def test_layer_works_inside_other_layers(rng):
    """Frames of a film, each warped by the same transformer; and a layer that holds one."""
    film = rng.uniform(size=[2, 3, 12, 10, 1]).astype(np.float32)
    distributed = keras.layers.TimeDistributed(SpatialTransformer(localisation()))
    np.testing.assert_array_equal(distributed(film), film)
    nested = keras.Sequential([keras.Sequential([SpatialTransformer(localisation())])])
    np.testing.assert_array_equal(nested(film[0]), film[0])
    assert len(nested.trainable_variables) == 6


def test_cloned_model_has_the_same_function_and_weights_of_its_own(rng, images):
    model = classifier((12, 10, 2))
    disturb(model, rng)
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    np.testing.assert_array_equal(clone(images), model(images))
    disturb(model, rng)
    assert not np.array_equal(clone(images), model(images))


@keras.saving.register_keras_serializable(package="tests")
class Eyes(keras.layers.Layer):
    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.dense = keras.layers.Dense(units)
        self.pool = keras.layers.GlobalMaxPooling2D()

    def call(self, images):
        return self.dense(self.pool(images))

    def get_config(self):
        return super().get_config() | {"units": self.units}


def test_keras_file_keeps_a_localisation_net_of_the_users_own(rng, images, tmp_path):
    model = keras.Sequential([keras.Input((12, 10, 2)), SpatialTransformer(Eyes(5))])
    disturb(model, rng)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again(images), model(images))


def test_losses_and_statistics_of_the_localisation_net_are_kept(images):
    net = keras.Sequential(
        [
            keras.layers.Flatten(),
            keras.layers.BatchNormalization(),
            keras.layers.Dense(4, kernel_regularizer="l2"),
        ]
    )
    layer = SpatialTransformer(net)
    layer(images, training=True)
    assert len(layer.losses) == 1
    assert len(layer.non_trainable_variables) == 2


def test_partly_known_sizes_stay_known():
    layer = SpatialTransformer(localisation())
    predict = tf.function(layer, input_signature=[tf.TensorSpec([None, 8, None, 1])])
    assert predict.get_concrete_function().output_shapes.as_list() == [None, 8, None, 1]


@pytest.mark.parametrize("output_size", [None, (3, 3)], ids=str)
def test_images_without_pixels_are_refused_by_name(run, output_size):
    layer = SpatialTransformer(
        keras.layers.Lambda(lambda x: tf.zeros([2, 4])), output_size=output_size
    )
    layer.build((2, None, None, 1))

    def call(images):
        return layer(tf.ensure_shape(images, [2, None, None, 1]))

    message = "`images` must have a height and a width of at least 1, received"
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError), match=message):
        run(call, tf.zeros([2, 0, 8, 1]))


def test_frozen_localisation_has_no_trainable_weights(images):
    net = localisation()
    net.trainable = False
    layer = SpatialTransformer(net)
    layer.build(images.shape)
    assert len(layer.trainable_variables) == 2
    layer.trainable = False
    assert layer.trainable_variables == []


def test_automatic_xla_compilation_is_declined_where_there_are_no_kernels(monkeypatch):
    """Keras compiles where it sees a GPU, unless a layer says that it cannot."""
    monkeypatch.setattr("tf_stn._xla._is_loaded", False)
    model = classifier()
    assert model.layers[1].supports_jit is False
    model.compile("sgd", "mse")
    assert not model.jit_compile


WRONG = {
    "localisation is a function": ({"localisation": lambda x: x}, "`localisation` must be"),
    "one size": ({"output_size": 7}, "`output_size` must be two positive integers"),
    "zero size": ({"output_size": (0, 7)}, "`output_size` must be two positive integers"),
    "fractional size": ({"output_size": (2.5, 7)}, "`output_size` must be two positive integers"),
    "negative size": ({"output_size": (-1, 7)}, "`output_size` must be two positive integers"),
    "three sizes": (
        {"output_size": (2, 5, 7), "transformation": Affine()},
        "`output_size` must be two positive integers",
    ),
    "four sizes": ({"output_size": (1, 2, 5, 7)}, "`output_size` must be two positive integers"),
    "two sizes of a volume": (
        {"output_size": (5, 7), "transformation": Affine(rank=3)},
        "`output_size` must be three positive integers",
    ),
    "unknown transformation": ({"transformation": "warp"}, "`transformation` must be one of"),
    "class": ({"transformation": Affine}, "`transformation` must be a name or a"),
    "a number": ({"transformation": 3}, "`transformation` must be one of"),
    "unknown interpolation": ({"interpolation": "bilinear"}, "`interpolation` must be one of"),
    "unknown padding": ({"padding": "nothing"}, "`padding` must be one of 'zeros'"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_arguments_are_refused_when_the_layer_is_made(case):
    arguments, message = WRONG[case]
    with pytest.raises(ValueError, match=f"{message}.*received"):
        SpatialTransformer(**({"localisation": localisation()} | arguments))


@pytest.fixture
def channels_first():
    """As a file ~/.keras/keras.json may say."""
    keras.backend.set_image_data_format("channels_first")
    yield
    keras.backend.set_image_data_format("channels_last")


@pytest.mark.usefixtures("channels_first")
def test_channels_first_by_configuration_is_warned_of():
    with pytest.warns(UserWarning, match="channels last, though .* is 'channels_first'"):
        SpatialTransformer(keras.layers.Flatten())


@pytest.mark.parametrize(
    "net",
    [
        keras.layers.Conv2D(6, 3),
        keras.layers.Lambda(lambda x: tf.reduce_sum(x, [1, 2, 3])),
        keras.layers.Lambda(lambda x: {"features": x}, output_shape=lambda shape: {"f": shape}),
    ],
    ids=["feature map", "no feature axis", "dictionary"],
)
def test_features_of_the_wrong_rank_are_refused_when_the_layer_is_built(net, images):
    with pytest.raises(ValueError, match=r"`localisation` must return .*\[batch, features\]"):
        SpatialTransformer(net)(images)


def test_a_displacement_of_no_field_is_refused_when_the_layer_is_built(images):
    layer = SpatialTransformer(localisation(), transformation="dense_displacement")
    message = r"`localisation` must return .*\[batch, height, width, features\].*received"
    with pytest.raises(ValueError, match=message):
        layer.build(images.shape)


def test_input_of_the_wrong_rank_is_refused(images):
    with pytest.raises(ValueError, match=r"`images` must have shape .*received \(12, 10, 2\)"):
        SpatialTransformer(localisation())(images[0])


def test_theta_before_the_layer_is_built_is_refused_by_name(images):
    with pytest.raises(ValueError, match="built or called"):
        SpatialTransformer(localisation()).theta(images)


def test_theta_sees_the_images_as_the_layer_does(rng):
    """Under mixed precision a float32 localisation net sees images rounded to float16."""
    images = rng.uniform(size=[2, 12, 10, 1]).astype(np.float32)
    net = keras.layers.Flatten(dtype="float32")
    layer = SpatialTransformer(net, dtype="mixed_float16")
    layer.build(images.shape)
    disturb(layer, rng)
    rounded = images.astype(np.float16)
    assert not np.array_equal(rounded, images)
    np.testing.assert_array_equal(layer.theta(images), layer.theta(rounded))


def test_another_keras_backend_is_refused_by_name(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(RuntimeError, match="TensorFlow backend, received 'jax'"):
        SpatialTransformer(localisation())
