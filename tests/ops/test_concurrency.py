"""Calls of the ops from many threads at once."""

import concurrent.futures
import threading

import numpy as np
import pytest
import tensorflow as tf
from fuzzing import EXAMPLES

from tf_stn import resampler
from tf_stn._library import ops

CASES = [
    ("linear", "zeros", 2, "float32"),
    ("linear", "zeros", 2, "bfloat16"),
    ("cubic", "reflect", 2, "float32"),
    ("linear", "border", 3, "float64"),
]


@pytest.mark.usefixtures("on_cpu")
@pytest.mark.parametrize("mode", ["eager", "graph"])
def test_calls_from_many_threads_give_the_same_bits(rng, mode):
    """On the same inputs, with work that each of them shares among TensorFlow's threads."""
    functions = []
    for interpolation, padding, rank, dtype in CASES:
        modes = {"interpolation": interpolation, "padding": padding}
        coordinates = "float64" if dtype == "float64" else "float32"
        data = tf.cast(rng.normal(size=[2, *[19, 17, 13][:rank], 3]), dtype)
        warp = tf.cast(rng.uniform(-3, 22, size=[2, 4000, rank]), coordinates)
        grad_output = tf.cast(rng.normal(size=[2, 4000, 3]), dtype)

        def call(data=data, warp=warp, grad_output=grad_output, modes=modes):
            return (
                ops.tf_stn_resampler(data, warp, [], **modes),
                *ops.tf_stn_resampler_grad(data, warp, grad_output, [], **modes),
                *ops.tf_stn_resampler_grad_grad(data, warp, grad_output, data, warp, [], **modes),
            )

        functions.append(tf.function(call) if mode == "graph" else call)

    def bits(function):
        return [tensor.numpy().tobytes() for tensor in function()]

    expected = [bits(function) for function in functions]
    threads, rounds = 8, int(EXAMPLES) // 10 if EXAMPLES else 3
    start = threading.Barrier(threads)

    def hammer(first):
        start.wait()
        order = [(first + i) % len(functions) for i in range(rounds * len(functions))]
        return [i for i in order if bits(functions[i]) != expected[i]]

    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        for wrong in pool.map(hammer, range(threads)):
            assert wrong == []


@pytest.mark.usefixtures("on_cpu")
def test_outputs_of_concurrent_calls_share_no_memory(rng):
    """Every thread has inputs of its own, and a result that is about them alone."""
    warp = tf.constant(rng.uniform(0, 8, size=[1, 3000, 2]), tf.float32)

    def sample(value):
        data = tf.fill([1, 9, 9, 4], float(value))
        return all(
            np.all(np.abs(ops.tf_stn_resampler(data, warp, []) - value) < 1e-3 * (1 + value))
            for _ in range(20)
        )

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert all(pool.map(sample, range(32)))


def test_concurrent_calls_do_not_disturb_each_other(rng):
    data = tf.constant(rng.normal(size=[2, 20, 20, 3]))
    warps = [tf.constant(rng.uniform(0, 19, [2, 500, 2])) for _ in range(8)]
    expected = [resampler(data, warp).numpy() for warp in warps]
    failures = []

    def work(warp, result):
        for _ in range(20):
            if not (resampler(data, warp).numpy() == result).all():
                failures.append(warp)

    threads = [threading.Thread(target=work, args=pair) for pair in zip(warps, expected)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
