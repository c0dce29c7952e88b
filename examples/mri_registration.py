"""Registers an MRI volume of a brain to a copy that was moved and deformed.

The copy is made by a known affine map and a known smooth displacement on top of it. Registration
sees the two volumes alone: gradient descent finds first an affine map, then a displacement of the
points of a coarse grid that is kept smooth, both from coarse to fine.

    python examples/mri_registration.py --output mri_registration.png    # about a minute
    python examples/mri_registration.py --resolution 4    # an eighth of the voxels: some seconds

The difference of intensities must fall below 0.3 of what it was, and the distance of voxels of the
brain from where they belong below 0.15 of what it was. With voxels of 2 mm, the default, it is 0.16
and 0.04.

The brain is the MNI152 template (ICBM 2009a), which nilearn ships.
"""

import argparse
import functools
import pathlib

import matplotlib.pyplot as plt
import numpy as np
import pictures
import tensorflow as tf
from descent import SHRINKS, descend, mean_square, shrink
from nilearn.datasets import load_mni152_template

import tf_stn
from tf_stn.transformations import DenseDisplacement, Similarity

GRID_SPACING = 20.0  # In mm, of the points that are displaced.
SMOOTHNESS = 0.03  # What a strain of 1 costs, in squared intensities.
DISPLACEMENT = DenseDisplacement(rank=3)
IDENTITY = tf.eye(3, 4, batch_shape=[1])


def load_brain(resolution: int) -> tf.Tensor:
    """Returns the template, `[1, depth, height, width, 1]` in [0, 1], voxels of so many mm.

    It is padded to sides that can be halved twice.
    """
    volume = load_mni152_template(resolution=resolution).get_fdata(dtype=np.float32)
    volume = volume.transpose()  # Its axes are (x, y, z): to the right, front and top of the head.
    volume = np.pad(volume, [(0, -side % max(SHRINKS)) for side in volume.shape])
    return tf.constant(volume[None, ..., None])


def affine_warp(theta: tf.Tensor, size: tuple[int, ...]) -> tf.Tensor:
    return tf_stn.affine_grid(theta, size, size, align_corners=False)


def compose(outer: tf.Tensor, inner: tf.Tensor) -> tf.Tensor:
    """Returns the warp that applies `inner` first: what `outer` has where `inner` points."""
    return tf_stn.resampler(outer, inner, padding="border")


def known_warp(size: tuple[int, ...], resolution: int) -> tf.Tensor:
    """Returns the warp that registration is to undo; it moves the brain by 16 mm on average."""
    parameters = [[1.1, 0.1, -0.08, 0.15, 0.05, -0.08, 0.06]]
    theta = Similarity(rank=3).matrix(parameters, size, align_corners=False)
    random = np.random.default_rng(0).normal(scale=4.0, size=[1, 5, 5, 5, 3]) / resolution
    smooth = tf_stn.affine_resampler(
        random.astype(np.float32), IDENTITY, size, interpolation="cubic", padding="border"
    )
    return affine_warp(theta, size) + smooth


def affine_loss(theta: tf.Variable, fixed: tf.Tensor, moving: tf.Tensor) -> tf.Tensor:
    return mean_square(tf_stn.affine_resampler(moving, theta, align_corners=False) - fixed)


def register_affine(fixed: tf.Tensor, moving: tf.Tensor, steps: int) -> tf.Variable:
    """Returns the θ under which `moving` is most like `fixed`."""
    theta = tf.Variable(IDENTITY)
    for factor in SHRINKS:
        loss = functools.partial(affine_loss, theta, shrink(fixed, factor), shrink(moving, factor))
        descend(loss, theta, steps, 0.005 * factor, f"affine, 1/{factor}")
    return theta


def dense_loss(
    field: tf.Variable, fixed: tf.Tensor, moving: tf.Tensor, factor: int, spacing: float
) -> tf.Tensor:
    size = tuple(fixed.shape[1:4])
    warp = DISPLACEMENT.warp(field / factor, size, size, align_corners=False)
    strains = [tf.experimental.numpy.diff(field, axis=axis) / spacing for axis in (1, 2, 3)]
    roughness = tf.add_n([mean_square(strain) for strain in strains])
    return mean_square(tf_stn.resampler(moving, warp) - fixed) + SMOOTHNESS * roughness


def register_dense(fixed: tf.Tensor, moving: tf.Tensor, spacing: float, steps: int) -> tf.Variable:
    """Returns displacements, `[1, *points, 3]` in voxels, that make the volumes most alike."""
    points = [round(side / spacing) for side in fixed.shape[1:4]]
    field = tf.Variable(tf.zeros([1, *points, 3]))
    for factor in SHRINKS:
        volumes = shrink(fixed, factor), shrink(moving, factor)
        loss = functools.partial(dense_loss, field, *volumes, factor, spacing)
        descend(loss, field, steps, 0.03 * spacing, f"dense, 1/{factor}")
    return field


def distances(known: tf.Tensor, found: tf.Tensor) -> np.ndarray:
    """Returns how far, in voxels, each voxel is from where it belongs: `[depth, height, width]`."""
    there_and_back = compose(known, found) - affine_warp(IDENTITY, known.shape[1:4])
    return tf.norm(there_and_back, axis=-1)[0].numpy()


def draw_mesh(axis: plt.Axes, warp: np.ndarray, spacing: int = 8) -> None:
    """Draws where the rows and columns of a slice lie; `warp` is `[height, width, 3]`."""
    for lines in (warp[::spacing], warp.swapaxes(0, 1)[::spacing]):
        axis.plot(lines[..., 0].T, lines[..., 1].T, color="orange", linewidth=0.8)


def draw(
    volumes: dict[str, np.ndarray], meshes: list[np.ndarray], left: np.ndarray, path: pathlib.Path
) -> None:
    """Saves the middle slice of each volume, the first the fixed one, and how the others differ."""
    figure, axes = plt.subplots(2, len(volumes), figsize=(10, 5.9), layout="constrained")
    middle = len(left) // 2
    slices = [volume[middle] for volume in volumes.values()]
    for axis, title, values in zip(axes[0], volumes, slices):
        axis.imshow(values, cmap="gray", vmin=0, vmax=1)
        axis.set_title(title, fontsize=9)
    for axis, mesh in zip(axes[0], meshes):
        draw_mesh(axis, mesh[middle])
    image = axes[1, 0].imshow(left[middle], cmap="inferno", vmin=0)
    axes[1, 0].set_title("distance left, after dense", fontsize=9)
    bar = {"location": "bottom", "aspect": 30, "pad": 0.02}
    figure.colorbar(image, ax=axes[1, 0], label="voxels", **bar)
    for axis, (title, values) in zip(axes[1, 1:], list(zip(volumes, slices))[1:]):
        image = axis.imshow(np.abs(values - slices[0]), cmap="inferno", vmin=0, vmax=0.5)
        axis.set_title(f"difference, {title}", fontsize=9)
    label = "difference of intensity from fixed; the brain's is 1 at most"
    figure.colorbar(image, ax=axes[1, 1:], label=label, extend="max", **bar | {"aspect": 90})
    for axis in axes.flat:
        height, width = slices[0].shape
        axis.set(xticks=[], yticks=[], xlim=(-0.5, width - 0.5), ylim=(-0.5, height - 0.5))
    pictures.save(figure, path)


def run(resolution: int, steps: int, path: pathlib.Path) -> dict[str, tuple[float, float]]:
    """Registers, draws and returns by stage the difference of intensities and the distance left."""
    fixed = load_brain(resolution)
    size = tuple(fixed.shape[1:4])
    known = known_warp(size, resolution)
    moving = tf_stn.resampler(fixed, known)

    theta = register_affine(fixed, moving, steps)
    affine = affine_warp(theta, size)
    moved = tf_stn.affine_resampler(moving, theta, align_corners=False)
    field = register_dense(fixed, moved, GRID_SPACING / resolution, steps)
    dense = compose(affine, DISPLACEMENT.warp(field, size, size, align_corners=False))

    warps = {"moving": affine_warp(IDENTITY, size), "after affine": affine, "after dense": dense}
    volumes = {name: tf_stn.resampler(moving, warp) for name, warp in warps.items()}
    away = {name: distances(known, warp) for name, warp in warps.items()}
    brain = fixed[0, ..., 0].numpy() > 0.1  # Around it there is some noise.
    figures = {
        name: (float(mean_square(volumes[name] - fixed)) ** 0.5, away[name][brain].mean())
        for name in warps
    }
    draw(
        {name: volume[0, ..., 0].numpy() for name, volume in {"fixed": fixed, **volumes}.items()},
        [warps["moving"][0].numpy(), dense[0].numpy()],
        np.where(brain, away["after dense"], np.nan),
        path,
    )
    return figures


def main(arguments: list[str] | None = None) -> dict[str, tuple[float, float]]:
    """Runs the example; returns its figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--resolution", type=int, default=2, help="in mm; default: %(default)s")
    parser.add_argument(
        "--steps", type=int, default=50, help="of each level and stage; default: %(default)s"
    )
    parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path("mri_registration.png"))
    options = parser.parse_args(arguments)
    for name in ("resolution", "steps"):
        if (value := getattr(options, name)) < 1:
            parser.error(f"--{name} must be at least 1, received {value}")
    figures = run(options.resolution, options.steps, options.output)
    first_difference, first_distance = figures["moving"]
    for name, (difference, distance) in figures.items():
        print(
            f"{name:<14}difference {difference / first_difference:7.1%}    "
            f"distance {distance:5.2f} voxels, {distance / first_distance:7.1%}"
        )
    return figures


if __name__ == "__main__":
    main()
