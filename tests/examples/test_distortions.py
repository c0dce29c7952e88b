"""What the example does to images before a transformer sees them, and where it has them from."""

import gzip

import numpy as np
import pytest
import scipy.ndimage
import tensorflow as tf
from digits import data, distortions
from idx_files import write_examples, write_idx

from tf_stn import transformations

COUNT, SEED = 2000, [1, 2]
HALF = distortions.SIDE / 2  # An image's normalised coordinates, in pixels.


@pytest.fixture(scope="module")
def digits():
    return data.load_digits()


def matrices(name):
    """Returns the affine maps from canvases to images, `[COUNT, 2, 3]`."""
    distortion = distortions.DISTORTIONS[name]
    parameters = distortion.parameters(COUNT, SEED)
    return distortion.transformation.matrix(parameters, (28, 28)).numpy()


def scales_and_centres(matrix, canvas):
    """Returns by how much images are scaled on their canvases, and where their centres are."""
    linear, shift = matrix[..., :2], matrix[..., 2:]
    scale = canvas / distortions.SIDE / np.sqrt(np.linalg.det(linear))
    return scale, -np.linalg.solve(linear, shift)[..., 0]


def angles(matrix):
    return np.degrees(np.arctan2(matrix[:, 0, 1], matrix[:, 0, 0]))


def test_r_turns_by_up_to_90_degrees_about_the_centre():
    matrix = matrices("R")
    assert -90 <= angles(matrix).min() < -89
    assert 89 < angles(matrix).max() <= 90
    assert abs(angles(matrix).mean()) < 5
    scale, centre = scales_and_centres(matrix, 28)
    np.testing.assert_allclose(scale, 1, rtol=1e-5)
    np.testing.assert_array_equal(centre, 0)


def test_rts_turns_and_scales_and_keeps_the_image_on_the_canvas():
    matrix = matrices("RTS")
    scale, centre = scales_and_centres(matrix, 42)
    assert 0.7 <= scale.min() < 0.71
    assert 1.19 < scale.max() <= 1.2 + 1e-6
    room = 1 - scale * 28 / 42
    assert (np.abs(centre) <= room[:, None] + 1e-6).all()
    assert (np.abs(centre) / room[:, None]).max() > 0.99
    assert -45 <= angles(matrix).min() < -44
    assert 44 < angles(matrix).max() <= 45


def test_tc_moves_the_image_within_the_canvas_as_it_is():
    matrix = matrices("TC")
    np.testing.assert_array_equal(angles(matrix), 0)
    scale, centre = scales_and_centres(matrix, 60)
    np.testing.assert_allclose(scale, 1, rtol=1e-5)
    room = 1 - 28 / 60
    assert 0.99 * room < np.abs(centre).max() <= room + 1e-6


def test_p_moves_each_corner_by_a_normal_distribution_of_5_pixels():
    projective = transformations.Projective()
    parameters = tf.cast(distortions.projections(COUNT, SEED), tf.float64)
    corners = projective.map_points(
        projective.inverse(parameters), tf.constant(distortions.CORNERS, tf.float64)
    )
    # From where a corner is without it, all coordinates are scaled alike.
    outward = HALF * corners.numpy().reshape(COUNT, 8) * distortions.CORNERS.ravel()
    assert abs(outward.mean() - 14 * 0.875) < 0.2
    difference = outward[:, ::2] - outward[:, 1::2]
    assert abs(difference.std() / np.sqrt(2) - 5) < 0.15
    assert abs(np.mean(difference**4) / difference.var() ** 2 - 3) < 0.3  # As a normal one has.


def test_e_moves_16_points_by_a_normal_distribution_of_1_5_pixels():
    grid = np.array(transformations.ThinPlateSpline((4, 4)).identity_parameters)
    places = distortions.elastic(COUNT, SEED).numpy()
    assert places.shape == (COUNT, 32)
    inverse_scale = places @ grid / (grid @ grid)
    assert abs(inverse_scale.mean() - np.log(1 / 0.75) / 0.25) < 0.01  # Of scales 0.75 to 1.
    rest = HALF * (places - inverse_scale[:, None] * grid) / inverse_scale[:, None]
    assert abs(rest.std() * np.sqrt(32 / 31) - 1.5) < 0.03


@pytest.mark.parametrize("name", distortions.DISTORTIONS)
def test_canvas_has_its_size_and_the_seed_decides_what_is_on_it(digits, name):
    distortion = distortions.DISTORTIONS[name]
    images = digits[1].images[:100]
    canvases = distortion(images, SEED).numpy()
    assert canvases.shape == (100, distortion.canvas, distortion.canvas, 1)
    assert canvases.min() >= 0
    assert 0.9 < canvases.max() <= 1
    np.testing.assert_array_equal(distortion(images, SEED), canvases)
    assert not np.array_equal(distortion(images, [1, 3]), canvases)


def test_scaled_digits_keep_their_ink(digits):
    images = digits[1].images[:200]
    canvases = distortions.DISTORTIONS["RTS"](images, SEED)
    parameters = distortions.placements(200, SEED)
    theta = distortions.DISTORTIONS["RTS"].transformation.matrix(parameters, (28, 28))
    area = (42 / 28) ** 2 / np.linalg.det(theta[..., :2])
    ink = images.sum(axis=(1, 2, 3)) * area
    np.testing.assert_allclose(tf.reduce_sum(canvases, [1, 2, 3]), ink, rtol=0.06)


def test_clutter_is_16_squares_of_6_pixels_of_other_images():
    values = np.arange(1, 201, dtype=np.float32)
    images = np.broadcast_to(values[:, None, None, None], [200, 28, 28, 1])
    canvases = distortions.clutter(images, SEED, 60).numpy()[..., 0]
    counts = [len(np.unique(canvas[canvas > 0])) for canvas in canvases]
    assert max(counts) == 16
    assert np.mean(counts) > 14  # Some are hidden, or two of one image.
    assert not any(value in canvas for value, canvas in zip(values, canvases))
    for canvas in canvases > 0:
        opened = scipy.ndimage.binary_opening(canvas, np.ones([6, 6]))
        np.testing.assert_array_equal(opened, canvas)
    for axes in ((0, 1), (0, 2)):
        assert (canvases > 0).any(axis=axes).all()  # From edge to edge.


def test_a_piece_of_clutter_is_a_crop():
    code = np.arange(1, 28 * 28 + 1, dtype=np.float32).reshape(28, 28)
    images = np.broadcast_to(code[None, ..., None], [50, 28, 28, 1])
    for canvas in distortions.clutter(images, SEED, 60).numpy()[..., 0]:
        # No piece hides what the one with the highest number shows in its last row.
        row, column = np.unravel_index(canvas.argmax(), canvas.shape)
        last = canvas[row, column - 5 : column + 1]
        np.testing.assert_allclose(last, canvas.max() - np.arange(5, -1, -1), rtol=1e-5)


def test_digits_are_complete_and_shuffled(digits):
    training, test = digits
    assert training.images.shape == (4000, 28, 28, 1)
    assert test.images.shape == (1000, 28, 28, 1)
    assert training.images.min() == 0
    assert training.images.max() == 1
    assert np.bincount(training.labels, minlength=10).min() > 300


def test_images_are_distorted_anew_in_every_epoch_and_as_the_seed_says(digits):
    examples = data.Examples(*(values[:64] for values in digits[0]))
    rotate = distortions.DISTORTIONS["R"]

    def epochs(seed):
        batches = data.training_data(examples, rotate, seed)
        return [next(iter(batches))[0].numpy() for _ in range(2)]

    first, second = epochs(3)
    assert not np.isclose(
        np.sort(first.sum(axis=(1, 2, 3))), np.sort(second.sum(axis=(1, 2, 3)))
    ).all()
    np.testing.assert_array_equal(epochs(3)[0], first)
    assert not np.array_equal(epochs(4)[0], first)


@pytest.fixture
def folder(tmp_path):
    write_examples(tmp_path, training=30, test=20)
    return tmp_path


def test_fashion_is_read_from_its_files(folder):
    training, test = data.load("fashion-mnist", folder)
    assert training.images.shape == (30, 28, 28, 1)
    first = np.random.default_rng(0).integers(0, 256, size=[30, 28, 28])
    np.testing.assert_array_equal(np.rint(training.images[..., 0] * 255), first)
    np.testing.assert_array_equal(test.labels, np.arange(20) % 10)


def test_a_file_of_another_type_is_refused(folder):
    write_idx(folder / "t10k-labels-idx1-ubyte.gz", np.zeros([20]), kind=13)
    with pytest.raises(ValueError) as caught:
        data.load("fashion-mnist", folder)
    assert "t10k-labels-idx1-ubyte.gz must be an idx file of bytes, received" in str(caught.value)


def test_another_number_of_labels_is_refused(folder):
    write_idx(folder / "t10k-labels-idx1-ubyte.gz", np.zeros([19]))
    with pytest.raises(ValueError, match=r"received images of shape \[20, 28, 28\] and labels of"):
        data.load("fashion-mnist", folder)


def test_a_file_that_ends_early_is_refused(folder):
    path = folder / "train-labels-idx1-ubyte.gz"
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:-1]))
    with pytest.raises(ValueError, match=r"must hold \[30\] bytes, received 29"):
        data.load("fashion-mnist", folder)


def test_missing_files_are_named_with_the_package_that_has_them(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        data.load("fashion-mnist", tmp_path)
    assert str(tmp_path / "train-images-idx3-ubyte.gz") in str(caught.value)
    assert "apt-get install dataset-fashion-mnist" in str(caught.value)
