"""One run: a network trained on distorted images, and what it gets wrong of others."""

import dataclasses
import itertools
import time
from collections.abc import Iterable

import keras
import tensorflow as tf

from digits import data, networks
from digits.distortions import DISTORTIONS, Distortion

TEST_SEED = 7


@dataclasses.dataclass(frozen=True)
class Run:
    """What is trained; plain networks have no transformation."""

    distortion: str
    network: str
    transformation: str | None
    seed: int

    @property
    def name(self) -> str:
        parts = [self.distortion, self.network, self.transformation, str(self.seed)]
        return "-".join(part for part in parts if part)


def all_runs(
    distortions: Iterable[str],
    names: Iterable[str],
    transformations: Iterable[str],
    seeds: Iterable[int],
) -> list[Run]:
    """Returns every combination, all of a seed before those of the next."""
    kinds = []
    for name in names:
        kinds += [(name, each) for each in (transformations if name.startswith("ST-") else [None])]
    return [
        Run(distortion, *kind, seed)
        for seed, distortion, kind in itertools.product(seeds, distortions, kinds)
    ]


def make(run: Run) -> keras.Sequential:
    """Returns the untrained network of a run."""
    return networks.make(run.network, DISTORTIONS[run.distortion].canvas, run.transformation)


def distorted_test_images(distortion: Distortion, examples: data.Examples) -> tf.Tensor:
    """Returns canvases with the images to test, the same for all networks and seeds."""
    return distortion(examples.images, [TEST_SEED, TEST_SEED])


def train(
    run: Run,
    training: data.Examples,
    test: data.Examples,
    epochs: int,
    callbacks: Iterable[keras.callbacks.Callback] = (),
) -> tuple[keras.Sequential, dict]:
    """Trains the network of a run; returns it and its result.

    Args:
      run: Which one.
      training: Images to train with, distorted anew in every epoch.
      test: Images to test with.
      epochs: How often each image is seen.
      callbacks: Of Keras.

    Returns:
      The network, and its error on the test images in percent, the seconds per epoch and the number
      of parameters.
    """
    distortion = DISTORTIONS[run.distortion]
    keras.utils.set_random_seed(run.seed)
    model = make(run)
    batches = data.training_data(training, distortion, run.seed)
    steps = epochs * batches.cardinality().numpy()
    model.compile(
        optimizer=keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(1e-3, steps)),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    start = time.perf_counter()
    # Batches are shuffled already.
    model.fit(batches, epochs=epochs, shuffle=False, verbose=0, callbacks=list(callbacks))
    seconds = (time.perf_counter() - start) / epochs
    images = distorted_test_images(distortion, test)
    accuracy = model.evaluate(images, test.labels, verbose=0)[1]
    return model, {
        "test_error": round(100 * (1 - accuracy), 2),
        "seconds_per_epoch": round(seconds, 3),
        "parameters": model.count_params(),
    }
