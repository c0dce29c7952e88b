"""Exported to ONNX, models and functions compute in ONNX Runtime what they compute here.

Exports take a second for each sample, so few files are made and much is checked of each.
"""

import contextlib
import os
import re

import numpy as np
import onnx
import onnxruntime
import pytest
import tensorflow as tf
from problems import MODES

import tf_stn
from tf_stn._keras import keras

SIZE = (7, 6)
SPECIAL = {"NaN": np.nan, "infinite": np.inf, "minus infinite": -np.inf, "huge": 1e30}


class Exported:
    """What a file computes, by the names of its outputs."""

    def __init__(self, path):
        self.model = onnx.load(path)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(path, options)

    def __call__(self, *arrays):
        inputs = [entry.name for entry in self.session.get_inputs()]
        outputs = [entry.name for entry in self.session.get_outputs()]
        feeds = {n: np.asarray(a) for n, a in zip(inputs, arrays, strict=True)}
        return dict(zip(outputs, self.session.run(None, feeds), strict=True))

    @property
    def operators(self):
        return {node.op_type for node in self.model.graph.node}


@pytest.fixture
def export(tmp_path):
    """Exports, and returns what the file computes."""

    def call(model, *specs, **named):
        path = str(tmp_path / "model.onnx")
        signature = {"input_signature": list(specs)} if specs else {}
        tf_stn.onnx.export(model, path, **signature, **named)
        assert os.listdir(tmp_path) == ["model.onnx"]
        return Exported(path)

    return call


def spec_of(array):
    return tf.TensorSpec(array.shape, array.dtype)


def images(rng, batch=2, size=SIZE, channels=3, dtype=np.float32):
    return rng.normal(size=[batch, *size, channels]).astype(dtype)


def points(rng, *shape, rank=2, dtype=np.float32):
    """Points inside and around images, a half of them on pixel centres and halfway between."""
    warp = rng.uniform(-9, 15, [*shape, rank])
    halves = rng.integers(-18, 30, warp.shape) / 2
    return np.where(rng.integers(0, 2, [*shape, 1]), warp, halves).astype(dtype)


def sample_by_all_modes(data, warp):
    outputs = {
        f"{interpolation}-{padding}": tf_stn.resampler(
            data, warp, interpolation=interpolation, padding=padding
        )
        for interpolation, padding in MODES
    }
    return outputs | {"fill": tf_stn.resampler(data, warp, fill_value=[1.0, -2.0, 3.0])}


def assert_near(results, expected, tolerance=1e-5):
    for name, want in expected.items():
        result = results[name]
        assert result.shape == want.shape, name
        np.testing.assert_allclose(result, want, rtol=0, atol=tolerance, err_msg=name)


@pytest.fixture(scope="module")
def all_modes(tmp_path_factory):
    path = str(tmp_path_factory.mktemp("modes") / "modes.onnx")
    specs = [tf.TensorSpec([2, *SIZE, 3]), tf.TensorSpec([2, 40, 5, 2])]
    tf_stn.onnx.export(sample_by_all_modes, path, input_signature=specs)
    return Exported(path)


def test_every_mode_is_a_grid_sample(all_modes, rng):
    operators = [node.op_type for node in all_modes.model.graph.node]
    assert operators.count("GridSample") == len(MODES) + 1
    data, warp = images(rng), points(rng, 2, 40, 5)
    results, expected = all_modes(data, warp), sample_by_all_modes(data, warp)
    assert_near(results, expected)
    for name in expected:  # Ties among them.
        if name.startswith("nearest"):
            np.testing.assert_array_equal(results[name], expected[name])


@pytest.mark.parametrize("special", SPECIAL)
def test_coordinates_that_are_not_finite_or_huge(special, all_modes, rng):
    """NaN is NaN. Far outside it is as here, except where a padding repeats the image."""
    data, warp = images(rng), points(rng, 2, 40, 5)
    warp[0, 0, 0], warp[0, 0, 1, 0], warp[0, 0, 2, 1] = [SPECIAL[special]] * 3
    results, expected = all_modes(data, warp), sample_by_all_modes(data, warp)
    for name, want in expected.items():
        repeats = name.endswith(("reflect", "symmetric", "wrap"))
        if special == "NaN" or not repeats:
            np.testing.assert_allclose(results[name], want, rtol=0, atol=1e-5, err_msg=name)
            assert np.isnan(want).any() == (special == "NaN")
        else:  # Some sample of the image.
            assert np.isfinite(results[name]).all()
            near = np.ones(warp.shape[:-1], bool)
            near[0, 0, :3] = False
            np.testing.assert_allclose(results[name][near], want.numpy()[near], rtol=0, atol=1e-5)


def test_far_outside_but_not_too_far_paddings_repeat_the_image(all_modes, rng):
    data = images(rng)
    warp = points(rng, 2, 40, 5) + rng.integers(-(2**14), 2**14, [2, 40, 5, 2])
    warp = warp.astype(np.float32)
    assert_near(all_modes(data, warp), sample_by_all_modes(data, warp))


def test_pixels_that_are_not_finite_show_in_samples_on_neighbouring_centres(all_modes, rng):
    """The documented difference: here a pixel of weight zero does not matter."""
    data = images(rng)
    data[0, 3, 2] = np.nan
    x, y = np.meshgrid(np.arange(5), np.arange(7))
    grid = np.tile(np.stack([x, y], -1), [2, 6, 1, 1])[:, :40].astype(np.float32)
    results, expected = all_modes(data, grid), sample_by_all_modes(data, grid)
    here, there = (np.isnan(each["linear-border"]) for each in (expected, results))
    assert np.all(here <= there)
    # Only next to it.
    distance = np.abs(grid - [2, 3]).max(-1)
    assert np.all(distance[there.any(-1)] <= 1)


@pytest.fixture(scope="module")
def of_unknown_sizes(tmp_path_factory):
    path = str(tmp_path_factory.mktemp("unknown") / "unknown.onnx")
    specs = [tf.TensorSpec([None] * 4), tf.TensorSpec([None, None, 2]), tf.TensorSpec([None, 6])]
    tf_stn.onnx.export(sample_several, path, input_signature=specs)
    return Exported(path)


def sample_several(data, warp, theta):
    return {
        "cubic-wrap": tf_stn.resampler(data, warp, interpolation="cubic", padding="wrap"),
        "reflect": tf_stn.resampler(data, warp, padding="reflect"),
        "affine": tf_stn.affine_resampler(data, theta, fill_value=0.5),
    }


@pytest.mark.parametrize(
    "batch, grids, size",
    [
        (2, 2, (7, 6)),
        (1, 1, (5, 9)),
        (1, 3, (7, 6)),
        (3, 1, (7, 6)),
        (1, 1, (1, 4)),
        (0, 0, (4, 4)),
    ],
)
def test_sizes_may_be_unknown_and_a_batch_of_one_goes_with_any(
    batch, grids, size, of_unknown_sizes, rng
):
    data, warp = images(rng, batch, size), points(rng, grids, 20)
    theta = np.eye(2, 3).reshape(6) + rng.normal(0, 0.3, [grids, 6])
    arguments = (data, warp, theta.astype(np.float32))
    assert_near(of_unknown_sizes(*arguments), sample_several(*arguments))


TRANSFORMATIONS = (
    "translation",
    "attention",
    "rigid",
    "similarity",
    "affine",
    "projective",
    "thin_plate_spline",
    "b_spline",
    "dense_displacement",
    "velocity_field",
)


def test_every_transformation_is_exported(export, rng):
    inputs = keras.Input([12, 10, 2], name="pictures")
    outputs = []
    for transformation in TRANSFORMATIONS:
        is_field = transformation in ("dense_displacement", "velocity_field")
        net = keras.layers.Conv2D(2, 3, padding="same") if is_field else keras.layers.Flatten()
        layer = tf_stn.SpatialTransformer(net, transformation)
        outputs.append(layer(inputs))
        for variable in layer.trainable_variables:
            variable.assign_add(rng.normal(0, 0.01, variable.shape))
    model = keras.Model(inputs, outputs)
    exported = export(model)
    assert [entry.name for entry in exported.session.get_inputs()] == ["pictures"]
    data = images(rng, 3, (12, 10), 2)
    expected = {f"output_{i}": output for i, output in enumerate(model(data))}
    assert all(np.abs(output - data).max() > 1e-3 for output in expected.values())
    assert_near(exported(data), expected, tolerance=5e-5)


def sample_volumes(data, warp):
    return {
        "linear": tf_stn.resampler(data, warp, padding="symmetric"),
        "nearest": tf_stn.resampler(data, warp, interpolation="nearest", padding="wrap"),
    }


@pytest.mark.parametrize("opset", [18, 20, 24])
def test_volumes_are_grid_samples_from_opset_20_on(opset, export, rng):
    data, warp = images(rng, 2, (4, 5, 6)), points(rng, 2, 9, rank=3)
    exported = export(sample_volumes, spec_of(data), spec_of(warp), opset=opset)
    assert exported.model.opset_import[0].version == opset
    assert ("GridSample" in exported.operators) == (opset >= 20)
    assert_near(exported(data, warp), sample_volumes(data, warp))


@pytest.mark.parametrize("dtype, opset", [("float16", 18), ("float64", 20)])
def test_data_may_be_of_other_types(dtype, opset, export, rng):
    data = images(rng, dtype=dtype)
    warp = points(rng, 1, 3, 4, 5, dtype="float64" if dtype == "float64" else "float32")
    exported = export(tf_stn.resampler, spec_of(data), spec_of(warp), opset=opset)
    (result,) = exported(data, warp).values()
    assert result.dtype == dtype
    tolerance = {"float16": 2e-3, "float64": 1e-13}[dtype]
    assert_near({"output": result}, {"output": tf_stn.resampler(data, warp)}, tolerance)


@pytest.mark.parametrize("is_portable", [False, True], ids=["as GridSample", "portable"])
def test_integers_are_sampled_as_here(is_portable, export, rng):
    photos = rng.integers(0, 256, [2, 5, 6, 3]).astype(np.uint8)
    labels = rng.integers(-(2**31), 2**31, [2, 5, 6, 1]).astype(np.int32)
    warp = points(rng, 2, 30)

    def sample(photos, labels, warp):
        nearest = tf_stn.resampler(labels, warp, interpolation="nearest")
        return {"photo": tf_stn.resampler(photos, warp), "label": nearest}

    with tf_stn.portable() if is_portable else contextlib.nullcontext():
        exported = export(sample, *map(spec_of, (photos, labels, warp)))
    assert ("GridSample" in exported.operators) != is_portable
    result, expected = exported(photos, labels, warp), sample(photos, labels, warp)
    assert {value.dtype.name for value in result.values()} == {"uint8", "int32"}
    np.testing.assert_array_equal(result["label"], expected["label"])
    away = result["photo"].astype(int) - expected["photo"].numpy()
    assert np.abs(away).max() <= 1  # Halves may be rounded the other way.
    assert np.mean(away != 0) < 0.02


def test_inside_portable_all_is_as_here(export, rng):
    data, warp = images(rng), points(rng, 2, 30)
    warp[0, 0], warp[0, 1, 0], warp[0, 2, 1], warp[0, 3] = np.nan, np.inf, -np.inf, 1e30
    data[1, 2, 3] = np.inf

    def sample(data, warp):
        return tf_stn.resampler(data, warp, padding="reflect")

    with tf_stn.portable():
        exported = export(sample, spec_of(data), spec_of(warp))
    assert "GridSample" not in exported.operators
    assert_near(exported(data, warp), {"output_0": sample(data, warp)}, tolerance=1e-6)


def test_a_fill_value_that_is_not_finite_is_portable(export, rng):
    data, warp = images(rng), points(rng, 2, 30)

    def sample(data, warp):
        return tf_stn.resampler(data, warp, fill_value=np.nan)

    exported = export(sample, spec_of(data), spec_of(warp))
    assert "GridSample" not in exported.operators
    assert_near(exported(data, warp), {"output_0": sample(data, warp)})


def test_gradients_of_first_order_are_exported(export, rng):
    data, warp = images(rng), rng.uniform(-1, 7, [2, 9, 2]).astype(np.float32)

    def saliency(data, warp):
        with tf.GradientTape() as tape:
            tape.watch([data, warp])
            loss = tf.reduce_sum(tf_stn.resampler(data, warp) ** 2)
        of_data, of_warp = tape.gradient(loss, [data, warp])
        return {"of_data": of_data, "of_warp": of_warp}

    exported = export(saliency, spec_of(data), spec_of(warp))
    expected = saliency(tf.constant(data), tf.constant(warp))
    assert_near(exported(data, warp), expected)


def test_displacements_and_their_gradients_are_exported(export, rng):
    data, field = images(rng), rng.uniform(-1, 1, [2, 4, 5, 2]).astype(np.float32)

    def sample(data, field):
        with tf.GradientTape() as tape:
            tape.watch(field)
            output = tf_stn.displacement_resampler(data, field, padding="border")
            loss = tf.reduce_mean(output**2)
        return {"output": output, "of_field": tape.gradient(loss, field)}

    exported = export(sample, spec_of(data), spec_of(field))
    assert "GridSample" in exported.operators
    assert_near(exported(data, field), sample(tf.constant(data), tf.constant(field)))


def test_homographies_are_a_grid_sample(export, rng):
    matrix = tf.constant([[[0.9, 0.1, 0.0], [0.0, 1.1, 0.2], [0.2, -0.1, 1.0]]])
    data = images(rng)

    def sample(images):
        return tf_stn.projective_resampler(images, matrix, padding="border")

    exported = export(sample, spec_of(data))
    assert "GridSample" in exported.operators
    assert_near(exported(data), {"output_0": sample(data)})


def test_what_a_function_has_closed_over_is_in_the_file(export, rng):
    theta = tf.constant([[0.9, 0.1, 0.0, 0.0, 1.1, 0.2]])
    data = images(rng)

    def zoom(images):
        return tf_stn.affine_resampler(images, theta)

    exported = export(zoom, spec_of(data))
    assert_near(exported(data), {"output_0": zoom(data)})


def test_traced_functions_and_signatures_of_saved_models_are_exported(export, rng, tmp_path):
    theta = tf.Variable([[0.9, 0.1, 0.0, 0.0, 1.1, 0.2]])
    module = tf.Module()
    module.theta = theta
    data = images(rng)
    module.zoom = tf.function(
        lambda pictures: {"zoomed": tf_stn.affine_resampler(pictures, theta)},
        input_signature=[tf.TensorSpec([None, *SIZE, 3])],
    )
    expected = module.zoom(data)
    folder = tmp_path / "saved"
    tf.saved_model.save(module, str(folder), signatures=module.zoom)
    loaded = tf.saved_model.load(str(folder))
    for i, function in enumerate((module.zoom, loaded.signatures["serving_default"])):
        path = str(tmp_path / f"{i}.onnx")
        tf_stn.onnx.export(function, path)
        exported = Exported(path)
        assert [entry.name for entry in exported.session.get_inputs()] == ["pictures"]
        assert_near(exported(data), expected)


def small_model():
    inputs = keras.Input([*SIZE, 3])
    layer = tf_stn.SpatialTransformer(keras.layers.Flatten(), "translation")
    model = keras.Model(inputs, layer(inputs))
    layer.trainable_variables[-1].assign([0.2, -0.3])
    model(np.zeros([1, *SIZE, 3], np.float32))  # Keras asks for a call before an export.
    return model


@pytest.mark.parametrize("opset", [18, None])
def test_export_of_keras_itself_is_right_once_the_module_is_imported(opset, rng, tmp_path):
    assert tf_stn.onnx
    model, path, data = small_model(), str(tmp_path / "keras.onnx"), images(rng)
    model.export(path, format="onnx", opset_version=opset, verbose=False)
    exported = Exported(path)
    assert ("GridSample" in exported.operators) == (opset == 18)
    assert_near(exported(data), dict.fromkeys(exported(data), model(data)))


def second_order(data):
    """Holds an op that neither GridSample nor a handler expresses."""
    warp = tf.constant(np.random.default_rng(0).uniform(0, 5, [1, 4, 2]), tf.float32)
    with tf.GradientTape() as outer:
        outer.watch(warp)
        with tf.GradientTape() as tape:
            tape.watch(warp)
            loss = tf.reduce_sum(tf_stn.resampler(data, warp) ** 2)
        gradient = tape.gradient(loss, warp)
    return outer.gradient(gradient, warp)


@pytest.mark.parametrize(
    "function, named",
    {
        "an op of ours": (second_order, r"ResamplerGradGrad \(1\).* tf_stn\.portable\(\)"),
        "another op": (lambda x: tf.raw_ops.BesselI0(x=x), r"BesselI0 \(1\).* other operations"),
    }.values(),
    ids=["an op of ours", "another op"],
)
def test_an_export_that_fails_says_why_and_leaves_the_old_file(function, named, tmp_path):
    path = tmp_path / "model.onnx"
    path.write_text("old")
    with pytest.raises(ValueError, match=named) as caught:
        tf_stn.onnx.export(function, path, input_signature=[tf.TensorSpec([1, *SIZE, 3])])
    assert "opset 18" in str(caught.value)
    assert os.listdir(tmp_path) == ["model.onnx"]
    assert path.read_text() == "old"


def test_a_file_that_cannot_be_loaded_is_not_written(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise RuntimeError("no such kernel")

    monkeypatch.setattr(onnxruntime, "InferenceSession", refuse)
    specs = [tf.TensorSpec([1, 4, 4, 1]), tf.TensorSpec([1, 3, 2])]
    with pytest.raises(ValueError, match=r"cannot be loaded.*no such kernel"):
        tf_stn.onnx.export(tf_stn.resampler, tmp_path / "model.onnx", input_signature=specs)
    assert not os.listdir(tmp_path)


def test_an_error_of_the_function_is_its_own(tmp_path):
    specs = [tf.TensorSpec([2, 4, 4, 1]), tf.TensorSpec([3, 5, 2])]
    with pytest.raises(ValueError, match="must have the same batch size"):
        tf_stn.onnx.export(tf_stn.resampler, tmp_path / "model.onnx", input_signature=specs)
    assert not os.listdir(tmp_path)


def test_an_output_with_the_name_of_an_input_is_an_error(tmp_path):
    specs = [tf.TensorSpec([2, 3], name="x")]
    with pytest.raises(ValueError, match=r"`model` must give outputs other names .* received 'x'"):
        tf_stn.onnx.export(lambda x: {"x": x + 1.0}, tmp_path / "model.onnx", input_signature=specs)


def test_without_the_extra_an_error_names_it(monkeypatch, tmp_path):
    monkeypatch.setattr(tf_stn.onnx, "_missing", ImportError("no tf2onnx"))
    with pytest.raises(ImportError, match=re.escape("pip install 'tf-stn[onnx]'")):
        tf_stn.onnx.export(tf.identity, tmp_path / "model.onnx", input_signature=[])
