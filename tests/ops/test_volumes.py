"""Volumes: the third coordinate, the third axis of θ, and what is particular to them."""

import numpy as np
import pytest
import reference
import tensorflow as tf
from implementations import BOTH, COMPILED

from tf_stn import affine_grid, affine_resampler, resampler
from tf_stn._pixels import DATA_TYPES

pytestmark = BOTH

IDENTITY = np.eye(3, 4)
SIZE = (3, 4, 5)
ALIGN = pytest.mark.parametrize("align_corners", [True, False], ids=["centres", "edges"])


@pytest.fixture
def volume(rng):
    return rng.normal(size=[2, *SIZE, 2])


def test_x_is_along_the_width_and_z_along_the_depth():
    volume = tf.range(60.0)[None, :, None]
    volume = tf.reshape(volume, [1, *SIZE, 1])
    warp = [[[4.0, 0.0, 0.0], [0.0, 3.0, 0.0], [0.0, 0.0, 2.0], [0.5, 0.5, 0.5]]]
    np.testing.assert_array_equal(resampler(volume, warp)[0, :, 0], [4, 15, 40, 0.5 + 2.5 + 10])


@COMPILED
@ALIGN
@pytest.mark.parametrize("sizes", [(SIZE, SIZE), ((2, 1, 7), SIZE), (SIZE, (1, 6, 2))], ids=str)
def test_grid_equals_the_reference(rng, run, sizes, align_corners):
    theta = rng.normal(size=[2, 3, 4])
    warp = run(lambda theta: affine_grid(theta, *sizes, align_corners=align_corners), theta)
    expected = reference.affine_grid(theta, *sizes, align_corners)
    np.testing.assert_allclose(warp, expected, rtol=0, atol=1e-13)


def test_theta_of_twelve_is_read_row_by_row(rng, volume):
    theta = rng.normal(size=[2, 3, 4])
    output = affine_resampler(volume, theta.reshape(2, 12))
    np.testing.assert_array_equal(output, affine_resampler(volume, theta))


@ALIGN
@pytest.mark.parametrize("dtype", DATA_TYPES, ids=lambda dtype: dtype.name)
def test_identity_returns_the_volume_bit_for_bit(volume, dtype, align_corners, implementation):
    volume.flat[:3] = [np.nan, np.inf, -0.0]
    data = tf.cast(volume, dtype)
    theta = tf.constant([IDENTITY] * 2, tf.float32)
    output = affine_resampler(data, theta, align_corners=align_corners)
    assert output.dtype == dtype
    output, data = (tf.cast(x, tf.float64).numpy() for x in (output, data))
    np.testing.assert_array_equal(output, data)
    if implementation == "compiled":  # The other one adds zeros, which take the sign from -0.
        assert np.signbit(output.flat[2])


@pytest.mark.parametrize("axis", [0, 1, 2], ids=["x", "y", "z"])
@pytest.mark.parametrize("interpolation", ["nearest", "linear", "cubic"])
def test_minus_one_on_the_diagonal_flips_that_axis(volume, interpolation, axis):
    theta = IDENTITY.copy()
    theta[axis, axis] = -1
    output = affine_resampler(volume, [theta] * 2, interpolation=interpolation)
    np.testing.assert_array_equal(output, np.flip(volume, 3 - axis))


def test_output_may_be_of_another_size_and_equals_the_reference(rng, run, volume):
    theta = rng.normal(size=[2, 3, 4])
    output = run(lambda d, t: affine_resampler(d, t, (2, 6, 3)), volume, theta)
    warp = reference.affine_grid(theta, (2, 6, 3), SIZE)
    np.testing.assert_allclose(output, reference.resample(volume, warp), rtol=0, atol=1e-12)


def test_slice_of_a_volume_is_the_image_there(rng, volume):
    points = rng.uniform(-1, 5, size=[2, 20, 2])
    in_slice = np.concatenate([points, np.ones([2, 20, 1])], axis=-1)
    np.testing.assert_allclose(
        resampler(volume, in_slice), resampler(volume[:, 1], points), rtol=0, atol=1e-14
    )


def test_volume_of_one_slice_row_or_column_is_sampled(rng):
    for size in ((1, 4, 5), (3, 1, 5), (3, 4, 1), (1, 1, 1)):
        data, warp = rng.normal(size=[1, *size, 2]), rng.uniform(-2, 5, [1, 30, 3])
        for mode in (("linear", "zeros"), ("cubic", "reflect"), ("linear", "wrap")):
            expected = reference.resample(data, warp, *mode)
            np.testing.assert_allclose(
                resampler(data, warp, interpolation=mode[0], padding=mode[1]), expected, atol=1e-13
            )


def test_shapes_known_late_give_volumes_where_something_tells(rng, volume):
    theta = tf.constant(rng.normal(size=[2, 3, 4]))
    expected = affine_resampler(volume, theta, (2, 2, 2))
    for data_shape, theta_shape in (([None] * 5, None), (None, [None, 3, 4]), (None, None)):
        specs = [tf.TensorSpec(data_shape, tf.float64), tf.TensorSpec(theta_shape, tf.float64)]

        @tf.function(input_signature=specs)
        def late(data, theta):
            with tf.GradientTape() as tape:
                tape.watch(theta)
                output = affine_resampler(data, theta, (2, 2, 2))
            return output, tape.gradient(output, theta)

        output, gradient = late(volume, theta)
        np.testing.assert_allclose(output, expected, rtol=0, atol=1e-13)
        assert gradient.shape == theta.shape


WRONG = {
    "theta of images": (
        lambda: affine_resampler(tf.zeros([1, *SIZE, 1]), tf.zeros([1, 6])),
        "`theta` must have shape [batch, ..., 3, 4] or [batch, 12], received [1, 6]",
    ),
    "theta of volumes for images": (
        lambda: affine_resampler(tf.zeros([1, 4, 5, 1]), tf.zeros([1, 3, 4])),
        "`theta` must have shape [batch, ..., 2, 3] or [batch, 6], received [1, 3, 4]",
    ),
    "size of two": (
        lambda: affine_resampler(tf.zeros([1, *SIZE, 1]), tf.zeros([1, 12]), (4, 4)),
        "`output_size` must be three positive integers (depth, height, width), received (4, 4)",
    ),
    "no slices": (
        lambda: affine_resampler(tf.zeros([1, 0, 4, 5, 1]), tf.zeros([1, 12])),
        "`data` must have a depth, a height and a width of at least 1",
    ),
    "points in the plane": (
        lambda: resampler(tf.zeros([1, *SIZE, 1]), tf.zeros([1, 6, 2])),
        "`warp` must have shape [batch, ..., 3], received [1, 6, 2]",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_mistakes_with_volumes_are_named(case):
    function, message = WRONG[case]
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError)) as error:
        function()
    assert message in str(error.value)
