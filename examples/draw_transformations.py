"""Draws in which direction transformations go, and what four of them sample of a photo.

    python examples/draw_transformations.py --output docs/pictures

These are the pictures of docs/explanation/transformations.md and of docs/how_to/visualize.md. The
photo, of Grace Hopper, is one that Matplotlib ships.
"""

import argparse
import pathlib

import matplotlib.cbook
import matplotlib.image
import matplotlib.patches
import matplotlib.pyplot as plt
import numpy as np
import pictures
import PIL.Image
import tensorflow as tf

import tf_stn
from tf_stn import transformations, visualize

SIDE, STEP = 128, 4  # Of the photo, in pixels, and of the file's for each of them.
OUTPUT = (96, 96)
COLOURS_IN_FILE = 256
# From which output points arrows start, normalised, and the colours of these.
STARTS = [[-0.7, -0.6], [0.1, -0.75], [-0.2, 0.1], [0.2, 0.7]]
ARROWS = ["deepskyblue", "magenta", "red", "yellowgreen"]


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


def draw_direction(path: pathlib.Path) -> None:
    """Saves outputs, each beside its input, with arrows to where output points are read."""
    photo = load_photo()
    maps = {
        "translation (0.5, 0)": (transformations.Translation(), [[0.5, 0.0]]),
        "attention (0.5, 0.1, -0.3)": (transformations.Attention(), [[0.5, 0.1, -0.3]]),
    }
    rights = [SIDE + 8, 1.5 * SIDE + 8, SIDE + 8, SIDE + 8]  # Where panels end, in pixels.
    ratios = [right + 8 for right in rights]
    figure, axes = plt.subplots(
        1, len(rights), figsize=(10, 2.5), width_ratios=ratios, layout="constrained"
    )
    for (output, input_), (name, (family, parameters)) in zip(axes.reshape(-1, 2), maps.items()):
        output.imshow(tf_stn.affine_resampler(photo, family.matrix(parameters, photo))[0])
        input_.imshow(photo[0])
        outline = visualize.outline(family.warp(parameters, (SIDE, SIDE), (SIDE, SIDE))[0])
        input_.plot(*outline.T, color="orange", linewidth=1.5)
        output.set_title(f"output: {name}", fontsize=9)
        input_.set_title("input", fontsize=9)
        ends = family.map_points(parameters, STARTS)[0]
        for start, end, colour in zip(STARTS, ends, ARROWS):
            arrow = matplotlib.patches.ConnectionPatch(
                *[(np.array(point) + 1) / 2 * (SIDE - 1) for point in (start, end)],
                "data",
                "data",
                axesA=output,
                axesB=input_,
                arrowstyle="->",
                mutation_scale=14,
                linewidth=1.8,
                color=colour,
            )
            figure.add_artist(arrow)
            output.plot(*arrow.xy1, "o", color=colour, markersize=5)
    for axis, right in zip(axes, rights):
        axis.set(xticks=[], yticks=[], facecolor="0.85", xlim=(-8, right), ylim=(SIDE + 8, -8))
    pictures.save(figure, path)


def draw_kinds(path: pathlib.Path) -> None:
    """Saves what each of four transformations samples."""
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
        "--output",
        type=pathlib.Path,
        default=pathlib.Path("docs/pictures"),
        help="folder for the pictures",
    )
    options = parser.parse_args(arguments)
    options.output.mkdir(parents=True, exist_ok=True)
    draw_direction(options.output / "direction.png")
    draw_kinds(options.output / "visualize.png")


if __name__ == "__main__":
    main()
