"""Trains a small transformer on one device and on two, by fit() and by a loop.

    PYTHONPATH=examples python tests/layers/mirrored_training.py FOLDER

It prints what came out, as JSON. A process of its own, since TensorFlow must know of virtual
devices before it starts.
"""

import contextlib
import json
import sys

import keras
import numpy as np
import tensorflow as tf
from distributed_digits import make_strategy, training_step

import tf_stn

EPOCHS, STEPS, BATCH = 3, 2, 8


def make_model(strategy: tf.distribute.Strategy) -> keras.Model:
    """Returns a model with regularizers, which starts to look partly outside the images."""
    keras.utils.set_random_seed(0)
    with strategy.scope():
        transform = tf_stn.layers.Transform(
            "affine",
            output_size=(4, 4),
            regularizer=[tf_stn.regularizers.Identity(0.5), tf_stn.regularizers.Outside(2.0)],
            metrics=tf_stn.metrics.FractionOutside(),
        )
        layer = tf_stn.SpatialTransformer(keras.layers.Flatten(), transform)
        inputs, dense = keras.Input([6, 6, 1]), keras.layers.Dense(3)
        model = keras.Sequential([inputs, layer, keras.layers.Flatten(), dense])
        # Its steps, unlike Adam's, are as long as the gradient.
        model.compile(
            keras.optimizers.SGD(0.01), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        )
        model.optimizer.build(model.trainable_variables)
        layer.head.bias.assign([1.3, 0.1, 0.2, 0.0, 1.2, -0.3])
    return model


def batches() -> tf.data.Dataset:
    rng = np.random.default_rng(0)
    images = rng.normal(size=[STEPS * BATCH, 6, 6, 1]).astype(np.float32)
    return tf.data.Dataset.from_tensor_slices((images, rng.integers(0, 3, len(images)))).batch(
        BATCH
    )


def weights(strategy: tf.distribute.Strategy, model: keras.Model) -> list[list]:
    """Returns every copy of each trainable variable."""
    copies = [strategy.experimental_local_results(v.value) for v in model.trainable_variables]
    return [[copy.numpy().tolist() for copy in each] for each in copies]


def by_fit(strategy: tf.distribute.Strategy, callbacks: list = ()) -> dict:
    model = make_model(strategy)
    history = model.fit(batches(), epochs=EPOCHS, callbacks=list(callbacks), verbose=0).history
    return history | {"weights": weights(strategy, model)}


def by_loop(strategy: tf.distribute.Strategy) -> dict:
    model = make_model(strategy)
    data = iter(strategy.experimental_distribute_dataset(batches().repeat()))
    step = training_step(strategy, model)
    losses = [[float(step(data)) for _ in range(STEPS)] for _ in range(EPOCHS)]
    return {"loss": np.mean(losses, axis=1).tolist(), "weights": weights(strategy, model)}


class Interruption(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        if epoch == 1:
            raise KeyboardInterrupt


def by_interrupted_fit(strategy: tf.distribute.Strategy, folder: str) -> dict:
    """Returns what the second epoch and later ones give when training resumes there."""
    with contextlib.suppress(KeyboardInterrupt):
        by_fit(strategy, [keras.callbacks.BackupAndRestore(folder), Interruption()])
    return by_fit(strategy, [keras.callbacks.BackupAndRestore(folder)])


def main() -> None:
    two = make_strategy("mirrored")
    one = make_strategy("none")
    results = {
        "fit on one device": by_fit(one),
        "fit on two devices": by_fit(two),
        "loop on one device": by_loop(one),
        "loop on two devices": by_loop(two),
        "fit on two devices, resumed": by_interrupted_fit(two, sys.argv[1]),
    }
    print(json.dumps(results))


if __name__ == "__main__":
    main()
