"""What Keras 2 alone has: its files, and where it meets Keras 3.

Run by test_keras2.py, where the variable is set.
"""

import os
import subprocess
import sys

import keras as keras3
import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from page_examples import run_examples
from test_layer import Eyes, disturb, localisation

from tf_stn import SpatialTransformer
from tf_stn._keras import keras
from tf_stn.layers import Transform
from tf_stn.metrics import FractionOutside
from tf_stn.regularizers import Identity, Outside, Smoothness
from tf_stn.transformations import Bounded, ConstrainedAffine, Scaled, Several

IN_KERAS_3 = """
import re, sys
import keras, numpy as np, tf_keras, tf_stn

folder = sys.argv[1]
for file in ("model.keras", "model.h5"):
    model = keras.models.load_model(f"{folder}/{file}")
    assert isinstance(model, keras.Model) and type(model.layers[0]) is tf_stn.SpatialTransformer
    output = model(np.load(f"{folder}/images.npy"))
    np.testing.assert_allclose(output, np.load(f"{folder}/output.npy"), rtol=0, atol=1e-6)
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


@pytest.fixture
def images(rng):
    return rng.uniform(size=[3, 12, 10, 2]).astype(np.float32)


def test_the_layer_is_one_of_tf_keras():
    assert keras is tf_keras
    assert issubclass(SpatialTransformer, tf.keras.layers.Layer)
    assert not issubclass(SpatialTransformer, keras3.layers.Layer)


def everything():
    """A layer with an argument of every kind."""
    scales = ConstrainedAffine([[1, 0, 1], [0, 1, 1]])
    transform = Transform(
        Several(Bounded(Scaled(scales, 0.5), [0.5, 0.1, 0.5, 0.1]), 2),
        output_size=(4, 5),
        interpolation=["linear"],
        fill_value=[0.1, 0.2],
        regularizer=[Identity(0.1), Outside(0.1), Smoothness(0.1)],
        metrics=FractionOutside(),
    )
    return SpatialTransformer(Eyes(5), transform)


@pytest.mark.parametrize("file", ["model.keras", "model.h5", "model"])
def test_saved_model_goes_on_training(rng, images, tmp_path, file):
    model = keras.Sequential([keras.Input((12, 10, 2)), everything()])
    model.compile("adam", "mse")
    target = np.zeros([3, 2, 4, 5, 2])
    model.fit(images, target, verbose=0)
    disturb(model, rng)
    model.save(tmp_path / file)
    # Without it, Keras 2 does not find in an HDF5 file what a layer holds.
    again = keras.models.load_model(tmp_path / file, custom_objects={"Eyes": Eyes})
    assert type(again.layers[0]) is SpatialTransformer
    np.testing.assert_allclose(again(images), model(images), rtol=0, atol=1e-6)
    logs, expected = (each.fit(images, target, verbose=0).history for each in (again, model))
    assert expected.keys() == {"loss", "fraction_outside"}
    for name, values in expected.items():
        np.testing.assert_allclose(logs[name], values, rtol=1e-4)


@pytest.mark.parametrize("file", ["weights.h5", "checkpoint"])
def test_weights_of_layers_in_layers_are_kept(rng, images, tmp_path, file):
    models = []
    for _ in range(2):
        inner = [SpatialTransformer(Eyes(5)), SpatialTransformer(Eyes(5))]
        models.append(keras.Sequential([keras.Input((12, 10, 2)), keras.Sequential(inner)]))
    disturb(models[0], rng)
    models[0].save_weights(tmp_path / file)
    models[1].load_weights(tmp_path / file)
    np.testing.assert_array_equal(models[1](images), models[0](images))


def test_features_of_unknown_rank_are_refused():
    net = keras.layers.Lambda(
        lambda x: tf.ensure_shape(tf.numpy_function(abs, [x], tf.float32), None)
    )
    with pytest.raises(ValueError, match=r"`localisation` must return .*\[batch, features\]"):
        SpatialTransformer(net).build((None, 12, 10, 2))


def test_what_is_of_keras_3_is_refused_by_name():
    message = "`localisation` must be .* of tf_keras .* of keras. Without TF_USE_LEGACY_KERAS"
    with pytest.raises(ValueError, match=message):
        SpatialTransformer(keras3.layers.Flatten())
    message = "`inputs` must be .* of tf_keras .* of keras. Without TF_USE_LEGACY_KERAS"
    with pytest.raises(ValueError, match=message):
        SpatialTransformer(keras.layers.Flatten())(keras3.Input((8, 8, 1)))


def test_keras_3_loads_its_files_and_refuses_its_layers_and_tensors(rng, images, tmp_path):
    """TensorFlow would compute with its tensors, and the model would not train the layer."""
    scales = ConstrainedAffine([[1, 0, 1], [0, 1, 1]])
    layer = SpatialTransformer(localisation(), scales, output_size=(6, 6))
    model = keras.Sequential([keras.Input((12, 10, 2)), layer])
    disturb(model, rng)
    for file in ("model.keras", "model.h5"):
        model.save(tmp_path / file)
    np.save(tmp_path / "images.npy", images)
    np.save(tmp_path / "output.npy", model(images))
    environment = os.environ | {"TF_USE_LEGACY_KERAS": ""}
    command = [sys.executable, "-c", IN_KERAS_3, str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert result.returncode == 0, result.stderr[-5000:]


def test_examples_of_the_page_run():
    run_examples("how_to/keras2.md")
