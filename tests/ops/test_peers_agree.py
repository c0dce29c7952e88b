"""Other libraries give the same, wherever they mean the same.

They agree on everything but ties: halfway between two pixels, SciPy's order 0 takes the upper one,
where PyTorch, ONNX and we take the even one; and of a reflected coordinate PyTorch and ONNX round
the image inside, where we reflect the rounded index, so that under "symmetric", where reflection
turns even into odd, they may take the other of the two. On a pixel centre, where a derivative
jumps, a reflected coordinate has the left-hand one with them. PyTorch's coordinates beyond what
fits an int are not defined; ours are.
"""

import functools

import numpy as np
import other_libraries as peers
import pytest
import tensorflow as tf
from implementations import BOTH, COMPILED

from tf_stn import affine_grid, affine_resampler, resampler

pytestmark = BOTH

CASES = pytest.mark.parametrize("case", list(peers.cases()), ids=peers.name_of)
ACCURACY = 1e-12
FLOAT32_ACCURACY = 2e-5


@functools.cache
def kept():
    return dict(np.load(peers.RESULTS))


def results_of(peer, case):
    """Returns what a peer has made of a case, by name."""
    prefix = f"{peer}/{peers.name_of(case)}/"
    return {k.removeprefix(prefix): v for k, v in kept().items() if k.startswith(prefix)}


def to_pixels(grid, size, align_corners):
    """Returns a normalised grid in pixels, differentiably."""
    size = tf.constant(size[::-1], grid.dtype)
    return ((grid + 1) * (size - 1) if align_corners else (grid + 1) * size - 1) / 2


def our_results(case):
    rank, interpolation, padding, align_corners = case
    data, grid, grad_output, grad_grad_data, grad_grad_grid = map(tf.constant, peers.problem(rank))
    inputs = [data, grid, grad_output]
    with tf.GradientTape() as outer:
        outer.watch(inputs)
        with tf.GradientTape() as inner:
            inner.watch(inputs[:2])
            warp = to_pixels(grid, data.shape[1:-1], align_corners)
            output = resampler(data, warp, interpolation=interpolation, padding=padding)
        gradients = inner.gradient(output, inputs[:2], grad_output)
    second = outer.gradient(gradients, inputs, [grad_grad_data, grad_grad_grid])
    names = ["output", "grad_data", "grad_grid"]
    names += ["second_of_data", "second_of_grid", "second_of_output"]
    return dict(zip(names, [output, *gradients, *second]))


@CASES
def test_pytorch_gives_the_same_samples_and_gradients_of_two_orders(case):
    ours, theirs = our_results(case), results_of("torch", case)
    assert set(theirs) == set(ours) if case[1] != "nearest" else "grad_grid" in theirs
    for name, result in theirs.items():
        np.testing.assert_allclose(ours[name], result, rtol=0, atol=ACCURACY * 100, err_msg=name)


@CASES
def test_onnx_gives_the_same_samples(case):
    (output,) = results_of("onnx", case).values()
    ours = our_results(case)["output"]
    np.testing.assert_allclose(ours, output, rtol=0, atol=FLOAT32_ACCURACY)


@COMPILED
@pytest.mark.parametrize("align_corners", [True, False], ids=["centres", "edges"])
@pytest.mark.parametrize("rank", [2, 3])
def test_pytorch_gives_the_same_affine_grid(rank, align_corners):
    theirs = kept()[f"torch/grid/{rank}d-{'centres' if align_corners else 'edges'}"]
    size = (3, 4, 5)[-rank:]
    warp = affine_grid(tf.constant(peers.theta(rank)), size, size, align_corners=align_corners)
    pixels = to_pixels(tf.constant(theirs), size, align_corners)
    np.testing.assert_allclose(warp, pixels, rtol=0, atol=ACCURACY)


@COMPILED
def test_kept_results_are_those_of_the_installed_pytorch():
    pytest.importorskip("torch")
    live = peers.torch_results()
    assert set(live) == {name for name in kept() if name.startswith("torch/")}
    for name, result in live.items():
        np.testing.assert_allclose(kept()[name], result, rtol=0, atol=ACCURACY, err_msg=name)


@COMPILED
def test_kept_results_are_those_of_the_installed_onnx_runtime():
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    live = peers.onnx_results()
    assert set(live) == {name for name in kept() if name.startswith("onnx/")}
    for name, result in live.items():
        np.testing.assert_allclose(kept()[name], result, rtol=0, atol=1e-5, err_msg=name)


SCIPY_MODES = {
    "zeros": "grid-constant",
    "border": "nearest",
    "reflect": "mirror",
    "symmetric": "reflect",
    "wrap": "grid-wrap",
}


@pytest.mark.parametrize("rank", [2, 3])
@pytest.mark.parametrize("padding", SCIPY_MODES)
@pytest.mark.parametrize("interpolation", ["nearest", "linear"])
def test_scipy_gives_the_same_samples(rng, interpolation, padding, rank):
    ndimage = pytest.importorskip("scipy.ndimage")
    image = rng.normal(size=(3, 4, 6)[-rank:])
    fill = -1.5 if padding == "zeros" else 0.0
    points = rng.uniform(-9, 12, size=[300, rank])
    output = ndimage.map_coordinates(
        image,
        points.T,
        order=["nearest", "linear"].index(interpolation),
        mode=SCIPY_MODES[padding],
        cval=fill,
    )
    warp = points[None, :, ::-1]
    ours = resampler(
        image[None, ..., None], warp, interpolation=interpolation, padding=padding, fill_value=fill
    )
    np.testing.assert_allclose(ours[0, :, 0], output, rtol=0, atol=ACCURACY)


def test_scipy_gives_the_same_affine_transformation(rng):
    ndimage = pytest.importorskip("scipy.ndimage")
    image, theta = rng.normal(size=[6, 6]), np.array([[0.8, 0.3, 0.1], [-0.2, 0.9, -0.3]])
    # With equal sides, about the middle, in (row, column).
    linear, middle = theta[::-1, 1::-1], 2.5
    offset = middle * (1 + theta[::-1, 2]) - linear @ [middle, middle]
    expected = ndimage.affine_transform(image, linear, offset, order=1, mode="grid-constant")
    output = affine_resampler(image[None, ..., None], theta[None])[0, ..., 0]
    np.testing.assert_allclose(output, expected, rtol=0, atol=ACCURACY)
