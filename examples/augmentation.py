"""Augments photos in tf.data by random affine transformations, and measures ways to write that.

    python examples/augmentation.py            # prints the tables
    python examples/augmentation.py --quick    # rough figures, sooner
    python examples/augmentation.py --page docs/how_to/input_pipelines.md    # writes them there

Crops of the photos that scikit-image ships are turned, scaled, shifted and mirrored at random: with
one call of tf_stn.affine_resampler for each batch or for each image, with TensorFlow's
ImageProjectiveTransformV3, which computes the same, and with Keras's layers, one after the other.
Each way has turns in every round, and the tables have the medians. The machine should have nothing
else to do meanwhile; the CPU's time, of all threads together, suffers less from company.
"""

import argparse
import dataclasses
import os
import pathlib
import re
import statistics
import time
from collections.abc import Callable

import keras
import numpy as np
import skimage.data
import tensorflow as tf
from tqdm import tqdm

import tf_stn

TURN, SCALE, SHIFT = np.pi / 12, 0.2, 0.1  # The most of each: radians, a part, half images.
PHOTOS = ("astronaut", "chelsea", "coffee", "rocket")
PARALLEL_CALLS = {"map": None, "2 parallel calls": 2, "AUTOTUNE": tf.data.AUTOTUNE}


def load_photos(count: int, size: int) -> np.ndarray:
    """Returns random square crops of photos, uint8 `[count, size, size, 3]`."""
    photos = [getattr(skimage.data, name)() for name in PHOTOS]
    rng = np.random.default_rng(0)
    crops = []
    for number in range(count):
        photo = photos[number % len(photos)]
        top, left = (rng.integers(0, side - size + 1) for side in photo.shape[:2])
        crops.append(photo[top : top + size, left : left + size])
    return np.stack(crops)


def random_affine(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Returns a random θ for each image, `[batch, 2, 3]`: the same for the same seed, `[2]`."""
    count = tf.shape(images)[0]
    scale, angle, x, y, mirror = tf.unstack(
        tf.random.stateless_uniform([5, count], seed, minval=-1, maxval=1)
    )
    parameters = tf.stack([1 + SCALE * scale, TURN * angle, SHIFT * x, SHIFT * y], axis=-1)
    theta = tf_stn.transformations.Similarity().matrix(parameters, images)
    one = tf.ones_like(mirror)
    return theta * tf.stack([tf.sign(mirror), one, one], axis=-1)[:, None]


def to_float(images: tf.Tensor) -> tf.Tensor:
    """Returns uint8 images as numbers in [0, 1]."""
    return tf.cast(images, tf.float32) / 255


def augment(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Returns a batch of images under random transformations."""
    theta = random_affine(images, seed)
    return tf_stn.affine_resampler(to_float(images), theta, padding="symmetric")


def augment_one(image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    return augment(image[None], seed)[0]


def augment_by_projection(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """The same images by TensorFlow's op, which takes matrices in pixels."""
    height, width = images.shape[1:3]
    x, y = (width - 1) / 2, (height - 1) / 2
    to_pixels = tf.constant([[x, 0, x], [0, y, y], [0, 0, 1]])
    theta = random_affine(images, seed)
    matrix = to_pixels[:2, :2] @ theta @ tf.linalg.inv(to_pixels)
    matrix += tf.constant([[0, 0, x], [0, 0, y]])
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=to_float(images),
        transforms=tf.pad(tf.reshape(matrix, [-1, 6]), [[0, 0], [0, 2]]),
        output_shape=(height, width),
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="REFLECT",
    )


def keras_augmentation() -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """Returns Keras's layers for the same: a pass over the images for each."""
    layers = [
        keras.layers.RandomFlip("horizontal"),
        keras.layers.RandomRotation(TURN / (2 * np.pi)),
        keras.layers.RandomZoom(SCALE),
        keras.layers.RandomTranslation(SHIFT / 2, SHIFT / 2),
    ]

    def augment_by_layers(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        images = to_float(images)
        for layer in layers:
            images = layer(images, training=True)
        return images

    return augment_by_layers


def with_seeds(data: tf.data.Dataset, seed: int) -> tf.data.Dataset:
    """Pairs each element with a seed of its own, another one in every epoch."""
    seeds = tf.data.Dataset.random(seed=seed, rerandomize_each_iteration=True).batch(2)
    return tf.data.Dataset.zip(data, seeds)


def batches_then_map(
    photos: np.ndarray, function: Callable, batch: int, parallel_calls: int | None, seed: int
) -> tf.data.Dataset:
    """Returns batches of augmented photos, from one call of `function` for each batch."""
    data = tf.data.Dataset.from_tensor_slices(photos).shuffle(len(photos), seed=seed).repeat()
    data = with_seeds(data.batch(batch, drop_remainder=True), seed)
    return data.map(function, num_parallel_calls=parallel_calls).prefetch(2)


def map_then_batches(
    photos: np.ndarray, function: Callable, batch: int, parallel_calls: int | None, seed: int
) -> tf.data.Dataset:
    """The same from one call of `function` for each photo."""
    data = tf.data.Dataset.from_tensor_slices(photos).shuffle(len(photos), seed=seed).repeat()
    data = with_seeds(data, seed).map(function, num_parallel_calls=parallel_calls)
    return data.batch(batch, drop_remainder=True).prefetch(2)


@dataclasses.dataclass(frozen=True)
class Way:
    """A way to augment, by the name it has in the table."""

    name: str
    pipeline: Callable[..., tf.data.Dataset]
    function: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


def all_ways() -> list[Way]:
    return [
        Way("`tf_stn`, a call for each batch", batches_then_map, augment),
        Way("`tf_stn`, a call for each image", map_then_batches, augment_one),
        Way("`ImageProjectiveTransformV3`, by batch", batches_then_map, augment_by_projection),
        Way("Keras: flip, rotation, zoom, translation", batches_then_map, keras_augmentation()),
        Way("no augmentation: float32 alone", batches_then_map, lambda images, _: to_float(images)),
    ]


@dataclasses.dataclass(frozen=True)
class Turn:
    """What one turn gave."""

    images_per_second: float
    cpu_seconds_per_image: float


def take_turn(data: tf.data.Dataset, seconds: float) -> Turn:
    """Takes batches for as long; the first one, which starts everything, is extra."""
    iterator = iter(data)
    batch = len(next(iterator))
    start, cpu_start = time.perf_counter(), time.process_time()
    images = elapsed = 0
    while elapsed < seconds:
        next(iterator)
        images += batch
        elapsed = time.perf_counter() - start
    return Turn(images / elapsed, (time.process_time() - cpu_start) / images)


def measure(photos: np.ndarray, options: argparse.Namespace) -> dict[str, list[Turn]]:
    """Returns the medians of each way, in the order of PARALLEL_CALLS."""
    data = {
        way.name: [
            way.pipeline(photos, way.function, options.batch, calls, seed=0)
            for calls in PARALLEL_CALLS.values()
        ]
        for way in all_ways()
    }
    turns = {name: [[] for _ in pipelines] for name, pipelines in data.items()}
    for _ in tqdm(range(options.rounds), desc=f"rounds of {photos.shape[1]} pixels"):
        for name, pipelines in data.items():
            for column, pipeline in zip(turns[name], pipelines):
                column.append(take_turn(pipeline, options.seconds))
    return {name: [median(column) for column in columns] for name, columns in turns.items()}


def median(turns: list[Turn]) -> Turn:
    return Turn(*(statistics.median(figures) for figures in zip(*map(dataclasses.astuple, turns))))


def table(medians: dict[str, list[Turn]]) -> str:
    """Returns Markdown: images per second, as multiples of the first too, and the CPU's time."""
    unit = next(iter(medians.values()))[0].images_per_second
    columns = ["images per second", *PARALLEL_CALLS, "CPU, ms for 1000"]
    lines = [columns, ["---", *["---:"] * (len(columns) - 1)]]
    for name, (sequential, *parallel) in medians.items():
        speeds = (turn.images_per_second for turn in (sequential, *parallel))
        cells = [f"{speed:,.0f} ({speed / unit:.2f}x)" for speed in speeds]
        # Seconds for one are thousands of milliseconds for a thousand.
        lines.append([name, *cells, f"{sequential.cpu_seconds_per_image * 1e6:,.0f}"])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def report(options: argparse.Namespace) -> str:
    """Measures; returns a table for each size, and below them what they were measured with."""
    parts, load = [], os.getloadavg()[0]
    for size in options.sizes:
        photos = load_photos(4 * options.batch, size)
        parts.append(f"**{size}×{size} pixels**\n\n{table(measure(photos, options))}")
    parts.append(
        f"{os.cpu_count()} processors, load {load:.1f} before; TensorFlow {tf.__version__}, Keras "
        f"{keras.__version__}; batches of {options.batch}; medians of {options.rounds} turns of "
        f"{options.seconds:g} s."
    )
    return "\n\n".join(parts)


def write_into(page: pathlib.Path, text: str) -> None:
    """Replaces what is between the marks `<!-- throughput -->` and `<!-- end -->` of a page."""
    marks = r"(<!-- throughput -->\n).*(<!-- end -->\n)"
    new, count = re.subn(
        marks, lambda m: f"{m[1]}{text}\n{m[2]}", page.read_text(), flags=re.DOTALL
    )
    if count != 1:
        raise SystemExit(f"{page} must have the marks <!-- throughput --> and <!-- end --> once")
    page.write_text(new)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=[32, 224], help="pixels along a side of a photo"
    )
    parser.add_argument("--batch", type=int, default=64, help="photos in a batch")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each way")
    parser.add_argument("--seconds", type=float, default=1.0, help="how long a turn takes")
    parser.add_argument("--quick", action="store_true", help="2 rounds of 0.2 s")
    parser.add_argument("--page", type=pathlib.Path, help="where to write the tables")
    options = parser.parse_args(arguments)
    if options.quick:
        options.rounds, options.seconds = 2, 0.2
    for name, value in (("batch", options.batch), ("rounds", options.rounds)):
        if value < 1:
            parser.error(f"--{name} must be at least 1, received {value}")
    if not all(1 <= size <= 300 for size in options.sizes):  # That of the smallest photo.
        parser.error(f"--sizes must be from 1 to 300, received {options.sizes}")
    text = report(options)
    print(text)
    if options.page:
        write_into(options.page, text)


if __name__ == "__main__":
    main()
