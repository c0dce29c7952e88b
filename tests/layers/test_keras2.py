"""The layer of Keras 2, which is tf_keras: what holds of that of Keras 3 holds of it as well."""

import os
import pathlib
import runpy
import subprocess
import sys
import types

import keras
import pytest
from repository import ROOT

import tf_stn

ROOM = pathlib.Path(tf_stn.__file__).parent / "_keras.py"
# Those that take Keras from there, as what they test does.
TESTS = ["test_layer.py", "test_training_aids.py", "test_functional_models.py", "only_keras2.py"]
TESTS += ["test_source_and_head.py"]
TESTS += [
    f"{file}::{name}"
    for file, names in {
        "test_sampling_layers.py": [
            "test_layer_gives_what_the_function_gives",
            "test_functional_model_is_saved_loaded_and_cloned",
            "test_regularizer_and_metric_are_saved",
            "test_metric_is_one_of_the_model",
        ],
        "test_layer_promises.py": [
            "test_frozen_layer_moves_no_weight",
            "test_layer_is_saved_loaded_and_cloned",
            "test_layer_is_kept_by_other_files",
            "test_what_the_call_refuses_parameters_refuses_too",
        ],
    }.items()
    for name in names
]
TESTS += ["test_transformations.py::test_layer_takes_transformations_by_name"]


def test_what_holds_of_the_layer_holds_in_keras_2():
    paths = [f"tests/layers/{test}" for test in TESTS]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *paths]
    environment = os.environ | {"TF_USE_LEGACY_KERAS": "1"}
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)
    assert result.returncode == 0, result.stdout[-10000:] + result.stderr[-5000:]


@pytest.mark.parametrize("value", ["1", "true", "True"])
def test_the_variable_chooses_tf_keras(monkeypatch, value):
    other = types.SimpleNamespace(__name__="tf_keras", __version__="2.16.0")
    monkeypatch.setitem(sys.modules, "tf_keras", other)
    monkeypatch.setenv("TF_USE_LEGACY_KERAS", value)
    assert runpy.run_path(str(ROOM))["keras"] is other


@pytest.mark.parametrize("value", ["", "0", "false", "TRUE"])
def test_what_tensorflow_does_not_take_for_true_leaves_keras_3(monkeypatch, value):
    monkeypatch.setenv("TF_USE_LEGACY_KERAS", value)
    assert runpy.run_path(str(ROOM))["keras"] is keras


def test_without_tf_keras_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "tf_keras", None)  # As if it were not installed.
    monkeypatch.setenv("TF_USE_LEGACY_KERAS", "1")
    with pytest.raises(ImportError, match=r"pip install --no-deps 'tf_keras==2\.\d+\.\*'"):
        runpy.run_path(str(ROOM))
