"""The examples beside the demo, on a budget of seconds: their figures and their pictures."""

import align_photo
import matplotlib.colors
import matplotlib.image
import mri_registration
import numpy as np
import pytest
import stereo
import tensorflow as tf
from repository import ROOT

import tf_stn

PICTURES = ROOT / "docs/pictures"


@pytest.fixture(autouse=True)
def _always_on_cpu(on_cpu):
    """The budgets are those of the CPU."""


def pixels_of(picture, colour):
    """Returns how many pixels of a picture have a colour, given by name."""
    image = matplotlib.image.imread(picture)[..., :3]
    return (np.abs(image - matplotlib.colors.to_rgb(colour)) < 0.05).all(axis=-1).sum()


def check_picture(written, name):
    """The picture in docs is of the same size, and neither is too large for a README."""
    in_docs = PICTURES / name
    assert matplotlib.image.imread(written).shape == matplotlib.image.imread(in_docs).shape
    assert max(written.stat().st_size, in_docs.stat().st_size) < 250_000


def test_right_view_sampled_by_disparity_is_the_left_one(tmp_path):
    path = tmp_path / "stereo.png"
    figures = stereo.main(["--output", str(path)])
    assert figures["difference before"] > 38
    assert figures["difference after"] < 5
    assert 0.15 < figures["lost"] < 0.17
    check_picture(path, "stereo.png")
    lost_pixels_drawn = pixels_of(path, stereo.LOST)
    assert lost_pixels_drawn > 0.03 * np.prod(matplotlib.image.imread(path).shape[:2])


def test_what_the_right_view_does_not_have_is_nan():
    right = np.arange(5.0, dtype=np.float32).reshape(1, 5, 1)
    disparity = np.array([[1.0, np.nan, 0.5, 3.0, 5.0]], np.float32)
    sampled = stereo.sample_right(right, disparity)
    np.testing.assert_array_equal(sampled[0, :, 0], [np.nan, np.nan, 1.5, 0.0, np.nan])


def test_what_lies_behind_something_nearer_is_hidden():
    disparity = np.array([[0.0, 0.0, 0.0, 0.0, 2.0, 2.0, np.nan]], np.float32)
    hidden = stereo.is_hidden(disparity, np.isfinite(disparity))
    np.testing.assert_array_equal(hidden, [[False, False, True, True, False, False, False]])


@pytest.fixture(scope="module")
def registration(tmp_path_factory):
    """The figures and the picture of a registration of few voxels in few steps."""
    path = tmp_path_factory.mktemp("registration") / "mri_registration.png"
    with tf.device("/CPU:0"):
        options = ["--resolution", "4", "--steps", "20", "--output", str(path)]
        return mri_registration.main(options), path


def test_registration_gets_below_the_figures_it_states(registration):
    figures, _ = registration
    difference, distance = np.divide(figures["after dense"], figures["moving"])
    assert difference < 0.3
    assert distance < 0.15
    for stated in ("0.3", "0.15"):
        assert f"below {stated} of what it was" in mri_registration.__doc__.replace("\n", " ")


def test_each_stage_of_registration_is_better_than_the_last(registration):
    figures, _ = registration
    moving, affine, dense = (np.array(pair) for pair in figures.values())
    assert (affine < 0.5 * moving).all()
    assert (dense < 0.7 * affine).all()


def test_registration_draws_meshes(registration):
    _, path = registration
    check_picture(path, "mri_registration.png")
    image = matplotlib.image.imread(path)[..., :3]
    volumes = image[: len(image) * 2 // 5]  # Further down, differences are in colours too.
    assert (np.ptp(volumes, axis=-1) > 0.4).sum() > 1000


def test_distances_of_registration_are_zero_where_one_warp_undoes_the_other():
    size = (4, 5, 6)
    identity = tf_stn.affine_grid(tf.eye(3, 4)[None], size, size)
    shift = tf.constant([0.0, 1.0, 0.0])
    forth, back = identity + shift, identity - shift
    distances = mri_registration.distances(forth, back)
    np.testing.assert_allclose(distances[:, 1:], 0, atol=1e-6)
    distances = mri_registration.distances(forth, forth)
    np.testing.assert_allclose(distances[:, :-1], 2, atol=1e-6)


def test_corners_of_a_photo_are_found(tmp_path):
    path = tmp_path / "align_photo.png"
    figures = align_photo.main(["--steps", "40", "--output", str(path)])
    (_, known), (clicked_off, clicked), (found_off, found) = figures.values()
    assert known < 3
    assert clicked_off > 18
    assert clicked > 10 * known
    assert found_off < 0.2
    assert "less than 0.2 pixels off" in align_photo.__doc__
    assert found < known + 0.2
    check_picture(path, "align_photo.png")
    assert pixels_of(path, "orange") > 1000
    assert pixels_of(path, "red") > 500


def test_scene_is_the_table_but_where_the_photo_lies():
    table = tf.ones([1, 40, 60, 3])
    corners = np.array([[[10.5, 10.5], [29.5, 10.5], [29.5, 29.5], [10.5, 29.5]]], np.float32)
    scene = align_photo.make_scene(tf.zeros([1, 8, 8, 3]), table, corners)[0, ..., 0].numpy()
    expected = np.ones([40, 60])
    expected[11:30, 11:30] = 0
    is_edge = np.zeros([40, 60], bool)
    is_edge[9:32, 9:32] = True
    is_edge[13:28, 13:28] = False
    np.testing.assert_allclose(scene[~is_edge], expected[~is_edge], atol=1e-6)


@pytest.mark.parametrize(
    ("example", "option"),
    [
        (align_photo, "--steps"),
        (mri_registration, "--steps"),
        (mri_registration, "--resolution"),
    ],
    ids=["photo-steps", "registration-steps", "registration-resolution"],
)
def test_wrong_options_are_refused(example, option, capsys):
    with pytest.raises(SystemExit):
        example.main([option, "0"])
    assert f"{option} must be at least 1, received 0" in capsys.readouterr().err
