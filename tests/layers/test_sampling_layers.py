"""Layers that sample where others say: Resampler, DisplacementResampler and Transform."""

import numpy as np
import pytest
import tensorflow as tf

import tf_stn
from tf_stn import fields, metrics, regularizers, transformations
from tf_stn._keras import keras
from tf_stn.layers import DisplacementResampler, Resampler, Transform

IS_KERAS_3 = hasattr(keras, "Operation")
IMAGES = np.random.default_rng(0).random([2, 7, 9, 3], np.float32)
MASKS = (np.random.default_rng(1).random([2, 7, 9, 1]) > 0.5).astype(np.float32)
VOLUMES = np.random.default_rng(2).random([2, 4, 5, 6, 1], np.float32)
WARP = np.random.default_rng(3).uniform(-1, 8, [2, 4, 5, 2]).astype(np.float32)
FIELD = np.random.default_rng(4).normal(size=[2, 7, 9, 2]).astype(np.float32)
FIELD_3D = np.random.default_rng(5).normal(size=[2, 4, 5, 6, 3]).astype(np.float32)
RIGID = np.array([[0.3, 0.1, -0.2], [-0.4, 0.0, 0.1]], np.float32)
RIGID_3D = np.array([[0.3, 0.1, -0.2, 0.1, 0.0, 0.2]] * 2, np.float32)
SEVERAL = np.stack([RIGID, RIGID[::-1], 2 * RIGID], axis=1)

rigid = transformations.Rigid()

# The layer, its inputs, and what it is to give.
CALLS = {
    "Resampler": (
        lambda: Resampler(interpolation="cubic", padding="border"),
        [IMAGES, WARP],
        lambda x, w: tf_stn.resampler(x, w, interpolation="cubic", padding="border"),
    ),
    "Resampler with a fill": (
        lambda: Resampler(fill_value=[0.1, 0.2, 0.3]),
        [IMAGES, WARP],
        lambda x, w: tf_stn.resampler(x, w, fill_value=[0.1, 0.2, 0.3]),
    ),
    "DisplacementResampler": (
        lambda: DisplacementResampler(fill_value=0.5),
        [IMAGES, FIELD],
        lambda x, u: tf_stn.displacement_resampler(x, u, fill_value=0.5),
    ),
    "DisplacementResampler of volumes": (
        DisplacementResampler,
        [VOLUMES, FIELD_3D],
        tf_stn.displacement_resampler,
    ),
    "Transform by name": (
        lambda: Transform("rigid"),
        [IMAGES, RIGID],
        lambda x, p: tf_stn.affine_resampler(x, rigid.matrix(p, (7, 9))),
    ),
    "Transform with all options": (
        lambda: Transform(
            "rigid",
            output_size=(np.int64(4), np.int32(5)),
            interpolation="nearest",
            fill_value=0.5,
            align_corners=False,
        ),
        [IMAGES, RIGID],
        lambda x, p: tf_stn.affine_resampler(
            x,
            rigid.matrix(p, (7, 9), align_corners=False),
            (4, 5),
            align_corners=False,
            interpolation="nearest",
            fill_value=0.5,
        ),
    ),
    "Transform of volumes by the same name": (
        lambda: Transform("rigid"),
        [VOLUMES, RIGID_3D],
        lambda x, p: tf_stn.affine_resampler(x, transformations.Rigid(rank=3).matrix(p, (4, 5, 6))),
    ),
    "Transform by a thin plate spline": (
        lambda: Transform(transformations.ThinPlateSpline((2, 2)), padding="border"),
        [IMAGES, np.array([[-1, -1, 1, -0.5, -0.8, 1, 1, 0.9]] * 2, np.float32)],
        lambda x, p: tf_stn.resampler(
            x, transformations.ThinPlateSpline((2, 2)).warp(p, (7, 9), (7, 9)), padding="border"
        ),
    ),
    "Transform by a projective map": (
        lambda: Transform("projective"),
        [IMAGES, np.array([[0.9, 0.1, 0, 0.1, 1.1, 0.2, 0.1, -0.1]] * 2, np.float32)],
        lambda x, p: tf_stn.projective_resampler(x, transformations.Projective().matrix(p)),
    ),
    "Transform by a displacement": (
        lambda: Transform("dense_displacement"),
        [IMAGES, FIELD],
        tf_stn.displacement_resampler,
    ),
    "Transform by a velocity": (
        lambda: Transform(transformations.VelocityField(steps=5)),
        [IMAGES, FIELD],
        lambda x, v: tf_stn.displacement_resampler(x, fields.exponential(v, steps=5)),
    ),
    "Transform by several": (
        lambda: Transform("rigid", output_size=(3, 4)),
        [IMAGES, SEVERAL],
        lambda x, p: tf_stn.affine_resampler(x, rigid.matrix(p, (7, 9)), (3, 4)),
    ),
    "Transform of an image and its mask": (
        lambda: Transform("rigid", interpolation=["linear", "nearest"]),
        [IMAGES, MASKS, RIGID],
        lambda x, m, p: [
            tf_stn.affine_resampler(x, rigid.matrix(p, (7, 9))),
            tf_stn.affine_resampler(m, rigid.matrix(p, (7, 9)), interpolation="nearest"),
        ],
    ),
}
BY_CALL = pytest.mark.parametrize("name", CALLS)


def flat(values):
    return list(values) if isinstance(values, (list, tuple)) else [values]


def assert_equal(actual, expected, atol=0.0):
    for a, b in zip(flat(actual), flat(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=atol)


def model_of(layer, arrays, known=True):
    shapes = [
        each.shape[1:] if known or each.ndim < 4 else (*[None] * (each.ndim - 2), each.shape[-1])
        for each in arrays
    ]
    inputs = [keras.Input(shape) for shape in shapes]
    return keras.Model(inputs, layer(inputs))


@BY_CALL
def test_layer_gives_what_the_function_gives(name):
    layer, arrays, expected = CALLS[name]
    assert_equal(layer()(arrays), expected(*map(tf.constant, arrays)), atol=1e-5)


@BY_CALL
def test_functional_model_is_saved_loaded_and_cloned(name, tmp_path):
    layer, arrays, _ = CALLS[name]
    model = model_of(layer(), arrays)
    expected = layer()(arrays)
    assert_equal(model(arrays), expected, atol=1e-6)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    for again in (loaded, keras.models.clone_model(model)):
        assert_equal(again(arrays), model(arrays))
        assert again.layers[-1].get_config() == model.layers[-1].get_config()


@BY_CALL
def test_sizes_may_be_unknown(name, tmp_path):
    layer, arrays, _ = CALLS[name]
    model = model_of(layer(), arrays, known=False)
    assert_equal(model(arrays), layer()(arrays), atol=1e-6)
    assert_equal(tf.function(model)(arrays), layer()(arrays), atol=1e-6)


@BY_CALL
def test_symbolic_shape_is_that_of_the_result(name):
    layer, arrays, _ = CALLS[name]
    made = layer()
    model = model_of(made, arrays)
    computed = made.compute_output_shape([each.shape for each in arrays])
    computed = computed if isinstance(computed, list) else [computed]
    for symbolic, shape, result in zip(model.outputs, computed, flat(made(arrays)), strict=True):
        assert tuple(symbolic.shape) == (None, *result.shape[1:])
        assert tuple(shape) == result.shape


@BY_CALL
def test_gradients_reach_images_and_places(name):
    layer, arrays, _ = CALLS[name]
    tensors = [tf.constant(each) for each in arrays]
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        loss = tf.add_n([tf.reduce_sum(each**2) for each in flat(layer()(tensors))])
    gradients = tape.gradient(loss, tensors)
    assert np.abs(gradients[0]).max() > 0
    if "nearest" not in str(layer().get_config()["interpolation"]) or len(arrays) > 2:
        assert np.abs(gradients[-1]).max() > 0


@BY_CALL
def test_empty_batch_gives_an_empty_batch(name):
    layer, arrays, _ = CALLS[name]
    for each in flat(layer()([array[:0] for array in arrays])):
        assert each.shape[0] == 0


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float64"])
@BY_CALL
def test_images_have_the_compute_dtype_and_places_their_own(name, policy):
    """On half-precision coordinates the result would be off by far more."""
    layer, arrays, _ = CALLS[name]
    made = type(layer()).from_config(layer().get_config() | {"dtype": policy})
    result, expected = made(arrays), layer()(arrays)
    symbolic = model_of(made, arrays).outputs
    for a, b, c in zip(flat(result), flat(symbolic), flat(expected), strict=True):
        assert a.dtype == made.compute_dtype
        assert tf.as_dtype(b.dtype) == a.dtype
        if "nearest" not in name and "options" not in name:
            rounding = {"mixed_float16": 2e-3, "mixed_bfloat16": 2e-2, "float64": 1e-4}[policy]
            np.testing.assert_allclose(tf.cast(a, tf.float32), c, rtol=0, atol=rounding)


def test_warp_is_returned_in_full_precision_under_every_policy():
    layer = Transform("rigid", dtype="mixed_float16")
    output, warp = layer([IMAGES, RIGID], return_warp=True)
    assert (output.dtype, warp.dtype) == (tf.float16, tf.float32)
    assert_equal(warp, rigid.warp(RIGID, (7, 9), (7, 9)))
    symbolic = layer([keras.Input([7, 9, 3]), keras.Input([3])], return_warp=True)
    assert [tf.as_dtype(each.dtype) for each in symbolic] == [tf.float16, tf.float32]
    assert tuple(symbolic[1].shape) == (None, 7, 9, 2)


def test_each_of_several_tensors_has_a_warp_of_its_own_size():
    layer = Transform("rigid")
    outputs, warps = layer([IMAGES, MASKS[:, :5], RIGID], return_warp=True)
    assert [each.shape for each in outputs] == [(2, 7, 9, 3), (2, 5, 9, 1)]
    assert [each.shape for each in warps] == [(2, 7, 9, 2), (2, 5, 9, 2)]


def test_angles_are_those_of_pixels_whatever_the_size():
    """The same turn of an image and of a copy that is twice as wide."""
    turned = Transform("rigid", padding="border")
    angle = np.array([[0.5, 0.0, 0.0]])
    _, warp = turned([np.zeros([1, 7, 15, 1]), angle], return_warp=True)
    steps = warp[0, 1:, 0] - warp[0, :-1, 0]
    np.testing.assert_allclose(np.linalg.norm(steps, axis=-1), 1, atol=1e-5)


# Regularizers and metrics


def test_regularizers_see_what_they_ask_for():
    several = [
        regularizers.Identity(0.5),
        regularizers.Outside(2.0),
        regularizers.Smoothness(),
        regularizers.BendingEnergy(),
        regularizers.Folding(),
        keras.regularizers.L2(0.25),
    ]
    layer = Transform(transformations.DenseDisplacement(), regularizer=several)
    layer([IMAGES, 3 * FIELD])
    warp = fields.to_warp(3 * FIELD)
    expected = [
        0.5 * np.mean((3 * FIELD) ** 2),
        regularizers.Outside(2.0)(warp, (7, 9)),
        regularizers.Smoothness()(3 * FIELD),
        regularizers.BendingEnergy()(3 * FIELD),
        regularizers.Folding()(3 * FIELD),
        0.25 * np.sum((3 * FIELD) ** 2),
    ]
    np.testing.assert_allclose(layer.losses, expected, rtol=1e-4)


def test_identity_is_regularized_from_where_it_starts():
    layer = Transform("affine", regularizer=regularizers.Identity())
    start = np.array(transformations.Affine().identity_parameters, np.float32)
    layer([IMAGES, np.stack([start, start + 1])])
    np.testing.assert_allclose(layer.losses, [0.5], rtol=1e-6)


@pytest.mark.parametrize("output_size", [(7, 9), (13, 17), (4, 5)], ids=str)
def test_smoothness_is_in_pixels_of_the_output_whatever_its_size(output_size):
    """A shear that moves by half a pixel from one pixel to the next does so at every size."""
    shear = np.array([[1, 0.5 * 6 / 8, 0, 0, 1, 0]], np.float32)  # Of 7 by 9 pixels.
    layer = Transform("affine", output_size=output_size, regularizer=regularizers.Smoothness())
    layer([IMAGES, shear])
    ratio = (output_size[1] - 1) / (output_size[0] - 1) / (8 / 6)
    np.testing.assert_allclose(layer.losses, [0.25 / 4 * ratio**2], rtol=1e-4)


def test_metric_is_one_of_the_model():
    layer = Transform("translation", metrics=metrics.FractionOutside("lost"))
    model = model_of(layer, [IMAGES, RIGID[:, :2]])
    model.compile("sgd", "mse")
    shifts = np.array([[0.0, 0.0], [9.0, 0.0]], np.float32)
    logs = model.evaluate([IMAGES, shifts], IMAGES, return_dict=True, verbose=0)
    assert np.isclose(logs["lost"], 0.5)


def test_regularizer_and_metric_are_saved(tmp_path):
    layer = Transform(
        "translation",
        regularizer=[regularizers.Outside(0.5), regularizers.Smoothness(power=1)],
        metrics=[metrics.FractionOutside("lost")],
        activity_regularizer=keras.regularizers.L2(0.1),
    )
    model = model_of(layer, [IMAGES, RIGID[:, :2]])
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    found = next(each for each in again.layers if isinstance(each, Transform))
    assert found.get_config() == layer.get_config()
    inputs = [IMAGES, 3 * RIGID[:, :2]]
    model(inputs), again(inputs)
    np.testing.assert_allclose(found.losses, layer.losses)
    assert len(layer.losses) == 3


def test_activity_regularizer_is_of_the_outputs_and_divided_by_the_batch():
    layer = Transform("rigid", activity_regularizer=keras.regularizers.L2(0.5))
    output = layer([IMAGES, RIGID])
    np.testing.assert_allclose(layer.losses, [0.5 * np.sum(output**2) / 2], rtol=1e-5)


@pytest.mark.skipif(not IS_KERAS_3, reason="masks of Keras 2 are attached to symbolic tensors")
@pytest.mark.parametrize("name", ["Resampler", "DisplacementResampler", "Transform by name"])
def test_mask_of_the_images_passes(name):
    layer, arrays, _ = CALLS[name]
    images = tf.constant(IMAGES)
    images._keras_mask = mask = tf.constant([True, False])
    output = layer()([images, *map(tf.constant, arrays[1:])])
    np.testing.assert_array_equal(output._keras_mask, mask)


# Errors


@keras.saving.register_keras_serializable(package="tests")
class Forgetful(transformations.Transformation):
    """Does not keep its argument by its name."""

    kind = "affine"
    identity_parameters = (0.0,)

    def __init__(self, strength):
        self._strength = strength

    def compute_matrix(self, parameters, frame):
        return tf.eye(2, 3, batch_shape=tf.shape(parameters)[:1], dtype=parameters.dtype)


CONSTRUCTED = {
    "unknown interpolation": (
        lambda: Resampler(interpolation="bilinear"),
        "`interpolation` must be one of .*received 'bilinear'; did you mean 'linear'",
    ),
    "a list of interpolations of one tensor": (
        lambda: Resampler(interpolation=["linear"]),
        "`interpolation` must be one of",
    ),
    "unknown padding": (
        lambda: DisplacementResampler(padding="replicate"),
        "`padding` must be one of .*received 'replicate'; did you mean 'border'",
    ),
    "a fill with another padding": (
        lambda: DisplacementResampler(padding="border", fill_value=1.0),
        "`fill_value` goes with padding 'zeros' alone.*received padding 'border'",
    ),
    "text to fill": (lambda: Resampler(fill_value="white"), "`fill_value` must be a number"),
    "a table to fill": (lambda: Resampler(fill_value=[[1.0]]), "`fill_value` must be a number"),
    "nothing to fill": (lambda: Transform(fill_value=None), "`fill_value` must be a number"),
    "one size": (lambda: Transform(output_size=7), "`output_size` must be two positive integers"),
    "a fractional size": (
        lambda: Transform(output_size=(2.5, 7)),
        "`output_size` must be two positive integers",
    ),
    "a size of a volume": (
        lambda: Transform(transformations.Rigid(), output_size=(2, 3, 4)),
        r"`output_size` must be two positive integers .*received \(2, 3, 4\)",
    ),
    "unknown transformation": (
        lambda: Transform("tps"),
        "`transformation` must be one of .*received 'tps'; did you mean 'thin_plate_spline'",
    ),
    "a class": (lambda: Transform(transformations.Rigid), "`transformation` must be"),
    "a number for align_corners": (
        lambda: Transform(align_corners=1),
        "`align_corners` must be True or False, received 1",
    ),
    "no regularizer": (
        lambda: Transform(regularizer=0.1),
        "`regularizer` must be a regularizer .*received 0.1",
    ),
    "unknown regularizer": (
        lambda: Transform(regularizer=["smooth"]),
        "`regularizer` must be a regularizer .*received 'smooth'",
    ),
    "no metric": (lambda: Transform(metrics="outside"), "`metrics` must be a metric"),
    "unknown argument": (lambda: Transform(outputs=3), "outputs"),
}


@pytest.mark.parametrize("case", CONSTRUCTED)
def test_wrong_arguments_are_refused_when_the_layer_is_made(case):
    call, message = CONSTRUCTED[case]
    with pytest.raises((TypeError, ValueError), match=message):
        call()


def test_transformation_that_cannot_be_saved_is_refused_when_the_layer_is_made():
    with pytest.raises(NotImplementedError, match=r"Forgetful .*`strength`"):
        Transform(Forgetful(2.0))


CALLED = {
    "images alone": (Resampler, IMAGES, r"`inputs` must be a list \[images, warp\]"),
    "three tensors": (Resampler, [IMAGES, WARP, WARP], r"\[images, warp\], received 3 of them"),
    "no parameters": (Transform, [IMAGES], r"`inputs` must be a list \[images, parameters\]"),
    "a warp of one coordinate": (
        Resampler,
        [IMAGES, WARP[..., :1]],
        r"`warp` must have shape \[batch, ..., 2\], received",
    ),
    "complex numbers": (
        Transform,
        [IMAGES.astype(np.complex64), np.zeros([2, 6], np.float32)],
        "`images` must be of type float16, .* or bool, received complex64",
    ),
    "too few parameters": (Transform, [IMAGES, RIGID], "`parameters` of Affine must have shape"),
    "a matrix of images": (
        Transform,
        [IMAGES[..., 0], np.zeros([2, 6], np.float32)],
        r"`images` must have shape \[batch, height, width, channels\] or",
    ),
    "a transformation of volumes": (
        lambda: Transform(transformations.Rigid(rank=3)),
        [IMAGES, RIGID_3D],
        r"`transformation` must be of rank 2, received Rigid\(rank=3",
    ),
    "a size of volumes": (
        lambda: Transform("rigid", output_size=(2, 3, 4)),
        [IMAGES, RIGID],
        "`output_size` must be two positive integers",
    ),
    "interpolations for two": (
        lambda: Transform("rigid", interpolation=["linear", "nearest"]),
        [IMAGES, RIGID],
        "`interpolation` must be one for each of 1 tensors",
    ),
}


@pytest.mark.parametrize("mode", ["eager", "functional"])
@pytest.mark.parametrize("case", CALLED)
def test_wrong_inputs_are_refused_by_name(case, mode):
    layer, arrays, message = CALLED[case]
    if mode == "functional":
        arrays = tf.nest.map_structure(
            lambda x: keras.Input(x.shape[1:], dtype=x.dtype.name), arrays
        )
    with pytest.raises((TypeError, ValueError, tf.errors.InvalidArgumentError), match=message):
        layer()(arrays)


def test_another_keras_backend_is_refused_by_name(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(RuntimeError, match=r"Resampler needs .*, received 'jax'"):
        Resampler()
