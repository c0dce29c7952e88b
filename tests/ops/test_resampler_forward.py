"""The samples themselves, against the reference."""

import numpy as np
import pytest
import reference
import tensorflow as tf
from implementations import BOTH, COMPILED

from tf_stn import resampler
from tf_stn._resampler import INTERPOLATIONS, PADDINGS

pytestmark = BOTH

# Half of the spacing of numbers just below 1, with some room for float32 sums.
ACCURACY = {"float64": 1e-14, "float32": 1e-6, "float16": 6e-4, "bfloat16": 5e-3}


def images_and_points(rng, dtype="float64", channels=3, points=(7,), batch=2):
    """Random images and points inside, on the edge of and outside them."""
    data = tf.cast(rng.uniform(-1, 1, [batch, 5, 6, channels]), dtype)
    warp = rng.uniform(-2.5, 7.5, [batch, *points, 2])
    return data, warp if dtype == "float64" else warp.astype(np.float32)


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 15, 16, 17, 40])
@pytest.mark.parametrize("dtype", ACCURACY)
def test_samples_equal_the_reference(rng, dtype, channels):
    data, warp = images_and_points(rng, dtype, channels, points=(50,))
    output = resampler(data, warp)
    assert output.dtype == data.dtype
    expected = reference.resample(tf.cast(data, tf.float64), warp)
    np.testing.assert_allclose(tf.cast(output, tf.float64), expected, rtol=0, atol=ACCURACY[dtype])


@pytest.mark.parametrize("points", [(), (1,), (3, 4), (2, 1, 3, 2)], ids=str)
def test_warp_may_have_any_number_of_point_axes(rng, run, points):
    data, warp = images_and_points(rng, points=points)
    output = run(resampler, data, warp)
    assert output.shape == (2, *points, 3)
    np.testing.assert_allclose(output, reference.resample(data, warp), rtol=0, atol=1e-14)


@COMPILED
def test_reference_specifies_every_mode():
    assert set(reference.INTERPOLATIONS) == set(INTERPOLATIONS)
    assert set(reference.PADDINGS) == set(PADDINGS)


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_every_mode_equals_the_reference(rng, interpolation, padding):
    data, warp = images_and_points(rng)
    output = resampler(data, warp, interpolation=interpolation, padding=padding)
    expected = reference.resample(data, warp, interpolation, padding)
    np.testing.assert_allclose(output, expected, rtol=0, atol=1e-14)


@COMPILED
def test_image_that_begins_anywhere_in_memory_is_sampled(rng):
    """Another library may hand over a view, which TensorFlow's own allocator would have aligned."""
    memory = rng.normal(size=101).astype(np.float32)
    view = memory[1:].reshape(1, 10, 10, 1)
    data = tf.experimental.dlpack.from_dlpack(view.__dlpack__())
    warp = tf.constant(rng.uniform(0, 9, [1, 30, 2]), tf.float32)
    np.testing.assert_array_equal(resampler(data, warp), resampler(view.copy(), warp))


def test_known_values_between_four_pixels():
    data = tf.reshape(tf.constant([0.0, 10.0, 20.0, 30.0]), [1, 2, 2, 1])
    warp = [[[0.5, 0.5], [0.25, 0.0], [1.0, 0.75], [1.5, 1.0], [-0.5, -0.5]]]
    output = resampler(data, warp)[0, :, 0]
    np.testing.assert_array_equal(output, [15.0, 2.5, 25.0, 15.0, 0.0])


@pytest.mark.parametrize("dtype", ACCURACY)
def test_pixel_centres_return_pixels_bit_for_bit(rng, dtype, implementation):
    values = rng.normal(size=[2, 4, 5, 3])
    values[0, 1, 2] = [np.nan, np.inf, -0.0]
    data = tf.cast(values, dtype)
    y, x = np.mgrid[:4, :5]
    warp = np.broadcast_to(np.stack([x, y], axis=-1), [2, 4, 5, 2]).astype(np.float32)
    output = resampler(data, warp)
    np.testing.assert_array_equal(
        tf.cast(output, tf.float64), tf.cast(data, tf.float64), strict=True
    )
    if implementation == "compiled":  # The other one adds zeros, which take the sign from -0.
        assert np.signbit(tf.cast(output, tf.float64)[0, 1, 2, 2])


def test_values_fade_to_zero_over_one_pixel():
    data = tf.ones([1, 3, 3, 1])
    x = [-1.0, -0.75, -0.5, 0.0, 2.0, 2.25, 3.0]
    output = resampler(data, [[[value, 1.0] for value in x]])[0, :, 0]
    np.testing.assert_array_equal(output, [0.0, 0.25, 0.5, 1.0, 1.0, 0.75, 0.0])


def test_corners_outside_the_image_are_the_product_of_both_axes():
    data = tf.ones([1, 2, 2, 1])
    warp = [[[-0.5, -0.5], [1.25, 1.5], [-0.25, 1.75]]]
    np.testing.assert_array_equal(resampler(data, warp)[0, :, 0], [0.25, 0.375, 0.1875])


def test_coordinates_of_half_images_are_not_rounded_to_half():
    """Beyond 2048, float16 knows only even numbers and bfloat16 only multiples of 16."""
    data = tf.cast(tf.range(3001) % 7, tf.float16)[None, None, :, None]
    warp = tf.constant([[[2501.0, 0.0], [2999.5, 0.0]]])
    for dtype in ("float16", "bfloat16"):
        output = resampler(tf.cast(data, dtype), warp)[0, :, 0]
        np.testing.assert_array_equal(tf.cast(output, tf.float32), [2501 % 7, (3 + 4) / 2])


def test_float64_images_are_sampled_with_float64_coordinates():
    data = tf.constant([0.0, 1.0], tf.float64)[None, None, :, None]
    x = 0.1  # Not a float32.
    assert resampler(data, [[[x, 0.0]]])[0, 0, 0] == x
    assert resampler(data, tf.constant([[[x, 0.0]]], tf.float64))[0, 0, 0] == x


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64", "int32"])
def test_warp_of_another_real_type_is_converted(rng, dtype):
    data = tf.cast(rng.normal(size=[1, 4, 4, 2]), tf.float32)
    warp = tf.constant([[[1, 2], [3, 0]]], dtype)
    np.testing.assert_array_equal(resampler(data, warp)[0], [data[0, 2, 1], data[0, 0, 3]])


def test_image_of_one_pixel(rng):
    data, warp = rng.normal(size=[2, 1, 1, 2]), rng.uniform(-1.5, 1.5, [2, 20, 2])
    np.testing.assert_allclose(resampler(data, warp), reference.resample(data, warp), atol=1e-14)
