"""What is measured: the images, where they are sampled, and what must come out.

NumPy alone, and seeded: one process makes the arrays and saves them, every peer loads the same.
"""

import contextlib
import dataclasses
import math
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy_sampler

ROWS = ("forward", "backward", "train")
ORDERS = ("first-order", "second-order")


@dataclasses.dataclass(frozen=True)
class Workload:
    """Images `[batch, height, width, channels]`, or volumes, and how they are sampled.

    Attributes:
      shape: Of the images, or `[batch, depth, height, width, channels]`.
      output_size: (height, width), or (depth, height, width).
      points: "affine", "smooth" or "random"; the last two for images alone.
    """

    shape: tuple[int, ...]
    output_size: tuple[int, ...]
    points: str

    @property
    def rank(self) -> int:
        """Number of spatial axes."""
        return len(self.output_size)

    @property
    def grid_bytes(self) -> int:
        """Size of the coordinates of all points, float32."""
        return self.shape[0] * math.prod(self.output_size) * self.rank * 4

    @property
    def moved_bytes(self) -> int:
        """Size of the images, the coordinates and the samples."""
        batch, *size, channels = self.shape
        pixels = math.prod(size) + math.prod(self.output_size)
        return batch * pixels * channels * 4 + self.grid_bytes


WORKLOADS = {
    "mnist": Workload((64, 28, 28, 1), (28, 28), "affine"),
    "mnist60": Workload((256, 60, 60, 1), (28, 28), "affine"),
    "rgb": Workload((16, 224, 224, 3), (224, 224), "affine"),
    "feat64": Workload((16, 56, 56, 64), (28, 28), "affine"),
    "feat256": Workload((16, 28, 28, 256), (14, 14), "affine"),
    "flow1080": Workload((1, 1080, 1920, 3), (1080, 1920), "smooth"),
    "flow4k": Workload((1, 2160, 3840, 1), (2160, 3840), "smooth"),
    "random": Workload((8, 64, 64, 32), (64, 64), "random"),
}
VOLUMES = {
    "scan": Workload((2, 96, 96, 96, 1), (96, 96, 96), "affine"),
    "feat16": Workload((1, 64, 64, 64, 16), (64, 64, 64), "affine"),
}
ONE_CALL = Workload((1, 4, 4, 1), (4, 4), "affine")  # As small as a call can be.
TINY = Workload((2, 9, 8, 2), (6, 7), "affine")  # For the tests of the benchmark itself.
TINY_VOLUME = Workload((2, 5, 6, 7, 2), (4, 5, 6), "affine")  # The same.
EVERY = {
    **WORKLOADS,
    **VOLUMES,
    "one call": ONE_CALL,
    "tiny": TINY,
    "tiny-volume": TINY_VOLUME,
}


def _affine_theta(batch: int, rank: int, rng: np.random.Generator) -> np.ndarray:
    """Returns θ, `[batch, rank, rank + 1]`: rotated by ±45°, scaled by 0.7 to 1.2, shifted by ±0.2.

    Volumes are rotated in the plane of x and y, and then in that of y and z.
    """
    linear = np.eye(rank) * rng.uniform(0.7, 1.2, [batch, 1, 1])
    for axis in range(rank - 1):
        angle = rng.uniform(-np.pi / 4, np.pi / 4, batch)
        rotation = np.tile(np.eye(rank), (batch, 1, 1))
        rotation[:, axis, axis] = rotation[:, axis + 1, axis + 1] = np.cos(angle)
        rotation[:, axis + 1, axis] = np.sin(angle)
        rotation[:, axis, axis + 1] = -np.sin(angle)
        linear = rotation @ linear
    return np.concatenate([linear, rng.uniform(-0.2, 0.2, [batch, rank, 1])], axis=-1)


def _normalised_grid(size: tuple[int, ...]) -> np.ndarray:
    """Returns `(x, y[, z], 1)` of the pixels of an image, `[*size, rank + 1]`, in [-1, 1]."""
    axes = np.meshgrid(*(np.linspace(-1, 1, side) for side in size), indexing="ij")
    return np.stack([*axes[::-1], np.ones(size)], axis=-1)


def _half_span(shape: tuple[int, ...]) -> np.ndarray:
    """Returns how many pixels a unit of the normalised coordinates (x, y[, z]) is."""
    return (np.array(shape[-2:0:-1]) - 1) / 2


def _affine_warp(theta: np.ndarray, workload: Workload) -> np.ndarray:
    points = np.einsum("nij,...j->n...i", theta, _normalised_grid(workload.output_size))
    return (points + 1) * _half_span(workload.shape)


def _smooth_warp(workload: Workload) -> np.ndarray:
    """Returns every pixel's own place, displaced by waves of up to eight pixels."""
    batch, height, width, _ = workload.shape
    y, x = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    dx = 8 * np.sin(2 * np.pi * (1.5 * x / width + 2 * y / height))
    dy = 6 * np.cos(2 * np.pi * (2 * x / width - 1.5 * y / height))
    return np.broadcast_to(np.stack([x + dx, y + dy], axis=-1), (batch, height, width, 2))


def _random_warp(workload: Workload, rng: np.random.Generator) -> np.ndarray:
    batch, height, width, _ = workload.shape
    return rng.uniform(0, [width - 1, height - 1], [batch, *workload.output_size, 2])


def make_inputs(workload: Workload, seed: int = 0) -> dict[str, np.ndarray]:
    """Returns `data`, `theta`, `warp` and `grad_output`, float32.

    θ is that of `warp` where that is affine, otherwise the identity.
    """
    rng = np.random.default_rng(seed)
    batch, rank = workload.shape[0], workload.rank
    theta = np.tile(np.eye(rank, rank + 1), (batch, 1, 1))
    if workload.points == "affine":
        theta = _affine_theta(batch, rank, rng)
        warp = _affine_warp(theta, workload)
    elif workload.points == "smooth":
        warp = _smooth_warp(workload)
    else:
        warp = _random_warp(workload, rng)
    samples = [batch, *workload.output_size, workload.shape[-1]]
    return {
        "data": rng.random(workload.shape, np.float32),
        "theta": theta.astype(np.float32),
        "warp": warp.astype(np.float32),
        "grad_output": rng.standard_normal(samples, np.float32),
    }


def expected_results(
    workload: Workload, inputs: dict[str, np.ndarray], row: str
) -> dict[str, np.ndarray]:
    """Returns what a row must compute, by name, float32.

    A row may name modes, as "forward cubic wrap"; without them it is linear, and zeros are outside.
    """
    kind, *modes = row.split()
    sampler = numpy_sampler.Sampler(inputs["data"], inputs["warp"], *modes)
    arrays = EXPECTED[kind](sampler, workload, inputs)
    return {name: x.astype(np.float32) for name, x in arrays.items()}


def _forward(sampler: numpy_sampler.Sampler, *_: Any) -> dict[str, np.ndarray]:
    return {"output": sampler.sample()}


def _backward(
    sampler: numpy_sampler.Sampler, _: Workload, inputs: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    grad_data, grad_warp = sampler.gradients(inputs["grad_output"])
    return {"grad_data": grad_data, "grad_warp": grad_warp}


def _train(
    sampler: numpy_sampler.Sampler, workload: Workload, inputs: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    if workload.points != "affine":
        # Under the identity every point is on a pixel centre, where the gradient in θ is a matter
        # of taste: right-hand for some, of either side for others.
        return {"output": inputs["data"], "grad_data": inputs["grad_output"]}
    grad_data, grad_warp = sampler.gradients(inputs["grad_output"])
    grad_points = grad_warp * _half_span(workload.shape)
    grid = _normalised_grid(workload.output_size)
    axes = range(workload.rank)
    grad_theta = np.stack([np.tensordot(x, grid, (axes, axes)) for x in grad_points])
    return {"output": sampler.sample(), "grad_data": grad_data, "grad_theta": grad_theta}


def _first_order(*arguments: Any) -> dict[str, np.ndarray]:
    return _forward(*arguments) | _backward(*arguments)


def _second_order(
    sampler: numpy_sampler.Sampler, workload: Workload, inputs: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    first = _first_order(sampler, workload, inputs)
    names = ("loss_grad_data", "loss_grad_warp", "loss_grad_grad_output")
    second = sampler.second_order(inputs["grad_output"], first["grad_data"], first["grad_warp"])
    return first | dict(zip(names, second))


EXPECTED = {
    "forward": _forward,
    "backward": _backward,
    "train": _train,
    "first-order": _first_order,
    "second-order": _second_order,
}


def save(folder: pathlib.Path, workload: Workload) -> None:
    """Writes the inputs as `.npy` files into `folder`."""
    folder.mkdir(parents=True)
    for name, array in make_inputs(workload).items():
        np.save(folder / f"{name}.npy", array)


@contextlib.contextmanager
def saved_results(folder: pathlib.Path, workload: Workload, row: str) -> Iterator[None]:
    """Writes what must come out of a row into `folder`, for as long as it is needed."""
    written = []
    try:
        for name, array in expected_results(workload, load_inputs(folder), row).items():
            written.append(folder / f"{row}.{name}.npy")
            np.save(written[-1], array)
        yield
    finally:
        for path in written:
            path.unlink()


def load_inputs(folder: pathlib.Path) -> dict[str, np.ndarray]:
    return {path.stem: np.load(path) for path in folder.glob("*.npy") if "." not in path.stem}


def worst_error(results: dict[str, np.ndarray], folder: pathlib.Path, row: str) -> float:
    """Returns how far `results` are from what `saved_results` says, relative, on average.

    The mean and not the maximum: where a point is within rounding of a pixel centre, the gradient
    jumps from one side's to the other's.
    """
    errors = []
    for path in folder.glob(f"{row}.*.npy"):
        expected = np.load(path)
        actual = results[path.stem.removeprefix(f"{row}.")]
        if actual.shape != expected.shape:
            return float("inf")
        scale = np.abs(expected).mean() or 1.0  # Some gradients are zero everywhere.
        errors.append(np.abs(actual - expected).mean() / scale)
    return float(max(errors))
