"""Problems for property tests, and how many of them: few in `make test`, more in `make fuzz`."""

import dataclasses
import os

import hypothesis
import numpy as np
import tensorflow as tf
from hypothesis import strategies as st

from tf_stn._resampler import INTERPOLATIONS, PADDINGS

# None in `make test`, whose examples are the same in every run.
EXAMPLES = os.environ.get("FUZZ_EXAMPLES")

NAN, INF = float("nan"), float("inf")
DTYPES = ("float16", "bfloat16", "float32", "float64")


def examples(count: int) -> hypothesis.settings:
    """Returns the budget of a test: `count` examples, or FUZZ_EXAMPLES new ones."""
    return hypothesis.settings(
        max_examples=int(EXAMPLES) if EXAMPLES else count,
        derandomize=not EXAMPLES,
        database=None,
        deadline=None,  # The first call of an op takes longer.
        print_blob=True,
        suppress_health_check=list(hypothesis.HealthCheck),
    )


@dataclasses.dataclass
class Problem:
    """Inputs of the resampler as NumPy arrays, whose values are exact in the type of the op."""

    data: np.ndarray
    warp: np.ndarray
    grad_output: np.ndarray
    dtype: str
    interpolation: str
    padding: str
    fill: np.ndarray | None

    def __repr__(self) -> str:
        return (
            f"Problem({self.dtype}, {self.interpolation}, {self.padding}, "
            f"data={self.data.tolist()} of shape {self.data.shape}, "
            f"warp={self.warp.tolist()} of shape {self.warp.shape}, "
            f"grad_output={self.grad_output.tolist()}, "
            f"fill={None if self.fill is None else self.fill.tolist()})"
        )

    @property
    def modes(self) -> dict[str, str]:
        return {"interpolation": self.interpolation, "padding": self.padding}

    def tensors(self) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, list[tf.Tensor]]:
        """Returns data, warp, grad_output and fill_value as the ops take them."""
        coordinates = coordinate_type(self.dtype)
        return (
            tf.constant(self.data, self.dtype),
            tf.constant(self.warp, coordinates),
            tf.constant(self.grad_output, self.dtype),
            [] if self.fill is None else [tf.constant(self.fill, self.dtype)],
        )


def coordinate_type(dtype: str) -> str:
    return "float64" if dtype == "float64" else "float32"


def rounded(values: np.ndarray, dtype: str) -> np.ndarray:
    """Returns `values` as float64, rounded to `dtype`."""
    with np.errstate(all="ignore"):
        return (
            np.asarray(values, np.float64)
            .astype(tf.as_dtype(dtype).as_numpy_dtype)
            .astype(np.float64)
        )


def beside(value: float, dtype: str) -> list[float]:
    """Returns a number and its neighbours in `dtype`."""
    number = np.dtype(dtype).type(value)
    infinite = number.dtype.type(INF)
    return [
        float(x) for x in (np.nextafter(number, -infinite), number, np.nextafter(number, infinite))
    ]


# A product of such weights is exact, and zero only where a weight is.
def exact_coordinates(size: int) -> st.SearchStrategy[float]:
    return st.integers(-12, 4 * size + 12).map(lambda quarters: quarters / 4)


def hostile_coordinates(size: int, dtype: str) -> st.SearchStrategy[float]:
    """Returns coordinates along an axis of `size` pixels on every side of every border."""
    borders = [0.0, -1.0, size - 1.0, float(size), -0.5, size - 0.5, 0.5, -1.5, -2.0, size + 1.0]
    near = [x for border in borders for x in beside(border, dtype)]
    tiny = [1e-30, -1e-30, 1e-40, -1e-40, 5e-324, -0.0]
    far = [NAN, INF, -INF, 1e30, -1e30, 3e9, -3e9, 2.0**24, 2.0**31, -(2.0**63), 1e6 + 0.25]
    return st.one_of(
        exact_coordinates(size),
        st.floats(-3, size + 2, width=32),
        st.sampled_from(near),
        st.sampled_from(tiny + far),
    )


def points(draw: st.DrawFn, shape: list[int], sizes: tuple[int, ...], dtype: str, exact: bool):
    """Draws `[*shape, rank]` coordinates, rounded to their type."""
    coordinates = coordinate_type(dtype)
    axes = [
        exact_coordinates(size) if exact else hostile_coordinates(size, coordinates)
        for size in reversed(sizes)
    ]
    count = int(np.prod(shape))
    flat = draw(st.lists(st.tuples(*axes), min_size=count, max_size=count))
    warp = np.array(flat, np.float64).reshape(*shape, len(sizes))
    return rounded(warp, coordinates)


def odd(rng: np.random.Generator, values: np.ndarray) -> np.ndarray:
    """Returns `values` with NaN and infinities among them."""
    where = rng.uniform(size=values.shape) < 0.2
    return np.where(where, rng.choice([NAN, INF, -INF], values.shape), values)


@st.composite
def problems(
    draw: st.DrawFn,
    dtypes: tuple[str, ...] = DTYPES,
    odd_data: bool = False,
    exact: bool = False,
    most_points: int = 6,
) -> Problem:
    """Draws inputs of the resampler: of any rank, shape, type and mode, empty ones too."""
    rank = draw(st.sampled_from([2, 3]))
    sizes = tuple(draw(st.lists(st.integers(1, 5), min_size=rank, max_size=rank)))
    channels = draw(st.sampled_from([1, 2, 3, 4, 0, 5, 7, 8, 16, 17, 20]))
    batches = draw(
        st.sampled_from([(1, 1), (2, 2), (1, 3), (3, 1), (1, 0), (0, 1), (0, 0), (9, 9)])
    )
    axes = draw(st.sampled_from([[], [1], [3], [most_points], [2, 2], [1, 3, 1], [0], [2, 0]]))
    dtype = draw(st.sampled_from(dtypes))
    padding = draw(st.sampled_from(PADDINGS))
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    batch = batches[1] if batches[0] == 1 else batches[0]
    data = rng.normal(size=[batches[0], *sizes, channels])
    grad_output = rng.normal(size=[batch, *axes, channels])
    has_fill = padding == "zeros" and not odd_data and draw(st.booleans())
    return Problem(
        data=rounded(odd(rng, data) if odd_data else data, dtype),
        warp=points(draw, [batches[1], *axes], sizes, dtype, exact),
        grad_output=rounded(grad_output, dtype),
        dtype=dtype,
        interpolation=draw(st.sampled_from(INTERPOLATIONS)),
        padding=padding,
        fill=rounded(rng.normal(size=[channels]), dtype) if has_fill else None,
    )
