"""The spatial transformer as a Keras layer: a localisation net, a head, and a transformation."""

import inspect
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from tf_stn import transformations
from tf_stn._keras import check_layer, keras
from tf_stn._observing import sampling_of
from tf_stn._pixels import DATA_TYPES, is_integer
from tf_stn._resampler import coordinate_type
from tf_stn._sampling_layers import (
    SamplingLayer,
    Transform,
    deserialize_layer,
    initial_parameters,
    serialize_layer,
    spatial_rank,
)
from tf_stn._sizes import image_size
from tf_stn._symbolic import is_symbolic

_Shape = tuple[int | None, ...]
_SIDES = {2: "height, width", 3: "depth, height, width"}


def _is_shape(value: Any) -> bool:
    """Whether `value` is one shape, and not a list of them."""
    return not any(isinstance(each, (list, tuple, tf.TensorShape)) for each in value)


def _shapes(value: Any) -> list[_Shape]:
    """Returns one or several shapes, which files have as lists, as a list of tuples."""
    return [tuple(value)] if _is_shape(value) else [tuple(each) for each in value]


def _are_several(value: Any) -> bool:
    """Whether `value` is a list of tensors, and not of numbers."""
    return isinstance(value, (list, tuple)) and all(hasattr(each, "shape") for each in value)


def _check_head(head: Any) -> Any:
    if head is None or (isinstance(head, str) and head == "dense"):
        return head
    if not isinstance(head, keras.layers.Layer):
        raise ValueError(f"`head` must be 'dense', a layer, or None, received {head!r}")
    return head


@keras.saving.register_keras_serializable(package="tf_stn")
class SpatialTransformer(SamplingLayer):
    """Warps each image by a transformation that a small network reads off it.

    `localisation` looks at the images and returns features; a dense layer, owned by this one,
    turns them into parameters; the images are sampled where these say. The dense layer starts with
    a zero kernel and the bias of the identity, so that an untrained layer returns its input
    (resized to `output_size`, if there is one) and learns from there, without any supervision but
    the loss of the network around it.

    >>> localisation = keras.Sequential([
    ...     keras.layers.Flatten(),
    ...     keras.layers.Dense(32, activation="relu"),
    ... ])
    >>> transformer = tf_stn.SpatialTransformer(localisation, output_size=(28, 28))
    >>> transformer(tf.zeros([8, 42, 42, 1])).shape
    TensorShape([8, 28, 28, 1])

    It can look at one thing and warp another, a pair of images for instance, or an image and its
    mask alike, and say how:

    >>> fixed, moving = keras.Input([16, 16, 1]), keras.Input([16, 16, 1])
    >>> pair = keras.layers.Concatenate()([fixed, moving])
    >>> register = tf_stn.SpatialTransformer(keras.layers.Flatten(), "rigid")
    >>> moved, parameters = register(pair, source=moving, return_parameters=True)
    >>> moved.shape, parameters.shape
    ((None, 16, 16, 1), (None, 3))

    It is a layer of the Keras that `tf.keras` is: Keras 3, or with `TF_USE_LEGACY_KERAS=1` in the
    environment tf_keras.

    Args:
      localisation: A layer or model from the images to `[batch, features]`, or for a
        transformation whose parameters are a field to `[batch, *size, features]`, of any size.
      transformation: What the parameters mean: a name, as `"affine"` (default), `"rigid"`,
        `"thin_plate_spline"`, for images and volumes alike; or an object of
        `tf_stn.transformations`, among which `Bounded`, `Scaled`, `StartingAt`, `Several` and
        `Tiled` change the range, the pace, the start and the number of transformations. Or a layer
        `tf_stn.layers.Transform`, for instance one with metrics; then the arguments of sampling
        below are its own.
      output_size: `(height, width)` of the output, or `(depth, height, width)`. None (default):
        those of the input.
      head: What turns features into parameters. `"dense"` (default): a dense layer that starts at
        the transformation's `initial_parameters`, in float32 (float64 for a float64 layer)
        whatever the dtype policy. A layer of your own. None: `localisation` predicts the
        parameters, `[batch, parameters]`; for several transformations of each image `[batch, n,
        parameters]` or `[batch, n parameters]`.
      interpolation: As in `tf_stn.resampler`, default `"linear"`; or a list, one for each tensor of
        `source`.
      padding: As in `tf_stn.resampler`; default `"zeros"`.
      fill_value: What lies outside with padding `"zeros"`: a number, or one for each channel.
        Default 0.
      align_corners: As in `tf_stn.affine_grid`; default True.
      regularizer: One or a list of `tf_stn.regularizers`; their values are added to the losses.
        Other regularizers of Keras see the parameters minus their start. Default None.
      **kwargs: As in `keras.layers.Layer`: `name`, `dtype`, `trainable`, which here freezes
        `localisation` and `head` too; `activity_regularizer` is one of the outputs, whose value
        Keras divides by the batch, unlike those of `regularizer`.

    Call arguments:
      images: What `localisation` takes: images, or with `source` anything.
      source: What is warped instead of `images`, of any size and number of channels: a tensor, or a
        list of them, which are all warped alike. Integers, such as a mask's with interpolation
        `"nearest"`, are warped too, but the transformer learns nothing from them. Default None.
      return_parameters: Whether the parameters are returned too; default False.

    Input shape:
      `[batch, height, width, channels]`, or volumes `[batch, depth, height, width, channels]`;
      floating point but for `source`. What `localisation` does not need to know may be unknown:
      with global pooling in it, all but the channels.

    Output shape:
      `[batch, *output_size, channels]`, of the layer's compute dtype or of integers theirs, with an
      axis after the batch for several transformations; a list, where `source` is one. With
      `return_parameters` a pair: that, and `[batch, (n,) parameters]`, or a field.

    Gradients:
      To the images, both through the sampler and through `localisation`; to the weights of
      `localisation` and of the head.

    Raises:
      TypeError: images are not floating point.
      ValueError: an unknown mode or transformation, a wrong size, or a localisation net of another
        Keras when the layer is made; an input or features of the wrong rank when it is built.
      NotImplementedError: a transformation of your own does not keep what it would be saved by.
      RuntimeError: Keras runs on another backend than TensorFlow.

    Reference:
      Jaderberg et al., Spatial Transformer Networks, 2015, https://arxiv.org/abs/1506.02025
    """

    def __init__(
        self,
        localisation: keras.layers.Layer,
        transformation: str | transformations.Transformation | Transform = "affine",
        *,
        output_size: Sequence[int] | None = None,
        head: str | keras.layers.Layer | None = "dense",
        interpolation: str | Sequence[str] = "linear",
        padding: str = "zeros",
        fill_value: float | Sequence[float] = 0.0,
        align_corners: bool = True,
        regularizer: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_layer("localisation", localisation)
        sampling = {
            "output_size": output_size,
            "interpolation": interpolation,
            "padding": padding,
            "fill_value": fill_value,
            "align_corners": align_corners,
            "regularizer": regularizer,
        }
        self.localisation = localisation
        self.head = _check_head(head)
        self.transform = self._to_transform(transformation, sampling)
        self._shape_of_source = lambda: None
        self._freeze_sublayers()

    def _to_transform(self, transformation: Any, sampling: dict[str, Any]) -> Transform:
        if not isinstance(transformation, Transform):
            policy = self.dtype_policy if hasattr(self, "dtype_policy") else self._dtype_policy
            return Transform(transformation, **sampling, dtype=policy, name="transform")
        arguments = inspect.signature(SpatialTransformer.__init__).parameters
        for name, value in sampling.items():
            default = arguments[name].default
            if not (value is default or (isinstance(value, type(default)) and value == default)):
                raise ValueError(
                    f"`{name}` must be given to the layer Transform alone, where `transformation` "
                    f"is one, received {value!r}"
                )
        return transformation

    def _freeze_sublayers(self) -> None:
        # Keras notes `trainable=False` of a constructor, but does not tell sublayers. Nor would it
        # be told by setting the attribute once more to the value that it has.
        if not self.trainable:
            for layer in self._flatten_layers(include_self=False):
                layer.trainable = False

    @property
    def transformation(self) -> str | transformations.Transformation:
        """What the parameters mean, a name or an object."""
        return self.transform.transformation

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        source = kwargs.get("source", args[1] if len(args) > 1 else None)
        if not hasattr(keras, "Operation") and not self.built and source is not None:
            # Keras 2 tells build() nothing of it. A function, which Keras does not track.
            shapes = tf.nest.map_structure(lambda each: tuple(each.shape), source)
            self._shape_of_source = lambda: shapes
        return super().__call__(*args, **kwargs)

    def build(self, images_shape: Any, source_shape: Any = None) -> None:
        if source_shape is None:
            source_shape = self._shape_of_source()
        warped = _shapes(images_shape if source_shape is None else source_shape)[0]
        if len(warped) not in (4, 5):
            argument = "images" if source_shape is None else "source"
            raise ValueError(
                f"`{argument}` must have shape [batch, height, width, channels] or [batch, depth, "
                f"height, width, channels], received {warped}"
            )
        transformation = self.transform.transformation_for(len(warped) - 2)
        # A symbolic call builds any kind of layer or model, and says what comes out.
        inputs = [
            keras.Input(shape[1:], shape[0], dtype=self.compute_dtype)
            for shape in _shapes(images_shape)
        ]
        predicted = self.localisation(inputs[0] if _is_shape(images_shape) else inputs)
        if isinstance(self.head, str):
            self._check_features(predicted, transformation)
            self.head = self._dense(transformation)
        if isinstance(self.head, keras.layers.Dense) and not self.head.built:
            # Here, and not by a call, for the names of its weights in Keras 2.
            self.head.build(tuple(predicted.shape))
        if self.head is not None:
            predicted = self.head(predicted)
        self._check_parameters(predicted, transformation)
        self._rank = transformation.rank
        if not self.transform.built:
            self.transform.build(None)  # Keras quantises only models whose layers are all built.
        self._freeze_sublayers()
        super().build(images_shape)

    def _dense(self, transformation: transformations.Transformation) -> keras.layers.Dense:
        start = initial_parameters(transformation).ravel().tolist()
        return keras.layers.Dense(
            len(start),
            kernel_initializer="zeros",
            bias_initializer=keras.initializers.Constant(start),
            dtype=coordinate_type(tf.as_dtype(self.compute_dtype)).name,
            name="head",
        )

    def _check_features(
        self, features: Any, transformation: transformations.Transformation
    ) -> None:
        """Raises a ValueError unless a dense layer can make parameters of `features`."""
        shape = tuple(getattr(features, "shape", None) or ())
        is_field = transformation.kind == "field"
        if len(shape) != (transformation.rank + 2 if is_field else 2) or shape[-1] is None:
            sides = f"{_SIDES[transformation.rank]}, " if is_field else ""
            raise ValueError(
                f"`localisation` must return features of shape [batch, {sides}features], with a "
                f"known number of them, received {features}"
            )

    def _check_parameters(
        self, predicted: Any, transformation: transformations.Transformation
    ) -> None:
        """Raises a ValueError unless the net, or the head, returns parameters."""
        shape = tuple(getattr(predicted, "shape", None) or ())
        count, several = transformation.num_parameters, transformation.count
        sides = f"{_SIDES[transformation.rank]}, " if transformation.kind == "field" else ""
        total = count * (several or 1)
        is_flat = len(shape) == 2 + sides.count(",") and shape[-1] == total
        is_whole = len(shape) == 1 + len(transformation.parameter_shape) and shape[-1] == count
        if not (is_flat or (is_whole and (several is None or shape[1] == several))):
            whole = f" or [batch, {several}, {sides}{count}]" if several else ""
            where = "`localisation` must return the parameters"
            if self.head is not None:
                where = "`head` must return the parameters"
            raise ValueError(
                f"{where}, [batch, {sides}{total}]{whole}, of {transformation!r}, "
                f"{'where `head` is None, ' if self.head is None else ''}received {predicted}"
            )

    def call(self, images: tf.Tensor, source: Any = None, return_parameters: bool = False) -> Any:
        parameters = self._parameters(images)
        argument, tensors = ("images", images) if source is None else ("source", source)
        is_list = _are_several(tensors)
        if is_list and source is None:
            raise ValueError(
                "`source` must say what is warped where `images` are several, received None"
            )
        tensors = [self.to_images(argument, each) for each in (tensors if is_list else [tensors])]
        with sampling_of(self.name):
            outputs = self.transform([*tensors, parameters])
        if is_list and len(tensors) == 1:
            outputs = [outputs]
        return (outputs, parameters) if return_parameters else outputs

    def _to_seen(self, value: Any) -> tf.Tensor:
        """Converts what `localisation` looks at."""
        images = self.to_images("images", value)
        if is_integer(images.dtype):
            names = ", ".join(dtype.name for dtype in DATA_TYPES)
            raise TypeError(
                f"`images` must be of type {names}, received {images.dtype.name}, through which "
                "nothing is learned; tf.cast or keras.layers.Rescaling converts it"
            )
        return images

    def _parameters(self, images: Any) -> tf.Tensor:
        if _are_several(images):
            images = [self._to_seen(each) for each in images]
        else:
            images = self._to_seen(images)
        predicted = self.localisation(images)
        return self._of_each(predicted if self.head is None else self.head(predicted))

    def _of_each(self, parameters: tf.Tensor) -> tf.Tensor:
        """Gives several transformations of each image an axis of their own after the batch."""
        transformation = self.transform.transformation_for(self._rank)
        if transformation.count is None or parameters.shape.rank == 1 + len(
            transformation.parameter_shape
        ):
            return parameters
        each = [transformation.count, transformation.num_parameters]
        start = parameters.shape[:-1]
        late = tf.concat([tf.shape(parameters)[:-1], each], axis=0)
        parameters = tf.reshape(parameters, late)
        parameters.set_shape([*start, *each])
        sides = range(1, len(start))
        return tf.transpose(parameters, [0, len(start), *sides, len(start) + 1])

    def _check_can_look(self, method: str, images: Any) -> None:
        if not self.built:
            raise ValueError(
                f"SpatialTransformer must be built or called before its method {method}() is, "
                "received a layer without weights"
            )
        if is_symbolic(images):
            raise ValueError(
                f"`images` of {method}() must be tensors, received the Keras tensor {images!r}; in "
                "a functional model call the layer with return_parameters=True"
            )

    def parameters(self, images: tf.Tensor) -> tf.Tensor:
        """Returns the parameters of the transformation that the layer applies to each image.

        In a functional model, call the layer with `return_parameters=True`.

        Args:
          images: As for the layer, which must have been built or called before.

        Returns:
          `[batch, parameters]`, or of several transformations `[batch, n, parameters]`; of a dense
          displacement or a velocity a field. float32 or float64, but for a head of your own. As
          they are predicted: what `Bounded` or `Scaled` make of them is seen in `theta` and `warp`.

        Raises:
          ValueError: the layer has no weights yet, or `images` are Keras tensors.
        """
        self._check_can_look("parameters", images)
        return self._parameters(images)

    def _warped(self, images: Any, source: Any) -> tf.Tensor:
        """Returns what is warped, the first one of several."""
        argument, tensors = ("images", images) if source is None else ("source", source)
        return self.to_images(argument, tensors[0] if _are_several(tensors) else tensors)

    def theta(self, images: tf.Tensor, source: Any = None) -> tf.Tensor:
        """Returns the matrices by which the layer transforms each image.

        Args:
          images: As for the layer, which must have been built or called before.
          source: What is warped, where it is not `images`; rotations depend on its size.

        Returns:
          θ, normalised, `[batch, 2, 3]`, or `[batch, 3, 4]` for volumes, with an axis after the
          batch for several transformations; of a projective one `[batch, 3, 3]`; float32 or
          float64.

        Raises:
          ValueError: the layer has no weights yet, its transformation has no matrix (then see
            `parameters`), or `images` are Keras tensors.
        """
        self._check_can_look("theta", images)
        warped = self._warped(images, source)
        transformation = self.transform.transformation_for(spatial_rank("images", warped))
        if transformation.kind not in ("affine", "projective"):
            raise ValueError(
                f"theta() needs a transformation that has a matrix, received {transformation!r}"
            )
        size = image_size("images", warped, transformation.rank)
        align_corners = self.transform.align_corners
        return transformation.matrix(self._parameters(images), size, align_corners=align_corners)

    def warp(self, images: tf.Tensor, source: Any = None) -> tf.Tensor:
        """Returns where the layer samples each image, for `tf_stn.resampler`.

        Args:
          images: As for the layer, which must have been built or called before.
          source: What is warped, where it is not `images`; of a list the first one counts.

        Returns:
          Points in pixels of the input, `[batch, *output_size, 2]` as (x, y), or for volumes
          `[batch, *output_size, 3]` as (x, y, z), with an axis after the batch for several
          transformations; float32 or float64.

        Raises:
          ValueError: the layer has no weights yet, or `images` are Keras tensors.
        """
        self._check_can_look("warp", images)
        return self.transform.warp_of(self._warped(images, source), self._parameters(images))

    def compute_output_shape(self, images_shape: Any, source_shape: Any = None) -> Any:
        warped = images_shape if source_shape is None else source_shape
        transformation = self.transform.transformation_for(len(_shapes(warped)[0]) - 2)
        several = () if transformation.count is None else (transformation.count,)
        size = self.transform.output_size
        shapes = [
            (batch, *several, *(size or sides), channels)
            for batch, *sides, channels in _shapes(warped)
        ]
        return shapes[0] if _is_shape(warped) else shapes

    def compute_mask(self, images: Any, mask: Any = None) -> Any:
        """Returns the mask of the images, which the output has too."""
        return mask[0] if isinstance(mask, (list, tuple)) else mask

    def get_config(self) -> dict[str, Any]:
        # Of the layers inside, all that there is to them: dtype policy, trainable, quantisation.
        return super().get_config() | {
            "localisation": keras.layers.serialize(self.localisation),
            "transformation": serialize_layer(self.transform),
            "head": serialize_layer(self.head),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "SpatialTransformer":
        config = dict(config)
        localisation = keras.layers.deserialize(config.pop("localisation"))
        objects = {name: deserialize_layer(config[name]) for name in ("transformation", "head")}
        return cls(localisation, **config | objects)
