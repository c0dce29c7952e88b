"""Fields against what mathematics and SciPy say of them; sizes, types, gradients, errors."""

import numpy as np
import pytest
import scipy.interpolate
import scipy.linalg
import scipy.ndimage
import tensorflow as tf

import tf_stn
from tf_stn import fields

SIZES = [(12, 15), (8, 9, 10)]
BY_SIZE = pytest.mark.parametrize("size", SIZES, ids=["images", "volumes"])


def pixels(size):
    axes = np.meshgrid(*(np.arange(n, dtype=float) for n in size), indexing="ij")
    return np.stack(axes[::-1], axis=-1)[None]


def smooth(rng, size, strength, sigma=3.0, batch=1):
    """A field of at most `strength` pixels that does not move the edges."""
    noise = rng.normal(size=[batch, *size, len(size)])
    noise = scipy.ndimage.gaussian_filter(noise, [0, *[sigma] * len(size), 0])
    for axis, n in enumerate(size, start=1):
        shape = [1] * noise.ndim
        shape[axis] = -1
        noise = noise * np.sin(np.pi * np.arange(n) / (n - 1)).reshape(shape)
    return noise / np.abs(noise).max() * strength


def inner(values, margin):
    rank = values.ndim - 2
    return np.asarray(values)[(slice(None), *[slice(margin, -margin)] * rank)]


def affine(rng, rank, strength=0.1):
    return np.eye(rank, rank + 1) + strength * rng.normal(size=[rank, rank + 1])


def field_of(matrix, size):
    points = pixels(size)
    return np.einsum("ij,...j->...i", matrix[:, :-1], points) + matrix[:, -1] - points


def product(a, b):
    return np.concatenate([a[:, :-1] @ b[:, :-1], a[:, :-1] @ b[:, -1:] + a[:, -1:]], axis=1)


@BY_SIZE
def test_warp_and_field_differ_by_the_pixels(rng, size):
    warp = rng.normal(size=[2, *size, len(size)])
    field = fields.from_warp(warp)
    np.testing.assert_allclose(field, warp - pixels(size))
    np.testing.assert_allclose(fields.to_warp(field), warp)


@BY_SIZE
def test_composition_warps_by_the_first_and_the_result_by_the_second(rng, size):
    first, second = smooth(rng, size, 1.5), smooth(rng, size, 1.5)
    image = tf.constant(pixels(size).sum(axis=-1, keepdims=True))  # Linear: sampled exactly.
    by_first = tf_stn.resampler(image, fields.to_warp(first), padding="border")
    expected = tf_stn.resampler(by_first, fields.to_warp(second), padding="border")
    composed = fields.compose(first, second)
    np.testing.assert_allclose(
        tf_stn.resampler(image, fields.to_warp(composed), padding="border"), expected, atol=1e-10
    )
    assert not np.allclose(composed, fields.compose(second, first), atol=1e-2)


@BY_SIZE
def test_composition_with_matrices_is_that_of_their_fields(rng, size):
    a, b = affine(rng, len(size), 0.02), affine(rng, len(size), 0.02)
    expected = inner(field_of(product(a, b), size), 2)
    for first, second in ((a[None], field_of(b, size)), (field_of(a, size), b[None])):
        np.testing.assert_allclose(inner(fields.compose(first, second), 2), expected, atol=1e-12)


def test_displacements_go_on_beyond_the_edge():
    field = tf.constant([[[[0.0, 0.0], [5.0, 1.0]]]])
    np.testing.assert_array_equal(fields.compose(field, field)[0, 0, 1], [10.0, 2.0])
    np.testing.assert_array_equal(fields.map_points(field, [[[99.0, 0.0]]]), [[[104.0, 1.0]]])


def test_one_field_goes_with_each_of_a_batch(rng):
    one, many = smooth(rng, (6, 7), 1.0), smooth(rng, (6, 7), 1.0, batch=3)
    for first, second in ((one, many), (many, one)):
        singles = [
            fields.compose(first[i % len(first)][None], second[i % len(second)][None])[0]
            for i in range(3)
        ]
        np.testing.assert_array_equal(fields.compose(first, second), singles)


@BY_SIZE
def test_exponential_of_a_linear_velocity_is_the_matrix_exponential(rng, size):
    rank, middle = len(size), (np.array(size[::-1]) - 1) / 2
    linear = 0.15 * rng.normal(size=[rank, rank])
    velocity = np.einsum("ij,...j->...i", linear, pixels(size) - middle)
    moved = scipy.linalg.expm(linear) - np.eye(rank)
    expected = np.einsum("ij,...j->...i", moved, pixels(size) - middle)
    errors = [
        np.abs(inner(fields.exponential(velocity, steps=steps) - expected, 3)).max()
        for steps in (4, 7, 10)
    ]
    assert errors[0] > 4 * errors[1] > 16 * errors[2]  # Each step halves the error.
    assert errors[2] < 1e-3


@BY_SIZE
def test_negative_velocity_leads_back(rng, size):
    velocity = smooth(rng, size, 2.0)
    there, back = fields.exponential(velocity), fields.exponential(-velocity)
    assert np.abs(there).max() > 1
    assert np.abs(fields.compose(there, back)).max() < 0.2  # But for interpolation.


def test_exponential_hardly_folds_where_the_field_does(rng):
    velocity = smooth(rng, (40, 40), 8.0, sigma=2.5)
    folded = [
        np.mean(fields.jacobian_determinant(field).numpy() <= 0)
        for field in (velocity, fields.exponential(velocity))
    ]
    assert folded[0] > 0.05
    assert folded[1] < 0.005


@BY_SIZE
def test_inverse_undoes_the_field(rng, size):
    field = smooth(rng, size, 1.0, batch=2)
    back, residual = fields.inverse(field, return_residual=True)
    assert residual.shape == (2,)
    rest = np.abs(fields.compose(field, back))
    np.testing.assert_allclose(residual, rest.reshape(2, -1).max(axis=1), atol=1e-12)
    assert rest.max() < 1e-5  # The step of Newton's method, far below the tolerance.
    assert np.abs(fields.compose(back, field)).max() < 0.2  # But for interpolation.


def test_residual_tells_what_has_no_inverse(rng):
    good, folded = smooth(rng, (24, 24), 1.0), smooth(rng, (24, 24), 9.0, sigma=2.0)
    back, residual = fields.inverse(np.concatenate([good, folded]), return_residual=True)
    assert residual[0] < 1e-3 < 0.5 < residual[1]
    assert np.isfinite(back).all()


def test_residual_is_smaller_for_more_iterations(rng):
    field = smooth(rng, (24, 24), 4.0, sigma=4.0)
    residuals = [
        float(fields.inverse(field, max_iterations=n, return_residual=True)[1][0]) for n in (1, 20)
    ]
    assert residuals[1] < residuals[0] / 100


@BY_SIZE
def test_determinant_of_an_affine_map_is_that_of_its_matrix(rng, size):
    matrix = affine(rng, len(size))
    determinant = fields.jacobian_determinant(field_of(matrix, size))
    assert determinant.shape == (1, *size)
    np.testing.assert_allclose(determinant, np.linalg.det(matrix[:, :-1]), rtol=1e-12)


def test_determinant_is_negative_where_the_map_folds():
    field = np.zeros([1, 3, 5, 2])
    field[..., 0] = [0, 0, 1.5, -1.5, 0]  # What lies at x = 2 and 3 is exchanged.
    determinant = fields.jacobian_determinant(field)[0, 1]
    np.testing.assert_allclose(determinant, [1, 1.75, 0.25, 0.25, 2.5])
    field[..., 0] *= 2
    assert fields.jacobian_determinant(field)[0, 1, 2] < 0


@pytest.mark.parametrize("align_corners", [True, False])
@BY_SIZE
def test_resized_field_is_the_same_normalised_map(rng, size, align_corners):
    theta = tf.constant(affine(rng, len(size), 0.02)[None])
    new = tuple(2 * n + 1 for n in size)
    old, expected = (
        fields.from_warp(tf_stn.affine_grid(theta, each, each, align_corners=align_corners))
        for each in (size, new)
    )
    resized = fields.resize(old, new, align_corners=align_corners)
    np.testing.assert_allclose(inner(resized, 2), inner(expected, 2), atol=1e-10)


def test_axis_of_one_pixel_stays_as_it_is_when_resized(rng):
    field = rng.normal(size=[1, 1, 4, 2])
    np.testing.assert_allclose(fields.resize(field, (1, 4)), field)


@BY_SIZE
def test_points_move_by_the_interpolated_field(rng, size):
    rank = len(size)
    matrix = affine(rng, rank)
    points = rng.uniform(1, min(size) - 2, size=[1, 5, rank])
    expected = points @ matrix[:, :-1].T + matrix[:, -1]
    np.testing.assert_allclose(fields.map_points(field_of(matrix, size), points), expected)


@pytest.mark.parametrize("size, cells", [((21, 30), (4, 5)), ((8, 11, 9), (3, 1, 2))], ids=str)
def test_b_spline_is_that_of_scipy(rng, size, cells):
    rank = len(size)
    control = rng.normal(size=[1, *(n + 3 for n in cells), rank])
    knots = tuple(np.arange(-3, n + 4.0) for n in cells)
    spline = scipy.interpolate.NdBSpline(knots, control[0], 3)
    axes = [np.linspace(0, n, count) for n, count in zip(cells, size)]
    expected = spline(np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1))
    np.testing.assert_allclose(fields.b_spline(control, size)[0], expected, atol=1e-12)


def test_b_spline_of_one_pixel_is_its_middle(rng):
    control = rng.normal(size=[1, 5, 6, 2])
    middle = fields.b_spline(control, (3, 3))[:, 1:2, 1:2]
    np.testing.assert_allclose(fields.b_spline(control, (1, 1)), middle)


@pytest.mark.parametrize("regularization", [0.0, 3.0])
@pytest.mark.parametrize(
    "size, kernel", [((9, 11), "thin_plate_spline"), ((5, 6, 7), "linear")], ids=["2", "3"]
)
def test_thin_plate_is_that_of_scipy(rng, size, kernel, regularization):
    rank = len(size)
    points, targets = rng.uniform(0, 10, size=[2, 2, 9, rank])
    field = fields.thin_plate_spline(points, targets, size, regularization=regularization)
    for i in range(2):
        spline = scipy.interpolate.RBFInterpolator(
            points[i], targets[i], kernel=kernel, degree=1, smoothing=regularization
        )
        expected = spline(pixels(size).reshape(-1, rank)).reshape(field.shape[1:])
        np.testing.assert_allclose(fields.to_warp(field)[i], expected, atol=1e-9)


@BY_SIZE
def test_equal_landmarks_give_exactly_the_identity(rng, size):
    points = rng.uniform(0, 8, size=[2, 6, len(size)])
    np.testing.assert_array_equal(fields.thin_plate_spline(points, points, size), 0)


def test_one_set_of_landmarks_goes_with_each_of_a_batch(rng):
    points, targets = rng.uniform(0, 8, size=[1, 5, 2]), rng.uniform(0, 8, size=[3, 5, 2])
    for a, b in ((points, targets), (targets, points)):
        singles = [
            fields.thin_plate_spline(a[i % len(a)][None], b[i % len(b)][None], (4, 5))[0]
            for i in range(3)
        ]
        np.testing.assert_allclose(fields.thin_plate_spline(a, b, (4, 5)), singles, atol=1e-9)


def test_landmarks_in_one_place_are_averaged_with_regularization(rng):
    points, targets = rng.uniform(0, 8, size=[2, 1, 5, 2])
    points[:, 1] = points[:, 0]
    field = fields.thin_plate_spline(points, targets, (8, 8), regularization=0.1)
    assert np.isfinite(field).all()


# Every function of fields, as one of a field alone, and the rank of its result.
def landmarks_of(field):
    start = tf.constant([[0.3, 0.2, 0.7], [2.1, 0.4, 0.1], [0.2, 1.9, 0.3], [1.7, 2.2, 2.4]])
    rank = field.shape[-1]
    middle = tf.reduce_mean(field, axis=list(range(1, rank + 1)), keepdims=True)
    return tf.cast(start[None, :, :rank], field.dtype), middle


def thin_plate_of(field):
    rank = field.shape[-1]
    points, shift = landmarks_of(field)
    targets = 2 * points + tf.reshape(shift, [-1, 1, rank])
    return fields.thin_plate_spline(points, targets, (2, 3, 4)[-rank:])


def scaled(rank, factor):
    return (factor * np.eye(rank, rank + 1)).tolist()  # Python numbers, which have no type.


FUNCTIONS = {
    "compose": lambda u: fields.compose(u, u),
    "compose with a matrix": lambda u: fields.compose([scaled(u.shape[-1], 1.1)], u),
    "compose before a matrix": lambda u: fields.compose(u, [scaled(u.shape[-1], 0.9)]),
    "exponential": lambda u: fields.exponential(u, steps=3),
    "inverse": lambda u: fields.inverse(u, tolerance=1e-9, max_iterations=100),
    "jacobian_determinant": fields.jacobian_determinant,
    "resize": lambda u: fields.resize(u, (3, 4, 5)[-u.shape[-1] :]),
    "map_points": lambda u: fields.map_points(u, landmarks_of(u)[0]),
    "b_spline": lambda u: fields.b_spline(u, (2, 3, 4)[-u.shape[-1] :]),
    "thin_plate_spline": thin_plate_of,
    "from_warp": fields.from_warp,
    "to_warp": fields.to_warp,
}
BY_FUNCTION = pytest.mark.parametrize("function", FUNCTIONS)
SMALL = [(4, 5), (4, 5, 6)]
BY_SMALL_SIZE = pytest.mark.parametrize("size", SMALL, ids=["images", "volumes"])


@BY_SMALL_SIZE
@BY_FUNCTION
def test_unknown_sizes_give_the_same(rng, function, size):
    call, field = FUNCTIONS[function], smooth(rng, size, 0.6, batch=2)
    spec = tf.TensorSpec([None] * field.ndim, tf.float64)

    @tf.function(input_signature=[spec])
    def later(u):
        return call(tf.ensure_shape(u, [*[None] * (field.ndim - 1), len(size)]))

    np.testing.assert_allclose(later(field), call(tf.constant(field)), atol=1e-9)


@BY_SMALL_SIZE
@BY_FUNCTION
def test_float32_gives_float32_and_about_the_same(rng, function, size):
    field = smooth(rng, size, 0.6)
    exact = FUNCTIONS[function](tf.constant(field))
    result = FUNCTIONS[function](tf.constant(field, tf.float32))
    assert (exact.dtype, result.dtype) == (tf.float64, tf.float32)
    np.testing.assert_allclose(result, exact, atol=2e-4 if function == "inverse" else 2e-5)


@pytest.mark.parametrize("dtype", [tf.float16, tf.bfloat16, tf.int32], ids=lambda dtype: dtype.name)
@BY_FUNCTION
def test_half_types_and_integers_are_computed_in_float32(function, dtype):
    result = FUNCTIONS[function](tf.zeros([1, 4, 5, 2], dtype))
    assert result.dtype == tf.float32
    assert np.isfinite(result).all()


@BY_SMALL_SIZE
@BY_FUNCTION
def test_empty_batch_gives_an_empty_batch(function, size):
    field = tf.zeros([0, *size, len(size)])
    with tf.GradientTape() as tape:
        tape.watch(field)
        result = FUNCTIONS[function](field)
    assert result.shape[0] == 0
    assert tape.gradient(result, field).shape == field.shape


@BY_FUNCTION
@pytest.mark.parametrize("size", [(1, 1), (1, 4), (4, 1), (1, 1, 1), (1, 4, 5)], ids=str)
def test_sizes_of_one_pixel_are_finite(rng, function, size):
    size = tuple(max(n, 4) for n in size) if function == "b_spline" else size
    field = tf.constant(rng.normal(size=[2, *size, len(size)]))
    assert np.isfinite(FUNCTIONS[function](field)).all()


@BY_SMALL_SIZE
@BY_FUNCTION
def test_gradient_matches_central_differences(rng, function, size):
    # Off the pixel centres, where linear interpolation has a kink.
    field = tf.constant(smooth(rng, size, 0.2) + 0.25)
    weights = tf.constant(rng.normal(size=FUNCTIONS[function](field).shape))

    def loss(u):
        return tf.reduce_sum(weights * FUNCTIONS[function](u))

    direction = tf.constant(rng.normal(size=field.shape))
    with tf.GradientTape() as tape:
        tape.watch(field)
        value = loss(field)
    found = tf.reduce_sum(tape.gradient(value, field) * direction)
    step = 1e-6
    expected = (loss(field + step * direction) - loss(field - step * direction)) / (2 * step)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-8)
    assert abs(expected) > 1e-3


def test_gradient_of_the_inverse_needs_no_iterations(rng):
    """The same after an iteration too many, whatever the tolerance."""
    field = tf.constant(smooth(rng, (8, 9), 0.8) + 0.25)
    gradients = []
    for tolerance, iterations in ((1e-3, 50), (1e-12, 400)):
        with tf.GradientTape() as tape:
            tape.watch(field)
            back = fields.inverse(field, tolerance=tolerance, max_iterations=iterations)
            loss = tf.reduce_sum(back**2)
        gradients.append(tape.gradient(loss, field))
    np.testing.assert_allclose(gradients[0], gradients[1], atol=1e-2)


@BY_SIZE
def test_gradients_of_points_and_landmarks_match_central_differences(rng, size):
    rank = len(size)
    field = tf.constant(smooth(rng, size, 2.0))
    places = tf.constant(
        rng.integers(1, 5, size=[1, 6, rank]) + rng.uniform(0.2, 0.8, [1, 6, rank])
    )
    moved = tf.constant(places + rng.normal(size=places.shape))
    functions = {
        "points of map_points": lambda p: fields.map_points(field, p),
        "points": lambda p: fields.thin_plate_spline(p, moved, size, regularization=0.5),
        "targets": lambda p: fields.thin_plate_spline(moved, p, size),
    }
    for name, function in functions.items():
        analytic, numeric = tf.test.compute_gradient(
            lambda p, function=function: tf.reduce_sum(tf.sin(function(p))), [places], delta=1e-5
        )
        np.testing.assert_allclose(analytic, numeric, rtol=1e-5, atol=1e-6, err_msg=name)


FIELD = np.zeros([1, 4, 5, 2], np.float32)
LANDMARKS = np.random.default_rng(0).uniform(0, 4, size=[1, 5, 2]).astype(np.float32)
LINE = np.stack([np.arange(5.0), 2 * np.arange(5.0) + 1], axis=-1)[None]
TWICE = np.concatenate([LANDMARKS, LANDMARKS[:, :1]], axis=1)
WRONG = {
    "no field": (
        lambda: fields.exponential(None),
        "`velocity` must be a tensor or an array of numbers",
    ),
    "rows of different lengths": (
        lambda: fields.exponential([[[[1.0, 2.0], [3.0]]]]),
        "`velocity` must be a tensor or an array of numbers, received",
    ),
    "ragged": (
        lambda: fields.inverse(tf.ragged.constant([[[1.0], [1.0, 2.0]]])),
        "`field` must be a tensor or an array of numbers",
    ),
    "complex": (
        lambda: fields.resize(tf.zeros([1, 4, 5, 2], tf.complex64), (2, 2)),
        "`field` must hold real numbers, received complex64",
    ),
    "text": (lambda: fields.map_points("u", LANDMARKS), "`field` must hold real numbers"),
    "an image": (
        lambda: fields.jacobian_determinant(np.zeros([1, 4, 5, 3])),
        r"`field` must have shape .*received \[1, 4, 5, 3\]",
    ),
    "no batch": (lambda: fields.to_warp(FIELD[0]), r"`field` must have shape .*\[4, 5, 2\]"),
    "no pixels": (
        lambda: fields.from_warp(np.zeros([1, 0, 5, 2])),
        "`warp` must have a height and a width of at least 1",
    ),
    "two matrices": (
        lambda: fields.compose(np.eye(2, 3)[None], np.eye(2, 3)[None]),
        "One of `first` and `second` must be a field",
    ),
    "a matrix of volumes": (
        lambda: fields.compose(np.eye(3, 4)[None], FIELD),
        r"`first` must have shape \[batch, 2, 3\] .*received \[1, 3, 4\]",
    ),
    "a square matrix": (
        lambda: fields.compose(FIELD, np.eye(3)[None]),
        r"`second` must be a field, .* or matrices .*received shape \[1, 3, 3\]",
    ),
    "two sizes": (
        lambda: fields.compose(FIELD, FIELD[:, :3]),
        r"`first` and `second` must be fields of one size .*received \[1, 4, 5, 2\] and",
    ),
    "negative steps": (
        lambda: fields.exponential(FIELD, steps=-1),
        "`steps` must be an integer from 0 to 30, received -1",
    ),
    "fractional steps": (
        lambda: fields.exponential(FIELD, steps=2.5),
        "`steps` must be an integer from 0 to 30, received 2.5",
    ),
    "no tolerance": (
        lambda: fields.inverse(FIELD, tolerance=0),
        "`tolerance` must be a positive number, received 0",
    ),
    "no iterations": (
        lambda: fields.inverse(FIELD, max_iterations=0),
        "`max_iterations` must be an integer of at least 1, received 0",
    ),
    "a size of a volume": (
        lambda: fields.resize(FIELD, (2, 3, 4)),
        r"`size` must be two positive integers .*received \(2, 3, 4\)",
    ),
    "points of a volume": (
        lambda: fields.map_points(FIELD, np.zeros([1, 5, 3])),
        r"`points` must have shape \[batch, ..., 2\], received \[1, 5, 3\]",
    ),
    "points without a batch": (
        lambda: fields.map_points(FIELD, [0.0, 0.0]),
        r"`points` must have shape \[batch, ..., 2\], received \[2\]",
    ),
    "three control points": (
        lambda: fields.b_spline(np.zeros([1, 4, 3, 2]), (5, 5)),
        r"`control` must have at least four control points .*received \[4, 3\]",
    ),
    "two landmarks": (
        lambda: fields.thin_plate_spline(LANDMARKS[:, :2], LANDMARKS[:, :2], (5, 5)),
        "`points` must be at least 3 landmarks of each image, received 2",
    ),
    "landmarks on a line": (
        lambda: fields.thin_plate_spline(LINE, LANDMARKS, (5, 5)),
        "`points` must be at least 3 landmarks of an image, not all on a line, received",
    ),
    "a landmark twice": (
        lambda: fields.thin_plate_spline(TWICE, TWICE, (5, 5)),
        "`points` must be in different places unless `regularization` is positive, received",
    ),
    "fewer targets": (
        lambda: fields.thin_plate_spline(LANDMARKS, LANDMARKS[:, :4], (5, 5)),
        r"`targets` must be one for each of `points`, \[1, 5, 2\], received \[1, 4, 2\]",
    ),
    "landmarks without a batch": (
        lambda: fields.thin_plate_spline(LANDMARKS[0], LANDMARKS[0], (5, 5)),
        r"`points` must have shape \[batch, n, 2\] .*received \[5, 2\]",
    ),
    "negative regularization": (
        lambda: fields.thin_plate_spline(LANDMARKS, LANDMARKS, (5, 5), regularization=-1.0),
        "`regularization` must be a number of at least 0, received -1.0",
    ),
}


@pytest.mark.parametrize("case", WRONG)
@pytest.mark.parametrize("mode", ["eager", "graph"])
def test_wrong_arguments_are_refused_by_name(case, mode):
    call, message = WRONG[case]
    kinds = (TypeError, ValueError, tf.errors.InvalidArgumentError)
    with pytest.raises(kinds, match=message):
        (call if mode == "eager" else tf.function(call))()


@pytest.mark.parametrize(
    "function, message",
    [
        (lambda u: fields.compose(FIELD, u), "`first` and `second` must be fields of one size"),
        (lambda u: fields.b_spline(u, (4, 4)), "`control` must have at least four control points"),
        (lambda u: fields.thin_plate_spline(u[0], u[0], (4, 4)), "`points` must be at least 3"),
    ],
    ids=["compose", "b_spline", "thin_plate_spline"],
)
def test_what_a_graph_learns_late_is_refused_late(function, message):
    spec = tf.TensorSpec([None, None, None, 2], tf.float32)
    later = tf.function(function, input_signature=[spec])
    later.get_concrete_function()
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        later(np.zeros([1, 3, 3, 2], np.float32))


def test_unknown_rank_is_refused_by_name():
    later = tf.function(fields.exponential, input_signature=[tf.TensorSpec(None, tf.float32)])
    with pytest.raises(ValueError, match=r"`velocity` must have shape .*unknown rank"):
        later(FIELD)
