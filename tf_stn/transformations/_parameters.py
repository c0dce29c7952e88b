"""Parameters as users give them, and as families of transformations see them."""

from typing import Any, NamedTuple

import tensorflow as tf

from tf_stn._numbers import check_holds, real_type, to_real
from tf_stn._sizes import static_shape


class Flat(NamedTuple):
    """Parameters with one axis for all transformations, and the axes that there were.

    Attributes:
      values: `[n, num_parameters]`, or of a field `[n, *size, num_parameters]`.
      axes: The shape in place of n, a tensor: `[batch]`, `[batch, transformations]`, ...
      static_axes: The same as far as it is known; None if not even its length is.
    """

    values: tf.Tensor
    axes: tf.Tensor
    static_axes: tuple[int | None, ...] | None

    def restore(self, values: tf.Tensor) -> tf.Tensor:
        """Returns `values`, `[n, ...]`, with the axes that there were."""
        if self.static_axes is not None and len(self.static_axes) == 1:
            return values
        result = tf.reshape(values, tf.concat([self.axes, tf.shape(values)[1:]], axis=0))
        rest = static_shape(values)
        if self.static_axes is not None and rest is not None:
            result.set_shape([*self.static_axes, *rest[1:]])
        return result

    def repeat(self, values: tf.Tensor) -> tf.Tensor:
        """Returns `[n, ...]` for values of each image, `[batch, ...]`."""
        if self.static_axes is not None and len(self.static_axes) == 1:
            return values
        return tf.repeat(values, tf.reduce_prod(self.axes[1:]), axis=0)


def _expected(argument: str, owner: str, count: int, several: int | None, sides: int) -> str:
    size = {0: "", 2: "height, width, ", 3: "depth, height, width, "}[sides]
    inner = f"{several}, " if several else "..., "
    return f"`{argument}` of {owner} must have shape [batch, {inner}{size}{count}]"


def _fits(shape: tuple[int | None, ...], count: int, several: int | None, sides: int) -> bool:
    least = 2 + sides + (several is not None)
    if len(shape) < least or shape[-1] not in (None, count):
        return False
    return several is None or (len(shape) == least and shape[1] in (None, several))


def flatten(
    argument: str, owner: str, value: Any, count: int, several: int | None, sides: int
) -> Flat:
    """Converts and checks parameters: the one place where that is done.

    Args:
      argument: Name of the argument that they are.
      owner: Name of the class that they are for.
      value: A tensor, an array or lists of numbers; float64 stays, all else becomes float32.
      count: How many parameters a transformation has.
      several: How many transformations there are for each image, if that is fixed.
      sides: How many spatial axes the parameters have: those of a field, or none.
    """
    expected = _expected(argument, owner, count, several, sides)
    try:
        parameters = to_real(argument, value, real_type(value))
    except (TypeError, ValueError) as error:
        raise type(error)(f"{expected}: {error}") from error
    shape = static_shape(parameters)
    if shape is None and sides:
        raise ValueError(f"{expected}, received a tensor of unknown rank")
    if shape is not None and not _fits(shape, count, several, sides):
        raise ValueError(f"{expected}, received {list(shape)}")
    late = tf.shape(parameters)
    if shape is None or shape[-1] is None:
        is_right = tf.equal(late[-1], count) & (tf.size(late) > 1 + sides)
        parameters = check_holds(is_right, parameters, f"{expected}, received", late)
    end = -1 - sides
    axes, static = late[:end], None if shape is None else shape[:end]
    if static is not None and len(static) == 1:
        parameters.set_shape([*(shape or ())[:-1], count])
        return Flat(parameters, axes, static)
    values = tf.reshape(parameters, tf.concat([[-1], late[end:]], axis=0))
    values.set_shape([None, *([None] * sides if shape is None else shape[end:-1]), count])
    return Flat(values, axes, static)
