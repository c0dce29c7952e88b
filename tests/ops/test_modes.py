"""Every interpolation with every padding, rank, type and order of derivative: the reference."""

import numpy as np
import pytest
import reference
import tensorflow as tf
from implementations import BOTH, COMPILED, SLOW_IF_PORTABLE
from problems import (
    ACCURACY,
    MODE_IDS,
    MODES,
    RANKS,
    assert_near,
    coordinates_of,
    expected,
    problem,
)

from tf_stn import resampler
from tf_stn._library import ops

pytestmark = BOTH

ALL_MODES = pytest.mark.parametrize("modes", MODES, ids=MODE_IDS)
ALL_RANKS = pytest.mark.parametrize("rank", RANKS.values(), ids=RANKS)


def derivatives(data, warp, grad_output, grad_grad_data, grad_grad_warp, **modes):
    """Returns the output, the gradients in data and warp, and those of the gradients."""
    with tf.GradientTape() as outer:
        outer.watch([data, warp, grad_output])
        with tf.GradientTape() as inner:
            inner.watch([data, warp])
            output = resampler(data, warp, **modes)
        gradients = inner.gradient(output, [data, warp], grad_output)
    second = outer.gradient(gradients, [data, warp, grad_output], [grad_grad_data, grad_grad_warp])
    return output, gradients, second


def check_all_types(rank, interpolation, padding, fill_value=0.0, **batches):
    modes = {"interpolation": interpolation, "padding": padding, "fill_value": fill_value}
    of_output, of_first, of_second = expected(rank, *modes.values(), **batches)
    data, warp, grad_output, grad_grad_data, grad_grad_warp = problem(rank, **batches)
    for dtype in ACCURACY:
        data, grad_output, grad_grad_data = (
            tf.cast(x, dtype) for x in (data, grad_output, grad_grad_data)
        )
        warp, grad_grad_warp = (tf.cast(x, coordinates_of(dtype)) for x in (warp, grad_grad_warp))
        output, first, second = derivatives(
            data, warp, grad_output, grad_grad_data, grad_grad_warp, **modes
        )
        assert output.dtype == first[0].dtype == second[0].dtype == second[2].dtype == dtype
        assert first[1].dtype == second[1].dtype == coordinates_of(dtype)
        assert_near(output, of_output, dtype, "output")
        for name, result, right in zip(("data", "warp"), first, of_first):
            assert_near(result, right, dtype, f"gradient in {name}")
        for name, result, right in zip(("data", "warp", "grad_output"), second, of_second):
            assert_near(result, right, dtype, f"second gradient in {name}")


@ALL_RANKS
@ALL_MODES
def test_samples_and_gradients_of_both_orders_equal_the_reference(modes, rank):
    check_all_types(rank, *modes)


@ALL_RANKS
@pytest.mark.parametrize("interpolation", ["nearest", "linear", "cubic"])
def test_the_same_holds_with_a_fill_value(interpolation, rank):
    check_all_types(rank, interpolation, "zeros", (0.5, -2.0, 0.0))


@SLOW_IF_PORTABLE
@pytest.mark.parametrize("images, grids", [(1, 3), (3, 1)], ids=["one image", "one grid"])
@ALL_MODES
def test_the_same_holds_where_one_batch_is_1(modes, images, grids):
    check_all_types(2, *modes, images=images, grids=grids)


@COMPILED
@ALL_RANKS
@ALL_MODES
def test_stencils_of_every_order_equal_the_reference(modes, rank):
    """The ops themselves, of which all gradients beyond the second order are composed."""
    data, warp, grad_output, *_ = problem(rank)
    modes = dict(zip(("interpolation", "padding"), modes))
    inputs = [tf.constant(x) for x in (data, warp, grad_output)]
    for orders in ((1,), (0, 1), (1, 1), (2, 0), (0, 3), (4, 1)) + ((1, 2, 1),) * (rank == 3):
        full = (*orders, 0, 0)[:rank]
        output = ops.tf_stn_resampler(*inputs[:2], [], derivative=orders, **modes)
        right = reference.resample(data, warp, derivative=full, **modes)
        assert_near(output, right, "float64", f"{orders}")
        gradients = ops.tf_stn_resampler_grad(*inputs, [], derivative=orders, **modes)
        right = reference.resample_gradients(data, warp, grad_output, derivative=full, **modes)
        for result, gradient in zip(gradients, right):
            assert_near(result, gradient, "float64", f"gradient of {orders}")


ODD = (np.nan, np.inf, -np.inf, 1e30, -1e30, 3e9, -3e9, 2.0**31, 2.0**63, -0.0, 0.5, -2.5, 1e-45)


@ALL_RANKS
@ALL_MODES
def test_odd_coordinates_are_defined_in_every_mode_and_order(modes, rank):
    """An output is NaN exactly where a coordinate is; no gradient in the data ever is."""
    interpolation, padding = modes
    data, *_ = problem(rank, images=1)
    x, y = (axis.reshape(-1) for axis in np.meshgrid(ODD, ODD))
    warp = np.stack([x, y, np.roll(y, 5)][:rank], axis=-1)[None]
    grad_output = np.ones([1, warp.shape[1], 3])
    inputs = (data, warp, grad_output, data, np.ones_like(warp))
    is_nan = np.isnan(warp).any(axis=-1, keepdims=True)
    for dtype in ("float64", "float32"):
        tensors = [tf.constant(x, dtype) for x in inputs]
        output, first, second = derivatives(*tensors, interpolation=interpolation, padding=padding)
        for result in (output, first[1], second[1], second[2]):
            np.testing.assert_array_equal(np.isnan(result), np.broadcast_to(is_nan, result.shape))
        assert np.isfinite(first[0]).all()
        assert np.isfinite(second[0]).all()
    right = reference.resample(data, warp, interpolation, padding)
    assert_near(
        resampler(data, warp, interpolation=interpolation, padding=padding), right, "float64"
    )


@ALL_RANKS
@ALL_MODES
def test_pixel_centres_return_pixels_bit_for_bit(modes, rank, implementation):
    data = problem(rank, images=1)[0]
    data.flat[:4] = [np.nan, np.inf, -np.inf, -0.0]
    axes = [np.arange(size) for size in data.shape[1:-1]]
    centres = np.stack(np.meshgrid(*axes, indexing="ij")[::-1], axis=-1)
    output = resampler(
        tf.constant(data),
        tf.constant(centres[None], tf.float64),
        interpolation=modes[0],
        padding=modes[1],
    )
    np.testing.assert_array_equal(output, data)
    if implementation == "compiled":  # The other one adds zeros, which take the sign from -0.
        np.testing.assert_array_equal(np.signbit(output.numpy().flat[3]), True)


# Of the row 1 2 4 8, at -2, -1, 4, 5 and 9.
KNOWN = {
    "zeros": [0, 0, 0, 0, 0],
    "border": [1, 1, 8, 8, 8],
    "reflect": [4, 2, 4, 2, 8],
    "symmetric": [2, 1, 8, 4, 2],
    "wrap": [4, 8, 1, 2, 2],
}


@ALL_MODES
def test_known_values_outside_the_image(modes):
    data = tf.reshape(tf.constant([1.0, 2.0, 4.0, 8.0]), [1, 1, 4, 1])
    warp = [[[float(x), 0.0] for x in (-2, -1, 4, 5, 9)]]
    np.testing.assert_array_equal(
        resampler(data, warp, interpolation=modes[0], padding=modes[1])[0, :, 0], KNOWN[modes[1]]
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_nearest_takes_the_even_one_of_two(dtype):
    data = tf.reshape(tf.range(6.0), [1, 1, 6, 1])
    x = [-0.5, 0.5, 1.5, 2.5, 3.5, 4.5, 1.499, 1.501]
    output = resampler(
        tf.cast(data, dtype),
        [[[value, 0.0] for value in x]],
        interpolation="nearest",
        padding="border",
    )
    np.testing.assert_array_equal(output[0, :, 0], [0, 0, 2, 2, 4, 4, 1, 2])


def test_cubic_halfway_between_pixels_is_that_of_keys():
    """-3/32, 19/32, 19/32, -3/32 with a = -0.75."""
    data = tf.reshape(tf.constant([32.0, 64.0, 0.0, -32.0]), [1, 1, 4, 1])
    assert resampler(data, [[[1.5, 0.0]]], interpolation="cubic")[0, 0, 0] == -3 + 38 + 3
