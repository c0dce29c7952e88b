"""Splines of control points on a regular grid, and of landmarks: what their coefficients weigh."""

import numpy as np
import tensorflow as tf

from tf_stn._numbers import check_holds

# In place of 0, where a logarithm or the slope of a root would be infinite.
_SMALLEST = {tf.float64: 1e-300, tf.float32: 1e-30}


def b_spline_weights(positions: tf.Tensor, cells: int | tf.Tensor) -> tf.Tensor:
    """Returns what each control point of a uniform cubic B-spline weighs at some positions.

    Args:
      positions: `[...]`, in cells: control point k lies at k - 1. Those outside [0, cells] are
        taken to the nearer end, so that a spline goes on as its ends.
      cells: How many there are, at least 1.

    Returns:
      `[..., cells + 3]`, of the type of `positions`, four of them not zero.
    """
    last = tf.cast(cells, positions.dtype)
    positions = tf.clip_by_value(positions, 0, last)
    cell = tf.clip_by_value(tf.floor(positions), 0, last - 1)  # The end belongs to the last cell.
    t = positions - cell
    weights = [(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3]
    first = tf.cast(tf.where(tf.math.is_nan(cell), tf.zeros_like(cell), cell), tf.int32)
    taps = [
        (weight / 6)[..., None] * tf.one_hot(first + k, cells + 3, dtype=positions.dtype)
        for k, weight in enumerate(weights)
    ]
    return tf.add_n(taps)


def thin_plate_kernel(squares: np.ndarray | tf.Tensor, rank: int) -> np.ndarray | tf.Tensor:
    """Returns r² log r in the plane and -r in space, of squares of distances."""
    maximum, log, root = np.maximum, np.log, np.sqrt
    smallest = _SMALLEST[tf.as_dtype(squares.dtype)]
    if tf.is_tensor(squares):
        maximum, log, root = tf.maximum, tf.math.log, tf.sqrt
    if rank == 2:
        return 0.5 * squares * log(maximum(squares, smallest))
    return -root(maximum(squares, smallest))


def _squared_distances(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """Returns `[batch, m, n]` for `[batch, m, rank]` and `[batch, n, rank]`."""
    return tf.reduce_sum(tf.math.squared_difference(a[:, :, None], b[:, None]), axis=-1)


def _with_one(points: tf.Tensor) -> tf.Tensor:
    return tf.concat([tf.ones_like(points[..., :1]), points], axis=-1)


def _check_landmarks(points: tf.Tensor, allow_equal: bool) -> tf.Tensor:
    """Returns `points`, `[batch, n, rank]`; an error unless they determine a thin plate."""
    rank = points.shape.as_list()[-1]
    line = "line" if rank == 2 else "plane"
    middle = tf.reduce_mean(points, axis=1, keepdims=True)
    scatter = tf.linalg.matmul(points - middle, points - middle, transpose_a=True)
    # The volume that they span, compared with that of a cube. Less than a millionth of a side in
    # one direction is not told from rounding. NaN passes, to be seen in the result.
    flat = tf.linalg.det(scatter) <= 1e-14 * (tf.linalg.trace(scatter) / rank) ** rank
    expected = f"`points` must be at least {rank + 1} landmarks of an image, not all on a {line}"
    points = check_holds(~tf.reduce_any(flat), points, f"{expected}, received", points)
    if allow_equal:
        return points
    others = _squared_distances(points, points) + tf.eye(tf.shape(points)[1], dtype=points.dtype)
    expected = "`points` must be in different places unless `regularization` is positive, received"
    return check_holds(~tf.reduce_any(others <= 0), points, expected, points)


def thin_plate(
    points: tf.Tensor, values: tf.Tensor, at: tf.Tensor, regularization: float
) -> tf.Tensor:
    """Returns what the thin plate through `values` at `points` is elsewhere.

    Args:
      points: Landmarks, `[batch, n, rank]`, float64.
      values: `[batch, n, values]`, float64.
      at: `[batch or 1, m, rank]`, float64.
      regularization: How much it may miss its values to be smoother, at least 0.

    Returns:
      `[batch, m, values]`.
    """
    rank = points.shape.as_list()[-1]
    points = _check_landmarks(points, allow_equal=regularization > 0)
    # Around the origin and of size 1, for the sake of rounding. It changes nothing else: what the
    # kernel becomes differs by a factor, and in the plane by r², whose sum is a constant.
    middle = tf.stop_gradient(tf.reduce_mean(points, axis=1, keepdims=True))
    squares = tf.math.squared_difference(tf.stop_gradient(points), middle)
    scale = tf.sqrt(tf.reduce_mean(squares, axis=[1, 2], keepdims=True))
    points, at = (points - middle) / scale, (at - middle) / scale
    smoothing = regularization / scale ** (2 if rank == 2 else 1)

    count = tf.shape(points)[1]
    kernel = thin_plate_kernel(_squared_distances(points, points), rank)
    kernel += smoothing * tf.eye(count, dtype=points.dtype)
    affine = _with_one(points)
    zeros = tf.zeros_like(affine[:, : rank + 1, :1]) * tf.ones([rank + 1], points.dtype)
    system = tf.concat(
        [
            tf.concat([kernel, affine], axis=2),
            tf.concat([tf.linalg.matrix_transpose(affine), zeros], axis=2),
        ],
        axis=1,
    )
    wanted = tf.concat([values, tf.zeros_like(values[:, : rank + 1])], axis=1)
    system += tf.zeros_like(wanted[:, :1, :1])  # The solver does not repeat a batch of 1.
    coefficients = tf.linalg.solve(system, wanted)
    basis = [thin_plate_kernel(_squared_distances(at, points), rank), _with_one(at)]
    return tf.linalg.matmul(tf.concat(basis, axis=2), coefficients)
