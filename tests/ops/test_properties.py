"""What holds for all inputs: shapes, types, modes, coordinates on every side of every border.

Hypothesis chooses the inputs and shrinks one that fails. `make fuzz` tries more of them.
"""

import functools
import hashlib
import itertools
import os
import subprocess
import sys

import numpy as np
import pytest
import reference
import tensorflow as tf
from fuzzing import (
    DTYPES,
    EXAMPLES,
    INF,
    NAN,
    Problem,
    coordinate_type,
    examples,
    hostile_coordinates,
    problems,
    rounded,
)
from hypothesis import assume, given
from hypothesis import strategies as st
from repository import ROOT

from tf_stn import resampler
from tf_stn._gradients import compose_second_order
from tf_stn._library import ops
from tf_stn._resampler import INTERPOLATIONS, PADDINGS

pytestmark = pytest.mark.usefixtures("on_cpu")

ROUNDING = {"float16": 2**-11, "bfloat16": 2**-8, "float32": 2**-24, "float64": 2**-53}


def as_numpy(tensors):
    return [tf.cast(tensor, tf.float64).numpy() for tensor in tensors]


def gradients(problem):
    """Returns the samples and their gradients, as the package computes them."""
    data, warp, grad_output, fill = problem.tensors()
    with tf.GradientTape() as tape:
        tape.watch([data, warp])
        output = resampler(data, warp, fill_value=fill[0] if fill else 0.0, **problem.modes)
    return as_numpy([output, *tape.gradient(output, [data, warp], grad_output)])


def sum_to(gradient, shape):
    """Returns a gradient, summed over the batch where the input had a batch of 1."""
    return gradient.sum(axis=0, keepdims=True) if shape[0] == 1 else gradient


def expected_gradients(problem, warp):
    """Returns the same by the reference, in float64, for `warp` in the place of the problem's."""
    data, grad_output, modes = problem.data, problem.grad_output, problem.modes
    batch = len(grad_output)
    data = np.broadcast_to(data, [batch, *data.shape[1:]])
    warp = np.broadcast_to(warp, [batch, *warp.shape[1:]])
    with np.errstate(invalid="ignore"):
        output = reference.resample(data, warp, **modes)
        grad_data, grad_warp = reference.resample_gradients(data, warp, grad_output, **modes)
        if problem.fill is not None:
            # All that the weights inside the image leave of 1.
            ones = np.ones([batch, *data.shape[1:-1], 1])
            inside = reference.resample(ones, warp, **modes)
            output = output + problem.fill * (1 - inside)
            of_fill = np.sum(problem.fill * grad_output, axis=-1, keepdims=True)
            grad_warp = grad_warp - reference.resample_gradients(ones, warp, of_fill, **modes)[1]
    return output, sum_to(grad_data, problem.data.shape), sum_to(grad_warp, problem.warp.shape)


def scale(problem):
    """Returns a bound of what is added up, for tolerances: sizes of values times their number."""
    points = max(1, int(np.prod(problem.grad_output.shape[:-1])))
    channels = problem.data.shape[-1]
    of_points = 10.0 ** (problem.warp.shape[-1] if problem.interpolation == "cubic" else 1)
    return 4.0 * of_points * (1 + points) * (1 + channels)


def assert_near(name, result, expected, problem, alternative=None):
    """Compares within rounding; where `alternative` is given, either of the two will do."""
    tolerance = 4 * ROUNDING[coordinate_type(problem.dtype)] * scale(problem)

    def is_near(expected):
        with np.errstate(invalid="ignore"):
            bound = tolerance + 2 * ROUNDING[problem.dtype] * np.abs(expected)
            near = np.abs(result - expected) <= np.where(np.isfinite(expected), bound, 0)
        return near | (result == expected) | (np.isnan(result) & np.isnan(expected))

    assert result.shape == expected.shape, name
    near = is_near(expected)
    if alternative is not None:
        near |= is_near(alternative)
    assert near.all(), f"{name} is {result.tolist()}, expected {expected.tolist()}"


def without_subnormals(warp, dtype):
    """TensorFlow's threads take subnormal coordinates for zero, where slopes have another side."""
    least = np.finfo(coordinate_type(dtype)).tiny
    return np.where(np.abs(warp) < least, 0.0, warp)


NAMES = ("output", "grad_data", "grad_warp")


@examples(150)
@given(problems())
def test_samples_and_gradients_equal_the_reference(problem):
    expected = expected_gradients(problem, problem.warp)
    flushed = expected_gradients(problem, without_subnormals(problem.warp, problem.dtype))
    for name, result, *either in zip(NAMES, gradients(problem), expected, flushed):
        assert_near(name, result, either[0], problem, either[1])


@examples(60)
@given(problems(odd_data=True, exact=True))
def test_nan_and_infinite_pixels_spread_as_in_the_reference(problem):
    """To samples and slopes with a weight on them, and to nothing else."""
    expected = expected_gradients(problem, problem.warp)
    for name, result, wanted in zip(NAMES, gradients(problem), expected):
        assert_near(name, result, wanted, problem)


@examples(60)
@given(problems(exact=True), st.sampled_from([NAN, INF, -INF]))
def test_nan_and_infinite_gradients_reach_only_pixels_with_weight(problem, odd):
    assume(problem.grad_output.size)
    problem.grad_output.reshape(-1)[:: 1 + problem.grad_output.size // 3] = odd
    _, result, _ = gradients(problem)
    _, expected, _ = expected_gradients(problem, problem.warp)
    assert_near("grad_data", result, expected, problem)


@st.composite
def affine_problems(draw):
    """Draws a problem whose points come from matrices, and these; all coordinates are exact."""
    problem = draw(problems())
    rank = problem.warp.shape[-1]
    size = draw(st.lists(st.integers(1, 4), min_size=rank, max_size=rank))
    outputs = draw(st.sampled_from([[], [1], [3]]))
    shape = [len(problem.warp), *outputs, rank, rank + 1]
    count = int(np.prod(shape))
    eighths = draw(st.lists(st.integers(-16, 32), min_size=count, max_size=count))
    matrix = np.array(eighths, np.float64).reshape(shape) / 8
    if count and draw(st.booleans()):
        odd = draw(st.sampled_from([NAN, INF, -INF, 1e30, -1e30, 3e9]))
        matrix.reshape(-1)[draw(st.integers(0, count - 1))] = odd
    matrix = rounded(matrix, coordinate_type(problem.dtype))
    problem.warp = mapped(matrix, size, problem.dtype)
    batch = max(len(problem.data), len(matrix)) if len(problem.data) * len(matrix) else 0
    rng = np.random.default_rng(0)
    grad_output = rng.normal(size=[batch, *problem.warp.shape[1:-1], problem.data.shape[-1]])
    problem.grad_output = rounded(grad_output, problem.dtype)
    return problem, matrix, size


def mapped(matrix, size, dtype):
    """Returns the points of matrices, `[batch, ..., *size, rank]`, added as the op adds them."""
    rank = len(size)
    matrix = matrix.astype(coordinate_type(dtype))
    matrix = matrix.reshape(*matrix.shape[:-2], *[1] * rank, rank, rank + 1)
    axes = np.meshgrid(*map(np.arange, size), indexing="ij")
    points = matrix[..., rank]
    with np.errstate(all="ignore"):
        for k in reversed(range(rank)):
            points = points + matrix[..., k] * axes[rank - 1 - k][..., None].astype(matrix.dtype)
    return points.astype(np.float64)


@examples(60)
@given(affine_problems())
def test_affine_samples_and_gradients_equal_the_reference(case):
    problem, matrix, size = case
    data, _, grad_output, fill = problem.tensors()
    theta = tf.constant(matrix, coordinate_type(problem.dtype))
    with tf.GradientTape() as tape:
        tape.watch([data, theta])
        output = ops.tf_stn_affine_resampler(data, theta, size, fill, **problem.modes)
    result = as_numpy([output, *tape.gradient(output, [data, theta], grad_output)])
    expected = [*expected_gradients(problem, problem.warp)]
    axes = np.meshgrid(*map(np.arange, size), indexing="ij")
    pixels = np.stack([*reversed(axes), np.ones(size)], axis=-1)
    with np.errstate(invalid="ignore"):
        products = expected[2][..., None] * pixels[..., None, :]
    spatial = tuple(range(-2 - len(size), -2))
    expected[2] = products.sum(axis=spatial)
    if not problem.grad_output.size:
        expected[2][:] = 0  # Nothing depends on the matrix, a NaN in it included.
    for name, actual, wanted in zip(("output", "grad_data", "grad_matrix"), result, expected):
        assert_near(name, actual, wanted, problem)


@functools.cache
def graph(dtype, interpolation, padding, num_fill):
    """Returns samples and gradients as a graph that knows no shapes."""
    specs = [tf.TensorSpec(None, t) for t in (dtype, coordinate_type(dtype), dtype)]

    @tf.function(input_signature=[*specs, [tf.TensorSpec(None, dtype)] * num_fill])
    def all_of_them(data, warp, grad_output, fill):
        modes = {"interpolation": interpolation, "padding": padding}
        output = ops.tf_stn_resampler(data, warp, fill, **modes)
        return output, *tf.gradients(output, [data, warp, *fill], grad_output)

    return all_of_them


def assert_same_bits(a, b):
    assert a.shape == b.shape
    assert a.dtype == b.dtype
    a, b = (np.asarray(x, np.float64) for x in (a, b))
    np.testing.assert_array_equal(a, b)  # Takes all NaN for equal.
    np.testing.assert_array_equal(np.signbit(a)[~np.isnan(a)], np.signbit(b)[~np.isnan(b)])


def all_results(problem):
    data, warp, grad_output, fill = problem.tensors()
    output = ops.tf_stn_resampler(data, warp, fill, **problem.modes)
    grads = ops.tf_stn_resampler_grad(data, warp, grad_output, fill, **problem.modes)
    return [output, *grads]


@examples(60)
@given(problems())
def test_graph_gives_the_bits_of_eager_mode(problem):
    tensors = problem.tensors()
    function = graph(problem.dtype, problem.interpolation, problem.padding, len(tensors[3]))
    for a, b in zip(function(*tensors), all_results(problem)):
        assert_same_bits(a, b)


@examples(60)
@given(problems(), st.randoms(use_true_random=False))
def test_order_and_axes_of_points_do_not_matter(problem, random):
    """A sample and its slopes depend on the point alone."""
    batch, *axes, rank = problem.warp.shape
    count = int(np.prod(axes))
    order = list(range(count))
    random.shuffle(order)
    channels = problem.data.shape[-1]
    output, _, grad_warp = all_results(problem)
    problem.warp = problem.warp.reshape(batch, count, rank)[:, order].reshape(
        batch, 1, count, 1, rank
    )
    shape = [len(problem.grad_output), 1, count, 1, channels]
    problem.grad_output = problem.grad_output.reshape(shape[0], count, channels)[:, order].reshape(
        shape
    )
    other_output, _, other_grad_warp = all_results(problem)
    for a, b in ((output, other_output), (grad_warp, other_grad_warp)):
        a = a.numpy().reshape(a.shape[0], count, a.shape[-1])[:, order]
        assert_same_bits(a, b.numpy().reshape(a.shape))


@examples(60)
@given(problems())
def test_each_item_of_a_batch_is_as_if_alone(problem):
    batch = len(problem.grad_output)
    shared = [x.shape[0] == 1 and batch != 1 for x in (problem.data, problem.warp)]
    whole = all_results(problem)
    parts = []
    for n in range(batch):
        where = [slice(0, 1) if s else slice(n, n + 1) for s in shared]
        part = Problem(**vars(problem))
        part.data, part.warp = problem.data[where[0]], problem.warp[where[1]]
        part.grad_output = problem.grad_output[n : n + 1]
        parts.append(all_results(part))
    for name, is_sum, result, *items in zip(NAMES, [False, *shared], whole, *parts):
        if is_sum and problem.dtype in ("float16", "bfloat16"):
            continue  # Each of the parts is rounded.
        if is_sum:
            total = sum(as_numpy(items), np.zeros(result.shape))
            assert_near(name, as_numpy([result])[0], total, problem)
        else:
            assert_same_bits(result, np.concatenate(items) if items else result)


def second_order(problem, direction, compose=False):
    """Returns the gradients of both gradients in a direction, by the op or by its composition."""
    data, warp, grad_output, fill = problem.tensors()
    modes = problem.modes
    function = ops.tf_stn_resampler_grad_grad
    if compose:
        return as_numpy(compose_second_order(data, warp, grad_output, *direction, fill, modes))
    return as_numpy(function(data, warp, grad_output, *direction, fill, **modes))


def directions(problem, seed, parts=(True, True)):
    """Returns grad_grad_data and grad_grad_warp, `[0]` where they are to be absent."""
    rng = np.random.default_rng(seed)
    types = (problem.dtype, coordinate_type(problem.dtype))
    return [
        tf.constant(rng.normal(size=x.shape), dtype) if part else tf.zeros([0], dtype)
        for x, dtype, part in zip((problem.data, problem.warp), types, parts)
    ]


PARTS = st.tuples(st.booleans(), st.booleans())


@examples(100)
@given(problems(dtypes=("float32", "float64")), PARTS)
def test_second_order_equals_its_composition(problem, parts):
    problem.warp = without_subnormals(problem.warp, problem.dtype)
    direction = directions(problem, 1, parts)
    fused, composed = second_order(problem, direction), second_order(problem, direction, True)
    for name, result, expected in zip(("data", "warp", "output"), fused, composed):
        assert_near(f"gradient of {name}", result, expected, problem)


def inner(a, b):
    return sum(float(np.sum(x * y)) for x, y in zip(a, b))


@examples(60)
@given(problems(dtypes=("float64",)))
def test_second_order_is_finite_linear_and_symmetric(problem):
    """The Hessian of <grad_output, samples>, which is a polynomial between pixel centres."""
    assume(np.isfinite(problem.warp).all())
    u, v = directions(problem, 1), directions(problem, 2)
    of_u, of_v = second_order(problem, u), second_order(problem, v)
    of_both = second_order(problem, [2 * a - b for a, b in zip(u, v)])
    for a, b, both in zip(of_u, of_v, of_both):
        assert np.isfinite(a).all()
        assert_near("gradient in the direction of a sum", both, 2 * a - b, problem)
    tolerance = 2**-50 * scale(problem) ** 2
    assert abs(inner(of_u[:2], as_numpy(v)) - inner(of_v[:2], as_numpy(u))) <= tolerance


@examples(60)
@given(problems(dtypes=("float64",)))
def test_gradient_of_the_data_is_the_transpose_of_sampling(problem):
    assume(np.isfinite(problem.warp).all())
    problem.fill = None
    output, grad_data, _ = as_numpy(all_results(problem))
    difference = inner([problem.grad_output], [output]) - inner([problem.data], [grad_data])
    assert abs(difference) <= 2**-50 * scale(problem) ** 2


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_finite_points_give_finite_results_however_odd(dtype, interpolation, padding):
    @examples(5)
    @given(st.lists(hostile_coordinates(4, coordinate_type(dtype)), min_size=60, max_size=60))
    def check(coordinates):
        warp = rounded(np.reshape(coordinates, [1, 30, 2]), coordinate_type(dtype))
        warp = np.nan_to_num(warp, nan=1e30, posinf=1e30, neginf=-1e30)
        problem = Problem(
            np.ones([1, 4, 4, 2]), warp, np.ones([1, 30, 2]), dtype, interpolation, padding, None
        )
        results = [*all_results(problem), *second_order(problem, directions(problem, 0))]
        for result in as_numpy(results):
            assert np.isfinite(result).all()

    check()


def penalty(function, inputs, inner, outer, wanted):
    """Returns gradients of the sum of squares of gradients, which only `wanted` count for."""
    with tf.GradientTape(watch_accessed_variables=False) as outer_tape:
        outer_tape.watch([inputs[i] for i in outer])
        with tf.GradientTape(watch_accessed_variables=False) as inner_tape:
            inner_tape.watch([inputs[i] for i in inner])
            output = function(*inputs)
            loss = tf.reduce_sum(output * output)
        first = inner_tape.gradient(loss, [inputs[i] for i in inner])
        norm = sum(tf.reduce_sum(g * g) for i, g in zip(inner, first) if i in wanted)
    return outer_tape.gradient(norm, [inputs[i] for i in outer])


@functools.cache
def sampler(is_affine, padding):
    def sample(data, points, fill=None):
        arguments = [data, points, [2, 3, 2][: data.shape.rank - 2]][: 2 + is_affine]
        op = ops.tf_stn_affine_resampler if is_affine else ops.tf_stn_resampler
        fill = [] if fill is None else [fill]
        return op(*arguments, fill, interpolation="cubic", padding=padding)

    return sample


SUBSETS = [[0], [1], [2], [0, 1], [0, 2], [1, 2], [0, 1, 2]]


@pytest.mark.parametrize("mode", ["eager", "graph"])
@pytest.mark.parametrize("rank", [2, 3], ids=["images", "volumes"])
@pytest.mark.parametrize("padding", ["zeros", "reflect"])
@pytest.mark.parametrize("is_affine", [False, True], ids=["warp", "affine"])
def test_gradients_not_asked_for_change_no_other(rng, is_affine, padding, rank, mode):
    """Of either order, and whichever are asked for."""
    shape = [2, rank, rank + 1] if is_affine else [2, 5, rank]
    inputs = [rng.normal(size=[*[2, 3, 4, 5][: rank + 1], 2]), rng.uniform(0, 3, shape)]
    inputs += [rng.normal(size=[2])] if padding == "zeros" else []
    inputs = [tf.constant(x) for x in inputs]
    everything = list(range(len(inputs)))
    subsets = [subset for subset in SUBSETS if set(subset) <= set(everything)]
    function = functools.partial(penalty, sampler(is_affine, padding))
    # To trace a graph takes long.
    for inner in subsets if mode == "eager" else [[0], [1], everything]:
        expected = function(inputs, everything, everything, inner)
        for outer in subsets if mode == "eager" else [[0], everything]:
            run = functools.partial(function, inner=inner, outer=outer, wanted=inner)
            if mode == "graph":
                specs = [tf.TensorSpec([None] * x.shape.rank, x.dtype) for x in inputs]
                run = tf.function(run, input_signature=[specs])
            for i, result in zip(outer, run(inputs)):
                assert (result is None) == (expected[i] is None)
                if result is not None:
                    np.testing.assert_allclose(result, expected[i], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("is_affine", [False, True], ids=["warp", "affine"])
def test_second_order_without_a_rank_says_what_is_missing(rng, is_affine):
    inputs = [rng.normal(size=[1, 3, 3, 1]), rng.uniform(size=[1, 2, 3]), np.ones([1])]
    if not is_affine:
        inputs[1] = inputs[1][..., :2]

    @tf.function(input_signature=[tf.TensorSpec(None, tf.float64)] * 3)
    def second(*inputs):
        def sample(data, points, fill):
            op = ops.tf_stn_affine_resampler if is_affine else ops.tf_stn_resampler
            return op(data, points, *[[2, 2]] * is_affine, [fill])

        return penalty(sample, inputs, [0, 1], [0, 1, 2], [0, 1])

    with pytest.raises(ValueError, match="whether `data` are images or volumes"):
        second(*inputs)


def test_malformed_calls_raise_and_never_crash(tmp_path):
    """In a process of its own, which says what it was about to call."""
    log = tmp_path / "last_call.txt"
    command = [sys.executable, str(ROOT / "tests/support/hostile_calls.py"), str(log)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, f"{log.read_text()}\n{result.stdout}\n{result.stderr[-10000:]}"


THREADS_SCRIPT = """
import sys
import test_properties
print(test_properties.digest_of_all_modes(int(sys.argv[1])))
"""


def digest_of_all_modes(threads):
    """Returns a digest of results in all modes, of sizes that are shared among threads."""
    if threads:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
    rng = np.random.default_rng(0)
    digest = hashlib.sha256()
    for interpolation, padding, rank in itertools.product(INTERPOLATIONS, PADDINGS, (2, 3)):
        for batches in ((1, 1), (2, 1), (1, 2)):
            data = rng.normal(size=[batches[0], *[17, 13, 11][:rank], 3])
            warp = rng.uniform(-5, 25, size=[batches[1], 3000, rank])
            grad_output = rng.normal(size=[max(batches), 3000, 3])
            problem = Problem(data, warp, grad_output, "float32", interpolation, padding, None)
            direction = directions(problem, 1)
            data, warp, grad_output, _ = problem.tensors()
            second = ops.tf_stn_resampler_grad_grad(
                data, warp, grad_output, *direction, [], **problem.modes
            )
            for tensor in (*all_results(problem), *second):
                digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


def test_results_in_all_modes_are_the_same_bits_for_any_number_of_threads():
    digests = {digest_of_all_modes(0)}  # With the two of this process.
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    for threads in (1, 3, 5) if EXAMPLES else (1,):
        command = [sys.executable, "-c", THREADS_SCRIPT, str(threads)]
        result = subprocess.run(
            command, check=True, capture_output=True, text=True, env=environment
        )
        digests.add(result.stdout)
    assert len({digest.strip() for digest in digests}) == 1
