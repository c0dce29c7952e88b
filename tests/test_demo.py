"""The demo, on a budget of seconds."""

import importlib.util
import json
import pathlib
import subprocess
import sys

import matplotlib.image
import numpy as np
import pytest
import tensorflow as tf

SCRIPT = pathlib.Path(__file__).resolve().parents[1] / "examples/distorted_digits.py"


@pytest.fixture(scope="module")
def demo():
    spec = importlib.util.spec_from_file_location("distorted_digits", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run_command(folder, *options):
    """Runs the demo as a command; returns its process and what it wrote."""
    command = [sys.executable, SCRIPT, "--output", str(folder), *options]
    process = subprocess.run(command, check=True, capture_output=True, text=True)
    return process, json.loads((folder / "results.json").read_text())


@pytest.mark.parametrize("network", ["fcn", "cnn"])
def test_command_prints_a_table_and_writes_results_and_picture(tmp_path, network):
    process, written = run_command(tmp_path, "--network", network, "--epochs", "2", "--seed", "3")
    assert written["settings"] == {"network": network, "epochs": 2, "seed": 3}
    plain, transformer = written["results"]
    assert [plain["network"], transformer["network"]] == [network.upper(), f"ST-{network.upper()}"]
    for row in (plain, transformer):
        assert 0 < row["test_error"] < 85  # Guessing gives 90.
        assert f"{row['network']:<10}{row['test_error']:>10.1f} %" in process.stdout
        assert row["seconds_per_epoch"] > 0
    if network == "fcn":
        assert transformer["parameters"] <= plain["parameters"]
    assert "100%" in process.stderr  # The progress bar.
    picture = matplotlib.image.imread(tmp_path / "digits.png")
    is_orange = (np.abs(picture[..., :3] - [1.0, 0.65, 0.0]) < 0.05).all(axis=-1)
    assert is_orange.sum() > 500  # The outlines.


def test_seed_decides_the_results(tmp_path):
    def errors(seed, folder):
        _, written = run_command(tmp_path / folder, "--epochs", "1", "--seed", str(seed))
        return [row["test_error"] for row in written["results"]]

    first = errors(1, "first")
    assert errors(1, "again") == first
    assert errors(2, "other") != first


def test_digits_are_complete_and_shuffled(demo):
    digits, labels = demo.load_digits()
    assert digits.shape == (5000, 28, 28, 1)
    assert digits.min() == 0
    assert digits.max() == 1
    assert np.bincount(labels[: demo.TRAINING_DIGITS], minlength=10).min() > 300


def test_placement_keeps_the_digit_on_the_canvas(demo):
    """A digit of ones, upright square or not: its weight is its area, wherever it lies."""
    theta = demo.random_placement(500, [1, 2]).numpy().reshape(-1, 2, 3)
    linear, shift = theta[..., :2], theta[..., 2:]
    centre = -np.linalg.solve(linear, shift)[..., 0]  # On the canvas, normalised.
    scale = 42 / 28 / np.sqrt(np.linalg.det(linear))
    assert 0.7 <= scale.min() < 0.71
    assert 1.19 < scale.max() <= 1.2
    assert (np.abs(centre) <= (1 - scale * 28 / 42)[:, None] + 1e-6).all()
    angle = np.degrees(np.arctan2(linear[:, 0, 1], linear[:, 0, 0]))
    assert -45 <= angle.min() < -44
    assert 44 < angle.max() <= 45


def test_distorted_digits_keep_their_ink(demo):
    digits = demo.load_digits()[0][:200]
    canvases = demo.distort(tf.constant(digits), [1, 2])
    theta = demo.random_placement(200, [1, 2]).numpy().reshape(-1, 2, 3)
    area = (42 / 28) ** 2 / np.linalg.det(theta[..., :2])
    ink = digits.sum(axis=(1, 2, 3)) * area
    np.testing.assert_allclose(tf.reduce_sum(canvases, [1, 2, 3]), ink, rtol=0.06)


def test_wrong_options_are_refused(demo, capsys):
    with pytest.raises(SystemExit):
        demo.main(["--epochs", "0"])
    assert "--epochs must be at least 1, received 0" in capsys.readouterr().err
