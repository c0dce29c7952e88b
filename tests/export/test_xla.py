"""What XLA compiles gives what TensorFlow runs: bits, gradients, training and errors."""

import os
import pathlib
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from problems import MODES, RANKS, coordinates_of, problem
from toolchain import can_use_xla

import tf_stn
from tf_stn import _build_info, _xla
from tf_stn._keras import keras
from tf_stn._library import ops
from tf_stn._pixels import BLENDED_TYPES, DATA_TYPES, INTEGER_TYPES
from tf_stn.transformations import _names

pytestmark = pytest.mark.skipif(
    not can_use_xla(_build_info.TENSORFLOW), reason="TensorFlow has no headers for it before 2.20"
)


def compiled(function, **options):
    return tf.function(function, jit_compile=True, autograph=False, **options)


def graph(function):
    return tf.function(function, jit_compile=False, autograph=False)


def assert_same_bits(function, *inputs):
    """Compiled by XLA and in a graph, all outputs of a function are the same."""
    expected, results = graph(function)(*inputs), compiled(function)(*inputs)
    tf.nest.assert_same_structure(results, expected)
    pairs = zip(tf.nest.flatten(results), tf.nest.flatten(expected), strict=True)
    for i, (result, want) in enumerate(pairs):
        assert (result.dtype, result.shape) == (want.dtype, want.shape), i
        np.testing.assert_array_equal(result, want, err_msg=f"output {i}")


def assert_near(function, *inputs, rtol=1e-5):
    for result, want in zip(
        tf.nest.flatten(compiled(function)(*inputs)),
        tf.nest.flatten(graph(function)(*inputs)),
        strict=True,
    ):
        scale = max(1.0, float(np.max(np.abs(want), initial=0)))
        np.testing.assert_allclose(result, want, rtol=0, atol=rtol * scale)


def inputs_of(rank, dtype, **sizes):
    """Returns data, warp, grad_output, grad_grad_data and grad_grad_warp of a problem."""
    data, warp, grad_output, grad_data, grad_warp = problem(rank, **sizes)
    real = coordinates_of(dtype)
    types = (dtype, real, dtype, dtype, real)
    values = (data, warp, grad_output, grad_data, grad_warp)
    return [tf.constant(value, kind) for value, kind in zip(values, types, strict=True)]


def matrices(rank, dtype, *shape):
    rng = np.random.default_rng(7)
    near = np.eye(rank, rank + 1) + rng.normal(size=[*shape, rank, rank + 1], scale=0.3)
    return tf.constant(near, coordinates_of(dtype))


def test_kernels_are_loaded():
    assert _xla.can_compile() == (
        _build_info.CUDA is not None or not tf.config.list_physical_devices("GPU")
    )


# The same bits


@pytest.mark.parametrize("dtype", [dtype.name for dtype in DATA_TYPES])
@pytest.mark.parametrize("rank", RANKS.values(), ids=RANKS)
def test_every_mode_and_its_gradients_of_every_order_have_the_bits_of_the_op(rank, dtype):
    def function(data, warp, grad_output, grad_grad_data, grad_grad_warp):
        results = {}
        for interpolation, padding in MODES:
            modes = {"interpolation": interpolation, "padding": padding}
            fill = [tf.ones_like(data[0, 0, 0] if rank == 2 else data[0, 0, 0, 0])]
            fill = fill if modes["padding"] == "zeros" and interpolation != "cubic" else []
            results[f"{interpolation} {padding}"] = (
                ops.tf_stn_resampler(data, warp, fill, **modes),
                ops.tf_stn_resampler_grad(data, warp, grad_output, fill, **modes),
                ops.tf_stn_resampler_grad_grad(
                    data, warp, grad_output, grad_grad_data, grad_grad_warp, fill, **modes
                ),
            )
        return results

    assert_same_bits(function, *inputs_of(rank, dtype))


@pytest.mark.parametrize("rank", RANKS.values(), ids=RANKS)
def test_affine_resampler_of_every_mode_and_type_has_the_bits_of_the_op(rank):
    size = (3, 4, 5)[:rank]

    def function(inputs):
        results = {}
        for dtype, (data, matrix, grad_output) in inputs.items():
            for interpolation, padding in MODES:
                modes = {"interpolation": interpolation, "padding": padding}
                output = ops.tf_stn_affine_resampler(data, matrix, size, [], **modes)
                results[f"{dtype} {interpolation} {padding}"] = (
                    output,
                    ops.tf_stn_affine_resampler_grad(data, matrix, grad_output, [], **modes),
                )
        return results

    inputs = {}
    for dtype in ("float16", "float32", "float64"):
        data = inputs_of(rank, dtype)[0]
        grad_output = tf.constant(np.random.default_rng(8).normal(size=[2, 2, *size, 3]), dtype)
        inputs[dtype] = (data, matrices(rank, dtype, 2, 2), grad_output)
    assert_same_bits(function, inputs)


@pytest.mark.parametrize("dtype", INTEGER_TYPES, ids=lambda dtype: dtype.name)
def test_integers_are_those_of_a_graph(dtype):
    data = tf.cast(tf.random.stateless_uniform([2, 4, 5, 3], [1, 2], -99, 199, tf.int32), dtype)
    warp = tf.random.stateless_uniform([2, 9, 2], [3, 4], -2.0, 7.0)
    interpolation = "cubic" if dtype in BLENDED_TYPES else "nearest"

    def sample(data, warp):
        return tf_stn.resampler(data, warp, interpolation=interpolation)

    compiled = tf.function(sample, jit_compile=True)(data, warp)
    assert compiled.dtype == dtype
    np.testing.assert_array_equal(compiled, sample(data, warp))


@pytest.mark.parametrize("rank", RANKS.values(), ids=RANKS)
def test_projective_resampler_has_the_bits_of_the_op(rank):
    """Of one type and two modes, since the loops are those of the affine resampler."""
    size = (3, 4, 5)[:rank]

    def function(data, matrix, grad_output):
        results = {}
        for modes in ({}, {"interpolation": "cubic", "padding": "reflect"}):
            results[str(modes)] = (
                ops.tf_stn_projective_resampler(data, matrix, size, [], **modes),
                ops.tf_stn_projective_resampler_grad(data, matrix, grad_output, [], **modes),
            )
        return results

    rng = np.random.default_rng(7)
    matrix = np.eye(rank + 1) + rng.normal(size=[2, rank + 1, rank + 1], scale=0.1)
    grad_output = tf.constant(rng.normal(size=[2, *size, 3]), tf.float32)
    data = inputs_of(rank, "float32")[0]
    assert_same_bits(function, data, tf.constant(matrix, tf.float32), grad_output)


@pytest.mark.parametrize("rank", RANKS.values(), ids=RANKS)
def test_displacement_resampler_has_the_bits_of_the_op(rank):
    """Of one type and two modes, since the loops are those of the resampler."""

    def function(data, displacement, *others):
        grad_output, grad_grad_data, grad_grad_displacement = others
        results = {}
        for modes in ({}, {"interpolation": "cubic", "padding": "reflect"}):
            results[str(modes)] = (
                ops.tf_stn_displacement_resampler(data, displacement, [], **modes),
                ops.tf_stn_displacement_resampler_grad(
                    data, displacement, grad_output, [], **modes
                ),
                ops.tf_stn_displacement_resampler_grad_grad(
                    data,
                    displacement,
                    grad_output,
                    grad_grad_data,
                    grad_grad_displacement,
                    [],
                    **modes,
                ),
            )
        return results

    assert_same_bits(function, *inputs_of(rank, "float32", points=(4, 3, 5)[:rank]))


def test_only_the_gradients_that_are_asked_for_are_computed():
    def function(data, warp, grad_output, grad_grad_data, grad_grad_warp):
        matrix = matrices(2, "float32", 2)
        grad_of_affine = tf.ones([2, 3, 4, 3])
        results = []
        for of_data in (False, True):
            for of_points in (False, True):
                asked = {"compute_grad_data": of_data}
                warps = asked | {"compute_grad_warp": of_points}
                results += [
                    ops.tf_stn_resampler_grad(data, warp, grad_output, [], **warps),
                    ops.tf_stn_affine_resampler_grad(
                        data, matrix, grad_of_affine, [], compute_grad_matrix=of_points, **asked
                    ),
                    ops.tf_stn_resampler_grad_grad(
                        data,
                        warp,
                        grad_output,
                        grad_grad_data if of_points else [],
                        grad_grad_warp if of_data else [],
                        [],
                        compute_grad_grad_output=of_data != of_points,
                        **warps,
                    ),
                ]
        return results

    assert_same_bits(function, *inputs_of(2, "float32"))


def test_batches_empty_tensors_and_derivatives_have_the_bits_of_the_op():
    def function(data, warp):
        def pair(data, warp, **attributes):
            output = ops.tf_stn_resampler(data, warp, [], **attributes)
            gradients = ops.tf_stn_resampler_grad(data, warp, output, [], **attributes)
            return output, gradients

        one = warp[:1]
        return {
            "one image, grids": pair(data[:1], warp),
            "images, one grid": pair(data, one),
            "several grids each": pair(data, tf.stack([warp, warp + 1, warp], axis=1)),
            "no points": pair(data, warp[:, :0]),
            "no images": pair(data[:0], warp[:0]),
            "no channels": pair(data[..., :0], warp),
            "derivative": pair(data, warp, interpolation="cubic", derivative=[1, 2]),
            "no rows of output": ops.tf_stn_affine_resampler(
                data, matrices(2, "float32", 2), [0, 4], []
            ),
            "transposed": tf.transpose(pair(tf.transpose(data, [0, 2, 1, 3]), warp)[0], [2, 1, 0]),
            "of a sum": pair(data + 1, 2 * warp),
            "NaN and infinite": pair(data, tf.concat([one / 0, one * np.nan], axis=0)),
        }

    data, warp, *_ = inputs_of(2, "float32")
    assert_same_bits(function, data, warp)


# Functions and their derivatives


def smooth(rank=2):
    data, warp, *_ = inputs_of(rank, "float64", points=(5,))
    return data, tf.floor(warp) + 0.3


def test_derivatives_of_higher_order_and_in_forward_mode_are_those_of_a_graph():
    def function(data, warp):
        def samples(data, warp):
            options = {"interpolation": "cubic", "fill_value": 0.5}
            return tf.reduce_sum(tf.sin(tf_stn.resampler(data, warp, **options)))

        with tf.autodiff.ForwardAccumulator([data, warp], [data * data, warp / 2]) as forward:
            with tf.GradientTape() as tape:
                tape.watch([data, warp])
                value = samples(data, warp)
            first = tape.gradient(value, [data, warp])
        return value, first, forward.jvp(value), [forward.jvp(gradient) for gradient in first]

    assert_near(function, *smooth(), rtol=1e-12)


def test_second_order_of_the_affine_resampler_is_that_of_a_graph():
    def function(data, theta):
        with tf.GradientTape() as outer:
            outer.watch([data, theta])
            with tf.GradientTape() as inner:
                inner.watch([data, theta])
                output = tf_stn.affine_resampler(data, theta, interpolation="cubic")
                value = tf.reduce_sum(output**3)
            of_data, of_theta = inner.gradient(value, [data, theta])
            norm = tf.reduce_sum(of_data**2) + tf.reduce_sum(of_theta**2)
        return outer.gradient(norm, [data, theta])

    data, _ = smooth()
    theta = tf.constant([[0.9, 0.1, 0.05, -0.1, 0.8, 0.1]] * 2, tf.float64)
    assert_near(function, data, theta, rtol=1e-12)


def test_sizes_may_be_computed_when_it_is_compiled():
    data, _ = smooth()
    theta = tf.constant([[0.9, 0.1, 0.05, -0.1, 0.8, 0.1]] * 2, tf.float64)
    spec = tf.TensorSpec([None, None, None, None], tf.float64)
    count = tf.TensorSpec([2], tf.int32)

    def function(data, size):
        half = tf.shape(data)[1:3] // 2
        return tf_stn.affine_resampler(data, theta, half), tf_stn.affine_resampler(
            data, theta, size
        )

    jitted = compiled(function, input_signature=[spec, count])
    for images in (data, data[:, :3, :, :1]):
        halves, sized = jitted(images, [3, 7])
        assert halves.shape[1:3] == (images.shape[1] // 2, images.shape[2] // 2)
        expected = tf_stn.affine_resampler(images, theta, (3, 7))
        np.testing.assert_allclose(sized, expected, rtol=0, atol=1e-13)


def test_saved_function_is_compiled_where_it_is_loaded(tmp_path):
    module = tf.Module()
    specs = [tf.TensorSpec([None] * 4), tf.TensorSpec([None, None, 2])]
    module.sample = compiled(tf_stn.resampler, input_signature=specs)
    tf.saved_model.save(module, tmp_path)
    loaded = tf.saved_model.load(tmp_path)
    data, warp, *_ = inputs_of(2, "float32")
    np.testing.assert_array_equal(loaded.sample(data, warp), tf_stn.resampler(data, warp))
    assert loaded.sample.get_concrete_function(*specs).function_def.attr["_XlaMustCompile"].b


# Layers


IMAGES = np.random.default_rng(0).random([2, 9, 10, 1], np.float32)


def trained(transformation, jit_compile):
    """Returns the loss and the weights after a step, which begins away from pixel centres."""
    keras.utils.set_random_seed(3)
    is_dense = transformation in ("dense_displacement", "velocity_field")
    layer = tf_stn.SpatialTransformer(
        keras.layers.Conv2D(2, 3, padding="same") if is_dense else keras.layers.Flatten(),
        transformation,
        output_size=(6, 5),
        padding="border",
        regularizer=tf_stn.regularizers.Identity(0.1),
    )
    model = keras.Sequential([keras.Input(IMAGES.shape[1:]), layer])
    layer.head.kernel.assign(tf.random.stateless_normal(layer.head.kernel.shape, [1, 2], 0, 0.03))
    model.compile(keras.optimizers.SGD(0.1), "mse", jit_compile=jit_compile)
    assert model.jit_compile == jit_compile
    history = model.fit(IMAGES, tf.ones([2, 6, 5, 1]), batch_size=2, verbose=0).history
    return history["loss"][0], model.get_weights()


@pytest.mark.parametrize("transformation", _names.NAMES)
def test_layer_of_every_transformation_trains_compiled_as_in_a_graph(transformation):
    loss, weights = trained(transformation, jit_compile=True)
    expected_loss, expected = trained(transformation, jit_compile=False)
    np.testing.assert_allclose(loss, expected_loss, rtol=1e-5)
    for weight, want in zip(weights, expected, strict=True):
        np.testing.assert_allclose(weight, want, rtol=0, atol=1e-5)


def test_layers_are_compiled_exactly_where_kernels_for_all_devices_are_loaded(monkeypatch):
    def supports_jit():
        return tf_stn.layers.Resampler().supports_jit

    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind: ["a GPU"])
    monkeypatch.setattr(_build_info, "CUDA", None)
    assert not supports_jit()
    monkeypatch.setattr(_build_info, "CUDA", "13.0")
    assert supports_jit()
    monkeypatch.setattr(_xla, "_is_loaded", False)
    assert not supports_jit()


# Errors


DATA = tf.zeros([2, 4, 5, 3])
WARP = tf.zeros([2, 6, 2])
EYE = tf.eye(2, 3, [2])
BAD_CALLS = {
    "a float64 warp": (
        lambda d, w: ops.tf_stn_resampler(d, tf.cast(w, tf.float64), []),
        "`warp` must be of type float for `data` of type float, received double",
    ),
    "a float32 matrix of float64 data": (
        lambda d, w: ops.tf_stn_affine_resampler(tf.cast(d, tf.float64), EYE, [1, 1], []),
        "`matrix` must be of type double for `data` of type double, received float",
    ),
    "a warp of volumes": (
        lambda d, w: ops.tf_stn_resampler(d, tf.concat([w, w], -1)[..., :3], []),
        "`warp` must have shape [batch, ..., 2], received [2, 6, 3]",
    ),
    "other batches": (
        lambda d, w: ops.tf_stn_resampler(d, tf.concat([w, w], 0), []),
        "`data` and `warp` must have the same batch size, or one of them 1, received `data` of "
        "shape [2, 4, 5, 3] and `warp` of shape [4, 6, 2]",
    ),
    "a derivative along z": (
        lambda d, w: ops.tf_stn_resampler(d, w, [], derivative=[0, 0, 1]),
        "`derivative` must have no order in z for images",
    ),
    "a derivative of too high an order": (
        lambda d, w: ops.tf_stn_resampler_grad(d, w, d[:, 0], [], derivative=[101]),
        "`derivative` must be an order from 0 to 100 for each of x, y and z, received [101]",
    ),
    "a fill value of two channels": (
        lambda d, w: ops.tf_stn_resampler(d, w, [d[0, 0, 0, :2]]),
        "`fill_value` must have shape [channels], received [2] for `data` of shape [2, 4, 5, 3]",
    ),
    "a fill value beside borders": (
        lambda d, w: ops.tf_stn_resampler_grad(
            d, w, tf.concat([w, w], -1)[..., :3], [d[0, 0, 0]], padding="border"
        ),
        "`fill_value` must be one tensor, and goes with padding 'zeros' alone, received 1 with "
        "another padding",
    ),
    "a gradient of another shape": (
        lambda d, w: ops.tf_stn_affine_resampler_grad(d, EYE, d[..., :2], []),
        "`grad_output` must have shape [batch, ..., height, width, channels], received "
        "[2, 4, 5, 2]",
    ),
    "a direction of another shape": (
        lambda d, w: ops.tf_stn_resampler_grad_grad(
            d, w, tf.concat([w, w], -1)[..., :3], d[:1], w, []
        ),
        "`grad_grad_data` must have shape of `data`, [2, 4, 5, 3], or [0], received [1, 4, 5, 3]",
    ),
    "a negative size": (
        lambda d, w: ops.tf_stn_affine_resampler(d, EYE, tf.shape(d)[1:3] - 9, []),
        "`output_size` must not be negative, received [-5, -4]",
    ),
    "a size of volumes": (
        lambda d, w: ops.tf_stn_affine_resampler(d, EYE, tf.shape(d)[:3], []),
        "`output_size` must have shape [2], received [3]",
    ),
    "an image without pixels": (
        lambda d, w: ops.tf_stn_resampler(d[:, :0], w, []),
        "`data` must have a height and a width of at least 1 where `warp` has points",
    ),
}


@pytest.mark.parametrize("case", BAD_CALLS)
def test_errors_are_those_of_eager_mode(case):
    """Shapes are unknown when the graph is made, so that a shape function sees next to nothing."""
    function, message = BAD_CALLS[case]
    unknown = [tf.TensorSpec(None), tf.TensorSpec(None)]
    for call in (function, compiled(function, input_signature=unknown)):
        with pytest.raises((tf.errors.InvalidArgumentError, ValueError), match=re.escape(message)):
            call(DATA, WARP)


def test_shape_that_is_unknown_when_it_is_compiled_names_the_way_out():
    def function(data, mask):
        return tf_stn.resampler(tf.boolean_mask(data, mask), WARP[:1])

    with pytest.raises(tf.errors.UnimplementedError) as error:
        compiled(function)(DATA, tf.constant([True, False]))
    assert "`data` must have a shape that is known when XLA compiles" in str(error.value)
    assert "received f32[<=2,4,5,3]" in str(error.value)
    assert "with tf_stn.portable():" in str(error.value)


def test_determinism_reaches_the_kernels():
    from tensorflow.python.util import _pywrap_determinism

    def attribute():
        compiler = compiled(lambda d, w: tf_stn.resampler(d, w)).experimental_get_compiler_ir(
            DATA, WARP
        )
        return re.search(r"deterministic = (\w+)", compiler(stage="hlo")).group(1)

    assert attribute() == "false"
    tf.config.experimental.enable_op_determinism()
    try:
        assert attribute() == "true"
    finally:
        _pywrap_determinism.enable(False)


# The libraries


def run_in_new_process(script, *arguments, **environment):
    command = [sys.executable, "-c", script, *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, env=os.environ | environment)
    assert result.returncode == 0, result.stderr[-5000:]


def test_function_compiled_before_the_import_and_clusters_found_by_itself(tmp_path):
    """Kernels are there when a function is compiled later, also where nobody asks for it."""
    run_in_new_process(
        """
import pathlib, sys
import numpy as np, tensorflow as tf
assert tf.function(lambda x: x + 1, jit_compile=True)(1.0) == 2
import tf_stn

def function(data, warp):
    with tf.GradientTape() as tape:
        tape.watch(warp)
        samples = tf_stn.resampler(data, warp)
    theta = tf.constant([[0.9, 0.1, 0.05, -0.1, 0.8, 0.1]])
    return samples, tape.gradient(samples, warp), tf_stn.affine_resampler(data, theta, (3, 4))

def clusters():
    texts = [p.read_text() for p in pathlib.Path(sys.argv[1]).glob("*cluster*.before_opt*.txt")]
    return [text for text in texts if 'custom_call_target="tf_stn.' in text]

rng = np.random.default_rng(0)
inputs = [np.float32(rng.random([2, 5, 6, 3])), np.float32(rng.uniform(-1, 6, [2, 7, 2]))]
results = tf.function(function, jit_compile=True)(*map(tf.constant, inputs))
assert not clusters()
for each, want in zip(tf.function(function)(*map(tf.constant, inputs)), results):
    np.testing.assert_allclose(each, want, atol=1e-5)
assert clusters()
""",
        tmp_path,
        TF_XLA_FLAGS="--tf_xla_auto_jit=2 --tf_xla_cpu_global_jit --tf_xla_min_cluster_size=1",
        XLA_FLAGS=f"--xla_dump_to={tmp_path}",
    )


def test_copies_of_the_libraries_and_one_without_ops_stand_back(tmp_path):
    """Kernels that are registered twice would fail, or end the process; so would those of no op."""
    copies = [
        shutil.copy(path, tmp_path / f"{name}.so")
        for name, path in (
            ("ops", tf_stn.library_path()),
            ("early", _xla.LIBRARY),
            ("late", _xla.LIBRARY),
        )
    ]
    run_in_new_process(
        """
import sys
import numpy as np, tensorflow as tf
ops, early, late = sys.argv[1:]
tf.load_library(early)
import tf_stn
tf.load_op_library(ops)
tf.load_library(late)
data, warp = tf.random.normal([2, 5, 6, 3]), tf.random.uniform([2, 7, 2], -1, 6)
expected = tf_stn.resampler(data, warp)
jitted = tf.function(tf_stn.resampler, jit_compile=True)
np.testing.assert_array_equal(jitted(data, warp), expected)
""",
        *copies,
    )


def test_library_is_loaded_where_there_is_nothing_of_xla():
    run_in_new_process(
        """
import ctypes, sys
ctypes.CDLL(sys.argv[1], ctypes.RTLD_GLOBAL)
function = ctypes.CDLL(sys.argv[2]).tf_stn_cpu_isa
function.restype = ctypes.c_char_p
assert function()
""",
        pathlib.Path(tf.sysconfig.get_lib()) / "libtensorflow_framework.so.2",
        tf_stn.library_path(),
    )


@pytest.mark.parametrize("text", [None, "no library"], ids=["missing", "broken"])
def test_library_that_cannot_be_loaded_is_no_error(monkeypatch, tmp_path, text):
    library = tmp_path / "library.so"
    if text is not None:
        library.write_text(text)
    monkeypatch.setattr(_xla, "LIBRARY", library)
    assert not _xla._load()
