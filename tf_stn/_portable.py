"""The resampler in TensorFlow's own operations.

A sample is a sum over taps k: `V_c = sum_k w_k U_c[i_k]`, with weights that depend on the point.
Three functions are all that touches pixels. They are the partial derivatives of one form that is
linear in pixels, weights and samples,

    sum_k w_k <U[i_k], G>,

so that each one's derivatives are the other two: `_pull` in G, which samples, `_push` in U, which
scatters, and `_products` in w. They are differentiable to any order by these rules; weights are
functions of the points that TensorFlow differentiates by itself.

The rules are written out since TensorFlow's own would multiply by zero: a tap of weight zero takes
no part, whatever its pixel holds.
"""

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tf_stn import _shapes
from tf_stn._sizes import static_shape

# Coordinates are limited to this, so that they can be an index. No image is as large.
_FAR = 2.0**30
_A = -0.75  # Of the cubic convolution.

Tensors = list[tf.Tensor]


@tf.custom_gradient
def _scaled(x: tf.Tensor, weight: tf.Tensor) -> tuple[tf.Tensor, Callable]:
    """Returns `weight * x`, and zero where the weight is, even if x is infinite or NaN."""

    def gradient(grad: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return _scaled(grad, weight), _scaled(grad, x)

    return tf.where(tf.equal(weight, 0), tf.zeros_like(x), x * weight), gradient


@tf.custom_gradient
def _pull(pixels: tf.Tensor, index: tf.Tensor, weight: tf.Tensor) -> tuple[tf.Tensor, Callable]:
    """Returns `weight * pixels[index]`, and zero where the weight is.

    Args:
      pixels: `[rows, channels]`, of which row 0 is zero.
      index: `[n]`, integers.
      weight: `[n]`.
    """

    def gradient(grad: tf.Tensor) -> tuple[tf.Tensor, None, tf.Tensor]:
        rows = tf.shape(pixels)[0]
        return _push(grad, index, weight, rows), None, _products(pixels, index, grad)

    read = tf.where(tf.equal(weight, 0), tf.zeros_like(index), index)
    return tf.gather(pixels, read) * tf.expand_dims(weight, -1), gradient


@tf.custom_gradient
def _push(
    samples: tf.Tensor, index: tf.Tensor, weight: tf.Tensor, rows: tf.Tensor
) -> tuple[tf.Tensor, Callable]:
    """Returns pixels with `weight * samples` added to row `index`. A NaN weight adds nothing."""

    def gradient(grad: tf.Tensor) -> tuple[tf.Tensor, None, tf.Tensor, None]:
        return _pull(grad, index, weight), None, _products(grad, index, samples), None

    takes_part = (weight < 0) | (weight > 0)
    written = tf.where(takes_part, index, tf.zeros_like(index))
    values = tf.where(tf.expand_dims(takes_part, -1), samples * tf.expand_dims(weight, -1), 0)
    return tf.math.unsorted_segment_sum(values, written, rows), gradient


@tf.custom_gradient
def _products(
    pixels: tf.Tensor, index: tf.Tensor, samples: tf.Tensor
) -> tuple[tf.Tensor, Callable]:
    """Returns the inner products of `pixels[index]` and samples, of the shape of `index`."""

    def gradient(grad: tf.Tensor) -> tuple[tf.Tensor, None, tf.Tensor]:
        rows = tf.shape(pixels)[0]
        return _push(samples, index, grad, rows), None, _pull(pixels, index, grad)

    products = tf.reduce_sum(tf.gather(pixels, index) * samples, axis=-1)
    return tf.where(tf.equal(index, 0), tf.zeros_like(products), products), gradient


def _cubic_weights(t: tf.Tensor) -> Tensors:
    """Returns the weights of four pixels, in forms that are exactly 0 and 1 on a pixel centre."""

    def near(s: tf.Tensor) -> tf.Tensor:
        return ((_A + 2) * s - (_A + 3)) * s * s + 1

    def far(s: tf.Tensor) -> tf.Tensor:
        return _A * s * (1 - s) * (1 - s)

    return [far(t), near(t), near(1 - t), far(1 - t)]


def _taps(x: tf.Tensor, is_unknown: tf.Tensor, interpolation: str) -> tuple[Tensors, Tensors]:
    """Returns the indices of the pixels along an axis, before padding, and their weights.

    Args:
      x: A coordinate of all points.
      is_unknown: Whether some coordinate of a point is NaN.
      interpolation: One of INTERPOLATIONS.
    """
    is_nan = tf.math.is_nan(x)
    known = tf.clip_by_value(tf.where(is_nan, tf.zeros_like(x), x), -_FAR, _FAR)
    low = tf.round(known) if interpolation == "nearest" else tf.floor(known)
    first = tf.cast(low, tf.int32)
    # Where x is NaN, so are t and all derivatives. Where it is far outside, none depends on it.
    is_far = (tf.abs(x) > _FAR) & ~is_unknown
    t = tf.where(is_far, tf.zeros_like(x), x - tf.stop_gradient(low))
    nan = tf.constant(np.nan, x.dtype)
    if interpolation == "nearest":
        return [first], [1 + _scaled(t, tf.where(is_nan, nan, tf.zeros_like(nan)))]
    t *= tf.where(is_nan, nan, tf.ones_like(nan))
    if interpolation == "linear":
        return [first, first + 1], [1 - t, t]
    return [first + (k - 1) for k in range(4)], _cubic_weights(t)


def _remainder(index: tf.Tensor, period: Any) -> tf.Tensor:
    # Twice, since some exporters make of it that of C, which has the sign of the index.
    return tf.math.floormod(tf.math.floormod(index, period) + period, period)


def _resolve(index: tf.Tensor, size: Any, padding: str) -> tf.Tensor:
    """Returns the indices that a padding reads, none of them outside."""
    # Not tf.clip_by_value, of which LiteRT makes an op that it has not for integers.
    last = size - 1
    if padding == "border":
        return tf.minimum(tf.maximum(index, 0), last)
    if padding == "wrap":
        return _remainder(index, size)
    if padding == "symmetric":
        place = _remainder(index, 2 * size)
        return tf.minimum(place, 2 * size - 1 - place)
    maximum = tf.maximum if tf.is_tensor(size) else max
    period = maximum(2 * last, 1)
    place = _remainder(index, period)
    return tf.minimum(tf.minimum(place, period - place), last)


def _merged(indices: Tensors, weights: Tensors) -> Tensors:
    """Returns the weights of taps, those on one pixel added up to the first of them.

    So an infinite pixel has the weight and the slope that it really has, which may be zero. Where
    all are on one pixel that is 1, and not nearly so.
    """
    weights = [*weights]
    for k in range(1, len(weights)):
        for j in range(k):
            same = tf.equal(indices[j], indices[k])
            zero = tf.zeros_like(weights[k])
            weights[j] += tf.where(same, weights[k], zero)
            weights[k] = tf.where(same, zero, weights[k])
    if len(weights) > 1:
        are_one = tf.reduce_all(tf.equal(tf.stack(indices[1:]), indices[0]), axis=0)
        one = tf.where(tf.math.is_nan(weights[0]), weights[0], tf.ones_like(weights[0]))
        weights[0] = tf.where(are_one, one, weights[0])
    return weights


def _sample(
    data: tf.Tensor,
    points: tf.Tensor,
    fill: Sequence[tf.Tensor],
    interpolation: str,
    padding: str,
) -> tf.Tensor:
    """Samples `[batch or 1, *size, channels]` at `[batch, points, rank]`."""
    shape, late = static_shape(data) or (), tf.shape(data)
    sides = [late[d] if n is None else n for d, n in enumerate(shape)]
    images, *size, channels = sides
    elements = tf.reduce_prod(late[1:-1])
    count = tf.reduce_prod(tf.shape(points)[:2])
    special = [tf.zeros([1, channels], data.dtype)]
    special += [tf.reshape(pixel, [1, channels]) for pixel in fill]
    pixels = tf.concat([*special, tf.reshape(data, [images * elements, channels])], axis=0)
    first = tf.expand_dims(tf.range(images) * elements + len(special), 1)
    first = tf.reshape(tf.broadcast_to(first, tf.shape(points)[:2]), [count])
    coordinates = [tf.reshape(x, [count]) for x in reversed(tf.unstack(points, axis=-1))]
    is_unknown = functools.reduce(tf.logical_or, map(tf.math.is_nan, coordinates))
    axes = []
    for x, n in zip(coordinates, size, strict=True):
        indices, weights = _taps(x, is_unknown, interpolation)
        inside: list[tf.Tensor | None] = [None for _ in indices]
        if padding == "zeros":
            inside = [(i >= 0) & (i < n) for i in indices]
        else:
            indices = [_resolve(i, n, padding) for i in indices]
            weights = _merged(indices, weights)
        axes.append(list(zip(indices, weights, inside, strict=True)))
    total = None
    for corner in itertools.product(*axes):
        index, weight, is_inside = corner[0]
        for n, (i, w, is_inside_too) in zip(size[1:], corner[1:], strict=True):
            index = index * n + i
            weight = _scaled(weight, w)
            is_inside = None if is_inside is None else is_inside & is_inside_too
        index = index + first
        if is_inside is not None:
            index = tf.where(is_inside, index, len(fill))
        sampled = _pull(pixels, index, weight)
        total = sampled if total is None else total + sampled
    return total


def _of_rank(
    rank: int,
    data: tf.Tensor,
    warp: tf.Tensor,
    fill: Sequence[tf.Tensor],
    interpolation: str,
    padding: str,
) -> tf.Tensor:
    """Samples images, `rank` 2, or volumes, of shapes that may be known only in the graph."""
    data = _shapes.checked_late(data, warp, rank)
    warp_shape = tf.shape(warp)
    sides, channels = tf.shape(data)[1:-1], tf.shape(data)[-1]
    images, grids = tf.shape(data)[0], warp_shape[0]
    points = tf.reduce_prod(warp_shape[1:-1])
    known = static_shape(data)
    data = tf.reshape(data, tf.concat([[images], sides, [channels]], 0))
    data.set_shape([None] * (rank + 2) if known is None else known)
    flat = tf.reshape(warp, tf.stack([grids, points, rank]))
    batch = tf.where(tf.equal(images, 1), grids, images)
    flat = tf.broadcast_to(flat, tf.stack([batch, points, rank]))
    dtype = data.dtype
    output = _sample(tf.cast(data, warp.dtype), flat, fill, interpolation, padding)
    late = tf.concat([[batch], warp_shape[1:-1], [channels]], axis=0)
    return tf.cast(tf.reshape(output, late), dtype)


def resampler(
    data: tf.Tensor,
    warp: tf.Tensor,
    fill: Sequence[tf.Tensor],
    *,
    interpolation: str,
    padding: str,
    name: str | None = None,
) -> tf.Tensor:
    """Does what the op `TfStn>Resampler` does, which has the same arguments."""
    with tf.name_scope(name or "resampler"):
        shapes = static_shape(data), static_shape(warp)
        _shapes.check(_shapes.resampler_error(*shapes))
        fill = [tf.cast(pixel, warp.dtype) for pixel in fill]
        if shapes[0] is not None:
            rank = len(shapes[0]) - 2
        elif shapes[1] is not None and shapes[1][-1] is not None:
            rank = shapes[1][-1]
        else:
            arguments = (data, warp, fill, interpolation, padding)
            return tf.cond(
                tf.equal(tf.rank(data), 5),
                lambda: _of_rank(3, *arguments),
                lambda: _of_rank(2, *arguments),
            )
        output = _of_rank(rank, data, warp, fill, interpolation, padding)
        if shapes[1] is not None:
            batch = None
            if shapes[0] is not None:
                batch = shapes[1][0] if shapes[0][0] == 1 else shapes[0][0]
            channels = None if shapes[0] is None else shapes[0][-1]
            output.set_shape([batch, *shapes[1][1:-1], channels])
        return output
