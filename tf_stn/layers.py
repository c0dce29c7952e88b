"""The spatial transformer as a Keras layer."""

from typing import Any

import keras
import tensorflow as tf

from tf_stn import transformations
from tf_stn.affine_resampler import affine_resampler, image_size
from tf_stn.grids import check_size
from tf_stn.resampler import check_modes, coordinate_type, resampler

for _transformation in transformations.CLASSES:
    keras.saving.register_keras_serializable(package="tf_stn")(_transformation)


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
      **kwargs: As in `keras.layers.Layer`: `name`, `dtype`, `trainable`.

    Input shape:
      `[batch, height, width, channels]`, or volumes `[batch, depth, height, width, channels]` for
      a transformation of rank 3; floating point. What `localisation` does not need to
      know may be unknown: with global pooling in it, all but the channels.

    Output shape:
      `[batch, *output_size, channels]`, of the layer's compute dtype.

    Gradients:
      To the images, both through the sampler and through `localisation`; to the weights of
      `localisation` and of the dense layer.

    Raises:
      ValueError: an unknown mode or transformation or a wrong size when the layer is made; an
        input or features of the wrong rank when it is built.
      RuntimeError: Keras runs on another backend than TensorFlow.

    Reference:
      Jaderberg et al., Spatial Transformer Networks, 2015, https://arxiv.org/abs/1506.02025
    """

    def __init__(
        self,
        localisation: keras.layers.Layer,
        output_size: tuple[int, int] | None = None,
        transformation: str | transformations.Transformation = "affine",
        interpolation: str = "linear",
        padding: str = "zeros",
        align_corners: bool = True,
        **kwargs: Any,
    ) -> None:
        if keras.backend.backend() != "tensorflow":
            raise RuntimeError(
                "SpatialTransformer needs Keras on the TensorFlow backend, "
                f"received {keras.backend.backend()!r}. Set KERAS_BACKEND=tensorflow."
            )
        super().__init__(**kwargs)
        if not isinstance(localisation, keras.layers.Layer):
            raise ValueError(
                f"`localisation` must be a Keras layer or model, received {localisation!r}"
            )
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

        identity = [float(value) for value in self._transformation.identity_parameters]
        self.regression = keras.layers.Dense(
            len(identity),
            kernel_initializer="zeros",
            bias_initializer=keras.initializers.Constant(identity),
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
        images = keras.Input(batch_shape=tuple(input_shape), dtype=self.compute_dtype)
        features = self.localisation(images)
        shape = tuple(getattr(features, "shape", ()))
        is_field = self._transformation.is_field
        if len(shape) != (self._rank + 2 if is_field else 2) or shape[-1] is None:
            expected = f"[batch, {sides}, features]" if is_field else "[batch, features]"
            raise ValueError(
                f"`localisation` must return features of shape {expected}, with a known "
                f"number of them, received {features}"
            )
        self.regression.build(shape)
        self.built = True

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        input_size = image_size("inputs", inputs, self._rank)
        output_size = self.output_size or input_size
        parameters = self.parameters(inputs)
        modes = {"interpolation": self.interpolation, "padding": self.padding}
        if isinstance(self._transformation, transformations.AffineTransformation):
            matrix = self._transformation.matrix(parameters)
            output = affine_resampler(inputs, matrix, output_size, self.align_corners, **modes)
        else:
            warp = self._transformation.warp(
                parameters, output_size, input_size, self.align_corners
            )
            output = resampler(inputs, warp, **modes)
        return tf.ensure_shape(output, self.compute_output_shape(inputs.shape))

    def parameters(self, inputs: tf.Tensor) -> tf.Tensor:
        """Returns the parameters of the transformation that the layer applies to each input.

        Args:
          inputs: As for the layer, which must have been built or called before.

        Returns:
          `[batch, parameters]`, float32 or float64; for a dense displacement a field.

        Raises:
          ValueError: the layer has no weights yet.
        """
        if not self.built:
            raise ValueError("SpatialTransformer must be built or called before it has parameters")
        images = tf.cast(inputs, self.compute_dtype)  # As Keras does before call().
        return self.regression(self.localisation(images))

    def theta(self, inputs: tf.Tensor) -> tf.Tensor:
        """Returns the matrices by which the layer transforms each of `inputs`.

        Args:
          inputs: As for the layer, which must have been built or called before.

        Returns:
          θ, `[batch, 2, 3]`, or `[batch, 3, 4]` for volumes; float32 or float64.

        Raises:
          ValueError: the layer has no weights yet, or its transformation is not affine; then see
            `parameters`.
        """
        if not isinstance(self._transformation, transformations.AffineTransformation):
            raise ValueError(
                "theta() needs an affine transformation, "
                f"received {type(self._transformation).__name__}"
            )
        return self._transformation.matrix(self.parameters(inputs))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        batch, *size, channels = input_shape
        return (batch, *(self.output_size or size), channels)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "localisation": keras.saving.serialize_keras_object(self.localisation),
            "output_size": self.output_size,
            "transformation": self.transformation
            if isinstance(self.transformation, str)
            else keras.saving.serialize_keras_object(self.transformation),
            "interpolation": self.interpolation,
            "padding": self.padding,
            "align_corners": self.align_corners,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "SpatialTransformer":
        config = dict(config)
        localisation = keras.saving.deserialize_keras_object(config.pop("localisation"))
        if isinstance(config.get("transformation"), dict):
            config["transformation"] = keras.saving.deserialize_keras_object(
                config["transformation"]
            )
        return cls(localisation, **config)
