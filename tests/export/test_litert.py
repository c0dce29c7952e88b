"""Models exported in the portable implementation run in LiteRT, of builtin operations alone."""

import itertools
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

import tf_stn
from tf_stn._keras import keras
from tf_stn._resampler import INTERPOLATIONS, PADDINGS

MODES = list(itertools.product(INTERPOLATIONS, PADDINGS))
TRANSFORMATIONS = [
    *("translation", "attention", "rigid", "similarity", "affine", "projective"),
    *("thin_plate_spline", "b_spline", "dense_displacement", "velocity_field"),
]


def export(model, path):
    with tf_stn.portable():
        model.export(path, format="litert", verbose=False)
    return str(path)


def run(path, *inputs):
    """Returns the outputs of a file by LiteRT, in the order of the model's."""
    interpreter = Interpreter(path)
    runner = interpreter.get_signature_runner()
    outputs = runner(**dict(zip(sorted(runner.get_input_details()), inputs, strict=True)))
    names = {each["op_name"] for each in interpreter._get_ops_details()}
    assert names
    assert not [name for name in names if name.startswith(("Flex", "TfStn", "CUSTOM"))]
    return [outputs[name] for name in sorted(outputs, key=lambda name: int(name.split("_")[1]))]


def test_every_mode_runs_with_sizes_that_are_known_late(rng, tmp_path):
    images, warp = keras.Input([None, None, 2], name="a"), keras.Input([None, 2], name="b")
    outputs = [
        tf_stn.resampler(images, warp, interpolation=interpolation, padding=padding)
        for interpolation, padding in MODES
    ]
    outputs.append(tf_stn.resampler(images, warp, fill_value=0.5))
    path = export(keras.Model([images, warp], outputs), tmp_path / "modes.tflite")
    data = rng.normal(size=[3, 7, 5, 2]).astype(np.float32)
    points = rng.uniform(-9, 14, size=[3, 40, 2]).astype(np.float32)
    points[0, :3] = [[np.inf, 1], [2, -1e30], [3, 4]]
    expected = {
        (*mode, None): tf_stn.resampler(data, points, interpolation=mode[0], padding=mode[1])
        for mode in MODES
    }
    expected["linear", "zeros", 0.5] = tf_stn.resampler(data, points, fill_value=0.5)
    for result, (mode, want) in zip(run(path, data, points), expected.items(), strict=True):
        np.testing.assert_allclose(result, want, atol=2e-6, err_msg=str(mode))


def test_photos_and_labels_are_sampled_as_here(rng, tmp_path):
    photos = keras.Input([6, 5, 3], dtype="uint8", name="a")
    labels = keras.Input([6, 5, 1], dtype="int32", name="b")
    warp = keras.Input([40, 2], name="c")
    outputs = [
        tf_stn.resampler(photos, warp),
        tf_stn.resampler(labels, warp, interpolation="nearest"),
    ]
    model = keras.Model([photos, labels, warp], outputs)
    path = export(model, tmp_path / "integers.tflite")
    arrays = (
        rng.integers(0, 256, [2, 6, 5, 3]).astype(np.uint8),
        rng.integers(-(2**31), 2**31, [2, 6, 5, 1]).astype(np.int32),
        rng.uniform(-2, 8, [2, 40, 2]).astype(np.float32),
    )
    for result, expected in zip(run(path, *arrays), model(list(arrays)), strict=True):
        assert result.dtype == expected.dtype
        np.testing.assert_array_equal(result, expected)


def model_of_transformations(rng, sides):
    images = keras.Input([*sides, 2])
    outputs = []
    for transformation in TRANSFORMATIONS:
        is_field = transformation in ("dense_displacement", "velocity_field")
        net = keras.layers.Conv2D(2, 3, padding="same") if is_field else None
        net = net or keras.layers.GlobalAveragePooling2D()
        layer = tf_stn.SpatialTransformer(net, transformation)
        outputs.append(layer(images))
        for variable in layer.trainable_variables:
            variable.assign_add(rng.normal(0, 0.02, variable.shape))
    return keras.Model(images, outputs)


@pytest.mark.parametrize("sides", [(12, 10), (None, None)], ids=["known size", "unknown size"])
def test_every_transformation_runs(sides, rng, tmp_path):
    model = model_of_transformations(rng, sides)
    data = rng.normal(size=[3, 12, 10, 2]).astype(np.float32)
    expected = dict(zip(TRANSFORMATIONS, map(np.array, model(data)), strict=True))
    assert all(np.abs(output - data).max() > 1e-3 for output in expected.values())
    path = export(model, tmp_path / "transformations.tflite")
    for result, (name, want) in zip(run(path, data), expected.items(), strict=True):
        np.testing.assert_allclose(result, want, atol=5e-5, err_msg=name)


PROGRAM = """
import sys
import numpy as np
from ai_edge_litert.interpreter import Interpreter

path, images = sys.argv[1:]
interpreter = Interpreter(path)
(details,) = interpreter.get_input_details()
data = np.load(images)
interpreter.resize_tensor_input(details["index"], data.shape)
interpreter.allocate_tensors()
interpreter.set_tensor(details["index"], data)
interpreter.invoke()
np.save(images, interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))
assert not {"tensorflow", "tf_stn"} & set(sys.modules)
"""


def test_volumes_run_without_tensorflow_and_quantised_weights_err_by_a_hundredth(rng, tmp_path):
    volumes = keras.Input([5, 6, 7, 1])
    net = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(64, "relu")])
    layer = tf_stn.SpatialTransformer(net, "affine", padding="border")
    model = keras.Model(volumes, layer(volumes))
    layer.head.kernel.assign(rng.normal(0, 0.02, layer.head.kernel.shape))
    data = rng.normal(size=[2, 5, 6, 7, 1]).astype(np.float32)
    expected = model(data).numpy()
    path = export(model, tmp_path / "volumes.tflite")
    np.save(tmp_path / "volumes.npy", data)
    arguments = [path, str(tmp_path / "volumes.npy")]
    subprocess.run([sys.executable, "-c", PROGRAM, *arguments], check=True, cwd=tmp_path)
    np.testing.assert_allclose(np.load(tmp_path / "volumes.npy"), expected, atol=2e-5)

    with tf_stn.portable():
        model.export(tmp_path / "saved", verbose=False)
    converter = tf.lite.TFLiteConverter.from_saved_model(str(tmp_path / "saved"))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    (tmp_path / "quantised.tflite").write_bytes(converter.convert())
    (output,) = run(str(tmp_path / "quantised.tflite"), data)
    error = np.abs(output - expected).mean() / np.abs(expected).mean()
    assert 0 < error < 0.03
