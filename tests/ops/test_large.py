"""Tensors with more than 2^31 elements, sampled at their far end. `make test-large`."""

import gc
import pathlib
import re
import time

import numpy as np
import pytest
import tensorflow as tf

from tf_stn._library import ops

pytestmark = [pytest.mark.large, pytest.mark.usefixtures("on_cpu")]


def available_memory():
    text = pathlib.Path("/proc/meminfo").read_text()
    return int(re.search(r"MemAvailable: *(\d+)", text).group(1)) / 2**20


def require_memory(gibibytes):
    gc.collect()
    for _ in range(30):  # That of the last test is given back a while later.
        if available_memory() >= gibibytes:
            return
        time.sleep(1)
    pytest.skip(f"needs {gibibytes} GiB of free memory, there are {available_memory():.1f}")


@pytest.fixture(autouse=True)
def _memory():
    require_memory(8)


def zeros(shape, dtype):
    """Returns zeros that take no memory until they are written, in NumPy and in TensorFlow."""
    return np.zeros(shape, tf.as_dtype(dtype).as_numpy_dtype)


def as_tensor(array):
    return tf.experimental.dlpack.from_dlpack(array.__dlpack__())


SIDE = 46_500  # Squared, it is 2.16e9.
MODES = [("nearest", "zeros"), ("linear", "zeros"), ("cubic", "reflect")]


@pytest.mark.parametrize("interpolation, padding", MODES)
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_far_corner_of_an_image_is_sampled(dtype, interpolation, padding):
    data = zeros([1, SIDE, SIDE, 1], dtype)
    data[0, -2:, -2:, 0] = [[1, 2], [3, 4]]
    warp = tf.constant([[[SIDE - 1, SIDE - 1], [SIDE - 2, SIDE - 1], [0, 0]]], tf.float32)
    modes = {"interpolation": interpolation, "padding": padding}
    data = as_tensor(data)
    output = ops.tf_stn_resampler(data, warp, [], **modes)
    np.testing.assert_array_equal(output[0, :, 0], [4, 3, 0])
    ones = tf.ones_like(output)
    _, grad_warp = ops.tf_stn_resampler_grad(data, warp, ones, [], compute_grad_data=False, **modes)
    # Of the corner to the pixel left of it and above it, and of what lies beyond.
    expected = {"nearest": [0, 0], "linear": [-4, -4], "cubic": [0, 0]}[interpolation]
    np.testing.assert_allclose(grad_warp[0, 0], expected, atol=1e-3)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_gradient_of_an_image_reaches_its_far_corner(dtype):
    """The gradient takes 8.6 GB, and for half types, with its sums in float32, 12.9 GB."""
    require_memory(16)
    data = as_tensor(zeros([1, SIDE, SIDE, 1], dtype))
    warp = tf.constant([[[SIDE - 1, SIDE - 1], [SIDE - 1.5, SIDE - 2], [0, 0]]], tf.float32)
    grad_output = tf.cast([[[1.0], [2.0], [3.0]]], dtype)
    grad_data, _ = ops.tf_stn_resampler_grad(data, warp, grad_output, [], compute_grad_warp=False)
    corner = tf.cast(grad_data[0, -2:, -2:, 0], tf.float32)
    np.testing.assert_array_equal(corner, [[1, 1], [0, 1]])
    assert grad_data[0, 0, 0, 0] == 3
    middle = grad_data[0, SIDE // 2 - 100 : SIDE // 2 + 100]
    assert not tf.reduce_any(middle != tf.zeros([], dtype))


def test_last_image_of_a_large_batch_is_sampled():
    """By the vector loops, which take images of at most 2^30 elements."""
    side = 2**15
    data = zeros([3, side, side, 1], "float16")
    data[2, -1, -1, 0], data[2, 0, 0, 0] = 5, 6
    warp = tf.constant([[[side - 1, side - 1], [0, 0]]] * 3, tf.float32)
    output = ops.tf_stn_resampler(as_tensor(data), warp, [])
    np.testing.assert_array_equal(output[..., 0], [[0, 0], [0, 0], [5, 6]])


def test_output_of_more_than_2_31_elements_is_written_to_its_end():
    data = tf.reshape(tf.range(4, dtype=tf.float32), [1, 2, 2, 1])
    data = tf.cast(tf.tile(data, [1, 1, 1, 2**16]), tf.float16)
    points = 2**15 + 8
    warp = np.zeros([1, points, 2], np.float32)
    warp[0, -1] = 1
    output = ops.tf_stn_resampler(data, warp, [])
    assert output.shape.num_elements() > 2**31
    for point, value in ((0, 0), (points // 2, 0), (points - 2, 0), (points - 1, 3)):
        assert tf.reduce_all(output[0, point] == tf.cast(value, tf.float16))
