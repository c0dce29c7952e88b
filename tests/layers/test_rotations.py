"""Rotations turn pixels: held against SciPy, OpenCV and Keras on sizes that are not square."""

import keras
import numpy as np
import pytest
import scipy.ndimage
import tensorflow as tf

from tf_stn import affine_resampler, fields, identity_grid
from tf_stn.transformations import Inverse, Rigid, Similarity

ALIGN = pytest.mark.parametrize("align_corners", [True, False], ids=["centres", "edges"])
CASES = {
    "image": ((50, 150), None),
    "image of spacing": ((50, 150), (2.0, 0.7)),
    "volume": ((12, 24, 32), None),
    "volume of spacing": ((12, 24, 32), (5.0, 1.0, 1.5)),
}
CASE = pytest.mark.parametrize("case", CASES)
ANGLES = {2: [0.5], 3: [0.3, -0.4, 0.5]}
SHIFT = [3.25, -1.5, 0.75]
SCALE = 1.2


def turn_in_numpy(angles):
    """About x, then y, then z; in the plane from x to y."""
    if len(angles) == 1:
        cosine, sine = np.cos(angles[0]), np.sin(angles[0])
        return np.array([[cosine, -sine], [sine, cosine]])
    turn = np.eye(3)
    for axis, angle in enumerate(angles):
        i, j = ((1, 2), (2, 0), (0, 1))[axis]
        step = np.eye(3)
        step[i, i] = step[j, j] = np.cos(angle)
        step[i, j], step[j, i] = -np.sin(angle), np.sin(angle)
        turn = step @ turn
    return turn


def meant(size, spacing):
    """The map in pixels, written down on its own: about the middle, in lengths, then the shift."""
    rank = len(size)
    distances = np.diag((spacing or (1.0,) * rank)[::-1])
    turn = SCALE * turn_in_numpy(ANGLES[rank])
    linear = np.linalg.inv(distances) @ turn @ distances
    middle = (np.array(size[::-1]) - 1) / 2
    shift = middle - linear @ middle + np.array(SHIFT[:rank])
    return np.concatenate([linear, shift[:, None]], axis=1)


def parameters_of(rank):
    return np.array([[SCALE, *ANGLES[rank], *SHIFT[:rank]]])


@ALIGN
@CASE
def test_matrix_is_a_rotation_of_lengths(case, align_corners):
    size, spacing = CASES[case]
    family = Similarity(len(size), spacing=spacing, shift_units="pixels")
    matrix = family.matrix(
        parameters_of(len(size)), size, units="pixels", align_corners=align_corners
    )
    np.testing.assert_allclose(matrix[0], meant(size, spacing), rtol=0, atol=1e-11)
    distances = np.diag((spacing or (1.0,) * len(size))[::-1])
    lengths = distances @ matrix[0, :, :-1].numpy() @ np.linalg.inv(distances)
    np.testing.assert_allclose(np.linalg.svd(lengths, compute_uv=False), SCALE, atol=1e-12)


@CASE
def test_images_are_those_of_scipy(rng, case):
    size, spacing = CASES[case]
    data = rng.random(size)
    family = Similarity(len(size), spacing=spacing, shift_units="pixels")
    theta = family.matrix(parameters_of(len(size)), size)
    ours = affine_resampler(data[None, ..., None], theta)[0, ..., 0]
    matrix = meant(size, spacing)
    linear, shift = matrix[::-1, -2::-1], matrix[::-1, -1]
    expected = scipy.ndimage.affine_transform(data, linear, shift, order=1, mode="grid-constant")
    assert np.abs(expected).max() > 0.5
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-10)


@ALIGN
@CASE
@pytest.mark.parametrize("scale", [0.5, 2], ids=["smaller", "larger"])
def test_window_of_another_output_size_keeps_its_right_angles(case, scale, align_corners):
    size, spacing = CASES[case]
    rank = len(size)
    output_size = (int(size[0] * scale), *size[1:-1], int(size[-1] * scale * 1.5))
    matrix = Similarity(rank, spacing=spacing, shift_units="pixels").matrix(
        parameters_of(rank),
        size,
        output_size=output_size,
        units="pixels",
        align_corners=align_corners,
    )
    sides = np.diag((spacing or (1.0,) * rank)[::-1]) @ matrix[0, :, :-1].numpy()
    sides /= np.linalg.norm(sides, axis=0)
    np.testing.assert_allclose(sides.T @ sides, np.eye(rank), rtol=0, atol=1e-12)


@CASE
@pytest.mark.parametrize("shift_units", ["normalised", "pixels"])
def test_identity_is_exact(case, shift_units):
    size, spacing = CASES[case]
    for family in (Similarity, Rigid):
        transformation = family(len(size), spacing=spacing, shift_units=shift_units)
        identity = np.array([transformation.identity_parameters], np.float32)
        warp = transformation.warp(identity, size, size)
        np.testing.assert_array_equal(warp, identity_grid(size))


@CASE
@pytest.mark.parametrize("shift_units", ["normalised", "pixels"])
@pytest.mark.parametrize("family", [Similarity, Rigid])
def test_inverse_and_composition_are_of_the_same_family(rng, case, family, shift_units):
    size, spacing = CASES[case]
    rank = len(size)
    transformation = family(rank, spacing=spacing, shift_units=shift_units)
    start = np.array([transformation.identity_parameters] * 3)
    first, second = (start + rng.uniform(-0.6, 0.6, start.shape) for _ in range(2))
    points = rng.uniform(-1, 1, [3, 5, rank])
    inner = transformation.map_points(second, points, size)
    outer = transformation.map_points(first, inner, size)
    composed = transformation.compose(first, second, size)
    mapped = transformation.map_points(composed, points, size)
    np.testing.assert_allclose(mapped, outer, rtol=0, atol=1e-12)
    back = transformation.inverse(second, size)
    mapped = transformation.map_points(back, inner, size)
    np.testing.assert_allclose(mapped, points, rtol=0, atol=1e-12)
    mapped = Inverse(transformation).map_points(second, inner, size)
    np.testing.assert_allclose(mapped, points, rtol=0, atol=1e-12)


def test_shifts_in_pixels_are_composed_without_a_size(rng):
    transformation = Rigid(3, shift_units="pixels")
    a, b = (rng.uniform(-1, 1, [2, 6]) for _ in range(2))
    np.testing.assert_allclose(
        transformation.compose(a, b), transformation.compose(a, b, (4, 5, 6)), rtol=0, atol=1e-14
    )
    with pytest.raises(ValueError, match="`input_size` must be given: the map of Rigid"):
        Rigid(3).compose(a, b)


def test_angles_of_a_quarter_turn_about_y_stay_finite():
    a = np.array([[0.3, np.pi / 2, 0.1, 0.0, 0.0, 0.0]])
    composed = Rigid(3).compose(a, 0 * a, (5, 6, 7))
    assert np.isfinite(composed).all()
    matrices = [Rigid(3).matrix(each, (5, 6, 7)) for each in (a, composed)]
    np.testing.assert_allclose(*matrices, rtol=0, atol=1e-7)


def test_spacing_may_differ_by_image(rng):
    size, parameters = (12, 30), rng.normal(size=[2, 3, 3])
    spacings = np.array([[1.0, 2.0], [3.0, 0.5]])
    matrix = Rigid(spacing=(9.0, 9.0)).matrix(parameters, size, spacing=spacings)
    for image in range(2):
        expected = Rigid(spacing=spacings[image]).matrix(parameters[image], size)
        np.testing.assert_allclose(matrix[image], expected, rtol=0, atol=1e-14)
    of_all = Rigid().matrix(parameters, size, spacing=[3.0, 0.5])
    np.testing.assert_allclose(of_all[1], matrix[1], rtol=0, atol=1e-14)


def test_gradient_of_angles_and_size_known_late(rng):
    images = rng.random([2, 10, 24, 1], np.float32)

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 1]), tf.TensorSpec([None, 3])])
    def turned(images, parameters):
        return affine_resampler(images, Rigid().matrix(parameters, images))

    parameters = tf.constant([[0.2, 0.1, 0.0], [-0.4, 0.0, 0.3]])
    with tf.GradientTape() as tape:
        tape.watch(parameters)
        output = turned(images, parameters)
    expected = affine_resampler(images, Rigid().matrix(parameters, (10, 24)))
    np.testing.assert_allclose(output, expected, rtol=0, atol=1e-5)
    assert (tape.gradient(output, parameters).numpy() != 0).all()


@ALIGN
def test_an_axis_of_one_pixel_is_finite(align_corners):
    warp = Rigid().warp([[0.5, 0.0, 0.0]], (1, 9), (1, 9), align_corners=align_corners)
    assert np.isfinite(warp).all()


def test_rotation_keeps_areas(rng):
    """No folding, no shear: the determinant in pixels is 1 everywhere."""
    field = fields.from_warp(Rigid().warp(np.array([[0.7, 0.1, 0.2]]), (20, 60), (20, 60)))
    np.testing.assert_allclose(fields.jacobian_determinant(field), 1, atol=1e-12)


def test_positive_angles_are_those_of_keras(rng):
    image = scipy.ndimage.gaussian_filter(rng.random([60, 150]), 3).astype("float32")
    image = image[None, ..., None]
    layer = keras.layers.RandomRotation((1 / 12, 1 / 12), fill_mode="constant")
    theta = Similarity().matrix([[1.0, np.pi / 6, 0.0, 0.0]], image)
    ours = affine_resampler(image, theta)
    np.testing.assert_allclose(ours, layer(image, training=True), rtol=0, atol=1e-4)


def test_scales_and_angles_are_those_of_opencv():
    cv2 = pytest.importorskip("cv2")
    matrix = cv2.getRotationMatrix2D((74.5, 29.5), 30, 1.2)
    back = cv2.invertAffineTransform(matrix)
    parameters = np.array([[1 / 1.2, np.radians(30), 0.0, 0.0]])
    ours = Similarity().matrix(parameters, (60, 150), units="pixels")
    np.testing.assert_allclose(ours[0], back, rtol=0, atol=1e-9)
