"""Gradients of the ops, of any order.

Sampling is linear in the data, and its derivative in a coordinate is sampling by weights that are
differentiated once more. So two ops with an order of derivative along each axis are closed under
differentiation: `Resampler`, which samples, and `ResamplerGrad`, which scatters and takes inner
products with samples of the next order. The second order of all has a kernel of its own,
`ResamplerGradGrad`; what follows is composed of the two. The same holds for
`DisplacementResampler`, since the derivative in a displacement is that in its point.
"""

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from tf_stn._grids import bounded_denominator, map_pixels, pixel_axes
from tf_stn._library import ops
from tf_stn._resampler import coordinate_type

Tensors = list[tf.Tensor | None]


def _register(op: str) -> Callable[[Callable], Callable]:
    """Registers a function as the gradient of an op, unless there is one.

    There is where the package is imported again, after its modules were forgotten.
    """

    def register(function: Callable) -> Callable:
        with contextlib.suppress(KeyError):
            tf.RegisterGradient(op)(function)
        return function

    return register


@dataclasses.dataclass(frozen=True)
class _Family:
    """The ops that sample at points which are stored in one way, by the same arguments.

    Attributes:
      op: What the name of each op begins with.
      points: Name of the input that has the points.
    """

    op: str
    points: str

    def sample(self, *inputs: Any, **attributes: Any) -> tf.Tensor:
        return self._call("")(*inputs, **attributes)

    def grad(
        self, *inputs: Any, of_data: bool = True, of_points: bool = True, **attributes: Any
    ) -> Tensors:
        """Returns the gradients of data and of points; those that are not wanted, of shape [0]."""
        attributes |= {"compute_grad_data": of_data, f"compute_grad_{self.points}": of_points}
        return [*self._call("_grad")(*inputs, **attributes)]

    def grad_grad(self, *inputs: Any, wanted: Sequence[bool], **attributes: Any) -> Tensors:
        """Returns the gradients of data, points and `grad_output`."""
        outputs = ("grad_data", f"grad_{self.points}", "grad_grad_output")
        attributes |= {f"compute_{name}": is_wanted for name, is_wanted in zip(outputs, wanted)}
        return [*self._call("_grad_grad")(*inputs, **attributes)]

    def _call(self, suffix: str) -> Callable:
        return getattr(ops, f"tf_stn_{self.op}{suffix}")


WARPS = _Family("resampler", "warp")
DISPLACEMENTS = _Family("displacement_resampler", "displacement")


def _modes(op: tf.Operation) -> dict[str, Any]:
    return {name: op.get_attr(name) for name in ("interpolation", "padding")}


def _unneeded(op: tf.Operation) -> Sequence[int]:
    """Returns the inputs whose gradients nobody needs, as far as that is known.

    A tape knows. `tf.gradients` does not say, but in its graphs the executor tells the kernel
    which outputs nobody consumes.
    """
    return getattr(op, "skip_input_indices", None) or ()


def _keep_needed(op: tf.Operation, gradients: Tensors) -> Tensors:
    """Returns one gradient for each input; those that are not there were not needed."""
    unneeded = _unneeded(op)
    gradients = [*gradients, *[None] * (len(op.inputs) - len(gradients))]
    return [None if i in unneeded else gradient for i, gradient in enumerate(gradients)]


def _is_present(gradient: tf.Tensor | None) -> bool:
    """Whether there is a gradient: an op that was not asked for one gives a tensor of shape [0]."""
    return gradient is not None and gradient.shape.rank != 1


def _rank_of(data: tf.Tensor, points: tf.Tensor) -> int:
    """Returns the number of spatial axes of `data`; `points` end in an axis as long, if known."""
    if data.shape.rank is not None:
        return data.shape.rank - 2
    if points.shape.rank is not None and points.shape[-1] is not None:
        return points.shape[-1]
    raise ValueError(
        "A gradient of this order needs to know whether `data` are images or volumes when the "
        "graph is made, received shapes without a rank; tf.ensure_shape can tell"
    )


def _orders(derivative: Sequence[int], data: tf.Tensor, points: tf.Tensor) -> list[int]:
    """Returns an order for each coordinate, zero where attribute `derivative` leaves it out."""
    return [*derivative, 0, 0, 0][: _rank_of(data, points)]


def _sum_to_channels(gradient: tf.Tensor, weight: tf.Tensor) -> tf.Tensor:
    """Returns the sum of both's product over all points; of half types, in float32."""
    dtype = coordinate_type(gradient.dtype)
    product = tf.cast(gradient, dtype) * tf.cast(weight, dtype)
    total = tf.reduce_sum(product, axis=tf.range(tf.rank(product) - 1))
    return tf.cast(total, gradient.dtype)


def _image_of_ones(data: tf.Tensor) -> tf.Tensor:
    # Where there are no images they may lack pixels, while points still have a place.
    sides = tf.maximum(tf.shape(data)[1:-1], 1)
    return tf.ones(tf.concat([[1], sides, [1]], axis=0), data.dtype)


def _weight_outside(inside: tf.Tensor, is_derivative: bool) -> tf.Tensor:
    """Returns what is left of the weights, given the sum of those inside the image.

    All weights together are 1, and their derivatives 0. Where a coordinate is NaN nothing is left,
    as nothing there counts for the gradient of the data either.
    """
    outside = -inside if is_derivative else 1 - inside
    return tf.where(tf.math.is_nan(outside), tf.zeros_like(outside), outside)


def _outside(
    family: _Family,
    data: tf.Tensor,
    points: tf.Tensor,
    modes: dict[str, Any],
    derivative: Sequence[int],
) -> tf.Tensor:
    """Returns the weight of what lies outside the image, `[batch, ..., 1]`."""
    inside = family.sample(_image_of_ones(data), points, [], derivative=derivative, **modes)
    return _weight_outside(inside, any(derivative))


def _resampler(family: _Family, op: tf.Operation, grad_output: tf.Tensor) -> Tensors:
    data, points, *fill = op.inputs
    unneeded, modes, derivative = _unneeded(op), _modes(op), op.get_attr("derivative")
    gradients = family.grad(
        data,
        points,
        grad_output,
        fill,
        of_data=0 not in unneeded,
        of_points=1 not in unneeded,
        derivative=derivative,
        **modes,
    )
    if fill and 2 not in unneeded:
        outside = _outside(family, data, points, modes, derivative)
        gradients.append(_sum_to_channels(grad_output, outside))
    return _keep_needed(op, gradients)


def _matrix_resampler(name: str, op: tf.Operation, grad_output: tf.Tensor) -> Tensors:
    data, matrix, output_size, *fill = op.inputs
    unneeded, modes = _unneeded(op), _modes(op)
    grad_data, grad_matrix = getattr(ops, f"tf_stn_{name}_grad")(
        data,
        matrix,
        grad_output,
        fill,
        compute_grad_data=0 not in unneeded,
        compute_grad_matrix=1 not in unneeded,
        **modes,
    )
    gradients = [grad_data, grad_matrix, None]
    if fill and 3 not in unneeded:
        sample = getattr(ops, f"tf_stn_{name}")
        inside = sample(_image_of_ones(data), matrix, output_size, [], **modes)
        outside = _weight_outside(inside, is_derivative=False)
        gradients.append(_sum_to_channels(grad_output, outside))
    return _keep_needed(op, gradients)


def compose_second_order(
    data: tf.Tensor,
    points: tf.Tensor,
    grad_output: tf.Tensor,
    grad_grad_data: tf.Tensor | None,
    grad_grad_points: tf.Tensor | None,
    fill: Sequence[tf.Tensor],
    modes: dict[str, Any],
    derivative: Sequence[int] = (),
    family: _Family = WARPS,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns what `ResamplerGradGrad` computes, composed of ops that have gradients of any order.

    Args:
      data: As in `ResamplerGradGrad`, like all tensors; a gradient may be None or of shape [0].
      points: The same; the warp, or the displacement.
      grad_output: The same.
      grad_grad_data: The same.
      grad_grad_points: The same.
      fill: No tensor, or the pixel outside.
      modes: Attributes `interpolation` and `padding`.
      derivative: Attribute `derivative` of the op whose second order this is.
      family: The ops that take these points.

    Returns:
      `grad_data`, `grad_points`, `grad_grad_output`.
    """
    grad_data, grad_points = tf.zeros_like(data), tf.zeros_like(points)
    grad_grad_output = tf.zeros_like(grad_output)
    if _is_present(grad_grad_data):
        modes_of_order = {"derivative": list(derivative), **modes}
        _, grad_points = family.grad(
            grad_grad_data, points, grad_output, [], of_data=False, **modes_of_order
        )
        grad_grad_output = family.sample(grad_grad_data, points, [], **modes_of_order)
    if _is_present(grad_grad_points):
        directions = tf.cast(grad_grad_points, data.dtype)
        orders = _orders(derivative, data, points)
        for coordinate in range(len(orders)):
            order = [*orders]
            order[coordinate] += 1
            modes_of_order = {"derivative": order, **modes}
            direction = directions[..., coordinate, None]
            along_data, along_points = family.grad(
                data, points, direction * grad_output, fill, **modes_of_order
            )
            grad_data += along_data
            grad_points += along_points
            grad_grad_output += direction * family.sample(data, points, fill, **modes_of_order)
    return grad_data, grad_points, grad_grad_output


def _second_order_of_fill(
    family: _Family,
    data: tf.Tensor,
    points: tf.Tensor,
    grad_output: tf.Tensor,
    grad_grad_points: tf.Tensor,
    fill: tf.Tensor,
    modes: dict[str, Any],
    derivative: Sequence[int],
) -> tf.Tensor:
    """Returns the gradient of <grad_grad_points, grad_points> in the pixel outside."""
    if not _is_present(grad_grad_points):
        return tf.zeros_like(fill)
    orders = _orders(derivative, data, points)
    directions = tf.cast(grad_grad_points, data.dtype)
    total = tf.zeros_like(fill)
    for coordinate in range(len(orders)):
        order = [*orders]
        order[coordinate] += 1
        weight = directions[..., coordinate, None] * _outside(family, data, points, modes, order)
        total += _sum_to_channels(grad_output, weight)
    return total


def _resampler_grad(
    family: _Family, op: tf.Operation, grad_grad_data: tf.Tensor, grad_grad_points: tf.Tensor
) -> Tensors:
    data, points, grad_output, *fill = op.inputs
    unneeded, modes, derivative = _unneeded(op), _modes(op), op.get_attr("derivative")
    arguments = (data, points, grad_output, grad_grad_data, grad_grad_points, fill)
    if any(derivative):
        gradients = [*compose_second_order(*arguments, modes, derivative, family)]
    else:
        wanted = [i not in unneeded for i in range(3)]
        gradients = family.grad_grad(*arguments, wanted=wanted, **modes)
    if fill and 3 not in unneeded:
        gradients.append(
            _second_order_of_fill(
                family, data, points, grad_output, grad_grad_points, fill[0], modes, derivative
            )
        )
    return _keep_needed(op, gradients)


def _resampler_grad_grad(
    family: _Family,
    op: tf.Operation,
    grad_data: tf.Tensor,
    grad_points: tf.Tensor,
    grad_grad_output: tf.Tensor,
) -> Tensors:
    """Returns the gradients of third order, which are sums of second ones.

    What the op differentiates is, with a sample's derivative `d/ds` in the direction of
    `grad_grad_points`, `H(g) = <g, sample of grad_grad_data + d/ds sample of data>`, for `g` the
    `grad_output`. So its gradient is that of

        H(grad_grad_output)                     for output grad_grad_output,
        d/dr H(grad_output)                     for output grad_points, the direction r, and
        <grad_output, d/ds sample of grad_data> for output grad_data.

    Written out rather than taken with a tape: none records inside an accumulator of
    forward-mode derivatives, which calls this function too.
    """
    data, points, grad_output, direction_of_data, direction, *fill = op.inputs
    modes = _modes(op)
    orders = [0] * _rank_of(data, points)
    totals = [tf.zeros_like(tensor) for tensor in op.inputs]

    def add(gradient: tf.Tensor, derivative: Sequence[int]) -> tf.Tensor:
        """Adds the gradients of H, and returns that in `gradient`."""
        arguments = (data, points, gradient, direction_of_data, direction, fill, modes, derivative)
        of_data, of_points, of_gradient = compose_second_order(*arguments, family)
        of_direction_of_data, of_direction = family.grad(
            data, points, gradient, fill, derivative=derivative, **modes
        )
        totals[0] += of_data
        totals[1] += of_points
        if _is_present(direction_of_data):
            totals[3] += of_direction_of_data
        if _is_present(direction):
            totals[4] += of_direction
        if fill:
            totals[5] += _second_order_of_fill(
                family, data, points, gradient, direction, fill[0], modes, derivative
            )
        return of_gradient

    if _is_present(grad_grad_output):
        add(grad_grad_output, orders)
    if _is_present(grad_points):
        for coordinate in range(len(orders)):
            order = [*orders]
            order[coordinate] += 1
            factor = tf.cast(grad_points, data.dtype)[..., coordinate, None]
            totals[2] += factor * add(factor * grad_output, order)
    if _is_present(grad_data) and _is_present(direction):
        _, of_points, of_output = compose_second_order(
            grad_data, points, grad_output, None, direction, [], modes, orders, family
        )
        _, of_direction = family.grad(grad_data, points, grad_output, [], of_data=False, **modes)
        totals[1] += of_points
        totals[2] += of_output
        totals[4] += of_direction
    return _keep_needed(op, totals)


for _family in (WARPS, DISPLACEMENTS):
    _name = "TfStn>" + _family.op.title().replace("_", "")
    _register(_name)(functools.partial(_resampler, _family))
    _register(_name + "Grad")(functools.partial(_resampler_grad, _family))
    _register(_name + "GradGrad")(functools.partial(_resampler_grad_grad, _family))


def _matrix_resampler_grad(
    map_type: type["_AffineMap"] | type["_ProjectiveMap"],
    op: tf.Operation,
    grad_grad_data: tf.Tensor,
    grad_grad_matrix: tf.Tensor,
) -> Tensors:
    """Returns the gradients of second order, by those at the points of a grid."""
    data, matrix, grad_output, *fill = op.inputs
    unneeded, modes = _unneeded(op), _modes(op)
    rank = _rank_of(data, matrix[..., 0, :-1])
    mapped = map_type(matrix, tf.shape(grad_output)[-1 - rank : -1], rank)
    is_moved = _is_present(grad_grad_matrix)
    direction = mapped.direction(grad_grad_matrix) if is_moved else grad_grad_matrix
    gradients = WARPS.grad_grad(
        data,
        mapped.warp,
        grad_output,
        grad_grad_data,
        direction,
        fill,
        wanted=[i not in unneeded for i in range(3)],
        **modes,
    )
    if 1 not in unneeded:
        gradients[1] = mapped.gradient(gradients[1])
        # How points move depends on a projective matrix.
        if is_moved and isinstance(mapped, _ProjectiveMap):
            _, grad_warp = WARPS.grad(data, mapped.warp, grad_output, fill, of_data=False, **modes)
            gradients[1] += mapped.gradient_of_direction(grad_grad_matrix, grad_warp)
    if fill and 3 not in unneeded:
        gradients.append(
            _second_order_of_fill(
                WARPS, data, mapped.warp, grad_output, direction, fill[0], modes, ()
            )
        )
    return _keep_needed(op, gradients)


class _AffineMap:
    """The pixels of an output, mapped by affine matrices, and how they move with these."""

    def __init__(self, matrix: tf.Tensor, size: tf.Tensor, rank: int) -> None:
        self.size, self.rank = size, rank
        self.warp = map_pixels(matrix, size, rank)

    def direction(self, tangent: tf.Tensor) -> tf.Tensor:
        """Returns how the points move where the matrices move along `tangent`."""
        return map_pixels(tangent, self.size, self.rank)

    def gradient(self, grad_warp: tf.Tensor) -> tf.Tensor:
        """Returns the gradient in the matrices."""
        return _sum_to_matrix(grad_warp, self.size, self.rank)


class _ProjectiveMap:
    """The same by projective matrices: `warp = u / w`, where `(u, w)` are the mapped pixels."""

    def __init__(self, matrix: tf.Tensor, size: tf.Tensor, rank: int) -> None:
        self.size, self.rank = size, rank
        mapped = map_pixels(matrix, size, rank)
        self.denominator, is_small = bounded_denominator(mapped)
        self.warp = mapped[..., :-1] / self.denominator
        # What moves with the denominator: not a point at infinity, whose is limited.
        self.moves = tf.cast(~is_small, matrix.dtype)

    def direction(self, tangent: tf.Tensor) -> tf.Tensor:
        moved = map_pixels(tangent, self.size, self.rank)
        return (moved[..., :-1] - self.warp * (self.moves * moved[..., -1:])) / self.denominator

    def gradient(self, grad_warp: tf.Tensor) -> tf.Tensor:
        product = tf.reduce_sum(grad_warp * self.warp, axis=-1, keepdims=True)
        return self._sum(grad_warp, -product)

    def gradient_of_direction(self, tangent: tf.Tensor, grad_warp: tf.Tensor) -> tf.Tensor:
        """Returns the gradient of `<direction(tangent), grad_warp>` in the matrices."""
        moved = map_pixels(tangent, self.size, self.rank)
        along_denominator = self.moves * moved[..., -1:] / self.denominator
        product = tf.reduce_sum(
            grad_warp * (2 * self.warp * along_denominator - moved[..., :-1] / self.denominator),
            axis=-1,
            keepdims=True,
        )
        return self._sum(-grad_warp * along_denominator, product)

    def _sum(self, of_numerators: tf.Tensor, of_denominator: tf.Tensor) -> tf.Tensor:
        """Returns the gradient in the matrices, given that in `(u, w)` times `w`."""
        both = tf.concat([of_numerators, self.moves * of_denominator], axis=-1)
        return _sum_to_matrix(both / self.denominator, self.size, self.rank)


def _sum_to_matrix(grad_warp: tf.Tensor, size: Any, rank: int) -> tf.Tensor:
    """Returns the gradient of the matrices that `map_pixels` has mapped an output by."""
    pixels = [*pixel_axes(size, rank, grad_warp.dtype), tf.ones([1] * rank, grad_warp.dtype)]
    spatial = list(range(-1 - rank, -1))
    columns = [tf.reduce_sum(grad_warp * pixel[..., None], axis=spatial) for pixel in pixels]
    return tf.stack(columns, axis=-1)


for _name, _map in (("affine_resampler", _AffineMap), ("projective_resampler", _ProjectiveMap)):
    _op = "TfStn>" + _name.title().replace("_", "")
    _register(_op)(functools.partial(_matrix_resampler, _name))
    _register(_op + "Grad")(functools.partial(_matrix_resampler_grad, _map))
