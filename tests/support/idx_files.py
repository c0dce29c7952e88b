"""Small image sets in files as those of Fashion-MNIST."""

import gzip
import pathlib

import numpy as np


def write_idx(path: pathlib.Path, values: np.ndarray, kind: int = 8) -> None:
    """Writes bytes in the format of MNIST; `kind` is the type that the file says they are of."""
    head = bytes([0, 0, kind, values.ndim]) + np.array(values.shape, ">u4").tobytes()
    path.write_bytes(gzip.compress(head + values.astype(np.uint8).tobytes()))


def write_examples(folder: pathlib.Path, training: int, test: int) -> None:
    """Writes so many images of noise, of the ten classes in turn."""
    rng = np.random.default_rng(0)
    for part, count in (("train", training), ("t10k", test)):
        images = rng.integers(0, 256, size=[count, 28, 28])
        write_idx(folder / f"{part}-images-idx3-ubyte.gz", images)
        write_idx(folder / f"{part}-labels-idx1-ubyte.gz", np.arange(count) % 10)
