"""What docs/how_to/export.md promises of every target has a test, or says why it is not so."""

import re

import numpy as np
import pytest
import tensorflow as tf
from repository import ROOT

import tf_stn

# Of every row, where its cells `compiled` and `portable` are tested. A cell that says no, or that
# it was not tried or run, has no test.
TESTS = {
    "Eagerly, `tf.function`, Keras' `fit`": (
        "layers/test_layer.py::test_training_finds_a_shift",
        "packaging/test_packaging.py::"
        "test_without_a_library_that_fits_all_is_portable_with_one_warning",
    ),
    "Saved models, TensorFlow alone": (
        "layers/test_serving.py::test_exported_model_needs_tensorflow_and_the_library_alone",
        "layers/test_serving.py::test_portable_export_needs_tensorflow_alone",
    ),
    "TF Serving's ModelServer": (
        None,
        "layers/test_serving.py::test_portable_export_needs_tensorflow_alone",
    ),
    "XLA on a CPU: `jit_compile=True`, clusters": (
        "export/test_xla.py::test_function_compiled_before_the_import_and_clusters_found_by_itself",
        "export/test_table_of_targets.py::test_xla_compiles_what_is_portable",
    ),
    "XLA on a GPU": (None, None),
    "XLA ahead of time": (
        None,
        "export/test_ahead_of_time.py::test_portable_model_is_compiled_ahead_of_time",
    ),
    "XLA, sizes that a compiled graph computes": (
        None,
        "export/test_table_of_targets.py::test_portable_form_takes_sizes_that_xla_computes",
    ),
    "TPU": (None, None),
    "ONNX": (
        "export/test_onnx.py::test_every_transformation_is_exported",
        "export/test_onnx.py::test_inside_portable_all_is_as_here",
    ),
    "LiteRT": (None, "export/test_litert.py::test_every_mode_runs_with_sizes_that_are_known_late"),
    "LiteRT, int8 weights": (
        None,
        "export/test_litert.py::"
        "test_volumes_run_without_tensorflow_and_quantised_weights_err_by_a_hundredth",
    ),
    "`tf.vectorized_map`, jacobians": (
        "export/test_vectorized_map.py::test_jacobians_have_the_bits_of_a_loop",
        "export/test_table_of_targets.py::test_portable_gradients_of_each_image_are_those_of_the_image_alone",
    ),
    "A platform or TensorFlow without a library that fits": (
        None,
        "packaging/test_packaging.py::"
        "test_without_a_library_that_fits_all_is_portable_with_one_warning",
    ),
}


def test_xla_compiles_what_is_portable(rng):
    images = tf.constant(rng.random([3, 6, 7, 2]), tf.float32)
    theta = tf.constant([[0.8, 0.1, 0.0, -0.1, 0.8, 0.0]])
    with tf_stn.portable():
        sampled = tf.function(tf_stn.affine_resampler, jit_compile=True)(images, theta)
    expected = tf_stn.affine_resampler(images, theta)
    np.testing.assert_allclose(sampled, expected, atol=1e-5)


MASK, POINTS = tf.constant([True, False, True]), tf.constant([True, False, True, True])


@pytest.mark.parametrize(
    "chosen",
    [
        lambda data, warp: (tf.boolean_mask(data, MASK), tf.boolean_mask(warp, MASK)),
        lambda data, warp: (tf.boolean_mask(data, MASK), warp[:1]),
        lambda data, warp: (data[:1], tf.boolean_mask(warp, MASK)),
        lambda data, warp: (data, tf.boolean_mask(warp, POINTS, axis=1)),
        lambda data, warp: (tf.boolean_mask(data, MASK & ~MASK), warp[:1]),
    ],
    ids=["images and grids", "images", "grids", "points", "no image"],
)
def test_portable_form_takes_sizes_that_xla_computes(rng, chosen):
    """XLA pads to the largest size; nothing of that padding may be seen."""
    data = tf.constant(rng.random([3, 6, 7, 2]), tf.float32)
    warp = tf.constant(rng.uniform(-2, 8, [3, 4, 5, 2]), tf.float32)

    def output_and_gradients(data, warp):
        with tf.GradientTape() as tape:
            tape.watch([data, warp])
            output = tf_stn.resampler(*chosen(data, warp), fill_value=[1.5, 2.0])
        gradients = tape.gradient(output**2, [data, warp], unconnected_gradients="zero")
        return output, *gradients

    with tf_stn.portable():
        found = tf.function(output_and_gradients, jit_compile=True)(data, warp)
    for result, expected in zip(found, output_and_gradients(data, warp), strict=True):
        assert result.shape == expected.shape
        np.testing.assert_allclose(result, expected, atol=1e-4)


def test_portable_gradients_of_each_image_are_those_of_the_image_alone(rng):
    images = tf.constant(rng.random([3, 6, 7, 2]), tf.float32)
    theta = tf.constant([[0.8, 0.1, 0.0, -0.1, 0.8, 0.0]])

    def gradient(image):
        with tf.GradientTape() as tape:
            tape.watch(image)
            loss = tf.reduce_sum(tf_stn.affine_resampler(image[None], theta) ** 2)
        return tape.gradient(loss, image)

    with tf_stn.portable():
        mapped = tf.vectorized_map(gradient, images, fallback_to_while_loop=False)
    expected = [gradient(image) for image in images]
    np.testing.assert_allclose(mapped, expected, atol=1e-5)


def rows():
    lines = (ROOT / "docs/how_to/export.md").read_text().splitlines()
    table = [line for line in lines if line.startswith("| ")][1:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table]


def test_page_and_table_of_tests_name_the_same_targets():
    assert [where for where, *_ in rows()] == list(TESTS)


@pytest.mark.parametrize("where", TESTS)
def test_every_promise_names_a_test_that_exists(where):
    (cells,) = [cells for name, *cells in rows() if name == where]
    for cell, test in zip(cells, TESTS[where], strict=True):
        if cell.startswith("no: ") or "not tried" in cell or "not yet run" in cell:
            assert test is None, f"{cell}, but {test}"
            continue
        file, _, function = test.partition("::")
        assert re.search(rf"^def {function}\(", (ROOT / "tests" / file).read_text(), re.M), test
