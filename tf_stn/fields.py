"""Displacement fields: made, composed, inverted, measured, resized.

A field is a tensor `[batch, height, width, 2]`, or for volumes `[batch, depth, height, width, 3]`,
of displacements (dx, dy[, dz]) in pixels of its own grid. It stands for the map x -> x + u(x) from
an output pixel to the place in the input that is read there. Between pixels a field is
interpolated linearly; outside its grid, displacements go on as on its edge.

Lists of maps read like images are warped: `compose(first, second)` warps by `first`, and the
result by `second`.
"""

from typing import Any

import numpy as np
import tensorflow as tf

from tf_stn import _small_matrices
from tf_stn._displacement_resampler import sample_displaced
from tf_stn._grids import affine_grid, identity_grid
from tf_stn._numbers import check_holds, check_integer, check_number, real_type, to_real
from tf_stn._resampler import sample
from tf_stn._sizes import (
    FIELDS,
    Sides,
    Size,
    check_field_shape,
    image_size,
    in_order_of_coordinates,
    parse_size,
    wide_type,
)
from tf_stn._splines import b_spline_weights, thin_plate
from tf_stn._symbolic import accepts_keras_tensors

__all__ = [
    "b_spline",
    "compose",
    "exponential",
    "from_warp",
    "inverse",
    "jacobian_determinant",
    "map_points",
    "resize",
    "thin_plate_spline",
    "to_warp",
]


def _to_field(argument: str, value: Any) -> tf.Tensor:
    """Converts `value` to a field, float32 or float64; an error unless it has the shape of one."""
    return _checked_field(argument, to_real(argument, value))


def _checked_field(argument: str, field: tf.Tensor) -> tf.Tensor:
    check_field_shape(argument, field)
    if field.shape[-1] is None:
        field = tf.ensure_shape(field, [*[None] * (field.shape.rank - 1), field.shape.rank - 2])
    return field


def _rank(field: tf.Tensor) -> int:
    return field.shape.rank - 2


def _pixels(field: tf.Tensor, argument: str = "field") -> tf.Tensor:
    """Returns the pixel centres of the grid of a field, `[1, *size, rank]`."""
    return identity_grid(image_size(argument, field, _rank(field)), dtype=field.dtype.name)


def _sample(field: tf.Tensor, points: tf.Tensor) -> tf.Tensor:
    """Returns the displacements at points, `[batch, ..., rank]`."""
    return sample(field, points, padding="border")[-1]


def _sample_displaced(field: tf.Tensor, displacement: tf.Tensor) -> tf.Tensor:
    """Returns the displacements at the pixels, moved by a field; the points are not stored."""
    return sample_displaced(field, displacement, padding="border")


def _move(matrix: tf.Tensor, points: tf.Tensor) -> tf.Tensor:
    """Returns where affine matrices, `[batch, rank, rank + 1]`, take points of each image."""
    for _ in range(points.shape.rank - 2):
        matrix = tf.expand_dims(matrix, 1)
    return _small_matrices.move(matrix, points)


def _to_map(argument: str, value: Any, dtype: tf.DType) -> tf.Tensor:
    """Converts `value` to a field, or to matrices `[batch, rank, rank + 1]`."""
    tensor = to_real(argument, value, dtype)
    if tensor.shape.rank != 3:
        return _checked_field(argument, tensor)
    if not any(tensor.shape[1:].is_compatible_with(matrix) for matrix in ([2, 3], [3, 4])):
        raise ValueError(
            f"`{argument}` must be a field, {FIELDS}, or matrices in pixels, [batch, 2, 3] or "
            f"[batch, 3, 4], received shape {tensor.shape.as_list()}"
        )
    return tensor


def _check_same_grid(first: tf.Tensor, second: tf.Tensor) -> tf.Tensor:
    """Returns `second`; an error unless it has the rank and the size of `first`."""
    expected = "`first` and `second` must be fields of one size (see resize), received"
    if not first.shape[1:].is_compatible_with(second.shape[1:]):
        received = f"{first.shape.as_list()} and {second.shape.as_list()}"
        raise ValueError(f"{expected} {received}")
    sizes = [tf.shape(each)[1:] for each in (first, second)]
    if first.shape[1:].is_fully_defined() and second.shape[1:].is_fully_defined():
        return second
    return check_holds(tf.reduce_all(tf.equal(*sizes)), second, expected, *sizes)


@accepts_keras_tensors
def compose(first: tf.Tensor, second: tf.Tensor, *, name: str | None = None) -> tf.Tensor:
    """Returns the field of a map after another: x -> first(second(x)).

    Warping an image by the result is warping it by `first`, and what comes out by `second`; up to
    interpolation, of which there is one less.

    >>> right = tf.constant([[[[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]]]])
    >>> down = tf.constant([[[1.0, 0.0, 0.0], [0.0, 1.0, 2.0]]])
    >>> tf_stn.fields.compose(right, down)[0, 0, 0].numpy()
    array([1., 2.], dtype=float32)

    Args:
      first: A field, `[batch, height, width, 2]` or `[batch, depth, height, width, 3]`, or affine
        matrices in pixels, `[batch, 2, 3]` or `[batch, 3, 4]`. Any real type; computed in float64
        where one of the two is float64, otherwise in float32.
      second: The same; at least one of the two is a field. Two fields have the same size. One of
        the two may have a batch of 1, which goes with each item of the other's.
      name: Name of the operation.

    Returns:
      A field, of the size of those that are given.

    Gradients:
      `first` and `second`: exact, with the derivative of linear interpolation, which on pixel
      centres is that on the right; differentiable to any order.

    Raises:
      TypeError: an argument does not hold real numbers.
      ValueError: an argument has none of the shapes above, or sizes differ.
      tf.errors.InvalidArgumentError: the same, where it is known only when the graph runs.
    """
    with tf.name_scope(name or "compose"):
        dtype = real_type(first, second)
        first, second = _to_map("first", first, dtype), _to_map("second", second, dtype)
        fields = [each for each in (first, second) if each.shape.rank > 3]
        if not fields:
            raise ValueError(
                "One of `first` and `second` must be a field, received matrices "
                f"{first.shape.as_list()} and {second.shape.as_list()}; "
                "tf_stn.matrices.compose is for those"
            )
        rank = _rank(fields[0])
        for argument, each in (("first", first), ("second", second)):
            if each.shape.rank == 3 and not each.shape[1:].is_compatible_with([rank, rank + 1]):
                raise ValueError(
                    f"`{argument}` must have shape [batch, {rank}, {rank + 1}] to go with a field "
                    f"of {rank} coordinates, received {each.shape.as_list()}"
                )
        if len(fields) == 2:
            second = _check_same_grid(first, second)
            _check_has_pixels("second", second)
            return _compose(first, second)
        if second.shape.rank > 3:
            pixels = _pixels(second, "second")
            return _move(first, pixels + second) - pixels
        pixels = _pixels(first, "first")
        points = _move(second, pixels)
        return points - pixels + _sample(first, points)


def _check_has_pixels(argument: str, field: tf.Tensor) -> None:
    image_size(argument, field, _rank(field))


def _compose(first: tf.Tensor, second: tf.Tensor) -> tf.Tensor:
    """Returns the composition of fields on one grid."""
    return second + _sample_displaced(first, second)


@accepts_keras_tensors
def exponential(velocity: tf.Tensor, *, steps: int = 7, name: str | None = None) -> tf.Tensor:
    """Returns the field to which a stationary velocity field leads in a time of 1.

    A map made like this has an inverse, `exponential(-velocity)`, and hardly folds, however far
    it moves. It is found by scaling and squaring: the velocity divided by 2ⁿ is a small
    displacement, which is composed with itself n times. A smooth velocity of at most 6 pixels is
    integrated to about 0.05 pixels by the default of seven steps; more are of little use, since
    what remains is the error of interpolation.

    >>> velocity = tf.constant([[[[0.5, 0.0], [0.5, 0.0], [0.5, 0.0]]]])
    >>> tf_stn.fields.exponential(velocity)[0, 0].numpy()
    array([[0.5, 0. ],
           [0.5, 0. ],
           [0.5, 0. ]], dtype=float32)

    Args:
      velocity: `[batch, height, width, 2]` or `[batch, depth, height, width, 3]`, in pixels. Any
        real type; computed in float64 where it is float64, otherwise in float32.
      steps: How often the field is composed with itself, an integer from 0 to 30; default 7.
      name: Name of the operation.

    Returns:
      A field of the same shape.

    Gradients:
      `velocity`: exact, as those of `compose`; they need the memory of `steps` fields.

    Raises:
      TypeError: `velocity` does not hold real numbers.
      ValueError: `velocity` has none of the shapes above, or `steps` is not such an integer.

    Reference:
      Arsigny et al., A log-Euclidean framework for statistics on diffeomorphisms, 2006; Dalca et
      al., Unsupervised learning for fast probabilistic diffeomorphic registration, 2018.
    """
    with tf.name_scope(name or "exponential"):
        velocity = _to_field("velocity", velocity)
        steps = check_integer("steps", steps, 0, 30)
        _check_has_pixels("velocity", velocity)
        field = velocity / 2**steps
        for _ in range(steps):
            field = _compose(field, field)
        return field


@accepts_keras_tensors
def inverse(
    field: tf.Tensor,
    *,
    tolerance: float = 1e-3,
    max_iterations: int = 50,
    return_residual: bool = False,
    name: str | None = None,
) -> tf.Tensor | tuple[tf.Tensor, tf.Tensor]:
    """Returns the field back: the w with `compose(field, w)` = 0.

    Found by fixed point, w <- -u(x + w), until the residual w + u(x + w) is nowhere larger than
    `tolerance`, and then one step of Newton's method, which leaves far less. A field whose
    displacements change by 1 pixel or more from pixel to pixel, and above all one that folds, need
    not have an inverse; then the residual shows it, and nothing is raised.

    >>> corner = tf.constant([[[[0.5, 0.25], [0.5, 0.25]]]])
    >>> tf_stn.fields.inverse(corner)[0, 0].numpy()
    array([[-0.5 , -0.25],
           [-0.5 , -0.25]], dtype=float32)

    Args:
      field: `[batch, height, width, 2]` or `[batch, depth, height, width, 3]`, in pixels. Any real
        type; computed in float64 where it is float64, otherwise in float32.
      tolerance: Of the residual before the last step, in pixels; default 0.001.
      max_iterations: How many iterations there are at most, at least 1; default 50.
      return_residual: Whether the residual is returned too; default False.
      name: Name of the operation.

    Returns:
      A field of the same shape. With `return_residual` a pair: that, and the largest absolute
      residual of each image after the last step, `[batch]`, in pixels.

    Gradients:
      `field`: by the implicit function theorem, which needs neither the iterations nor their
      memory; right where the inverse has been found. Of the first order only. The residual has
      none.

    Raises:
      TypeError: `field` does not hold real numbers.
      ValueError: `field` has none of the shapes above, or an option is out of its range.

    Reference:
      Chen et al., A simple fixed-point approach to invert a deformation field, 2008.
    """
    with tf.name_scope(name or "inverse"):
        field = _to_field("field", field)
        tolerance = check_number("tolerance", tolerance, positive=True)
        max_iterations = check_integer("max_iterations", max_iterations, 1)
        _check_has_pixels("field", field)
        fixed = tf.stop_gradient(field)

        def residual(back: tf.Tensor, of: tf.Tensor = fixed) -> tf.Tensor:
            return _compose(of, back)

        def is_rough(back: tf.Tensor, rest: tf.Tensor) -> tf.Tensor:
            return tf.reduce_max(tf.abs(rest)) > tolerance

        def step(back: tf.Tensor, rest: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            back -= rest
            return back, residual(back)

        # From the first iteration on: that of w = 0 is w = -u(x).
        start = (-fixed, residual(-fixed))
        back, _ = tf.while_loop(is_rough, step, start, maximum_iterations=max_iterations - 1)
        back = tf.stop_gradient(back)
        # With the Jacobian J of x + u at x + w held fixed, dw = -J⁻¹ du(x + w): the gradient of
        # this step is that of the solution.
        jacobian = tf.stop_gradient(_slope(fixed, back))
        back -= _solve(jacobian, residual(back, field))
        if not return_residual:
            return back
        rest = tf.abs(residual(tf.stop_gradient(back)))
        return back, tf.reduce_max(rest, axis=list(range(1, rest.shape.rank)))


def _slope(field: tf.Tensor, displacement: tf.Tensor) -> tf.Tensor:
    """Returns the Jacobian of x + u(x) at displaced pixels, `[..., rank, rank]`.

    Args:
      field: u, which is interpolated.
      displacement: From the pixels to where it is asked for, a field on the same grid.
    """
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(displacement)
        composed = _compose(field, displacement)
        components = tf.unstack(composed, num=field.shape[-1], axis=-1)
    return tf.stack([tape.gradient(component, displacement) for component in components], axis=-2)


def _solve(matrices: tf.Tensor, vectors: tf.Tensor) -> tf.Tensor:
    """Returns `[..., n]` that the matrices take to `vectors`, by Cramer's rule.

    Where a matrix turns space inside out, or nearly, as where a field folds, the vector itself.
    """
    determinant = _small_matrices.determinant(matrices)
    folds = determinant < 1e-3
    replaced = []
    for i in range(matrices.shape[-1]):
        columns = tf.unstack(matrices, axis=-1)
        columns[i] = vectors
        replaced.append(_small_matrices.determinant(tf.stack(columns, axis=-1)))
    safe = tf.where(folds, tf.ones_like(determinant), determinant)
    return tf.where(folds[..., None], vectors, tf.stack(replaced, axis=-1) / safe[..., None])


def _differences(values: tf.Tensor, axis: int) -> tf.Tensor:
    """Returns the derivative along an axis: central, one-sided on the edges, 0 of one pixel."""

    def cut(start: int | None, stop: int | None) -> tf.Tensor:
        return values[(slice(None),) * axis + (slice(start, stop),)]

    upper = tf.concat([cut(1, None), cut(-1, None)], axis)
    lower = tf.concat([cut(None, 1), cut(None, -1)], axis)
    count = tf.shape(values)[axis]
    places = tf.range(count)
    steps = tf.cast(places > 0, values.dtype) + tf.cast(places < count - 1, values.dtype)
    shape = [1] * values.shape.rank
    shape[axis] = -1
    return (upper - lower) / tf.reshape(tf.maximum(steps, 1), shape)


@accepts_keras_tensors
def jacobian_determinant(field: tf.Tensor, *, name: str | None = None) -> tf.Tensor:
    """Returns the determinant of the Jacobian of x + u(x): how much larger a pixel becomes.

    1 where nothing changes, between 0 and 1 where what is read shrinks, negative where the map
    folds. Derivatives are central differences, one-sided on the edges, and 0 along an axis of one
    pixel.

    >>> zoom = tf.constant([[[[0.0, 0.0], [1.0, 0.0]], [[0.0, 0.0], [1.0, 0.0]]]])
    >>> tf_stn.fields.jacobian_determinant(zoom)[0].numpy()
    array([[2., 2.],
           [2., 2.]], dtype=float32)

    Args:
      field: `[batch, height, width, 2]` or `[batch, depth, height, width, 3]`, in pixels; of a warp
        `from_warp(warp)`. Any real type; computed in float64 where it is float64, otherwise in
        float32.
      name: Name of the operation.

    Returns:
      `[batch, height, width]` or `[batch, depth, height, width]`.

    Gradients:
      `field`: exact, differentiable to any order.

    Raises:
      TypeError: `field` does not hold real numbers.
      ValueError: `field` has none of the shapes above.
    """
    with tf.name_scope(name or "jacobian_determinant"):
        field = _to_field("field", field)
        rank = _rank(field)
        slopes = tf.stack([_differences(field, axis) for axis in range(rank, 0, -1)], axis=-1)
        return _small_matrices.determinant(slopes + tf.eye(rank, dtype=field.dtype))


def _span(size: Sides, align_corners: bool, dtype: tf.DType) -> np.ndarray | tf.Tensor:
    """Returns how many pixels there are from -1 to 1 along x, y[, z]; at least 1."""
    sides = in_order_of_coordinates(size, dtype)
    if not align_corners:
        return sides
    return (tf.maximum if tf.is_tensor(sides) else np.maximum)(sides - 1, 1)


@accepts_keras_tensors
def resize(
    field: tf.Tensor, size: Size, *, align_corners: bool = True, name: str | None = None
) -> tf.Tensor:
    """Returns the same map for a grid of another size: interpolated, and in its pixels.

    >>> right = tf.constant([[[[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]]]])
    >>> tf_stn.fields.resize(right, (1, 5))[0, 0, 0].numpy()
    array([2., 0.], dtype=float32)

    Args:
      field: `[batch, height, width, 2]` or `[batch, depth, height, width, 3]`, in pixels. Any real
        type; computed in float64 where it is float64, otherwise in float32.
      size: `(height, width)` or `(depth, height, width)` of the result, as integers, integer
        tensors, or an image or volume whose sides are meant.
      align_corners: What of both grids lies in the same places. True (default): the centres of the
        outermost pixels; so displacements are multiplied by (new - 1) / (old - 1). False: their
        outer edges; so it is new / old.
      name: Name of the operation.

    Returns:
      A field, `[batch, *size, 2 or 3]`.

    Gradients:
      `field`: exact, differentiable to any order.

    Raises:
      TypeError: `field` does not hold real numbers.
      ValueError: `field` has none of the shapes above, or `size` is not as many positive integers.
      tf.errors.InvalidArgumentError: the same, where it is known only when the graph runs.
    """
    with tf.name_scope(name or "resize"):
        field = _to_field("field", field)
        rank = _rank(field)
        old, new = image_size("field", field, rank), parse_size("size", size, rank)
        identity = tf.eye(rank, rank + 1, dtype=field.dtype)[None]
        sampled = _sample(field, affine_grid(identity, new, old, align_corners=align_corners))
        # At least 1 on both sides, so that an axis which stays one pixel stays as it is.
        ratio = _span(new, align_corners, field.dtype) / _span(old, align_corners, field.dtype)
        return sampled * tf.cast(ratio, field.dtype)


@accepts_keras_tensors
def map_points(field: tf.Tensor, points: tf.Tensor, *, name: str | None = None) -> tf.Tensor:
    """Returns where a field takes points of each image: x + u(x).

    A field leads from the output to the input. Landmarks of the input move with the image by the
    `inverse` field.

    >>> right = tf.constant([[[[1.0, 0.0], [2.0, 0.0]]]])
    >>> tf_stn.fields.map_points(right, [[[0.5, 0.0], [1.0, 0.0]]])[0].numpy()
    array([[2., 0.],
           [3., 0.]], dtype=float32)

    Args:
      field: `[batch, height, width, 2]` or `[batch, depth, height, width, 3]`, in pixels. Any real
        type; computed in float64 where it is float64, otherwise in float32.
      points: `[batch, ..., 2]` as (x, y), or `[batch, ..., 3]` as (x, y, z), in pixels. One of
        `field` and `points` may have a batch of 1, which goes with each item of the other's.
      name: Name of the operation.

    Returns:
      `[batch, ..., 2 or 3]`, in pixels, of the type of the computation.

    Gradients:
      `field`, `points`: exact, with the derivative of linear interpolation, which on pixel centres
      is that on the right; differentiable to any order.

    Raises:
      TypeError: an argument does not hold real numbers.
      ValueError: an argument has none of the shapes above.
    """
    with tf.name_scope(name or "map_points"):
        field = _to_field("field", field)
        points = to_real("points", points, field.dtype)
        rank = _rank(field)
        if points.shape.rank is not None and (
            points.shape.rank < 2 or points.shape[-1] not in (None, rank)
        ):
            raise ValueError(
                f"`points` must have shape [batch, ..., {rank}], received {points.shape.as_list()}"
            )
        _check_has_pixels("field", field)
        return points + _sample(field, points)


@accepts_keras_tensors
def b_spline(control: tf.Tensor, size: Size, *, name: str | None = None) -> tf.Tensor:
    """Returns the smooth field of a grid of control points: free-form deformation.

    A uniform cubic B-spline: twice differentiable, and changed by a control point only within two
    cells around it. Control points are one cell apart, one before the first pixel and one or more
    after the last: control point k lies at cell k - 1, where cell 0 begins at the centre of the
    first pixel and the last cell ends at that of the last pixel.

    >>> control = tf.ones([1, 4, 5, 2])  # 1 x 2 cells.
    >>> tf_stn.fields.b_spline(control, (3, 4)).shape
    TensorShape([1, 3, 4, 2])

    Args:
      control: Displacements of the control points in pixels of the result, `[batch, *(cells + 3),
        rank]`: `[batch, rows, columns, 2]` or `[batch, slices, rows, columns, 3]`, at least four
        along each axis. Any real type; the result is float64 where it is float64, otherwise
        float32.
      size: `(height, width)` or `(depth, height, width)` of the field, as integers, integer
        tensors, or an image or volume whose sides are meant.
      name: Name of the operation.

    Returns:
      A field, `[batch, *size, 2 or 3]`. An axis of one pixel has the spline's middle.

    Gradients:
      `control`: exact.

    Raises:
      TypeError: `control` does not hold real numbers.
      ValueError: `control` has none of the shapes above, or `size` is not as many positive
        integers.
      tf.errors.InvalidArgumentError: the same, where it is known only when the graph runs.

    Reference:
      Rueckert et al., Nonrigid registration using free-form deformations, 1999.
    """
    with tf.name_scope(name or "b_spline"):
        control = _to_field("control", control)
        rank, dtype = _rank(control), control.dtype
        size = parse_size("size", size, rank)
        counts = tf.shape(control)[1:-1]
        expected = "`control` must have at least four control points along each axis, received"
        if any(count is not None and count < 4 for count in control.shape[1:-1]):
            raise ValueError(f"{expected} {control.shape[1:-1].as_list()}")
        control = check_holds(tf.reduce_all(counts > 3), control, expected, counts)
        # In float64, also because some GPUs round products of float32 matrices to ten bits.
        exact = wide_type(dtype)
        field = tf.cast(control, exact)
        for axis in range(rank):
            cells = tf.cast(counts[axis] - 3, exact)
            pixels = tf.cast(tf.range(size[axis]), exact)
            last = tf.cast(size[axis] - 1, exact)
            # One pixel lies in the middle.
            places = tf.where(last > 0, pixels / tf.maximum(last, 1), tf.constant(0.5, exact))
            weights = b_spline_weights(places * cells, counts[axis] - 3)
            axes = "zyx"[-rank:]
            new = axes.replace(axes[axis], "n")
            field = tf.einsum(f"b{axes}c,n{axes[axis]}->b{new}c", field, weights)
        field = tf.cast(field, dtype)
        if not tf.is_tensor(size):
            field.set_shape([control.shape[0], *size, rank])
        return field


def _check_pairs(points: tf.Tensor, targets: tf.Tensor) -> int:
    """Returns the number of coordinates; a ValueError unless both are as many landmarks."""
    for argument, landmarks in (("points", points), ("targets", targets)):
        if landmarks.shape.rank != 3 or landmarks.shape[-1] not in (2, 3):
            raise ValueError(
                f"`{argument}` must have shape [batch, n, 2] or [batch, n, 3], received "
                f"{'unknown rank' if landmarks.shape.rank is None else landmarks.shape.as_list()}"
            )
    if not points.shape[1:].is_compatible_with(targets.shape[1:]):
        raise ValueError(
            f"`targets` must be one for each of `points`, {points.shape.as_list()}, received "
            f"{targets.shape.as_list()}"
        )
    rank = points.shape[-1]
    if points.shape[1] is not None and points.shape[1] <= rank:
        raise ValueError(
            f"`points` must be at least {rank + 1} landmarks of each image, received "
            f"{points.shape[1]}"
        )
    return rank


@accepts_keras_tensors
def thin_plate_spline(
    points: tf.Tensor,
    targets: tf.Tensor,
    size: Size,
    *,
    regularization: float = 0.0,
    name: str | None = None,
) -> tf.Tensor:
    """Returns the smoothest field that takes landmarks of the output to those of the input.

    >>> corners = tf.constant([[[0.0, 0.0], [2.0, 0.0], [0.0, 1.0]]])
    >>> field = tf_stn.fields.thin_plate_spline(corners, corners + 0.5, (2, 3))
    >>> field[0, 0].numpy().round(3)
    array([[0.5, 0.5],
           [0.5, 0.5],
           [0.5, 0.5]], dtype=float32)

    Pixels times landmarks numbers of 8 bytes are stored for each image. The field of a large volume
    is better made at a quarter of its size, from landmarks in those pixels, and resized.

    Args:
      points: Landmarks in the output, `[batch, n, 2]` as (x, y), or `[batch, n, 3]` as (x, y, z),
        in pixels: at least three of each image, not all on a line, or in volumes four, not all in
        a plane. Any real type; the result is float64 where one of the two is float64, otherwise
        float32.
      targets: Where in the input they are, of the same shape. One of the two may have a batch of
        1, which goes with each item of the other's.
      size: `(height, width)` or `(depth, height, width)` of the field, as integers, integer
        tensors, or an image or volume whose sides are meant.
      regularization: How much the map may miss the targets to be smoother; default 0, not at all.
        What is added to the diagonal of the kernel r² log r, or for volumes -r, with r in pixels.
      name: Name of the operation.

    Returns:
      A field, `[batch, *size, 2 or 3]`, in pixels.

    Gradients:
      `points`, `targets`: exact; the system of equations is solved in float64.

    Raises:
      TypeError: an argument does not hold real numbers.
      ValueError: an argument has none of the shapes above, `size` is not as many positive integers,
        `regularization` is negative, or landmarks are on a line, in a plane, or, without
        `regularization`, two in one place.
      tf.errors.InvalidArgumentError: the same, where it is known only when the graph runs.

    Reference:
      Bookstein, Principal warps: thin-plate splines and the decomposition of deformations, 1989.
    """
    with tf.name_scope(name or "thin_plate_spline"):
        dtype = real_type(points, targets)
        points = to_real("points", points, tf.float64)
        targets = to_real("targets", targets, tf.float64)
        rank = _check_pairs(points, targets)
        regularization = check_number("regularization", regularization)
        size = parse_size("size", size, rank)
        pixels = tf.reshape(identity_grid(size, dtype="float64"), [1, -1, rank])
        moved = thin_plate(points, targets - points, pixels, regularization)
        shape = tf.concat([tf.shape(moved)[:1], tf.cast(size, tf.int32), [rank]], axis=0)
        field = tf.cast(tf.reshape(moved, shape), dtype)
        if not tf.is_tensor(size):
            field.set_shape([None, *size, rank])
        return field


@accepts_keras_tensors
def from_warp(warp: tf.Tensor, *, name: str | None = None) -> tf.Tensor:
    """Returns the field of a warp: its points minus the pixels of the output.

    >>> warp = tf.constant([[[[0.5, 0.0], [1.5, 0.0]]]])
    >>> tf_stn.fields.from_warp(warp)[0, 0].numpy()
    array([[0.5, 0. ],
           [0.5, 0. ]], dtype=float32)

    Args:
      warp: Points in pixels of the input, `[batch, height, width, 2]` or `[batch, depth, height,
        width, 3]`, as for `tf_stn.resampler`. Any real type.
      name: Name of the operation.

    Returns:
      A field of the same shape; float64 where `warp` is float64, otherwise float32.

    Gradients:
      `warp`: exact.

    Raises:
      TypeError: `warp` does not hold real numbers.
      ValueError: `warp` has none of the shapes above.
    """
    with tf.name_scope(name or "from_warp"):
        warp = _to_field("warp", warp)
        return warp - _pixels(warp, "warp")


@accepts_keras_tensors
def to_warp(field: tf.Tensor, *, name: str | None = None) -> tf.Tensor:
    """Returns the warp of a field, for `tf_stn.resampler`: the pixels plus their displacements.

    >>> right = tf.constant([[[[0.5, 0.0], [0.5, 0.0]]]])
    >>> tf_stn.fields.to_warp(right)[0, 0].numpy()
    array([[0.5, 0. ],
           [1.5, 0. ]], dtype=float32)

    Args:
      field: `[batch, height, width, 2]` or `[batch, depth, height, width, 3]`, in pixels. Any real
        type.
      name: Name of the operation.

    Returns:
      Points of the same shape; float64 where `field` is float64, otherwise float32.

    Gradients:
      `field`: exact.

    Raises:
      TypeError: `field` does not hold real numbers.
      ValueError: `field` has none of the shapes above.
    """
    with tf.name_scope(name or "to_warp"):
        field = _to_field("field", field)
        return field + _pixels(field)
