"""Pictures of what is sampled: lines where the points are, and pixels as they are."""

import sys

import numpy as np
import pytest
import tensorflow as tf
from matplotlib import pyplot

import tf_stn
from tf_stn import SpatialTransformer, affine_grid, resampler, visualize
from tf_stn._keras import keras
from tf_stn._observing import samples_of
from tf_stn.layers import DisplacementResampler, Resampler, Transform
from tf_stn.metrics import FractionOutside
from tf_stn.regularizers import Outside
from tf_stn.transformations import Affine, Attention, DenseDisplacement, ThinPlateSpline, Tiled

ORANGE = (255, 166, 0)
IDENTITY = [[1.0, 0.0, 0.0, 0.0, 1.0, 0.0]]
TURNED = [[0.5, -0.4, 0.1, 0.4, 0.5, -0.05]]
TRANSFORMATIONS = {
    "affine": "affine",
    "projective": "projective",
    "thin plate spline": ThinPlateSpline((3, 3)),
    "dense displacement": DenseDisplacement(),
}


def localisation(is_field=False):
    if is_field:
        return keras.layers.Conv2D(4, 3, padding="same", activation="tanh")
    return keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(8, activation="tanh")])


def moved_layer(rng, transformation="affine", scale=0.05, **arguments):
    """A layer that has left the identity a little."""
    is_field = isinstance(transformation, DenseDisplacement)
    layer = SpatialTransformer(localisation(is_field), transformation, **arguments)
    layer.build((None, 12, 10, 1))
    layer.head.kernel.assign(rng.normal(scale=scale, size=layer.head.kernel.shape))
    return layer


def colours_at(picture, axes, points):
    """Returns the colours of a picture of a figure where `points` of `axes` are, `[points, 3]`."""
    x, y = axes.transData.transform(points).T
    return picture[len(picture) - 1 - np.floor(y).astype(int), np.floor(x).astype(int)]


def is_near(colours, expected, atol=3):
    return np.abs(colours.astype(int) - expected).max(axis=-1) <= atol


def are_on_a_line(picture, axes, points, colour=ORANGE):
    """Returns whether there is such a colour within a pixel of where each of `points` is."""
    steps = [(x, y) for x in (-1, 0, 1) for y in (-1, 0, 1)]
    x, y = axes.transData.transform(points).T
    row, column = len(picture) - 1 - np.floor(y).astype(int), np.floor(x).astype(int)
    return np.any(
        [is_near(picture[row + up, column + right], colour) for up, right in steps], axis=0
    )


def centres(height, width):
    y, x = np.mgrid[:height, :width]
    return np.stack([x.ravel(), y.ravel()], axis=-1)


def shown(axes, picture, height, width):
    """Returns the colours in the middles of the pixels of the image in `axes`."""
    return colours_at(picture, axes, centres(height, width)).reshape(height, width, 3)


@pytest.fixture
def images(rng):
    return rng.uniform(size=[3, 12, 10, 1]).astype(np.float32)


# Coordinates


@pytest.mark.parametrize("size", [(3, 4), (1, 4), (3, 1), (1, 1), (2, 2)], ids=str)
def test_outline_goes_around_clockwise_and_closes(rng, size):
    height, width = size
    warp = rng.normal(size=[2, 3, *size, 2])
    way, row, column = [(0, 0)], 0, 0
    for down, right in ((0, 1), (1, 0), (0, -1), (-1, 0)):
        while 0 <= row + down < height and 0 <= column + right < width:
            row, column = row + down, column + right
            way.append((row, column))
    if len(way) > 1 and way[-1] != (0, 0):
        raise AssertionError(way)
    expected = np.stack([warp[:, :, i, j] for i, j in way], axis=2)
    np.testing.assert_array_equal(visualize.outline(warp), expected)


@pytest.mark.parametrize(
    "align_corners, reach", [(True, 1.0), (False, 4 / 5)], ids=["centres", "edges"]
)
def test_outline_of_an_affine_map_has_the_corners_that_theta_says(align_corners, reach):
    """Of an output of 5x5: -1 and 1 are at its outermost points, or half of a pixel outside."""
    warp = affine_grid(TURNED, (5, 5), (9, 13), align_corners=align_corners)
    corners = reach * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1], [-1, -1]])
    theta = np.array(TURNED).reshape(2, 3)
    normalised = corners @ theta[:, :2].T + theta[:, 2]
    size = np.array([13, 9])
    span = size - 1 if align_corners else size
    expected = (size - 1) / 2 + normalised * span / 2
    outline = visualize.outline(warp)[0]
    np.testing.assert_allclose(outline[::4], expected, rtol=0, atol=1e-5)


def test_mesh_has_evenly_spread_rows_and_columns_with_the_first_and_last(rng):
    warp = rng.normal(size=[2, 7, 28, 2])
    rows, columns = visualize.mesh(warp, lines=4)
    np.testing.assert_array_equal(rows, warp[:, [0, 2, 4, 6]])
    expected = np.stack([warp[:, :, j] for j in (0, 9, 18, 27)], axis=1)
    np.testing.assert_array_equal(columns, expected)


def test_mesh_has_all_rows_and_columns_where_there_are_fewer_than_lines(rng):
    warp = rng.normal(size=[1, 3, 1, 2])
    rows, columns = visualize.mesh(warp, lines=8)
    np.testing.assert_array_equal(rows, warp)
    np.testing.assert_array_equal(columns, np.swapaxes(warp, 1, 2))


# Pictures


@pytest.mark.parametrize("name", TRANSFORMATIONS)
def test_outline_is_drawn_where_the_layer_samples(rng, images, name):
    layer = moved_layer(rng, TRANSFORMATIONS[name], output_size=(9, 8))
    figure = visualize.draw(layer, images, margin=1.0)
    picture = visualize.to_array(figure)
    assert figure.axes[0].lines
    for axes, outline in zip(figure.axes[::2], visualize.outline(layer.warp(images))):
        middles = (outline[1:] + outline[:-1]) / 2
        assert are_on_a_line(picture, axes, np.concatenate([outline, middles])).all()
        away = outline + 0.2 * (outline - outline.mean(axis=0))
        assert not are_on_a_line(picture, axes, away).any()


@pytest.mark.parametrize("align_corners", [True, False], ids=["centres", "edges"])
def test_points_are_drawn_under_either_meaning_of_the_corners(rng, images, align_corners):
    layer = moved_layer(rng, output_size=(5, 5), align_corners=align_corners, scale=0.2)
    figure = visualize.draw(layer, images, margin=1.0, size=3)
    picture = visualize.to_array(figure)
    grid = affine_grid(layer.theta(images), (5, 5), (12, 10), align_corners=align_corners)
    for axes, outline in zip(figure.axes[::2], visualize.outline(grid)):
        assert are_on_a_line(picture, axes, outline).all()


@pytest.mark.parametrize("name", TRANSFORMATIONS)
def test_straight_maps_have_an_outline_and_others_a_mesh(rng, images, name):
    figure = visualize.draw(moved_layer(rng, TRANSFORMATIONS[name]), images)
    lines = 1 if name in ("affine", "projective") else 1 + 2 * 8
    assert [len(axes.lines) for axes in figure.axes] == [lines, 0] * 3


def test_mesh_is_drawn_on_the_rows_and_columns_asked_for(rng, images):
    layer = moved_layer(rng, ThinPlateSpline((2, 2)), scale=0.02)
    figure = visualize.draw(layer, np.zeros_like(images), lines=3, size=4, margin=0.5)
    picture = visualize.to_array(figure)
    warp = layer.warp(np.zeros_like(images))
    for axes, grid in zip(figure.axes[::2], warp.numpy()):
        row, column = grid[6], grid[:, 4]
        assert are_on_a_line(picture, axes, np.concatenate([row, column])).all()
        assert not are_on_a_line(picture, axes, grid[1:6, 1:4].reshape(-1, 2)).any()


def test_dot_marks_the_first_pixel_of_the_output(images):
    layer = SpatialTransformer(localisation())
    layer.build(images.shape)
    layer.head.bias.assign([-0.6, 0.0, 0.0, 0.0, 0.6, 0.0])  # Mirrored.
    figure = visualize.draw(layer, np.zeros_like(images), size=4)
    picture = visualize.to_array(figure)
    inside = np.array([[-0.25, 0.25], [0.25, 0.25]])
    left, right = visualize.outline(layer.warp(images))[0][[9, 0]]
    assert left[0] < right[0]
    axes = figure.axes[0]
    assert are_on_a_line(picture, axes, [right + inside[0] / 3]).all()
    assert not are_on_a_line(picture, axes, [left + inside[1] / 3]).any()


def test_outline_that_has_shrunk_to_a_point_is_seen(images):
    layer = SpatialTransformer(localisation(), "attention")
    layer.build(images.shape)
    layer.head.bias.assign([0.0, 0.2, 0.0])
    figure = visualize.draw(layer, images)
    point = layer.warp(images)[0, 0, :1].numpy()
    assert is_near(colours_at(visualize.to_array(figure), figure.axes[0], point), ORANGE).all()


@pytest.mark.parametrize("name", TRANSFORMATIONS)
def test_input_and_output_are_shown_as_they_are(rng, images, name):
    layer = moved_layer(rng, TRANSFORMATIONS[name], output_size=(9, 8), padding="border")
    figure = visualize.draw(layer, images)
    picture = visualize.to_array(figure)
    for index, output in enumerate(layer(images).numpy()):
        seen = shown(figure.axes[2 * index + 1], picture, 9, 8)
        assert is_near(seen, 255 * output, atol=1).all()
        seen = shown(figure.axes[2 * index], picture, 12, 10)
        is_image = is_near(seen, 255 * images[index], atol=1)
        assert is_image.mean() > (0.3 if figure.axes[0].lines[1:] else 0.6)  # The rest is lines.


def test_each_of_several_transformations_has_a_colour_and_an_output(rng, images):
    layer = moved_layer(rng, Tiled(Attention(), (1, 3)), output_size=(5, 5))
    figure = visualize.draw(layer, images, margin=1.0)
    picture = visualize.to_array(figure)
    assert len(figure.axes) == 3 * 4
    colours = [line.get_color() for line in figure.axes[0].lines]
    assert len(set(colours)) == 3
    outputs = layer(images).numpy()
    outlines = visualize.outline(layer.warp(images))
    for k, colour in enumerate(colours):
        for i in range(3):
            seen = are_on_a_line(
                picture, figure.axes[4 * i], outlines[i, k], np.multiply(255, colour)
            )
            assert seen.mean() > 0.6  # A later one may lie on it.
            axes = figure.axes[4 * i + 1 + k]
            assert axes.spines["left"].get_edgecolor()[:3] == colour
            assert is_near(shown(axes, picture, 5, 5), 255 * outputs[i, k], atol=1).all()


def test_first_colour_is_that_of_a_single_one_and_all_are_distinct(rng):
    image, warp = np.zeros([1, 4, 4, 1]), rng.normal(size=[1, 12, 3, 3, 2])
    axes = visualize.draw_warp(image, warp, lines=0).axes[0]
    colours = [np.multiply(255, line.get_color()) for line in axes.lines]
    assert is_near(colours[0], ORANGE)
    assert len(np.unique(np.round(colours), axis=0)) == 12


def warp_of(images):
    """The identity, of one point far outside, so that nothing is drawn on the images."""
    return np.full([len(images), 1, 1, 2], -1e3)


def colours_of(images, **options):
    """Returns the colours in which a figure shows its first image."""
    figure = visualize.draw_warp(images, warp_of(images), **options)
    return shown(figure.axes[0], visualize.to_array(figure), *np.shape(images)[1:3])


@pytest.mark.parametrize(
    "values, options, expected",
    [
        ([0.0, 0.25, 0.5], {}, [0, 64, 128]),
        ([-1.0, 0.0, 3.0], {}, [0, 64, 255]),
        ([100.0, 150.0, 200.0], {}, [0, 128, 255]),
        ([7.0, 7.0, 7.0], {}, [0, 0, 0]),
        (np.array([0, 100, 200], np.uint8), {}, [0, 100, 200]),
        (np.array([0, 1, 1], np.bool_), {}, [0, 255, 255]),
        (np.array([0, 500, 1000], np.int32), {}, [0, 128, 255]),
        (np.array([0.0, 0.25, 0.5], np.float16), {}, [0, 64, 128]),
        (tf.constant([0.0, 0.25, 0.5], tf.bfloat16), {}, [0, 64, 128]),
        ([-1.0, 0.0, 3.0], {"value_range": (-1, 1)}, [0, 128, 255]),
        ([-np.inf, 0.0, np.inf], {}, [0, 0, 255]),
        ([-np.inf, 2.0, 4.0], {}, [0, 0, 255]),
        ([-3e38, 0.0, 3e38], {}, [0, 128, 255]),
    ],
    ids=str,
)
def test_values_are_shown_from_black_to_white(values, options, expected):
    images = tf.reshape(values, [1, 1, 3, 1])
    grey = np.repeat(np.reshape(expected, [1, 3, 1]), 3, axis=-1)
    assert is_near(colours_of(images, **options), grey, atol=1).all()


def test_three_channels_are_colours(rng):
    images = rng.uniform(size=[1, 4, 5, 3])
    assert is_near(colours_of(images), 255 * images[0], atol=1).all()


def test_mean_of_other_numbers_of_channels_is_shown(rng):
    images = rng.uniform(size=[1, 4, 5, 7])
    mean = images[0].mean(axis=-1, keepdims=True)
    assert is_near(colours_of(images), 255 * mean, atol=1).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_not_a_number_is_magenta(rng, channels):
    images = rng.uniform(size=[1, 4, 5, channels])
    images[0, 1, 2, 0] = np.nan
    seen = colours_of(images)
    is_magenta = is_near(seen, (255, 0, 255))
    assert is_magenta[1, 2]
    assert is_magenta.sum() == 1


def test_mean_of_infinite_channels_is_shown():
    images = np.reshape([[np.inf, 1.0], [-np.inf, 1.0], [np.inf, -np.inf]], [1, 1, 3, 2])
    assert is_near(colours_of(images), [(255, 255, 255), (0, 0, 0), (255, 0, 255)]).all()


@pytest.mark.parametrize("far", [np.nan, np.inf, -np.inf, 3e38, 1e300], ids=str)
def test_points_anywhere_can_be_drawn(rng, far):
    images = rng.uniform(size=[1, 6, 6, 1])
    warp = affine_grid(np.array(IDENTITY), (6, 6), (6, 6)).numpy().astype(np.float64)
    warp[0, 0, 3] = warp[0, 4, 4, 0] = far
    figure = visualize.draw_warp(images, warp, value_range=(0, 1))
    picture = visualize.to_array(figure)
    is_magenta = is_near(shown(figure.axes[1], picture, 6, 6), (255, 0, 255))
    assert is_magenta.sum() == (2 if np.isnan(far) else 0)
    assert are_on_a_line(picture, figure.axes[0], warp[0, 3:, 0]).all()


def test_columns_have_the_outputs_below(rng, images):
    layer = moved_layer(rng, output_size=(5, 5))
    figure = visualize.draw(layer, images, layout="columns")
    picture = visualize.to_array(figure)
    assert picture.shape[1] > picture.shape[0]
    assert [bool(axes.lines) for axes in figure.axes] == [True] * 3 + [False] * 3
    for axes, output in zip(figure.axes[3:], layer(images).numpy()):
        assert is_near(shown(axes, picture, 5, 5), 255 * output, atol=1).all()


def test_size_and_shape_of_a_figure(images):
    warp = affine_grid(np.repeat(IDENTITY, 3, axis=0), (4, 4), (12, 10))
    draw = visualize.draw_warp
    assert visualize.to_array(draw(images, warp, size=1.2)).shape == (360, 200, 3)
    columns = draw(images, warp, size=1.2, layout="columns", max_images=2)
    assert visualize.to_array(columns).shape == (240, 200, 3)


def test_first_images_alone_are_drawn_by_default_eight():
    images = np.zeros([11, 4, 4, 1])
    layer = SpatialTransformer(keras.layers.Flatten())
    assert len(visualize.draw(layer, images).axes) == 2 * 8
    assert len(visualize.draw(layer, images, max_images=2).axes) == 2 * 2
    assert len(visualize.draw_warp(images, warp_of(images), max_images=20).axes) == 2 * 11


def test_margin_is_a_part_of_the_sides(images):
    axes = visualize.draw_warp(images, warp_of(images), margin=0.5).axes[0]
    assert axes.get_xlim() == (-0.5 - 5, 9.5 + 5)
    assert axes.get_ylim() == (11.5 + 6, -0.5 - 6)


def test_one_image_goes_with_several_warps_and_one_warp_with_several_images(rng, images):
    warp = affine_grid(np.concatenate([IDENTITY, TURNED]), (5, 5), (12, 10))
    for some_images, some_warps in ((images[:1], warp), (images[:2], warp[1:])):
        figure = visualize.draw_warp(some_images, some_warps)
        picture = visualize.to_array(figure)
        for index, output in enumerate(resampler(some_images, some_warps).numpy()):
            axes = figure.axes[2 * index + 1]
            assert is_near(shown(axes, picture, 5, 5), 255 * output, atol=1).all()
            outline = visualize.outline(some_warps)[index % len(some_warps)]
            assert are_on_a_line(picture, figure.axes[2 * index], outline).all()


def test_outputs_of_ones_own_are_drawn_beside(rng, images):
    outputs = rng.uniform(size=[3, 2, 2, 3])
    figure = visualize.draw_warp(images, warp_of(images), outputs)
    picture = visualize.to_array(figure)
    for axes, output in zip(figure.axes[1::2], outputs):
        assert is_near(shown(axes, picture, 2, 2), 255 * output, atol=1).all()


@pytest.mark.parametrize("layout", ["rows", "columns"])
def test_three_slices_of_volumes_are_drawn(rng, layout):
    volumes = rng.uniform(size=[2, 5, 7, 6, 1]).astype(np.float32)
    layer = SpatialTransformer(localisation(), Affine(rank=3), output_size=(3, 4, 5))
    layer.build(volumes.shape)
    layer.head.kernel.assign(rng.normal(scale=0.1, size=layer.head.kernel.shape))
    figure = visualize.draw(layer, volumes, margin=1.0, layout=layout)
    picture = visualize.to_array(figure)
    axes = np.reshape(figure.axes, [6, 2] if layout == "rows" else [2, 6])
    inputs, outputs = axes.T if layout == "rows" else axes
    assert len(figure.axes) == 2 * 3 * 2
    seen_from = ((0, 1), (0, 2), (1, 2))
    warp, results = layer.warp(volumes), layer(volumes)
    for i in range(2):
        slices = zip(*(visualize.slices(each[i]) for each in (volumes, warp, results)), seen_from)
        for k, (image, points, output, coordinates) in enumerate(slices):
            before, after = inputs[3 * i + k], outputs[3 * i + k]
            seen = shown(before, picture, *image.shape[:2])
            assert is_near(seen, 255 * image, atol=1).mean() > 0.4
            outline = visualize.outline(points[..., list(coordinates)])
            assert are_on_a_line(picture, before, outline).all()
            assert is_near(shown(after, picture, *output.shape[:2]), 255 * output, 1).all()
            label = before.get_ylabel() if layout == "rows" else before.get_title()
            assert label == ("across depth", "across height", "across width")[k]


def test_slices_are_those_through_the_middle(rng):
    volumes = rng.normal(size=[2, 4, 5, 6, 3])
    expected = volumes[:, 2], volumes[:, :, 2], volumes[:, :, :, 3]
    for found, wanted in zip(visualize.slices(volumes), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)


# Models


class Wrapped(keras.Model):
    """A model whose graph Keras does not know."""

    def __init__(self, layer):
        super().__init__()
        self.halve = keras.layers.Rescaling(0.5)
        self.layer = layer
        self.head = keras.layers.Dense(2)

    def call(self, inputs):
        return self.head(self.layer(self.halve(inputs)))


def sequential(layer):
    halve = keras.layers.Rescaling(0.5)
    return keras.Sequential([keras.Input([12, 10, 1]), halve, layer, keras.layers.Dense(2)])


def nested(layer):
    images = keras.Input([12, 10, 1])
    return keras.Model(images, keras.layers.Dense(2)(sequential(layer)(images)))


MODELS = [sequential, nested, Wrapped]


@pytest.mark.parametrize("make", MODELS, ids=lambda make: make.__name__)
def test_layer_in_a_model_is_drawn_with_what_it_gets_there(rng, images, make):
    layer = moved_layer(rng, output_size=(6, 6), padding="border")
    model = make(layer)
    picture = visualize.to_array(visualize.draw(model, images))
    expected = visualize.to_array(visualize.draw(layer, 0.5 * images))
    np.testing.assert_array_equal(picture, expected)
    assert not np.array_equal(picture, visualize.to_array(visualize.draw(layer, images)))


def test_model_from_a_file_gives_the_same_picture(rng, images, tmp_path):
    model = sequential(moved_layer(rng, ThinPlateSpline((2, 3))))
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    pictures = [visualize.to_array(visualize.draw(each, images)) for each in (model, again)]
    np.testing.assert_array_equal(*pictures)


def test_layer_that_was_not_built_is_drawn_as_the_identity(images):
    layer = SpatialTransformer(localisation())
    figure = visualize.draw(layer, images)
    picture = visualize.to_array(figure)
    for axes, image in zip(figure.axes[1::2], images):
        assert is_near(shown(axes, picture, 12, 10), 255 * image, atol=1).all()


@pytest.mark.parametrize("which", ["itself", "name"])
def test_one_of_several_layers_is_chosen(rng, images, which):
    first = moved_layer(rng, output_size=(6, 6), name="first")
    second = SpatialTransformer(localisation(), name="second")
    model = keras.Sequential([keras.Input([12, 10, 1]), first, second])
    chosen = visualize.draw(model, images, layer=second if which == "itself" else "second")
    expected = visualize.draw(second, first(images))
    np.testing.assert_array_equal(visualize.to_array(chosen), visualize.to_array(expected))


def test_layer_that_is_called_twice_is_drawn_as_it_is_called_first(rng, images):
    layer = moved_layer(rng)
    inputs = keras.Input([12, 10, 1])
    model = keras.Model(inputs, layer(layer(inputs)))
    picture = visualize.to_array(visualize.draw(model, images))
    np.testing.assert_array_equal(picture, visualize.to_array(visualize.draw(layer, images)))


def test_mixed_precision_is_drawn(rng, images):
    layer = moved_layer(rng, dtype="mixed_float16", output_size=(5, 5))
    figure = visualize.draw(layer, images)
    picture = visualize.to_array(figure)
    for axes, output in zip(figure.axes[1::2], tf.cast(layer(images), tf.float32)):
        assert is_near(shown(axes, picture, 5, 5), 255 * output, atol=1).all()


@pytest.mark.parametrize("make", [lambda layer: layer, Wrapped], ids=["layer", "model"])
def test_drawing_updates_no_metrics_and_adds_no_losses(rng, images, make):
    transform = Transform("affine", metrics=FractionOutside(), regularizer=Outside())
    layer = moved_layer(rng, transform, scale=1.0)
    (metric,) = layer.transform.warp_metrics
    visualize.draw(make(layer), images)
    assert float(metric.result()) == 0
    assert not layer.losses
    layer(images)
    assert float(metric.result()) > 0
    assert len(layer.losses) == 1


THETA = np.array(TURNED, np.float32)
WARP = affine_grid(TURNED, (5, 6), (12, 10))
FIELD = np.random.default_rng(0).normal(size=[3, 12, 10, 2]).astype(np.float32)
# What samples, what it is called with, and its name in a model.
SAMPLING = {
    "resampler": (lambda x, w: tf_stn.resampler(x, w, name="look"), [WARP]),
    "affine_resampler": (lambda x, t: tf_stn.affine_resampler(x, t, (5, 6), name="look"), [THETA]),
    "projective_resampler": (
        lambda x, m: tf_stn.projective_resampler(x, m, name="look"),
        [np.eye(3, dtype=np.float32)[None] + 0.1],
    ),
    "displacement_resampler": (
        lambda x, u: tf_stn.displacement_resampler(x, u, name="look"),
        [FIELD[:1]],
    ),
    "Resampler": (lambda x, w: Resampler(name="look")([x, w]), [WARP]),
    "DisplacementResampler": (lambda x, u: DisplacementResampler(name="look")([x, u]), [FIELD[:1]]),
    "Transform": (lambda x, t: Transform("affine", name="look")([x, t]), [THETA]),
}


@pytest.mark.parametrize("name", SAMPLING)
def test_whatever_samples_is_drawn_in_a_functional_model(images, name):
    function, others = SAMPLING[name]
    others = [np.repeat(each, 3, axis=0) for each in others]
    inputs = [keras.Input(each.shape[1:]) for each in (images, *others)]
    model = keras.Model(inputs, function(*inputs))
    figure = visualize.draw(model, [images, *others], layer="look", lines=3)
    seen = samples_of(model, [images, *others])
    expected = visualize.draw_warp(images, seen.warp(), model([images, *others]), lines=3)
    np.testing.assert_array_equal(visualize.to_array(figure), visualize.to_array(expected))
    np.testing.assert_allclose(
        seen.output, resampler(images, seen.warp()), atol=1e-5
    )  # What is drawn is where it samples.


@pytest.mark.parametrize("name", SAMPLING)
def test_whatever_samples_is_drawn_in_a_function(images, name):
    function, others = SAMPLING[name]
    figure = visualize.draw(lambda x: function(x, *map(tf.constant, others)), images)
    assert len(figure.axes) == 6


def test_field_that_is_sampled_on_the_way_is_not_drawn(images):
    """Displacements are sampled too, to compose them; but they are no images."""

    def model(inputs):
        field = tf_stn.fields.exponential(FIELD)
        return tf_stn.displacement_resampler(inputs, tf_stn.fields.inverse(field))

    assert samples_of(model, images).name == "displacement_resampler"
    layer = SpatialTransformer(localisation(is_field=True), "velocity_field")
    assert samples_of(layer, images).name == layer.name


def test_first_of_several_tensors_is_drawn(rng, images):
    layer = moved_layer(rng)
    figure = visualize.draw(lambda x: layer(x, source=[x, 1 - x]), images)
    expected = visualize.draw(layer, images)
    np.testing.assert_array_equal(visualize.to_array(figure), visualize.to_array(expected))


def test_layer_works_on_where_drawing_its_model_fails(rng, images):
    model = sequential(moved_layer(rng))
    expected = model(images)
    with pytest.raises(ValueError):
        visualize.draw(model, images[..., 0, 0])
    np.testing.assert_array_equal(model(images), expected)


# Errors


@pytest.mark.parametrize(
    "options, message",
    [
        ({"lines": 1}, "`lines` must be an integer of at least 2, received 1"),
        ({"lines": 2.5}, "`lines` must be an integer of at least 2, received 2.5"),
        ({"lines": True}, "`lines` must be an integer of at least 2, received True"),
        ({"max_images": 0}, "`max_images` must be an integer of at least 1, received 0"),
        ({"margin": -0.1}, "`margin` must be a number of at least 0, received -0.1"),
        ({"margin": np.nan}, "`margin` must be a number of at least 0, received nan"),
        ({"size": 0}, "`size` must be a positive number of inches, received 0"),
        ({"layout": "grid"}, "`layout` must be one of 'rows', 'columns', received 'grid'"),
        ({"value_range": (1, 0)}, "`value_range` must be two numbers, the smaller first, "),
        ({"value_range": (0, np.nan)}, "`value_range` must be two numbers, the smaller first, "),
        (
            {"value_range": 255},
            "`value_range` must be two numbers, the smaller first, received 255",
        ),
        ({"margin": "wide"}, "`margin` must be a number of at least 0, received 'wide'"),
        (
            {"warp": np.zeros([3, 3, 3, 2])},
            "of `images`, 2, or one of them a batch of 1, received 3",
        ),
        ({"images": np.zeros([4, 4, 1])}, "channels], with at least 1 of each, received [4, 4, 1]"),
        ({"images": np.zeros([0, 4, 4, 1])}, "with at least 1 of each, received [0, 4, 4, 1]"),
        ({"warp": np.zeros([2, 3, 3, 3])}, "`warp` must have shape [batch, height, width, 2] or "),
        ({"warp": np.zeros([2, 0, 3, 2])}, "at least 1 of each, received [2, 0, 3, 2]"),
        ({"warp": np.zeros([2, 3, 2])}, "at least 1 of each, received [2, 3, 2]"),
        (
            {"images": np.zeros([2, 3, 3, 3, 1])},
            "`warp` must have shape [batch, depth, height, width, 3] or [batch, grids, depth, ",
        ),
        (
            {"outputs": np.zeros([1, 3, 3, 1])},
            "`outputs` must have 4 axes, of which the first are [2], received shape [1, 3, 3, 1]",
        ),
        (
            {"outputs": np.zeros([2, 5, 3, 3, 1]), "warp": np.zeros([1, 4, 3, 3, 2])},
            "`outputs` must have 5 axes, of which the first are [2, 4], received shape [2, 5, 3, ",
        ),
    ],
    ids=lambda value: value[:60] if isinstance(value, str) else next(iter(value)),
)
def test_wrong_arguments_are_named(options, message):
    arguments = {"images": np.zeros([2, 4, 4, 1]), "warp": np.zeros([2, 3, 3, 2])} | options
    with pytest.raises(ValueError) as error:
        visualize.draw_warp(**arguments)
    assert message in str(error.value)


@pytest.mark.parametrize("function", [visualize.outline, visualize.mesh])
@pytest.mark.parametrize("shape", [[3, 2], [3, 3, 3], [2, 0, 3, 2]], ids=str)
def test_points_of_another_shape_are_an_error(function, shape):
    with pytest.raises(ValueError) as error:
        function(np.zeros(shape))
    assert "`warp` must have shape [..., height, width, 2]" in str(error.value)
    assert f"received {shape}" in str(error.value)


def test_model_that_samples_nothing_is_an_error(images):
    model = keras.Sequential([keras.layers.Flatten()], name="plain")
    with pytest.raises(ValueError, match=r"`model` must sample its images .*received 'plain'"):
        visualize.draw(model, images)


def test_model_that_samples_in_a_graph_is_an_error(images):
    with pytest.raises(ValueError, match=r"`model` must sample its images .* and eagerly"):
        visualize.draw(tf.function(lambda x: resampler(x, warp_of(images))), images)


@pytest.mark.parametrize("model", [None, "model", 3], ids=str)
def test_what_is_no_model_is_an_error(images, model):
    with pytest.raises(ValueError, match="`model` must be a layer, a model or a function"):
        visualize.draw(model, images)


@pytest.mark.parametrize("layer", [None, "third"], ids=str)
def test_error_names_the_transformers_to_choose_from(images, layer):
    layers = [SpatialTransformer(localisation(), name=name) for name in ("first", "second")]
    model = keras.Sequential([keras.Input([12, 10, 1]), *layers])
    with pytest.raises(ValueError) as error:
        visualize.draw(model, images, layer=layer)
    assert "`layer` must" in str(error.value)
    assert f"'first', 'second', received {layer!r}" in str(error.value)


@pytest.mark.parametrize("shape", [[3, 4, 5], [2, 0, 3, 2, 1]], ids=str)
def test_volumes_of_another_shape_are_an_error(shape):
    with pytest.raises(ValueError) as error:
        visualize.slices(np.zeros(shape))
    assert "`volumes` must have shape [..., depth, height, width, channels]" in str(error.value)


# What it needs


@pytest.mark.parametrize(
    "call",
    [
        lambda: visualize.draw_warp(np.zeros([1, 2, 2, 1]), np.zeros([1, 2, 2, 2])),
        lambda: tf_stn.callbacks.TensorBoardPictures("folder", np.zeros([1, 2, 2, 1])),
    ],
    ids=["draw_warp", "callback"],
)
def test_without_matplotlib_the_error_says_what_to_install(monkeypatch, call):
    monkeypatch.setitem(sys.modules, "matplotlib", None)  # As if it were not installed.
    with pytest.raises(ImportError) as error:
        call()
    assert "pip install 'tf-stn[visualize]'" in str(error.value)


def test_coordinates_need_no_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert visualize.outline(np.zeros([1, 2, 2, 2])).shape == (1, 5, 2)


def test_pyplot_is_not_needed(images, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)  # It cannot be imported.
    visualize.to_array(visualize.draw_warp(images, warp_of(images)))


def test_pyplot_does_not_know_of_the_figures(images):
    before = pyplot.get_backend(), pyplot.get_fignums()
    visualize.to_array(visualize.draw_warp(images, warp_of(images)))
    assert (pyplot.get_backend(), pyplot.get_fignums()) == before
