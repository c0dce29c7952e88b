"""The rules for NaN, infinite and huge coordinates and for empty tensors, one by one."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from implementations import BOTH, COMPILED

from tf_stn import _library, resampler

pytestmark = BOTH

DTYPES = ("float16", "bfloat16", "float32", "float64")
NAN, INF = float("nan"), float("inf")


def sample(data, points, grad_output=1.0):
    """Returns the output and both gradients, as float64."""
    data = tf.convert_to_tensor(data)
    warp = tf.cast(points, tf.float64 if data.dtype == tf.float64 else tf.float32)
    with tf.GradientTape() as tape:
        tape.watch([data, warp])
        output = resampler(data, warp)
    grads = tape.gradient(
        output, [data, warp], tf.fill(output.shape, tf.cast(grad_output, data.dtype))
    )
    return [tf.cast(x, tf.float64).numpy() for x in (output, *grads)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "point", [(NAN, 1.0), (1.0, NAN), (NAN, NAN), (NAN, 1e30), (-INF, NAN), (NAN, -0.5)], ids=str
)
def test_nan_coordinate_gives_nan_and_adds_nothing_to_the_image(dtype, point):
    data = tf.ones([1, 3, 3, 2], dtype)
    output, grad_data, grad_warp = sample(data, [[point, (1.0, 1.0)]])
    assert np.isnan(output[0, 0]).all()
    assert np.isnan(grad_warp[0, 0]).all()
    assert np.isfinite(output[0, 1]).all()
    assert np.isfinite(grad_warp[0, 1]).all()
    expected = np.zeros([3, 3, 2])
    expected[1, 1] = 1
    np.testing.assert_array_equal(grad_data[0], expected)


FAR = (-INF, -1e30, -3e9, -2.0, 5.0, 3e9, 2.0**31, 2.0**63, 1e19, 1e30, INF)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("far", FAR)
def test_far_coordinate_is_outside_the_image(dtype, far):
    data = tf.ones([1, 3, 5, 2], dtype)
    points = [(far, 1.0), (1.0, far), (far, far), (far, -far), (far, 0.5)]
    for result in sample(data, [points]):
        np.testing.assert_array_equal(result, np.zeros_like(result))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "data_shape, point_axes",
    [
        ((0, 3, 3, 2), (4,)),
        ((2, 3, 3, 2), (0,)),
        ((2, 3, 3, 2), (5, 0, 7)),
        ((2, 3, 3, 0), (4,)),
        ((2, 0, 3, 2), (0,)),
        ((2, 3, 0, 2), (0,)),
        ((0, 0, 0, 0), (0,)),
        ((0, 0, 3, 2), (4,)),
        ((0, 3, 3, 2), ()),
    ],
    ids=str,
)
def test_empty_inputs_give_empty_outputs_and_zero_gradients(dtype, data_shape, point_axes):
    data, warp = tf.zeros(data_shape, dtype), tf.zeros([data_shape[0], *point_axes, 2])
    output, grad_data, grad_warp = sample(data, warp)
    assert output.shape == (data_shape[0], *point_axes, data_shape[3])
    assert output.size == 0
    np.testing.assert_array_equal(grad_data, np.zeros(data_shape))
    np.testing.assert_array_equal(grad_warp, np.zeros(warp.shape))


@COMPILED
@pytest.mark.parametrize("points", [0, 1])
@pytest.mark.parametrize("dtype", DTYPES)
def test_gradients_hold_no_stale_memory(dtype, points):
    """Memory full of NaN is freed just before, for an allocator to hand it out again."""
    for _ in range(20):
        stale = [tf.fill([2, 64, 64, 3], tf.constant(NAN, dtype)) for _ in range(4)]
        del stale
        _, grad_data, grad_warp = sample(tf.zeros([2, 64, 64, 3], dtype), tf.zeros([2, points, 2]))
        assert np.count_nonzero(grad_data) == 2 * points * 3
        assert not np.isnan(grad_data).any()
        assert not np.isnan(grad_warp).any()


def test_nan_in_the_incoming_gradient_reaches_only_pixels_with_weight():
    _, grad_data, grad_warp = sample(tf.ones([1, 3, 3, 1]), [[[1.0, 1.0]]], grad_output=NAN)
    assert np.isnan(grad_data[0, 1, 1, 0])
    assert np.count_nonzero(np.isnan(grad_data)) == 1
    assert np.isnan(grad_warp).all()


def test_infinite_pixel_spreads_only_to_points_with_weight_on_it():
    data = tf.reshape(tf.constant([1.0, INF, 3.0]), [1, 1, 3, 1])
    output = resampler(data, [[[0.0, 0.0], [0.5, 0.0], [1.5, 0.0], [2.0, 0.0]]])[0, :, 0]
    np.testing.assert_array_equal(output, [1.0, INF, INF, 3.0])


def test_infinite_pixel_of_slope_zero_leaves_the_gradient_alone():
    data = tf.reshape(tf.constant([1.0, 3.0, INF, 2.0]), [1, 2, 2, 1])
    _, _, grad_warp = sample(data, [[[0.5, 0.0]]])
    np.testing.assert_array_equal(grad_warp[0, 0], [2.0, INF])


@pytest.mark.parametrize("channels", [1, 3, 5])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("interpolation", ["nearest", "linear", "cubic"])
def test_infinite_border_pixel_has_slope_zero_far_outside(interpolation, dtype, channels, rng):
    size = 6
    data = np.zeros([1, size, size, channels])
    data[:, 0, 0], data[:, -1, -1] = INF, INF
    far = rng.uniform(size + 3, 4 * size, [2, 50, 2])
    warp = tf.constant(np.concatenate([-far[0], far[1]])[None], dtype)
    with tf.GradientTape() as tape:
        tape.watch(warp)
        output = resampler(
            tf.constant(data, dtype), warp, interpolation=interpolation, padding="border"
        )
    np.testing.assert_array_equal(output, np.full(output.shape, INF))
    np.testing.assert_array_equal(tape.gradient(output, warp), np.zeros(warp.shape))


def test_every_combination_of_odd_coordinates_is_defined():
    """No combination crashes; an output is NaN exactly where a coordinate is."""
    odd = (*FAR, NAN, -1.0, -0.5, -0.0, 0.0, 0.5, 1.0, 1.5, 2.0, np.nextafter(2.0, 0), 1e-45)
    points = np.array(list(itertools.product(odd, odd)))
    for dtype in DTYPES:
        output, grad_data, grad_warp = sample(tf.ones([1, 3, 3, 2], dtype), points[None])
        is_nan = np.isnan(points).any(axis=-1)
        assert (np.isnan(output[0]) == is_nan[:, None]).all()
        assert (np.isnan(grad_warp[0]) == is_nan[:, None]).all()
        assert np.isfinite(grad_data).all()


@COMPILED
def test_second_order_without_a_direction_of_the_warp_adds_nothing_to_the_image():
    """The tensor that is not there, of shape [0], is not read."""
    data, warp, grad_output = tf.ones([1, 4, 4, 1]), tf.ones([1, 3, 2]), tf.ones([1, 3, 1])
    grad_data, grad_warp, grad_grad_output = _library.ops.tf_stn_resampler_grad_grad(
        data=data,
        warp=warp,
        grad_output=grad_output,
        grad_grad_data=data,
        grad_grad_warp=tf.zeros([0]),
        fill_value=[],
        interpolation="linear",
        padding="zeros",
    )
    np.testing.assert_array_equal(grad_data, tf.zeros_like(data))
    np.testing.assert_array_equal(grad_warp, tf.zeros_like(warp))
    np.testing.assert_array_equal(grad_grad_output, tf.ones_like(grad_output))


@COMPILED
@pytest.mark.parametrize("channels", [1, 3, 20])
@pytest.mark.parametrize("interpolation", ["linear", "cubic"])
def test_points_outside_have_no_gradient_however_large_that_of_the_output(interpolation, channels):
    """Such as that of a logarithm of the zeros there."""
    data = tf.ones([1, 6, 6, channels])
    warp = tf.constant([[[-9.0, -9.0], [2.5, 40.0]]])
    for grad_output in (INF, NAN):
        grad_data, grad_warp = _library.ops.tf_stn_resampler_grad(
            data, warp, tf.fill([1, 2, channels], grad_output), [], interpolation=interpolation
        )
        np.testing.assert_array_equal(grad_warp, tf.zeros_like(warp))
        np.testing.assert_array_equal(grad_data, tf.zeros_like(data))


def test_cubic_samples_agree_wherever_they_are_in_the_batch(on_cpu, rng):
    """The last pixel of the last image is read otherwise, since nothing may be read behind it."""
    image = rng.uniform(size=[1, 5, 6, 3]).astype(np.float32)
    warp = rng.uniform(2.1, 3.9, size=[1, 20, 2]).astype(np.float32)
    warp[..., 1] -= 1
    sampled, grad_data, grad_warp = _sample_cubic(np.tile(image, [2, 1, 1, 1]), warp)
    for tensor in (sampled, grad_data, grad_warp):
        np.testing.assert_allclose(tensor[0], tensor[1], rtol=1e-5, atol=1e-5)


def _sample_cubic(data, warp):
    data, warp = tf.constant(data), tf.constant(np.tile(warp, [len(data), 1, 1]))
    with tf.GradientTape() as tape:
        tape.watch([data, warp])
        output = resampler(data, warp, interpolation="cubic")
    return output, *tape.gradient(output, [data, warp])
