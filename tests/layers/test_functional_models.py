"""Functions called on symbolic tensors: nodes of models that are saved, loaded and trained."""

import numpy as np
import pytest
import tensorflow as tf

import tf_stn
from tf_stn._keras import keras

IS_KERAS_3 = hasattr(keras, "Operation")
IMAGES = np.random.default_rng(0).random([2, 7, 9, 3], np.float32)
THETA = np.array([[0.9, 0.1, 0.0, -0.1, 0.9, 0.2], [1.1, 0.0, 0.3, 0.2, 0.8, 0.0]], np.float32)
MATRIX = np.random.default_rng(1).normal(np.eye(3), 0.1, [2, 3, 3]).astype(np.float32)
WARP = np.random.default_rng(2).uniform(-1, 8, [2, 5, 2]).astype(np.float32)
FIELD = np.random.default_rng(3).normal(size=[2, 7, 9, 2]).astype(np.float32)
SIDES = np.array([[4, 5]], np.int32)
WORLD = np.diag([2.0, 3.0, 1.0, 1.0])

# The function, and its arguments: arrays become inputs of the model, everything else stays.
CALLS = {
    "resampler": (lambda d, w: tf_stn.resampler(d, w, interpolation="cubic"), IMAGES, WARP),
    "resampler, all named": (lambda d, w: tf_stn.resampler(data=d, warp=w), IMAGES, WARP),
    "affine_resampler": (tf_stn.affine_resampler, IMAGES, THETA),
    "affine_resampler, NumPy sizes and fill": (
        lambda d, t: tf_stn.affine_resampler(
            d, t, (np.int64(4), np.int64(5)), fill_value=np.float32(0.5)
        ),
        IMAGES,
        THETA,
    ),
    "affine_resampler, a list to fill": (
        lambda d, t: tf_stn.affine_resampler(d, t, fill_value=[0.1, 0.2, 0.3]),
        IMAGES,
        THETA,
    ),
    "affine_resampler, a constant theta": (
        lambda d: tf_stn.affine_resampler(d, THETA[:1].astype(np.float64)),
        IMAGES,
    ),
    "affine_resampler, a constant tensor": (
        lambda d: tf_stn.affine_resampler(d, tf.constant(THETA[:1])),
        IMAGES,
    ),
    "affine_resampler, a constant image": (
        lambda t: tf_stn.affine_resampler(tf.constant(IMAGES[:1]), t),
        THETA,
    ),
    "affine_resampler of a product": (
        lambda d, t: tf_stn.affine_resampler(0.5 * d, t),
        IMAGES,
        THETA,
    ),
    "affine_resampler in pixels": (
        lambda d, t: tf_stn.affine_resampler(d, t, units="pixels"),
        IMAGES,
        THETA,
    ),
    "projective_resampler": (tf_stn.projective_resampler, IMAGES, MATRIX),
    "displacement_resampler": (tf_stn.displacement_resampler, IMAGES, FIELD),
    "affine_grid of images' sizes": (lambda t, d: tf_stn.affine_grid(t, d, d), THETA, IMAGES),
    "a grid, then the sampler": (
        lambda d, t: tf_stn.resampler(d, tf_stn.affine_grid(t, (4, 5), (7, 9))),
        IMAGES,
        THETA,
    ),
    "identity_grid": (lambda d, w: tf_stn.identity_grid(d) + w, IMAGES, FIELD),
    "to_normalised": (lambda m: tf_stn.matrices.to_normalised(m, (4, 5), (7, 9)), MATRIX),
    "to_pixels": (lambda m: tf_stn.matrices.to_pixels(m, (4, 5), (7, 9)), MATRIX),
    "inverse": (tf_stn.matrices.inverse, MATRIX),
    "compose": (lambda m: tf_stn.matrices.compose(m, m), MATRIX),
    "fields.compose": (tf_stn.fields.compose, FIELD, FIELD[::-1]),
    "fields.compose with a constant matrix": (
        lambda u: tf_stn.fields.compose([[[0.9, 0.0, 1.0], [0.0, 1.1, 0.0]]], u),
        FIELD,
    ),
    "fields.exponential": (lambda v: tf_stn.fields.exponential(v, steps=3), FIELD),
    "fields.inverse": (lambda u: tf_stn.fields.inverse(0.2 * u), FIELD),
    "fields.jacobian_determinant": (tf_stn.fields.jacobian_determinant, FIELD),
    "fields.resize": (lambda u: tf_stn.fields.resize(u, (4, 5)), FIELD),
    "fields.resize to an image": (tf_stn.fields.resize, FIELD, IMAGES[:, :4]),
    "fields.map_points": (tf_stn.fields.map_points, FIELD, WARP),
    "fields.b_spline": (lambda c: tf_stn.fields.b_spline(c, (12, 11)), FIELD),
    "fields.thin_plate_spline": (
        lambda a, b: tf_stn.fields.thin_plate_spline(a, b, (7, 9)),
        WARP,
        WARP[::-1],
    ),
    "fields.from_warp": (tf_stn.fields.from_warp, FIELD),
    "fields.to_warp": (tf_stn.fields.to_warp, FIELD),
    "from_world": (
        lambda w: tf_stn.matrices.from_world(WORLD, 2 * WORLD, w),
        np.eye(4, dtype=np.float32)[None] + 0.1,
    ),
}
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
