"""What is measured: the images, where they are sampled, and what must come out.

NumPy alone, and seeded: one process makes the arrays and saves them, every peer loads the same.
"""

import dataclasses
import pathlib

import numpy as np

ROWS = ("forward", "backward", "train")


@dataclasses.dataclass(frozen=True)
class Workload:
    """Images `[batch, height, width, channels]` and how they are sampled."""

    shape: tuple[int, int, int, int]
    output_size: tuple[int, int]
    points: str  # "affine", "smooth" or "random".

    @property
    def grid_bytes(self) -> int:
        """Size of the coordinates of all points, float32."""
        return self.shape[0] * self.output_size[0] * self.output_size[1] * 2 * 4

    @property
    def moved_bytes(self) -> int:
        """Size of the images, the coordinates and the samples."""
        batch, height, width, channels = self.shape
        pixels = height * width + self.output_size[0] * self.output_size[1]
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
ONE_CALL = Workload((1, 4, 4, 1), (4, 4), "affine")  # As small as a call can be.
TINY = Workload((2, 9, 8, 2), (6, 7), "affine")  # For the tests of the benchmark itself.
EVERY = {**WORKLOADS, "one call": ONE_CALL, "tiny": TINY}


def _affine_theta(batch: int, rng: np.random.Generator) -> np.ndarray:
    """Returns θ, `[batch, 2, 3]`: rotated by ±45°, scaled by 0.7 to 1.2, shifted by ±0.2."""
    angle = rng.uniform(-np.pi / 4, np.pi / 4, batch)
    scale = rng.uniform(0.7, 1.2, batch)
    x, y = rng.uniform(-0.2, 0.2, [2, batch])
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    return np.stack([cos, -sin, x, sin, cos, y], axis=1).reshape(batch, 2, 3)


def _normalised_grid(size: tuple[int, int]) -> np.ndarray:
    """Returns `(x, y, 1)` of the pixels of an image, `[height, width, 3]`, in [-1, 1]."""
    y, x = np.meshgrid(*(np.linspace(-1, 1, side) for side in size), indexing="ij")
    return np.stack([x, y, np.ones_like(x)], axis=-1)


def _half_span(shape: tuple[int, ...]) -> np.ndarray:
    """Returns how many pixels a unit of the normalised coordinates (x, y) is."""
    return (np.array([shape[2], shape[1]]) - 1) / 2


def _affine_warp(theta: np.ndarray, workload: Workload) -> np.ndarray:
    points = np.einsum("nij,hwj->nhwi", theta, _normalised_grid(workload.output_size))
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
    theta = np.tile(np.eye(2, 3), (workload.shape[0], 1, 1))
    if workload.points == "affine":
        theta = _affine_theta(workload.shape[0], rng)
        warp = _affine_warp(theta, workload)
    elif workload.points == "smooth":
        warp = _smooth_warp(workload)
    else:
        warp = _random_warp(workload, rng)
    samples = [workload.shape[0], *workload.output_size, workload.shape[3]]
    return {
        "data": rng.random(workload.shape, np.float32),
        "theta": theta.astype(np.float32),
        "warp": warp.astype(np.float32),
        "grad_output": rng.standard_normal(samples, np.float32),
    }


def _resample(
    data: np.ndarray, warp: np.ndarray, grad_output: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the samples of one image, the gradient in its pixels and that in its points."""
    height, width, channels = data.shape
    image = data.reshape(-1, channels)
    low = np.floor(warp)
    fraction = (warp - low).astype(np.float64)
    output = np.zeros(grad_output.shape)
    grad_warp = np.zeros(warp.shape)
    grad_data = np.zeros(data.size)
    for right in (0, 1):
        for below in (0, 1):
            x, y = (low + np.array([right, below])).astype(np.int64).transpose(2, 0, 1)
            inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
            pixel = np.where(inside, y * width + x, 0)
            of_x = fraction[..., 0] if right else 1 - fraction[..., 0]
            of_y = fraction[..., 1] if below else 1 - fraction[..., 1]
            value = image[pixel] * inside[..., None]
            weight = (of_x * of_y * inside)[..., None]
            output += weight * value
            along = (value * grad_output).sum(axis=-1)
            grad_warp[..., 0] += (1 if right else -1) * of_y * along
            grad_warp[..., 1] += (1 if below else -1) * of_x * along
            elements = pixel[..., None] * channels + np.arange(channels)
            grad_data += np.bincount(
                elements.ravel(), (weight * grad_output).ravel(), minlength=data.size
            )
    return output, grad_data.reshape(data.shape), grad_warp


def expected_results(
    workload: Workload, inputs: dict[str, np.ndarray]
) -> dict[str, dict[str, np.ndarray]]:
    """Returns what each row must compute, by row and name, float32; outside are zeros."""
    images = zip(inputs["data"], inputs["warp"], inputs["grad_output"])
    output, grad_data, grad_warp = (np.stack(x) for x in zip(*(_resample(*i) for i in images)))
    if workload.points == "affine":
        grad_points = grad_warp * _half_span(workload.shape)
        grid = _normalised_grid(workload.output_size)
        train = {
            "output": output,
            "grad_data": grad_data,
            "grad_theta": np.einsum("nhwi,hwj->nij", grad_points, grid),
        }
    else:
        # Under the identity every point is on a pixel centre, where the gradient in θ is a matter
        # of taste: right-hand for some, of either side for others.
        train = {"output": inputs["data"], "grad_data": inputs["grad_output"]}
    results = {
        "forward": {"output": output},
        "backward": {"grad_data": grad_data, "grad_warp": grad_warp},
        "train": train,
    }
    return {
        row: {name: x.astype(np.float32) for name, x in arrays.items()}
        for row, arrays in results.items()
    }


def save(folder: pathlib.Path, workload: Workload) -> None:
    """Writes the inputs, and what must come out, as `.npy` files into `folder`."""
    folder.mkdir(parents=True)
    inputs = make_inputs(workload)
    for name, array in inputs.items():
        np.save(folder / f"{name}.npy", array)
    for row, arrays in expected_results(workload, inputs).items():
        for name, array in arrays.items():
            np.save(folder / f"{row}.{name}.npy", array)


def load_inputs(folder: pathlib.Path) -> dict[str, np.ndarray]:
    return {path.stem: np.load(path) for path in folder.glob("*.npy") if "." not in path.stem}


def worst_error(results: dict[str, np.ndarray], folder: pathlib.Path, row: str) -> float:
    """Returns how far `results` are from what must come out, relative, on average.

    The mean and not the maximum: where a point is within rounding of a pixel centre, the gradient
    jumps from one side's to the other's.
    """
    errors = []
    for path in folder.glob(f"{row}.*.npy"):
        expected = np.load(path)
        actual = results[path.stem.removeprefix(f"{row}.")]
        if actual.shape != expected.shape:
            return float("inf")
        errors.append(np.abs(actual - expected).mean() / np.abs(expected).mean())
    return float(max(errors))
