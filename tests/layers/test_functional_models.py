"""Functions called on symbolic tensors: nodes of models that are saved, loaded and trained."""

import numpy as np
import pytest
import tensorflow as tf
from public_calls import CALLS, IMAGES, SIDES, THETA, WARP

import tf_stn
from tf_stn._keras import keras

IS_KERAS_3 = hasattr(keras, "Operation")
ENDINGS = pytest.mark.parametrize("ending", ["keras"] if IS_KERAS_3 else ["keras", "h5"])


def model_of(function, *arrays, known=True):
    """A functional model that calls `function`."""
    inputs = []
    for array in arrays:
        sides = array.ndim == 4 and not known
        shape = (None, None, array.shape[-1]) if sides else array.shape[1:]
        inputs.append(keras.Input(shape, dtype=array.dtype.name))
    outputs = function(*inputs)
    return keras.Model(inputs if len(inputs) > 1 else inputs[0], outputs)


def reloaded(model, path):
    model.save(path)
    return keras.models.load_model(path)


@ENDINGS
@pytest.mark.parametrize("name", CALLS)
def test_model_gives_the_same_as_the_eager_call_and_again_when_loaded(tmp_path, name, ending):
    function, *arrays = CALLS[name]
    model = model_of(function, *arrays)
    inputs = arrays if len(arrays) > 1 else arrays[0]
    expected = function(*map(tf.constant, arrays))
    np.testing.assert_allclose(model(inputs), expected, rtol=0, atol=1e-6)
    for other in (reloaded(model, tmp_path / f"model.{ending}"), keras.models.clone_model(model)):
        np.testing.assert_array_equal(other(inputs), model(inputs))


@pytest.mark.parametrize(
    "name",
    ["affine_resampler", "displacement_resampler", "affine_grid of images' sizes", "identity_grid"],
)
def test_sides_may_be_unknown(tmp_path, name):
    function, *arrays = CALLS[name]
    model = model_of(function, *arrays, known=False)
    assert tuple(model.output_shape)[:3] == (None, None, None)
    expected = function(*map(tf.constant, arrays))
    loaded = reloaded(model, tmp_path / "model.keras")
    np.testing.assert_allclose(loaded(arrays), expected, rtol=0, atol=1e-6)


@pytest.mark.skipif(not IS_KERAS_3, reason="tf_keras turns slices of inputs into other layers")
def test_sides_may_be_tensors_of_the_model(tmp_path):
    images, theta = keras.Input((7, 9, 3)), keras.Input((6,))
    sides = keras.Input((2,), batch_size=1, dtype="int32")
    output = tf_stn.affine_resampler(images, theta, (sides[0, 0], sides[0, 1]))
    model = reloaded(keras.Model([images, theta, sides], output), tmp_path / "model.keras")
    expected = tf_stn.affine_resampler(IMAGES, THETA, (4, 5))
    np.testing.assert_allclose(model([IMAGES, THETA, SIDES]), expected, rtol=0, atol=1e-6)


def test_sides_that_are_none_say_to_give_the_image():
    theta = keras.Input((6,))
    with pytest.raises(ValueError, match=r"`input_size` must be .*None.*give the image itself"):
        tf_stn.affine_grid(theta, (4, 5), (None, None))


def test_name_names_the_node_and_others_are_counted():
    images, theta = keras.Input((7, 9, 3)), keras.Input((6,))
    looked = tf_stn.affine_resampler(images, theta, name="look")
    again = tf_stn.affine_resampler(tf_stn.affine_resampler(looked, theta), theta)
    model = keras.Model([images, theta], again)
    names = [each.name for each in (model.operations if IS_KERAS_3 else model.layers)]
    assert "look" in names
    assert sum(name.startswith("affine_resampler_") for name in names) == 2


def test_weights_before_the_node_are_trained():
    images = keras.Input((7, 9, 3))
    theta = keras.layers.Dense(
        6, kernel_initializer="zeros", bias_initializer=keras.initializers.Constant(THETA[0])
    )(keras.layers.Flatten()(images))
    model = keras.Model(images, tf_stn.affine_resampler(images, theta))
    model.compile("sgd", "mse", jit_compile=False)
    before = [np.array(weight) for weight in model.get_weights()]
    model.fit(IMAGES, 0.5 * IMAGES, verbose=0)
    assert all((old != new).any() for old, new in zip(before, model.get_weights(), strict=True))


def test_half_images_stay_half():
    output = tf_stn.affine_resampler(keras.Input((7, 9, 3), dtype="float16"), keras.Input((6,)))
    assert tf.as_dtype(output.dtype) == tf.float16


@pytest.mark.parametrize(
    "call, message",
    [
        (
            lambda d, t: tf_stn.affine_resampler(d, t, padding="zero"),
            "`padding` must be one of 'zeros', .* received 'zero'; did you mean 'zeros'",
        ),
        (
            lambda d, t: tf_stn.affine_resampler(d, t, output_size=(4, 0)),
            r"`output_size` must be two positive integers \(height, width\), received \(4, 0\)",
        ),
        (
            lambda d, t: tf_stn.affine_resampler(d, keras.Input((5,))),
            r"`theta` must have shape \[batch, ..., 2, 3\] or \[batch, 6\], received \[None, 5\]",
        ),
        (
            lambda d, t: tf_stn.resampler(d, keras.Input((5, 3))),
            r"`warp` must have shape \[batch, \.\.\., 2\], received \[",
        ),
    ],
    ids=["mode", "size", "theta", "warp"],
)
def test_errors_are_those_of_the_function(call, message):
    with pytest.raises(ValueError, match=message) as error:
        call(keras.Input((7, 9, 3)), keras.Input((6,)))
    if IS_KERAS_3:
        assert "Exception encountered" not in str(error.value)


def test_wrong_arguments_are_those_of_python():
    with pytest.raises(TypeError, match="unexpected keyword argument 'pading'"):
        tf_stn.resampler(keras.Input((7, 9, 3)), WARP, pading="border")
