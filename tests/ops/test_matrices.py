"""Matrices in pixels and in normalised coordinates, held against OpenCV and SciPy."""

import numpy as np
import pytest
import scipy.ndimage
import tensorflow as tf

from tf_stn import affine_resampler, matrices, projective_resampler

ALIGN = pytest.mark.parametrize("align_corners", [True, False], ids=["centres", "edges"])
SHAPES = pytest.mark.parametrize("shape", [(2, 3), (3, 3), (3, 4), (4, 4)], ids=str)


def some(rng, shape, count=3):
    return np.eye(*shape) + 0.2 * rng.normal(size=[count, *shape])


def square(matrix):
    rows = np.zeros([len(matrix), matrix.shape[-1], matrix.shape[-1]])
    rows[:, : matrix.shape[-2]] = matrix
    if matrix.shape[-2] < matrix.shape[-1]:
        rows[:, -1, -1] = 1
    return rows


def pixels_of(size, align_corners):
    """S of the definition: normalised coordinates to pixels."""
    sides = np.array(size[::-1], np.float64)
    span = sides - 1 if align_corners else sides
    result = np.diag([*span / 2, 1.0])
    result[:-1, -1] = (sides - 1) / 2
    return result


@ALIGN
@SHAPES
def test_to_pixels_is_the_product_of_the_definition(rng, shape, align_corners):
    sizes = [(5, 9), (11, 6)] if shape[-1] == 3 else [(5, 9, 4), (11, 6, 7)]
    theta = some(rng, shape)
    s_out, s_in = (pixels_of(size, align_corners) for size in sizes)
    expected = (s_in @ square(theta) @ np.linalg.inv(s_out))[:, : shape[0]]
    pixels = matrices.to_pixels(theta, *sizes, align_corners=align_corners)
    np.testing.assert_allclose(pixels, expected, rtol=0, atol=1e-12)
    back = matrices.to_normalised(pixels, *sizes, align_corners=align_corners)
    np.testing.assert_allclose(back, theta, rtol=0, atol=1e-13)


@ALIGN
@SHAPES
@pytest.mark.parametrize("function", [matrices.to_pixels, matrices.to_normalised])
def test_identity_of_equal_sizes_is_exact(function, shape, align_corners):
    identity = np.eye(*shape, dtype=np.float32)[None]
    for side in [*range(2, 200), 511, 1023, 4097]:
        size = (side, 3, 49)[: shape[-1] - 1]
        np.testing.assert_array_equal(
            function(identity, size, size, align_corners=align_corners), identity
        )


@SHAPES
def test_inverse_is_the_inverse_and_exact_for_the_identity(rng, shape):
    matrix = some(rng, shape)
    expected = np.linalg.inv(square(matrix))[:, : shape[0]]
    np.testing.assert_allclose(matrices.inverse(matrix), expected, rtol=1e-12, atol=1e-12)
    identity = np.eye(*shape, dtype=np.float32)[None]
    np.testing.assert_array_equal(matrices.inverse(identity), identity)


def test_inverse_of_a_singular_matrix_is_not_finite():
    assert not np.isfinite(matrices.inverse(np.zeros([1, 2, 3]))).any()


@pytest.mark.parametrize(
    "first, second", [((2, 3), (2, 3)), ((3, 3), (2, 3)), ((2, 3), (3, 3)), ((3, 4), (4, 4))]
)
def test_compose_applies_second_to_the_point_and_then_first(rng, first, second):
    a, b = some(rng, first), some(rng, second)
    expected = square(a) @ square(b)
    rows = first[1] - (first == second and first[0] < first[1])
    np.testing.assert_allclose(matrices.compose(a, b), expected[:, :rows], rtol=0, atol=1e-13)


@SHAPES
def test_gradients_equal_differences(rng, shape):
    size = (5, 9, 4)[: shape[-1] - 1]
    a = tf.constant(some(rng, shape, 1))
    for function in (
        lambda a: matrices.to_pixels(a, size, size),
        lambda a: matrices.to_normalised(a, size, size),
        matrices.inverse,
        lambda a: matrices.compose(a, a),
    ):
        analytic, numeric = tf.test.compute_gradient(function, [a], delta=1e-6)
        np.testing.assert_allclose(analytic[0], numeric[0], rtol=0, atol=1e-7)


def by_scipy(data, matrix, output_size):
    """SciPy's matrix is ours with rows and columns in reverse order, and the shift apart."""
    linear, shift = matrix[::-1, -2::-1], matrix[::-1, -1]
    return scipy.ndimage.affine_transform(
        data, linear, shift, output_shape=output_size, order=1, mode="grid-constant"
    )


@pytest.mark.parametrize(
    "input_size, output_size",
    [((20, 50), (30, 25)), ((9, 14, 12), (8, 10, 13))],
    ids=["image", "volume"],
)
def test_units_of_pixels_are_those_of_scipy(rng, input_size, output_size):
    rank = len(input_size)
    data = rng.random(input_size)
    matrix = some(rng, (rank, rank + 1), 1)[0] + np.eye(rank, rank + 1, rank) * 2
    ours = affine_resampler(data[None, ..., None], matrix[None], output_size, units="pixels")
    expected = by_scipy(data, matrix, output_size)
    assert np.abs(expected).max() > 0.5
    np.testing.assert_allclose(ours[0, ..., 0], expected, rtol=0, atol=1e-12)


@ALIGN
def test_units_are_converted_by_the_functions(rng, align_corners):
    data, theta, homography = rng.random([1, 20, 50, 2]), some(rng, (2, 3), 1), some(rng, (3, 3), 1)
    for function, matrix in ((affine_resampler, theta), (projective_resampler, homography)):
        pixels = matrices.to_pixels(matrix, (30, 25), data, align_corners=align_corners)
        np.testing.assert_allclose(
            function(data, pixels, (30, 25), units="pixels"),
            function(data, matrix, (30, 25), align_corners=align_corners),
            rtol=0,
            atol=1e-12,
        )


def test_world_of_two_volumes_is_that_of_scipy(rng):
    """Volumes as nibabel has them: voxel (i, j, k) lies at affine (i, j, k, 1)."""
    fixed, moving = np.diag([3.0, 1.0, 1.0, 1.0]), np.diag([-1.5, 1.2, 1.0, 1.0])
    fixed[:3, 3], moving[:3, 3] = (-30, -20, -25), (20, -18, -22)
    world = np.eye(4)
    world[:3] = some(rng, (3, 4), 1)[0]
    data, output_size = rng.random([28, 30, 44]), (20, 40, 50)
    voxels = np.linalg.inv(moving) @ world @ fixed
    expected = scipy.ndimage.affine_transform(
        data, voxels[:3, :3], voxels[:3, 3], output_shape=output_size, order=1, mode="grid-constant"
    )
    matrix = matrices.from_world(fixed, moving, world)[None]
    ours = affine_resampler(data[None, ..., None], matrix, output_size, units="pixels")
    assert np.abs(expected).max() > 0.5
    np.testing.assert_allclose(ours[0, ..., 0], expected, rtol=0, atol=1e-11)


def test_matrices_are_those_of_opencv(rng):
    cv2 = pytest.importorskip("cv2")
    image = scipy.ndimage.gaussian_filter(rng.random([60, 150]), 2).astype(np.float32)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    affine = np.array([[0.9, 0.2, 3.0], [-0.1, 1.1, 5.0]])
    homography = np.array([[0.9, 0.2, 3.0], [-0.1, 1.1, 5.0], [1e-3, -2e-3, 1.0]])
    for ours, theirs, matrix in (
        (affine_resampler, cv2.warpAffine, affine),
        (projective_resampler, cv2.warpPerspective, homography),
    ):
        output = ours(image[None, ..., None], matrix[None], (70, 90), units="pixels")
        expected = theirs(image, matrix, (90, 70), flags=flags)
        np.testing.assert_allclose(output[0, ..., 0], expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize(
    "call, message",
    [
        (
            lambda: matrices.to_pixels(np.eye(2)[None], (2, 2), (2, 2)),
            r"`theta` must have shape \[..., 2, 3\].* received \[1, 2, 2\]",
        ),
        (
            lambda: matrices.to_normalised(np.eye(2, 3)[None], (2, 2, 2), (2, 2)),
            r"`output_size` must be two positive integers .* received \(2, 2, 2\)",
        ),
        (
            lambda: matrices.compose(np.eye(2, 3), np.eye(3, 4)),
            r"`second` must have as many columns as `first`, 3, received shape \[3, 4\]",
        ),
        (
            lambda: matrices.from_world(np.eye(4), np.eye(3)),
            r"`input_affine` must have as many rows as `output_affine`, 4, .*\[3, 3\]",
        ),
        (
            lambda: matrices.from_world(np.eye(3, 4), np.eye(4)),
            r"`output_affine` must have shape \[..., 4, 4\].* received \[3, 4\]",
        ),
        (
            lambda: affine_resampler(np.ones([1, 2, 2, 1]), np.eye(2, 3)[None], units="pixel"),
            "`units` must be one of 'normalised', 'pixels', .* 'pixel'; did you mean 'pixels'",
        ),
        (
            lambda: projective_resampler(np.ones([1, 2, 2, 1]), np.eye(2, 3)[None]),
            r"`matrix` must have shape \[batch, ..., 3, 3\].* received \[1, 2, 3\]",
        ),
        (
            lambda: projective_resampler(np.ones([1, 2, 2, 1]), np.eye(4)[None]),
            r"`matrix` must have shape \[batch, ..., 3, 3\] for `data` .* received \[1, 4, 4\]",
        ),
    ],
)
def test_mistakes_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("function", [matrices.inverse, matrices.to_pixels])
def test_text_is_no_matrix(function):
    with pytest.raises(TypeError, match="must hold real numbers, received string"):
        function(np.full([2, 3], "a"), *[(2, 2)] * (2 * (function is matrices.to_pixels)))
