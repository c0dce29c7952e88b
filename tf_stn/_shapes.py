"""What shapes the samplers take, for those made of TensorFlow's own operations.

The same checks in the same words as those of the compiled ops, which are in cc/core/shapes.h.
"""

from collections.abc import Sequence

import tensorflow as tf

from tf_stn._sizes import IMAGES, Sides, static_shape

# Of a tensor, as far as it is known.
Shape = Sequence[int | None] | None

_PIXELS = {2: "a height and a width", 3: "a depth, a height and a width"}
_POINTS = {
    "warp": {2: "[batch, ..., 2]", 3: "[batch, ..., 3]"},
    "displacement": {
        2: "[batch, ..., height, width, 2]",
        3: "[batch, ..., depth, height, width, 3]",
    },
}
_WARPS = _POINTS["warp"]
_AFFINE = {2: "[batch, ..., 2, 3]", 3: "[batch, ..., 3, 4]"}
_PROJECTIVE = {2: "[batch, ..., 3, 3]", 3: "[batch, ..., 4, 4]"}


def _shown(shape: Shape) -> str:
    if shape is None:
        return "an unknown shape"
    return "[" + ", ".join("?" if size is None else str(size) for size in shape) + "]"


def _can_be_equal(a: int | None, b: int | None) -> bool:
    return a is None or b is None or a == b


def _expectation(argument: str, expected: dict[int, str], rank: int | None) -> str:
    shapes = " or ".join(expected.values()) if rank is None else expected[rank]
    return f"`{argument}` must have shape {shapes}"


def _wrong(argument: str, expected: dict[int, str], rank: int | None, shape: Shape) -> str:
    return f"{_expectation(argument, expected, rank)}, received {_shown(shape)}"


def _pixels_error(data: Sequence[int | None], where: str, received: str) -> str:
    if 0 not in data[1:-1]:
        return ""
    return f"`data` must have {_PIXELS[len(data) - 2]} of at least 1 where {where}, {received}"


def _batch_error(data: Shape, argument: str, other: Shape) -> str:
    if not data or not other:
        return ""
    if 1 in (data[0], other[0]) or _can_be_equal(data[0], other[0]):
        return ""
    return f"{_SAME_BATCH.format(argument)}, {_received(data, argument, other)}"


_SAME_BATCH = "`data` and `{}` must have the same batch size, or one of them 1"


def _received(data: Shape, argument: str, other: Shape) -> str:
    return f"received `data` of shape {_shown(data)} and `{argument}` of shape {_shown(other)}"


def resampler_error(data: Shape, points: Shape, argument: str = "warp") -> str:
    """Returns what is wrong with the shapes of images and points, as far as known, or ""."""
    if data is not None and len(data) not in (4, 5):
        return _wrong("data", IMAGES, None, data)
    rank = None if data is None else len(data) - 2
    if points is not None:
        ranks = (rank,) if rank else (2, 3)
        sides = argument == "displacement"
        if len(points) < 2 or not any(
            _can_be_equal(points[-1], r) and (not sides or len(points) >= r + 2) for r in ranks
        ):
            return _wrong(argument, _POINTS[argument], rank, points)
    if data is None or points is None:
        return ""
    error = _batch_error(data, argument, points)
    has_points = data[0] != 0 and all(size is not None and size > 0 for size in points[:-1])
    if error or not has_points:
        return error
    return _pixels_error(data, f"`{argument}` has points", _received(data, argument, points))


def _matrix_resampler_error(data: Shape, matrix: Shape, size: Shape, is_projective: bool) -> str:
    """Returns what is wrong with the shapes of images, matrices and the output, or ""."""
    if data is not None and len(data) not in (4, 5):
        return _wrong("data", IMAGES, None, data)
    rank = None if data is None else len(data) - 2
    if matrix is not None:
        ranks = (rank,) if rank else (2, 3)
        if len(matrix) < 3 or not any(
            _can_be_equal(matrix[-2], r + is_projective) and _can_be_equal(matrix[-1], r + 1)
            for r in ranks
        ):
            return _wrong("matrix", _PROJECTIVE if is_projective else _AFFINE, rank, matrix)
    if data is None:
        return ""
    error = _batch_error(data, "matrix", matrix)
    points = [] if size is None or matrix is None else [*size, *matrix[:-2]]
    has_points = bool(points) and data[0] != 0 and all(n is not None and n > 0 for n in points)
    if error or not has_points:
        return error
    received = f"received `data` of shape {_shown(data)} and an output of size {_shown(size)}"
    return _pixels_error(data, "the output has pixels", received)


def check(error: str) -> None:
    """Raises what a compiled op does: another error eagerly than where a graph is made."""
    if not error:
        return
    if tf.executing_eagerly():
        raise tf.errors.InvalidArgumentError(None, None, error)
    raise ValueError(error)


def check_matrix_resampler(
    data: tf.Tensor, matrix: tf.Tensor, size: Sides, is_projective: bool
) -> None:
    """Raises what the op that samples at the pixels of an output, mapped by matrices, does."""
    known_size = None if tf.is_tensor(size) else size
    shapes = static_shape(data), static_shape(matrix), known_size
    check(_matrix_resampler_error(*shapes, is_projective))


def checked_late(
    data: tf.Tensor, warp: tf.Tensor, fill: Sequence[tf.Tensor], rank: int
) -> list[tf.Tensor]:
    """Returns all of them, and checks when the graph runs what of their shapes was not known.

    Exporters drop such checks, and XLA does.
    """
    known = static_shape(data), static_shape(warp)
    shapes = tf.shape(data), tf.shape(warp)
    of_both = ["received `data` of shape", shapes[0], "and `warp` of shape", shapes[1]]
    checks: list[tf.Operation] = []

    def require(condition: tf.Tensor, message: str, *received: str | tf.Tensor) -> None:
        checks.append(tf.debugging.Assert(condition, [message + ",", *received], summarize=9))

    if known[0] is None:
        message = _expectation("data", IMAGES, None)
        require(tf.equal(tf.rank(data), rank + 2), message, "received", shapes[0])
    if known[1] is None or known[1][-1] is None:
        ends = tf.concat([[0], shapes[1]], axis=0)
        fits = (tf.rank(warp) > 1) & tf.equal(ends[-1], rank)
        require(fits, _expectation("warp", _WARPS, rank), "received", shapes[1])
    with tf.control_dependencies(checks):  # Without them the next ones could not be computed.
        data_shape, warp_shape = map(tf.identity, shapes)
    batches = [None if not shape else shape[0] for shape in known]
    if None in batches and 1 not in batches:
        a, b = data_shape[0], warp_shape[0]
        fits = tf.equal(a, b) | tf.equal(a, 1) | tf.equal(b, 1)
        require(fits, _SAME_BATCH.format("warp"), *of_both)
    if known[0] is None or None in known[0] or known[1] is None or None in known[1]:
        has_points = tf.reduce_all(warp_shape[:-1] > 0) & (data_shape[0] > 0)
        has_pixels = tf.reduce_all(data_shape[1:-1] > 0)
        message = f"`data` must have {_PIXELS[rank]} of at least 1 where `warp` has points"
        require(has_pixels | ~has_points, message, *of_both)
    for pixel in fill:
        of_pixel = static_shape(pixel)
        if known[0] is None or None in (known[0][-1], *(of_pixel or [None])):
            fits = tf.reduce_all(tf.equal(tf.shape(pixel), data_shape[-1:]))
            received = ("received", tf.shape(pixel), "for `data` of shape", data_shape)
            require(fits, "`fill_value` must have shape [channels]", *received)
    with tf.control_dependencies(checks):
        data, warp, *fill = map(tf.identity, (data, warp, *fill))
        if known[0] is None:
            # Tells the rank. Not tf.ensure_shape, which TensorFlow's optimiser takes out of the
            # branch of a tf.cond, and so fails where the other branch is taken.
            data = tf.reshape(data, tf.reshape(data_shape, [rank + 2]))
        return [data, warp, *fill]
