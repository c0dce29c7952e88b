"""Finds a spatial transformer in a model, and what it is called with there."""

from typing import Any

import tensorflow as tf

from tf_stn._keras import keras
from tf_stn.layers import SpatialTransformer


def find_layer(
    model: keras.layers.Layer, layer: str | SpatialTransformer | None = None
) -> SpatialTransformer:
    """Returns a spatial transformer of `model`: `layer`, or the one of that name, or the only one.

    A ValueError names those that there are, if it is not one of them.
    """
    if not isinstance(model, keras.layers.Layer):
        raise ValueError(
            "`model` must be a SpatialTransformer or a model that has one, received a "
            f"{type(model).__name__}"
        )
    found = [each for each in model._flatten_layers() if isinstance(each, SpatialTransformer)]
    if not found:
        raise ValueError(f"`model` must have a SpatialTransformer, received {model.name!r}")
    names = ", ".join(repr(each.name) for each in found)
    chosen = [each for each in found if layer is None or each is layer or each.name == layer]
    if len(chosen) > 1:
        raise ValueError(f"`layer` must say which of several is meant: {names}, received {layer!r}")
    if not chosen:
        raise ValueError(f"`layer` must be one of those of `model`: {names}, received {layer!r}")
    return chosen[0]


def inputs_of(model: keras.layers.Layer, layer: SpatialTransformer, images: Any) -> tf.Tensor:
    """Returns what `layer` is called with, the first time, where `model` is called with `images`.

    It is called in earnest, so it may be of any kind; `layer` alone only looks on and returns
    zeros, so it adds no losses and updates no metrics.
    """
    seen = []
    call = layer.call

    def look_on(inputs: tf.Tensor, *arguments: Any, **named: Any) -> tf.Tensor:
        if tf.is_symbolic_tensor(inputs):  # Keras finds out the shapes in a model.
            return call(inputs, *arguments, **named)
        seen.append(inputs)
        return tf.zeros(layer.compute_output_shape(inputs.shape), layer.compute_dtype)

    layer.call = look_on
    try:
        model(images, training=False)
    finally:
        del layer.call
    if not seen:
        raise ValueError(
            f"`model` must call its layer {layer.name!r} in eager mode, but it did not; give the "
            "layer itself, and what it takes"
        )
    return seen[0]
