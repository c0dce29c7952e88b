"""What the spatial transformer looks at, what it warps, and where its parameters come from."""

import inspect

import numpy as np
import pytest
import tensorflow as tf

import tf_stn
from tf_stn import transformations
from tf_stn._keras import keras
from tf_stn.layers import SpatialTransformer, Transform
from tf_stn.transformations import Affine, Attention, DenseDisplacement, Rigid, Several, Tiled

IMAGES = np.random.default_rng(0).random([3, 12, 16, 1], np.float32)
PHOTOS = np.random.default_rng(1).random([3, 24, 20, 3], np.float32)
MASKS = (np.random.default_rng(2).random([3, 24, 20, 1]) > 0.5).astype(np.float32)
VOLUMES = np.random.default_rng(3).random([2, 4, 6, 8, 1], np.float32)


def net(units=4):
    return keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(units, activation="tanh")])


def moved(layer, rng):
    """Takes a layer that has been built away from the identity."""
    for weight in layer.trainable_variables:
        weight.assign(weight + 0.1 * rng.normal(size=weight.shape))
    return layer


def flat(values):
    return list(values) if isinstance(values, (list, tuple)) else [values]


def assert_same_when_loaded_and_cloned(model, inputs, folder):
    model.save(folder / "model.keras")
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    for again in (keras.models.load_model(folder / "model.keras"), clone):
        for a, b in zip(flat(again(inputs)), flat(model(inputs)), strict=True):
            np.testing.assert_array_equal(a, b)


def test_an_image_and_its_labels_are_warped_alike(rng, tmp_path):
    images = keras.Input([12, 16, 1])
    photos, labels = (
        keras.Input([24, 20, 3], dtype="uint8"),
        keras.Input([24, 20, 1], dtype="int64"),
    )
    layer = SpatialTransformer(net(), "affine", interpolation=["linear", "nearest"])
    model = keras.Model([images, photos, labels], layer(images, source=[photos, labels]))
    moved(layer, rng)
    arrays = [IMAGES, (255 * PHOTOS).astype(np.uint8), (2**40 * MASKS).astype(np.int64)]
    photo, label = model(arrays)
    assert (photo.dtype, label.dtype) == (tf.uint8, tf.int64)
    assert np.unique(label).tolist() == [0, 2**40]
    as_numbers = layer(IMAGES, source=[255 * PHOTOS // 1, MASKS])
    np.testing.assert_array_equal(photo, np.round(as_numbers[0]))
    np.testing.assert_array_equal(label, 2**40 * np.asarray(as_numbers[1]).astype(np.int64))
    assert_same_when_loaded_and_cloned(model, arrays, tmp_path)


def test_layer_has_at_most_ten_arguments_of_its_own_named_after_the_second():
    parameters = inspect.signature(SpatialTransformer.__init__).parameters
    own = [each for each in parameters.values() if each.kind != each.VAR_KEYWORD][1:]
    assert len(own) <= 10
    positional = [each.name for each in own if each.kind == each.POSITIONAL_OR_KEYWORD]
    assert positional == ["localisation", "transformation"]


# What is warped

CALLS = {
    "source by name": ([IMAGES, PHOTOS], lambda layer, x, s: layer(x, source=s)),
    "source by position": ([IMAGES, PHOTOS], lambda layer, x, s: layer(x, s)),
    "parameters": ([IMAGES], lambda layer, x: layer(x, return_parameters=True)),
    "source and parameters": (
        [IMAGES, PHOTOS],
        lambda layer, x, s: layer(x, source=s, return_parameters=True),
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_functional_model_is_saved_loaded_and_cloned(rng, name, tmp_path):
    arrays, call = CALLS[name]
    inputs = [keras.Input(each.shape[1:]) for each in arrays]
    layer = SpatialTransformer(net(), "rigid", output_size=(10, 20), fill_value=0.5)
    outputs = call(layer, *inputs)
    model = keras.Model(inputs, outputs)
    moved(layer, rng)
    results = flat(model(arrays))
    for a, b in zip(results, flat(call(layer, *map(tf.constant, arrays))), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    for result, output in zip(results, flat(outputs), strict=True):
        assert tuple(output.shape) == (None, *result.shape[1:])
    assert_same_when_loaded_and_cloned(model, arrays, tmp_path)


def test_source_is_warped_by_what_is_seen_in_the_images(rng):
    layer = SpatialTransformer(net(), "rigid")
    layer(IMAGES, source=PHOTOS)
    moved(layer, rng)
    output, parameters = layer(IMAGES, source=PHOTOS, return_parameters=True)
    np.testing.assert_array_equal(parameters, layer.parameters(IMAGES))
    theta = Rigid().matrix(parameters, (24, 20))
    np.testing.assert_allclose(layer.theta(IMAGES, PHOTOS), theta)
    np.testing.assert_allclose(output, tf_stn.affine_resampler(PHOTOS, theta), atol=1e-6)
    np.testing.assert_allclose(
        output, tf_stn.resampler(PHOTOS, layer.warp(IMAGES, PHOTOS)), atol=1e-5
    )
    assert not np.allclose(theta, layer.theta(IMAGES))  # Of another proportion.


def test_photo_and_mask_are_warped_alike(rng, tmp_path):
    look, photo, mask = (keras.Input(each.shape[1:]) for each in (IMAGES, PHOTOS, MASKS))
    layer = SpatialTransformer(net(), "rigid", interpolation=["linear", "nearest"])
    outputs, parameters = layer(look, source=[photo, mask], return_parameters=True)
    model = keras.Model([look, photo, mask], [*outputs, parameters])
    moved(layer, rng)
    warped, labels, found = model([IMAGES, PHOTOS, MASKS])
    assert set(np.unique(labels)) == {0, 1}
    theta = Rigid().matrix(found, (24, 20))
    np.testing.assert_allclose(warped, tf_stn.affine_resampler(PHOTOS, theta), atol=1e-6)
    assert_same_when_loaded_and_cloned(model, [IMAGES, PHOTOS, MASKS], tmp_path)


def test_list_of_one_source_gives_a_list_of_one_output():
    layer = SpatialTransformer(net())
    (output,) = layer(IMAGES, source=[PHOTOS])
    np.testing.assert_array_equal(output, layer(IMAGES, source=PHOTOS))


def test_net_may_look_at_several_images(rng, tmp_path):
    """A pair to register: the net takes both, and one of them is warped."""
    inputs = [keras.Input(IMAGES.shape[1:]) for _ in range(2)]
    features = keras.layers.Dense(4)(keras.layers.Flatten()(keras.layers.Concatenate()(inputs)))
    layer = SpatialTransformer(keras.Model(inputs, features), "rigid")
    fixed, moving = (keras.Input(IMAGES.shape[1:]) for _ in range(2))
    model = keras.Model([fixed, moving], layer([fixed, moving], source=moving))
    moved(layer, rng)
    arrays = [IMAGES, IMAGES[::-1]]
    parameters = layer.parameters(arrays)
    theta = Rigid().matrix(parameters, (12, 16))
    expected = tf_stn.affine_resampler(IMAGES[::-1], theta)
    np.testing.assert_allclose(model(arrays), expected, atol=1e-6)
    assert_same_when_loaded_and_cloned(model, arrays, tmp_path)


def test_several_images_need_a_source():
    inputs = [keras.Input(IMAGES.shape[1:]) for _ in range(2)]
    features = keras.layers.Flatten()(keras.layers.Concatenate()(inputs))
    layer = SpatialTransformer(keras.Model(inputs, features), "rigid")
    with pytest.raises(ValueError, match="`source` must say what is warped"):
        layer([IMAGES, IMAGES])


def test_net_may_look_at_features_and_an_image_be_warped():
    """A vector of each image, from elsewhere in the model."""
    layer = SpatialTransformer(keras.layers.Dense(3), "rigid")
    assert layer(np.zeros([3, 5], np.float32), source=PHOTOS).shape == PHOTOS.shape


def test_name_is_for_images_and_volumes():
    assert SpatialTransformer(keras.layers.Flatten(), "rigid")(VOLUMES).shape == VOLUMES.shape
    layer = SpatialTransformer(net(), "rigid")
    layer(IMAGES, source=np.repeat(VOLUMES, 2, axis=0)[:3])
    assert layer.head.units == 6


def test_parameters_keep_full_precision_under_every_policy():
    layer = SpatialTransformer(net(), dtype="mixed_float16")
    output, parameters = layer(IMAGES, return_parameters=True)
    symbolic = layer(keras.Input(IMAGES.shape[1:]), return_parameters=True)
    assert [each.dtype for each in (output, parameters)] == [tf.float16, tf.float32]
    assert [tf.as_dtype(each.dtype) for each in symbolic] == [tf.float16, tf.float32]


@pytest.mark.parametrize("source_shape", [None, (3, 24, 20, 3)], ids=str)
def test_compute_output_shape_knows_the_source(source_shape):
    layer = SpatialTransformer(net(), Several(Affine(), 2), output_size=(5, 6))
    shape = layer.compute_output_shape((3, 12, 16, 1), source_shape)
    assert shape == (3, 2, 5, 6, 3 if source_shape else 1)


# Where parameters come from


def predicting(transformation, parameters):
    """A net that predicts the same parameters for all images, as those of PyTorch do."""
    values = np.ravel(parameters).tolist()
    return keras.Sequential(
        [
            keras.layers.Flatten(),
            keras.layers.Dense(
                len(values),
                kernel_initializer="zeros",
                bias_initializer=keras.initializers.Constant(values),
            ),
        ]
    )


def test_net_may_predict_the_parameters_itself(tmp_path):
    theta = [0.5, 0.0, 0.1, 0.0, 0.5, -0.1]
    layer = SpatialTransformer(predicting(Affine(), theta), head=None)
    model = keras.Sequential([keras.Input(IMAGES.shape[1:]), layer])
    expected = tf_stn.affine_resampler(IMAGES, np.array([theta], np.float32))
    np.testing.assert_allclose(model(IMAGES), expected, atol=1e-6)
    assert len(layer.weights) == 2
    assert_same_when_loaded_and_cloned(model, IMAGES, tmp_path)


@pytest.mark.parametrize("shaped", [False, True], ids=["[batch, n p]", "[batch, n, p]"])
def test_net_may_predict_the_parameters_of_several(shaped):
    shifts = np.array([[0.0, 0.0], [0.5, 0.0], [0.0, -0.5]], np.float32)
    several = predicting(None, shifts)
    if shaped:
        several.add(keras.layers.Reshape((3, 2)))
    layer = SpatialTransformer(several, Several(transformations.Translation(), 3), head=None)
    output, parameters = layer(IMAGES, return_parameters=True)
    np.testing.assert_array_equal(parameters, np.broadcast_to(shifts, [3, 3, 2]))
    assert output.shape == (3, 3, 12, 16, 1)


def test_net_may_predict_a_field(rng):
    layer = SpatialTransformer(
        keras.layers.Conv2D(2, 3, padding="same"), DenseDisplacement(), head=None
    )
    output, field = layer(IMAGES, return_parameters=True)
    assert np.abs(field).max() > 0.1
    np.testing.assert_allclose(output, tf_stn.displacement_resampler(IMAGES, field), atol=1e-6)


def test_head_may_be_a_layer_of_ones_own(rng, tmp_path):
    head = keras.Sequential([keras.layers.Dense(5, "relu"), keras.layers.Dense(3)])
    layer = SpatialTransformer(net(), "rigid", head=head)
    model = keras.Sequential([keras.Input(IMAGES.shape[1:]), layer])
    expected = head(layer.localisation(IMAGES))
    np.testing.assert_allclose(layer.parameters(IMAGES), expected, atol=1e-6)
    assert len(layer.trainable_variables) == 6
    assert_same_when_loaded_and_cloned(model, IMAGES, tmp_path)


def test_windows_start_side_by_side():
    layer = SpatialTransformer(
        net(), Tiled(Attention(0.5), (2, 2)), output_size=(6, 8), align_corners=False
    )
    windows = layer(IMAGES)
    tiles = [IMAGES[:, y : y + 6, x : x + 8] for y in (0, 6) for x in (0, 8)]
    np.testing.assert_allclose(windows, np.stack(tiles, axis=1), atol=1e-6)


def test_start_of_a_transformation_is_the_bias_of_the_head():
    start = [0.5, 0.25, 0.0]
    layer = SpatialTransformer(net(), transformations.StartingAt(Attention(), start))
    np.testing.assert_array_equal(layer(IMAGES, return_parameters=True)[1], [start] * 3)


def test_transform_may_be_given_as_a_layer():
    own = Transform("rigid", output_size=(5, 6), padding="border", name="own")
    layer = SpatialTransformer(net(), own)
    assert layer.transform is own
    assert layer.transformation == "rigid"
    assert layer(IMAGES).shape == (3, 5, 6, 1)


# Errors


WRONG = {
    "sampling twice": (
        lambda: SpatialTransformer(net(), Transform("rigid"), padding="border"),
        "`padding` must be given to the layer Transform alone.*received 'border'",
    ),
    "unknown head": (
        lambda: SpatialTransformer(net(), head="linear"),
        "`head` must be 'dense', a layer, or None, received 'linear'",
    ),
    "no localisation": (
        lambda: SpatialTransformer("net"),
        "`localisation` must be a layer or model of .*received 'net'",
    ),
    "American spelling": (lambda: SpatialTransformer(localization=net()), "localisation"),
    "too few parameters": (
        lambda: SpatialTransformer(net(5), head=None)(IMAGES),
        r"`localisation` must return the parameters, \[batch, 6\], of Affine.*where `head` is None",
    ),
    "too few of several": (
        lambda: SpatialTransformer(net(6), Several(Affine(), 2), head=None)(IMAGES),
        r"must return the parameters, \[batch, 12\] or \[batch, 2, 6\], of Several.*where",
    ),
    "no field": (
        lambda: SpatialTransformer(net(2), "dense_displacement", head=None)(IMAGES),
        r"must return the parameters, \[batch, height, width, 2\], of DenseDisplacement.*where",
    ),
    "images as a source of volumes": (
        lambda: SpatialTransformer(net(), Rigid(rank=3))(IMAGES),
        r"`transformation` must be of rank 2, received Rigid\(rank=3",
    ),
    "a source of no images": (
        lambda: SpatialTransformer(net())(IMAGES, source=PHOTOS[0]),
        r"`source` must have shape \[batch, height, width, channels\]",
    ),
    "a source of complex numbers": (
        lambda: SpatialTransformer(net())(IMAGES, source=PHOTOS.astype(np.complex64)),
        "`source` must be of type float16, .* or bool, received complex64",
    ),
    "images of integers": (
        lambda: SpatialTransformer(net())((255 * IMAGES).astype(np.uint8)),
        "`images` must be of type float16.*received uint8, through which nothing is learned",
    ),
    "a matrix of no matrix": (
        lambda: built(SpatialTransformer(net(), "thin_plate_spline")).theta(IMAGES),
        r"theta\(\) needs a transformation that has a matrix, received ThinPlateSpline",
    ),
    "a head of another size": (
        lambda: SpatialTransformer(net(), "rigid", head=keras.layers.Dense(4))(IMAGES),
        "`head` must return the parameters.*received",
    ),
}


def built(layer):
    layer(IMAGES)
    return layer


@pytest.mark.parametrize("case", WRONG)
def test_wrong_arguments_are_refused_by_name(case):
    call, message = WRONG[case]
    with pytest.raises((TypeError, ValueError), match=message):
        call()
