"""The experiments of docs/how_to/training.md, on a budget of seconds."""

import importlib.util
import re
import subprocess
import sys

import matplotlib.image
import numpy as np
import pytest
from repository import ROOT

SCRIPT = ROOT / "examples/training_symptoms.py"


@pytest.fixture(scope="module")
def symptoms():
    sys.path.insert(0, str(SCRIPT.parent))  # As when it is run as a script.
    spec = importlib.util.spec_from_file_location("training_symptoms", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.path.remove(str(SCRIPT.parent))
    return module


@pytest.fixture(scope="module")
def train(symptoms):
    """Trains a recipe by name for an epoch of 63 steps; the same one only once."""
    done = {}

    def call(symptom, recipe):
        if (symptom, recipe) not in done:
            how = symptoms.SYMPTOMS[symptom].recipes[recipe]
            done[symptom, recipe] = symptoms.train(how, seed=0, epochs=1)
        return done[symptom, recipe]

    return call


def ink(path):
    """Returns how many pixels of a picture are not white."""
    return (matplotlib.image.imread(path)[..., :3] < 0.9).any(axis=-1).sum()


def test_transformer_leaves_the_image_unless_its_gradient_is_scaled(train):
    blank, scaled = train("blank", "as it is"), train("blank", "Scaled(gradient=0.1)")
    assert blank.outside[0] == scaled.outside[0] == 0
    assert blank.outside[-1] > 0.9
    assert scaled.outside[-1] < 0.3
    assert scaled.accuracy > blank.accuracy


def test_divergence_shows_as_nan(train):
    lost = train("diverges", "as it is")
    assert np.isfinite(lost.parameters[0]).all()
    assert np.isnan(lost.parameters[-1]).all()
    assert np.isnan(lost.outputs).all()
    assert lost.outside[-1] == 1  # NaN counts as outside.


def test_bounded_transformer_does_not_become_nan(train):
    assert np.isfinite(train("diverges", "Bounded(0.5)").outputs).all()


def test_nearest_never_moves(train):
    assert (train("still", 'interpolation="nearest"').parameters == [1, 0, 0, 0, 1, 0]).all()
    assert train("still", 'interpolation="linear"').measures()["moved"] > 0.01


def test_looks_are_at_every_tenth_step_and_the_last(train):
    looks = train("still", 'interpolation="nearest"')
    assert looks.steps.tolist() == [0, 10, 20, 30, 40, 50, 60, 63]
    assert len(looks.parameters) == len(looks.outside) == 8


def test_far_digits_are_found_when_blurred(symptoms, tmp_path, monkeypatch):
    monkeypatch.setattr(symptoms, "FAR_DIGITS", 8)
    monkeypatch.setattr(symptoms, "DISTANCES", (1, 12))
    found = symptoms.far(tmp_path / "far.png", seeds=1, epochs=3)
    sharp, blurred = found["sharp"], found["blurred over 15 pixels"]
    assert sharp["1 pixels"][0] == blurred["1 pixels"][0] == 1
    assert sharp["12 pixels"][0] < 0.3
    assert blurred["12 pixels"][0] > 0.9
    assert ink(tmp_path / "far.png") > 10_000


@pytest.mark.parametrize("name", ["blank", "pixels", "diverges", "still", "jumps", "aliasing"])
def test_figure_shows_every_recipe(symptoms, train, tmp_path, monkeypatch, name):
    """The figure alone: what is drawn in it was trained once, and is partly NaN for some."""
    results = [train("still", 'interpolation="linear"'), train("diverges", "as it is")]
    monkeypatch.setattr(symptoms, "train", lambda how, seed, epochs: results[seed])
    measures = symptoms.reproduce(name, tmp_path / "figure.png", seeds=2, epochs=1)
    assert list(measures) == list(symptoms.SYMPTOMS[name].recipes)
    assert ink(tmp_path / "figure.png") > 10_000 * len(measures)


def test_half_precision_coordinates_are_worse_than_the_layer_under_mixed_precision(tmp_path):
    """By what the command prints."""
    command = [sys.executable, SCRIPT, "--only", "half", "--seeds", "1", "--output", tmp_path]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert printed.startswith(f"half: {tmp_path / 'training_half.png'}\n")
    errors = re.findall(r"  (\S.*)\n    mean error +(\S+)", printed)
    error = {name: float(value) for name, value in errors}
    assert error["float32 coordinates"] < 1e-5
    for kind in ("float16", "bfloat16"):
        assert error[f"layer, mixed_{kind}"] < 0.02 * error[f"{kind} coordinates"]
    assert ink(tmp_path / "training_half.png") > 10_000


def test_wrong_options_are_refused(symptoms, capsys):
    with pytest.raises(SystemExit):
        symptoms.main(["--epochs", "0"])
    assert "--epochs must be at least 1, received 0" in capsys.readouterr().err


def test_page_has_a_small_figure_of_every_experiment(symptoms):
    page = (ROOT / "docs/how_to/training.md").read_text()
    for name in symptoms.EXPERIMENTS:
        assert f"](../pictures/training_{name}.png)" in page
        assert (ROOT / f"docs/pictures/training_{name}.png").stat().st_size < 120_000
