"""The samplers whose maps are projective, or displacements of pixels."""

import numpy as np
import pytest
import reference
import tensorflow as tf
from implementations import BOTH, COMPILED, SLOW_IF_PORTABLE

from tf_stn import (
    affine_resampler,
    displacement_resampler,
    identity_grid,
    projective_resampler,
    resampler,
)

pytestmark = BOTH

SIZES = pytest.mark.parametrize("size", [(6, 9), (4, 5, 6)], ids=["image", "volume"])


def centres(size):
    """Pixel centres as (x, y[, z])."""
    return np.stack(np.meshgrid(*map(np.arange, size), indexing="ij")[::-1], axis=-1)


@COMPILED
@SIZES
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_identity_grid_is_the_centres_of_pixels(size, dtype):
    for given in (size, tf.constant(size), tf.zeros([2, *size, 1])):
        grid = identity_grid(given, dtype=dtype)
        assert grid.dtype == dtype
        np.testing.assert_array_equal(grid, centres(size)[None])


@SIZES
def test_displacement_is_added_to_the_pixel(rng, run, size):
    data, displacement = rng.normal(size=[2, *size, 3]), rng.normal(size=[2, *size, len(size)])

    def function(data, displacement):
        return displacement_resampler(data, tf.ensure_shape(displacement, [None] * data_rank))

    data_rank = data.ndim
    output = run(function, data, displacement)
    expected = reference.resample(data, centres(size) + displacement)
    np.testing.assert_allclose(output, expected, rtol=0, atol=1e-12)


@SIZES
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_identities_return_the_image_bit_for_bit(rng, size, dtype):
    data = tf.cast(rng.normal(size=[2, *size, 3]), dtype)
    nothing = np.zeros([1, *size, len(size)], np.float32)
    np.testing.assert_array_equal(displacement_resampler(data, nothing), data)
    identity = np.eye(len(size) + 1, dtype=np.float32)[None]
    for units in ("normalised", "pixels"):
        np.testing.assert_array_equal(projective_resampler(data, identity, units=units), data)


@SIZES
def test_projective_map_is_divided_by_its_last_coordinate(rng, size):
    data = rng.normal(size=[2, *size, 3])
    matrix = np.eye(len(size) + 1) + 0.02 * rng.normal(size=[2, len(size) + 1, len(size) + 1])
    homogeneous = np.concatenate([centres(size), np.ones([*size, 1])], axis=-1)
    mapped = np.einsum("bij,...j->b...i", matrix, homogeneous)
    expected = reference.resample(data, mapped[..., :-1] / mapped[..., -1:])
    output = projective_resampler(data, matrix, units="pixels")
    np.testing.assert_allclose(output, expected, rtol=0, atol=1e-12)


@SIZES
def test_projective_matrices_that_are_affine_give_the_same_as_affine_ones(rng, size):
    data = rng.normal(size=[1, *size, 3])
    theta = np.eye(len(size), len(size) + 1) + 0.2 * rng.normal(
        size=[1, 2, len(size), len(size) + 1]
    )
    row = np.broadcast_to(np.eye(len(size) + 1)[-1:], [1, 2, 1, len(size) + 1])
    output_size = size[::-1]
    np.testing.assert_allclose(
        projective_resampler(data, np.concatenate([theta, row], axis=-2), output_size),
        affine_resampler(data, theta, output_size),
        rtol=0,
        atol=1e-12,
    )


def test_points_at_infinity_are_outside_with_finite_gradients():
    matrix = tf.constant([[[1.0, 0.0, 0.5], [0.0, 1.0, 0.5], [-1.0, 0.0, 1.0]]])
    data = tf.ones([1, 3, 3, 1])
    with tf.GradientTape() as tape:
        tape.watch([data, matrix])
        output = projective_resampler(data, matrix)
    assert (output[0, :, 2].numpy() == 0).all()
    assert all(np.isfinite(g).all() for g in tape.gradient(output, [data, matrix]))


@SLOW_IF_PORTABLE
@SIZES
def test_gradients_equal_differences(rng, size):
    rank = len(size)
    data = tf.constant(rng.normal(size=[1, *size, 1]))
    displacement = tf.constant(rng.uniform(0.2, 0.8, [1, *size, rank]))
    matrix = tf.constant(np.eye(rank + 1) + 0.05 * rng.normal(size=[1, rank + 1, rank + 1]))
    for function, value in (
        (displacement_resampler, displacement),
        (projective_resampler, matrix),
    ):
        analytic, numeric = tf.test.compute_gradient(
            lambda d, v, function=function: function(d, v), [data, value], delta=1e-6
        )
        for ours, expected in zip(analytic, numeric, strict=True):
            np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-6)


def test_fill_and_modes_reach_the_sampler(rng):
    data, displacement = rng.normal(size=[1, 4, 5, 2]), rng.normal(size=[1, 4, 5, 2]) * 3
    warp = identity_grid((4, 5), dtype="float64") + displacement
    for modes in ({"fill_value": [1.0, 2.0]}, {"interpolation": "nearest", "padding": "wrap"}):
        np.testing.assert_array_equal(
            displacement_resampler(data, displacement, **modes), resampler(data, warp, **modes)
        )
        homography = np.array([[[2.0, 0.0, 0.3], [0.1, 2.0, 0.0], [0.0, 0.0, 1.0]]])
        np.testing.assert_allclose(
            projective_resampler(data, homography, **modes),
            affine_resampler(data, homography[:, :2], **modes),
            rtol=0,
            atol=1e-12,
        )


@pytest.mark.parametrize("shape", [(2,), (1, 4, 2), (1, 4, 5, 3), (1, 3, 4, 5, 2)], ids=str)
def test_wrong_displacement_is_refused_by_name(shape):
    with pytest.raises(ValueError, match=r"`displacement` must have shape .* received \["):
        displacement_resampler(tf.zeros([1, 4, 5, 1]), tf.zeros(shape))


@COMPILED
@pytest.mark.parametrize("size", [4, (4,), (4, 5, 6, 7), None, "ab", (4, 0)], ids=str)
def test_wrong_size_of_the_identity_grid_is_refused_by_name(size):
    with pytest.raises(ValueError, match=r"`size` must be .* received"):
        identity_grid(size)


@COMPILED
@pytest.mark.parametrize("dtype", ["float16", "int32", None])
def test_wrong_type_of_the_identity_grid_is_refused_by_name(dtype):
    with pytest.raises(ValueError, match="`dtype` must be 'float32' or 'float64', received"):
        identity_grid((2, 2), dtype=dtype)
