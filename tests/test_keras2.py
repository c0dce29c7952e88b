"""The layer of Keras 2, which is tf_keras: what holds of that of Keras 3 holds of it as well."""

import os
import pathlib
import runpy
import subprocess
import sys
import types

import keras
import pytest

import tf_stn

ROOT = pathlib.Path(__file__).resolve().parents[1]
ROOM = pathlib.Path(tf_stn.__file__).parent / "_keras.py"
# Those that take Keras from there, as what they test does.
TESTS = ["test_layer.py", "test_training_aids.py", "only_keras2.py"]
TESTS += ["test_transformations.py::test_layer_takes_transformations_by_name"]


def run(*command, **environment):
    """Runs Python in a process of its own, where no Keras has been imported yet."""
    command, environment = [sys.executable, *command], os.environ | environment
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)
    assert result.returncode == 0, result.stdout[-10000:] + result.stderr[-5000:]


def test_what_holds_of_the_layer_holds_in_keras_2():
    paths = [f"tests/{test}" for test in TESTS]
    run("-m", "pytest", "-q", "-p", "no:cacheprovider", *paths, TF_USE_LEGACY_KERAS="1")


def test_what_is_of_keras_2_is_refused_by_the_layer_of_keras_3():
    """TensorFlow would compute with its tensors, and the model would not train the layer."""
    script = """
import re, keras, tf_keras, tf_stn
calls = {
    "localisation": lambda: tf_stn.SpatialTransformer(tf_keras.layers.Flatten()),
    "inputs": lambda: tf_stn.SpatialTransformer(keras.layers.Flatten())(tf_keras.Input((8, 8, 1))),
}
for argument, call in calls.items():
    try:
        call()
    except ValueError as error:
        pattern = f"`{argument}` must be .* of keras 3.* of tf_keras. With TF_USE_LEGACY_KERAS=1"
        assert re.match(pattern, str(error)), error
    else:
        raise AssertionError(argument)
"""
    run("-c", script, TF_USE_LEGACY_KERAS="")


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
