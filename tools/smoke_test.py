"""Runs an installed tf_stn once from end to end; needs TensorFlow and NumPy alone."""

import importlib.metadata
import os
import pathlib
import tempfile

import numpy as np
import tensorflow as tf

import tf_stn
from tf_stn import _build_info, _xla

keras = tf.keras


def main() -> None:
    if os.environ.get("TF_STN_CUDA") == "1":
        assert _build_info.CUDA, "TF_STN_CUDA=1, but the wheel has no GPU kernels"
    rng = np.random.default_rng(0)
    data, warp = (
        tf.constant(rng.normal(size=[2, 5, 6, 3])),
        tf.constant(rng.uniform(0, 4, [2, 9, 2])),
    )
    analytic, numeric = tf.test.compute_gradient(tf_stn.resampler, [data, warp], delta=1e-6)
    for a, n in zip(analytic, numeric):
        np.testing.assert_allclose(a, n, rtol=0, atol=1e-8)

    if tuple(map(int, _build_info.TENSORFLOW.split("."))) >= (2, 20):
        assert _xla.can_compile(), "XLA cannot compile the ops"
        compiled = tf.function(tf_stn.resampler, jit_compile=True)(data, warp)
        np.testing.assert_array_equal(compiled, tf_stn.resampler(data, warp))

    net = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(8, activation="relu")])
    head = [keras.layers.Flatten(), keras.layers.Dense(2)]
    transformer = tf_stn.SpatialTransformer(net, output_size=(6, 6))
    model = keras.Sequential([keras.Input((12, 12, 1)), transformer, *head])
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    images, labels = rng.uniform(size=[64, 12, 12, 1]), rng.integers(0, 2, 64)
    losses = model.fit(images, labels, epochs=20, verbose=0).history["loss"]
    assert losses[-1] < losses[0], losses

    with tempfile.TemporaryDirectory() as folder:
        model.save(f"{folder}/model.keras")
        again = keras.models.load_model(f"{folder}/model.keras")
    np.testing.assert_array_equal(again(images), model(images))

    where = pathlib.Path(tf_stn.__file__).parent
    version = importlib.metadata.version("tf-stn")
    print(f"tf-stn {version} works with TensorFlow {tf.__version__} in {where}")
    print(f"with a layer of {keras.layers.Layer.__module__.split('.')[0]}")
    print(f"built with CUDA {_build_info.CUDA}" if _build_info.CUDA else "built without CUDA")


if __name__ == "__main__":
    main()
