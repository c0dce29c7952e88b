"""What all transformations have in common: public methods that check, and hooks that compute."""

from collections.abc import Sequence
from typing import Any, ClassVar

import tensorflow as tf

from tf_stn import _small_matrices
from tf_stn._checks import check_mode
from tf_stn._grids import (
    UNITS,
    divide_homogeneous,
    from_identity,
    map_pixels,
    normalised_points,
    projective_grid,
)
from tf_stn._numbers import to_real
from tf_stn._sizes import Sides, Size, parse_size, received_shape, static_shape
from tf_stn._symbolic import accepts_keras_tensors
from tf_stn.transformations._frame import Frame
from tf_stn.transformations._geometry import in_pixels, resize_field, sample_field, warp_of_identity
from tf_stn.transformations._parameters import Flat, flatten
from tf_stn.transformations._value import Value

KINDS = ("affine", "projective", "points", "field")
# What computes a map, and the kind of a class that says no other.
_HOOKS = {
    "compute_matrix": "affine",
    "compute_points": "points",
    "compute_displacement": "field",
}


class Transformation(Value):
    """A family of maps from output points to input points, by some parameters.

    A family of your own has `identity_parameters` and one method that computes the map:
    `compute_matrix`, `compute_points` or `compute_displacement`. The public methods check and
    convert, and call it; do not define those. It is made of TensorFlow's operations, and AutoGraph
    does not rewrite it: conditions on values are `tf.where`.

    >>> class Wave(tf_stn.transformations.Transformation):
    ...     identity_parameters = (0.0,)
    ...     def compute_points(self, parameters, points, frame):
    ...         x, y = points[..., 0], points[..., 1]
    ...         return tf.stack([x + parameters * tf.sin(3.0 * y), y + 0.0 * parameters], axis=-1)
    >>> Wave().map_points([[0.5]], [[0.0, 0.0], [0.5, 0.5]]).shape
    TensorShape([1, 2, 2])

    Two transformations are equal if they are of one class and have the same arguments. For that,
    and to save them, a class keeps each argument of its constructor as an attribute of that name.
    To save a model that has one, register the class with
    `keras.saving.register_keras_serializable`.

    Attributes:
      rank: 2 for images, 3 for volumes.
      kind: What the map is: `"affine"`, `"projective"`, or by `"points"`; or a `"field"`, of
        which every place has parameters of its own, `[batch, *size, num_parameters]`.
      identity_parameters: Parameters of the map that changes nothing.
    """

    rank: int = 2
    kind: str = "points"
    identity_parameters: Sequence[float]
    # How many transformations of each image the parameters are for, if that is fixed.
    count: int | None = None

    _PUBLIC: ClassVar = ("matrix", "map_points", "warp", "inverse", "compose")

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name in Transformation._PUBLIC:
            if name in vars(cls):
                raise TypeError(
                    f"{cls.__name__} must not define `{name}`, which checks its arguments and "
                    f"calls a hook; define `compute_{name}` or another of the methods "
                    f"{', '.join(_HOOKS)}"
                )
        for hook, kind in _HOOKS.items():
            if hook in vars(cls) and "kind" not in vars(cls) and cls.kind == "points":
                cls.kind = kind

    # Parameters.

    @property
    def num_parameters(self) -> int:
        """The number of parameters of a transformation."""
        return len(self.identity_parameters)

    @property
    def initial_parameters(self) -> Sequence[Any]:
        """The parameters from which training starts."""
        return self.identity_parameters

    @property
    def parameter_shape(self) -> tuple[int | None, ...]:
        """The shape of the parameters of an image, without the batch axis."""
        sides = (None,) * self.rank if self.kind == "field" else ()
        several = () if self.count is None else (self.count,)
        return (*several, *sides, self.num_parameters)

    def _flat(self, parameters: Any, argument: str = "parameters") -> Flat:
        sides = self.rank if self.kind == "field" else 0
        owner = type(self).__name__
        return flatten(argument, owner, parameters, self.num_parameters, self.count, sides)

    def _frame(
        self,
        flat: Flat,
        input_size: Size | None,
        output_size: Size | None,
        align_corners: bool,
        spacing: Any,
    ) -> Frame:
        inputs, output = (
            None if size is None else parse_size(argument, size, self.rank)
            for argument, size in (("input_size", input_size), ("output_size", output_size))
        )
        output = inputs if output is None else output
        distances, owner = self._spacing(flat, spacing), type(self).__name__
        return Frame(self.rank, inputs, output, distances, align_corners, owner)

    def _spacing(self, flat: Flat, spacing: Any) -> tf.Tensor | None:
        if spacing is None:
            return None
        distances = to_real("spacing", spacing, flat.values.dtype)
        shape = static_shape(distances)
        if shape is None or len(shape) not in (1, 2) or shape[-1] != self.rank:
            raise ValueError(
                f"`spacing` must have shape [{self.rank}] or [batch, {self.rank}], received "
                f"{received_shape(distances)}"
            )
        return flat.repeat(distances) if len(shape) == 2 else distances

    # Maps.

    @accepts_keras_tensors
    def matrix(
        self,
        parameters: tf.Tensor,
        input_size: Size | None = None,
        *,
        output_size: Size | None = None,
        align_corners: bool = True,
        units: str = "normalised",
        spacing: Any = None,
        name: str | None = None,
    ) -> tf.Tensor:
        """Returns the matrices of an affine or projective transformation.

        Args:
          parameters: `[batch, ..., num_parameters]`, numbers of any real type; computed in float64
            where they are float64, otherwise in float32.
          input_size: As in `tf_stn.affine_grid`. Needed where the map depends on it: by rotations,
            by shifts in pixels, and for `units="pixels"`.
          output_size: The same of the output, for `units="pixels"`; by default `input_size`.
          align_corners: As in `tf_stn.affine_grid`; default True.
          units: Of the matrices: `"normalised"` (default) or `"pixels"`; see `tf_stn.affine_grid`.
          spacing: Distances of pixels in the order of the axes, `[rank]`, or `[batch, rank]` where
            they differ from image to image; by default those of the transformation, or 1.
          name: Name of the operation.

        Returns:
          θ, `[batch, ..., rank, rank + 1]`; of projective transformations
          `[batch, ..., rank + 1, rank + 1]`.

        Gradients:
          `parameters`: exact.

        Raises:
          TypeError: `parameters` are not numbers.
          ValueError: `parameters` have another shape, a size is missing or wrong, or the
            transformation has no matrix.
          tf.errors.InvalidArgumentError: the same, where it is known only when the graph runs.
        """
        check_mode("units", units, UNITS)
        if self.kind not in ("affine", "projective"):
            raise ValueError(
                f"{type(self).__name__} has no matrix, since it is of kind {self.kind!r}; it has "
                "`warp` and `map_points`"
            )
        with tf.name_scope(name or "matrix"):
            flat = self._flat(parameters)
            frame = self._frame(flat, input_size, output_size, align_corners, spacing)
            matrix = self._checked_matrix(flat.values, frame)
            return flat.restore(in_pixels(matrix, frame) if units == "pixels" else matrix)

    def _checked_matrix(self, parameters: tf.Tensor, frame: Frame) -> tf.Tensor:
        matrix = self.compute_matrix(parameters, frame)
        rows = self.rank + (self.kind == "projective")
        if not matrix.shape.is_compatible_with([None, rows, self.rank + 1]):
            raise ValueError(
                f"compute_matrix of {type(self).__name__} must return "
                f"[n, {rows}, {self.rank + 1}], received {matrix.shape.as_list()}"
            )
        return matrix

    @accepts_keras_tensors
    def map_points(
        self,
        parameters: tf.Tensor,
        points: tf.Tensor,
        input_size: Size | None = None,
        *,
        output_size: Size | None = None,
        align_corners: bool = True,
        units: str = "normalised",
        spacing: Any = None,
        name: str | None = None,
    ) -> tf.Tensor:
        """Returns where points of the output lie in the input.

        Landmarks of the input move with the image by the map back: see `inverse` and
        `tf_stn.transformations.Inverse`.

        Args:
          parameters: As in `matrix`; of a field `[batch, ..., *size, num_parameters]`.
          points: `[n, rank]` for all images, or `[batch, n, rank]`, as (x, y[, z]).
          input_size: As in `matrix`. Fields need it too.
          output_size: The same of the output, for `units="pixels"`; by default `input_size`.
          align_corners: As in `tf_stn.affine_grid`; default True.
          units: Of points that go in and come out: `"normalised"` (default), or `"pixels"` of the
            output and of the input.
          spacing: As in `matrix`.
          name: Name of the operation.

        Returns:
          `[batch, ..., n, rank]`, of the type of the parameters.

        Gradients:
          `parameters`, `points`: exact. Fields are interpolated linearly, and their gradient in
          points is right-hand on the pixel centres of the field.

        Raises:
          TypeError: `parameters` or `points` are not numbers.
          ValueError: `parameters` or `points` have another shape, or a size is missing or wrong.
          tf.errors.InvalidArgumentError: the same, where it is known only when the graph runs.
        """
        check_mode("units", units, UNITS)
        with tf.name_scope(name or "map_points"):
            flat = self._flat(parameters)
            frame = self._frame(flat, input_size, output_size, align_corners, spacing)
            places = self._points(flat, points)
            if units == "pixels":
                places = frame.to_normalised(places)
            mapped = self.compute_points(flat.values, places, frame)
            return flat.restore(frame.to_pixels(mapped) if units == "pixels" else mapped)

    def _points(self, flat: Flat, points: Any) -> tf.Tensor:
        """Returns `[1 or n, points, rank]`."""
        places = to_real("points", points, flat.values.dtype)
        shape = static_shape(places)
        if shape is None or len(shape) not in (2, 3) or shape[-1] not in (None, self.rank):
            raise ValueError(
                f"`points` must have shape [n, {self.rank}] or [batch, n, {self.rank}], received "
                f"{received_shape(places)}"
            )
        if len(shape) == 2:
            return places[None]
        batch = None if flat.static_axes is None else flat.static_axes[0]
        if not tf.TensorShape(shape[:1]).is_compatible_with([batch]):
            raise ValueError(
                f"`points` must have the batch of `parameters`, {batch}, received {list(shape)}"
            )
        return flat.repeat(places)

    @accepts_keras_tensors
    def warp(
        self,
        parameters: tf.Tensor,
        output_size: Size,
        input_size: Size,
        *,
        align_corners: bool = True,
        spacing: Any = None,
        name: str | None = None,
    ) -> tf.Tensor:
        """Returns the warp for `tf_stn.resampler`, in pixels of the input.

        Args:
          parameters: As in `matrix`; of a field `[batch, ..., *size, num_parameters]`.
          output_size: As in `tf_stn.affine_grid`.
          input_size: As in `tf_stn.affine_grid`.
          align_corners: As in `tf_stn.affine_grid`; default True.
          spacing: As in `matrix`.
          name: Name of the operation.

        Returns:
          `[batch, ..., *output_size, rank]`, of the type of the parameters. With the identity
          parameters and equal sizes exactly the pixel centres.

        Gradients:
          `parameters`: exact.

        Raises:
          TypeError: `parameters` are not numbers.
          ValueError: `parameters` have another shape, or a size is wrong.
          tf.errors.InvalidArgumentError: the same, where it is known only when the graph runs.
        """
        with tf.name_scope(name or "warp"):
            flat = self._flat(parameters)
            for argument, size in (("output_size", output_size), ("input_size", input_size)):
                if size is None:
                    parse_size(argument, size, self.rank)  # An error that says what is missing.
            frame = self._frame(flat, input_size, output_size, align_corners, spacing)
            return flat.restore(self.compute_warp(flat.values, frame))

    # Other parameters of the same family.

    @accepts_keras_tensors
    def inverse(
        self,
        parameters: tf.Tensor,
        input_size: Size | None = None,
        *,
        align_corners: bool = True,
        spacing: Any = None,
        name: str | None = None,
    ) -> tf.Tensor:
        """Returns the parameters of the map back, where it is of the same family.

        Args:
          parameters: As in `matrix`.
          input_size: As in `matrix`; rotations with normalised shifts need it.
          align_corners: As in `tf_stn.affine_grid`; default True.
          spacing: As in `matrix`.
          name: Name of the operation.

        Returns:
          Of the shape of `parameters`; infinite or NaN where there is no map back.

        Gradients:
          `parameters`: exact.

        Raises:
          ValueError: The map back is not of the same family; `tf_stn.transformations.Inverse` is
            a transformation that has it.
        """
        with tf.name_scope(name or "inverse"):
            flat = self._flat(parameters)
            frame = self._frame(flat, input_size, None, align_corners, spacing)
            return flat.restore(self.compute_inverse(flat.values, frame))

    @accepts_keras_tensors
    def compose(
        self,
        first: tf.Tensor,
        second: tf.Tensor,
        input_size: Size | None = None,
        *,
        align_corners: bool = True,
        spacing: Any = None,
        name: str | None = None,
    ) -> tf.Tensor:
        """Returns the parameters of warping by `first` and the result by `second`.

        As a map of points that is `x -> first(second(x))`, where it is of the same family.

        Args:
          first: Parameters, as in `matrix`.
          second: The same.
          input_size: As in `matrix`; rotations with normalised shifts need it.
          align_corners: As in `tf_stn.affine_grid`; default True.
          spacing: As in `matrix`.
          name: Name of the operation.

        Returns:
          Of the shape of `first`.

        Gradients:
          `first`, `second`: exact.

        Raises:
          ValueError: The map is not of the same family; `tf_stn.transformations.Chain` is a
            transformation that has it. Or `first` and `second` differ in shape.
        """
        with tf.name_scope(name or "compose"):
            flat, other = self._flat(first, "first"), self._flat(second, "second")
            if not flat.values.shape.is_compatible_with(other.values.shape):
                raise ValueError(
                    f"`second` must have the shape of `first`, {flat.values.shape.as_list()}, "
                    f"received {other.values.shape.as_list()}"
                )
            outer, inner = flat.values, other.values
            if outer.dtype != inner.dtype:
                outer, inner = tf.cast(outer, tf.float64), tf.cast(inner, tf.float64)
            frame = self._frame(flat, input_size, None, align_corners, spacing)
            return flat.restore(self.compute_composition(outer, inner, frame))

    # Hooks. Parameters are [n, num_parameters], float32 or float64; those of fields
    # [n, *size, num_parameters].

    def compute_matrix(self, parameters: tf.Tensor, frame: Frame) -> tf.Tensor:
        """Returns normalised matrices; a family of kind "affine" or "projective" has this.

        Args:
          parameters: `[n, num_parameters]`, float32 or float64.
          frame: `frame.span(dtype)` is the number of pixels of the input from -1 to 1 along
            x, y[, z].

        Returns:
          `[n, rank, rank + 1]`, or `[n, rank + 1, rank + 1]` of kind "projective".
        """
        raise NotImplementedError(
            f"{type(self).__name__} must have a method compute_matrix, compute_points or "
            "compute_displacement"
        )

    def compute_points(self, parameters: tf.Tensor, points: tf.Tensor, frame: Frame) -> tf.Tensor:
        """Returns where points of the output lie in the input, both normalised.

        Args:
          parameters: `[n, num_parameters]`, float32 or float64.
          points: `[n or 1, points, rank]`, of the same type, as (x, y[, z]).
          frame: As in `compute_matrix`.

        Returns:
          `[n, points, rank]`.
        """
        if self.kind == "field":
            displacement = self.compute_displacement(parameters, frame)
            moved = sample_field(displacement, points, frame)
            return points + moved * (2 / frame.span(points.dtype))
        matrix = self._checked_matrix(parameters, frame)[:, None]
        mapped = _small_matrices.move(matrix, points)
        return divide_homogeneous(mapped) if self.kind == "projective" else mapped

    def compute_displacement(self, parameters: tf.Tensor, frame: Frame) -> tf.Tensor:
        """Returns displacements in pixels of the input; a family of kind "field" has this.

        Args:
          parameters: `[n, *size, num_parameters]`, float32 or float64.
          frame: As in `compute_matrix`.

        Returns:
          `[n, *any size, rank]`, as (dx, dy[, dz]), on a grid over the whole output.
        """
        raise NotImplementedError(f"{type(self).__name__} must have a method compute_displacement")

    def compute_warp(self, parameters: tf.Tensor, frame: Frame) -> tf.Tensor:
        """Returns the warp, by the other hooks; a family may have a quicker way.

        Args:
          parameters: `[n, num_parameters]`, or `[n, *size, num_parameters]`.
          frame: `frame.input_size` and `frame.output_size` are known.

        Returns:
          `[n, *output_size, rank]`, in pixels of the input.
        """
        if self.kind in ("affine", "projective"):
            matrix = in_pixels(self._checked_matrix(parameters, frame), frame)
            grid = map_pixels if self.kind == "affine" else projective_grid
            return grid(matrix, frame.output_size, self.rank)
        if self.kind == "field":
            displacement = self.compute_displacement(parameters, frame)
            return warp_of_identity(frame, parameters.dtype) + resize_field(displacement, frame)
        points = normalised_points(
            frame.output_size, self.rank, frame.align_corners, parameters.dtype
        )
        flat = tf.reshape(points, [1, -1, self.rank])
        moved = self.compute_points(parameters, flat, frame) - flat
        moved = tf.reshape(moved, tf.concat([tf.shape(moved)[:1], tf.shape(points)], axis=0))
        moved.set_shape(parameters.shape[:1].concatenate(points.shape))
        return from_identity(moved, frame.output_size, frame.input_size, frame.align_corners)

    def compute_inverse(self, parameters: tf.Tensor, frame: Frame) -> tf.Tensor:
        """Returns the parameters of the maps back, `[n, num_parameters]`."""
        raise ValueError(
            f"{type(self).__name__} has no `inverse` among its parameters; "
            "tf_stn.transformations.Inverse is the map back of what is affine, projective or "
            "VelocityField, and tf_stn.fields.inverse finds that of a field"
        )

    def compute_composition(self, first: tf.Tensor, second: tf.Tensor, frame: Frame) -> tf.Tensor:
        """Returns the parameters of `x -> first(second(x))`, `[n, num_parameters]`."""
        raise ValueError(
            f"{type(self).__name__} has no `compose` among its parameters; "
            "tf_stn.transformations.Chain applies one transformation after the other"
        )

    @property
    def has_inverse_map(self) -> bool:
        """Whether `tf_stn.transformations.Inverse` can map back."""
        return self.kind in ("affine", "projective")

    def compute_inverse_displacement(self, parameters: tf.Tensor, frame: Frame) -> tf.Tensor:
        """Returns the displacements of the maps back, of a field that knows them."""
        raise NotImplementedError(f"{type(self).__name__} does not know its inverse field")

    def compute_window(self, scale: Sequence[float], shift: Sequence[float]) -> tuple[float, ...]:
        """Returns parameters that show a window of the image, for `Tiled`.

        Args:
          scale: The window's size over the image's, along x, y[, z].
          shift: The window's middle, normalised.
        """
        raise ValueError(
            f"`transformation` must have windows, as Attention, Affine, Similarity and Translation "
            f"do with normalised shifts, received {self!r}"
        )


def displacement_of(
    transformation: Transformation, parameters: Any, size: Sides, align_corners: bool
) -> tf.Tensor:
    """Returns how a transformation of kind "field" moves the pixels of images of this size.

    Its warp from these images to outputs of the same size, less the pixels.

    Args:
      transformation: Of kind "field".
      parameters: As in `Transformation.warp`.
      size: Sides of the images.
      align_corners: As in `Transformation.warp`.

    Returns:
      `[batch, ..., *size, rank]`, in pixels, of the type of the parameters.
    """
    flat = transformation._flat(parameters)
    frame = transformation._frame(flat, size, size, align_corners, None)
    field = transformation.compute_displacement(flat.values, frame)
    return flat.restore(resize_field(field, frame))
