"""Fixtures for all tests."""

import contextlib
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")  # Leaves room for other processes.

import numpy as np
import pytest
import tensorflow as tf

import tf_stn
from tf_stn._keras import keras

tf.config.threading.set_intra_op_parallelism_threads(2)

GPUS = tf.config.list_logical_devices("GPU")
if os.environ.get("TF_STN_REQUIRE_GPU") == "1" and not GPUS:
    raise pytest.UsageError("TF_STN_REQUIRE_GPU=1, but TensorFlow sees no GPU")

if GPUS:  # Otherwise the names of tests need no mention of a device.

    @pytest.fixture(autouse=True, params=["cpu", "gpu"])
    def device(request):
        """Runs every test on the CPU and on the GPU."""
        with tf.device(f"/{request.param}:0"):
            yield request.param


@pytest.fixture
def on_cpu():
    """For what holds on the CPU alone."""
    with tf.device("/CPU:0"):
        yield


@pytest.fixture(params=["compiled", "portable"])
def implementation(request):
    """Runs a test with the compiled ops, and in TensorFlow's own."""
    is_portable = request.param == "portable"
    with tf_stn.portable() if is_portable else contextlib.nullcontext():
        yield request.param


@pytest.fixture
def rng():
    """A generator with the same seed in every test."""
    return np.random.default_rng(0)


@pytest.fixture(autouse=True)
def _seed():
    keras.utils.set_random_seed(0)


@pytest.fixture(params=["eager", "graph", "graph with unknown shapes"])
def run(request):
    """Calls a function in eager mode, in a graph, and in a graph that knows no shapes."""

    def call(function, *tensors):
        tensors = [tf.convert_to_tensor(tensor) for tensor in tensors]
        if request.param == "eager":
            return function(*tensors)
        signature = None
        if request.param == "graph with unknown shapes":
            signature = [tf.TensorSpec(None, tensor.dtype) for tensor in tensors]
        return tf.function(function, input_signature=signature)(*tensors)

    return call
