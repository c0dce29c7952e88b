"""Inputs for tests that run every mode, and what to compare their results with."""

import functools

import numpy as np
import reference
import tensorflow as tf

from tf_stn._resampler import INTERPOLATIONS, PADDINGS

MODES = [(interpolation, padding) for interpolation in INTERPOLATIONS for padding in PADDINGS]
MODE_IDS = ["-".join(mode) for mode in MODES]
RANKS = {"images": 2, "volumes": 3}
SIZES = {2: (4, 5), 3: (3, 4, 2)}
# What a result in a type may be off by, in proportion to the largest number in it: inputs are the
# same in all types, so that there is nothing but the rounding of sums and of the result.
ACCURACY = {"float64": 1e-13, "float32": 3e-6, "float16": 2e-3, "bfloat16": 1.6e-2}


def coordinates_of(dtype):
    return "float64" if dtype == "float64" else "float32"


def problem(rank, images=2, grids=2, points=(9,), channels=3, seed=0):
    """Returns data, warp, grad_output, grad_grad_data and grad_grad_warp.

    Pixels are numbers that all types know. Points lie inside, on and around pixel centres, halfway
    between two, and as far outside as it takes to repeat the image.
    """
    rng = np.random.default_rng(seed)

    def pixels(*shape):
        return rng.integers(-64, 65, size=shape) / 64

    size, batch = SIZES[rank], max(images, grids)
    warp = rng.integers(-7 * 32, 12 * 32, size=[grids, *points, rank]) / 32
    flat = warp.reshape(-1, rank)
    flat[1] = np.round(flat[1])
    flat[2] = np.floor(flat[2]) + 0.5
    flat[3:6] = rng.uniform(0, np.array(size[::-1]) - 1, size=flat[3:6].shape).astype(np.float32)
    return (
        pixels(images, *size, channels),
        warp,
        pixels(batch, *points, channels),
        pixels(images, *size, channels),
        rng.integers(-64, 65, size=warp.shape) / 64,
    )


def smooth_problem(rank, seed=0, **sizes):
    """The same as float64 tensors, with all points far from where a derivative jumps.

    Every other point is inside the image.
    """
    data, warp, *rest = problem(rank, seed=seed, **sizes)
    rng = np.random.default_rng(seed)
    # Derivatives jump on integers, and for "nearest" halfway between.
    halves = rng.integers(-4, 14, size=warp.shape)
    halves[:, ::2] = rng.integers(0, 2 * np.array(SIZES[rank][::-1]) - 2, halves[:, ::2].shape)
    warp = halves / 2 + rng.uniform(0.05, 0.45, size=warp.shape)
    return [tf.constant(x, tf.float64) for x in (data, warp, *rest)]


@functools.cache
def expected(rank, interpolation, padding, fill_value=0.0, images=2, grids=2):
    """Returns the reference's output, gradients and gradients of those, of `problem`."""
    data, warp, grad_output, *directions = problem(rank, images, grids)
    modes = {"interpolation": interpolation, "padding": padding, "fill_value": fill_value}
    return (
        reference.resample(data, warp, **modes),
        reference.all_gradients(data, warp, grad_output, **modes),
        reference.second_order(data, warp, grad_output, *directions, **modes),
    )


def assert_near(result, expected, dtype, case=""):
    scale = max(1.0, np.max(np.abs(expected), initial=0.0, where=~np.isnan(expected)))
    np.testing.assert_allclose(
        tf.cast(result, tf.float64),
        expected,
        rtol=0,
        atol=ACCURACY[dtype] * scale,
        err_msg=f"{case} in {dtype}",
    )
