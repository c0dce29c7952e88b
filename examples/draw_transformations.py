"""Draws what four transformations sample of a photo, the picture of docs/visualize.md.

    python examples/draw_transformations.py --output docs

The photo, of Grace Hopper, is one that Matplotlib ships.
"""

import argparse
import pathlib

import matplotlib.cbook
import matplotlib.image
import numpy as np
import PIL.Image
import tensorflow as tf

from tf_stn import transformations, visualize

SIDE, STEP = 128, 4  # Of the photo, in pixels, and of the file's for each of them.
OUTPUT = (96, 96)
COLOURS_IN_FILE = 256


def load_photo() -> np.ndarray:
    """Returns the upper part of the photo, `[1, SIDE, SIDE, 3]` in [0, 1]."""
    with matplotlib.cbook.get_sample_data("grace_hopper.jpg") as file:
        photo = matplotlib.image.imread(file, format="jpg") / 255
    square = photo[: SIDE * STEP, : SIDE * STEP].reshape(SIDE, STEP, SIDE, STEP, 3)
    return square.mean(axis=(1, 3))[None].astype(np.float32)


def swirl(turn: float) -> tf.Tensor:
    """Returns a field of displacements that turns the middle of the photo by so many radians."""
    y, x = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    angle = turn * np.exp(-(x**2 + y**2) / (SIDE / 5) ** 2)
    cosine, sine = np.cos(angle), np.sin(angle)
    field = np.stack([cosine * x - sine * y - x, sine * x + cosine * y - y], axis=-1)
    return tf.constant(field[None], tf.float32)


def warps() -> dict[str, tf.Tensor]:
    """Returns what each transformation samples of the photo, by name."""
    spline = transformations.ThinPlateSpline((3, 3))
    bent = np.array(spline.identity_parameters, np.float32).reshape(3, 3, 2)
    bent[0, :, 1] += [0.1, 0.5, 0.1]
    bent[2, :, 1] += [-0.3, 0.1, -0.3]
    maps = {
        "affine": (transformations.Affine(), [[0.5, -0.3, -0.05, 0.3, 0.5, -0.1]]),
        "projective": (
            transformations.Projective(),
            [[0.7, 0.0, 0.0, 0.0, 0.75, 0.0, 0.0, -0.4]],
        ),
        "thin plate spline": (spline, bent.reshape(1, -1)),
        "dense displacement": (transformations.DenseDisplacement(), swirl(turn=1.5)),
    }
    return {
        name: transformation.warp(tf.constant(parameters), OUTPUT, (SIDE, SIDE))
        for name, (transformation, parameters) in maps.items()
    }


def draw(path: pathlib.Path) -> None:
    """Saves the picture."""
    by_name = warps()
    figure = visualize.draw_warp(
        load_photo(), tf.concat(list(by_name.values()), axis=0), layout="columns", margin=0.05
    )
    for axes, name in zip(figure.axes, by_name):
        axes.set_title(name, fontsize=9)
    picture = PIL.Image.fromarray(visualize.to_array(figure))
    picture.quantize(COLOURS_IN_FILE).save(path, optimize=True)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--output", type=pathlib.Path, default=pathlib.Path("docs"), help="folder for the picture"
    )
    options = parser.parse_args(arguments)
    options.output.mkdir(parents=True, exist_ok=True)
    draw(options.output / "visualize.png")


if __name__ == "__main__":
    main()
