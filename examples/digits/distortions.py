"""The distortions of Jaderberg et al., made of the package's own transformations.

A transformation says for each point of the canvas where that lies on the image, so what is drawn
here is often the way back of what is described. Coordinates are normalised so that -1 and 1 are the
outer edges, of the canvas as of the image.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
import tensorflow as tf

import tf_stn
from tf_stn import transformations

SIDE = 28  # Of an image, in pixels.
PIECES, PIECE = 16, 6  # How many pieces clutter a canvas, and the side of one in pixels.
CORNERS = np.array([[-1, -1], [1, -1], [-1, 1], [1, 1]], np.float32)

Draw = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]  # From a count and a seed to parameters.


def pixels(count: float) -> float:
    """Returns so many pixels of an image in its normalised coordinates."""
    return count / (SIDE / 2)


def _scales(count: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    return tf.random.stateless_uniform([count, 1, 1], seed, 0.75, 1.0)


def rotations(count: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Returns parameters of `Rigid`: turns by up to 90° either way."""
    angle = tf.random.stateless_uniform([count, 1], seed, -np.pi / 2, np.pi / 2)
    return tf.pad(angle, [[0, 0], [0, 2]])


def _placed(scale: tf.Tensor, angle: tf.Tensor, place: tf.Tensor, canvas: int) -> tf.Tensor:
    """Returns parameters of `Similarity` from a canvas to the image that lies on it.

    Args:
      scale: Of the image, `[count]`.
      angle: By which it is turned, in radians, `[count]`.
      place: Of its centre, `[2, count]`: from -1 to 1 wherever its square, upright, fits.
      canvas: Side of the canvas, in pixels.
    """
    scale = scale * (SIDE / canvas)
    x, y = tf.unstack(place * (1 - scale))
    parameters = tf.stack([scale, angle, x, y], axis=1)
    return transformations.Similarity().inverse(parameters, (SIDE, SIDE))


def placements(count: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Returns parameters of `Similarity`: turned by up to 45°, scaled by 0.7 to 1.2, anywhere."""
    uniform = tf.random.stateless_uniform([4, count], seed, -1, 1)
    return _placed(0.95 + 0.25 * uniform[0], uniform[1] * np.pi / 4, uniform[2:], canvas=42)


def translations(count: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Returns parameters of `Similarity`: anywhere, as it is."""
    place = tf.random.stateless_uniform([2, count], seed, -1, 1)
    return _placed(tf.ones([count]), tf.zeros([count]), place, canvas=60)


def _homographies(canvas: tf.Tensor, image: tf.Tensor) -> tf.Tensor:
    """Returns parameters of `Projective` that take four points, `[batch, 4, 2]`, to four others."""
    canvas, image = tf.cast(canvas, tf.float64), tf.cast(image, tf.float64)
    homogeneous = tf.concat([canvas, tf.ones_like(canvas[..., :1])], axis=-1)
    zeros = tf.zeros_like(homogeneous)
    # Of x for the first four equations, of y for the others, times the denominator.
    rows = tf.concat(
        [tf.concat([homogeneous, zeros], axis=-1), tf.concat([zeros, homogeneous], axis=-1)], axis=1
    )
    values = tf.concat([image[..., :1], image[..., 1:]], axis=1)
    rows = tf.concat([rows, -values * tf.tile(canvas, [1, 2, 1])], axis=-1)
    return tf.cast(tf.linalg.solve(rows, values)[..., 0], tf.float32)


def projections(count: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Returns parameters of `Projective`: scaled by 0.75 to 1, each corner moved.

    By a normal distribution of standard deviation 5 pixels, in x and in y.
    """
    scale_seed, corner_seed = tf.unstack(tf.random.split(seed))
    moved = tf.random.stateless_normal([count, 4, 2], corner_seed, stddev=pixels(5))
    corners = _scales(count, scale_seed) * CORNERS + moved
    return _homographies(corners, tf.broadcast_to(CORNERS, tf.shape(corners)))


def elastic(count: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Returns parameters of `ThinPlateSpline`: scaled by 0.75 to 1, each of 4x4 points moved.

    By a normal distribution of standard deviation 1.5 pixels, in x and in y.
    """
    scale_seed, point_seed = tf.unstack(tf.random.split(seed))
    moved = tf.random.stateless_normal([count, 16, 2], point_seed, stddev=pixels(1.5))
    grid = tf.reshape(transformations.ThinPlateSpline().identity_parameters, [16, 2])
    return tf.reshape((grid + moved) / _scales(count, scale_seed), [count, 32])


def _crops(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Returns pieces of each image, from anywhere on it, `[batch, 16, 6, 6, 1]`."""
    count = tf.shape(images)[0]
    corner = tf.random.stateless_uniform([count * PIECES, 2], seed, 0, SIDE - PIECE + 1, tf.int32)
    centre = pixels(tf.cast(corner, tf.float32) + PIECE / 2) - 1
    theta = transformations.Attention(scale=PIECE / SIDE).matrix(centre)
    theta = tf.reshape(theta, [count, PIECES, 2, 3])
    return tf_stn.affine_resampler(
        images, theta, (PIECE, PIECE), align_corners=False, interpolation="nearest"
    )


def _of_others(pieces: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Gives each image pieces that were cropped from others, each from another one at random."""
    count = tf.shape(pieces)[0]
    steps = tf.random.stateless_uniform([count, PIECES], seed, 1, tf.maximum(count, 2), tf.int32)
    other = (tf.range(count)[:, None] + steps) % count
    piece = tf.broadcast_to(tf.range(PIECES), [count, PIECES])
    return tf.gather_nd(pieces, tf.stack([other, piece], axis=-1))


def _scattered(pieces: tf.Tensor, seed: tf.Tensor, canvas: int) -> tf.Tensor:
    """Returns canvases with pieces anywhere; where they overlap, the brighter pixel is seen."""
    count = tf.shape(pieces)[0]
    corner = tf.random.stateless_uniform(
        [count, PIECES, 1, 1, 2], seed, 0, canvas - PIECE + 1, tf.int32
    )
    inside = tf.meshgrid(tf.range(PIECE), tf.range(PIECE), indexing="ij")
    at = corner + tf.stack(inside, axis=-1)  # Row and column.
    which = tf.reshape(tf.range(count), [-1, 1, 1, 1, 1])
    which = tf.broadcast_to(which, tf.concat([tf.shape(at)[:-1], [1]], axis=0))
    blank = tf.zeros([count, canvas, canvas, 1], pieces.dtype)
    return tf.tensor_scatter_nd_max(blank, tf.concat([which, at], axis=-1), pieces)


def clutter(images: tf.Tensor, seed: tf.Tensor, canvas: int) -> tf.Tensor:
    """Returns canvases with 16 pieces of other images each, `[batch, canvas, canvas, 1]`."""
    crop_seed, other_seed, place_seed = tf.unstack(tf.random.split(seed, 3))
    pieces = _of_others(_crops(images, crop_seed), other_seed)
    return _scattered(pieces, place_seed, canvas)


@dataclasses.dataclass(frozen=True)
class Distortion:
    """Distorts images, `[batch, 28, 28, 1]`, by a seed, `[2]`, onto canvases.

    Attributes:
      canvas: Side of a canvas, in pixels.
      transformation: From the canvas to the image.
      parameters: Draws its parameters.
      is_cluttered: Whether pieces of other images lie about.
    """

    canvas: int
    transformation: transformations.Transformation
    parameters: Draw
    is_cluttered: bool = False

    def __call__(self, images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        image_seed, clutter_seed = seed, None
        if self.is_cluttered:
            image_seed, clutter_seed = tf.unstack(tf.random.split(seed))
        parameters = self.parameters(tf.shape(images)[0], image_seed)
        size = (self.canvas, self.canvas)
        warp = self.transformation.warp(parameters, size, (SIDE, SIDE), align_corners=False)
        canvases = tf_stn.resampler(images, warp)
        if self.is_cluttered:
            canvases = tf.maximum(canvases, clutter(images, clutter_seed, self.canvas))
        return canvases


DISTORTIONS = {
    "R": Distortion(28, transformations.Rigid(), rotations),
    "RTS": Distortion(42, transformations.Similarity(), placements),
    "P": Distortion(28, transformations.Projective(), projections),
    "E": Distortion(28, transformations.ThinPlateSpline(), elastic),
    "TC": Distortion(60, transformations.Similarity(), translations, is_cluttered=True),
}
