"""Images of integers and booleans: amounts are rounded and limited, labels are picked exactly."""

import numpy as np
import pytest
import tensorflow as tf
from implementations import BOTH

import tf_stn
from tf_stn import resampler
from tf_stn._pixels import BLENDED_TYPES, INTEGER_TYPES, LABEL_TYPES
from tf_stn._resampler import INTERPOLATIONS, PADDINGS

pytestmark = BOTH

ALL_TYPES = pytest.mark.parametrize("dtype", INTEGER_TYPES, ids=lambda dtype: dtype.name)
AMOUNTS = pytest.mark.parametrize("dtype", BLENDED_TYPES, ids=lambda dtype: dtype.name)
LABELS = pytest.mark.parametrize("dtype", LABEL_TYPES, ids=lambda dtype: dtype.name)
ROW = [[[[10], [20], [40]]]]  # An image of one row.


def whole_range(rng, dtype, shape):
    """Returns pixels from the least to the most that a type holds."""
    if dtype == tf.bool:
        return tf.constant(rng.integers(0, 2, shape) == 1)
    values = rng.integers(dtype.min, dtype.max, shape, dtype=dtype.as_numpy_dtype, endpoint=True)
    values.flat[:2] = dtype.min, dtype.max
    return tf.constant(values)


def points(rng, shape=(2, 6, 5)):
    """Returns coordinates in and around images of 4x5 pixels, those of pixels among them."""
    warp = rng.uniform(-3, 7, [*shape, 2]).astype(np.float32)
    warp[:, 0] = np.round(warp[:, 0])
    return warp


def as_numbers(data, warp, **modes):
    """Returns what comes of the same pixels as float32, rounded and limited by NumPy."""
    sampled = resampler(tf.cast(data, tf.float32), warp, **modes).numpy()
    limits = data.dtype.min, data.dtype.max
    return np.clip(np.round(sampled), *limits).astype(data.dtype.as_numpy_dtype)


@AMOUNTS
@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_amounts_are_computed_in_float32_rounded_and_limited(run, rng, dtype, interpolation):
    data, warp = whole_range(rng, dtype, [2, 4, 5, 3]), points(rng)
    output = run(lambda *inputs: resampler(*inputs, interpolation=interpolation), data, warp)
    assert output.dtype == dtype
    np.testing.assert_array_equal(output, as_numbers(data, warp, interpolation=interpolation))


@ALL_TYPES
@pytest.mark.parametrize("padding", PADDINGS)
def test_nearest_picks_pixels_exactly(rng, dtype, padding):
    data, warp = whole_range(rng, dtype, [2, 4, 5, 2]), points(rng)
    modes = {"interpolation": "nearest", "padding": padding}
    numbers = tf.tile(tf.reshape(tf.range(1.0, 21.0), [1, 4, 5, 1]), [2, 1, 1, 1])
    number = tf.cast(resampler(numbers, warp, **modes)[..., 0], tf.int32)
    padded = np.concatenate(
        [np.zeros([2, 1, 2], data.numpy().dtype), data.numpy().reshape(2, 20, 2)], 1
    )
    expected = np.stack([image[of] for image, of in zip(padded, number.numpy())])
    output = resampler(data, warp, **modes)
    assert output.dtype == dtype
    np.testing.assert_array_equal(output, expected)


def test_halves_go_to_the_even_neighbour():
    data = tf.constant([[[[0], [1], [2], [3]]]], tf.uint8)
    output = resampler(data, [[[0.5, 0.0], [1.5, 0.0], [2.5, 0.0]]])
    assert output[0, :, 0].numpy().tolist() == [0, 2, 2]


def test_cubic_does_not_overshoot_what_the_type_holds():
    data = tf.constant([[[[0], [0], [255], [255]]]], tf.uint8)
    warp = [[[0.6, 0.0], [2.4, 0.0]]]
    overshooting = resampler(tf.cast(data, tf.float32), warp, interpolation="cubic")
    assert overshooting[0, 0, 0] < -1
    assert overshooting[0, 1, 0] > 256
    assert resampler(data, warp, interpolation="cubic")[0, :, 0].numpy().tolist() == [0, 255]


@ALL_TYPES
def test_a_coordinate_that_is_nan_gives_zero(dtype):
    data = tf.cast(ROW, dtype)
    output = resampler(data, [[[np.nan, 0.0], [1.0, 0.0]]], interpolation="nearest")
    assert output[0, :, 0].numpy().tolist() == [0, tf.cast(20, dtype).numpy()]


@ALL_TYPES
def test_fill_is_of_the_type_of_the_pixels(run, dtype):
    least, most = (False, True) if dtype == tf.bool else (dtype.min, dtype.max)
    data = tf.cast([[[[1, 0]]]], dtype)
    fill = np.array([least, most])
    output = run(
        lambda *inputs: resampler(*inputs, interpolation="nearest", fill_value=fill),
        data,
        tf.constant([[[9.0, 9.0], [0.0, 0.0]]]),
    )
    assert output[0].numpy().tolist() == [[least, most], [1, 0]]


def test_fill_is_blended_with_amounts():
    output = resampler(tf.cast(ROW, tf.uint8), [[[-0.5, 0.0]]], fill_value=200)
    assert output.numpy().item() == 105


@pytest.mark.parametrize("fill", [256, -1, 0.5, np.nan, [1, 300], "grey"], ids=str)
def test_a_fill_that_the_type_does_not_hold_is_an_error(fill):
    with pytest.raises(ValueError, match=r"`fill_value` must be of values .*uint8 holds.*rec"):
        resampler(tf.cast(ROW, tf.uint8), [[[0.0, 0.0]]], fill_value=fill)


def test_a_fill_of_another_type_is_an_error(run):
    def sample(data, fill):
        return resampler(data, [[[0.0, 0.0]]], fill_value=fill)

    with pytest.raises(TypeError, match=r"`fill_value` must be of type uint8.*received float32"):
        run(sample, tf.cast(ROW, tf.uint8), tf.constant([0.5]))


@LABELS
@pytest.mark.parametrize("interpolation", ["linear", "cubic"])
def test_labels_are_not_blended(run, dtype, interpolation):
    message = (
        f"`interpolation` must be 'nearest' for `data` of type {dtype.name}.*'{interpolation}'"
    )
    with pytest.raises(ValueError, match=message):
        run(
            lambda data: resampler(data, [[[0.0, 0.0]]], interpolation=interpolation),
            tf.cast(ROW, dtype),
        )


def test_a_tape_gives_no_gradient_of_integers():
    warp = tf.constant([[[0.5, 0.0]]])
    with tf.GradientTape() as tape:
        tape.watch(warp)
        output = tf.cast(resampler(tf.cast(ROW, tf.uint8), warp), tf.float32)
    assert tape.gradient(output, warp) is None


SAMPLERS = {
    "affine": lambda data, **modes: tf_stn.affine_resampler(
        data, [[0.9, 0.1, 0.0, -0.1, 0.9, 0.2]], (3, 4), **modes
    ),
    "projective": lambda data, **modes: tf_stn.projective_resampler(
        data, [[[0.9, 0.1, 0.0], [-0.1, 0.9, 0.2], [0.1, 0.0, 1.0]]], (3, 4), **modes
    ),
    "displacement": lambda data, **modes: tf_stn.displacement_resampler(
        data, tf.reshape(tf.range(40.0) % 3 - 1.3, [1, 4, 5, 2]), **modes
    ),
}


@pytest.mark.parametrize("sampler", SAMPLERS.values(), ids=SAMPLERS)
def test_every_sampler_takes_integers(rng, sampler):
    photos = whole_range(rng, tf.uint8, [2, 4, 5, 3])
    expected = tf.round(sampler(tf.cast(photos, tf.float32), interpolation="linear"))
    np.testing.assert_array_equal(sampler(photos), tf.cast(expected, tf.uint8))
    labels = whole_range(rng, tf.int64, [2, 4, 5, 1])
    ranks = tf.cast(tf.reshape(tf.range(1, 41), [2, 4, 5, 1]), tf.float32)
    picked = tf.cast(sampler(ranks, interpolation="nearest"), tf.int32).numpy()
    of_rank = np.concatenate([[0], labels.numpy().ravel()])
    np.testing.assert_array_equal(sampler(labels, interpolation="nearest"), of_rank[picked])


def test_photos_and_masks_in_an_input_pipeline_need_no_casts(rng):
    photos, masks = (whole_range(rng, dtype, [6, 4, 5, 1]) for dtype in (tf.uint8, tf.int32))

    def turn(photo, mask):
        theta = tf.random.stateless_uniform([2, 6], [1, 2], -1.0, 1.0)
        return (
            tf_stn.affine_resampler(photo, theta),
            tf_stn.affine_resampler(mask, theta, interpolation="nearest"),
        )

    batches = tf.data.Dataset.from_tensor_slices((photos, masks)).batch(2).map(turn)
    assert [spec.dtype for spec in batches.element_spec] == [tf.uint8, tf.int32]
    for photo, mask in batches:
        assert photo.shape == mask.shape == [2, 4, 5, 1]


def test_volumes_of_labels_are_picked_exactly(rng):
    data = whole_range(rng, tf.int32, [1, 2, 3, 4, 1])
    warp = np.stack(np.meshgrid(range(2), range(3), range(4), indexing="ij"), -1)[..., ::-1]
    moved = warp[None] + rng.uniform(-0.49, 0.49, [1, *warp.shape])
    np.testing.assert_array_equal(resampler(data, moved, interpolation="nearest"), data)
