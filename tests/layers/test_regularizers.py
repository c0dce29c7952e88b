"""Regularizers: their values, gradients, and how Keras saves them."""

import numpy as np
import pytest
import tensorflow as tf

import tf_stn
from tf_stn import regularizers
from tf_stn._keras import keras
from tf_stn.regularizers import BendingEnergy, Folding, Identity, Outside, Smoothness

FIELDS = {"Smoothness": Smoothness, "BendingEnergy": BendingEnergy, "Folding": Folding}
BY_FIELD = pytest.mark.parametrize("kind", FIELDS.values(), ids=FIELDS)
BY_CLASS = pytest.mark.parametrize(
    "kind", [getattr(regularizers, name) for name in regularizers.__all__], ids=str
)


def call(regularizer, values):
    """Calls any of them with a field of images."""
    if isinstance(regularizer, Outside):
        return regularizer(tf_stn.fields.to_warp(values), values.shape[1:-1])
    return regularizer(values)


def affine_field(rng, size):
    rank = len(size)
    axes = np.meshgrid(*(np.arange(n, dtype=float) for n in size), indexing="ij")
    linear = 0.1 * rng.normal(size=[rank, rank])
    return np.einsum("ij,...j->...i", linear, np.stack(axes[::-1], axis=-1))[None], linear


@BY_CLASS
def test_factor_multiplies_the_value(rng, kind):
    values = tf.constant(3 * rng.normal(size=[2, 5, 6, 2]))
    value = call(kind(), values)
    assert value > 0
    assert value.shape == ()
    np.testing.assert_allclose(call(kind(0.5), values), 0.5 * value)
    assert call(kind(0), values) == 0


@BY_CLASS
def test_nothing_that_stays_costs_anything(kind):
    assert call(kind(), tf.zeros([2, 5, 6, 2])) == 0


@BY_CLASS
def test_gradient_matches_central_differences(rng, kind):
    values = tf.constant(2 * rng.normal(size=[1, 4, 5, 2]))
    analytic, numeric = tf.test.compute_gradient(lambda v: call(kind(), v), [values], delta=1e-6)
    np.testing.assert_allclose(analytic, numeric, rtol=1e-5, atol=1e-6)
    assert np.abs(analytic).max() > 1e-3


def test_identity_is_the_mean_square_of_any_shape(rng):
    values = rng.normal(size=[3, 2, 6])
    np.testing.assert_allclose(Identity()(values), np.mean(values**2))


def test_outside_is_the_distance_to_an_image_with_sides_of_two():
    warp = tf.constant([[[4.0, 2.0], [1.0, -1.0], [1.0, 1.0]]])
    with tf.GradientTape() as tape:
        tape.watch(warp)
        distance = Outside()(warp, (3, 3))
    assert np.isclose(distance, (2.0**2 + 1.0**2) / 3)
    gradient = tape.gradient(distance, warp)
    np.testing.assert_allclose(gradient, [[[4 / 3, 0], [0, -2 / 3], [0, 0]]], rtol=1e-6)


def test_rounding_of_an_identity_is_not_outside():
    warp = tf_stn.affine_grid(tf.constant([[1.0, 0, 0, 0, 1, 0]]), (1, 28), (1, 128))
    assert tf.reduce_max(warp) > 127
    assert Outside()(warp, (1, 128)) == 0


def test_points_that_are_not_numbers_are_seen():
    assert np.isnan(Outside()([[[np.nan, 0.0]]], (3, 3)))


@pytest.mark.parametrize("size", [(5, 6), (4, 5, 6)], ids=["images", "volumes"])
def test_fields_of_affine_maps_bend_nowhere_and_differ_by_their_slopes(rng, size):
    field, linear = affine_field(rng, size)
    assert BendingEnergy()(field) < 1e-28
    np.testing.assert_allclose(Smoothness()(field), np.mean(linear**2))
    np.testing.assert_allclose(Smoothness(power=1)(field), np.mean(np.abs(linear)))
    np.testing.assert_allclose(
        Folding()(
            field - 2 * np.stack(np.meshgrid(*map(np.arange, size), indexing="ij")[::-1], -1)
        ),
        max(-np.linalg.det(linear - np.eye(len(size))), 0),
    )


def test_bending_energy_is_the_integral_of_the_hessian():
    """Of u = x² and 3 x y: second derivatives 2 and 3, of which the mixed one counts twice."""
    y, x = np.mgrid[:5, :6].astype(float)
    field = np.stack([x**2, 3 * x * y], axis=-1)[None]
    np.testing.assert_allclose(BendingEnergy()(field), (2**2 + 2 * 3**2) / 2)


def test_folding_counts_what_is_turned_inside_out():
    field = np.zeros([1, 3, 4, 2])
    field[..., 0] = [0, 0, 0, -9]
    determinant = tf_stn.fields.jacobian_determinant(field)
    np.testing.assert_allclose(Folding()(field), np.mean(np.maximum(-determinant, 0)))
    assert Folding()(field) > 0


@BY_FIELD
def test_several_fields_of_an_image_are_averaged(rng, kind):
    fields = 2 * rng.normal(size=[2, 3, 4, 5, 2])
    values = [kind()(fields[:, i]) for i in range(3)]
    np.testing.assert_allclose(kind()(fields), np.mean(values))


@BY_FIELD
@pytest.mark.parametrize("size", [(1, 1), (1, 5), (2, 2), (1, 3, 4)], ids=str)
def test_axes_without_differences_cost_nothing(rng, kind, size):
    field = tf.constant(rng.normal(size=[2, *size, len(size)]))
    with tf.GradientTape() as tape:
        tape.watch(field)
        value = kind()(field)
    assert np.isfinite(value)
    assert np.isfinite(tape.gradient(value, field)).all()


@BY_FIELD
def test_sizes_may_be_unknown_until_a_graph_runs(rng, kind):
    field = 2 * rng.normal(size=[2, 4, 5, 2])
    later = tf.function(kind(), input_signature=[tf.TensorSpec([None] * 3 + [2], tf.float64)])
    np.testing.assert_allclose(later(field), kind()(field))


@pytest.mark.parametrize(
    "regularizer",
    [*(kind(0.25) for kind in (Identity, Outside, BendingEnergy, Folding)), Smoothness(2, power=1)],
    ids=str,
)
def test_config_is_all_there_is_to_them(regularizer):
    again = keras.regularizers.deserialize(keras.regularizers.serialize(regularizer))
    assert type(again) is type(regularizer)
    assert again.get_config() == regularizer.get_config()
    assert repr(again) == repr(regularizer)


def test_as_an_activity_regularizer_keras_divides_by_the_batch(rng, tmp_path):
    layer = keras.layers.Conv2D(2, 3, padding="same", activity_regularizer=Smoothness(0.5))
    model = keras.Sequential([keras.Input((6, 6, 1)), layer])
    images = rng.uniform(size=[3, 6, 6, 1]).astype(np.float32)
    output = model(images)
    np.testing.assert_allclose(sum(model.losses), Smoothness(0.5)(output) / 3, rtol=1e-5)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    again(images)
    np.testing.assert_allclose(sum(again.losses), sum(model.losses), rtol=1e-6)


FIELD = r"`displacement` must have shape \[batch, ..., height, width, 2\] or"
WRONG = {
    "negative factor": (lambda: Identity(-1), "`factor` must be a number of at least 0"),
    "text": (lambda: Outside("1"), "`factor` must be a number of at least 0, received '1'"),
    "infinite factor": (lambda: Folding(np.inf), "`factor` must be a number of at least 0"),
    "power of less than 1": (
        lambda: Smoothness(power=0.5),
        "`power` must be a number of at least 1, received 0.5",
    ),
    "no parameters": (
        lambda: Identity()(None),
        "`parameters` must be a tensor or an array of numbers",
    ),
    "an image": (lambda: Smoothness()(np.zeros([1, 4, 4, 1])), FIELD),
    "no batch": (lambda: BendingEnergy()(np.zeros([4, 4, 2])), rf"{FIELD}.*received \[4, 4, 2\]"),
    "complex": (
        lambda: Folding()(tf.zeros([1, 4, 4, 2], tf.complex64)),
        "`displacement` must hold real numbers, received complex64",
    ),
    "size of a volume": (
        lambda: Outside()([[[0.0, 0.0]]], (2, 2, 2)),
        "`input_size` must be two positive integers",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_arguments_are_refused_by_name(case):
    call, message = WRONG[case]
    with pytest.raises((TypeError, ValueError), match=message):
        call()
