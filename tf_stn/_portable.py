"""The resampler in TensorFlow's own operations.

A sample is a sum over taps k: `V_c = sum_k w_k U_c[i_k]`, with weights that depend on the point.
Three functions are all that touches pixels. They are the partial derivatives of one form that is
linear in pixels, weights and samples,

    sum_k w_k <U[i_k], G>,

so that each one's derivatives are the other two: `_pull` in G, which samples, `_push` in U, which
scatters, and `_products` in w. By these rules they are differentiable to any order; TensorFlow
differentiates by itself the weights, as functions of the points.

The rules are written out since TensorFlow's own would multiply by zero, and zero times infinity is
NaN: a tap of weight zero takes no part, whatever its pixel holds.

What only decides something, and has no derivative, is taken of `tf.stop_gradient`: where forward
mode is nested in a graph, TensorFlow fails at ops that have none.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from tf_stn import _shapes
from tf_stn._sizes import static_shape

# Coordinates are limited to this, so that they can be an index. No image is as large.
_FAR = 2.0**30
_A = -0.75  # Of the cubic convolution.

Tensors = list[tf.Tensor]


@tf.custom_gradient
def _pull(pixels: tf.Tensor, *taps: tf.Tensor) -> tuple[tf.Tensor, Callable]:
    """Returns samples `[n, channels]`: the sum over taps of `weight * pixels[index]`.

    Args:
      pixels: `[rows, channels]`.
      *taps: The indices of each tap, `[n]`, and then the weights of each, `[n]`.
    """
    indices, weights = taps[: len(taps) // 2], taps[len(taps) // 2 :]

    def gradient(grad: tf.Tensor) -> tuple[tf.Tensor | None, ...]:
        along_pixels = _push(grad, tf.shape(pixels)[0], *taps)
        return along_pixels, *[None for _ in indices], *_products(pixels, grad, *indices)

    zero = tf.zeros(tf.stack([tf.size(indices[0]), tf.shape(pixels)[1]]), pixels.dtype)
    total = None
    for index, weight in zip(indices, weights, strict=True):
        weighted = tf.gather(pixels, index) * tf.expand_dims(weight, -1)
        # Not tf.where, which would broadcast the condition, at several times the cost.
        is_read = tf.not_equal(tf.stop_gradient(weight), 0)
        weighted = tf.raw_ops.Select(condition=is_read, x=weighted, y=zero)
        total = weighted if total is None else total + weighted
    return total, gradient


@tf.custom_gradient
def _push(samples: tf.Tensor, rows: tf.Tensor, *taps: tf.Tensor) -> tuple[tf.Tensor, Callable]:
    """Returns `[rows, channels]`: `weight * samples` added to row `index`, for all taps.

    A weight that is zero or NaN adds nothing. For the arguments see `_pull`.
    """
    indices, weights = taps[: len(taps) // 2], taps[len(taps) // 2 :]

    def gradient(grad: tf.Tensor) -> tuple[tf.Tensor | None, ...]:
        along_weights = _products(grad, samples, *indices)
        return _pull(grad, *taps), None, *[None for _ in indices], *along_weights

    total = None
    for index, weight in zip(indices, weights, strict=True):
        fixed = tf.stop_gradient(weight)
        takes_part = (fixed < 0) | (fixed > 0)
        # A negative place is left out. Twice as fast as tf.tensor_scatter_nd_add.
        places = tf.where(takes_part, index, -1)
        part = tf.math.unsorted_segment_sum(samples * tf.expand_dims(weight, -1), places, rows)
        total = part if total is None else total + part
    return total, gradient


@tf.custom_gradient
def _products(
    pixels: tf.Tensor, samples: tf.Tensor, *indices: tf.Tensor
) -> tuple[Tensors, Callable]:
    """Returns the inner products of samples and `pixels[index]` for each tap, `[n]`."""

    def gradient(*grads: tf.Tensor) -> tuple[tf.Tensor | None, ...]:
        along_pixels = _push(samples, tf.shape(pixels)[0], *indices, *grads)
        return along_pixels, _pull(pixels, *indices, *grads), *[None for _ in indices]

    return [tf.reduce_sum(tf.gather(pixels, i) * samples, axis=-1) for i in indices], gradient


def _finite_times(x: tf.Tensor, weight: tf.Tensor) -> tf.Tensor:
    """Returns `weight * x`, and 0 where the weight is 0 and x infinite or NaN."""
    is_lost = tf.equal(tf.stop_gradient(weight), 0) & ~tf.math.is_finite(tf.stop_gradient(x))
    return tf.where(is_lost, tf.zeros_like(x), x) * weight


def _outer(first: Sequence[tf.Tensor], second: Sequence[tf.Tensor]) -> Tensors:
    """Returns the products of weights along two axes, those of the second varying fastest.

    An infinite pixel makes an infinite gradient, which is none where the other weight is zero.
    """

    @tf.custom_gradient
    def product(*weights: tf.Tensor) -> tuple[Tensors, Callable]:
        a, b = weights[: len(first)], weights[len(first) :]

        def gradient(*grads: tf.Tensor) -> Tensors:
            rows = [grads[k * len(b) : (k + 1) * len(b)] for k in range(len(a))]
            along_a = [tf.add_n(list(map(_finite_times, row, b))) for row in rows]
            columns = zip(*rows, strict=True)
            return along_a + [tf.add_n(list(map(_finite_times, column, a))) for column in columns]

        return [x * y for x in a for y in b], gradient

    return list(product(*first, *second))


# The two pieces of the cubic kernel and their derivatives, in forms exact on pixel centres.
_NEAR_PIECE: list[Callable[[Any], Any]] = [
    lambda s: ((_A + 2) * s - (_A + 3)) * s * s + 1,
    lambda s: (3 * (_A + 2) * s - 2 * (_A + 3)) * s,
    lambda s: 6 * (_A + 2) * s - 2 * (_A + 3),
    lambda s: 0 * s + 6 * (_A + 2),
    lambda s: 0 * s,
]
_FAR_PIECE: list[Callable[[Any], Any]] = [
    lambda s: _A * s * (1 - s) * (1 - s),
    lambda s: _A * (1 - s) * (1 - 3 * s),
    lambda s: _A * (6 * s - 4),
    lambda s: 0 * s + 6 * _A,
    lambda s: 0 * s,
]


def _cubic_weights(t: tf.Tensor, order: int = 0) -> Tensors:
    """Returns the weights of four pixels, or their derivatives of some order.

    Where a derivative is zero, as on a pixel centre, it stays so for a pixel that is not finite.
    """

    @tf.custom_gradient
    def weights(t: tf.Tensor) -> tuple[Tensors, Callable]:
        def gradient(*grads: tf.Tensor) -> tf.Tensor:
            return tf.add_n(list(map(_finite_times, grads, _cubic_weights(t, order + 1))))

        near, far = _NEAR_PIECE[min(order, 4)], _FAR_PIECE[min(order, 4)]
        sign = (-1) ** order
        return [far(t), near(t), sign * near(1 - t), sign * far(1 - t)], gradient

    return list(weights(t))


def _taps(
    x: tf.Tensor, is_nan: tf.Tensor, interpolation: str, is_masked: bool
) -> tuple[Tensors, Tensors]:
    """Returns the indices of the pixels along an axis, before padding, and their weights.

    Where x is NaN, so are the weights, and the indices are those at 0. If weights of taps outside
    the image are masked, those of linear taps far outside may be anything.
    """
    zero, one = tf.zeros([], x.dtype), tf.ones([], x.dtype)
    known = tf.clip_by_value(tf.where(is_nan, zero, x), -_FAR, _FAR)
    if interpolation == "nearest":
        return [tf.cast(tf.round(tf.stop_gradient(known)), tf.int32)], [tf.where(is_nan, x, one)]
    low = tf.floor(tf.stop_gradient(known))
    first = tf.cast(low, tf.int32)
    t = x - low
    if interpolation != "linear" or not is_masked:
        t = tf.where(tf.abs(tf.stop_gradient(x)) > _FAR, zero, t)
    if interpolation == "linear":
        return [first, first + 1], [1 - t, t]
    return [first + (k - 1) for k in range(4)], _cubic_weights(t)


def _remainder(index: tf.Tensor, period: Any) -> tf.Tensor:
    # Twice, since some exporters make of it that of C, which has the sign of the index.
    return tf.math.floormod(tf.math.floormod(index, period) + period, period)


def _resolve(index: tf.Tensor, size: Any, padding: str) -> tf.Tensor:
    """Returns the indices that a padding reads, none of them outside; for zeros, some pixel."""
    # Not tf.clip_by_value, of which LiteRT makes an op that it has not for integers.
    last = size - 1
    if padding in ("zeros", "border"):
        return tf.minimum(tf.maximum(index, 0), last)
    maximum = tf.maximum if tf.is_tensor(size) else max
    if padding == "wrap":
        return _remainder(index, maximum(size, 1))
    if padding == "symmetric":
        place = _remainder(index, maximum(2 * size, 1))
        return tf.minimum(place, 2 * size - 1 - place)
    period = maximum(2 * last, 1)
    place = _remainder(index, period)
    return tf.minimum(tf.minimum(place, period - place), last)


def _merged(indices: Tensors, weights: Tensors) -> Tensors:
    """Returns the weights of taps, those on one pixel added up to the first of them.

    So an infinite pixel has the weight and the slope that it really has, which may be zero. Where
    all are on one pixel that is 1, and not nearly so.
    """
    weights = [*weights]
    zero, one = tf.zeros([], weights[0].dtype), tf.ones([], weights[0].dtype)
    for k in range(1, len(weights)):
        for j in range(k):
            same = tf.equal(indices[j], indices[k])
            weights[j] += tf.where(same, weights[k], zero)
            weights[k] = tf.where(same, zero, weights[k])
    if len(weights) > 1:
        are_same = [tf.equal(index, indices[0]) for index in indices[1:]]
        are_one = functools.reduce(tf.logical_and, are_same) & ~tf.math.is_nan(
            tf.stop_gradient(weights[0])
        )
        weights[0] = tf.where(are_one, one, weights[0])
    return weights


def _padded(
    indices: Tensors, weights: Tensors, size: Any, padding: str
) -> tuple[Tensors, Tensors, Tensors]:
    """Returns indices inside the image, the weights there, and those of the taps outside."""
    inside = [_resolve(index, size, padding) for index in indices]
    if padding != "zeros":
        return inside, _merged(inside, weights), []
    zero = tf.zeros([], weights[0].dtype)
    is_inside = list(map(tf.equal, indices, inside))
    kept = [tf.where(mask, weight, zero) for mask, weight in zip(is_inside, weights, strict=True)]
    lost = [tf.where(mask, zero, weight) for mask, weight in zip(is_inside, weights, strict=True)]
    return inside, kept, lost


def _sample(
    data: tf.Tensor,
    points: tf.Tensor,
    fill: Sequence[tf.Tensor],
    interpolation: str,
    padding: str,
) -> tf.Tensor:
    """Samples `[images, *size, channels]` at `[grids, points, rank]`.

    Returns:
      `[batch, points, channels]`.
    """
    shape, late = static_shape(data) or (), tf.shape(data)
    images, *size, channels = [late[d] if n is None else n for d, n in enumerate(shape)]
    elements = functools.reduce(lambda a, b: a * b, size)
    known = tf.broadcast_static_shape(tf.TensorShape([shape[0], 1]), points.shape[:2]).as_list()
    if shape and 0 in (shape[0], shape[-1]):
        # No sample needs them: their gradient is 0, even that of NaN.
        points = tf.where(False, points, tf.stop_gradient(points))
    coordinates = tf.unstack(points, axis=-1)
    fixed = map(tf.stop_gradient, coordinates)
    is_nan = functools.reduce(tf.logical_or, map(tf.math.is_nan, fixed))
    # A point with a NaN is NaN in all coordinates, and so are all of its gradients.
    some_nan = functools.reduce(tf.add, coordinates)
    index: Tensors = [tf.expand_dims(tf.range(images), 1)]
    weight: Tensors = []
    outside = None
    for x, n in zip(reversed(coordinates), size, strict=True):
        is_masked = padding == "zeros" and not fill  # A fill has the weights of the taps outside.
        taps = _taps(tf.where(is_nan, some_nan, x), is_nan, interpolation, is_masked)
        inside, kept, lost = _padded(*taps, n, padding)
        index = [i * n + j for i in index for j in inside]
        weight = _outer(weight, kept) if weight else kept
        if fill:
            more = tf.add_n(lost)
            outside = more if outside is None else outside + (1 - outside) * more

    def per_sample(values: tf.Tensor) -> tf.Tensor:
        if None in known or list(static_shape(values) or ()) != known:
            # Not tf.broadcast_to, to whose shape XLA holds also those rows that it pads with.
            values += tf.zeros_like(index[0], values.dtype)
        return tf.reshape(values, [-1])

    pixels = tf.reshape(data, tf.stack([images * elements, channels]))
    output = _pull(pixels, *map(per_sample, index), *map(per_sample, weight))
    for pixel in fill:
        row = tf.expand_dims(pixel, 0)
        outside = per_sample(outside)
        output += _pull(row, tf.zeros_like(outside, tf.int32), outside)
    return tf.reshape(output, tf.concat([tf.shape(index[0]), tf.shape(output)[1:]], axis=0))


def _of_rank(
    rank: int,
    data: tf.Tensor,
    warp: tf.Tensor,
    fill: Sequence[tf.Tensor],
    interpolation: str,
    padding: str,
) -> tf.Tensor:
    """Samples images, `rank` 2, or volumes, of shapes that may be known only in the graph."""
    data, warp, *fill = _shapes.checked_late(data, warp, fill, rank)
    warp_shape = tf.shape(warp)
    points = tf.reduce_prod(warp_shape[1:-1])
    flat = tf.reshape(warp, tf.stack([warp_shape[0], points, rank]))
    samples = _sample(tf.cast(data, warp.dtype), flat, fill, interpolation, padding)
    shape = tf.concat([tf.shape(samples)[:1], warp_shape[1:-1], tf.shape(data)[-1:]], axis=0)
    return tf.cast(tf.reshape(samples, shape), data.dtype)


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
