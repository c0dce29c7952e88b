"""Transformations: their identities, mappings, gradients, inverses, and the layer with each."""

import numpy as np
import pytest
import tensorflow as tf

from tf_stn import SpatialTransformer, affine_grid, resampler, transformations
from tf_stn._keras import keras
from tf_stn.transformations import (
    Affine,
    Attention,
    ConstrainedAffine,
    DenseDisplacement,
    Projective,
    Rigid,
    Similarity,
    ThinPlateSpline,
    Transformation,
    Translation,
)

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
    "regularised spline": ThinPlateSpline((3, 5), regularisation=0.1),
}
OF_VOLUMES = {
    "translation of volumes": Translation(3),
    "attention of volumes": Attention(rank=3),
    "rigid of volumes": Rigid(3),
    "similarity of volumes": Similarity(3),
    "affine of volumes": Affine(3),
}
OF_POINTS = OF_IMAGES | OF_VOLUMES
FIELDS = {"displacement": DenseDisplacement(), "displacement of volumes": DenseDisplacement(3)}
ALL = OF_POINTS | FIELDS
NUMBERS = {"translation": 2, "attention": 3, "attention of fixed scale": 2, "rigid": 3,
           "similarity": 4, "affine": 6, "constrained affine": 4, "projective": 8,
           "thin plate spline": 32, "regularised spline": 30, "translation of volumes": 3,
           "attention of volumes": 4, "rigid of volumes": 6, "similarity of volumes": 7,
           "affine of volumes": 12, "displacement": 2, "displacement of volumes": 3}  # fmt: skip


INVERTIBLE = ["translation", "attention", "affine", "rigid", "similarity", "projective"]


def sizes_of(transformation):
    return ((4, 5), (6, 7)) if transformation.rank == 2 else ((2, 4, 5), (3, 6, 7))


def identity_of(transformation, size, batch=1, dtype="float64"):
    parameters = tf.constant([transformation.identity_parameters] * batch, dtype)
    if not transformation.is_field:
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
        identity_of(transformation, size, 1, dtype), size, size, align_corners
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
    analytic, numeric = tf.test.compute_gradient(
        lambda p: transformation.warp(p, output_size, input_size), [parameters], delta=1e-5
    )
    np.testing.assert_allclose(analytic[0], numeric[0], atol=1e-7)


@pytest.mark.parametrize("name", [name for name, t in OF_POINTS.items() if hasattr(t, "matrix")])
def test_parameters_may_be_stacked_within_a_graph(rng, name):
    """TensorFlow simplifies slices of stacks; with as many items as rows no error would show it."""
    transformation = OF_POINTS[name]
    columns = list(rng.normal(size=[transformation.num_parameters, transformation.rank]))

    def matrix(*columns):
        return transformation.matrix(tf.stack(columns, axis=-1))

    np.testing.assert_allclose(tf.function(matrix)(*columns), matrix(*columns), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", [name for name in OF_POINTS if "spline" not in name])
def test_warp_maps_points_in_homogeneous_coordinates(rng, name):
    """Written out in NumPy: the matrix times (x, y[, z], 1), over its last coordinate."""
    transformation = OF_POINTS[name]
    parameters = some_parameters(rng, transformation, None)
    if isinstance(transformation, Projective):
        matrices = transformation.homography(parameters).numpy()
    else:
        matrices = np.zeros([2, transformation.rank + 1, transformation.rank + 1])
        matrices[:, :-1] = transformation.matrix(parameters)
        matrices[:, -1, -1] = 1
    output_size, input_size = sizes_of(transformation)
    warp = transformation.warp(parameters, output_size, input_size)
    for where in np.ndindex(2, *output_size):
        sides = zip(where[1:], output_size, strict=True)
        point = [2 * i / (n - 1) - 1 for i, n in sides][::-1]
        mapped = matrices[where[0]] @ [*point, 1.0]
        pixel = (mapped[:-1] / mapped[-1] + 1) * (np.array(input_size[::-1]) - 1) / 2
        np.testing.assert_allclose(warp[where], pixel, atol=1e-12)


def test_attention_scales_and_shifts():
    theta = Attention().matrix(tf.constant([[0.5, 0.1, -0.2]]))
    np.testing.assert_allclose(theta, [[[0.5, 0, 0.1], [0, 0.5, -0.2]]], rtol=1e-6)
    theta = Attention(scale=0.25).matrix(tf.constant([[0.1, -0.2]]))
    np.testing.assert_allclose(theta, [[[0.25, 0, 0.1], [0, 0.25, -0.2]]], rtol=1e-6)


def test_similarity_turns_and_scales():
    theta = Similarity().matrix(tf.constant([[2.0, np.pi / 2, 0.1, 0.2]], tf.float64))
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
    theta = Rigid(3).matrix(tf.constant([[*angles, 1.0, 2.0, 3.0]], tf.float64))
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
    assert missed.max() < 1e-12 if spline.regularisation == 0 else missed.max() > 1e-3


def test_spline_of_affine_places_is_the_affine_map(rng):
    theta = np.array([[0.8, 0.3, -0.1], [-0.2, 1.1, 0.4]])
    for spline in (ThinPlateSpline((2, 3)), ThinPlateSpline(regularisation=10.0)):
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


@pytest.mark.parametrize(
    "name",
    [*(n for n in OF_IMAGES if n in INVERTIBLE), *(f"{n} of volumes" for n in INVERTIBLE[:3])],
)
def test_inverse_and_composition(rng, name):
    transformation = OF_POINTS[name]
    a, b = (some_parameters(rng, transformation, None, batch=1) for _ in range(2))
    points = tf.constant(rng.uniform(-1, 1, [9, transformation.rank]))
    inner = transformation.map_points(b, points)[0]
    both = transformation.map_points(transformation.compose(a, b), points)
    np.testing.assert_allclose(both, transformation.map_points(a, inner), atol=1e-12)
    back = transformation.map_points(transformation.inverse(b), inner)
    np.testing.assert_allclose(back[0], points, atol=1e-12)


@pytest.mark.parametrize(
    "transformation",
    [Similarity(3), Rigid(3), Attention(0.5)],
    ids=lambda item: type(item).__name__,
)
def test_inverse_that_does_not_exist_says_so(transformation):
    parameters = identity_of(transformation, None)
    with pytest.raises(ValueError, match=r"no .*inverse.* and .*compos"):
        transformation.inverse(parameters)


def localisation_for(transformation):
    rank = transformation.rank
    convolution = keras.layers.Conv2D if rank == 2 else keras.layers.Conv3D
    pooling = (
        keras.layers.GlobalAveragePooling2D if rank == 2 else keras.layers.GlobalAveragePooling3D
    )
    layers = [convolution(3, 3, padding="same", activation="tanh")]
    return keras.Sequential(layers if transformation.is_field else [*layers, pooling()])


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


@pytest.mark.parametrize("name", transformations._TRANSFORMATIONS)
def test_layer_takes_transformations_by_name(name):
    transformation = transformations.get(name)
    layer = SpatialTransformer(localisation_for(transformation), transformation=name)
    images = tf.ones([2, 6, 7, 1])
    np.testing.assert_array_equal(layer(images), images)
    assert layer.get_config()["transformation"] == name
    assert layer.parameters(images).shape[-1] == transformation.num_parameters


def test_transformation_of_your_own_needs_two_members(rng):
    class Zoom(transformations.AffineTransformation):
        identity_parameters = (1.0,)

        def matrix(self, parameters):
            return Attention().matrix(tf.concat([parameters, tf.zeros([len(parameters), 2])], -1))

    images = tf.constant(rng.normal(size=[2, 6, 7, 1]), tf.float32)
    layer = SpatialTransformer(localisation_for(Zoom()), transformation=Zoom())
    np.testing.assert_array_equal(layer(images), images)
    assert layer.theta(images).shape == (2, 2, 3)


def test_transformation_without_a_mapping_says_so():
    class Nothing(Transformation):
        identity_parameters = (0.0,)

    with pytest.raises(NotImplementedError, match="Nothing must have a method"):
        Nothing().warp(tf.zeros([1, 1]), (2, 2), (2, 2))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Translation(4), "`rank` must be 2 for images or 3 for volumes, received 4"),
        (lambda: ConstrainedAffine([[1, 0]]), "`free` must be .* received"),
        (lambda: ConstrainedAffine(np.zeros([2, 3])), "at least one of them true"),
        (lambda: ConstrainedAffine(np.ones([2, 3]), [[1]]), "`fixed` must have the shape"),
        (lambda: ThinPlateSpline((1, 4)), "`control_points` must be two integers"),
        (lambda: ThinPlateSpline(regularisation=-1), "`regularisation` must not be negative"),
        (lambda: transformations.get("warp"), "`transformation` must be one of"),
    ],
)
def test_bad_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_theta_needs_an_affine_transformation():
    layer = SpatialTransformer(localisation_for(Projective()), transformation="projective")
    layer(tf.ones([1, 5, 5, 1]))
    with pytest.raises(ValueError, match=r"theta\(\) needs an affine transformation"):
        layer.theta(tf.ones([1, 5, 5, 1]))


def test_features_of_the_wrong_rank_are_refused():
    layer = SpatialTransformer(localisation_for(Affine()), transformation="dense_displacement")
    with pytest.raises(ValueError, match=r"features of shape \[batch, height, width, features\]"):
        layer(tf.ones([1, 5, 5, 1]))
