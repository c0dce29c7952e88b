"""How the op runs: graphs, tf.data, saved models, threads, and only the gradients needed."""

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework import kernels, op_def_registry  # No public way to list kernels.

from tf_stn import _library, affine_grid, affine_resampler, resampler
from tf_stn._library import ops
from tf_stn._pixels import DATA_TYPES
from tf_stn._resampler import INTERPOLATIONS, PADDINGS

OPS = {
    "TfStn>Resampler": ops.tf_stn_resampler,
    "TfStn>ResamplerGrad": ops.tf_stn_resampler_grad,
    "TfStn>ResamplerGradGrad": ops.tf_stn_resampler_grad_grad,
    "TfStn>DisplacementResampler": ops.tf_stn_displacement_resampler,
    "TfStn>DisplacementResamplerGrad": ops.tf_stn_displacement_resampler_grad,
    "TfStn>DisplacementResamplerGradGrad": ops.tf_stn_displacement_resampler_grad_grad,
    "TfStn>AffineResampler": ops.tf_stn_affine_resampler,
    "TfStn>AffineResamplerGrad": ops.tf_stn_affine_resampler_grad,
    "TfStn>ProjectiveResampler": ops.tf_stn_projective_resampler,
    "TfStn>ProjectiveResamplerGrad": ops.tf_stn_projective_resampler_grad,
}
# What Python finds out by itself: types, and how many fill values there are.
INFERRED = {"T", "Twarp", "Tdisplacement", "Tmatrix", "num_fill"}
WITHOUT_GPU = os.environ | {"CUDA_VISIBLE_DEVICES": ""}


def attribute(op, name):
    (found,) = (a for a in op_def_registry.get(op).attr if a.name == name)
    return found.allowed_values.list


@pytest.mark.parametrize("op", OPS)
def test_every_advertised_type_and_mode_has_a_kernel(op):
    advertised = {tf.as_dtype(value) for value in attribute(op, "T").type}
    registered = {
        tf.as_dtype(constraint.allowed_values.list.type[0])
        for kernel in kernels.get_registered_kernels_for_op(op).kernel
        for constraint in kernel.constraint
        if kernel.device_type == "CPU" and constraint.name == "T"
    }
    assert advertised == registered == set(DATA_TYPES)
    on_cpu = [k for k in kernels.get_registered_kernels_for_op(op).kernel if k.device_type == "CPU"]
    assert len(on_cpu) == len(advertised) * 2  # Coordinates of the wrong type say so.
    assert [s.decode() for s in attribute(op, "interpolation").s] == list(INTERPOLATIONS)
    assert [s.decode() for s in attribute(op, "padding").s] == list(PADDINGS)


@pytest.mark.parametrize("mode", [*INTERPOLATIONS, *PADDINGS])
def test_every_mode_is_documented(mode):
    assert f'`"{mode}"`' in resampler.__doc__
    assert f"'{mode}': " in ops.tf_stn_resampler.__doc__


@pytest.mark.parametrize("op", OPS)
def test_every_argument_of_the_op_is_documented(op):
    """In the generated Python, an argument's line is followed by its indented description."""
    lines = OPS[op].__doc__.splitlines()
    definition = op_def_registry.get(op)
    names = [argument.name for argument in [*definition.input_arg, *definition.attr]]
    for name in set(names) - INFERRED:
        (where,) = (i for i, line in enumerate(lines) if line.startswith(f"    {name}: "))
        assert lines[where + 1].startswith(" " * 6), f"{name} has no description"


def test_map_of_a_dataset_samples_in_parallel(rng):
    images = rng.normal(size=[32, 9, 9, 1]).astype(np.float32)
    thetas = rng.normal(size=[32, 6]).astype(np.float32)

    def warp(image, theta):
        return resampler(image[None], affine_grid(theta[None], (9, 9), (9, 9)))[0]

    dataset = tf.data.Dataset.from_tensor_slices((images, thetas)).map(warp, num_parallel_calls=4)
    expected = resampler(images, affine_grid(thetas, (9, 9), (9, 9)))
    np.testing.assert_allclose(list(dataset), expected, rtol=0, atol=1e-5)


class Warper(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([None] * 4), tf.TensorSpec([None, 6])])
    def __call__(self, data, theta):
        size = tf.shape(data)[1:3]
        return resampler(data, affine_grid(theta, size, size))


def test_saved_model_loads_in_a_fresh_process_and_has_its_gradient(on_cpu, rng, tmp_path):
    data = rng.normal(size=[2, 6, 5, 3]).astype(np.float32)
    theta = rng.normal(size=[2, 6]).astype(np.float32)
    module = Warper()
    tf.saved_model.save(module, str(tmp_path / "model"))
    np.savez(tmp_path / "inputs.npz", data=data, theta=theta)
    script = """
import sys, numpy as np, tensorflow as tf, tf_stn
folder = sys.argv[1]
model, inputs = tf.saved_model.load(folder + "/model"), np.load(folder + "/inputs.npz")
data, theta = tf.constant(inputs["data"]), tf.constant(inputs["theta"])
with tf.GradientTape() as tape:
    tape.watch(theta)
    output = model(data, theta)
np.savez(folder + "/outputs.npz", output=output, gradient=tape.gradient(output, theta))
"""
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True, env=WITHOUT_GPU)
    outputs = np.load(tmp_path / "outputs.npz")
    with tf.GradientTape() as tape:
        theta = tf.constant(theta)
        tape.watch(theta)
        output = module(data, theta)
    np.testing.assert_array_equal(outputs["output"], output)
    np.testing.assert_array_equal(outputs["gradient"], tape.gradient(output, theta))


THREADS_SCRIPT = """
import hashlib, sys, numpy as np, tensorflow as tf, tf_stn
tf.config.threading.set_intra_op_parallelism_threads(int(sys.argv[1]))
rng = np.random.default_rng(0)
digest = hashlib.sha256()
for dtype in ("float16", "bfloat16", "float32", "float64"):
    for batch, height, points in ((1, 97, 20000), (3, 31, 5000), (1, 1, 3000)):
        data = tf.cast(rng.normal(size=[batch, height, 61, 5]), dtype)
        warp = tf.constant(rng.normal(scale=40, size=[batch, points, 2]), tf.float32)
        with tf.GradientTape() as tape:
            tape.watch([data, warp])
            output = tf_stn.resampler(data, warp)
        gradients = tape.gradient(output, [data, warp], tf.cast(output * 2 + 1, dtype))
        for tensor in (output, *gradients):
            digest.update(tensor.numpy().tobytes())
    for images, grids in ((2, 2), (1, 3), (3, 1)):
        data = tf.cast(rng.normal(size=[images, 23, 31, 5]), dtype)
        warp = tf.constant(rng.normal(scale=20, size=[grids, 2000, 2]), tf.float32)
        for mode in (("linear", "zeros"), ("cubic", "reflect"), ("nearest", "wrap")):
            with tf.GradientTape() as outer:
                outer.watch([data, warp])
                with tf.GradientTape() as tape:
                    tape.watch([data, warp])
                    output = tf_stn.resampler(data, warp, interpolation=mode[0], padding=mode[1])
                gradients = tape.gradient(output, [data, warp])
            second = outer.gradient(gradients, [data, warp], [data, warp])
            for tensor in (output, *gradients, *second):
                digest.update(tensor.numpy().tobytes())
print(digest.hexdigest())
"""


def test_result_is_the_same_bits_for_any_number_of_threads():
    digests = {
        subprocess.run(
            [sys.executable, "-c", THREADS_SCRIPT, str(threads)],
            check=True,
            capture_output=True,
            text=True,
            env=WITHOUT_GPU,
        ).stdout
        for threads in (1, 2, 3, 16)
    }
    assert len(digests) == 1


def busy_seconds():
    """CPU time of every thread of this process."""
    files = pathlib.Path("/proc/self/task").glob("*/schedstat")
    return {path.parent.name: int(path.read_text().split()[0]) / 1e9 for path in files}


def test_tf_data_may_limit_the_threads_of_an_op(on_cpu):
    data = tf.data.Dataset.from_tensors(tf.ones([1, 1024, 1024, 3]))
    options = tf.data.Options()
    options.threading.max_intra_op_parallelism = 1
    theta = tf.constant([[0.7, -0.6, 0.1, 0.6, 0.7, 0.1]])
    data = data.map(lambda images: affine_resampler(images, theta, (2000, 2000)))
    before = busy_seconds()
    next(iter(data.with_options(options)))
    after = busy_seconds()
    most, second = sorted((after[n] - before.get(n, 0) for n in after), reverse=True)[:2]
    assert second < most / 3, (most, second)


def test_result_is_the_same_bits_in_every_run(on_cpu, rng):
    data = tf.constant(rng.normal(size=[1, 50, 50, 3]), tf.float32)
    warp = tf.constant(rng.uniform(0, 50, [1, 20000, 2]), tf.float32)
    grad_output = tf.constant(rng.normal(size=[1, 20000, 3]), tf.float32)
    first = ops.tf_stn_resampler_grad(data, warp, grad_output, [])
    for _ in range(10):
        again = ops.tf_stn_resampler_grad(data, warp, grad_output, [])
        for a, b in zip(first, again):
            np.testing.assert_array_equal(a, b)


DETERMINISM_SCRIPT = """
import keras, tensorflow as tf, tf_stn
from tf_stn._library import ops
keras.utils.set_random_seed(0)
tf.config.experimental.enable_op_determinism()
for dtype in ("float16", "bfloat16", "float32", "float64"):
    data = tf.cast(tf.random.normal([2, 9, 9, 3]), dtype)
    coordinates = "float64" if dtype == "float64" else "float32"
    warp = tf.random.uniform([2, 20000, 2], -1, 9, coordinates)
    grad_output = tf.cast(tf.random.normal([2, 20000, 3]), dtype)
    runs = [ops.tf_stn_resampler_grad(data, warp, grad_output, []) for _ in range(5)]
    for run in runs[1:]:
        for first, again in zip(runs[0], run):
            assert first.numpy().tobytes() == again.numpy().tobytes(), dtype
"""


def test_gradient_is_the_same_bits_in_every_run_under_op_determinism():
    """On the GPU if there is one, where atomic additions would differ."""
    subprocess.run([sys.executable, "-c", DETERMINISM_SCRIPT], check=True)


@pytest.mark.parametrize("dtype", DATA_TYPES, ids=lambda dtype: dtype.name)
def test_op_runs_on_the_device_asked_for(request, dtype):
    """Otherwise TensorFlow moves an op that lacks a kernel to the CPU without a word."""
    is_gpu = "device" in request.fixturenames and request.getfixturevalue("device") == "gpu"
    data = tf.ones([1, 2, 2, 1], dtype)
    warp = tf.zeros([1, 3, 2], "float64" if dtype == tf.float64 else "float32")
    output = resampler(data, warp)
    for tensor in (output, *ops.tf_stn_resampler_grad(data, warp, output, [])):
        assert ("GPU" if is_gpu else "CPU") in tensor.device


@pytest.fixture
def requested(monkeypatch):
    """Records which gradients were asked of the gradient op."""
    calls, original = [], ops.tf_stn_resampler_grad

    def record(*args, **kwargs):
        calls.append((kwargs["compute_grad_data"], kwargs["compute_grad_warp"]))
        return original(*args, **kwargs)

    monkeypatch.setattr(_library.ops, "tf_stn_resampler_grad", record)
    return calls


@pytest.mark.parametrize("graph", [False, True], ids=["eager", "graph"])
@pytest.mark.parametrize("watch_data", [False, True], ids=["data fixed", "data watched"])
@pytest.mark.parametrize("watch_warp", [False, True], ids=["warp fixed", "warp watched"])
def test_tape_asks_only_for_the_gradients_it_needs(rng, requested, graph, watch_data, watch_warp):
    data = tf.constant(rng.normal(size=[1, 4, 4, 2]))
    warp = tf.constant(rng.uniform(0, 3, [1, 5, 2]))
    sources = [x for x, watched in ((data, watch_data), (warp, watch_warp)) if watched]

    def gradients(data, warp):
        sources = [x for x, watched in ((data, watch_data), (warp, watch_warp)) if watched]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(sources)
            output = resampler(data, warp)
        return tape.gradient(output, sources)

    result = (tf.function(gradients) if graph else gradients)(data, warp)
    assert [r.shape for r in result] == [s.shape for s in sources]
    assert requested == ([(watch_data, watch_warp)] if sources else [])


@pytest.mark.parametrize("needed", [0, 1], ids=["data", "warp"])
def test_graph_kernel_makes_only_the_outputs_that_are_consumed(on_cpu, needed):
    """`tf.gradients` asks for both, but one has no consumer: it is not even allocated."""
    with tf.Graph().as_default(), tf.device("/CPU:0"):
        inputs = [tf.random.normal([1, 64, 64, 3]), tf.random.uniform([1, 500, 2], 0, 63)]
        gradient = tf.gradients(resampler(*inputs), inputs[needed])[0]
        options = tf.compat.v1.RunOptions(trace_level=tf.compat.v1.RunOptions.FULL_TRACE)
        metadata = tf.compat.v1.RunMetadata()
        with tf.compat.v1.Session() as session:
            session.run(gradient, options=options, run_metadata=metadata)
    nodes = [node for device in metadata.step_stats.dev_stats for node in device.node_stats]
    (node,) = (node for node in nodes if node.node_name.endswith("ResamplerGrad"))
    assert [output.slot for output in node.output] == [needed]


@pytest.mark.parametrize("compute_data", [False, True])
@pytest.mark.parametrize("compute_warp", [False, True])
def test_gradient_not_asked_for_is_an_empty_vector(on_cpu, run, rng, compute_data, compute_warp):
    data, warp = rng.normal(size=[1, 4, 4, 2]), rng.uniform(0, 3, [1, 5, 2])
    grad_output = rng.normal(size=[1, 5, 2])
    full = ops.tf_stn_resampler_grad(data, warp, grad_output, [])
    part = run(
        lambda *inputs: ops.tf_stn_resampler_grad(
            *inputs, [], compute_grad_data=compute_data, compute_grad_warp=compute_warp
        ),
        data, warp, grad_output,
    )  # fmt: skip
    for computed, whole, gradient in zip((compute_data, compute_warp), full, part):
        np.testing.assert_array_equal(gradient, whole if computed else [])


def test_name_is_given_to_the_operation():
    with tf.Graph().as_default():
        output = resampler(tf.zeros([1, 2, 2, 1]), tf.zeros([1, 1, 2]), name="look")
        grid = affine_grid(tf.zeros([1, 6]), (2, 2), (2, 2), name="where")
    assert output.op.name == "look"
    assert grid.op.name.startswith("where/")


def test_orders_left_out_of_a_derivative_are_zero_in_gradients_too(rng):
    data = tf.constant(rng.normal(size=[1, 6, 6, 2]))
    warp = tf.constant(rng.uniform(1, 4, size=[1, 5, 2]))

    def second_order(derivative):
        with tf.GradientTape() as outer:
            outer.watch(warp)
            with tf.GradientTape() as inner:
                inner.watch(warp)
                output = ops.tf_stn_resampler(
                    data, warp, [], derivative=derivative, interpolation="cubic"
                )
            gradient = inner.gradient(output, warp)
        return outer.gradient(gradient, warp)

    np.testing.assert_array_equal(second_order([1]), second_order([1, 0]))
