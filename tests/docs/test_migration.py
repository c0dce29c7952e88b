"""docs/how_to/migration.md: "after" gives the same as "before", and what differs is as it says."""

import re
import sys
import types

import keras
import migration_page as page
import numpy as np
import pytest
import tensorflow as tf
from page_examples import run_examples

import tf_stn
from tf_stn import affine_resampler, resampler

PAIRS = {pair.name: pair for pair in page.pairs()}
OLD_LAYER = PAIRS[page.WITHOUT_PACKAGE]
OF_PACKAGES = [pair for pair in PAIRS.values() if pair != OLD_LAYER]
# Their op takes the gradient of images to be the incoming one, transformed back.
INEXACT_GRADIENT = ("tfa.image.transform", "keras.ops.image.affine_transform")

ALL_PAIRS = pytest.mark.parametrize("pair", OF_PACKAGES, ids=lambda pair: pair.name)


def assert_same(ours, theirs):
    """What they have we have, up to the rounding of float32."""
    for name, result in theirs.items():
        scale = max(1.0, np.abs(result).max())
        np.testing.assert_allclose(ours[name], result, rtol=0, atol=2e-6 * scale, err_msg=name)


@ALL_PAIRS
def test_after_gives_the_samples_and_gradients_of_before(pair):
    theirs = page.kept_of(pair)
    del theirs["before"]
    if pair.name in INEXACT_GRADIENT:
        del theirs["grad_images"]
    assert "output" in theirs
    assert_same(page.run_after(pair), theirs)


@pytest.mark.parametrize("pair", PAIRS.values(), ids=lambda pair: pair.name)
def test_after_is_part_of_a_functional_model_that_is_saved(pair, tmp_path):
    keras.utils.set_random_seed(0)
    arrays = page.inputs_of(pair)
    inputs = {name: keras.Input(array.shape[1:], name=name) for name, array in arrays.items()}
    names = dict(inputs)
    exec(pair.after, names)
    model = keras.Model(inputs, names["output"])
    output = model(arrays)
    np.testing.assert_allclose(output, page.run_after(pair)["output"], rtol=0, atol=1e-5)
    model.save(tmp_path / "model.keras")
    np.testing.assert_array_equal(keras.models.load_model(tmp_path / "model.keras")(arrays), output)


@ALL_PAIRS
def test_kept_results_are_of_the_block_on_the_page(pair):
    assert str(page.kept_of(pair)["before"]) == pair.before, (
        "run python tests/support/migration_page.py"
    )


@ALL_PAIRS
def test_kept_results_are_those_of_the_installed_package(pair):
    try:
        live = page.run_before(pair)
    except ImportError as error:
        pytest.skip(f"not installed: {error}")
    results = page.kept_of(pair)
    del results["before"]
    assert set(live) == set(results)
    assert_same(live, results)


def test_every_block_of_the_page_belongs_to_a_pair():
    text = page.PAGE.read_text()
    headings = re.findall(r"^### (.+)$", text, re.MULTILINE)
    assert [heading.replace("`", "") for heading in headings] == list(PAIRS)
    assert text.count("```python\n") == 2 * len(PAIRS)
    assert {name.split("/")[0] for name in page.kept()} == {pair.name for pair in OF_PACKAGES}


def test_links_within_the_page_lead_to_a_heading():
    text = page.PAGE.read_text()
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    anchors = [re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings]
    links = re.findall(r"\]\(#(.+?)\)", text)
    assert links
    assert set(links) <= set(anchors)


def tutorial_sampler(images, theta, output_size, beyond, floor):
    """What the samplers of tutorials compute: indices are clipped, then weights made of them.

    Args:
      images: `[batch, height, width, channels]`.
      theta: `[batch, 2, 3]`.
      output_size: (height, width).
      beyond: How many pixels beyond the last one 1 is.
      floor: What makes an index of a coordinate.
    """
    height, width = images.shape[1:3]
    y, x = tf.meshgrid(*(tf.linspace(-1.0, 1.0, n) for n in output_size), indexing="ij")
    points = tf.einsum("bij,jhw->bihw", theta, tf.stack([x, y, tf.ones_like(x)]))

    def taps(coordinate, size):
        coordinate = (coordinate + 1) * (size - 1 + beyond) / 2
        index = tf.cast(floor(coordinate), tf.int32)
        low, high = (tf.clip_by_value(i, 0, size - 1) for i in (index, index + 1))
        weights = tf.cast(high, tf.float32) - coordinate, coordinate - tf.cast(low, tf.float32)
        return zip((low, high), weights)

    columns, rows = list(taps(points[:, 0], width)), list(taps(points[:, 1], height))
    return tf.add_n(
        [
            tf.gather_nd(images, tf.stack([row, column], axis=-1), batch_dims=1)
            * (row_weight * column_weight)[..., None]
            for row, row_weight in rows
            for column, column_weight in columns
        ]
    )


def stn_of_tutorials(images, theta):
    return tutorial_sampler(images, theta, images.shape[1:3], beyond=-1, floor=tf.floor)


def old_keras_layer(images, theta):
    """Casting to an integer rounds towards zero."""
    return tutorial_sampler(images, theta, images.shape[1:3], beyond=1, floor=tf.identity)


class BilinearInterpolation:
    """The layer of one's own project that the page imports."""

    def __init__(self, output_size):
        self.output_size = output_size

    def __call__(self, tensors):
        return tutorial_sampler(*tensors, self.output_size, beyond=1, floor=tf.identity)


def test_old_keras_layers_give_the_same_by_their_formula(monkeypatch):
    module = types.SimpleNamespace(BilinearInterpolation=BilinearInterpolation)
    monkeypatch.setitem(sys.modules, "spatial_transformer", module)
    theirs = page.run_before(OLD_LAYER)
    assert set(theirs) == {"output", "grad_images", "grad_theta"}
    assert_same(page.run_after(OLD_LAYER), theirs)


def test_formula_of_tutorials_is_that_of_stn():
    pair = PAIRS["The stn of tutorials"]
    formula = tutorial_sampler(
        *map(tf.constant, page.inputs_of(pair).values()), (5, 6), beyond=-1, floor=tf.floor
    )
    np.testing.assert_allclose(formula, page.kept_of(pair)["output"], rtol=0, atol=1e-5)


IDENTITY = tf.constant([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]])
RAMP = tf.reshape(tf.range(1.0, 10.0), [1, 1, 9, 1]) * tf.ones([1, 9, 1, 1])  # 1 to 9, from left.


@pytest.mark.parametrize(
    "sampler, expected",
    [
        (stn_of_tutorials, 1 + np.arange(9) * 7 / 8),  # Smaller: up to the last but one.
        (old_keras_layer, [*(1 + np.arange(8) * 9 / 8), 0.0]),  # Larger, without the last one.
    ],
)
def test_identity_of_tutorials_does_not_return_the_image(sampler, expected):
    np.testing.assert_array_equal(affine_resampler(RAMP, IDENTITY), RAMP)
    np.testing.assert_allclose(sampler(RAMP, IDENTITY)[0, 0, :, 0], expected, atol=1e-5)


@pytest.mark.parametrize(
    "sampler, beyond, right, left",
    [(stn_of_tutorials, -1, 0.0, 0.0), (old_keras_layer, 1, 0.0, 0.5)],
)
def test_outside_samplers_of_tutorials_are_zero_at_once(sampler, beyond, right, left):
    """Half a pixel outside; on the left, Keras's old layers go on along the slope of one."""
    span = 8 + beyond
    for shift, theirs, ours in ((8.5, right, 4.5), (-0.5, left, 0.5)):
        theta = tf.constant([[[0.0, 0.0, 2 * shift / span - 1], [0.0, 0.0, 0.0]]])
        np.testing.assert_allclose(sampler(RAMP, theta)[0, 0, 0, 0], theirs, atol=1e-5)
        np.testing.assert_allclose(resampler(RAMP, [[[shift, 4.0]]])[0, 0, 0], ours, atol=1e-5)


@pytest.mark.parametrize("name", INEXACT_GRADIENT)
def test_gradient_in_images_is_exact_here_and_not_there(name):
    """Sampling is linear: <A x, y> = <x, A' y> for the gradient A' y of incoming y."""
    pair = PAIRS[name]
    images = page.inputs_of(pair)["images"]
    ours, theirs = page.run_after(pair), page.kept_of(pair)
    expected = np.sum(theirs["output"] * page.weights_of(theirs["output"]))
    np.testing.assert_allclose(np.sum(images * ours["grad_images"]), expected, rtol=1e-4)
    assert abs(np.sum(images * theirs["grad_images"]) - expected) > 0.1 * abs(expected)
    assert "grad_transform" in ours
    assert "grad_transform" not in theirs


def keras_shifted(images, x, **modes):
    """Returns Keras's samples of a row at `x`, as a transformation that is a shift for each."""
    shifts = [[1.0, 0.0, value, 0.0, 1.0, 0.0, 0.0, 0.0] for value in x]
    images = tf.repeat(images, len(x), axis=0)
    return keras.ops.image.affine_transform(images, tf.constant(shifts), **modes)[:, 0, 0, 0]


ROW = tf.reshape([1.0, 2.0, 4.0, 8.0, 16.0], [1, 1, 5, 1])
FAR = np.arange(-9, 14) + 0.25  # Beyond both ends, between pixels.


@pytest.mark.parametrize(
    "fill_mode, modes",
    [
        ("constant", {"padding": "zeros", "fill_value": -3.0}),
        ("nearest", {"padding": "border"}),
        ("reflect", {"padding": "symmetric"}),
    ],
)
def test_fill_modes_of_keras_are_those_of_the_table(fill_mode, modes):
    value = modes.get("fill_value", 0.0)
    theirs = keras_shifted(ROW, FAR, fill_mode=fill_mode, fill_value=value)
    ours = resampler(ROW, [[[x, 0.0] for x in FAR]], **modes)[0, :, 0]
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5)
    padding = modes["padding"]
    assert f'| `"{fill_mode}"` | `"{padding}"`' in page.PAGE.read_text()


@pytest.mark.parametrize(
    "x, is_same",
    [(range(-3, 8), True), ([4.5], False), ([8.0, 9.0], False)],
    ids=["pixel centres", "between last and first", "further out"],
)
def test_wrap_of_keras_is_ours_on_pixel_centres_near_the_image(x, is_same):
    theirs = keras_shifted(ROW, x, fill_mode="wrap")
    ours = resampler(ROW, [[[float(value), 0.0] for value in x]], padding="wrap")[0, :, 0]
    assert np.all(theirs == ours) if is_same else np.all(theirs != ours)


def test_nearest_of_keras_rounds_halves_away_from_zero():
    x = [0.5, 1.5, 2.5]
    theirs = keras_shifted(ROW, x, interpolation="nearest")
    ours = resampler(ROW, [[[value, 0.0] for value in x]], interpolation="nearest")[0, :, 0]
    np.testing.assert_array_equal(theirs, [2.0, 4.0, 8.0])
    np.testing.assert_array_equal(ours, [1.0, 4.0, 4.0])


def torch_convolution(x, weight, bias):
    """What `torch.nn.Conv2d` computes, of `[batch, channels, height, width]`."""
    windows = np.lib.stride_tricks.sliding_window_view(x, weight.shape[2:], axis=(2, 3))
    return np.einsum("bchwij,ocij->bohw", windows, weight) + bias[:, None, None]


def torch_pool_and_relu(x):
    """What `MaxPool2d(2)` and `ReLU` compute: an odd row or column at the end is left out."""
    height, width = (side // 2 for side in x.shape[2:])
    x = x[:, :, : 2 * height, : 2 * width].reshape(*x.shape[:2], height, 2, width, 2)
    return np.maximum(x.max(axis=(3, 5)), 0)


def torch_theta(images, state):
    """What the localisation net of the page computes in PyTorch, with channels first."""
    x = np.moveaxis(images, -1, 1)
    for name in ("localization.0", "localization.3"):
        x = torch_convolution(x, state[f"{name}.weight"], state[f"{name}.bias"])
        x = torch_pool_and_relu(x)
    x = x.reshape(len(x), -1)
    x = np.maximum(x @ state["fc_loc.0.weight"].T + state["fc_loc.0.bias"], 0)
    return x @ state["fc_loc.2.weight"].T + state["fc_loc.2.bias"]


def test_weights_of_pytorch_give_the_same_theta():
    names = run_examples("how_to/migration.md")
    expected = torch_theta(names["digits"], names["state"])
    assert np.ptp(expected) > 0.1
    layer = names["layer"]
    np.testing.assert_allclose(layer.parameters(names["digits"]), expected, atol=1e-5)
    warped = affine_resampler(names["digits"], expected, align_corners=False)
    np.testing.assert_allclose(layer(names["digits"]), warped, atol=1e-4)


def test_names_of_ours_and_of_keras_in_the_page_exist():
    text = page.PAGE.read_text()
    names = set(re.findall(r"`((?:tf_stn|keras)\.[\w.]+\w)`", text))
    assert len([name for name in names if name.startswith("tf_stn")]) > 20
    for name in names:
        module, *attributes = name.split(".")
        value = {"tf_stn": tf_stn, "keras": keras}[module]
        for attribute in attributes:
            assert hasattr(value, attribute), name
            value = getattr(value, attribute)
