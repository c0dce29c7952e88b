"""Wrappers: they change what parameters mean, are values, and can be saved."""

import json

import numpy as np
import pytest
import tensorflow as tf
from directional import assert_gradients_equal_differences

from tf_stn import fields, identity_grid, transformations
from tf_stn._keras import keras
from tf_stn.transformations import (
    Affine,
    Attention,
    Bounded,
    Chain,
    DenseDisplacement,
    Inverse,
    Projective,
    Rigid,
    Scaled,
    Several,
    Similarity,
    StartingAt,
    ThinPlateSpline,
    Tiled,
    Translation,
    VelocityField,
)

SIZE = (9, 14)
NESTED = {
    "bounded": Bounded(Rigid(spacing=(2.0, 1.0)), [0.1, 0.2, np.inf]),
    "low and high": Bounded(Attention(), low=(0.2, -1, -1), high=(3, 1, 1)),
    "scaled": Scaled(Affine(), 0.3, gradient=0.5),
    "starting": StartingAt(Attention(), (0.5, 0.1, 0.0)),
    "all of these": Bounded(Scaled(StartingAt(Attention(), (0.5, 0, 0)), 0.1), 0.4),
    "several": Several(Bounded(Translation(), 0.5), 3),
    "bounded tiles": Bounded(Tiled(Attention(), (2, 3)), 0.2),
    "bounded each": Bounded(Several(Translation(), 2), [[0.1, 0.2], [0.3, 0.4]]),
    "several starts": StartingAt(Several(Translation(), 2), [[0.1, 0.2], [0.3, 0.4]]),
    "chain": Chain(Inverse(Rigid(spacing=(2, 1))), Bounded(Attention(), 0.4)),
    "chain of tiles": Chain(Translation(), Tiled(Attention(), (1, 2))),
    "projective chain": Chain(Affine(), Projective()),
    "inverse of it": Inverse(Chain(Projective(), Affine())),
    "chain with a spline": Chain(Rigid(), ThinPlateSpline((2, 3))),
    "bounded field": Bounded(DenseDisplacement(), 2.0),
    "chain of fields": Chain(VelocityField(), Bounded(DenseDisplacement(), 2.0)),
    "inverse of fields": Inverse(Chain(VelocityField(), VelocityField(steps=5))),
}


def initial(transformation, batch=2, dtype=np.float64):
    """Parameters of a batch of images at the start."""
    start = np.array(transformation.initial_parameters, dtype)
    sides = SIZE if transformation.kind == "field" else ()
    return np.broadcast_to(start, [batch, *start.shape[:-1], *sides, start.shape[-1]])


@pytest.mark.parametrize("name", NESTED)
def test_wrappers_through_json_are_equal_and_compute_the_same(rng, name):
    transformation = NESTED[name]
    text = json.dumps(keras.saving.serialize_keras_object(transformation))
    again = keras.saving.deserialize_keras_object(json.loads(text))
    assert again == transformation
    assert hash(again) == hash(transformation)
    parameters = initial(transformation) + 0.1 * rng.normal(size=initial(transformation).shape)
    warp = transformation.warp(parameters, SIZE, SIZE)
    np.testing.assert_array_equal(again.warp(parameters, SIZE, SIZE), warp)


@pytest.mark.parametrize("name", NESTED)
def test_parameter_shape_is_that_of_the_initial_parameters(name):
    transformation = NESTED[name]
    shape = initial(transformation).shape[1:]
    assert all(a in (None, b) for a, b in zip(transformation.parameter_shape, shape, strict=True))
    several = shape[:1] if transformation.count else ()
    warp = transformation.warp(initial(transformation), SIZE, SIZE)
    assert warp.shape == (2, *several, *SIZE, 2)


@pytest.mark.parametrize("name", [name for name in NESTED if name != "scaled"])
def test_gradients_of_wrappers_equal_differences(rng, name):
    transformation = NESTED[name]
    parameters = initial(transformation) + rng.uniform(0.02, 0.2, initial(transformation).shape)
    assert_gradients_equal_differences(lambda p: transformation.warp(p, (4, 5), SIZE), [parameters])


@pytest.mark.parametrize("name", [name for name in NESTED if "field" not in name])
def test_wrappers_map_points_as_their_warp(rng, name):
    transformation = NESTED[name]
    parameters = initial(transformation) + 0.1 * rng.normal(size=initial(transformation).shape)
    pixels = tf.reshape(identity_grid(SIZE, dtype="float64"), [-1, 2])
    mapped = transformation.map_points(parameters, pixels, SIZE, units="pixels")
    warp = transformation.warp(parameters, SIZE, SIZE)
    np.testing.assert_allclose(mapped, tf.reshape(warp, mapped.shape), rtol=0, atol=1e-11)


@pytest.mark.parametrize("name", [n for n, t in NESTED.items() if t.kind == "affine"])
def test_wrappers_of_affine_families_have_matrices(name):
    transformation = NESTED[name]
    several = () if transformation.count is None else (transformation.count,)
    matrix = transformation.matrix(initial(transformation), SIZE)
    assert matrix.shape == (2, *several, 2, 3)


@pytest.mark.parametrize("name", ["bounded", "low and high", "all of these", "bounded tiles"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_bounded_keeps_the_start_exactly(name, dtype):
    transformation = NESTED[name]
    start = initial(transformation, dtype=dtype)
    np.testing.assert_array_equal(
        transformation.warp(start, SIZE, SIZE),
        transformation.transformation.warp(start, SIZE, SIZE),
    )


def test_bounds_hold_on_each_side():
    bounded = Bounded(Attention(), low=(0.2, -1.0, -np.inf), high=(3.0, 0.5, 0.25))
    for value, expected in ((-1e3, (0.2, -1.0, -1e3)), (1e3, (3.0, 0.5, 0.25))):
        matrix = bounded.matrix([[value] * 3])[0].numpy()
        np.testing.assert_allclose([matrix[0, 0], *matrix[:, 2]], expected, rtol=1e-6)
    symmetric = Bounded(StartingAt(Translation(), (0.25, 0.0)), 0.5)
    np.testing.assert_allclose(symmetric.matrix([[9e9, -9e9]])[0, :, 2], [0.75, -0.5])


def test_bounds_have_slope_1_and_no_curvature_at_the_start():
    bounded = NESTED["low and high"]
    start = tf.constant([bounded.initial_parameters], tf.float64)
    with tf.GradientTape() as outer:
        outer.watch(start)
        with tf.GradientTape() as tape:
            tape.watch(start)
            value = tf.reduce_sum(bounded.matrix(start) * [[[1.0, 0, 2], [0, 0, 3]]])
        slope = tape.gradient(value, start)
    np.testing.assert_allclose(slope, [[1, 2, 3]], atol=1e-15)
    np.testing.assert_allclose(outer.gradient(slope, start), [[0, 0, 0]], atol=1e-15)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_bounds_and_scales_reach_float64_unrounded(dtype):
    number = np.array(0.7, dtype)
    far = np.array([[1e9, 0.0]], dtype)
    assert Bounded(Translation(), 0.7).matrix(far)[0, 0, 2].numpy() == number
    assert Scaled(Translation(), 0.7).matrix(far / 1e9)[0, 0, 2].numpy() == number


def test_scaled_moves_less_and_its_gradient_alone_may_be_less(rng):
    start, parameters = (0.5, 0.25, 0.0), rng.normal(size=[2, 3])
    inner = StartingAt(Attention(), start)
    moved = np.array(start) + 0.1 * (parameters - start)
    np.testing.assert_allclose(
        Scaled(inner, 0.1).matrix(parameters), inner.matrix(moved), rtol=0, atol=1e-15
    )
    slow = Scaled(inner, gradient=0.1)
    np.testing.assert_array_equal(slow.matrix(parameters), inner.matrix(parameters))
    slopes = []
    for transformation in (slow, inner):
        variable = tf.Variable(parameters)
        with tf.GradientTape() as tape:
            matrix = transformation.matrix(variable)
        slopes.append(tape.gradient(matrix, variable))
    np.testing.assert_allclose(slopes[0], 0.1 * slopes[1], rtol=1e-12)
    assert (slopes[1].numpy() != 0).any()


def test_several_are_each_the_inner_one(rng):
    parameters = rng.normal(size=[2, 3, 3])
    matrix = Several(Rigid(), 3).matrix(parameters, SIZE)
    for i in range(3):
        np.testing.assert_array_equal(matrix[:, i], Rigid().matrix(parameters[:, i], SIZE))
    back = Several(Rigid(), 3).inverse(parameters, SIZE)
    np.testing.assert_array_equal(back[:, 1], Rigid().inverse(parameters[:, 1], SIZE))


@pytest.mark.parametrize(
    "family, expected",
    [
        (Attention(), [(0.5, x, y) for y in (-0.5, 0.5) for x in (-2 / 3, 0, 2 / 3)]),
        (Attention(0.25), [(x, y) for y in (-0.5, 0.5) for x in (-2 / 3, 0, 2 / 3)]),
        (
            Affine(),
            [(1 / 3, 0, x, 0, 0.5, y) for y in (-0.5, 0.5) for x in (-2 / 3, 0, 2 / 3)],
        ),
        (Similarity(), [(0.5, 0, x, y) for y in (-0.5, 0.5) for x in (-2 / 3, 0, 2 / 3)]),
    ],
    ids=["attention", "attention of fixed scale", "affine", "similarity"],
)
def test_tiles_start_side_by_side(family, expected):
    np.testing.assert_allclose(Tiled(family, (2, 3)).initial_parameters, expected, atol=1e-15)


def test_tiles_of_affine_maps_are_the_image_cut_up():
    tiled = Tiled(Affine(), (2, 2))
    warp = tiled.warp(initial(tiled, 1), (4, 4), (8, 8), align_corners=False)
    expected = [
        identity_grid((8, 8), dtype="float64")[0, y : y + 4, x : x + 4]
        for y in (0, 4)
        for x in (0, 4)
    ]
    np.testing.assert_allclose(warp[0], expected, atol=1e-12)


def test_tiles_of_volumes_have_slices_too():
    tiled = Tiled(Attention(rank=3), (1, 1, 2))
    assert tiled.initial_parameters == ((1.0, -0.5, 0.0, 0.0), (1.0, 0.5, 0.0, 0.0))


@pytest.mark.parametrize(
    "first, second",
    [(Rigid(), Attention()), (Affine(), Projective()), (ThinPlateSpline((2, 2)), Rigid())],
    ids=["affine", "projective", "points"],
)
def test_chain_reads_where_first_takes_what_second_says(rng, first, second):
    chain = Chain(first, second)
    parameters = initial(chain) + 0.1 * rng.normal(size=initial(chain).shape)
    points = rng.uniform(-1, 1, [2, 5, 2])
    count = first.num_parameters
    between = second.map_points(parameters[:, count:], points, SIZE)
    expected = first.map_points(parameters[:, :count], between, SIZE)
    mapped = chain.map_points(parameters, points, SIZE)
    np.testing.assert_allclose(mapped, expected, rtol=0, atol=1e-12)
    kinds = ("affine", "projective", "points")
    assert chain.kind == max(first.kind, second.kind, key=kinds.index)


def test_chain_of_fields_is_their_composition(rng):
    first, second = (2 * rng.random([2, *SIZE, 2]) for _ in range(2))
    chain = Chain(DenseDisplacement(), DenseDisplacement())
    warp = chain.warp(np.concatenate([first, second], axis=-1), SIZE, SIZE)
    expected = fields.to_warp(fields.compose(first, second))
    np.testing.assert_allclose(warp, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "transformation",
    [Affine(3), Projective(), Chain(Projective(), Affine()), Bounded(Similarity(3), 0.3)],
    ids=lambda t: f"{type(t).__name__} of rank {t.rank}",
)
def test_inverse_maps_back_and_is_exact_for_the_identity(rng, transformation):
    size = (9, 14) if transformation.rank == 2 else (4, 9, 14)
    start = np.array([transformation.identity_parameters] * 2)
    parameters = start + 0.1 * rng.normal(size=start.shape)
    points = rng.uniform(-1, 1, [2, 5, transformation.rank])
    there = transformation.map_points(parameters, points, size)
    back = Inverse(transformation).map_points(parameters, there, size)
    np.testing.assert_allclose(back, points, rtol=0, atol=1e-11)
    matrix = Inverse(transformation).matrix(start.astype(np.float32), size)
    np.testing.assert_array_equal(matrix[0], np.eye(*matrix.shape[1:]))


def test_inverse_of_velocities_is_integrated_back(rng):
    """Chained, both nearly cancel; what remains is the error of interpolation."""
    rows = np.arange(30).reshape(1, 30, 1, 1) / 8
    velocity = 1.5 * np.sin(rng.uniform(0, 6, [1, 1, 1, 2]) + rows) * np.ones([1, 1, 40, 1])
    family = VelocityField()
    there_and_back = Chain(family, Inverse(family))
    size = velocity.shape[1:3]
    warp = there_and_back.warp(np.concatenate([velocity] * 2, axis=-1), size, size)
    away = np.abs(warp - identity_grid(size, dtype="float64"))[:, 4:-4, 4:-4]
    assert away.max() < 0.02
    assert np.abs(velocity).max() > 1


def test_wrappers_in_a_functional_model_are_saved_with_it(rng, tmp_path):
    transformation = Bounded(Rigid(spacing=(2.0, 1.0)), 0.5)
    parameters = keras.Input((3,))
    outputs = [
        transformation.matrix(parameters, SIZE),
        transformation.map_points(parameters, [[0.5, 0.5]], SIZE),
        transformation.warp(parameters, (3, 4), SIZE),
        Rigid().compose(parameters, Rigid().inverse(parameters, SIZE), SIZE),
        Projective().parameters_of_corners(keras.layers.RepeatVector(4)(parameters)[..., :2]),
    ]
    model = keras.Model(parameters, outputs)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    values = rng.normal(size=[2, 3]).astype(np.float32)
    expected = transformation.matrix(values, SIZE)
    np.testing.assert_allclose(model(values)[0], expected, rtol=0, atol=1e-6)
    for ours, expected in zip(again(values), model(values), strict=True):
        np.testing.assert_array_equal(ours, expected)


@pytest.mark.parametrize(
    "make, error, message",
    [
        (lambda: Bounded(Rigid), TypeError, "`transformation` must be a transformation, an object"),
        (lambda: Bounded(Rigid()), ValueError, "either `bound` or both `low` and `high`"),
        (lambda: Bounded(Rigid(), 1.0, low=0.0), ValueError, "either `bound` or both"),
        (lambda: Bounded(Rigid(), -1.0), ValueError, "`bound` must be positive, received -1.0"),
        (lambda: Bounded(Rigid(), [1.0, 2.0]), ValueError, r"`bound` must be a number, or .*\[3\]"),
        (lambda: Bounded(Rigid(), "far"), ValueError, "`bound` must be .* received 'far'"),
        (
            lambda: Bounded(Attention(), low=(1.0, -1, -1), high=(2, 1, 1)),
            ValueError,
            r"on either side of the start \[1.0, 0.0, 0.0\]",
        ),
        (lambda: Scaled(Rigid(), 0.0), ValueError, "`scale` must be a positive number"),
        (lambda: Scaled(Rigid(), gradient=-1), ValueError, "`gradient` must be a number"),
        (
            lambda: StartingAt(Rigid(), [0.0]),
            ValueError,
            r"`parameters` must be .*\[3\]",
        ),
        (lambda: StartingAt(Rigid(), [np.inf] * 3), ValueError, "`parameters` must be finite"),
        (lambda: Several(Rigid(), 0), ValueError, "`count` must be an integer of at least 1"),
        (lambda: Several(Several(Rigid(), 2), 2), ValueError, "must be one, not several already"),
        (lambda: Tiled(Attention(), (2,)), ValueError, "`tiles` must be 2 positive integers"),
        (lambda: Tiled(Attention(), (2, 0)), ValueError, "`tiles` must be 2 positive integers"),
        (lambda: Tiled(Projective(), (2, 2)), ValueError, "`transformation` must have windows"),
        (lambda: Tiled(Rigid(shift_units="pixels"), (2, 2)), ValueError, "normalised shifts"),
        (
            lambda: Chain(Rigid(), Rigid(3)),
            ValueError,
            "`second` must be of the rank of",
        ),
        (lambda: Chain(Rigid(), DenseDisplacement()), ValueError, "must both be fields or neither"),
        (lambda: Chain(Several(Rigid(), 2), Several(Rigid(), 3)), ValueError, "as many of each"),
        (lambda: Inverse(ThinPlateSpline()), ValueError, "fields.inverse finds the map back"),
        (lambda: Inverse(DenseDisplacement()), ValueError, "fields.inverse finds the map back"),
    ],
)
def test_bad_arguments_are_named(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize(
    "transformation, shape, message",
    [
        (Several(Rigid(), 3), (2, 2, 3), r"of Several must have shape \[batch, 3, 3\]"),
        (Tiled(Attention(), (1, 2)), (2, 3), r"of Tiled must have shape \[batch, 2, 3\]"),
        (Bounded(Rigid(), 1.0), (2, 4), r"of Bounded must have shape \[batch, ..., 3\]"),
    ],
    ids=["several", "tiled", "bounded"],
)
def test_wrong_parameters_name_the_class_that_was_called(transformation, shape, message):
    with pytest.raises(ValueError, match=message):
        transformation.warp(np.zeros(shape), SIZE, SIZE)


def test_numpy_integers_are_integers():
    assert Several(Rigid(), np.int64(2)) == Several(Rigid(), 2)
    assert Tiled(Attention(), np.array([1, 2])) == Tiled(Attention(), (1, 2))
    assert transformations.get("rigid", rank=np.int64(3)) == Rigid(3)
