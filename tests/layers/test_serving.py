"""An exported model runs where TensorFlow and the compiled library are alone."""

import shutil
import subprocess
import sys

import numpy as np

import tf_stn
from tf_stn._keras import keras

PROGRAM = """
import sys
import numpy as np
import tensorflow as tf

library, exported, images = sys.argv[1:]
tf.load_op_library(library)
model = tf.saved_model.load(exported)  # Kept, since its variables live as long as it does.
served = model.serve(np.load(images))
assert "tf_stn" not in sys.modules
np.save(images, served)
"""


def test_exported_model_needs_tensorflow_and_the_library_alone(rng, tmp_path):
    keras.utils.set_random_seed(0)
    layer = tf_stn.SpatialTransformer(keras.layers.Flatten(), output_size=(5, 6), padding="border")
    model = keras.Sequential([keras.Input([8, 9, 1]), layer])
    layer.head.kernel.assign(0.1 * rng.normal(size=layer.head.kernel.shape))
    images = rng.normal(size=[3, 8, 9, 1]).astype(np.float32)
    expected = model(images)
    model.export(tmp_path / "exported")
    library = shutil.copy(tf_stn.library_path(), tmp_path / "ops.so")
    np.save(tmp_path / "images.npy", images)
    arguments = [library, tmp_path / "exported", tmp_path / "images.npy"]
    # Not from here, where the package could be found.
    subprocess.run([sys.executable, "-c", PROGRAM, *map(str, arguments)], check=True, cwd=tmp_path)
    np.testing.assert_allclose(np.load(tmp_path / "images.npy"), expected, atol=1e-5)


PLAIN_PROGRAM = """
import sys
import numpy as np
import tensorflow as tf

exported, images = sys.argv[1:]
model = tf.saved_model.load(exported)
served = model.serve(np.load(images))
assert "tf_stn" not in sys.modules
np.save(images, served)
"""


def test_portable_export_needs_tensorflow_alone(rng, tmp_path):
    layer = tf_stn.SpatialTransformer(keras.layers.GlobalAveragePooling2D(), "rigid")
    model = keras.Sequential([keras.Input([None, None, 1]), layer])
    layer.head.kernel.assign(0.1 * rng.normal(size=layer.head.kernel.shape))
    images = rng.normal(size=[3, 8, 9, 1]).astype(np.float32)
    expected = model(images)
    with tf_stn.portable():
        model.export(tmp_path / "exported", verbose=False)
    np.save(tmp_path / "images.npy", images)
    arguments = [tmp_path / "exported", tmp_path / "images.npy"]
    command = [sys.executable, "-c", PLAIN_PROGRAM, *map(str, arguments)]
    subprocess.run(command, check=True, cwd=tmp_path)
    np.testing.assert_allclose(np.load(tmp_path / "images.npy"), expected, atol=1e-5)
