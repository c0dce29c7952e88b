"""The spatial transformer as a Keras layer."""

from typing import Any

import keras
import tensorflow as tf

from tf_stn import transformations
from tf_stn.affine_resampler import affine_resampler, image_size
from tf_stn.grids import check_size
from tf_stn.resampler import check_modes, coordinate_type


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
      localisation: A layer or model from `[batch, height, width, channels]` to
        `[batch, features]`.
      output_size: `(height, width)` of the output. None (default): those of the input.
      transformation: What the predicted parameters mean. `"affine"` (default): the six entries
        of θ.
      interpolation: As in `tf_stn.resampler`; default `"linear"`.
      padding: As in `tf_stn.resampler`; default `"zeros"`.
      align_corners: As in `tf_stn.affine_grid`; default True.
      **kwargs: As in `keras.layers.Layer`: `name`, `dtype`, `trainable`.

    Input shape:
      `[batch, height, width, channels]`, floating point. What `localisation` does not need to
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
        transformation: str = "affine",
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
        self.output_size = None if output_size is None else check_size("output_size", output_size)
        self.transformation = transformation
        self.interpolation = interpolation
        self.padding = padding
        self.align_corners = align_corners
        self.supports_jit = False  # There is no XLA kernel.

        self._transformation = transformations.get(transformation)
        self.regression = keras.layers.Dense(
            self._transformation.num_parameters,
            kernel_initializer="zeros",
            bias_initializer=keras.initializers.Constant(self._transformation.identity_parameters),
            dtype=coordinate_type(tf.as_dtype(self.compute_dtype)).name,
            name="theta",
        )

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        if len(input_shape) != 4:
            raise ValueError(
                "`inputs` must have shape [batch, height, width, channels], "
                f"received {tuple(input_shape)}"
            )
        # A symbolic call builds any kind of layer or model, and says what comes out.
        images = keras.Input(batch_shape=tuple(input_shape), dtype=self.compute_dtype)
        features = self.localisation(images)
        shape = tuple(getattr(features, "shape", ()))
        if len(shape) != 2 or shape[1] is None:
            raise ValueError(
                "`localisation` must return features of shape [batch, features], with a known "
                f"number of them, received {features}"
            )
        self.regression.build(shape)
        self.built = True

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        input_size = image_size("inputs", inputs)
        output = affine_resampler(
            inputs,
            self.theta(inputs),
            self.output_size or input_size,
            self.align_corners,
            self.interpolation,
            self.padding,
        )
        output.set_shape(self.compute_output_shape(inputs.shape))
        return output

    def theta(self, inputs: tf.Tensor) -> tf.Tensor:
        """Returns the transformation that the layer applies to each of `inputs`.

        Args:
          inputs: As for the layer, which must have been built or called before.

        Returns:
          θ, `[batch, 2, 3]`, float32 or float64.

        Raises:
          ValueError: the layer has no weights yet.
        """
        if not self.built:
            raise ValueError("SpatialTransformer must be built or called before it has a theta()")
        images = tf.cast(inputs, self.compute_dtype)  # As Keras does before call().
        return self._transformation.matrix(self.regression(self.localisation(images)))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        batch, height, width, channels = input_shape
        return (batch, *(self.output_size or (height, width)), channels)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "localisation": keras.saving.serialize_keras_object(self.localisation),
            "output_size": self.output_size,
            "transformation": self.transformation,
            "interpolation": self.interpolation,
            "padding": self.padding,
            "align_corners": self.align_corners,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "SpatialTransformer":
        config = dict(config)
        localisation = keras.saving.deserialize_keras_object(config.pop("localisation"))
        return cls(localisation, **config)
