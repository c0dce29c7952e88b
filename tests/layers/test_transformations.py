"""Transformations: their identities, mappings, gradients, inverses, and the layer with each.

Rotations and wrappers have files of their own.
"""

import numpy as np
import pytest
import tensorflow as tf
from directional import assert_gradients_equal_differences

from tf_stn import (
    SpatialTransformer,
    affine_grid,
    fields,
    identity_grid,
    resampler,
    transformations,
)
from tf_stn._keras import keras
from tf_stn.transformations import (
    Affine,
    Attention,
    BSpline,
    Chain,
    ConstrainedAffine,
    DenseDisplacement,
    Projective,
    Rigid,
    Similarity,
    ThinPlateSpline,
    Transformation,
    Translation,
    VelocityField,
)
from tf_stn.transformations._names import NAMES

OF_IMAGES = {
    "translation": Translation(),
    "attention": Attention(),
    "attention of fixed scale": Attention(scale=1.0),
    "rigid": Rigid(),
    "similarity": Similarity(),
    "affine": Affine(),
    "constrained affine": ConstrainedAffine([[1, 0, 1], [0, 1, 1]]),
    "projective": Projective(),
    "thin plate spline": ThinPlateSpline(),
    "regularised spline": ThinPlateSpline((3, 5), regularization=0.1),
    "b-spline": BSpline((4, 6)),
}
OF_VOLUMES = {
    "translation of volumes": Translation(3, shift_units="pixels"),
    "attention of volumes": Attention(rank=3),
    "rigid of volumes": Rigid(3),
    "similarity of volumes": Similarity(3),
    "affine of volumes": Affine(3),
    "constrained affine of volumes": ConstrainedAffine([[1, 0, 0, 1], [0, 1, 0, 1], [0, 0, 1, 1]]),
    "thin plate spline of volumes": ThinPlateSpline((2, 3, 2)),
    "b-spline of volumes": BSpline((4, 4, 5)),
}
OF_POINTS = OF_IMAGES | OF_VOLUMES
FIELDS = {
    "displacement": DenseDisplacement(),
    "displacement of volumes": DenseDisplacement(3),
    "velocity": VelocityField(),
    "velocity of volumes": VelocityField(3, steps=4),
}
ALL = OF_POINTS | FIELDS
NUMBERS = {"translation": 2, "attention": 3, "attention of fixed scale": 2, "rigid": 3,
           "similarity": 4, "affine": 6, "constrained affine": 4, "projective": 8,
           "thin plate spline": 32, "regularised spline": 30, "b-spline": 48,
           "translation of volumes": 3, "attention of volumes": 4, "rigid of volumes": 6,
           "similarity of volumes": 7, "affine of volumes": 12, "constrained affine of volumes": 6,
           "thin plate spline of volumes": 36, "b-spline of volumes": 240,
           "displacement": 2, "displacement of volumes": 3, "velocity": 2,
           "velocity of volumes": 3}  # fmt: skip
MATRICES = [name for name, t in OF_POINTS.items() if t.kind in ("affine", "projective")]
INVERTIBLE = [name for name in MATRICES if name != "attention of fixed scale"]


def sizes_of(transformation):
    return ((4, 5), (6, 7)) if transformation.rank == 2 else ((2, 4, 5), (3, 6, 7))


def identity_of(transformation, size, batch=1, dtype="float64"):
    parameters = tf.constant([transformation.identity_parameters] * batch, dtype)
    if transformation.kind != "field":
        return parameters
    shape = [batch, *size, transformation.num_parameters]
    return tf.zeros(shape, dtype)


def some_parameters(rng, transformation, size, batch=2, dtype="float64"):
    identity = identity_of(transformation, size, batch, dtype)
    return identity + tf.cast(rng.normal(size=identity.shape) * 0.1, dtype)


@pytest.mark.parametrize("name", ALL)
def test_number_of_parameters(name):
    assert ALL[name].num_parameters == NUMBERS[name] == len(ALL[name].identity_parameters)


@pytest.mark.parametrize("align_corners", [True, False], ids=["corners", "edges"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ALL)
def test_identity_parameters_return_pixel_centres_exactly(name, dtype, align_corners):
    transformation = ALL[name]
    size = (5, 9) if transformation.rank == 2 else (3, 5, 9)
    warp = transformation.warp(
        identity_of(transformation, size, 1, dtype), size, size, align_corners=align_corners
    )
    expected = np.stack(np.meshgrid(*(np.arange(n) for n in size), indexing="ij")[::-1], axis=-1)
    np.testing.assert_array_equal(warp[0], expected.astype(dtype))


@pytest.mark.parametrize("name", OF_POINTS)
def test_identity_of_another_output_size_is_that_of_the_affine_grid(name):
    transformation = OF_POINTS[name]
    output_size, input_size = sizes_of(transformation)
    warp = transformation.warp(identity_of(transformation, None), output_size, input_size)
    identity = np.eye(transformation.rank, transformation.rank + 1)[None]
    np.testing.assert_allclose(warp, affine_grid(identity, output_size, input_size), atol=1e-12)


@pytest.mark.parametrize("name", ALL)
def test_gradient_of_the_warp_equals_differences(rng, name):
    transformation = ALL[name]
    output_size, input_size = sizes_of(transformation)
    parameters = some_parameters(rng, transformation, output_size)
    assert_gradients_equal_differences(
        lambda p: transformation.warp(p, output_size, input_size), [parameters]
    )


@pytest.mark.parametrize("name", MATRICES)
def test_parameters_may_be_stacked_within_a_graph(rng, name):
    """TensorFlow simplifies slices of stacks; with as many items as rows no error would show it."""
    transformation = OF_POINTS[name]
    columns = list(rng.normal(size=[transformation.num_parameters, transformation.rank]))

    def matrix(*columns):
        return transformation.matrix(tf.stack(columns, axis=-1), sizes_of(transformation)[1])

    np.testing.assert_allclose(tf.function(matrix)(*columns), matrix(*columns), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", MATRICES)
def test_warp_maps_points_in_homogeneous_coordinates(rng, name):
    """Written out in NumPy: the matrix times (x, y[, z], 1), over its last coordinate."""
    transformation = OF_POINTS[name]
    parameters = some_parameters(rng, transformation, None)
    output_size, input_size = sizes_of(transformation)
    matrices = np.zeros([2, transformation.rank + 1, transformation.rank + 1])
    matrices[:, -1, -1] = 1
    matrix = transformation.matrix(parameters, input_size)
    matrices[:, : matrix.shape[1]] = matrix
    warp = transformation.warp(parameters, output_size, input_size)
    for where in np.ndindex(2, *output_size):
        sides = zip(where[1:], output_size, strict=True)
        point = [2 * i / (n - 1) - 1 for i, n in sides][::-1]
        mapped = matrices[where[0]] @ [*point, 1.0]
        pixel = (mapped[:-1] / mapped[-1] + 1) * (np.array(input_size[::-1]) - 1) / 2
        np.testing.assert_allclose(warp[where], pixel, atol=1e-12)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("align_corners", [True, False], ids=["corners", "edges"])
def test_points_are_mapped_as_the_warp_has_them(rng, name, align_corners):
    """For all images, of each image, normalised and in pixels."""
    transformation = ALL[name]
    output_size, input_size = sizes_of(transformation)
    parameters = some_parameters(rng, transformation, output_size)
    options = {"align_corners": align_corners}
    warp = transformation.warp(parameters, output_size, input_size, **options)
    expected = tf.reshape(warp, [2, -1, transformation.rank])
    pixels = tf.reshape(identity_grid(output_size, dtype="float64"), [1, -1, transformation.rank])
    sizes = {"input_size": input_size, "output_size": output_size, **options}
    of_all = transformation.map_points(parameters, pixels[0], units="pixels", **sizes)
    np.testing.assert_allclose(of_all, expected, rtol=0, atol=1e-11)
    of_each = tf.stack([pixels[0, :5], pixels[0, 3:8]])
    mapped = transformation.map_points(parameters, of_each, units="pixels", **sizes)
    np.testing.assert_allclose(mapped, [expected[0, :5], expected[1, 3:8]], rtol=0, atol=1e-11)
    span = np.array(output_size[::-1]) - (1 if align_corners else 0)
    normalised = (2 * pixels[0] - (np.array(output_size[::-1]) - 1.0)) / span
    mapped = transformation.map_points(parameters, normalised, **sizes)
    input_span = np.array(input_size[::-1]) - (1 if align_corners else 0)
    in_pixels = (mapped * input_span + np.array(input_size[::-1]) - 1) / 2
    np.testing.assert_allclose(in_pixels, expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("name", ALL)
def test_gradients_of_mapped_points_equal_differences(rng, name):
    transformation = ALL[name]
    output_size, input_size = sizes_of(transformation)
    parameters = some_parameters(rng, transformation, output_size)
    points = rng.uniform(-0.9, 0.9, [2, 3, transformation.rank])
    assert_gradients_equal_differences(
        lambda p, x: transformation.map_points(p, x, input_size), [parameters, points]
    )


@pytest.mark.parametrize("name", ALL)
def test_several_transformations_of_each_image_are_a_batch_of_them(rng, name):
    transformation = ALL[name]
    output_size, input_size = sizes_of(transformation)
    flat = some_parameters(rng, transformation, output_size, batch=6)
    several = tf.reshape(flat, [2, 3, *flat.shape[1:]])
    warp = transformation.warp(several, output_size, input_size)
    expected = transformation.warp(flat, output_size, input_size)
    np.testing.assert_array_equal(warp, tf.reshape(expected, [2, 3, *expected.shape[1:]]))
    points = rng.uniform(-1, 1, [2, 4, transformation.rank])
    mapped = transformation.map_points(several, points, input_size)
    of_each = transformation.map_points(flat, np.repeat(points, 3, axis=0), input_size)
    np.testing.assert_array_equal(mapped, tf.reshape(of_each, [2, 3, 4, transformation.rank]))


@pytest.mark.parametrize("name", ALL)
def test_sizes_and_shapes_may_be_known_late(rng, run, name):
    transformation = ALL[name]
    output_size, input_size = sizes_of(transformation)
    parameters = some_parameters(rng, transformation, output_size, dtype="float32")

    def warp(parameters, output_size, input_size):
        if transformation.kind == "field":
            parameters = tf.ensure_shape(parameters, [None] * (transformation.rank + 2))
        return transformation.warp(parameters, output_size, input_size)

    result = run(warp, parameters, output_size, input_size)
    expected = transformation.warp(parameters, output_size, input_size)
    np.testing.assert_allclose(result, expected, rtol=0, atol=1e-5)


LISTS = {"Translation": [[0.7, 0.1]], "Attention": [[0.7, 0.1, 0.2]], "Projective": [[0.7] * 8]}


@pytest.mark.parametrize(
    "transformation", [Translation(), Attention(), Projective()], ids=lambda t: type(t).__name__
)
@pytest.mark.parametrize(
    "convert, dtype",
    [
        (list, "float32"),
        (np.array, "float64"),
        (lambda x: np.array(x, np.float32), "float32"),
        (lambda x: np.array(x, np.int64), "float32"),
        (lambda x: tf.constant(x, tf.float16), "float32"),
        (lambda x: tf.constant(x, tf.bfloat16), "float32"),
        (lambda x: tf.Variable(x, dtype=tf.float64), "float64"),
    ],
    ids=["list", "float64", "float32", "int64", "half", "bfloat16", "variable"],
)
def test_parameters_are_converted(transformation, convert, dtype):
    values = convert(LISTS[type(transformation).__name__])
    matrix = transformation.matrix(values)
    assert matrix.dtype == dtype
    same = transformation.matrix(tf.cast(values, dtype))
    np.testing.assert_array_equal(matrix, same)


@pytest.mark.parametrize(
    "transformation, parameters, error, message",
    [
        (Attention(), [[0.25, 0.5]], ValueError, r"Attention .*\[batch, ..., 3\].*\[1, 2\]"),
        (Affine(), np.zeros([1, 12]), ValueError, r"Affine .*\[batch, ..., 6\].*\[1, 12\]"),
        (Similarity(), [1.0, 0.0, 0.0, 0.0], ValueError, r"Similarity .*4\], received \[4\]"),
        (Projective(), np.zeros([1, 9]), ValueError, r"Projective .*8\], received \[1, 9\]"),
        (DenseDisplacement(), np.zeros([4, 4, 2]), ValueError, "DenseDisplacement .*height, width"),
        (Rigid(3), [["a"] * 6], TypeError, "Rigid .* must hold real numbers, received string"),
        (Rigid(3), tf.zeros([1, 6], tf.complex64), TypeError, "Rigid .*received complex64"),
        (Rigid(3), None, TypeError, "Rigid .* received None"),
        (Rigid(3), tf.ragged.constant([[1.0], [1.0, 2.0]]), TypeError, "Rigid .*<tf.Rag"),
        (Rigid(3), [[1.0], [1.0, 2.0]], ValueError, "`parameters` of Rigid .* array of numbers"),
    ],
    ids=["too few", "too many", "no batch", "nine", "no field", "text", "complex", "None",
         "ragged", "unequal rows"],
)  # fmt: skip
def test_wrong_parameters_are_refused_by_class(transformation, parameters, error, message):
    with pytest.raises(error, match=message):
        transformation.warp(parameters, *sizes_of(transformation))


def test_wrong_counts_known_late_are_refused_when_the_graph_runs():
    matrix = tf.function(Affine().matrix, input_signature=[tf.TensorSpec(None, tf.float32)])
    assert matrix(tf.zeros([3, 2, 6])).shape == (3, 2, 2, 3)
    with pytest.raises(tf.errors.InvalidArgumentError, match="`parameters` of Affine"):
        matrix(tf.zeros([1, 12]))


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: Rigid().matrix([[0.1, 0, 0]]), "`input_size` must be given: the map of Rigid"),
        (lambda: Affine().matrix([[0.0] * 6], (4, 0)), "`input_size` must be two positive"),
        (lambda: Affine().matrix([[0.0] * 6], units="pixels"), "`input_size` must be given"),
        (lambda: Affine().matrix([[0.0] * 6], units="px"), "`units` must be one of"),
        (lambda: Affine().warp([[0.0] * 6], (4, 5), None), "`input_size` must be two positive"),
        (
            lambda: Affine().map_points([[0.0] * 6], [0.0, 0.0]),
            r"`points` must .* \[n, 2\]",
        ),
        (lambda: Affine().map_points([[0.0] * 6], [[0.0] * 3]), r"received \[1, 3\]"),
        (lambda: Affine().map_points([[0.0] * 6], np.zeros([2, 4, 2])), "batch of `parameters`, 1"),
        (lambda: Rigid().matrix([[0.0] * 3], (4, 5), spacing=[1.0] * 3), "`spacing` must have"),
        (lambda: ThinPlateSpline().matrix([[0.0] * 32]), "ThinPlateSpline has no matrix"),
        (lambda: DenseDisplacement().matrix(np.zeros([1, 4, 4, 2])), "DenseDisplacement has no"),
    ],
)
def test_wrong_calls_are_refused_by_name(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_python_numbers_are_not_rounded_on_the_way(dtype):
    number = np.array(0.7, dtype)
    matrix = Attention(scale=0.7).matrix(np.zeros([1, 2], dtype))
    assert matrix[0, 0, 0].numpy() == number
    constrained = ConstrainedAffine([[1, 0, 0], [0, 0, 0]], [[0, 0, 0.7], [0, 0.7, 0]])
    matrix = constrained.matrix(np.zeros([1, 1], dtype))
    assert matrix[0, 0, 2].numpy() == matrix[0, 1, 1].numpy() == number


def test_attention_scales_and_shifts():
    theta = Attention().matrix([[0.5, 0.1, -0.2]])
    np.testing.assert_allclose(theta, [[[0.5, 0, 0.1], [0, 0.5, -0.2]]], rtol=1e-6)
    theta = Attention(scale=0.25).matrix(tf.constant([[0.1, -0.2]]))
    np.testing.assert_allclose(theta, [[[0.25, 0, 0.1], [0, 0.25, -0.2]]], rtol=1e-6)


def test_similarity_turns_and_scales():
    parameters = tf.constant([[2.0, np.pi / 2, 0.1, 0.2]], tf.float64)
    theta = Similarity().matrix(parameters, (5, 5))
    np.testing.assert_allclose(theta, [[[0, -2, 0.1], [2, 0, 0.2]]], atol=1e-12)


def test_rotation_of_volumes_turns_about_x_then_y_then_z(rng):
    angles = rng.normal(size=3)
    turns = []
    for axis, angle in enumerate(angles):
        turn, (i, j) = np.eye(3), [k for k in range(3) if k != axis]
        sign = -1 if axis == 1 else 1
        turn[i, i] = turn[j, j] = np.cos(angle)
        turn[i, j], turn[j, i] = -sign * np.sin(angle), sign * np.sin(angle)
        turns.append(turn)
    theta = Rigid(3).matrix(np.array([[*angles, 1.0, 2.0, 3.0]]), (4, 4, 4))
    np.testing.assert_allclose(theta[0, :, :3], turns[2] @ turns[1] @ turns[0], atol=1e-12)
    np.testing.assert_array_equal(theta[0, :, 3], [1, 2, 3])


def test_fixed_entries_stay_and_free_ones_are_parameters():
    transformation = ConstrainedAffine([[0, 1, 0], [0, 0, 1]], fixed=[[2, 0, 5], [0, 3, 0.5]])
    assert transformation.identity_parameters == (0.0, 0.5)
    theta = transformation.matrix(tf.constant([[7.0, 8.0]]))
    np.testing.assert_array_equal(theta, [[[2, 7, 5], [0, 3, 8]]])


def test_scale_of_zero_shows_one_point_everywhere():
    for transformation in (Attention(), Similarity()):
        parameters = np.zeros([1, transformation.num_parameters], np.float32)
        warp = transformation.warp(tf.constant(parameters), (3, 4), (5, 7))
        np.testing.assert_array_equal(warp, np.broadcast_to([3.0, 2.0], [1, 3, 4, 2]))


def test_points_at_infinity_are_outside_with_finite_gradients():
    """The denominator is x, which vanishes in the middle column."""
    parameters = tf.Variable([[1.0, 0.0, 0.5, 0.0, 1.0, 0.0, 1.0, 0.0]])
    parameters[0, 6].assign(1e8)  # So that the last entry, 1, is nothing beside it.
    with tf.GradientTape() as tape:
        warp = Projective().warp(parameters, (3, 3), (5, 5))
        output = resampler(tf.ones([1, 5, 5, 1]), warp)
    assert np.isfinite(warp).all()
    assert np.isfinite(tape.gradient(output, parameters)).all()
    singular = tf.constant([[1.0, 0.0, 0.5, 0.0, 1.0, 0.5, -1.0, 0.0]])  # 1 - x is 0 at x = 1.
    warp = Projective().warp(singular, (3, 3), (5, 5))
    assert np.isfinite(warp).all()
    assert (np.abs(warp[0, :, 2]).max(axis=-1) > 1e5).all()


ENDS = np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])  # The output's corners.
QUADRILATERALS = {
    "convex": [[-0.9, -0.5], [0.7, -1.0], [1.2, 0.8], [-0.4, 0.6]],
    "other way around": [[0.7, -1.0], [-0.9, -0.5], [-0.4, 0.6], [1.2, 0.8]],
    "small and far off": [[5.001, 7.0], [5.004, 7.001], [5.003, 7.006], [5.0, 7.003]],
    "not convex": [[-1.0, -1.0], [1.0, -1.0], [0.0, -0.5], [-1.0, 1.0]],
}


def homography_solved(corners):
    """Returns the parameters as textbooks have them: of eight linear equations."""
    rows, values = [], []
    for (x, y), (u, v) in zip(ENDS, corners, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        values += [u, v]
    return np.linalg.solve(rows, values)


@pytest.mark.parametrize("name", QUADRILATERALS)
def test_parameters_of_corners_take_the_corners_there(run, name):
    corners = np.array(QUADRILATERALS[name])
    parameters = run(Projective().parameters_of_corners, corners[None])
    np.testing.assert_allclose(parameters[0], homography_solved(corners), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(
        Projective().map_points(parameters, tf.constant(ENDS))[0], corners, atol=1e-12
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_parameters_of_corners_that_stay_are_the_identity(dtype):
    parameters = Projective().parameters_of_corners(tf.constant(ENDS[None], dtype))
    assert parameters.dtype == dtype
    np.testing.assert_array_equal(parameters[0], Projective.identity_parameters)


@pytest.mark.parametrize("name", QUADRILATERALS)
def test_gradient_of_the_parameters_of_corners_equals_differences(name):
    analytic, numeric = tf.test.compute_gradient(
        lambda offset: Projective().parameters_of_corners(offset + QUADRILATERALS[name]),
        [tf.zeros([1, 4, 2], tf.float64)],
        delta=1e-7,
    )
    np.testing.assert_allclose(analytic[0], numeric[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "corners",
    [[[0.3, 0.2]] * 4, [[-1, -0.1], [0, 0], [0.5, 0.05], [1, 0.1]],
     [[-1, -1], [1, 1], [1, -1], [-1, 1]]],
    ids=["one point", "a line", "crossed over"],
)  # fmt: skip
def test_corners_without_an_area_have_the_affine_map_closest_to_them(corners, dtype):
    corners = tf.Variable([corners], dtype=dtype)
    with tf.GradientTape() as tape:
        parameters = Projective().parameters_of_corners(corners)
    system = np.concatenate([ENDS, np.ones([4, 1])], axis=1)
    closest = np.linalg.lstsq(system, corners[0].numpy(), rcond=None)[0].T
    np.testing.assert_allclose(parameters[0], [*closest.ravel(), 0, 0], atol=1e-6)
    assert np.isfinite(tape.gradient(parameters, corners)).all()


def test_three_corners_in_line_map_everything_onto_it(rng):
    corners = tf.constant([[[-1.0, -0.5], [0.0, 0.0], [1.0, 0.5], [-1.0, 1.0]]], tf.float64)
    parameters = Projective().parameters_of_corners(corners)
    x, y = tf.unstack(Projective().map_points(parameters, rng.uniform(-1, 1, [50, 2]))[0], axis=-1)
    np.testing.assert_allclose(y, x / 2, atol=1e-12)


def test_map_between_quadrilaterals_is_composed(rng):
    projective = Projective()
    source, target = (tf.constant(ENDS + rng.uniform(-0.4, 0.4, [3, 4, 2])) for _ in range(2))
    parameters = projective.compose(
        projective.parameters_of_corners(target),
        projective.inverse(projective.parameters_of_corners(source)),
    )
    for parameter, before, after in zip(parameters, source, target, strict=True):
        mapped = projective.map_points(parameter[None], before)
        np.testing.assert_allclose(mapped[0], after, atol=1e-12)


def test_corners_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"`corners` must have shape \[batch, 4, 2\].*\[4, 2\]"):
        Projective().parameters_of_corners(ENDS)


@pytest.mark.parametrize("name", ["thin plate spline", "regularised spline"])
def test_spline_takes_control_points_to_their_places(rng, name):
    spline = OF_POINTS[name]
    parameters = some_parameters(rng, spline, None)
    control = tf.reshape(tf.constant(spline.identity_parameters, tf.float64), [-1, 2])
    missed = np.abs(spline.map_points(parameters, control) - tf.reshape(parameters, [2, -1, 2]))
    assert missed.max() < 1e-12 if spline.regularization == 0 else missed.max() > 1e-3


def test_spline_of_affine_places_is_the_affine_map(rng):
    theta = np.array([[0.8, 0.3, -0.1], [-0.2, 1.1, 0.4]])
    for spline in (ThinPlateSpline((2, 3)), ThinPlateSpline(regularization=10.0)):
        control = np.reshape(spline.identity_parameters, [-1, 2])
        places = control @ theta[:, :2].T + theta[:, 2]
        points = rng.uniform(-1.5, 1.5, [20, 2])
        mapped = spline.map_points(tf.constant(places.reshape(1, -1)), tf.constant(points))
        np.testing.assert_allclose(mapped[0], points @ theta[:, :2].T + theta[:, 2], atol=1e-12)


def test_control_points_on_one_another_are_finite():
    spline = ThinPlateSpline()
    warp = spline.warp(tf.zeros([1, 32]), (6, 6), (6, 6))
    np.testing.assert_allclose(warp, np.full([1, 6, 6, 2], 2.5), atol=1e-5)


def test_displacement_is_in_pixels_of_the_input_and_interpolated_where_coarser():
    field = tf.constant([[[1.0, 0.0], [3.0, 0.5]]])[None]  # One row of two pixels.
    warp = DenseDisplacement().warp(field, (2, 3), (2, 3))
    np.testing.assert_allclose(warp[0, 0], [[1.0, 0.0], [3.0, 0.25], [5.0, 0.5]], atol=1e-6)


@pytest.mark.parametrize("name", INVERTIBLE)
def test_inverse_and_composition(rng, name):
    transformation = OF_POINTS[name]
    size = sizes_of(transformation)[1]
    a, b = (some_parameters(rng, transformation, None, batch=2) for _ in range(2))
    points = tf.constant(rng.uniform(-1, 1, [9, transformation.rank]))
    inner = transformation.map_points(b, points, size)
    both = transformation.map_points(transformation.compose(a, b, size), points, size)
    np.testing.assert_allclose(both, transformation.map_points(a, inner, size), atol=1e-12)
    back = transformation.map_points(transformation.inverse(b, size), inner, size)
    np.testing.assert_allclose(back, np.broadcast_to(points, [2, *points.shape]), atol=1e-12)


@pytest.mark.parametrize("name", INVERTIBLE)
def test_gradients_of_inverse_and_composition_equal_differences(rng, name):
    transformation = OF_POINTS[name]
    size = sizes_of(transformation)[1]
    a, b = (some_parameters(rng, transformation, None) for _ in range(2))
    assert_gradients_equal_differences(lambda a, b: transformation.compose(a, b, size), [a, b])
    assert_gradients_equal_differences(lambda a: transformation.inverse(a, size), [a])


@pytest.mark.parametrize(
    "transformation",
    [Attention(0.5), ThinPlateSpline(), BSpline(), DenseDisplacement(), Chain(Affine(), Affine()),
     ConstrainedAffine([[1, 1, 0], [0, 1, 1]], [[0, 0, 0.5], [0, 0, 0]])],
    ids=lambda item: type(item).__name__,
)  # fmt: skip
def test_inverse_and_composition_that_do_not_exist_say_so(transformation):
    parameters = identity_of(transformation, (4, 4))
    name = type(transformation).__name__
    with pytest.raises(ValueError, match=f"{name} has no `inverse` .*transformations.Inverse"):
        transformation.inverse(parameters)
    with pytest.raises(ValueError, match=f"{name} has no `compose` .*transformations.Chain"):
        transformation.compose(parameters, parameters)


def test_composition_of_different_shapes_is_refused():
    with pytest.raises(ValueError, match=r"`second` must have the shape of `first`, \[2, 6\]"):
        Affine().compose(np.zeros([2, 6]), np.zeros([3, 6]))


def test_b_spline_is_that_of_fields_and_its_control_points_are_normalised(rng):
    """In pixels a normalised displacement is half the span."""
    for spline, size in ((BSpline((5, 6)), (9, 12)), (BSpline((4, 5, 6)), (5, 6, 7))):
        control = rng.normal(size=[2, *spline.control_points, spline.rank])
        warp = spline.warp(control.reshape(2, -1), size, size)
        in_pixels = control * (np.array(size[::-1]) - 1) / 2
        expected = fields.b_spline(in_pixels, size) + identity_grid(size, dtype="float64")
        np.testing.assert_allclose(warp, expected, rtol=0, atol=1e-12)


def test_spline_of_volumes_is_that_of_fields(rng):
    spline, size = ThinPlateSpline((2, 3, 2), regularization=0.0), (5, 6, 7)
    parameters = some_parameters(rng, spline, None)
    places = tf.reshape(parameters, [2, -1, 3])
    control = tf.reshape(tf.constant(spline.identity_parameters, tf.float64), [1, -1, 3])
    # The spline of volumes is the same in pixels only where these are cubes.
    size = (5, 5, 5)
    pixels = [(each + 1) * 2 for each in (control, places)]
    expected = fields.to_warp(fields.thin_plate_spline(*pixels, size))
    np.testing.assert_allclose(spline.warp(parameters, size, size), expected, atol=1e-10)


def test_velocities_are_integrated_and_go_back_by_their_negative(rng):
    velocity = 2.0 * np.sin(
        rng.uniform(0, 6, [2, 1, 1, 2]) + np.arange(24).reshape(1, 24, 1, 1) / 5
    )
    velocity = velocity * np.ones([1, 1, 30, 1])
    size, family = (24, 30), VelocityField()
    expected = fields.to_warp(fields.exponential(velocity))
    np.testing.assert_allclose(family.warp(velocity, size, size), expected, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(family.inverse(velocity), -velocity)
    back = transformations.Inverse(family).warp(velocity, size, size)
    np.testing.assert_array_equal(back, family.warp(-velocity, size, size))


def test_coarse_velocities_are_in_pixels_of_the_input():
    """A constant velocity is that displacement, whatever the size of the field."""
    warp = VelocityField().warp(np.full([1, 4, 5, 2], 1.5), (7, 9), (7, 9))
    expected = identity_grid((7, 9), dtype="float64") + 1.5
    np.testing.assert_allclose(warp, expected, rtol=0, atol=1e-12)


def localisation_for(transformation):
    rank = transformation.rank
    convolution = keras.layers.Conv2D if rank == 2 else keras.layers.Conv3D
    pooling = (
        keras.layers.GlobalAveragePooling2D if rank == 2 else keras.layers.GlobalAveragePooling3D
    )
    layers = [convolution(3, 3, padding="same", activation="tanh")]
    return keras.Sequential(layers if transformation.kind == "field" else [*layers, pooling()])


@pytest.mark.parametrize("name", ALL)
def test_layer_starts_with_the_identity_trains_and_is_saved(rng, name, tmp_path):
    keras.utils.set_random_seed(0)
    transformation = ALL[name]
    shape = (8, 9, 2) if transformation.rank == 2 else (4, 8, 9, 2)
    layer = SpatialTransformer(localisation_for(transformation), transformation=transformation)
    model = keras.Sequential([keras.Input(shape), layer])
    images = tf.constant(rng.normal(size=[3, *shape]), tf.float32)
    np.testing.assert_array_equal(model(images), images)
    model.compile("sgd", "mse")
    target = tf.roll(images, 1, axis=-2)
    losses = model.fit(images, target, epochs=5, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again(images), model(images))


@pytest.mark.parametrize("name", NAMES)
def test_layer_takes_transformations_by_name(name):
    transformation = transformations.get(name)
    layer = SpatialTransformer(localisation_for(transformation), transformation=name)
    images = tf.ones([2, 6, 7, 1])
    np.testing.assert_array_equal(layer(images), images)
    assert layer.transformation == name
    assert layer.parameters(images).shape[-1] == transformation.num_parameters


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_made_for_the_rank(name):
    assert transformations.get(name).rank == 2
    if name != "projective":
        assert transformations.get(name, rank=3).rank == 3


def test_transformation_of_your_own_needs_two_members(rng):
    class Zoom(Transformation):
        identity_parameters = (1.0,)

        def compute_matrix(self, parameters, frame):
            zeros = tf.zeros_like(parameters)
            rows = tf.concat([parameters, zeros, zeros, zeros, parameters, zeros], axis=-1)
            return tf.reshape(rows, [-1, 2, 3])

    assert Zoom().kind == "affine"
    images = tf.constant(rng.normal(size=[2, 6, 7, 1]), tf.float32)
    layer = SpatialTransformer(localisation_for(Zoom()), transformation=Zoom())
    np.testing.assert_array_equal(layer(images), images)
    assert layer.theta(images).shape == (2, 2, 3)


def test_transformation_without_a_mapping_says_so():
    class Nothing(Transformation):
        identity_parameters = (0.0,)

    with pytest.raises(NotImplementedError, match="Nothing must have a method compute_matrix"):
        Nothing().warp(tf.zeros([1, 1]), (2, 2), (2, 2))


def test_public_methods_are_not_to_be_defined():
    with pytest.raises(TypeError, match=r"Old must not define `matrix`.*define `compute_matrix`"):
        type("Old", (Transformation,), {"matrix": lambda self, parameters: parameters})


def test_matrix_of_a_wrong_shape_is_refused_by_class():
    hooks = {"identity_parameters": (1.0,), "compute_matrix": lambda self, p, frame: p}
    wrong = type("Wrong", (Transformation,), hooks)()
    with pytest.raises(ValueError, match=r"compute_matrix of Wrong .*\[n, 2, 3\].*\[4, 1\]"):
        wrong.matrix(tf.zeros([4, 1]))


class Leaky(Transformation):
    """Keeps its argument under another name."""

    identity_parameters = (0.0,)

    def __init__(self, strength=1.0):
        self._strength = strength


class Greedy(Transformation):
    identity_parameters = (0.0,)

    def __init__(self, **options):
        self.options = options


@pytest.mark.parametrize(
    "transformation, argument", [(Leaky(0.1), "strength"), (Greedy(), "options")]
)
def test_argument_that_is_not_kept_is_named_when_the_config_is_asked_for(transformation, argument):
    name = type(transformation).__name__
    with pytest.raises(NotImplementedError, match=f"{name} cannot be saved.* `{argument}` is not"):
        transformation.get_config()


@pytest.mark.parametrize("name", ALL)
def test_equal_arguments_make_equal_transformations(name):
    transformation = ALL[name]
    again = type(transformation).from_config(transformation.get_config())
    assert again == transformation
    assert hash(again) == hash(transformation)
    assert again is not transformation
    assert type(transformation).__name__ in repr(transformation)
    assert transformation != Attention(scale=0.123)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Translation(4), "`rank` must be 2 for images or 3 for volumes, received 4"),
        (lambda: ConstrainedAffine([[1, 0]]), "`free` must be .* received"),
        (lambda: ConstrainedAffine(np.zeros([2, 3])), "at least one of them true"),
        (lambda: ConstrainedAffine(np.ones([2, 3]), [[1]]), "`fixed` must have the shape"),
        (lambda: ThinPlateSpline((1, 4)), "`control_points` must be two integers"),
        (
            lambda: ThinPlateSpline(regularization=-1),
            "`regularization` must be a number",
        ),
        (lambda: transformations.get("warp"), "`transformation` must be one of"),
        (lambda: transformations.get("tps"), "received 'tps'; did you mean 'thin_plate_spline'"),
        (lambda: transformations.get(Rigid), r"class Rigid; did you mean Rigid\(\)"),
        (lambda: transformations.get(Rigid(), rank=3), "`transformation` must be of rank 3"),
        (lambda: transformations.get("projective", rank=3), "of rank 2, received rank 3"),
        (lambda: Translation(shift_units="pixel"), "did you mean 'pixels'"),
        (lambda: Translation(rank=True), "`rank` must be 2"),
        (lambda: Attention(scale="large"), "`scale` must be a finite number or None"),
        (lambda: Rigid(spacing=(1.0, 2.0, 3.0)), "`spacing` must be 2 positive numbers"),
        (lambda: Rigid(spacing=(1.0, 0.0)), "`spacing` must be 2 positive numbers"),
        (lambda: Rigid(spacing=2.0), "`spacing` must be 2 positive numbers"),
        (lambda: BSpline((3, 7)), "of at least 4"),
        (lambda: BSpline((7,)), "`control_points` must be two integers"),
        (lambda: VelocityField(steps=-1), "`steps` must be an integer"),
    ],
)
def test_bad_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_theta_needs_a_transformation_that_has_a_matrix():
    spline = ThinPlateSpline((2, 2))
    layer = SpatialTransformer(localisation_for(spline), spline)
    layer(tf.ones([1, 5, 5, 1]))
    with pytest.raises(ValueError, match=r"theta\(\) needs a transformation that has a matrix"):
        layer.theta(tf.ones([1, 5, 5, 1]))


def test_features_of_the_wrong_rank_are_refused():
    layer = SpatialTransformer(localisation_for(Affine()), transformation="dense_displacement")
    with pytest.raises(ValueError, match=r"features of shape \[batch, height, width, features\]"):
        layer(tf.ones([1, 5, 5, 1]))
