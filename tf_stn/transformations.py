"""Transformations: what the parameters that a localisation network predicts mean.

All map normalised output coordinates, in [-1, 1], to normalised input coordinates, in the order
(x, y[, z]). A transformation of your own derives from `Transformation` and has two members:
`identity_parameters`, and `map_points`, or for an affine one `matrix`.
"""

import inspect
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tf_stn._checks import check_mode
from tf_stn._grids import affine_grid, from_identity, normalised_points
from tf_stn._resampler import resampler
from tf_stn._sizes import Size, parse_size


def _check_rank(rank: int) -> int:
    if rank not in (2, 3):
        raise ValueError(f"`rank` must be 2 for images or 3 for volumes, received {rank!r}")
    return rank


class Transformation:
    """A family of maps from output points to input points, by some parameters.

    >>> class Wave(tf_stn.transformations.Transformation):
    ...     identity_parameters = (0.0,)
    ...     def map_points(self, parameters, points):
    ...         x, y = points[..., 0], points[..., 1]
    ...         amplitude = parameters[:, :1]
    ...         return tf.stack([x + amplitude * tf.sin(3.0 * y), y + 0.0 * amplitude], axis=-1)
    >>> Wave().warp(tf.zeros([1, 1]), output_size=(2, 2), input_size=(2, 2)).shape
    TensorShape([1, 2, 2, 2])

    Attributes:
      rank: 2 for images, 3 for volumes.
      identity_parameters: Parameters of the map that changes nothing, from which training starts.
      is_field: Whether every output pixel has parameters of its own: `[batch, height, width,
        parameters]` instead of `[batch, parameters]`.
    """

    rank: int = 2
    identity_parameters: Sequence[float]
    is_field: bool = False

    @property
    def num_parameters(self) -> int:
        """The number of parameters."""
        return len(self.identity_parameters)

    def map_points(self, parameters: tf.Tensor, points: tf.Tensor) -> tf.Tensor:
        """Returns where points of the output lie in the input, both normalised.

        Args:
          parameters: `[batch, num_parameters]`, float32 or float64.
          points: `[points, rank]`, of the same type, as (x, y[, z]).

        Returns:
          `[batch, points, rank]`.
        """
        raise NotImplementedError(f"{type(self).__name__} must have a method map_points or matrix")

    def warp(
        self,
        parameters: tf.Tensor,
        output_size: Size,
        input_size: Size,
        align_corners: bool = True,
    ) -> tf.Tensor:
        """Returns the warp for `tf_stn.resampler`, in pixels of the input.

        Args:
          parameters: `[batch, num_parameters]`, float32 or float64.
          output_size: As in `tf_stn.affine_grid`.
          input_size: As in `tf_stn.affine_grid`.
          align_corners: As in `tf_stn.affine_grid`.

        Returns:
          `[batch, *output_size, rank]`. With the identity parameters and equal sizes exactly the
          pixel centres.
        """
        output_size = parse_size("output_size", output_size, self.rank)
        input_size = parse_size("input_size", input_size, self.rank)
        points = normalised_points(output_size, self.rank, align_corners, parameters.dtype)
        flat = tf.reshape(points, [-1, self.rank])
        moved = self.map_points(parameters, flat) - flat
        moved = tf.reshape(moved, tf.concat([tf.shape(moved)[:1], tf.shape(points)], axis=0))
        return from_identity(moved, output_size, input_size, align_corners)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor, by which the transformation is saved."""
        names = list(inspect.signature(type(self).__init__).parameters)[1:]
        return {name: getattr(self, name) for name in names if hasattr(self, name)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Transformation":
        """Makes a transformation from what `get_config` has returned."""
        return cls(**config)


class AffineTransformation(Transformation):
    """An affine family: the sampler takes its matrix, and no grid is stored."""

    def matrix(self, parameters: tf.Tensor) -> tf.Tensor:
        """Returns θ, `[batch, rank, rank + 1]`, for `parameters`, `[batch, num_parameters]`."""
        raise NotImplementedError(f"{type(self).__name__} must have a method matrix")

    def map_points(self, parameters: tf.Tensor, points: tf.Tensor) -> tf.Tensor:
        matrix = self.matrix(parameters)[:, None]
        return tf.reduce_sum(matrix[..., :-1] * points[:, None], axis=-1) + matrix[..., -1]

    def warp(
        self,
        parameters: tf.Tensor,
        output_size: Size,
        input_size: Size,
        align_corners: bool = True,
    ) -> tf.Tensor:
        return affine_grid(
            self.matrix(parameters), output_size, input_size, align_corners=align_corners
        )


def _diagonal(values: Sequence[tf.Tensor], shift: tf.Tensor) -> tf.Tensor:
    """Returns a matrix of these factors of x, y[, z] and this shift."""
    return tf.concat([tf.linalg.diag(tf.stack(values, axis=-1)), shift[..., None]], axis=-1)


class Translation(AffineTransformation):
    """A shift: (tx, ty[, tz]).

    >>> tf_stn.transformations.Translation().matrix(tf.constant([[0.5, 0.25]]))[0].numpy()
    array([[1.  , 0.  , 0.5 ],
           [0.  , 1.  , 0.25]], dtype=float32)

    Args:
      rank: 2 for images (default), 3 for volumes.
    """

    def __init__(self, rank: int = 2) -> None:
        self.rank = _check_rank(rank)
        self.identity_parameters = (0.0,) * rank

    def matrix(self, parameters: tf.Tensor) -> tf.Tensor:
        return _diagonal([tf.ones_like(parameters[:, 0])] * self.rank, parameters)

    def inverse(self, parameters: tf.Tensor) -> tf.Tensor:
        """Returns the parameters of the map back."""
        return -parameters

    def compose(self, outer: tf.Tensor, inner: tf.Tensor) -> tf.Tensor:
        """Returns the parameters of the map that applies `inner` first, then `outer`."""
        return outer + inner


class Attention(AffineTransformation):
    """A window of the image's proportions: (s, tx, ty[, tz]), or the shift alone.

    >>> tf_stn.transformations.Attention().matrix(tf.constant([[0.5, 0.25, 0.0]]))[0].numpy()
    array([[0.5 , 0.  , 0.25],
           [0.  , 0.5 , 0.  ]], dtype=float32)

    Reference: equation 2 of Jaderberg et al., Spatial Transformer Networks, 2015.

    Args:
      scale: The window's size over the image's, for all images; None (default): predicted.
      rank: 2 for images (default), 3 for volumes.
    """

    def __init__(self, scale: float | None = None, rank: int = 2) -> None:
        self.scale = scale
        self.rank = _check_rank(rank)
        self.identity_parameters = (() if scale is not None else (1.0,)) + (0.0,) * rank

    def matrix(self, parameters: tf.Tensor) -> tf.Tensor:
        shift = parameters[:, -self.rank :]
        if self.scale is None:
            scale = parameters[:, 0]
        else:
            scale = tf.fill(tf.shape(shift)[:1], tf.cast(self.scale, shift.dtype))
        return _diagonal([scale] * self.rank, shift)

    def tiled_parameters(self, count: int) -> tuple[float, ...]:
        """Returns parameters of `count` windows that together tile an image, one after the other.

        They are in as many rows as columns, or in more columns; of a predicted scale, the larger
        side fits.
        """
        if self.rank != 2:
            raise ValueError(
                f"`start` can be 'tiled' for windows of images alone, received rank {self.rank}"
            )
        rows = max(n for n in range(1, count + 1) if count % n == 0 and n * n <= count)
        columns = count // rows
        parameters = []
        for i in range(count):
            row, column = divmod(i, columns)
            scale = () if self.scale is not None else (1 / rows,)
            parameters += [*scale, (2 * column + 1) / columns - 1, (2 * row + 1) / rows - 1]
        return tuple(parameters)

    def _with_predicted_scale(self, parameters: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        if self.scale is not None:
            raise ValueError(
                "Windows of a fixed scale have no inverse and no composition among them"
            )
        return parameters[:, :1], parameters[:, 1:]

    def inverse(self, parameters: tf.Tensor) -> tf.Tensor:
        """Returns the parameters of the map back; infinite ones where the scale is zero."""
        scale, shift = self._with_predicted_scale(parameters)
        return tf.concat([1 / scale, -shift / scale], axis=-1)

    def compose(self, outer: tf.Tensor, inner: tf.Tensor) -> tf.Tensor:
        """Returns the parameters of the map that applies `inner` first, then `outer`."""
        (scale, shift), (inner_scale, inner_shift) = map(self._with_predicted_scale, (outer, inner))
        return tf.concat([scale * inner_scale, scale * inner_shift + shift], axis=-1)


def _rotation(angles: tf.Tensor) -> tf.Tensor:
    """Returns rotations `[batch, rank, rank]`: by one angle, or about x, then y, then z."""
    if angles.shape[-1] == 1:
        cosine, sine = tf.cos(angles[:, 0]), tf.sin(angles[:, 0])
        return tf.stack([tf.stack([cosine, -sine], -1), tf.stack([sine, cosine], -1)], axis=-2)
    (a, b, c), (p, q, r) = (tf.unstack(f(angles), axis=-1) for f in (tf.cos, tf.sin))
    rows = [
        [c * b, c * q * p - r * a, c * q * a + r * p],
        [r * b, r * q * p + c * a, r * q * a - c * p],
        [-q, b * p, b * a],
    ]
    return tf.stack([tf.stack(row, axis=-1) for row in rows], axis=-2)


class Rigid(AffineTransformation):
    """A rotation and a shift: (angle, tx, ty), or for volumes (x, y and z angle, tx, ty, tz).

    >>> tf_stn.transformations.Rigid(rank=3).matrix(tf.zeros([1, 6])).shape
    TensorShape([1, 3, 4])

    Angles are in radians, of normalised coordinates, and so of the pixels of square images. In
    volumes the rotation about x comes first, then y, then z.

    Args:
      rank: 2 for images (default), 3 for volumes.
    """

    def __init__(self, rank: int = 2) -> None:
        self.rank = _check_rank(rank)
        self.identity_parameters = (0.0,) * (3 if rank == 2 else 6)

    def matrix(self, parameters: tf.Tensor) -> tf.Tensor:
        rotation = _rotation(parameters[:, : -self.rank])
        return tf.concat([rotation, parameters[:, -self.rank :, None]], axis=-1)

    def inverse(self, parameters: tf.Tensor) -> tf.Tensor:
        """Returns the parameters of the map back, of images."""
        return Similarity(self.rank).inverse(_with_scale(parameters))[:, 1:]

    def compose(self, outer: tf.Tensor, inner: tf.Tensor) -> tf.Tensor:
        """Returns the parameters of the map of images that applies `inner` first, then `outer`."""
        return Similarity(self.rank).compose(_with_scale(outer), _with_scale(inner))[:, 1:]


def _with_scale(parameters: tf.Tensor) -> tf.Tensor:
    return tf.concat([tf.ones_like(parameters[:, :1]), parameters], axis=-1)


class Similarity(AffineTransformation):
    """A scale, a rotation and a shift: (scale, *angles, *shift); see `Rigid`.

    >>> tf_stn.transformations.Similarity().matrix(tf.constant([[2.0, 0.0, 0.5, 0.0]]))[0].numpy()
    array([[ 2. , -0. ,  0.5],
           [ 0. ,  2. ,  0. ]], dtype=float32)

    A scale of zero shows a single point everywhere. Those of volumes have no `inverse` and
    `compose`, since three angles do not say that of a product of rotations smoothly.

    Args:
      rank: 2 for images (default), 3 for volumes.
    """

    def __init__(self, rank: int = 2) -> None:
        self.rank = _check_rank(rank)
        self.identity_parameters = (1.0, *Rigid(rank).identity_parameters)

    def matrix(self, parameters: tf.Tensor) -> tf.Tensor:
        linear = _scaled(_rotation(parameters[:, 1 : -self.rank]), parameters[:, 0])
        return tf.concat([linear, parameters[:, -self.rank :, None]], axis=-1)

    def inverse(self, parameters: tf.Tensor) -> tf.Tensor:
        """Returns the parameters of the map back, of images; infinite where the scale is zero."""
        self._check_is_of_images()
        scale, angle = parameters[:, :1], parameters[:, 1:2]
        back = tf.concat([1 / scale, -angle], axis=-1)
        return tf.concat([back, -_turned(back, parameters[:, 2:])], axis=-1)

    def compose(self, outer: tf.Tensor, inner: tf.Tensor) -> tf.Tensor:
        """Returns the parameters of the map of images that applies `inner` first, then `outer`."""
        self._check_is_of_images()
        shift = _turned(outer[:, :2], inner[:, 2:]) + outer[:, 2:]
        return tf.concat([outer[:, :1] * inner[:, :1], outer[:, 1:2] + inner[:, 1:2], shift], -1)

    def _check_is_of_images(self) -> None:
        if self.rank != 2:
            raise ValueError("Similarities of volumes have no `inverse` and `compose`; use Affine")


def _scaled(matrices: tf.Tensor, scales: tf.Tensor) -> tf.Tensor:
    # Not scales[:, None, None]: in graphs, TensorFlow may join it with the slice that made scales,
    # put what was stacked in place of a slice of a stack, and forget the axes.
    return tf.reshape(scales, [-1, 1, 1]) * matrices


def _turned(scale_and_angle: tf.Tensor, shift: tf.Tensor) -> tf.Tensor:
    linear = _scaled(_rotation(scale_and_angle[:, 1:]), scale_and_angle[:, 0])
    return tf.reduce_sum(linear * shift[:, None], axis=-1)


def _with_last_row(matrix: tf.Tensor) -> tf.Tensor:
    """Completes θ to a square matrix."""
    rank = matrix.shape[-2]
    row = tf.broadcast_to(
        tf.constant([0.0] * rank + [1.0], matrix.dtype),
        tf.concat([tf.shape(matrix)[:-2], [1, rank + 1]], axis=0),
    )
    return tf.concat([matrix, row], axis=-2)


class Affine(AffineTransformation):
    """Every affine map: the rows of θ, six parameters, or for volumes twelve.

    >>> tf_stn.transformations.Affine().identity_parameters
    (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)

    Args:
      rank: 2 for images (default), 3 for volumes.
    """

    def __init__(self, rank: int = 2) -> None:
        self.rank = _check_rank(rank)
        self.identity_parameters = tuple(np.eye(rank, rank + 1).ravel().tolist())

    def matrix(self, parameters: tf.Tensor) -> tf.Tensor:
        return tf.reshape(parameters, [-1, self.rank, self.rank + 1])

    def inverse(self, parameters: tf.Tensor) -> tf.Tensor:
        """Returns the parameters of the map back; an error if there is none for one of them."""
        inverse = tf.linalg.inv(_with_last_row(self.matrix(parameters)))
        return tf.reshape(inverse[:, :-1], [-1, self.num_parameters])

    def compose(self, outer: tf.Tensor, inner: tf.Tensor) -> tf.Tensor:
        """Returns the parameters of the map that applies `inner` first, then `outer`."""
        product = _product(self.matrix(outer), _with_last_row(self.matrix(inner)))
        return tf.reshape(product, [-1, self.num_parameters])


def _product(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """Returns the product of small matrices, in full precision also on GPUs."""
    return tf.reduce_sum(a[..., :, :, None] * b[..., None, :, :], axis=-2)


class ConstrainedAffine(AffineTransformation):
    """An affine map of which some entries are fixed; the others are the parameters, row by row.

    >>> scales = tf_stn.transformations.ConstrainedAffine([[1, 0, 0], [0, 1, 0]])
    >>> scales.matrix(tf.constant([[0.5, 0.25]]))[0].numpy()
    array([[0.5 , 0.  , 0.  ],
           [0.  , 0.25, 0.  ]], dtype=float32)

    Args:
      free: Which entries of θ are predicted, `[2, 3]`, or `[3, 4]` for volumes.
      fixed: What the others are, of the same shape; by default as in the identity. For free ones
        it says from where training starts.
    """

    def __init__(
        self, free: Sequence[Sequence[bool]], fixed: Sequence[Sequence[float]] | None = None
    ) -> None:
        mask = np.array(free)
        if mask.shape not in ((2, 3), (3, 4)) or not mask.any():
            raise ValueError(
                f"`free` must be [2, 3] or [3, 4] truth values, at least one of them true, "
                f"received {free!r}"
            )
        self.rank = len(mask)
        values = np.eye(*mask.shape) if fixed is None else np.array(fixed, np.float64)
        if values.shape != mask.shape:
            raise ValueError(
                f"`fixed` must have the shape of `free`, {list(mask.shape)}, received {fixed!r}"
            )
        self.free = mask.astype(bool).tolist()
        self.fixed = values.tolist()
        self.identity_parameters = tuple(values[mask.astype(bool)].tolist())

    def matrix(self, parameters: tf.Tensor) -> tf.Tensor:
        columns = iter(tf.unstack(parameters, axis=-1))
        entries = [
            next(columns)
            if free
            else tf.fill(tf.shape(parameters)[:1], tf.cast(value, parameters.dtype))
            for free, value in zip(np.ravel(self.free), np.ravel(self.fixed), strict=True)
        ]
        return tf.reshape(tf.stack(entries, axis=-1), [-1, self.rank, self.rank + 1])


class Projective(Transformation):
    """A homography: the first eight entries of a 3x3 matrix, row by row; the last one is 1.

    >>> tilt = tf.constant([[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.5]])
    >>> points = tf.constant([[1.0, -1.0], [1.0, 0.0]])
    >>> tf_stn.transformations.Projective().map_points(tilt, points)[0].numpy()
    array([[ 2., -2.],
           [ 1.,  0.]], dtype=float32)

    Points at infinity, whose denominator is closer to zero than 1e-6, are as far away as with
    1e-6: outside the image, with finite gradients. So nothing is ever NaN. Parameters can also be
    found by where the output's corners lie, `parameters_of_corners`.
    """

    identity_parameters = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0)
    _SMALLEST = 1e-6

    def homography(self, parameters: tf.Tensor) -> tf.Tensor:
        """Returns the matrices, `[batch, 3, 3]`."""
        entries = tf.concat([parameters, tf.ones_like(parameters[:, :1])], axis=-1)
        return tf.reshape(entries, [-1, 3, 3])

    def map_points(self, parameters: tf.Tensor, points: tf.Tensor) -> tf.Tensor:
        homography = self.homography(parameters)[:, None]
        mapped = tf.reduce_sum(homography[..., :2] * points[:, None], axis=-1) + homography[..., 2]
        denominator = mapped[..., 2:]
        smallest = tf.where(denominator < 0, -self._SMALLEST, self._SMALLEST)
        is_small = tf.abs(denominator) < self._SMALLEST
        return mapped[..., :2] / tf.where(is_small, tf.cast(smallest, points.dtype), denominator)

    def parameters_of_corners(self, corners: tf.Tensor) -> tf.Tensor:
        """Returns the parameters of the map that takes the output's corners to these points.

        >>> corners = tf.constant([[[-0.5, -1.0], [0.5, -1.0], [1.0, 1.0], [-1.0, 1.0]]])
        >>> projective = tf_stn.transformations.Projective()
        >>> parameters = projective.parameters_of_corners(corners)
        >>> middle_of_the_left_side = tf.constant([[-1.0, 0.0]])
        >>> projective.map_points(parameters, middle_of_the_left_side)[0].numpy().round(3)
        array([[-0.667, -0.333]], dtype=float32)

        Of a quadrilateral that is not convex, parts lie at infinity. Three corners in line give a
        map onto that line, and four that enclose no area, counted by their orientation, the affine
        map that comes closest to them.

        The map from one quadrilateral to another is `compose(parameters_of_corners(target),
        inverse(parameters_of_corners(source)))`.

        Args:
          corners: `[batch, 4, 2]`, float32 or float64: where in the input, as normalised (x, y),
            the output's corners (-1, -1), (1, -1), (1, 1) and (-1, 1) lie, in this order, which
            goes around.

        Returns:
          `[batch, 8]`, of the type of `corners`.

        Gradients:
          `corners`: exact.

        Raises:
          ValueError: `corners` is of another shape.

        Reference: Heckbert, Fundamentals of texture mapping and image warping, 1989, section 2.2.3.
        """
        corners = tf.convert_to_tensor(corners, dtype_hint=tf.float32)
        if not corners.shape.is_compatible_with([None, 4, 2]):
            raise ValueError(
                f"`corners` must have shape [batch, 4, 2], received {corners.shape.as_list()}"
            )
        # In homogeneous coordinates the map is linear. So it takes the corners to w (x, y, 1) whose
        # sums over both diagonals are equal, and w is the area of the triangle of the other three.
        areas = [_area(*(corners[:, (i + k) % 4] for k in (1, 2, 3))) for i in range(4)]
        weights = tf.stack(areas, axis=-1)
        extent = tf.reduce_sum(tf.math.squared_difference(corners, corners[:, :1]), axis=[1, 2])
        is_flat = tf.abs(tf.reduce_sum(weights, axis=-1)) <= self._SMALLEST * extent
        weights = tf.where(is_flat[:, None], tf.ones_like(weights), weights)[..., None]
        homogeneous = weights * tf.concat([corners, tf.ones_like(corners[..., :1])], axis=-1)
        ends = tf.constant([[-1, -1, 1], [1, -1, 1], [1, 1, 1], [-1, 1, 1]], corners.dtype)
        return self._parameters(_product(tf.linalg.matrix_transpose(homogeneous), ends))

    def _parameters(self, homography: tf.Tensor) -> tf.Tensor:
        entries = tf.reshape(homography, [-1, 9])
        return entries[:, :8] / entries[:, 8:]

    def inverse(self, parameters: tf.Tensor) -> tf.Tensor:
        """Returns the parameters of the map back; an error if there is none for one of them."""
        return self._parameters(tf.linalg.inv(self.homography(parameters)))

    def compose(self, outer: tf.Tensor, inner: tf.Tensor) -> tf.Tensor:
        """Returns the parameters of the map that applies `inner` first, then `outer`."""
        return self._parameters(_product(self.homography(outer), self.homography(inner)))


def _area(a: tf.Tensor, b: tf.Tensor, c: tf.Tensor) -> tf.Tensor:
    """Returns twice the area of triangles, negative where they go around the other way."""
    side, other = b - a, c - a
    return side[..., 0] * other[..., 1] - side[..., 1] * other[..., 0]


class ThinPlateSpline(Transformation):
    """The smoothest map that takes a regular grid of control points where the parameters say.

    >>> spline = tf_stn.transformations.ThinPlateSpline((3, 3))
    >>> places = tf.reshape(tf.constant(spline.identity_parameters), [1, 9, 2])
    >>> moved = tf.reshape(places + tf.constant([0.25, 0.0]), [1, 18])
    >>> spline.map_points(moved, tf.constant([[0.5, 0.5]]))[0].numpy()
    array([[0.75, 0.5 ]], dtype=float32)

    The parameters are the places in the input, (x, y) by (x, y), of control points that divide
    the output evenly, row by row. Since those are never collinear, there is a spline for all
    parameters; where they bring control points together, it folds the image.

    Reference: Bookstein, Principal warps: thin-plate splines and the decomposition of
    deformations, 1989.

    Args:
      control_points: (rows, columns) of them, at least (2, 2); default (4, 4).
      regularisation: How much the spline may miss its points to be smoother; default 0, not at
        all. Very large values leave an affine map, of least squares.
    """

    def __init__(
        self, control_points: tuple[int, int] = (4, 4), regularisation: float = 0.0
    ) -> None:
        rows_columns = tuple(control_points)
        if len(rows_columns) != 2 or not all(isinstance(n, int) and n > 1 for n in rows_columns):
            raise ValueError(
                "`control_points` must be two integers (rows, columns) of at least 2, received "
                f"{control_points!r}"
            )
        if not regularisation >= 0:
            raise ValueError(f"`regularisation` must not be negative, received {regularisation!r}")
        self.control_points = rows_columns
        self.regularisation = float(regularisation)
        y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in rows_columns), indexing="ij")
        self._control = np.stack([x.ravel(), y.ravel()], axis=-1)
        self.identity_parameters = tuple(self._control.ravel().tolist())
        # Displacements of the control points to the coefficients of the spline.
        count = len(self._control)
        system = np.zeros([count + 3, count + 3])
        system[:count, :count] = self._kernel(self._control) + self.regularisation * np.eye(count)
        system[:count, count:] = np.concatenate([np.ones([count, 1]), self._control], axis=1)
        system[count:, :count] = system[:count, count:].T
        self._solution = np.linalg.inv(system)[:, :count]

    def _kernel(self, points: np.ndarray | tf.Tensor) -> np.ndarray | tf.Tensor:
        """Returns r² log r² between points and control points."""
        library = tf.math if tf.is_tensor(points) else np
        difference = points[:, None] - self._control
        square = difference[..., 0] ** 2 + difference[..., 1] ** 2
        return square * library.log(
            square + (1e-300 if library is np else tf.constant(1e-300, tf.float64))
        )

    def map_points(self, parameters: tf.Tensor, points: tf.Tensor) -> tf.Tensor:
        # In float64, also because GPUs round products of float32 matrices to ten bits.
        exact = tf.cast(points, tf.float64)
        basis = tf.concat([self._kernel(exact), tf.ones_like(exact[:, :1]), exact], axis=1)
        moved = tf.cast(parameters, tf.float64) - np.array(self.identity_parameters)
        moved = tf.reshape(moved, [-1, len(self._control), 2])
        displacement = tf.linalg.matmul(tf.linalg.matmul(basis, self._solution)[None], moved)
        return points + tf.cast(displacement, points.dtype)


class DenseDisplacement(Transformation):
    """A displacement (dx, dy[, dz]) of every output pixel, in pixels of the input.

    >>> right = tf.constant([[[[1.0, 0.0]]]])  # One for the whole output.
    >>> tf_stn.transformations.DenseDisplacement().warp(right, (1, 2), (1, 2))[0, 0].numpy()
    array([[1., 0.],
           [2., 0.]], dtype=float32)

    The parameters are a field, `[batch, height, width, 2]` or `[batch, depth, height, width, 3]`.
    One of another size than the output is interpolated, so a coarse field gives a smooth map.

    Args:
      rank: 2 for images (default), 3 for volumes.
    """

    is_field = True

    def __init__(self, rank: int = 2) -> None:
        self.rank = _check_rank(rank)
        self.identity_parameters = (0.0,) * rank

    def map_points(self, parameters: tf.Tensor, points: tf.Tensor) -> tf.Tensor:
        raise TypeError("DenseDisplacement moves output pixels, not points; use its method warp")

    def warp(
        self,
        parameters: tf.Tensor,
        output_size: Size,
        input_size: Size,
        align_corners: bool = True,
    ) -> tf.Tensor:
        identity = tf.constant([Affine(self.rank).identity_parameters], parameters.dtype)
        field_size = tf.unstack(tf.shape(parameters)[1:-1])
        at = affine_grid(identity, output_size, field_size, align_corners=align_corners)
        field = resampler(parameters, at, padding="border")
        return affine_grid(identity, output_size, input_size, align_corners=align_corners) + field


_TRANSFORMATIONS = {
    "translation": Translation,
    "attention": Attention,
    "rigid": Rigid,
    "similarity": Similarity,
    "affine": Affine,
    "projective": Projective,
    "thin_plate_spline": ThinPlateSpline,
    "dense_displacement": DenseDisplacement,
}
# Those that can be made without arguments, by name, and the others.
CLASSES = (*_TRANSFORMATIONS.values(), ConstrainedAffine)


def get(transformation: str | Transformation) -> Transformation:
    """Returns a transformation, by name or as it is; a ValueError if there is none."""
    if isinstance(transformation, Transformation):
        return transformation
    check_mode("transformation", transformation, tuple(_TRANSFORMATIONS))
    return _TRANSFORMATIONS[transformation]()
