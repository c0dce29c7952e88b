"""Shows why spatial transformers do not train, and what cures them.

    python examples/training_symptoms.py --output docs/pictures    # all of them
    python examples/training_symptoms.py --only blank far          # some

These are the figures of docs/how_to/training.md. Each experiment is small: a classifier of two
dense layers, with a transformer in front, learns real digits, rotated, scaled and placed somewhere
on a canvas as in distorted_digits.py, for a few hundred steps, with several seeds; or the sampler
is looked at alone. What was measured is printed; the pictures are of the first seed.
"""

import argparse
import dataclasses
import functools
import pathlib
from collections.abc import Callable
from typing import NamedTuple

import keras
import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import PIL.Image
import tensorflow as tf
from digits.data import TRAINING_DIGITS, Examples, load_digits
from digits.distortions import DISTORTIONS

import tf_stn
from tf_stn.regularizers import Identity, Outside
from tf_stn.transformations import Affine, Bounded, Scaled

CANVAS, DIGIT = 42, 28
BATCH = 64
PROBES = 64  # Test digits by which a transformer is watched while it learns.
EVERY = 10  # Steps from one look at them to the next.
SEEDS, EPOCHS = 3, 5
COLOURS_IN_FILE = 128
FAR_CANVAS, FAR_DIGITS = 64, 32
DISTANCES = (1, 2, 3, 4, 6, 8, 10, 12, 14, 16)  # In pixels, from a digit to where it should be.
WIDTHS = {"sharp": 1, "blurred over 5 pixels": 5, "blurred over 15 pixels": 15}
LARGE = 512  # Pixels along a side of the image for half precision.
COORDINATES = {
    f"{name} coordinates": getattr(tf, name) for name in ("float32", "float16", "bfloat16")
}
LAYERS = {f"layer, {policy}": policy for policy in ("mixed_float16", "mixed_bfloat16")}
START = np.array([1, 0, 0, 0, 1, 0], np.float32)
# What curves are of.
OUTSIDE, MOVED = "points outside the image", "mean |θ - identity|"
ONE_SHIFT = "x shift of a digit, in half images"


@functools.cache
def all_digits() -> Examples:
    """Returns those to train, and then those to test; their file is text, and takes seconds."""
    return Examples(*map(np.concatenate, zip(*load_digits())))


def default_optimizer() -> keras.optimizers.Optimizer:
    return keras.optimizers.Adam(1e-3)


def adam(rate: float) -> Callable[[], keras.optimizers.Optimizer]:
    return lambda: keras.optimizers.Adam(rate)


def momentum(rate: float, **clipping: float) -> Callable[[], keras.optimizers.Optimizer]:
    return lambda: keras.optimizers.SGD(rate, momentum=0.9, **clipping)


def pooling() -> list[keras.layers.Layer]:
    return [keras.layers.AveragePooling2D(4)]


def normalised() -> list[keras.layers.Layer]:
    return [keras.layers.BatchNormalization()]


def nothing() -> list[keras.layers.Layer]:
    return []


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a model is made and trained.

    Attributes:
      optimizer: Makes the optimiser.
      layer: Arguments of the transformer.
      white: The brightest pixel.
      output_size: Of the transformer.
      before: Makes the layers before the transformer.
      after: Makes those between it and the classifier.
      localisation: Makes the first layers of the localisation net.
    """

    optimizer: Callable[[], keras.optimizers.Optimizer] = default_optimizer
    layer: dict = dataclasses.field(default_factory=dict)
    white: float = 1.0
    output_size: tuple[int, int] = (DIGIT, DIGIT)
    before: Callable[[], list[keras.layers.Layer]] = nothing
    after: Callable[[], list[keras.layers.Layer]] = nothing
    localisation: Callable[[], list[keras.layers.Layer]] = nothing

    def model(self) -> keras.Sequential:
        dense, flatten = keras.layers.Dense, keras.layers.Flatten
        hidden = [dense(64, activation="relu"), dense(32, activation="relu")]
        transformer = tf_stn.SpatialTransformer(
            keras.Sequential([*self.localisation(), flatten(), *hidden]),
            output_size=self.output_size,
            name="transformer",
            **self.layer,
        )
        classifier = [flatten(), dense(64, activation="relu"), dense(10)]
        images = keras.Input((CANVAS, CANVAS, 1))
        return keras.Sequential([images, *self.before(), transformer, *self.after(), *classifier])


@dataclasses.dataclass(frozen=True)
class Symptom:
    """What a user sees, and what is tried against it, by name; the first is what goes wrong."""

    title: str
    curve: str
    recipes: dict[str, Recipe]


AFFINE = Affine()
CALM = Scaled(AFFINE, gradient=0.1)
SYMPTOMS = {
    "blank": Symptom(
        "It leaves the image and never comes back (SGD, learning rate 0.1)",
        OUTSIDE,
        {
            name: Recipe(momentum(0.1), layer)
            for name, layer in {
                "as it is": {},
                'padding="border"': {"padding": "border"},
                "Outside(1)": {"regularizer": Outside(1.0)},
                "Bounded(0.5)": {"transformation": Bounded(AFFINE, 0.5)},
                "Scaled(gradient=0.1)": {"transformation": CALM},
                "Scaled(gradient=0.1)\nBounded(0.5)": {"transformation": Bounded(CALM, 0.5)},
            }.items()
        },
    ),
    "pixels": Symptom(
        "It leaves the image in the first steps (pixels from 0 to 255)",
        OUTSIDE,
        {
            "0 to 255": Recipe(white=255.0),
            "0 to 255\nBounded(0.5)": Recipe(
                white=255.0, layer={"transformation": Bounded(AFFINE, 0.5)}
            ),
            "0 to 255, normalised\nfor localisation": Recipe(white=255.0, localisation=normalised),
            "0 to 1": Recipe(),
        },
    ),
    "diverges": Symptom(
        "It becomes NaN (SGD, learning rate 1, regularizer Outside(10))",
        MOVED,
        {
            "as it is": Recipe(momentum(1.0), {"regularizer": Outside(10.0)}),
            "gradients clipped\nto a norm of 1": Recipe(
                momentum(1.0, global_clipnorm=1.0), {"regularizer": Outside(10.0)}
            ),
            "Bounded(0.5)": Recipe(
                momentum(1.0),
                {"regularizer": Outside(10.0), "transformation": Bounded(AFFINE, 0.5)},
            ),
            "learning rate 0.1\nOutside(1)\nScaled(gradient=0.1)": Recipe(
                momentum(0.1), {"regularizer": Outside(1.0), "transformation": CALM}
            ),
        },
    ),
    "still": Symptom(
        "It never moves (nearest has no gradient in θ)",
        MOVED,
        {
            'interpolation="nearest"': Recipe(layer={"interpolation": "nearest"}),
            'interpolation="linear"': Recipe(),
        },
    ),
    "jumps": Symptom(
        "It jumps about, and away (Adam, learning rate 0.01)",
        ONE_SHIFT,
        {
            name: Recipe(adam(1e-2), layer)
            for name, layer in {
                "as it is": {},
                "Scaled(gradient=0.1)": {"transformation": CALM},
                "Identity(1)": {"regularizer": Identity(1.0)},
                "Scaled(0.1)": {"transformation": Scaled(AFFINE, 0.1)},
            }.items()
        },
    ),
    "aliasing": Symptom(
        "It sees every fourth pixel (10x10 samples of 42x42 pixels)",
        MOVED,
        {
            "output_size=(10, 10)": Recipe(output_size=(10, 10), localisation=pooling),
            "pooled by 4 before": Recipe(output_size=(10, 10), before=pooling),
            "output_size=(40, 40)\npooled by 4 after": Recipe(
                output_size=(40, 40), after=pooling, localisation=pooling
            ),
        },
    ),
}


class Data(NamedTuple):
    """Distorted digits, `[count, 42, 42, 1]`, and their labels, to train and to test."""

    images: np.ndarray
    labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray


@functools.cache
def load(seed: int) -> Data:
    digits = all_digits()
    images = DISTORTIONS["RTS"](tf.constant(digits.images), [seed, 0]).numpy()
    (train, test), (classes, test_classes) = (
        np.split(values, [TRAINING_DIGITS]) for values in (images, digits.labels)
    )
    return Data(train, classes, test, test_classes)


class Watch(keras.callbacks.Callback):
    """Looks at what a transformer does with some images while it learns.

    Attributes:
      steps: After how many steps it looked, `[looks]`.
      parameters: What it saw, `[looks, images, 6]`.
    """

    def __init__(self, images: tf.Tensor) -> None:
        super().__init__()
        self.images = images
        self.steps = []
        self.parameters = []

    def look(self) -> None:
        self.steps.append(int(self.model.optimizer.iterations))
        theta = transformer_of(self.model).theta(self.images)
        self.parameters.append(theta.numpy().reshape(-1, 6))

    def on_train_begin(self, logs: dict | None = None) -> None:
        self.look()

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        self.look()


def transformer_of(model: keras.Sequential) -> tf_stn.SpatialTransformer:
    return model.get_layer("transformer")


def inputs_of_transformer(model: keras.Sequential, images: np.ndarray) -> tf.Tensor:
    images = tf.constant(images)
    for layer in model.layers[: model.layers.index(transformer_of(model))]:
        images = layer(images)
    return images


class Result(NamedTuple):
    """What came of a training.

    Attributes:
      images: What the transformer is given of the probes, `[probes, height, width, 1]`.
      outputs: What it makes of them.
      steps: When the transformer was looked at, `[looks]`.
      parameters: For each look and probe, `[looks, probes, 6]`.
      outside: The fraction of the points outside the image, `[looks]`.
      silent: The fraction of the localisation net's features that are zero for all probes.
      accuracy: On the test digits.
    """

    images: np.ndarray
    outputs: np.ndarray
    steps: np.ndarray
    parameters: np.ndarray
    outside: np.ndarray
    silent: float
    accuracy: float

    def curve(self, name: str) -> np.ndarray:
        if name == OUTSIDE:
            return self.outside
        if name == MOVED:
            return np.abs(self.parameters - START).mean(axis=(1, 2))
        return self.parameters[:, 0, 2]  # ONE_SHIFT

    def measures(self) -> dict[str, float]:
        late = self.parameters[len(self.parameters) // 2 :]
        return {
            "accuracy": self.accuracy,
            "outside": self.outside[-1],
            "moved": self.curve(MOVED)[-1],
            "change in 10 steps": np.abs(np.diff(late, axis=0)).mean(),
            "spread over images": self.parameters[-1].std(axis=0).mean(),
            "silent units": self.silent,
        }


def train(recipe: Recipe, seed: int, epochs: int) -> Result:
    keras.utils.set_random_seed(seed)
    data, model = load(seed), recipe.model()
    transformer = transformer_of(model)
    images = inputs_of_transformer(model, recipe.white * data.test_images[:PROBES])
    model.compile(
        recipe.optimizer(),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        steps_per_execution=EVERY,
    )
    watch = Watch(images)
    model.fit(
        recipe.white * data.images,
        data.labels,
        BATCH,
        epochs=epochs,
        verbose=0,
        callbacks=[watch],
    )
    size = images.shape[1:3]
    outside = [
        np.mean(
            tf_stn.metrics.fraction_outside(
                tf_stn.affine_grid(each, recipe.output_size, size), size
            )
        )
        for each in watch.parameters
    ]
    test = recipe.white * data.test_images
    accuracy = model.evaluate(test, data.test_labels, 500, verbose=0)[1]
    looks = np.array(watch.steps), np.array(watch.parameters), np.array(outside)
    silent = np.mean(np.all(transformer.localisation(images) == 0, axis=0))
    return Result(images.numpy(), transformer(images).numpy(), *looks, silent, accuracy)


def draw_curves(axes: plt.Axes, symptom: Symptom, results: dict[str, list[Result]]) -> None:
    """Draws a line for each training, those of a recipe in one colour, a cross where it is NaN."""
    largest = 0.0
    for number, runs in enumerate(results.values()):
        for run in runs[:1] if symptom.curve == ONE_SHIFT else runs:
            curve = run.curve(symptom.curve)
            axes.plot(run.steps, curve, color=f"C{number}", linewidth=1.2)
            finite = np.flatnonzero(np.isfinite(curve))
            if len(finite) < len(curve):
                axes.plot(run.steps[finite[-1]], curve[finite[-1]], "x", color=f"C{number}")
            largest = max(largest, np.abs(curve[finite]).max())
    if largest > 3:
        axes.set_yscale("symlog", linthresh=1)
    axes.set(xlabel="step", ylabel=symptom.curve)
    axes.grid(linewidth=0.3)


def outline(result: Result, probe: int) -> np.ndarray:
    """Returns the corners of what is sampled of an image, closed, `[5, 2]` in pixels."""
    size = result.images.shape[1:3]
    warp = tf_stn.affine_grid(result.parameters[-1, probe : probe + 1], (2, 2), size)[0].numpy()
    return warp[[0, 0, 1, 1, 0], [0, 1, 1, 0, 0]]


def show(axes: plt.Axes, image: np.ndarray, brightest: float = 1.0) -> None:
    """Draws an image in grey, NaN in red."""
    greys = matplotlib.colormaps["gray"].with_extremes(bad="red")
    axes.imshow(image, cmap=greys, vmin=0, vmax=brightest)
    axes.set(xticks=[], yticks=[])


def draw_digit(column: np.ndarray, runs: list[Result]) -> None:
    """Draws a probe with the outline of what is sampled, and below it what comes out."""
    result, probe = runs[0], 0
    image = result.images[probe, ..., 0]
    above, below = column
    show(above, image, image.max())
    above.plot(*outline(result, probe).T, color="orange", linewidth=1.2)
    height, width = image.shape
    above.set(xlim=(-0.25 * width, 1.25 * width), ylim=(1.25 * height, -0.25 * height))
    above.set_facecolor("lightgrey")
    show(below, result.outputs[probe, ..., 0], image.max())
    right = [100 * run.accuracy for run in runs]
    below.set_xlabel(
        f"{np.mean(right):.0f} % right\n({min(right):.0f} to {max(right):.0f})", fontsize=8
    )


def save(figure: plt.Figure, path: pathlib.Path) -> None:
    """Saves a figure in few colours, which makes a small file."""
    figure.savefig(path, dpi=110)
    plt.close(figure)
    with PIL.Image.open(path) as picture:
        few_colours = picture.convert("RGB").quantize(COLOURS_IN_FILE)
    few_colours.save(path, optimize=True)


def draw(symptom: Symptom, results: dict[str, list[Result]], path: pathlib.Path) -> None:
    figure = plt.figure(figsize=(11, 3.4), layout="constrained")
    figure.suptitle(symptom.title, fontsize=11)
    left, right = figure.subfigures(1, 2, width_ratios=[1, 1.7])
    axes = left.subplots()
    draw_curves(axes, symptom, results)
    columns = right.subplots(2, len(results), squeeze=False)
    for number, (name, runs) in enumerate(results.items()):
        draw_digit(columns[:, number], runs)
        columns[0, number].set_title(name, fontsize=7, color=f"C{number}")
    columns[0, 0].set_ylabel("input and what\nis sampled", fontsize=8)
    columns[1, 0].set_ylabel("output", fontsize=8)
    save(figure, path)


Measures = dict[str, dict[str, list[float]]]  # By recipe and name, of every seed.


def reproduce(name: str, path: pathlib.Path, seeds: int, epochs: int) -> Measures:
    """Trains what a symptom compares, draws it and returns what was measured."""
    results = {
        recipe: [train(how, seed, epochs) for seed in range(seeds)]
        for recipe, how in SYMPTOMS[name].recipes.items()
    }
    draw(SYMPTOMS[name], results, path)
    return {
        recipe: {key: [run.measures()[key] for run in runs] for key in runs[0].measures()}
        for recipe, runs in results.items()
    }


def blurred(images: tf.Tensor, width: int) -> tf.Tensor:
    """Returns means over squares of `width` pixels, of such means."""
    for _ in range(2):
        images = tf.nn.avg_pool2d(images, width, 1, "SAME")
    return images


def find_shifts(images: tf.Tensor, targets: tf.Tensor, steps: int) -> tf.Tensor:
    """Returns for each image the translation by which it comes to be like its target."""
    translation = tf_stn.transformations.Translation()
    shifts = tf.Variable(tf.zeros([len(images), 2]))
    optimizer = keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.03, steps))
    for _ in range(steps):
        with tf.GradientTape() as tape:
            moved = tf_stn.affine_resampler(images, translation.matrix(shifts))
            loss = tf.reduce_sum((moved - targets) ** 2)
        optimizer.apply([tape.gradient(loss, shifts)], [shifts])
    return tf.convert_to_tensor(shifts)


def far(path: pathlib.Path, seeds: int, epochs: int) -> Measures:
    """From how far a digit is found by the gradients of the sampler alone."""
    found, pictures = {name: [] for name in WIDTHS}, {}
    for seed in range(seeds):
        images, targets, shifts = shifted_digits(seed)
        distances = np.linalg.norm(shifts, axis=-1)
        for name, width in WIDTHS.items():
            pair = [blurred(each, width) for each in (images, targets)]
            result = find_shifts(*pair, steps=20 * epochs) * (FAR_CANVAS - 1) / 2
            is_found = np.linalg.norm(result - shifts, axis=-1) < 1
            found[name].append([is_found[np.isclose(distances, d)].mean() for d in DISTANCES])
            pictures[name] = [each[-1, ..., 0] for each in pair]
    draw_far(found, pictures, path)
    return {
        name: {f"{d} pixels": [run[i] for run in runs] for i, d in enumerate(DISTANCES)}
        for name, runs in found.items()
    }


def shifted_digits(seed: int) -> tuple[tf.Tensor, tf.Tensor, np.ndarray]:
    """Returns digits in the middle, the same shifted, and by how many pixels, `[count, 2]`."""
    rng = np.random.default_rng(seed)
    digits = all_digits().images[seed * FAR_DIGITS : (seed + 1) * FAR_DIGITS]
    margin = (FAR_CANVAS - DIGIT) // 2
    images = np.pad(digits, [(0, 0), (margin, margin), (margin, margin), (0, 0)])
    images = tf.constant(np.tile(images, [len(DISTANCES), 1, 1, 1]))
    angles = rng.uniform(0, 2 * np.pi, len(images))
    distances = np.repeat(np.array(DISTANCES), FAR_DIGITS)
    shifts = distances[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    shifts = shifts.astype(np.float32)
    theta = tf_stn.transformations.Translation().matrix(tf.constant(2 * shifts / (FAR_CANVAS - 1)))
    return images, tf_stn.affine_resampler(images, theta), shifts


def draw_far(found: dict[str, list], pictures: dict[str, list], path: pathlib.Path) -> None:
    figure = plt.figure(figsize=(10, 3.3), layout="constrained")
    figure.suptitle("It never moves (too far away: gradients see the next pixels)", fontsize=11)
    left, right = figure.subfigures(1, 2, width_ratios=[1, 1.2])
    axes = left.subplots()
    for number, (name, runs) in enumerate(found.items()):
        for run in runs:
            label = name if run is runs[0] else None
            axes.plot(DISTANCES, run, ".-", color=f"C{number}", linewidth=1.2, label=label)
    axes.set(xlabel="pixels from the image to the target", ylabel="found within a pixel")
    axes.set_ylim(-0.03, 1.03)
    axes.grid(linewidth=0.3)
    axes.legend(fontsize=7)
    columns = right.subplots(2, len(pictures), squeeze=False)
    for column, (name, pair) in zip(columns.T, pictures.items()):
        column[0].set_title(name, fontsize=8)
        for cell, image in zip(column, pair):
            show(cell, image, image.numpy().max())
    columns[0, 0].set_ylabel("image", fontsize=8)
    columns[1, 0].set_ylabel("target", fontsize=8)
    save(figure, path)


def mosaic() -> tf.Tensor:
    """Returns an image of 512x512 pixels, full of digits, `[1, 512, 512, 1]`."""
    side = -(-LARGE // DIGIT)
    digits = all_digits().images[: side * side, ..., 0].reshape(side, side, DIGIT, DIGIT)
    picture = digits.swapaxes(1, 2).reshape(side * DIGIT, side * DIGIT)
    return tf.constant(picture[None, :LARGE, :LARGE, None])


def sampled_by(name: str, images: tf.Tensor, theta: np.ndarray) -> tf.Tensor:
    """Samples with coordinates of a type, or as the layer does under mixed precision."""
    if name in LAYERS:
        features = keras.layers.GlobalAveragePooling2D()
        layer = tf_stn.SpatialTransformer(features, dtype=LAYERS[name])
        layer.build(images.shape)
        layer.head.bias.assign(theta)
        return tf.cast(layer(images), tf.float64)
    warp = tf_stn.affine_grid(tf.constant(theta[None]), (LARGE, LARGE), (LARGE, LARGE))
    warp = tf.cast(tf.cast(warp, COORDINATES[name]), tf.float64)
    return tf_stn.resampler(tf.cast(images, tf.float64), warp)


def half(path: pathlib.Path, seeds: int, epochs: int) -> Measures:
    """What coordinates in half precision do to an image of 512 pixels; nothing is trained."""
    images, measures, samples = mosaic(), {}, {}
    for seed in range(seeds):
        change = np.random.default_rng(seed).uniform(-0.02, 0.02, 6)
        theta = START.astype(np.float64) + change
        exact = tf_stn.affine_resampler(tf.cast(images, tf.float64), theta[None])
        for name in (*COORDINATES, *LAYERS):
            sample = sampled_by(name, images, theta)
            errors = measures.setdefault(name, {"mean error": [], "largest error": []})
            errors["mean error"].append(float(tf.reduce_mean(abs(sample - exact))))
            errors["largest error"].append(float(tf.reduce_max(abs(sample - exact))))
            samples.setdefault(name, sample)
    draw_half(samples, measures, path)
    return measures


def draw_half(samples: dict[str, tf.Tensor], measures: Measures, path: pathlib.Path) -> None:
    """Draws the lower right of each, where coordinates are large."""
    figure, axes = plt.subplots(1, len(samples), figsize=(10, 2.6), layout="constrained")
    figure.suptitle("Half precision: coordinates miss pixels", fontsize=11)
    for cell, (name, sample) in zip(axes, samples.items()):
        show(cell, sample[0, -DIGIT * 3 - 8 : -8, -DIGIT * 3 - 8 : -8, 0])
        cell.set_title(name, fontsize=8)
        cell.set_xlabel(f"mean error {np.mean(measures[name]['mean error']):.1e}", fontsize=8)
    save(figure, path)


EXPERIMENTS = {name: functools.partial(reproduce, name) for name in SYMPTOMS}
EXPERIMENTS |= {"far": far, "half": half}


def table(measures: Measures) -> str:
    """Returns means and ranges over the seeds, as text."""
    lines = []
    for name, values in measures.items():
        lines.append("  " + name.replace("\n", ", "))
        for key, runs in values.items():
            lines.append(
                f"    {key:<20}{np.mean(runs):10.3g}  ({min(runs):.3g} to {max(runs):.3g})"
            )
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--output",
        type=pathlib.Path,
        default=pathlib.Path("docs/pictures"),
        help="folder for the figures",
    )
    parser.add_argument("--only", nargs="+", choices=EXPERIMENTS, help="default: all")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="default: %(default)s")
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="default: %(default)s")
    options = parser.parse_args(arguments)
    for name in ("seeds", "epochs"):
        if getattr(options, name) < 1:
            parser.error(f"--{name} must be at least 1, received {getattr(options, name)}")
    options.output.mkdir(parents=True, exist_ok=True)
    tf.config.experimental.enable_op_determinism()
    for name in options.only or EXPERIMENTS:
        path = options.output / f"training_{name}.png"
        measures = EXPERIMENTS[name](path, options.seeds, options.epochs)
        print(f"{name}: {path}\n{table(measures)}", flush=True)


if __name__ == "__main__":
    main()
