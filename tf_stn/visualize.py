"""Pictures of what is sampled: the image with the grid drawn on it, and what comes out beside it.

Matplotlib draws them. It is an extra, imported when there is something to draw, and without
pyplot: no window is opened, and no backend is chosen for the rest of the program.
"""

import colorsys
import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import tensorflow as tf

from tf_stn._checks import as_tensor, check_mode
from tf_stn._keras import keras
from tf_stn._numbers import check_integer
from tf_stn._observing import Samples, samples_of
from tf_stn._resampler import resampler

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw", "draw_warp", "mesh", "outline", "slices", "to_array"]

_NAN = (255, 0, 255)  # Magenta, which is rare in images.
_BESIDE_THE_IMAGE = "0.85"
_FIRST_HUE = 39 / 360  # Orange, which shows on black and on white.
_MESH_LINES = 8


def require_matplotlib() -> None:
    """Raises an ImportError that says what to install, unless Matplotlib can be imported."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "tf_stn.visualize needs Matplotlib, which cannot be imported. Install it with: "
            "pip install 'tf-stn[visualize]' or pip install matplotlib"
        ) from error


def _points(warp: tf.Tensor | np.ndarray) -> np.ndarray:
    points = np.asarray(warp)
    if points.ndim < 3 or points.shape[-1] != 2 or 0 in points.shape[-3:]:
        raise ValueError(
            "`warp` must have shape [..., height, width, 2], with at least one row and one column, "
            f"received {list(points.shape)}"
        )
    return points


def outline(warp: tf.Tensor | np.ndarray) -> np.ndarray:
    """Returns the way around the outermost sample points, clockwise in the output, and closed.

    With `align_corners` that is the border of the square [-1, 1] of the output; without, where -1
    and 1 are the outer edges of its pixels, it lies half a pixel of the output inside it.

    >>> theta = tf.constant([[1.0, 0.0, 0.0, 0.0, 1.0, 0.0]])
    >>> warp = tf_stn.affine_grid(theta, output_size=(2, 2), input_size=(3, 5))
    >>> tf_stn.visualize.outline(warp)[0].tolist()
    [[0.0, 0.0], [4.0, 0.0], [4.0, 2.0], [0.0, 2.0], [0.0, 0.0]]

    Args:
      warp: Sample points in pixels, `[..., height, width, 2]`, as for `tf_stn.resampler`.

    Returns:
      `[..., 2 height + 2 width - 3, 2]`, as (x, y) in pixels: every point on the border, since it
      need not be straight. The first and the last are the first pixel of the output.

    Raises:
      ValueError: `warp` is not of the shape above.
    """
    points = _points(warp)
    sides = [
        points[..., 0, :, :],
        points[..., 1:, -1, :],
        points[..., -1, -2::-1, :],
        points[..., -2::-1, 0, :],
    ]
    return np.concatenate(sides, axis=-2)


def mesh(warp: tf.Tensor | np.ndarray, lines: int = _MESH_LINES) -> tuple[np.ndarray, np.ndarray]:
    """Returns rows and columns of sample points, spread evenly over the output.

    >>> warp = tf.constant([[[[0.0, 0.0], [2.0, 1.0]], [[1.0, 2.0], [3.0, 3.0]]]])
    >>> rows, columns = tf_stn.visualize.mesh(warp)
    >>> rows[0].tolist()
    [[[0.0, 0.0], [2.0, 1.0]], [[1.0, 2.0], [3.0, 3.0]]]
    >>> columns[0].tolist()
    [[[0.0, 0.0], [1.0, 2.0]], [[2.0, 1.0], [3.0, 3.0]]]

    Args:
      warp: Sample points in pixels, `[..., height, width, 2]`, as for `tf_stn.resampler`.
      lines: How many rows and how many columns, at least 2; default 8. All of them, where there
        are not so many. The first and the last are always among them.

    Returns:
      Rows, `[..., lines, width, 2]`, and columns, `[..., lines, height, 2]`, as (x, y) in pixels.

    Raises:
      ValueError: `warp` is not of the shape above, or `lines` not an integer of at least 2.
    """
    points = _points(warp)
    check_integer("lines", lines, 2)
    rows, columns = (
        np.unique(np.linspace(0, side - 1, lines).round().astype(int))
        for side in points.shape[-3:-1]
    )
    return points[..., rows, :, :], np.swapaxes(points[..., columns, :], -2, -3)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool)


def _check_options(lines: int, max_images: int, margin: float, layout: str, size: float) -> None:
    if lines != 0:
        check_integer("lines", lines, 2)
    check_integer("max_images", max_images, 1)
    check_mode("layout", layout, ("rows", "columns"))
    if not (_is_number(margin) and 0 <= margin < np.inf):
        raise ValueError(f"`margin` must be a number of at least 0, received {margin!r}")
    if not (_is_number(size) and 0 < size < np.inf):
        raise ValueError(f"`size` must be a positive number of inches, received {size!r}")


def _check_shapes(images: tf.Tensor, warp: tf.Tensor) -> None:
    if images.shape.rank not in (4, 5) or 0 in images.shape:
        raise ValueError(
            "`images` must have shape [batch, height, width, channels] or [batch, depth, height, "
            f"width, channels], with at least 1 of each, received {images.shape.as_list()}"
        )
    rank = images.shape.rank - 2
    is_warp = warp.shape.rank in (rank + 2, rank + 3) and warp.shape[-1] == rank
    if not is_warp or 0 in warp.shape:
        sides = "height, width, 2" if rank == 2 else "depth, height, width, 3"
        raise ValueError(
            f"`warp` must have shape [batch, {sides}] or [batch, grids, {sides}], with at least 1 "
            f"of each, received {warp.shape.as_list()}"
        )
    if len(images) != len(warp) and 1 not in (len(images), len(warp)):
        raise ValueError(
            f"`warp` must have the batch of `images`, {len(images)}, or one of them a batch of 1, "
            f"received {len(warp)}"
        )


def _check_outputs(outputs: tf.Tensor, images: tf.Tensor, warp: tf.Tensor) -> None:
    several = warp.shape[1:2] if warp.shape.rank > images.shape.rank else []
    expected = [max(len(images), len(warp)), *several]
    start = list(outputs.shape[: len(expected)])
    if outputs.shape.rank != warp.shape.rank or start != expected or 0 in outputs.shape:
        raise ValueError(
            f"`outputs` must have {warp.shape.rank} axes, of which the first are {expected}, "
            f"received shape {outputs.shape.as_list()}"
        )


def _values_shown(
    images: tf.Tensor, value_range: tuple[float, float] | None
) -> tuple[float, float]:
    """Returns the values that are black and white."""
    if value_range is not None:
        is_range = np.shape(value_range) == (2,) and all(map(_is_number, value_range))
        if not (is_range and -np.inf < value_range[0] < value_range[1] < np.inf):
            raise ValueError(
                f"`value_range` must be two numbers, the smaller first, received {value_range!r}"
            )
        return value_range[0], value_range[1]
    if images.dtype == tf.uint8:
        return 0, 255
    values = tf.cast(images, tf.float64).numpy()
    values = values[np.isfinite(values)]
    if ((values >= 0) & (values <= 1)).all():
        return 0, 1
    low, high = float(values.min()), float(values.max())
    return low, high if low < high else low + 1


def _colours(images: tf.Tensor, value_range: tuple[float, float]) -> np.ndarray:
    """Returns `[..., channels]` as uint8 `[..., 3]`."""
    values = tf.cast(images, tf.float64).numpy()
    if values.shape[-1] != 3:
        with np.errstate(invalid="ignore"):  # Infinite ones of both signs have no mean.
            mean = values.mean(axis=-1, keepdims=True)
        values = np.broadcast_to(mean, [*values.shape[:-1], 3])
    low, high = value_range
    part = np.clip((values - low) / (high - low), 0, 1)
    colours = np.round(255 * np.nan_to_num(part)).astype(np.uint8)
    colours[np.isnan(values).any(axis=-1)] = _NAN
    return colours


def slices(volumes: tf.Tensor | np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the three slices through the middle of volumes.

    >>> across = tf_stn.visualize.slices(np.zeros([2, 4, 5, 6, 1]))
    >>> [each.shape for each in across]
    [(2, 5, 6, 1), (2, 4, 6, 1), (2, 4, 5, 1)]

    Args:
      volumes: `[..., depth, height, width, channels]`.

    Returns:
      Across the depth, `[..., height, width, channels]`; across the height, `[..., depth, width,
      channels]`; and across the width, `[..., depth, height, channels]`.

    Raises:
      ValueError: `volumes` are not of the shape above, or have no slices.
    """
    values = np.asarray(volumes)
    if values.ndim < 4 or 0 in values.shape[-4:-1]:
        raise ValueError(
            "`volumes` must have shape [..., depth, height, width, channels], with at least 1 of "
            f"each side, received {list(values.shape)}"
        )
    depth, height, width = (n // 2 for n in values.shape[-4:-1])
    return (
        values[..., depth, :, :, :],
        values[..., :, height, :, :],
        values[..., :, :, width, :],
    )


# The coordinates, of (x, y, z), that run along the columns and rows of each slice, and its name.
_ACROSS = (((0, 1), "across depth"), ((0, 2), "across height"), ((1, 2), "across width"))


class _View(NamedTuple):
    """What is drawn beside each other: an image, grids on it, and an output for each of them."""

    picture: np.ndarray  # [height, width, 3]
    grids: np.ndarray  # [grids, height, width, 2]
    outputs: np.ndarray  # [grids, height, width, 3]
    name: str = ""


def _views(pictures: np.ndarray, warp: np.ndarray, outputs: np.ndarray) -> list[_View]:
    """Returns one view of each image, `[batch, ..., 3]`, or three of each volume."""
    if warp.shape[-1] == 2:
        return [_View(*each) for each in zip(pictures, warp, outputs)]
    parts = zip(slices(pictures), slices(warp), slices(outputs), _ACROSS)
    views = [
        [_View(*each, name) for each in zip(pictures, warp[..., list(axes)], outputs)]
        for pictures, warp, outputs, (axes, name) in parts
    ]
    return [view for of_volume in zip(*views) for view in of_volume]


def _panels(views: list[_View], in_rows: bool, size: float) -> tuple["Figure", np.ndarray]:
    """Returns a figure and its axes, `[views, 1 + grids]`."""
    require_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    sides = np.max([view.picture.shape[:2] for view in views], axis=0)
    height, width = np.maximum(sides, max(sides) / 4) * size / max(sides)
    count, across = len(views), 1 + len(views[0].grids)
    rows, columns = (count, across) if in_rows else (across, count)
    figure = Figure(figsize=(columns * width, rows * height), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False)
    return figure, axes if in_rows else axes.T


def _draw_input(
    axes: "Axes", picture: np.ndarray, grids: np.ndarray, lines: int, margin: float, colours: list
) -> None:
    """Draws an image, `[height, width, 3]`, and grids on it, `[grids, height, width, 2]`."""
    axes.imshow(picture, origin="upper")
    height, width = picture.shape[:2]
    axes.set_xlim(-0.5 - margin * width, width - 0.5 + margin * width)
    axes.set_ylim(height - 0.5 + margin * height, -0.5 - margin * height)
    axes.set_facecolor(_BESIDE_THE_IMAGE)
    for grid, colour in zip(grids, colours):
        for inner in mesh(grid, lines) if lines else ():
            axes.plot(*inner.T, color=colour, linewidth=0.8)
        around = outline(grid).T
        axes.plot(*around, color=colour, linewidth=1.5, marker="o", markersize=4, markevery=[0])


def _draw(views: list[_View], lines: int, margin: float, in_rows: bool, size: float) -> "Figure":
    """Draws views, one below the other or side by side."""
    figure, panels = _panels(views, in_rows, size)
    count = len(views[0].grids)
    colours = _grid_colours(count)
    for (first, *others), view in zip(panels, views):
        _draw_input(first, view.picture, view.grids, lines, margin, colours)
        (first.set_ylabel if in_rows else first.set_title)(view.name, fontsize=9)
        for axes, sampled, colour in zip(others, view.outputs, colours):
            axes.imshow(sampled, origin="upper")
            axes.spines[:].set(color=colour, linewidth=1.5)
    names = ["input", *(f"output {i + 1}" if count > 1 else "output" for i in range(count))]
    for axes, name in zip(panels[0], names):
        (axes.set_title if in_rows else axes.set_ylabel)(name, fontsize=9)
    for axes in panels.flat:
        axes.set(xticks=[], yticks=[])
    return figure


def _grid_colours(count: int) -> list[tuple[float, float, float]]:
    return [colorsys.hsv_to_rgb((_FIRST_HUE + i / count) % 1, 1, 1) for i in range(count)]


def draw(
    model: Callable,
    images: Any,
    *,
    layer: str | keras.layers.Layer | None = None,
    lines: int | None = None,
    max_images: int = 8,
    **options: Any,
) -> "Figure":
    """Draws what a model samples of each image, and beside it what comes out.

    >>> layer = tf_stn.SpatialTransformer(keras.layers.Flatten(), output_size=(4, 4))
    >>> figure = tf_stn.visualize.draw(layer, tf.zeros([3, 8, 8, 1]))
    >>> len(figure.axes)
    6

    The model is called with the images, eagerly, and whatever samples in it is seen: layers of
    `tf_stn.layers`, and functions such as `tf_stn.affine_resampler`, as nodes of a functional model
    or in code of your own. Drawing trains nothing, and layers of tf_stn add no losses and update no
    metrics meanwhile.

    Args:
      model: A layer, a model, or a function that takes `images`.
      images: What `model` takes. Where others come before, what the layer gets from them is drawn;
        of several tensors that a layer warps, the first.
      layer: Which of several: a layer, or the name of a layer, of a node or of a function; default
        None: the only one. Of a layer that is called more than once, the first call is drawn.
      lines: As in `draw_warp`; default None: 0, an outline alone, for affine and projective
        transformations, and 8 for others.
      max_images: As in `draw_warp`; default 8.
      **options: As in `draw_warp`: `margin`, `value_range`, `layout`, `size`.

    Returns:
      As `draw_warp`.

    Raises:
      ImportError: as `draw_warp`.
      ValueError: `model` does not sample images, or in several places; and as `draw_warp`.
    """
    check_integer("max_images", max_images, 1)
    samples = samples_of(model, images, layer)
    return draw_samples(samples, lines=lines, max_images=max_images, **options)


def draw_samples(samples: Samples, *, lines: int | None = None, **options: Any) -> "Figure":
    """Draws what was sampled; see `draw`."""
    if lines is None:
        lines = 0 if samples.is_straight else _MESH_LINES
    return draw_warp(samples.data, samples.warp(), samples.output, lines=lines, **options)


def draw_warp(
    images: tf.Tensor | np.ndarray,
    warp: tf.Tensor | np.ndarray,
    outputs: tf.Tensor | np.ndarray | None = None,
    *,
    lines: int = _MESH_LINES,
    max_images: int = 8,
    margin: float = 0.1,
    value_range: tuple[float, float] | None = None,
    layout: str = "rows",
    size: float = 2.0,
) -> "Figure":
    """Draws images with the sample points of a warp on them, and beside each what comes out.

    >>> photo = np.random.default_rng(0).uniform(size=[1, 9, 12, 3])
    >>> spline = tf_stn.transformations.ThinPlateSpline((2, 2))
    >>> corners = tf.constant([[-1.0, -1.0, 0.5, -0.5, -1.0, 1.0, 1.0, 1.0]])
    >>> figure = tf_stn.visualize.draw_warp(photo, spline.warp(corners, (20, 20), (9, 12)))
    >>> tf_stn.visualize.to_array(figure).dtype
    dtype('uint8')

    Drawn are the `outline`, with a dot on the first pixel of the output, which tells what is
    mirrored or upside down, and the `mesh` inside. Several grids of one image have a colour each,
    which the frames of their outputs have too.

    Images of one channel are grey and those of three in colour; of any other number the mean is
    shown. NaN is magenta. Of volumes the three middle slices are drawn (see `slices`), and on each
    the points of the output's slice, however far from it they lie.

    Args:
      images: `[batch, height, width, channels]`, or volumes `[batch, depth, height, width,
        channels]`, of any real type.
      warp: Sample points in pixels, as for `tf_stn.resampler`: `[batch, height, width, 2]`, or of
        volumes `[batch, depth, height, width, 3]`; with an axis after the batch for several grids.
        One of `images` and `warp` may have a batch of 1, which goes with each item of the other's.
      outputs: What is drawn beside, `[batch, height, width, channels]` of any size, with the axes
        that `warp` has; default None: linear samples of `images`.
      lines: How many rows and how many columns the mesh has, at least 2; 0: only the outline.
        Default 8.
      max_images: How many images are drawn at most, the first ones; default 8.
      margin: How much room there is around an image, where points may lie, as a part of its sides.
        Default 0.1.
      value_range: The values that are black and white. Default None: 0 and 255 for uint8; 0 and 1
        where all values of `images` are between them; else the smallest and the largest of them.
      layout: `"rows"` (default): each image has a row, with its outputs on the right;
        `"columns"`: a column, with its outputs below.
      size: Of each image with its margin, about the longer side, in inches of 100 pixels; default
        2.

    Returns:
      A `matplotlib.figure.Figure`, whose `axes` are in the order of reading. Its method `savefig`
      writes a file; `to_array` makes an array of it.

    Raises:
      ImportError: there is no Matplotlib.
      ValueError: an argument is not as above.
    """
    _check_options(lines, max_images, margin, layout, size)
    images, warp = as_tensor("images", images), as_tensor("warp", warp)
    _check_shapes(images, warp)
    images, warp = images[:max_images], warp[:max_images]
    value_range = _values_shown(images, value_range)
    images = tf.cast(images, tf.float32)
    if outputs is None:
        outputs = resampler(images, warp)
    outputs = as_tensor("outputs", outputs)[:max_images]
    _check_outputs(outputs, images, warp)
    if warp.shape.rank == images.shape.rank:
        warp, outputs = warp[:, None], outputs[:, None]
    pictures, outputs = (_colours(each, value_range) for each in (images, outputs))
    pictures = np.broadcast_to(pictures, [len(outputs), *pictures.shape[1:]])
    points = tf.cast(warp, tf.float32)  # Matplotlib fails on larger numbers than it has.
    grids = np.broadcast_to(points, [len(outputs), *points.shape[1:]])
    return _draw(_views(pictures, grids, outputs), lines, margin, layout == "rows", size)


def to_array(figure: "Figure") -> np.ndarray:
    """Returns what a figure looks like, uint8 `[height, width, 3]`.

    >>> image, identity = tf.zeros([1, 5, 5, 1]), tf.constant([[1.0, 0, 0, 0, 1, 0]])
    >>> warp = tf_stn.affine_grid(identity, (5, 5), (5, 5))
    >>> tf_stn.visualize.to_array(tf_stn.visualize.draw_warp(image, warp, size=1.5)).shape
    (150, 300, 3)

    Args:
      figure: A figure of Matplotlib.
    """
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi="figure")
    return tf.io.decode_png(file.getvalue(), channels=3).numpy()
