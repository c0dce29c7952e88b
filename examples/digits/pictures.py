"""What a transformer looks at, and what it makes of it."""

import pathlib
from typing import NamedTuple

import keras
import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf

import tf_stn
from tf_stn import transformations, visualize

LINES = 8  # Of the mesh of a transformation that bends, in either direction.


class Row(NamedTuple):
    """Test images of a network with a transformer, of which one of each class is drawn."""

    title: str
    model: keras.Sequential
    images: tf.Tensor
    labels: np.ndarray


def sampled_lines(layer: tf_stn.SpatialTransformer, images: tf.Tensor) -> list[np.ndarray]:
    """Returns lines through what a transformer samples, `[batch, points, 2]` each, in pixels.

    The outline, and for a transformation that bends a mesh.
    """
    warp = layer.warp(images)
    if transformations.get(layer.transformation).kind != "points":
        return [visualize.outline(warp)]
    rows, columns = visualize.mesh(warp, LINES)
    return [*np.moveaxis(rows, 1, 0), *np.moveaxis(columns, 1, 0)]


def _draw_row(above: np.ndarray, below: np.ndarray, row: Row) -> None:
    """Draws inputs, with what is sampled, and under each the output and its predicted class."""
    chosen = [int(np.argmax(row.labels == label)) for label in range(len(above))]
    images, labels = tf.gather(row.images, chosen), row.labels[chosen]
    layer = row.model.get_layer("transformer")
    predicted = np.argmax(row.model(images), axis=-1)
    height, width = images.shape[1:3]
    for axes, image in zip(above, images):
        axes.imshow(image[..., 0], cmap="gray")
        axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
    lines = sampled_lines(layer, images)
    for line in lines:
        for axes, points in zip(above, line):
            axes.plot(*points.T, color="orange", linewidth=1.5 if len(lines) == 1 else 0.7)
    for axes, output, label, prediction in zip(below, layer(images), labels, predicted):
        axes.imshow(output[..., 0], cmap="gray")
        axes.set_xlabel(prediction, color="black" if prediction == label else "red", fontsize=12)


def draw(rows: list[Row], path: pathlib.Path) -> None:
    """Saves a picture of all rows; see `_draw_row`."""
    figure, panels = plt.subplots(
        2 * len(rows), 10, figsize=(10, 2.5 * len(rows)), layout="constrained", squeeze=False
    )
    for axes in panels.flat:
        axes.set(xticks=[], yticks=[])
    for row, above, below in zip(rows, panels[::2], panels[1::2]):
        _draw_row(above, below, row)
        above[0].set_ylabel(row.title or "input and\nwhat is sampled", fontsize=8)
        below[0].set_ylabel("output and\npredicted class", fontsize=8)
    figure.savefig(path, dpi=150 if len(rows) == 1 else 100)
    plt.close(figure)
