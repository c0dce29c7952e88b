"""The example of a registration network, on a budget of seconds."""

import matplotlib.colors
import matplotlib.image
import numpy as np
import pytest
import registration
import tensorflow as tf
from repository import ROOT

from tf_stn import displacement_resampler, fields

SEED = tf.constant([0, 0], tf.int64)


@pytest.fixture(autouse=True)
def _always_on_cpu(on_cpu):
    """The budget is that of the CPU."""


@pytest.fixture(scope="module")
def slices():
    return registration.load_slices()


@pytest.fixture(scope="module")
def pairs(slices):
    return registration.random_pairs(slices[1], SEED, 4)


def test_slices_to_test_with_are_not_those_to_train_with(slices):
    to_train, to_test = slices
    assert to_train.shape[1:] == to_test.shape[1:] == (80, 64, 1)
    assert len(to_train) > 2 * len(to_test) > 10
    distances = np.abs(to_train.numpy()[:, None] - to_test.numpy()[None]).max(axis=(2, 3, 4))
    assert distances.min() > 0.1


def test_fields_of_a_pair_are_the_way_there_and_back(pairs):
    np.testing.assert_array_equal(pairs.moving, displacement_resampler(pairs.fixed, pairs.known))
    brain = pairs.fixed[..., 0].numpy() > 0.1
    there_and_back = registration.distance(fields.compose(pairs.known, pairs.there))
    assert registration.distance(pairs.there)[brain].mean() > 2
    assert there_and_back[brain].mean() < 0.05


def test_seed_decides_the_pairs(slices, pairs):
    again = registration.random_pairs(slices[1], SEED, 4)
    other = registration.random_pairs(slices[1], SEED + 1, 4)
    np.testing.assert_array_equal(again.moving, pairs.moving)
    assert np.abs(other.moving - pairs.moving).max() > 0.1


def test_untrained_model_moves_nothing(pairs):
    model = registration.build_model()
    np.testing.assert_array_equal(model([pairs.fixed, pairs.moving]), pairs.moving)
    for before, after in registration.evaluate(model, pairs).values():
        assert before == pytest.approx(after, rel=1e-6)


def test_landmarks_are_apart_and_in_the_brain(pairs):
    landmarks = registration.landmarks_of(pairs.fixed)
    assert landmarks.shape == (4, 8, 2)
    values = displacement_resampler(pairs.fixed, 0 * pairs.there)
    sampled = tf.gather_nd(values[..., 0], tf.cast(landmarks, tf.int32)[..., ::-1], batch_dims=1)
    assert sampled.numpy().min() > 0.3
    between = np.linalg.norm(landmarks.numpy()[:, :, None] - landmarks.numpy()[:, None], axis=-1)
    assert between[:, ~np.eye(8, dtype=bool)].min() > 2


def test_landmarks_move_with_the_slice(pairs):
    """Everything is 2 voxels further to the right in the moving slice."""
    velocity = tf.constant([2.0, 0.0]) * tf.ones([4, 20, 16, 2])
    landmarks = tf.constant([[[30.0, 40.0], [20.5, 60.0]]] * 4)
    moved = registration.move_landmarks(velocity, landmarks)
    np.testing.assert_allclose(moved, landmarks - [2.0, 0.0], atol=1e-4)


def test_short_training_brings_slices_closer_and_draws(tmp_path, capfd):
    path = tmp_path / "registration.png"
    figures = registration.main(["--steps", "120", "--output", str(path)])
    before, after = figures["distance in voxels"]
    assert before > 3
    assert after < 0.9 * before
    before, after = figures["difference of intensity"]
    assert after < 0.75 * before
    assert figures["share that is folded"][1] < 0.001
    printed = capfd.readouterr().out
    for name, (before, after) in figures.items():
        assert f"{name:<27}{before:8.3f}{after:8.3f}" in printed
    picture, kept = (
        matplotlib.image.imread(p) for p in (path, ROOT / "docs/pictures/registration.png")
    )
    assert picture.shape == kept.shape
    for colour in (registration.BELONG, registration.ARE, "orange"):
        is_drawn = np.abs(picture[..., :3] - matplotlib.colors.to_rgb(colour)).max(axis=-1) < 0.15
        assert is_drawn.sum() > 200, colour


def test_figures_of_the_page_are_better_than_the_example_states():
    page = (ROOT / "docs/tutorials/registration.md").read_text()
    (line,) = [line for line in page.splitlines() if line.startswith("| distance from where")]
    before, after = (float(cell) for cell in line.split("|")[2:4])
    assert after < 0.4 * before
    assert "below 0.4 of what it was" in registration.__doc__.replace("\n", " ")
    assert (ROOT / "docs/pictures/registration.png").stat().st_size < 250_000


def test_wrong_options_are_refused(capsys):
    with pytest.raises(SystemExit):
        registration.main(["--steps", "0"])
    assert "--steps must be at least 1, received 0" in capsys.readouterr().err
