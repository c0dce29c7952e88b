"""The networks that are compared: plain ones, and the same behind a spatial transformer."""

import keras

import tf_stn
from digits.distortions import SIDE

NETWORKS = ("FCN", "CNN", "ST-FCN", "ST-CNN")
TRANSFORMATIONS = {"affine": "affine", "projective": "projective", "TPS": "thin_plate_spline"}


def dense(units: int) -> keras.layers.Layer:
    return keras.layers.Dense(units, activation="relu")


def convolution(filters: int, size: int) -> keras.layers.Layer:
    return keras.layers.Conv2D(filters, size, activation="relu")


def fcn() -> list[keras.layers.Layer]:
    return [keras.layers.Flatten(), dense(128), dense(128), keras.layers.Dense(10)]


def cnn() -> list[keras.layers.Layer]:
    pool = keras.layers.MaxPooling2D
    layers = [convolution(16, 9), pool(), convolution(32, 5), pool()]
    return [*layers, keras.layers.Flatten(), keras.layers.Dense(10)]


CLASSIFIERS = {"FCN": fcn, "CNN": cnn}


def transformer(kind: str, transformation: str) -> tf_stn.SpatialTransformer:
    """Returns a transformer whose localisation net is of that kind of network."""
    if kind == "FCN":
        layers = [keras.layers.Flatten(), dense(64), dense(32)]
    else:
        pool = keras.layers.MaxPooling2D
        layers = [pool(), convolution(16, 5), pool(), convolution(16, 5)]
        layers += [keras.layers.Flatten(), dense(32)]
    # On a canvas that is larger than the image, it pays to look closely.
    return tf_stn.SpatialTransformer(
        keras.Sequential(layers),
        TRANSFORMATIONS[transformation],
        output_size=(SIDE, SIDE),
        name="transformer",
    )


def make(network: str, canvas: int, transformation: str | None = None) -> keras.Sequential:
    """Returns an untrained network for canvases of that side; see `NETWORKS`."""
    kind = network.removeprefix("ST-")
    images = keras.Input((canvas, canvas, 1))
    first = [] if network == kind else [transformer(kind, transformation)]
    return keras.Sequential([images, *first, *CLASSIFIERS[kind]()])
