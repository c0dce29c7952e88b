"""The fused affine resampler: equal to the resampler on the affine grid, at every size and type."""

import numpy as np
import pytest
import reference
import tensorflow as tf
from implementations import BOTH, COMPILED, SLOW_IF_PORTABLE

from tf_stn import affine_grid, affine_resampler, resampler
from tf_stn._library import ops
from tf_stn._pixels import DATA_TYPES

pytestmark = BOTH

IDENTITY = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]
ALIGN = pytest.mark.parametrize("align_corners", [True, False], ids=["centres", "edges"])
ACCURACY = {"float64": 1e-12, "float32": 1e-4, "float16": 0.02, "bfloat16": 0.15}
# Rows that a vector of points fills exactly, in part, or many times; images of one row or column.
CASES = {
    "one pixel": ((1, 1), (1, 1)),
    "one row": ((1, 9), (5, 7)),
    "one column": ((9, 1), (7, 5)),
    "few columns": ((12, 11), (14, 3)),
    "many columns": ((19, 23), (3, 150)),
    "to one pixel": ((6, 5), (1, 1)),
}
CHANNELS = [1, 2, 3, 4, 5, 16, 21, 67]


def thetas(rng, batch):
    """Rotations, shears, flips and shifts, in part outside of the image."""
    return np.array(IDENTITY) + rng.normal(scale=0.4, size=[batch, 6])


def both(function, data, theta, output_size, align_corners=True, weights=None):
    """Returns the output and the gradients in data and theta."""
    with tf.GradientTape() as tape:
        tape.watch([data, theta])
        output = function(data, theta, output_size, align_corners=align_corners)
        loss = tf.reduce_sum(tf.cast(output, theta.dtype) * weights)
    return output, *tape.gradient(loss, [data, theta])


def by_grid(data, theta, output_size, *, align_corners):
    warp = affine_grid(theta, output_size, data.shape[1:3], align_corners=align_corners)
    return resampler(data, warp)


@pytest.mark.parametrize("dtype", ACCURACY)
@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("case", CASES)
def test_output_and_gradients_equal_those_of_the_grid(rng, case, channels, dtype):
    input_size, output_size = CASES[case]
    data = rng.normal(size=[3, *input_size, channels])
    theta = thetas(rng, 3)
    weights = rng.normal(size=[3, *output_size, channels])
    exact = both(by_grid, *map(tf.constant, (data, theta)), output_size, weights=weights)
    coordinates = "float64" if dtype == "float64" else "float32"
    fused = both(
        affine_resampler,
        tf.cast(data, dtype),
        tf.cast(theta, coordinates),
        output_size,
        weights=tf.cast(weights, coordinates),
    )
    for value, expected in zip(fused, exact):
        scale = max(1.0, np.max(np.abs(expected)))
        atol = ACCURACY[dtype] * scale
        np.testing.assert_allclose(tf.cast(value, tf.float64), expected, rtol=0, atol=atol)


@ALIGN
def test_output_equals_the_reference(rng, run, align_corners):
    data, theta = rng.normal(size=[2, 6, 9, 3]), thetas(rng, 2)
    output = run(
        lambda d, t: affine_resampler(d, t, (5, 4), align_corners=align_corners), data, theta
    )
    warp = reference.affine_grid(theta, (5, 4), (6, 9), align_corners)
    np.testing.assert_allclose(output, reference.resample(data, warp), rtol=0, atol=1e-12)


@SLOW_IF_PORTABLE
@ALIGN
@pytest.mark.parametrize("channels", [1, 3])
def test_gradient_equals_central_differences(rng, channels, align_corners):
    data = tf.constant(rng.normal(size=[2, 6, 5, channels]))
    theta = tf.constant(thetas(rng, 2) * 0.9)

    def function(data, theta):
        return affine_resampler(data, theta, (4, 7), align_corners=align_corners)

    theoretical, numerical = tf.test.compute_gradient(function, [data, theta], delta=1e-6)
    for expected, found in zip(numerical, theoretical):
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


@ALIGN
@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("dtype", DATA_TYPES, ids=lambda dtype: dtype.name)
def test_identity_returns_the_image_bit_for_bit(
    rng, run, dtype, channels, align_corners, implementation
):
    """Also beside pixels that are not finite, and with a zero of either sign."""
    data = rng.normal(size=[2, 13, 37, channels])
    data.reshape(-1)[: 4 * 7 : 7] = [np.inf, -np.inf, -0.0, np.nan]
    data = tf.cast(data, dtype)
    theta = tf.constant([IDENTITY, IDENTITY])
    output = run(lambda d, t: affine_resampler(d, t, align_corners=align_corners), data, theta)
    assert output.dtype == dtype
    bits = tf.uint64 if dtype == tf.float64 else tf.uint32 if dtype == tf.float32 else tf.uint16
    is_nan = np.isnan(tf.cast(data, tf.float64))
    a, b = (np.where(is_nan, 0, tf.bitcast(x, bits)) for x in (output, data))
    if implementation == "compiled":  # The other one adds zeros, which take the sign from -0.
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(*(tf.cast(x, tf.float64) for x in (output, data)))
    assert np.isnan(tf.cast(output, tf.float64)).sum() == is_nan.sum()


@SLOW_IF_PORTABLE
def test_gradient_of_theta_stays_exact_over_millions_of_points():
    """A float32 sum over ten million points would lose its last digits."""
    side, scale = 3200, 0.999
    theta = np.array([[scale, 0.002, 0.0, -0.003, scale, 0.001]])
    ramp = np.add.outer(np.arange(64.0), np.arange(64.0) * 2)[None, :, :, None] / 64 + 1
    with tf.GradientTape() as tape:
        theta32 = tf.constant(theta, tf.float32)
        tape.watch(theta32)
        output = affine_resampler(tf.constant(ramp, tf.float32), theta32, (side, side))
    gradient = tape.gradient(output, theta32, tf.ones_like(output))
    with tf.GradientTape() as tape:
        theta64 = tf.constant(theta32.numpy().astype(np.float64))
        tape.watch(theta64)
        output = affine_resampler(tf.constant(ramp), theta64, (side, side))
    expected = tape.gradient(output, theta64, tf.ones_like(output))
    error = np.abs(gradient.numpy() - expected.numpy()) / np.abs(expected).max()
    assert error.max() < 1e-6


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
def test_theta_that_is_not_finite_or_huge_is_defined(value):
    theta = np.array([IDENTITY], np.float32)
    theta[0, 2] = value
    data = tf.ones([1, 4, 5, 3])
    output, grad_data, grad_theta = both(
        affine_resampler, data, tf.constant(theta), (4, 70), weights=tf.ones([1, 4, 70, 3])
    )
    if np.isnan(value):
        assert np.isnan(output).all()
        assert np.isnan(grad_theta).all()
    else:
        assert (output.numpy() == 0).all()
        assert (grad_theta.numpy() == 0).all()
    assert (grad_data.numpy() == 0).all()


def test_size_may_be_known_late(rng, run):
    data, theta = rng.normal(size=[2, 6, 9, 3]), thetas(rng, 2)

    def transform(data, theta, size):
        return affine_resampler(data, theta, size)

    output = run(transform, data, theta, [3, 5])
    expected = affine_resampler(data, theta, (3, 5))
    np.testing.assert_allclose(output, expected, rtol=0, atol=1e-12)


@COMPILED
@pytest.mark.parametrize("needed", ["data", "theta"])
def test_only_the_gradient_that_is_needed_is_computed(rng, monkeypatch, needed):
    calls, original = [], ops.tf_stn_affine_resampler_grad
    record = lambda *args, **kwargs: calls.append(kwargs) or original(*args, **kwargs)  # noqa: E731
    monkeypatch.setattr(ops, "tf_stn_affine_resampler_grad", record)
    inputs = {"data": tf.constant(rng.normal(size=[1, 4, 4, 1])), "theta": tf.constant([IDENTITY])}
    inputs["theta"] = tf.cast(inputs["theta"], tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(inputs[needed])
        output = affine_resampler(**inputs)
    assert tape.gradient(output, inputs[needed]) is not None
    (call,) = calls
    assert call["compute_grad_data"] == (needed == "data")
    assert call["compute_grad_matrix"] == (needed == "theta")


WRONG = {
    "data of rank 3": (([2, 5, 3], [2, 6]), "`data` must have shape"),
    "theta of five": (([2, 5, 5, 3], [2, 5]), "`theta` must have shape"),
    "other batch": (([2, 5, 5, 3], [3, 6]), "must have the same batch size"),
    "no rows": (([2, 0, 5, 3], [2, 6]), "`data` must have a height and a width"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_shapes_are_refused_by_name(run, case):
    (data, theta), message = WRONG[case]
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError)) as error:
        run(affine_resampler, tf.zeros(data), tf.zeros(theta))
    assert message in str(error.value)


RAW = {
    "matrix of rank 2": (
        ([1, 5, 5, 3], [1, 6], [4, 4]),
        "`matrix` must have shape [batch, ..., 2, 3]",
    ),
    "size of three": (([1, 5, 5, 3], [1, 2, 3], [4, 4, 4]), "`output_size` must have shape [2]"),
    "negative size": (([1, 5, 5, 3], [1, 2, 3], [4, -1]), "`output_size` must not be negative"),
    "empty image": (([1, 0, 5, 3], [1, 2, 3], [4, 4]), "`data` must have a height and a width"),
}


@COMPILED
@pytest.mark.parametrize("case", RAW)
def test_raw_op_checks_what_it_is_given(run, case):
    (data, matrix, size), message = RAW[case]
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError)) as error:
        run(
            lambda *inputs: ops.tf_stn_affine_resampler(*inputs, []),
            tf.zeros(data),
            tf.zeros(matrix),
            size,
        )
    assert message in str(error.value)


@COMPILED
def test_raw_gradient_op_checks_the_incoming_gradient(run):
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError)) as error:
        run(
            lambda *inputs: ops.tf_stn_affine_resampler_grad(*inputs, []),
            tf.zeros([1, 5, 5, 3]),
            tf.zeros([1, 2, 3]),
            tf.zeros([1, 4, 4, 2]),
        )
    assert "`grad_output` must have shape" in str(error.value)


@pytest.mark.parametrize("batch, size", [(0, (3, 4)), (2, (0, 4)), (2, (3, 0))], ids=str)
def test_empty_output_has_zero_gradients(batch, size):
    data, matrix = tf.ones([batch, 5, 6, 3]), tf.ones([batch, 2, 3])
    output = ops.tf_stn_affine_resampler(data, matrix, size, [])
    assert output.shape == [batch, *size, 3]
    for gradient in ops.tf_stn_affine_resampler_grad(data, matrix, output, []):
        assert (gradient.numpy() == 0).all()


@pytest.mark.parametrize("dtype", ["bool", "complex64", "string"])
def test_theta_of_another_type_is_refused_by_name(dtype):
    theta = tf.zeros([1, 6], tf.uint8)
    theta = tf.as_string(theta) if dtype == "string" else tf.cast(theta, dtype)
    with pytest.raises(TypeError, match="`theta` must hold real numbers"):
        affine_resampler(tf.zeros([1, 2, 2, 1]), theta)
