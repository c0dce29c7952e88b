"""The affine grid generator: values, exactness, gradients, sizes known late."""

import numpy as np
import pytest
import reference
import tensorflow as tf

from tf_stn import affine_grid, resampler

IDENTITY = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]
SIZES = [((4, 5), (4, 5)), ((7, 3), (4, 9)), ((1, 1), (6, 5)), ((3, 4), (1, 1)), ((1, 6), (5, 1))]
ALIGN = pytest.mark.parametrize("align_corners", [True, False], ids=["centres", "edges"])


@ALIGN
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_grid_equals_the_reference(rng, run, sizes, align_corners):
    theta = rng.normal(size=[3, 2, 3])
    warp = run(lambda theta: affine_grid(theta, *sizes, align_corners=align_corners), theta)
    expected = reference.affine_grid(theta, *sizes, align_corners)
    assert warp.dtype == tf.float64
    np.testing.assert_allclose(warp, expected, rtol=0, atol=1e-13)


def test_theta_of_six_is_read_row_by_row(rng):
    theta = rng.normal(size=[3, 6])
    np.testing.assert_array_equal(
        affine_grid(theta, (4, 5), (6, 7)), affine_grid(theta.reshape(3, 2, 3), (4, 5), (6, 7))
    )


@ALIGN
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_identity_is_exact_at_every_size(dtype, align_corners):
    theta = tf.constant([IDENTITY], dtype)
    for side in [*range(1, 300), 511, 512, 1000, 1023, 4097, 65537]:
        warp = affine_grid(theta, (2, side), (2, side), align_corners=align_corners)
        np.testing.assert_array_equal(warp[0, 1, :, 0], np.arange(side))


@ALIGN
def test_identity_returns_the_image_bit_for_bit(rng, run, align_corners):
    data = tf.constant(rng.normal(size=[2, 37, 61, 3]), tf.float32)

    def transform(data, theta):
        size = tf.shape(data)[1:3]
        return resampler(data, affine_grid(theta, size, size, align_corners=align_corners))

    output = run(transform, data, tf.constant([IDENTITY, IDENTITY]))
    np.testing.assert_array_equal(output, data)


@pytest.mark.parametrize(
    "align_corners, corner", [(True, (5.0, 3.0)), (False, (5.5, 3.5))], ids=["centres", "edges"]
)
def test_one_is_the_centre_or_the_edge_of_the_last_pixel(align_corners, corner):
    theta = tf.constant([[0.0, 0.0, 1.0, 0.0, 0.0, 1.0]])
    warp = affine_grid(theta, (2, 2), (4, 6), align_corners=align_corners)
    np.testing.assert_array_equal(warp, np.broadcast_to(corner, [1, 2, 2, 2]))


def test_scale_below_one_zooms_into_the_middle():
    warp = affine_grid([[0.5, 0.0, 0.0, 0.0, 0.5, 0.0]], (3, 3), (5, 5))
    np.testing.assert_array_equal(warp[0, 0], [[1.0, 1.0], [2.0, 1.0], [3.0, 1.0]])


def test_rotation_by_a_quarter_turn_turns_the_image():
    image = tf.reshape(tf.range(9.0), [1, 3, 3, 1])
    quarter = [[0.0, -1.0, 0.0, 1.0, 0.0, 0.0]]
    output = resampler(image, affine_grid(quarter, (3, 3), (3, 3)))
    np.testing.assert_array_equal(output[0, ..., 0], np.rot90(image[0, ..., 0]))


@pytest.mark.parametrize(
    "dtype, computed",
    [("float16", "float32"), ("bfloat16", "float32"), ("int32", "float32"), ("float64", "float64")],
)
def test_coordinates_are_float32_or_float64(dtype, computed):
    warp = affine_grid(tf.cast([IDENTITY], dtype), (2, 3001), (2, 3001))
    assert warp.dtype == computed
    assert warp[0, 0, -1, 0] == 3000


@ALIGN
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_gradient_equals_central_differences(rng, sizes, align_corners):
    theta = tf.constant(rng.normal(size=[2, 6]))
    (analytic,), (numeric,) = tf.test.compute_gradient(
        lambda theta: affine_grid(theta, *sizes, align_corners=align_corners), [theta], delta=0.5
    )
    np.testing.assert_allclose(analytic, numeric, rtol=0, atol=1e-9)


def test_gradient_to_theta_is_the_formula(rng):
    """dL/dθ = sum over points of dL/d(x, y) d(x, y)/d(x_n, y_n) (x_t, y_t, 1)."""
    height, width, size = 4, 5, (6, 7)
    theta = tf.constant(rng.normal(size=[1, 2, 3]))
    grad_warp = rng.normal(size=[1, height, width, 2])
    with tf.GradientTape() as tape:
        tape.watch(theta)
        warp = affine_grid(theta, (height, width), size)
    gradient = tape.gradient(warp, theta, tf.constant(grad_warp))
    expected = np.zeros([2, 3])
    for i, j in np.ndindex(height, width):
        target = [2 * j / (width - 1) - 1, 2 * i / (height - 1) - 1, 1]
        pixels = grad_warp[0, i, j] * [(size[1] - 1) / 2, (size[0] - 1) / 2]
        expected += np.outer(pixels, target)
    np.testing.assert_allclose(gradient[0], expected, rtol=0, atol=1e-12)


def test_gradient_through_the_sampler_to_theta_equals_central_differences(rng):
    data = tf.constant(rng.normal(size=[2, 8, 9, 2]))
    theta = tf.constant(rng.normal([0.8, 0, 0, 0, 0.8, 0], 0.2, size=[2, 6]))
    warp = affine_grid(theta, (5, 4), (8, 9)).numpy()
    assert np.abs(warp - np.round(warp)).min() > 1e-3, "a point on a kink has no central difference"
    (analytic,), (numeric,) = tf.test.compute_gradient(
        lambda theta: resampler(data, affine_grid(theta, (5, 4), (8, 9))), [theta], delta=1e-5
    )
    np.testing.assert_allclose(analytic, numeric, rtol=0, atol=1e-8)


@ALIGN
def test_sizes_may_be_tensors_known_late(rng, align_corners):
    theta = tf.constant(rng.normal(size=[1, 6]))

    @tf.function(input_signature=[tf.TensorSpec([2], tf.int32), tf.TensorSpec([], tf.int64)])
    def late(output_size, input_height):
        return affine_grid(theta, output_size, (input_height, 7), align_corners=align_corners)

    warp = late([3, 1], tf.constant(1, tf.int64))
    expected = affine_grid(theta, (3, 1), (1, 7), align_corners=align_corners)
    np.testing.assert_allclose(warp, expected, rtol=0, atol=1e-13)
    np.testing.assert_allclose(
        affine_grid(theta, tf.constant([3, 1]), np.array([1, 7]), align_corners=align_corners),
        expected,
    )


@pytest.mark.parametrize("shape", [None, [None], [2]], ids=str)
@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64"])
def test_late_size_may_be_of_any_integer_type_and_unknown_shape(rng, shape, dtype):
    theta = tf.constant(rng.normal(size=[1, 6]))
    grid = tf.function(
        lambda size: affine_grid(theta, size, size), input_signature=[tf.TensorSpec(shape, dtype)]
    )
    expected = affine_grid(theta, (3, 4), (3, 4))
    np.testing.assert_allclose(grid([3, 4]), expected, rtol=0, atol=1e-13)


def test_sides_may_be_of_different_integer_types(rng):
    theta = tf.constant(rng.normal(size=[1, 6]))
    mixed = (tf.constant(3), tf.constant(4, tf.int64))
    np.testing.assert_array_equal(
        affine_grid(theta, mixed, (5, 5)), affine_grid(theta, (3, 4), (5, 5))
    )


def test_static_sizes_give_static_shapes():
    theta = tf.TensorSpec([None, 6])
    function = tf.function(lambda t: affine_grid(t, (4, 5), (6, 7)), input_signature=[theta])
    assert function.get_concrete_function().output_shapes.as_list() == [None, 4, 5, 2]


def test_second_derivative_of_the_grid_exists(rng):
    theta = tf.constant(rng.normal(size=[1, 6]))
    with tf.GradientTape() as outer:
        outer.watch(theta)
        with tf.GradientTape() as inner:
            inner.watch(theta)
            loss = tf.reduce_sum(affine_grid(theta, (3, 3), (5, 5)) ** 2)
        gradient = inner.gradient(loss, theta)
    assert np.all(np.isfinite(outer.jacobian(gradient, theta)))
