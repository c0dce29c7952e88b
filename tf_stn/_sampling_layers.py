"""Layers that sample images where other tensors say."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tf_stn import metrics as metrics_module
from tf_stn import regularizers, transformations
from tf_stn._affine_resampler import affine_resampler
from tf_stn._checks import as_tensor, check_mode
from tf_stn._displacement_resampler import displacement_resampler, sample_displaced
from tf_stn._grids import affine_grid, displaced_pixels
from tf_stn._keras import check_tensor, keras, trace
from tf_stn._nodes import TRANSFORMATIONS
from tf_stn._numbers import check_integer, to_real
from tf_stn._observing import is_observed, note, sampling_of
from tf_stn._pixels import DATA_TYPES, INTEGER_TYPES, type_names
from tf_stn._projective_resampler import projective_resampler
from tf_stn._resampler import (
    INTERPOLATIONS,
    PADDINGS,
    coordinate_type,
    resampler,
    to_coordinates,
)
from tf_stn._sizes import SIDES, Sides, image_size, in_order_of_coordinates, received_shape
from tf_stn._xla import can_compile
from tf_stn.transformations._base import displacement_of

_Shape = tuple[int | None, ...]
_IMAGES = "[batch, height, width, channels] or [batch, depth, height, width, channels]"


def check_interpolation(interpolation: Any, several: bool) -> str | list[str]:
    """Returns one interpolation, or where there are several tensors perhaps a list of them."""
    if not (several and isinstance(interpolation, (list, tuple)) and interpolation):
        check_mode("interpolation", interpolation, INTERPOLATIONS)
        return interpolation
    for each in interpolation:
        check_mode("interpolation", each, INTERPOLATIONS)
    return list(interpolation)


def _are_equal(size: Sides, other: Sides) -> bool:
    """Whether sizes are known to be equal."""
    return size is other or (isinstance(size, tuple) and isinstance(other, tuple) and size == other)


def _displace(images: tf.Tensor, field: tf.Tensor, rank: int, modes: dict[str, Any]) -> tf.Tensor:
    """Samples images, of which each may have several fields, `[batch, ..., *size, rank]`."""
    field = to_coordinates(field, coordinate_type(images.dtype), "displacement")
    output = sample_displaced(images, field, **modes)
    note("displacement_resampler", images, lambda: displaced_pixels(field, rank), output)
    return output


def check_fill_value(fill_value: Any, padding: str) -> float | list[float]:
    """Returns a number or a list of them, one for each channel."""
    try:
        values = np.array(fill_value, np.float64)
    except (TypeError, ValueError):
        values = np.zeros([0])
    if fill_value is None or values.ndim > 1 or values.size == 0:
        raise ValueError(
            "`fill_value` must be a number, or a list of numbers with one for each channel, "
            f"received {fill_value!r}"
        )
    if padding != "zeros" and values.any():
        raise ValueError(
            "`fill_value` goes with padding 'zeros' alone, whose pixels outside it replaces, "
            f"received padding {padding!r}"
        )
    return values.tolist()


def check_output_size(output_size: Any) -> tuple[int, ...] | None:
    """Returns the sides as Python integers, of an image or a volume."""
    if output_size is None:
        return None
    try:
        sides = tuple(output_size)
        if len(sides) not in (2, 3):
            raise ValueError
        return tuple(check_integer("output_size", side, 1) for side in sides)
    except (TypeError, ValueError):
        raise ValueError(
            "`output_size` must be two positive integers (height, width), or three (depth, "
            f"height, width), or None, received {output_size!r}"
        ) from None


def check_flag(argument: str, value: Any) -> bool:
    """Returns `value` as a Python bool; a ValueError unless it is one."""
    if not isinstance(value, (bool, np.bool_)):
        raise ValueError(f"`{argument}` must be True or False, received {value!r}")
    return bool(value)


def spatial_rank(argument: str, images: Any) -> int:
    """Returns the number of spatial axes of images or volumes."""
    rank = tf.TensorShape(images.shape).rank
    if rank not in (4, 5):
        raise ValueError(
            f"`{argument}` must have shape {_IMAGES}, received {received_shape(images)}"
        )
    return rank - 2


def initial_parameters(transformation: transformations.Transformation) -> np.ndarray:
    """Returns where training starts, `[parameters]`, or `[n, parameters]` of several."""
    start = np.array(transformation.initial_parameters, np.float64)
    count = transformation.count
    return start if count is None else np.broadcast_to(start, [count, start.shape[-1]])


def _named() -> Any:
    """Returns a scope in which classes of this package are found by their names.

    In HDF5 files of Keras 2 they are not found by what they register as.
    """
    classes = [*TRANSFORMATIONS, Transform, metrics_module.FractionOutside]
    classes += [getattr(regularizers, name) for name in regularizers.__all__]
    return keras.saving.custom_object_scope({each.__name__: each for each in classes})


def serialize_layer(layer: Any) -> Any:
    """Returns what is saved of a layer, or a name or None as it is."""
    return keras.layers.serialize(layer) if isinstance(layer, keras.layers.Layer) else layer


def deserialize_layer(config: Any) -> Any:
    """Returns what `serialize_layer` was given."""
    if not isinstance(config, dict):
        return config
    with _named():
        return keras.layers.deserialize(config)


class SamplingLayer(keras.layers.Layer):
    """What all layers of this package share."""

    def __init__(self, **kwargs: Any) -> None:
        if keras.backend.backend() != "tensorflow":
            raise RuntimeError(
                f"{type(self).__name__} needs Keras on the TensorFlow backend, received "
                f"{keras.backend.backend()!r}. Set KERAS_BACKEND=tensorflow."
            )
        if keras.backend.image_data_format() != "channels_last":
            warnings.warn(
                f"{type(self).__name__} takes images with channels last, though "
                f"keras.backend.image_data_format() is {keras.backend.image_data_format()!r}; "
                "keras.layers.Permute moves the channels",
                stacklevel=3,
            )
        # Coordinates in half precision miss pixels, so each layer casts its images alone.
        super().__init__(autocast=False, **kwargs)
        self.supports_jit = can_compile()  # Keras asks before it compiles by itself.
        self.supports_masking = True

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        for value in tf.nest.flatten((args, kwargs)):
            check_tensor("inputs", value)
        return super().__call__(*args, **kwargs)

    def to_images(self, argument: str, value: Any) -> tf.Tensor:
        """Converts `value` to a tensor that can be sampled; floating point to the compute dtype."""
        images = as_tensor(argument, value)
        if images.dtype in INTEGER_TYPES:
            return images
        if images.dtype not in DATA_TYPES:
            raise TypeError(
                f"`{argument}` must be of type {type_names()}, received {images.dtype.name}"
            )
        return tf.cast(images, self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        if self.activity_regularizer is not None:  # Keras 2 leaves it out.
            config["activity_regularizer"] = keras.regularizers.serialize(self.activity_regularizer)
        return config

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        # By tracing `call`, which knows of each output which type it has. By its shape alone, Keras
        # would take it for the compute dtype.
        return trace(super(keras.layers.Layer, self).compute_output_spec, *args, **kwargs)


def _pair(inputs: Any, second: str) -> tuple[Any, Any]:
    if not isinstance(inputs, (list, tuple)) or len(inputs) != 2:
        received = f"{len(inputs)} of them" if isinstance(inputs, (list, tuple)) else repr(inputs)
        raise ValueError(f"`inputs` must be a list [images, {second}], received {received}")
    return tuple(inputs)


class _PairLayer(SamplingLayer):
    """Samples `[images, places]`, in one way."""

    def __init__(
        self,
        *,
        interpolation: str = "linear",
        padding: str = "zeros",
        fill_value: float | Sequence[float] = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.interpolation = check_interpolation(interpolation, several=False)
        check_mode("padding", padding, PADDINGS)
        self.padding = padding
        self.fill_value = check_fill_value(fill_value, padding)

    def _modes(self) -> dict[str, Any]:
        return {
            "interpolation": self.interpolation,
            "padding": self.padding,
            "fill_value": self.fill_value,
        }

    def build(self, input_shape: Any) -> None:
        self.built = True

    def compute_output_shape(self, input_shape: Sequence[_Shape]) -> _Shape:
        images, places = input_shape
        batch = places[0] if images[0] in (1, None) else images[0]
        return (batch, *places[1:-1], images[-1])

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        return mask[0] if isinstance(mask, (list, tuple)) else mask

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | self._modes()


@keras.saving.register_keras_serializable(package="tf_stn")
class Resampler(_PairLayer):
    """Samples images where a warp says: `tf_stn.resampler` as a layer.

    >>> images, warp = keras.Input([8, 8, 3]), keras.Input([4, 5, 2])
    >>> tf_stn.layers.Resampler(padding="border")([images, warp]).shape
    (None, 4, 5, 3)

    Args:
      interpolation: As in `tf_stn.resampler`; default `"linear"`.
      padding: As in `tf_stn.resampler`; default `"zeros"`.
      fill_value: What lies outside with padding `"zeros"`: a number, or one for each channel.
        Default 0.
      **kwargs: As in `keras.layers.Layer`: `name`, `dtype`, `trainable`, `activity_regularizer`.

    Input shape:
      A list `[images, warp]`: `[batch, height, width, channels]` and points in pixels, `[batch,
      ..., 2]` as (x, y); or volumes and `[batch, ..., 3]`. Images of floating point are cast to the
      compute dtype; those of integers and the warp are not.

    Output shape:
      `[batch, ..., channels]`.

    Gradients:
      To images and warp, as in `tf_stn.resampler`.

    Raises:
      TypeError: images are of a type that `tf_stn.resampler` does not take.
      ValueError: an unknown mode, or inputs of other shapes.
      RuntimeError: Keras runs on another backend than TensorFlow.
    """

    def call(self, inputs: Sequence[tf.Tensor]) -> tf.Tensor:
        images, warp = _pair(inputs, "warp")
        with sampling_of(self.name):
            return resampler(self.to_images("images", images), warp, **self._modes())


@keras.saving.register_keras_serializable(package="tf_stn")
class DisplacementResampler(_PairLayer):
    """Moves every pixel by a displacement: `tf_stn.displacement_resampler` as a layer.

    This is what voxelmorph calls SpatialTransformer, with (x, y[, z]) where it has the order of the
    axes.

    >>> images, field = keras.Input([8, 8, 1]), keras.Input([8, 8, 2])
    >>> tf_stn.layers.DisplacementResampler()([images, field]).shape
    (None, 8, 8, 1)

    Args:
      interpolation: As in `tf_stn.resampler`; default `"linear"`.
      padding: As in `tf_stn.resampler`; default `"zeros"`.
      fill_value: What lies outside with padding `"zeros"`: a number, or one for each channel.
        Default 0.
      **kwargs: As in `keras.layers.Layer`: `name`, `dtype`, `trainable`, `activity_regularizer`.

    Input shape:
      A list `[images, displacement]`: `[batch, height, width, channels]` and displacements in
      pixels, `[batch, height, width, 2]` as (dx, dy); or volumes and `[batch, depth, height, width,
      3]`. Images of floating point are cast to the compute dtype; those of integers and
      displacements are not.

    Output shape:
      `[batch, height, width, channels]` or `[batch, depth, height, width, channels]`, of the size
      of the displacements.

    Gradients:
      To images and displacements, as in `tf_stn.displacement_resampler`.

    Raises:
      TypeError: images are of a type that `tf_stn.resampler` does not take.
      ValueError: an unknown mode, or inputs of other shapes.
      RuntimeError: Keras runs on another backend than TensorFlow.
    """

    def call(self, inputs: Sequence[tf.Tensor]) -> tf.Tensor:
        images, displacement = _pair(inputs, "displacement")
        with sampling_of(self.name):
            images = self.to_images("images", images)
            return displacement_resampler(images, displacement, **self._modes())


def _check_transformation(value: Any) -> str | transformations.Transformation:
    """Returns a name or an object; an error unless it is one that can be saved."""
    transformations.get(value).get_config()  # Better now than after training.
    return value


def _to_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _to_regularizers(value: Any) -> list[Any]:
    """Returns a list of regularizers, by name or as they are."""
    result = []
    for each in _to_list(value):
        try:
            found = keras.regularizers.get(each)
        except (TypeError, ValueError):
            found = None
        if not callable(found):
            raise ValueError(
                "`regularizer` must be a regularizer of tf_stn.regularizers or of Keras, or a list "
                f"of them, received {each!r}"
            )
        result.append(found)
    return result


def _to_metrics(value: Any) -> list[Any]:
    values = _to_list(value)
    for each in values:
        if not isinstance(each, keras.metrics.Metric):
            raise ValueError(
                "`metrics` must be a metric of tf_stn.metrics, or a list of them, received "
                f"{each!r}"
            )
    return values


@keras.saving.register_keras_serializable(package="tf_stn")
class Transform(SamplingLayer):
    """Warps images by a transformation whose parameters come from elsewhere in the model.

    >>> images, parameters = keras.Input([20, 30, 3]), keras.Input([3])
    >>> tf_stn.layers.Transform("rigid")([images, parameters]).shape
    (None, 20, 30, 3)

    Several tensors are warped alike, an image and its mask:

    >>> mask = keras.Input([20, 30, 1])
    >>> both = tf_stn.layers.Transform("rigid", interpolation=["linear", "nearest"])
    >>> [output.shape for output in both([images, mask, parameters])]
    [(None, 20, 30, 3), (None, 20, 30, 1)]

    Args:
      transformation: What the parameters mean: a name, as `"affine"` (default), `"rigid"`,
        `"thin_plate_spline"`, for images and volumes alike; or an object of
        `tf_stn.transformations`, or of a class of your own.
      output_size: `(height, width)` of the output, or `(depth, height, width)`. None (default):
        those of each input.
      interpolation: As in `tf_stn.resampler`, default `"linear"`; or a list, one for each tensor.
      padding: As in `tf_stn.resampler`; default `"zeros"`.
      fill_value: What lies outside with padding `"zeros"`: a number, or one for each channel.
        Default 0.
      align_corners: As in `tf_stn.affine_grid`; default True.
      regularizer: One or a list of `tf_stn.regularizers`; their values are added to the losses.
        Other regularizers of Keras see the parameters minus their start. Default None.
      metrics: One or a list of `tf_stn.metrics`, which the model then has. Default None.
      **kwargs: As in `keras.layers.Layer`: `name`, `dtype`, `trainable`; `activity_regularizer` is
        one of the outputs, whose value Keras divides by the batch, unlike those of `regularizer`.

    Call arguments:
      inputs: A list `[images, parameters]`, or `[images, mask, ..., parameters]`.
      return_warp: Whether the sample points are returned too; default False.

    Input shape:
      Images `[batch, height, width, channels]`, or volumes `[batch, depth, height, width,
      channels]`, of which those of floating point are cast to the compute dtype; parameters
      `[batch, parameters]`, for several transformations of each image `[batch, n, parameters]`, and
      a field for those that take one; these stay float32 or float64, whatever the dtype policy.

    Output shape:
      `[batch, *output_size, channels]`, of several transformations `[batch, n, *output_size,
      channels]`; a list where there are several tensors. With `return_warp` a pair: that, and the
      points in pixels of the input, `[batch, (n,) *output_size, 2 or 3]`, or a list of them.

    Gradients:
      To images and parameters.

    Raises:
      TypeError: images are of a type that `tf_stn.resampler` does not take.
      ValueError: an unknown mode or transformation, a wrong size, or inputs of other shapes.
      NotImplementedError: a class of your own does not keep what it would be saved by.
      RuntimeError: Keras runs on another backend than TensorFlow.
    """

    def __init__(
        self,
        transformation: str | transformations.Transformation = "affine",
        *,
        output_size: Sequence[int] | None = None,
        interpolation: str | Sequence[str] = "linear",
        padding: str = "zeros",
        fill_value: float | Sequence[float] = 0.0,
        align_corners: bool = True,
        regularizer: Any = None,
        metrics: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.transformation = _check_transformation(transformation)
        self.output_size = check_output_size(output_size)
        if self.output_size and not isinstance(self.transformation, str):
            self._check_rank(self.transformation.rank)
        self.interpolation = check_interpolation(interpolation, several=True)
        check_mode("padding", padding, PADDINGS)
        self.padding = padding
        self.fill_value = check_fill_value(fill_value, padding)
        self.align_corners = check_flag("align_corners", align_corners)
        self.regularizer = _to_regularizers(regularizer)
        self.warp_metrics = _to_metrics(metrics)

    def _check_rank(self, rank: int) -> None:
        if self.output_size is not None and len(self.output_size) != rank:
            raise ValueError(f"`output_size` must be {SIDES[rank]}, received {self.output_size!r}")

    def transformation_for(self, rank: int) -> transformations.Transformation:
        """Returns the transformation, of images (rank 2) or volumes (rank 3)."""
        self._check_rank(rank)
        return transformations.get(self.transformation, rank)

    def build(self, input_shape: Any) -> None:
        self.built = True

    def call(self, inputs: Sequence[tf.Tensor], return_warp: bool = False) -> Any:
        if not isinstance(inputs, (list, tuple)) or len(inputs) < 2:
            raise ValueError(
                "`inputs` must be a list [images, parameters] or [images, mask, ..., parameters], "
                f"received {inputs!r}"
            )
        *tensors, parameters = inputs
        tensors = [self.to_images("images", each) for each in tensors]
        with sampling_of(self.name, parameters):
            pairs = [
                self._sample(tensor, parameters, mode, return_warp)
                for tensor, mode in zip(tensors, self._modes(len(tensors)), strict=True)
            ]
        if not is_observed():
            self._regularize(tensors[0], parameters)
        outputs, warps = ([pair[i] for pair in pairs] for i in (0, 1))
        if not return_warp:
            return outputs[0] if len(tensors) == 1 else outputs
        return (outputs[0], warps[0]) if len(tensors) == 1 else (outputs, warps)

    def _modes(self, count: int) -> list[str]:
        """Returns the interpolation of each tensor."""
        if isinstance(self.interpolation, str):
            return [self.interpolation] * count
        if len(self.interpolation) != count:
            raise ValueError(
                f"`interpolation` must be one for each of {count} tensors, received "
                f"{list(self.interpolation)!r}"
            )
        return list(self.interpolation)

    def _sizes(self, images: tf.Tensor) -> tuple[Sides, Sides]:
        input_size = image_size("images", images, spatial_rank("images", images))
        return self.output_size or input_size, input_size

    def warp_of(self, images: tf.Tensor, parameters: Any) -> tf.Tensor:
        """Returns where some images are sampled, in pixels."""
        transformation = self.transformation_for(spatial_rank("images", images))
        sizes = self._sizes(images)
        return transformation.warp(parameters, *sizes, align_corners=self.align_corners)

    def _sample(
        self, images: tf.Tensor, parameters: Any, interpolation: str, return_warp: bool
    ) -> tuple[tf.Tensor, tf.Tensor | None]:
        """Returns what is sampled of some images, and where if that is wanted."""
        rank = spatial_rank("images", images)
        transformation = self.transformation_for(rank)
        output_size, input_size = self._sizes(images)
        options: dict[str, Any] = {"align_corners": self.align_corners}
        modes: dict[str, Any] = {
            "interpolation": interpolation,
            "padding": self.padding,
            "fill_value": self.fill_value,
        }
        by_matrix = {"affine": affine_resampler, "projective": projective_resampler}
        sample = by_matrix.get(transformation.kind)
        moves_pixels = transformation.kind == "field" and _are_equal(output_size, input_size)
        warp = None
        if return_warp or not (sample or moves_pixels):
            warp = transformation.warp(parameters, output_size, input_size, **options)
        if moves_pixels:
            field = displacement_of(transformation, parameters, input_size, **options)
            output = _displace(images, field, rank, modes)
        elif sample:
            matrix = transformation.matrix(parameters, input_size, **options)
            output = sample(images, matrix, output_size, **options, **modes)
        else:
            output = resampler(images, warp, **modes)
        # Sides that are known stay known where others are not.
        start = output.shape[: -rank - 1]
        output.set_shape([*start, *(self.output_size or images.shape[1:-1]), images.shape[-1]])
        return output, warp

    def _regularize(self, images: tf.Tensor, parameters: Any) -> None:
        """Adds losses and updates metrics."""
        kinds = {getattr(each, "of", "parameters") for each in self.regularizer}
        values: dict[str, tuple[Any, ...]] = {}
        if "parameters" in kinds:
            values["parameters"] = (self._moved(images, parameters),)
        if self.warp_metrics or kinds & {"warp", "displacement"}:
            warp = self.warp_of(images, parameters)
            values["warp"] = (warp, self._sizes(images)[1])
            if "displacement" in kinds:
                values["displacement"] = (self._displacement(images, warp),)
        for each in self.regularizer:
            self.add_loss(each(*values[getattr(each, "of", "parameters")]))
        for metric in self.warp_metrics:
            metric.update_state(*values["warp"])

    def _moved(self, images: tf.Tensor, parameters: Any) -> tf.Tensor:
        """Returns parameters minus those that training starts from."""
        transformation = self.transformation_for(spatial_rank("images", images))
        parameters = to_real("parameters", parameters)
        start = initial_parameters(transformation)
        if transformation.kind == "field" and start.ndim == 2:
            start = start.reshape(len(start), *[1] * transformation.rank, -1)
        return parameters - tf.constant(start, parameters.dtype)

    def _displacement(self, images: tf.Tensor, warp: tf.Tensor) -> tf.Tensor:
        """Returns the field of a warp, in pixels of the output, whatever its size."""
        rank = warp.shape[-1]
        identity = tf.eye(rank, rank + 1, dtype=warp.dtype)[None]
        output_size, input_size = self._sizes(images)
        still = affine_grid(identity, output_size, input_size, align_corners=self.align_corners)
        spans = [in_order_of_coordinates(size, warp.dtype) for size in (output_size, input_size)]
        if self.align_corners:
            spans = [tf.maximum(span - 1, 1) for span in spans]
        return (warp - still) * tf.cast(spans[0] / spans[1], warp.dtype)

    def compute_output_shape(self, input_shape: Sequence[_Shape]) -> Any:
        *images, parameters = input_shape
        rank = len(images[0]) - 2
        transformation = self.transformation_for(rank)
        several = parameters[
            1 : len(parameters) - (rank + 1 if transformation.kind == "field" else 1)
        ]
        shapes = [
            (shape[0], *several, *(self.output_size or shape[1:-1]), shape[-1]) for shape in images
        ]
        return shapes[0] if len(shapes) == 1 else shapes

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """Returns the masks of the images, which their outputs have too."""
        if not isinstance(mask, (list, tuple)):
            return mask
        return mask[0] if len(mask) == 2 else list(mask[:-1])

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "transformation": self.transformation
            if isinstance(self.transformation, str)
            else keras.saving.serialize_keras_object(self.transformation),
            "output_size": self.output_size,
            "interpolation": self.interpolation
            if isinstance(self.interpolation, str)
            else list(self.interpolation),
            "padding": self.padding,
            "fill_value": self.fill_value,
            "align_corners": self.align_corners,
            "regularizer": [keras.regularizers.serialize(each) for each in self.regularizer],
            "metrics": [keras.metrics.serialize(each) for each in self.warp_metrics],
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Transform":
        config = dict(config)
        with _named():
            if isinstance(config["transformation"], dict):
                saved = config["transformation"]
                config["transformation"] = keras.saving.deserialize_keras_object(saved)
            for name, module in (("regularizer", keras.regularizers), ("metrics", keras.metrics)):
                config[name] = [module.deserialize(each) for each in config[name]]
        return cls(**config)
