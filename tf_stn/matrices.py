"""Matrices of affine and projective maps: their units, inverses and products.

Every matrix maps a point of the output to the point of the input that is shown there, as column
vectors `(x, y, 1)`, or `(x, y, z, 1)` for volumes. Affine ones are `[..., rank, rank + 1]` and
projective ones `[..., rank + 1, rank + 1]`, where the rank is 2 for images and 3 for volumes.
"""

import tensorflow as tf

from tf_stn import _small_matrices
from tf_stn._checks import as_tensor
from tf_stn._grids import axes_to_normalised, axes_to_pixels, change_coordinates
from tf_stn._resampler import coordinate_type, to_coordinates
from tf_stn._sizes import Size, parse_size, received_shape, static_shape
from tf_stn._symbolic import accepts_keras_tensors

__all__ = ["compose", "from_world", "inverse", "to_normalised", "to_pixels"]

_SHAPES = ((2, 3), (3, 4), (3, 3), (4, 4))


def _matrices(argument: str, value: tf.Tensor) -> tf.Tensor:
    """Returns matrices as float32 or float64."""
    matrix = as_tensor(argument, value, dtype_hint=tf.float32)
    matrix = to_coordinates(matrix, coordinate_type(matrix.dtype), argument)
    shape = static_shape(matrix)
    if shape is None or shape[-2:] not in _SHAPES:
        raise ValueError(
            f"`{argument}` must have shape [..., 2, 3], [..., 3, 4], [..., 3, 3] or [..., 4, 4], "
            f"received {received_shape(matrix)}"
        )
    return matrix


def _rank_of(matrix: tf.Tensor) -> int:
    return matrix.shape.as_list()[-1] - 1


@accepts_keras_tensors
def to_normalised(
    matrix: tf.Tensor,
    output_size: Size,
    input_size: Size,
    *,
    align_corners: bool = True,
    name: str | None = None,
) -> tf.Tensor:
    """Returns matrices of normalised points for matrices of pixels.

    >>> right = tf.constant([[[1.0, 0.0, 3.0], [0.0, 1.0, 0.0]]])  # By 3 of 6 pixels.
    >>> tf_stn.matrices.to_normalised(right, (5, 7), (5, 7))[0].numpy()
    array([[1., 0., 1.],
           [0., 1., 0.]], dtype=float32)

    Args:
      matrix: In pixels, affine or projective; float64 stays, all else is computed in float32.
      output_size: As in `tf_stn.affine_grid`.
      input_size: As in `tf_stn.affine_grid`.
      align_corners: As in `tf_stn.affine_grid`; default True.
      name: Name of the operation.

    Returns:
      Of the shape of `matrix`. An axis of one pixel has no extent with `align_corners`: what the
      matrix does along it is lost.

    Gradients:
      `matrix`: exact.

    Raises:
      TypeError: `matrix` does not hold real numbers.
      ValueError: `matrix` is of another shape, or a size is not as many positive integers.
    """
    with tf.name_scope(name or "to_normalised"):
        matrix = _matrices("matrix", matrix)
        output = parse_size("output_size", output_size, _rank_of(matrix))
        inputs = parse_size("input_size", input_size, _rank_of(matrix))
        return change_coordinates(
            axes_to_normalised(inputs, align_corners, matrix.dtype),
            matrix,
            axes_to_pixels(output, align_corners, matrix.dtype),
        )


@accepts_keras_tensors
def to_pixels(
    theta: tf.Tensor,
    output_size: Size,
    input_size: Size,
    *,
    align_corners: bool = True,
    name: str | None = None,
) -> tf.Tensor:
    """Returns matrices of pixels for matrices of normalised points.

    >>> right = tf.constant([[[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]]])  # By half an image.
    >>> tf_stn.matrices.to_pixels(right, (5, 7), (5, 7))[0].numpy()
    array([[1., 0., 3.],
           [0., 1., 0.]], dtype=float32)

    Args:
      theta: Normalised, affine or projective; float64 stays, all else is computed in float32.
      output_size: As in `tf_stn.affine_grid`.
      input_size: As in `tf_stn.affine_grid`.
      align_corners: As in `tf_stn.affine_grid`; default True.
      name: Name of the operation.

    Returns:
      Of the shape of `theta`; for `units="pixels"` of the resamplers, or for OpenCV with
      `WARP_INVERSE_MAP`.

    Gradients:
      `theta`: exact.

    Raises:
      TypeError: `theta` does not hold real numbers.
      ValueError: `theta` is of another shape, or a size is not as many positive integers.
    """
    with tf.name_scope(name or "to_pixels"):
        theta = _matrices("theta", theta)
        output = parse_size("output_size", output_size, _rank_of(theta))
        inputs = parse_size("input_size", input_size, _rank_of(theta))
        return change_coordinates(
            axes_to_pixels(inputs, align_corners, theta.dtype),
            theta,
            axes_to_normalised(output, align_corners, theta.dtype),
        )


def _world(argument: str, value: tf.Tensor) -> tf.Tensor:
    matrix = as_tensor(argument, value, dtype_hint=tf.float64)
    matrix = to_coordinates(matrix, tf.float64, argument)
    shape = static_shape(matrix)
    if shape is None or shape[-2:] not in ((3, 3), (4, 4)):
        raise ValueError(
            f"`{argument}` must have shape [..., 4, 4], or [..., 3, 3] for images, "
            f"received {received_shape(matrix)}"
        )
    return matrix


@accepts_keras_tensors
def from_world(
    output_affine: tf.Tensor,
    input_affine: tf.Tensor,
    world: tf.Tensor | None = None,
    *,
    name: str | None = None,
) -> tf.Tensor:
    """Returns matrices of pixels for volumes whose voxels have places in the world.

    Voxel `(i, j, k)` of a volume, in the order of its axes, lies at `affine (i, j, k, 1)ᵀ`, as in
    nibabel, whose `img.affine` is such a matrix, in mm.

    >>> fine, coarse = np.diag([1.0, 1.0, 1.0, 1.0]), np.diag([2.0, 2.0, 4.0, 1.0])
    >>> tf_stn.matrices.from_world(coarse, fine).numpy()  # x is along the last axis.
    array([[4., 0., 0., 0.],
           [0., 2., 0., 0.],
           [0., 0., 2., 0.]])

    Args:
      output_affine: Of the output, `[..., 4, 4]`, or `[..., 3, 3]` for images; any real type.
      input_affine: Of the input, the same.
      world: Takes a point of the output's world to the point of the input's that is shown there,
        the same; default: the point itself.
      name: Name of the operation.

    Returns:
      `[..., 3, 4]`, or `[..., 2, 3]` for images, float64, from output pixels `(x, y, z, 1)` to
      input pixels `(x, y, z)`: for `tf_stn.affine_resampler` with `units="pixels"`, which needs a
      batch axis.

    Gradients:
      All arguments: exact.

    Raises:
      TypeError: an argument does not hold real numbers.
      ValueError: an argument is of another shape, or not all are of the same rank.
    """
    with tf.name_scope(name or "from_world"):
        inner = _world("output_affine", output_affine)
        outer = _world("input_affine", input_affine)
        moved = None if world is None else _world("world", world)
        for argument, other in (("input_affine", outer), ("world", moved)):
            if other is not None and _rank_of(other) != _rank_of(inner):
                raise ValueError(
                    f"`{argument}` must have as many rows as `output_affine`, "
                    f"{_rank_of(inner) + 1}, received shape {other.shape.as_list()}"
                )
        if moved is not None:
            inner = _small_matrices.product(moved, inner)
        voxels = _small_matrices.product(_small_matrices.inverse(outer), inner)
        # Axes of the data (i, j, k) are coordinates (z, y, x).
        rank = _rank_of(inner)
        affine = voxels[..., :rank, :]
        return tf.concat([affine[..., ::-1, rank - 1 :: -1], affine[..., ::-1, rank:]], axis=-1)


@accepts_keras_tensors
def inverse(matrix: tf.Tensor, *, name: str | None = None) -> tf.Tensor:
    """Returns the matrices of the maps back.

    >>> tf_stn.matrices.inverse([[[2.0, 0.0, 1.0], [0.0, 4.0, 0.0]]])[0].numpy()
    array([[ 0.5 , -0.  , -0.5 ],
           [-0.  ,  0.25, -0.  ]], dtype=float32)

    Args:
      matrix: Affine or projective; float64 stays, all else is computed in float32.
      name: Name of the operation.

    Returns:
      Of the shape of `matrix`, and in its units; infinite or NaN where there is no map back. That
      of an identity is exact.

    Gradients:
      `matrix`: exact.

    Raises:
      TypeError: `matrix` does not hold real numbers.
      ValueError: `matrix` is of another shape.
    """
    with tf.name_scope(name or "inverse"):
        return _small_matrices.inverse(_matrices("matrix", matrix))


@accepts_keras_tensors
def compose(first: tf.Tensor, second: tf.Tensor, *, name: str | None = None) -> tf.Tensor:
    """Returns the matrices that warp an image by `first`, then the result by `second`.

    As maps of points that is `x -> first(second(x))`, since maps go from the output to the input.

    >>> zoom = [[[0.5, 0.0, 0.0], [0.0, 0.5, 0.0]]]
    >>> shift = [[[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]]]
    >>> tf_stn.matrices.compose(zoom, shift)[0].numpy()
    array([[0.5, 0. , 0.5],
           [0. , 0.5, 0. ]], dtype=float32)

    Args:
      first: Affine or projective; float64 stays, all else is computed in float32.
      second: The same, in the same units.
      name: Name of the operation.

    Returns:
      Affine if both are, otherwise projective; leading axes are broadcast.

    Gradients:
      `first`, `second`: exact.

    Raises:
      TypeError: a matrix does not hold real numbers.
      ValueError: a matrix is of another shape, or one is for images and the other for volumes.
    """
    with tf.name_scope(name or "compose"):
        first, second = _matrices("first", first), _matrices("second", second)
        if _rank_of(first) != _rank_of(second):
            raise ValueError(
                f"`second` must have as many columns as `first`, {_rank_of(first) + 1}, received "
                f"shape {second.shape.as_list()}"
            )
        if tf.float64 in (first.dtype, second.dtype):
            first, second = tf.cast(first, tf.float64), tf.cast(second, tf.float64)
        is_affine = all(m.shape.as_list()[-2] == _rank_of(m) for m in (first, second))
        square = first if is_affine else _small_matrices.to_square(first)
        return _small_matrices.product(square, _small_matrices.to_square(second))
