"""Memory stays flat, however often the ops are called."""

import gc
import os
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from tf_stn import affine_resampler, resampler
from tf_stn._library import ops

# What all calls of a test may add to the memory of the process. That is more than allocators and
# Python keep for themselves, and for 10,000 calls 400 bytes each; those of Python's tapes, which
# are fewer, have tensors of at least 8,000 bytes.
BOUND = 4 * 2**20


def resident_bytes():
    """Returns the memory of this process that is in use now."""
    gc.collect()
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def by_ops(data, warp, theta):
    """Calls each op once."""
    grad_output = ops.tf_stn_resampler(data, warp, [])
    ops.tf_stn_resampler_grad(data, warp, grad_output, [])
    ops.tf_stn_resampler_grad_grad(data, warp, grad_output, data, warp, [])
    grad_output = ops.tf_stn_affine_resampler(data, theta, [32, 32], [])
    ops.tf_stn_affine_resampler_grad(data, theta, grad_output, [])


def by_tapes(data, warp, theta):
    """Calls each op at least once, for gradients of first and second order."""
    for sample, points in ((resampler, warp), (affine_resampler, theta)):
        with tf.GradientTape() as outer:
            outer.watch([data, points])
            with tf.GradientTape() as inner:
                inner.watch([data, points])
                output = sample(data, points, fill_value=1.0)
            first = inner.gradient(output, [data, points])
        second = outer.gradient(first, [data, points])
    return output, first, second  # Of a graph, what is not returned is not computed.


CASES = {
    "ops": (by_ops, 5, 10_000),
    "tapes": (by_tapes, 6, 1_000),
    "graph": (tf.function(by_tapes), 6, 10_000),
}


@pytest.mark.usefixtures("on_cpu")
@pytest.mark.parametrize("case", CASES)
def test_memory_stays_flat_over_many_calls(rng, case):
    """A call is a sample, a gradient or a gradient of that."""
    function, calls_each, calls = CASES[case]
    data = tf.constant(rng.normal(size=[1, 32, 32, 2]), tf.float32)
    warp = tf.constant(rng.uniform(0, 31, size=[1, 1000, 2]), tf.float32)
    theta = tf.constant(np.eye(2, 3)[None], tf.float32)
    for _ in range(calls // calls_each // 4):
        function(data, warp, theta)
    before = resident_bytes()
    for _ in range(calls // calls_each):
        function(data, warp, theta)
    grown = resident_bytes() - before
    print(f"{grown} bytes in {calls} calls")
    assert grown < BOUND
