"""Draws what each interpolation and each padding does, the picture of docs/explanation/sampling.md.

    python examples/sampling_modes.py --output docs/pictures

Above, a line of four pixels: which of them is read for each index outside, and the values between
them. Below, a small photo (of Grace Hopper, which Matplotlib ships), sampled far outside its edges.
"""

import argparse
import pathlib

import matplotlib.cbook
import matplotlib.image
import matplotlib.pyplot as plt
import numpy as np
import pictures
import tensorflow as tf

import tf_stn
from tf_stn._resampler import INTERPOLATIONS, PADDINGS

LINE = {"a": 0.8, "b": 0.3, "c": 0.6, "d": 1.0}  # Pixels by name.
COLOURS = dict(zip(LINE, plt.cm.Set2.colors))
REACH = 4  # How many pixels outside the line are shown.
SIDE = 32  # Of the photo, in pixels.
CORNER, CROP = (0, 16), 480  # What is shown of it: row, column and side in the file.


def load_photo() -> np.ndarray:
    """Returns a part of the photo, `[1, SIDE, SIDE, 3]` in [0, 1], each pixel a mean of many."""
    with matplotlib.cbook.get_sample_data("grace_hopper.jpg") as file:
        photo = matplotlib.image.imread(file, format="jpg") / 255
    (top, left), step = CORNER, CROP // SIDE
    square = photo[top : top + CROP, left : left + CROP]
    square = square.reshape(SIDE, step, SIDE, step, 3).mean(axis=(1, 3))
    return square[None].astype(np.float32)


def sample_line(x: np.ndarray, interpolation: str, padding: str) -> np.ndarray:
    """Returns the values of the line at `x`."""
    line = tf.reshape(list(LINE.values()), [1, 1, len(LINE), 1])
    warp = np.stack([x, np.zeros_like(x)], axis=-1)[None]
    return tf_stn.resampler(line, warp, interpolation=interpolation, padding=padding)[
        0, :, 0
    ].numpy()


def names_read(padding: str) -> list[str]:
    """Returns the name of the pixel that is read for each index, or "0" outside."""
    index = np.arange(-REACH, len(LINE) + REACH)
    names = {round(value, 3): name for name, value in LINE.items()} | {0.0: "0"}
    return [names[round(float(v), 3)] for v in sample_line(index, "nearest", padding)]


def zoom_out(photo: np.ndarray, size: int, interpolation: str, padding: str) -> np.ndarray:
    """Returns `size` x `size` samples of the photo and of half as much again on every side."""
    theta = tf.constant([[2.0, 0.0, 0.0, 0.0, 2.0, 0.0]])
    samples = tf_stn.affine_resampler(
        photo,
        theta,
        (size, size),
        align_corners=False,
        interpolation=interpolation,
        padding=padding,
    )
    return np.clip(samples[0], 0, 1)  # Cubic samples overshoot.


def draw_line(cells: plt.Axes, curves: plt.Axes, padding: str) -> None:
    """Draws the pixels read by index, and below them the samples between."""
    for index, name in zip(range(-REACH, len(LINE) + REACH), names_read(padding)):
        is_inside = 0 <= index < len(LINE)
        colour = COLOURS.get(name, "white")
        box = plt.Rectangle((index - 0.5, 0), 1, 1, facecolor=colour, edgecolor="grey")
        cells.add_patch(box).set_alpha(1 if is_inside else 0.45)
        cells.text(index, 0.47, name, ha="center", va="center", fontsize=9)
    for interpolation, colour in zip(INTERPOLATIONS, ("tab:grey", "tab:blue", "tab:red")):
        x = np.linspace(-REACH - 0.5, len(LINE) + REACH - 0.5, 1200, dtype=np.float32)
        y = sample_line(x, interpolation, padding)
        curves.plot(x, y, color=colour, linewidth=1.3, label=interpolation)
    curves.plot(range(len(LINE)), LINE.values(), "o", color="black", markersize=4)
    for axes in (cells, curves):
        axes.set_xlim(-REACH - 0.5, len(LINE) + REACH - 0.5)
    for edge in (-0.5, len(LINE) - 0.5):
        cells.plot([edge, edge], [-0.12, 1.12], color="black", linewidth=2, clip_on=False)
        curves.axvline(edge, color="black", linewidth=0.6)
    cells.set(ylim=(0, 1), title=padding)
    cells.axis("off")
    curves.set(ylim=(-0.2, 1.25), xticks=range(-REACH, len(LINE) + REACH, 2), yticks=[0, 1])
    curves.tick_params(labelsize=7)


def draw(path: pathlib.Path, size: int) -> None:
    """Saves the picture; photos of `size` x `size` samples."""
    photo = load_photo()
    rows = 2 + len(INTERPOLATIONS)
    figure, panels = plt.subplots(
        rows,
        len(PADDINGS),
        figsize=(10, 8.4),
        height_ratios=[0.16, 0.75, *[1] * len(INTERPOLATIONS)],
        layout="constrained",
    )
    for column, padding in zip(panels.T, PADDINGS):
        draw_line(column[0], column[1], padding)
        for axes, interpolation in zip(column[2:], INTERPOLATIONS):
            samples = zoom_out(photo, size, interpolation, padding)
            axes.imshow(samples, extent=(-0.5, 1.5, 1.5, -0.5))
            axes.add_patch(
                plt.Rectangle((0, 0), 1, 1, fill=False, edgecolor="orange", linewidth=1.5)
            )
            axes.set(xticks=[], yticks=[])
    for axes, interpolation in zip(panels[2:, 0], INTERPOLATIONS):
        axes.set_ylabel(interpolation)
    panels[1, 0].set_ylabel("value")
    handles, labels = panels[1, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    pictures.save(figure, path, dpi=120)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--output",
        type=pathlib.Path,
        default=pathlib.Path("docs/pictures"),
        help="folder for the picture",
    )
    parser.add_argument("--size", type=int, default=252, help="samples along a side of a photo")
    options = parser.parse_args(arguments)
    if options.size < 1:
        parser.error(f"--size must be at least 1, received {options.size}")
    draw(options.output / "sampling.png", options.size)


if __name__ == "__main__":
    main()
