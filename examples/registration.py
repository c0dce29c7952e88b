"""Trains a network that registers pairs of brain slices, without any supervision.

The network looks at a fixed and a moving slice and predicts a velocity field. Integrated, it is
where the fixed slice is found in the moving one, and its negative is the way back. What trains it
is how much the slices differ afterwards, and how rough the field is:

    python examples/registration.py --output registration.png    # two minutes on one core
    python examples/registration.py --steps 200                  # less accurate, in seconds

The moving slices are warped at random, so it is known where every voxel belongs; the network never
sees that. Of slices that it was not trained with, the distance of voxels of the brain from where
they belong must fall below 0.4 of what it was, and no more than 0.001 of them may be folded.

The brain is the MNI152 template (ICBM 2009a), which nilearn ships.
"""

import argparse
import pathlib
from typing import NamedTuple

import keras
import matplotlib.pyplot as plt
import numpy as np
import pictures
import tensorflow as tf
from nilearn.datasets import load_mni152_template

import tf_stn
from tf_stn import fields, visualize
from tf_stn.regularizers import Smoothness
from tf_stn.transformations import Inverse, Rigid, VelocityField

RESOLUTION = 3  # In mm, of a voxel.
SIZE = (80, 64)  # Of a slice, in voxels: from back to front, and from left to right.
HELD_OUT = 4  # Of so many slices in a row, one is for tests.
BATCH, TEST_PAIRS = 4, 96
ANGLE, SHIFT, BEND = 0.12, 2.0, 3.0  # Of random warps: in radians, voxels and voxels.
CELLS = (3, 3)  # Of the spline of a random warp.
SMOOTHNESS = 0.03  # What a mean squared difference of 1 between neighbours costs.
TEST_SEED = -1  # Those of training are numbers of steps.
DRAWN = 3  # Pairs in the picture.
VELOCITY = VelocityField()
BELONG, ARE = "deepskyblue", "red"  # Landmarks: where they belong, and where they are.


class Pairs(NamedTuple):
    """Pairs of slices, and what is known of them."""

    fixed: tf.Tensor  # [batch, height, width, 1], in [0, 1].
    moving: tf.Tensor  # Of the same shape: `fixed`, warped by `known`.
    known: tf.Tensor  # [batch, height, width, 2]: where in `fixed` a voxel of `moving` is.
    there: tf.Tensor  # The other way, of the same shape: what registration should find.


def load_slices() -> tuple[tf.Tensor, tf.Tensor]:
    """Returns horizontal slices to train with and to test with, `[slices, *SIZE, 1]` in [0, 1]."""
    volume = load_mni152_template(resolution=RESOLUTION).get_fdata(dtype=np.float32)
    slices = volume.transpose()[..., None]  # Its axes are (x, y, z): to the right, front and top.
    slices = tf.image.resize_with_crop_or_pad(slices, *SIZE)
    is_brain = (slices.numpy() > 0.1).mean(axis=(1, 2, 3)) > 0.25  # Neither the top nor the neck.
    slices = slices[is_brain]
    is_test = np.arange(len(slices)) % HELD_OUT == HELD_OUT // 2
    return slices[~is_test], slices[is_test]


def random_pairs(slices: tf.Tensor, seed: tf.Tensor, count: int) -> Pairs:
    """Returns `count` pairs of random slices; `seed` are two integers.

    A warp is a rotation with a shift, after the exponential of a smooth velocity field, so that
    the way back is known too.
    """
    seeds = tf.unstack(tf.random.experimental.stateless_split(seed, 4))
    chosen = tf.random.stateless_uniform([count], seeds[0], maxval=len(slices), dtype=tf.int32)
    fixed = tf.gather(slices, chosen)
    control = tf.random.stateless_normal([count, *(n + 3 for n in CELLS), 2], seeds[1])
    velocity = fields.b_spline(BEND * control, [side // 2 for side in SIZE])
    forth, back = (
        fields.from_warp(transformation.warp(velocity, SIZE, SIZE))
        for transformation in (VELOCITY, Inverse(VELOCITY))
    )
    angle = tf.random.stateless_normal([count, 1], seeds[2], stddev=ANGLE)
    shift = tf.random.stateless_normal([count, 2], seeds[3], stddev=SHIFT)
    rigid = Rigid(shift_units="pixels")
    matrix = rigid.matrix(tf.concat([angle, shift], axis=1), SIZE, units="pixels")
    known = fields.compose(matrix, forth)
    there = fields.compose(back, tf_stn.matrices.inverse(matrix))
    return Pairs(fixed, tf_stn.displacement_resampler(fixed, known), known, there)


def training_data(slices: tf.Tensor, steps: int, seed: int) -> tf.data.Dataset:
    """Returns batches `((fixed, moving), fixed)`, each of other pairs."""

    def batch(step: tf.Tensor) -> tuple[tuple[tf.Tensor, tf.Tensor], tf.Tensor]:
        pairs = random_pairs(slices, tf.stack([tf.constant(seed, tf.int64), step]), BATCH)
        return (pairs.fixed, pairs.moving), pairs.fixed

    return tf.data.Dataset.range(steps).map(batch, num_parallel_calls=1).prefetch(2)


def build_localisation() -> keras.Model:
    """Returns a small U-Net from a pair, as two channels, to features at a quarter of its size."""

    def convolve(x: keras.KerasTensor, filters: int, strides: int = 1) -> keras.KerasTensor:
        x = keras.layers.Conv2D(filters, 3, strides, padding="same", use_bias=False)(x)
        return keras.layers.LeakyReLU(0.2)(keras.layers.BatchNormalization(momentum=0.95)(x))

    pair = keras.Input([*SIZE, 2])
    half = convolve(pair, 16, strides=2)
    quarter = convolve(half, 32, strides=2)
    eighth = convolve(quarter, 64, strides=2)
    x = convolve(convolve(eighth, 64, strides=2), 64)
    for finer, filters in ((eighth, 64), (quarter, 32)):
        x = keras.layers.Concatenate()([keras.layers.UpSampling2D()(x), finer])
        x = convolve(x, filters)
    return keras.Model(pair, convolve(x, 32), name="u_net")


def build_model() -> keras.Model:
    """Returns a model from `[fixed, moving]` to the moving slices, moved onto the fixed ones."""
    fixed, moving = (keras.Input([*SIZE, 1], name=name) for name in ("fixed", "moving"))
    register = tf_stn.SpatialTransformer(
        build_localisation(), VELOCITY, regularizer=Smoothness(SMOOTHNESS), name="register"
    )
    pair = keras.layers.Concatenate()([fixed, moving])
    return keras.Model([fixed, moving], register(pair, source=moving))


def train(slices: tf.Tensor, steps: int, seed: int) -> keras.Model:
    """Returns a model, trained for so many steps."""
    keras.utils.set_random_seed(seed)
    model = build_model()
    rate = keras.optimizers.schedules.CosineDecay(3e-3, steps)
    model.compile(keras.optimizers.Adam(rate), loss="mse")
    model.fit(training_data(slices, steps, seed), shuffle=False)
    return model


def predict_velocity(model: keras.Model, pairs: Pairs) -> tf.Tensor:
    """Returns the velocity fields that the model predicts, `[batch, height / 4, width / 4, 2]`."""
    return model.get_layer("register").parameters(tf.concat([pairs.fixed, pairs.moving], axis=-1))


def landmarks_of(fixed: tf.Tensor, count: int = 8) -> tf.Tensor:
    """Returns the brightest points of slices that are apart, `[batch, count, 2]` as (x, y)."""
    reach = 9
    smooth = tf.nn.avg_pool2d(fixed, 3, 1, "SAME")
    is_peak = smooth == tf.nn.max_pool2d(smooth, reach, 1, "SAME")
    score = tf.reshape(tf.where(is_peak, smooth, 0), [len(fixed), -1])
    index = tf.math.top_k(score, count).indices
    return tf.cast(tf.stack([index % SIZE[1], index // SIZE[1]], axis=-1), tf.float32)


def distance(difference: tf.Tensor) -> np.ndarray:
    """Returns how long displacements are, `[...]` of `[..., 2]`."""
    return tf.norm(difference, axis=-1).numpy()


def move_landmarks(velocity: tf.Tensor, landmarks: tf.Tensor) -> tf.Tensor:
    """Returns where landmarks of moving slices are in the moved ones, in pixels of a slice."""
    return Inverse(VELOCITY).map_points(velocity, landmarks, SIZE, units="pixels")


def evaluate(model: keras.Model, pairs: Pairs) -> dict[str, tuple[float, float]]:
    """Returns figures before and after registration."""
    velocity = predict_velocity(model, pairs)
    found = fields.from_warp(VELOCITY.warp(velocity, SIZE, SIZE))
    back = fields.from_warp(Inverse(VELOCITY).warp(velocity, SIZE, SIZE))
    brain = pairs.fixed[..., 0].numpy() > 0.1
    belong = landmarks_of(pairs.fixed)
    are = fields.map_points(pairs.there, belong)
    moved = tf_stn.displacement_resampler(pairs.moving, found)
    folded = fields.jacobian_determinant(found).numpy() < 0
    differences = [
        float(tf.reduce_mean((each - pairs.fixed) ** 2)) ** 0.5 for each in (pairs.moving, moved)
    ]
    return {
        "distance in voxels": (
            distance(pairs.there)[brain].mean(),
            distance(found - pairs.there)[brain].mean(),
        ),
        "the same of landmarks": (
            distance(are - belong).mean(),
            distance(move_landmarks(velocity, are) - belong).mean(),
        ),
        "difference of intensity": (differences[0], differences[1]),
        "share that is folded": (0.0, folded.mean()),
        "there and back, in voxels": (0.0, distance(fields.compose(found, back))[brain].mean()),
    }


def draw_landmarks(axis: plt.Axes, points: np.ndarray, colour: str, marker: str) -> None:
    """Draws points of a slice, `[n, 2]`."""
    axis.plot(*points.T, marker, color=colour, markersize=6, markeredgewidth=1.5, fillstyle="none")


def draw(model: keras.Model, pairs: Pairs, path: pathlib.Path) -> None:
    """Saves a row for each pair: its slices, landmarks, differences and Jacobian determinants."""
    velocity = predict_velocity(model, pairs)
    warp = VELOCITY.warp(velocity, SIZE, SIZE)
    moved = tf_stn.resampler(pairs.moving, warp)
    determinants = fields.jacobian_determinant(fields.from_warp(warp)).numpy()
    belong = landmarks_of(pairs.fixed)
    are = fields.map_points(pairs.there, belong)
    arrived = move_landmarks(velocity, are)
    slices = [each[..., 0].numpy() for each in (pairs.fixed, pairs.moving, moved)]
    differences = [np.abs(each - slices[0]) for each in slices[1:]]
    titles = ["fixed", "moving", "moved", "difference before", "and after", "determinant"]
    figure, axes = plt.subplots(
        len(slices[0]), len(titles), figsize=(10, 6.7), layout="constrained", squeeze=False
    )
    shown = {}
    for i, row in enumerate(axes):
        for axis, values in zip(row, slices):
            axis.imshow(values[i], cmap="gray", vmin=0, vmax=1)
        draw_landmarks(row[0], belong[i].numpy(), BELONG, "o")
        draw_landmarks(row[1], are[i].numpy(), ARE, "x")
        draw_landmarks(row[2], belong[i].numpy(), BELONG, "o")
        draw_landmarks(row[2], arrived[i].numpy(), ARE, "x")
        for lines in visualize.mesh(warp[i], lines=10):
            row[1].plot(*np.moveaxis(lines, -1, 0).swapaxes(1, 2), color="orange", linewidth=0.7)
        for axis, values in zip(row[3:], differences):
            shown["difference"] = axis.imshow(values[i], cmap="inferno", vmin=0, vmax=0.6)
        shown["determinant"] = row[5].imshow(determinants[i], cmap="RdBu", vmin=0, vmax=2)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[], xlim=(-0.5, SIZE[1] - 0.5), ylim=(-0.5, SIZE[0] - 0.5))
    for axis, title in zip(axes[0], titles):
        axis.set_title(title, fontsize=9)
    for columns, image in ((axes[:, 3:5], "difference"), (axes[:, 5], "determinant")):
        bar = figure.colorbar(shown[image], ax=columns, location="bottom", shrink=0.6)
        bar.ax.tick_params(labelsize=7)
    pictures.save(figure, path)


def run(steps: int, seed: int, path: pathlib.Path) -> dict[str, tuple[float, float]]:
    """Trains, draws and returns figures of slices that the network was not trained with."""
    to_train, to_test = load_slices()
    model = train(to_train, steps, seed)
    pairs = random_pairs(to_test, tf.constant([seed, TEST_SEED], tf.int64), TEST_PAIRS)
    draw(model, Pairs(*(each[:DRAWN] for each in pairs)), path)
    return evaluate(model, pairs)


def main(arguments: list[str] | None = None) -> dict[str, tuple[float, float]]:
    """Runs the example; returns its figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=2000, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path("registration.png"))
    options = parser.parse_args(arguments)
    if options.steps < 1:
        parser.error(f"--steps must be at least 1, received {options.steps}")
    figures = run(options.steps, options.seed, options.output)
    print(f"{'':<27}{'before':>8}{'after':>8}")
    for name, (before, after) in figures.items():
        print(f"{name:<27}{before:8.3f}{after:8.3f}")
    return figures


if __name__ == "__main__":
    main()
