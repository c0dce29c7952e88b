"""The spatial transformer as a Keras layer."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tf_stn import metrics, regularizers, transformations
from tf_stn._affine_resampler import affine_resampler
from tf_stn._checks import check_mode
from tf_stn._keras import check_layer, check_tensor, keras
from tf_stn._nodes import TRANSFORMATIONS
from tf_stn._resampler import check_modes, coordinate_type, resampler
from tf_stn._sizes import check_size, image_size


def _check_data_format(data_format: str | None) -> str:
    received = repr(data_format)
    if data_format is None:
        data_format = keras.backend.image_data_format()
        received = f"None where keras.backend.image_data_format() is {data_format!r}"
    if data_format != "channels_last":
        raise ValueError(
            f"`data_format` must be 'channels_last', received {received}; "
            "keras.layers.Permute moves the channels of images"
        )
    return data_format


def _check_count(num_transformers: int | None) -> int | None:
    is_count = isinstance(num_transformers, int) and not isinstance(num_transformers, bool)
    if num_transformers is not None and not (is_count and num_transformers > 0):
        raise ValueError(
            f"`num_transformers` must be a positive integer or None, received {num_transformers!r}"
        )
    return num_transformers


def _check_bound(
    bound: float | Sequence[float] | None, num_parameters: int
) -> float | list[float] | None:
    if bound is None:
        return None
    values = np.array(bound, np.float64)
    if values.shape not in ((), (num_parameters,)) or not (values > 0).all():
        raise ValueError(
            f"`bound` must be a positive number, or {num_parameters} of them, one for each "
            f"parameter, received {bound!r}"
        )
    return values.tolist()


def _check_scale(parameter_scale: float) -> float:
    if not isinstance(parameter_scale, (int, float, np.number)) or not parameter_scale > 0:
        raise ValueError(
            f"`parameter_scale` must be a positive number, received {parameter_scale!r}"
        )
    return float(parameter_scale)


def _check_factor(argument: str, value: float) -> float:
    if not isinstance(value, (int, float, np.number)) or not 0 <= value < np.inf:
        raise ValueError(f"`{argument}` must be a number of at least 0, received {value!r}")
    return float(value)


def _start(
    transformation: transformations.Transformation, start: str, num_transformers: int
) -> list[float]:
    """Returns the parameters that all transformers start from, one after the other."""
    check_mode("start", start, ("identity", "tiled"))
    if start == "identity":
        return [float(value) for value in transformation.identity_parameters] * num_transformers
    # In as many rows as columns, or in more columns.
    counts = range(1, num_transformers + 1)
    rows = max(n for n in counts if num_transformers % n == 0 and n * n <= num_transformers)
    tiled = transformations.Tiled(transformation, (rows, num_transformers // rows))
    return [value for window in tiled.initial_parameters for value in window]


@keras.saving.register_keras_serializable(package="tf_stn")
class SpatialTransformer(keras.layers.Layer):
    """Warps each image by a transformation that a small network reads off it.

    `localisation` looks at the images and returns features; a dense layer, owned by this one,
    turns them into θ; the images are sampled where θ says. The dense layer starts with a zero
    kernel and the bias of the identity, so that an untrained layer returns its input (resized to
    `output_size`, if there is one) and learns from there, without any supervision but the loss
    of the network around it.

    >>> localisation = keras.Sequential([
    ...     keras.layers.Flatten(),
    ...     keras.layers.Dense(32, activation="relu"),
    ... ])
    >>> transformer = tf_stn.SpatialTransformer(localisation, output_size=(28, 28))
    >>> transformer(tf.zeros([8, 42, 42, 1])).shape
    TensorShape([8, 28, 28, 1])

    It is a layer of the Keras that `tf.keras` is: Keras 3, or with `TF_USE_LEGACY_KERAS=1` in the
    environment tf_keras.

    θ maps normalised output coordinates to normalised input coordinates; see
    `tf_stn.affine_grid`. It is computed in float32 (float64 for a float64 layer) whatever the
    dtype policy, since coordinates in half precision miss pixels.

    Args:
      localisation: A layer or model from the inputs to `[batch, features]`, or for a dense
        displacement to `[batch, height, width, features]`, of any height and width.
      output_size: `(height, width)` of the output, or `(depth, height, width)`. None (default):
        those of the input.
      transformation: What the predicted parameters mean: `"translation"`, `"attention"`,
        `"rigid"`, `"similarity"`, `"affine"` (default), `"projective"`, `"thin_plate_spline"`,
        `"dense_displacement"`, or an instance of these or of your own class; see
        `tf_stn.transformations`. Those of volumes are instances with `rank=3`.
      interpolation: As in `tf_stn.resampler`; default `"linear"`.
      padding: As in `tf_stn.resampler`; default `"zeros"`.
      align_corners: As in `tf_stn.affine_grid`; default True.
      num_transformers: How many transformations of each input are predicted, by one localisation
        net; default None: one, and no axis for it.
      stack: Where the outputs of several are: `"transformers"` (default): on an axis of their own
        after the batch; `"channels"`: one after the other among the channels.
      start: The parameters that training starts from. `"identity"` (default); `"tiled"`: several
        windows of `"attention"` start side by side.
      bound: How far a parameter may get from where it starts: `start + bound tanh((p - start) /
        bound)`. A number, or one for each parameter; default None: as far as it likes. Keeps
        transformations from leaving the image; where p is far beyond the bound there is hardly a
        gradient.
      gradient_scale: By what the gradient is multiplied on its way to `localisation` and the
        dense layer; default 1. Less than 1 cures transformations that jump about, or leave the
        image, while the rest of the network still learns, under an optimiser such as SGD. Adam
        and its kin divide a gradient by its size, and so undo this.
      parameter_scale: By what (parameters - start) are multiplied, before the bound; default 1.
        Less than 1 is the same cure under any optimiser.
      identity_penalty: Adds so many times the mean square of (parameters - start) to the losses,
        of the parameters before the bound, so that it pulls where the bound has no gradient;
        default 0.
      outside_penalty: Adds so many times `tf_stn.regularizers.Outside` to the losses; default 0.
        Stores the grid, as the next one.
      track_outside: Whether the metric `fraction_outside` is kept; default False.
      data_format: `"channels_last"`, the only one; default None: that of Keras' configuration,
        which must be this one.
      **kwargs: As in `keras.layers.Layer`: `name`, `dtype`, `trainable`.

    Input shape:
      `[batch, height, width, channels]`, or volumes `[batch, depth, height, width, channels]` for
      a transformation of rank 3; floating point. What `localisation` does not need to
      know may be unknown: with global pooling in it, all but the channels.

    Output shape:
      `[batch, *output_size, channels]`, of the layer's compute dtype; with `num_transformers` an
      axis for them after the batch, or so many times the channels, as `stack` says.

    Gradients:
      To the images, both through the sampler and through `localisation`; to the weights of
      `localisation` and of the dense layer.

    Raises:
      ValueError: an unknown mode or transformation, a wrong size, or a localisation net of
        another Keras when the layer is made; an input or features of the wrong rank when it is
        built.
      RuntimeError: Keras runs on another backend than TensorFlow.

    Reference:
      Jaderberg et al., Spatial Transformer Networks, 2015, https://arxiv.org/abs/1506.02025
    """

    def __init__(
        self,
        localisation: keras.layers.Layer,
        output_size: tuple[int, ...] | None = None,
        transformation: str | transformations.Transformation = "affine",
        interpolation: str = "linear",
        padding: str = "zeros",
        align_corners: bool = True,
        num_transformers: int | None = None,
        stack: str = "transformers",
        start: str = "identity",
        bound: float | Sequence[float] | None = None,
        gradient_scale: float = 1.0,
        parameter_scale: float = 1.0,
        identity_penalty: float = 0.0,
        outside_penalty: float = 0.0,
        track_outside: bool = False,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        if keras.backend.backend() != "tensorflow":
            raise RuntimeError(
                "SpatialTransformer needs Keras on the TensorFlow backend, "
                f"received {keras.backend.backend()!r}. Set KERAS_BACKEND=tensorflow."
            )
        super().__init__(**kwargs)
        check_layer("localisation", localisation)
        self.data_format = _check_data_format(data_format)
        check_modes(interpolation, padding)
        self.localisation = localisation
        self.transformation = transformation
        self._transformation = transformations.get(transformation)
        self._rank = self._transformation.rank
        self.output_size = (
            None if output_size is None else check_size("output_size", output_size, self._rank)
        )
        self.interpolation = interpolation
        self.padding = padding
        self.align_corners = align_corners
        self.supports_jit = False  # There is no XLA kernel.

        check_mode("stack", stack, ("transformers", "channels"))
        self.num_transformers = _check_count(num_transformers)
        self.stack = stack
        self.start = start
        self._start = _start(self._transformation, start, num_transformers or 1)
        self.bound = _check_bound(bound, self._transformation.num_parameters)
        self.gradient_scale = _check_factor("gradient_scale", gradient_scale)
        self.parameter_scale = _check_scale(parameter_scale)
        self.identity_penalty = _check_factor("identity_penalty", identity_penalty)
        self.outside_penalty = _check_factor("outside_penalty", outside_penalty)
        self.track_outside = track_outside
        if track_outside:
            self.fraction_outside = metrics.FractionOutside()
        self.regression = keras.layers.Dense(
            len(self._start),
            kernel_initializer="zeros",
            bias_initializer=keras.initializers.Constant(self._start),
            dtype=coordinate_type(tf.as_dtype(self.compute_dtype)).name,
            name="theta",
        )

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        sides = "height, width" if self._rank == 2 else "depth, height, width"
        if len(input_shape) != self._rank + 2:
            raise ValueError(
                f"`inputs` must have shape [batch, {sides}, channels], "
                f"received {tuple(input_shape)}"
            )
        # A symbolic call builds any kind of layer or model, and says what comes out.
        batch, *shape = input_shape
        images = keras.Input(shape, batch, dtype=self.compute_dtype)
        features = self.localisation(images)
        shape = tuple(getattr(features, "shape", None) or ())
        is_field = self._transformation.kind == "field"
        if len(shape) != (self._rank + 2 if is_field else 2) or shape[-1] is None:
            expected = f"[batch, {sides}, features]" if is_field else "[batch, features]"
            raise ValueError(
                f"`localisation` must return features of shape {expected}, with a known "
                f"number of them, received {features}"
            )
        self.regression.build(shape)
        super().build(input_shape)

    def __call__(self, inputs: tf.Tensor, *args: Any, **kwargs: Any) -> tf.Tensor:
        check_tensor("inputs", inputs)
        return super().__call__(inputs, *args, **kwargs)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        input_size = image_size("inputs", inputs, self._rank)
        unbounded = self._unbounded_parameters(inputs)
        parameters = self._within_bound(unbounded)
        modes = {"interpolation": self.interpolation, "padding": self.padding}
        is_affine = self._transformation.kind == "affine"
        warp = None
        if not is_affine or self.outside_penalty or self.track_outside:
            warp = self._warp(parameters, input_size)
        if is_affine:
            matrix = self._transformation.matrix(
                parameters, input_size, align_corners=self.align_corners
            )
            output_size = self.output_size or input_size
            output = affine_resampler(
                inputs, matrix, output_size, align_corners=self.align_corners, **modes
            )
        else:
            output = resampler(inputs, warp, **modes)
        self._add_losses(unbounded, warp, input_size)
        if self.num_transformers and self.stack == "channels":
            rank = self._rank
            output = tf.transpose(output, [0, *range(2, rank + 2), 1, rank + 2])
            shape = tf.shape(output)
            output = tf.reshape(output, tf.concat([shape[:-2], [shape[-2] * shape[-1]]], axis=0))
        output.set_shape(self.compute_output_shape(inputs.shape))
        return output

    def _warp(self, parameters: tf.Tensor, input_size: tuple | tf.Tensor) -> tf.Tensor:
        output_size = self.output_size or input_size
        return self._transformation.warp(
            parameters, output_size, input_size, align_corners=self.align_corners
        )

    def _add_losses(
        self, parameters: tf.Tensor, warp: tf.Tensor | None, input_size: tuple | tf.Tensor
    ) -> None:
        if self.identity_penalty:
            moved = parameters - tf.cast(self._start_like(parameters), parameters.dtype)
            self.add_loss(self.identity_penalty * tf.reduce_mean(moved**2))
        if self.outside_penalty:
            self.add_loss(regularizers.Outside(self.outside_penalty)(warp, input_size))
        if self.track_outside:
            self.fraction_outside.update_state(warp, input_size)

    def _start_like(self, parameters: tf.Tensor) -> np.ndarray:
        """Returns the start, shaped to broadcast with parameters."""
        count = self._transformation.num_parameters
        start = np.array(self._start)
        if not self.num_transformers:
            return start
        shape = [self.num_transformers, *[1] * (parameters.shape.rank - 3), count]
        return start.reshape(shape)

    def parameters(self, inputs: tf.Tensor) -> tf.Tensor:
        """Returns the parameters of the transformation that the layer applies to each input.

        Args:
          inputs: As for the layer, which must have been built or called before.

        Returns:
          `[batch, parameters]`, or with `num_transformers` `[batch, num_transformers,
          parameters]`, float32 or float64; for a dense displacement a field.

        Raises:
          ValueError: the layer has no weights yet.
        """
        if not self.built:
            raise ValueError("SpatialTransformer must be built or called before it has parameters")
        return self._within_bound(self._unbounded_parameters(inputs))

    def _unbounded_parameters(self, inputs: tf.Tensor) -> tf.Tensor:
        images = tf.cast(inputs, self.compute_dtype)  # As Keras does before call().
        parameters = self.regression(self.localisation(images))
        if self.parameter_scale != 1:
            start = tf.constant(self._start, parameters.dtype)
            parameters = start + self.parameter_scale * (parameters - start)
        if self.gradient_scale != 1:
            scaled = self.gradient_scale * parameters
            # Of the same value, to the bit.
            parameters = scaled - tf.stop_gradient(scaled) + tf.stop_gradient(parameters)
        if self.num_transformers:
            shape = tf.shape(parameters)
            count = [self.num_transformers, self._transformation.num_parameters]
            parameters = tf.reshape(parameters, tf.concat([shape[:-1], count], axis=0))
            axes = list(range(parameters.shape.rank))
            parameters = tf.transpose(parameters, [0, axes[-2], *axes[1:-2], axes[-1]])
        return parameters

    def _within_bound(self, parameters: tf.Tensor) -> tf.Tensor:
        if self.bound is None:
            return parameters
        start = tf.cast(self._start_like(parameters), parameters.dtype)
        bound = tf.cast(self.bound, parameters.dtype)
        return start + bound * tf.tanh((parameters - start) / bound)

    def theta(self, inputs: tf.Tensor) -> tf.Tensor:
        """Returns the matrices by which the layer transforms each of `inputs`.

        Args:
          inputs: As for the layer, which must have been built or called before.

        Returns:
          θ, `[batch, 2, 3]`, or `[batch, 3, 4]` for volumes, with an axis after the batch for
          `num_transformers`; float32 or float64.

        Raises:
          ValueError: the layer has no weights yet, or its transformation is not affine; then see
            `parameters`.
        """
        if self._transformation.kind != "affine":
            raise ValueError(
                "theta() needs an affine transformation, "
                f"received {type(self._transformation).__name__}"
            )
        inputs = tf.convert_to_tensor(inputs)
        return self._transformation.matrix(
            self.parameters(inputs),
            image_size("inputs", inputs, self._rank),
            align_corners=self.align_corners,
        )

    def warp(self, inputs: tf.Tensor) -> tf.Tensor:
        """Returns where in each of `inputs` the layer samples, for `tf_stn.resampler`.

        Args:
          inputs: As for the layer, which must have been built or called before.

        Returns:
          Points in pixels of the input, `[batch, *output_size, 2]` as (x, y), or for volumes
          `[batch, *output_size, 3]` as (x, y, z), with an axis after the batch for
          `num_transformers`; float32 or float64.

        Raises:
          ValueError: the layer has no weights yet.
        """
        inputs = tf.convert_to_tensor(inputs)
        return self._warp(self.parameters(inputs), image_size("inputs", inputs, self._rank))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        batch, *size, channels = input_shape
        size = self.output_size or size
        if not self.num_transformers:
            return (batch, *size, channels)
        if self.stack == "transformers":
            return (batch, self.num_transformers, *size, channels)
        return (batch, *size, None if channels is None else self.num_transformers * channels)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "localisation": keras.layers.serialize(self.localisation),
            "output_size": self.output_size,
            "transformation": self.transformation
            if isinstance(self.transformation, str)
            else keras.saving.serialize_keras_object(self.transformation),
            "interpolation": self.interpolation,
            "padding": self.padding,
            "align_corners": self.align_corners,
            "num_transformers": self.num_transformers,
            "stack": self.stack,
            "start": self.start,
            "bound": self.bound,
            "gradient_scale": self.gradient_scale,
            "parameter_scale": self.parameter_scale,
            "identity_penalty": self.identity_penalty,
            "outside_penalty": self.outside_penalty,
            "track_outside": self.track_outside,
            "data_format": self.data_format,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "SpatialTransformer":
        config = dict(config)
        localisation = keras.layers.deserialize(config.pop("localisation"))
        if isinstance(config.get("transformation"), dict):
            # Named for HDF5 files of Keras 2, where they are not found by what they register as.
            config["transformation"] = keras.saving.deserialize_keras_object(
                config["transformation"],
                custom_objects={each.__name__: each for each in TRANSFORMATIONS},
            )
        return cls(localisation, **config)
