"""Straightens a photo of a page of a book, on a white background.

The page is curved, so its lines are. Somebody has clicked along the lines of text. A homography by
four of the clicks leaves them curved; a thin plate spline through all of them does not. Whatever
the straightened page has beyond the edges of the photo is white, as paper is:

    python examples/page.py --output page.png    # a few seconds

How straight it became is measured at the rule below the text, on which nobody has clicked: it must
be less than 0.5 pixels from a straight line, and was 2.2.

The photo is the page that scikit-image ships.
"""

import argparse
import pathlib

import matplotlib.pyplot as plt
import numpy as np
import pictures
import skimage.data
import tensorflow as tf

import tf_stn
from tf_stn import fields, visualize
from tf_stn.transformations import Projective

# Points on the lines of text, (x, y) in pixels of the photo, from the left to the right.
# fmt: off
LINES = (
    [(10, 28.8), (52, 29.7), (140, 29.3), (236, 29.8), (291, 30.0)],
    [(9, 59.5), (40, 60.5), (68, 61.2), (125, 62.0), (199, 62.5), (262, 62.0), (299, 61.8),
     (334, 61.2), (369, 60.5)],
    [(10, 77.5), (45, 78.8), (108, 79.8), (160, 80.0), (204, 80.2), (274, 80.0), (332, 79.3),
     (362, 78.0)],
    [(10, 93.0), (118, 97.5), (153, 98.2), (199, 98.6), (238, 98.7), (294, 98.0), (357, 96.2)],
    [(15, 110.5), (55, 113.0), (100, 115.0), (135, 115.8), (193, 116.8), (267, 116.5),
     (317, 115.0), (344, 113.8), (367, 112.5)],
    [(10, 127.5), (40, 130.5), (78, 132.0), (100, 133.3), (150, 134.2)],
    [(45, 178.8), (84, 181.0), (140, 185.0), (219, 186.5)],
)
# fmt: on
FIRST, LAST = 1, 4  # Lines that go from margin to margin, by whose ends the homography is.
RULE = (150, 162)  # Rows of the photo among which the rule is.
MARGIN = 20  # Of the output around the photo, in pixels.
REGULARIZATION = 300.0  # Clicks are off by half a pixel, which the spline must not follow.
PROJECTIVE = Projective()


def load_page() -> tf.Tensor:
    """Returns the photo, `[1, height, width, 1]` in [0, 1]."""
    return tf.constant(skimage.data.page()[None, ..., None], tf.float32) / 255


def whiten(photo: tf.Tensor) -> tf.Tensor:
    """Makes paper white, 1, in shadows too."""
    light = tf.nn.avg_pool2d(tf.nn.max_pool2d(photo, 25, 1, "SAME"), 25, 1, "SAME")
    return tf.minimum(1.2 * photo / light, 1)  # The paper is a little darker than its brightest.


def output_size(photo: tf.Tensor) -> tuple[int, int]:
    height, width = photo.shape[1:3]
    return height + 2 * MARGIN, width + 2 * MARGIN


def straight(line: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Returns where the points of a line belong in the output: at the height of the lowest."""
    lowest = max(y for _, y in line)
    return [(x + MARGIN, lowest + MARGIN) for x, _ in line]


def normalise(points: list[tuple[float, float]], size: tuple[int, ...]) -> tf.Tensor:
    """Returns points of an image of some size in units of half an image, `[1, n, 2]`."""
    height, width = size
    return 2 * tf.constant([points]) / tf.constant([width - 1.0, height - 1.0]) - 1


def homography(photo: tf.Tensor) -> tf.Tensor:
    """Returns the parameters of the one that takes four points of the output to four clicks."""
    lines = LINES[FIRST], LINES[LAST]
    clicks, belong = (
        [top[0], top[-1], bottom[-1], bottom[0]]
        for top, bottom in (lines, [straight(line) for line in lines])
    )
    there = PROJECTIVE.parameters_of_corners(normalise(clicks, tuple(photo.shape[1:3])))
    back = PROJECTIVE.parameters_of_corners(normalise(belong, output_size(photo)))
    return PROJECTIVE.compose(there, PROJECTIVE.inverse(back))


def spline(photo: tf.Tensor) -> tf.Tensor:
    """Returns the field of the thin plate spline that takes straight lines to all clicks."""
    belong = [point for line in LINES for point in straight(line)]
    clicks = [point for line in LINES for point in line]
    return fields.thin_plate_spline(
        [belong], [clicks], output_size(photo), regularization=REGULARIZATION
    )


def find_rule(photo: tf.Tensor) -> np.ndarray:
    """Returns points of the rule in the photo, `[n, 2]`: the darkest of a column, blurred."""
    blurred = tf.nn.avg_pool2d(photo, (1, 9), 1, "SAME")[0, slice(*RULE), :, 0].numpy()
    x = np.arange(20, 361, 5)
    darkness = np.clip(np.median(blurred, axis=0) - blurred, 0, None)[:, x] ** 2
    y = np.average(np.tile(np.arange(*RULE)[:, None], len(x)), axis=0, weights=darkness)
    return np.stack([x, y], axis=-1).astype(np.float32)


def bend(points: np.ndarray) -> float:
    """Returns how far points are from the straight line that comes closest, in pixels, RMS."""
    x, y = points.T
    return float(np.sqrt(np.mean((y - np.polyval(np.polyfit(x, y, 1), x)) ** 2)))


def draw(
    photo: tf.Tensor, outputs: dict[str, tf.Tensor], warp: tf.Tensor, path: pathlib.Path
) -> None:
    """Saves the photo with clicks and the rows of the output, and what comes out."""
    figure, axes = plt.subplots(2, 2, figsize=(10, 5.6), layout="constrained")
    panels = {"the photo, and where rows of the output lie": photo, **outputs}
    for axis, (name, image) in zip(axes.flat, panels.items()):
        axis.imshow(image[0, ..., 0], cmap="gray", vmin=0, vmax=1)
        axis.set_title(name, fontsize=9)
        axis.set(xticks=[], yticks=[])
    rows, _ = visualize.mesh(warp[0], lines=16)
    axes[0, 0].plot(*np.moveaxis(rows, -1, 0).swapaxes(1, 2), color="orange", linewidth=0.8)
    axes[0, 0].plot(*np.array([p for line in LINES for p in line]).T, ".", color="red", ms=5)
    height, width = photo.shape[1:3]
    axes[0, 0].set(xlim=(-MARGIN, width + MARGIN), ylim=(height + MARGIN, -MARGIN))
    pictures.save(figure, path)


def run(path: pathlib.Path) -> dict[str, float]:
    """Straightens the page, draws, and returns how far the rule is from a straight line."""
    photo = load_page()
    size, rule = output_size(photo), find_rule(photo)
    parameters, field = homography(photo), spline(photo)
    white = whiten(photo)
    warp = fields.to_warp(field)
    matrix = PROJECTIVE.matrix(parameters)
    outputs = {
        "homography": tf_stn.projective_resampler(white, matrix, size, fill_value=1.0),
        "spline, on black as by default": tf_stn.resampler(white, warp),
        "spline, fill_value=1.0": tf_stn.resampler(white, warp, fill_value=1.0),
    }
    draw(white, outputs, warp, path)
    back = PROJECTIVE.map_points(
        PROJECTIVE.inverse(parameters), normalise(rule.tolist(), tuple(photo.shape[1:3]))
    )
    rules = {
        "photo": rule,
        "homography": (back[0].numpy() + 1) / 2 * (np.array(size[::-1]) - 1),
        "spline": fields.map_points(fields.inverse(field), rule[None])[0].numpy(),
    }
    return {name: bend(points) for name, points in rules.items()}


def main(arguments: list[str] | None = None) -> dict[str, float]:
    """Runs the example; returns its figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path("page.png"))
    options = parser.parse_args(arguments)
    figures = run(options.output)
    for name, pixels in figures.items():
        print(f"{name:<12}the rule is {pixels:5.2f} pixels from a straight line")
    return figures


if __name__ == "__main__":
    main()
