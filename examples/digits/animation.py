"""A moving picture of a transformer that learns where to look."""

import pathlib
from collections.abc import Iterator
from typing import NamedTuple

import keras
import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import PIL.Image
import tensorflow as tf

from tf_stn import visualize

FRAMES = 60
MILLISECONDS, LAST_MILLISECONDS = 120, 4000  # How long a frame is shown, and the last one.
DPI = 80


class Frame(NamedTuple):
    """What a network makes of the images that are drawn, after some steps of training."""

    step: int
    error: float  # Percent of all images.
    outlines: np.ndarray  # `[images, points, 2]`, of what is sampled.
    outputs: np.ndarray
    classes: np.ndarray


class Watch(keras.callbacks.Callback):
    """Looks at a network with a transformer while it learns, most often in the beginning.

    Args:
      images: Images to test with.
      labels: Their classes, of each of which the first is drawn.
    """

    def __init__(self, images: tf.Tensor, labels: np.ndarray) -> None:
        super().__init__()
        self.images, self.labels = images, labels
        self.drawn = [int(np.argmax(labels == label)) for label in range(10)]
        self.step, self.when = 0, set[int]()
        self.frames: list[Frame] = []

    def on_train_begin(self, logs: dict | None = None) -> None:
        steps = self.params["epochs"] * self.params["steps"]
        self.when = set(np.geomspace(min(8, steps), steps, FRAMES).round().astype(int).tolist())
        self.look()

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        self.step += 1
        if self.step in self.when:
            self.look()

    def look(self) -> None:
        """Adds a frame."""
        layer = self.model.get_layer("transformer")
        drawn = tf.gather(self.images, self.drawn)
        classes = np.argmax(self.model(self.images), axis=-1)
        error = 100 * float(np.mean(classes != self.labels))
        outlines, outputs = visualize.outline(layer.warp(drawn)), layer(drawn).numpy()
        self.frames.append(Frame(self.step, error, outlines, outputs, classes[self.drawn]))

    def save(self, path: pathlib.Path) -> None:
        """Writes the frames as a GIF, which pauses at the last one and starts again."""
        drawn = tf.gather(self.images, self.drawn).numpy()
        pictures = _pictures(self.frames, drawn, self.labels[self.drawn])
        colours, dither = _palette(), PIL.Image.Dither.NONE
        first, *others = [each.quantize(palette=colours, dither=dither) for each in pictures]
        durations = [MILLISECONDS] * len(others) + [LAST_MILLISECONDS]
        first.save(path, save_all=True, append_images=others, duration=durations, loop=0)


def _palette() -> PIL.Image.Image:
    """Returns the colours of all frames: greys, orange on black and on white, and red on white."""
    black, white, orange, red = np.array([[0] * 3, [255] * 3, [255, 165, 0], [255, 0, 0]])
    blends = [(black, white, 32), (black, orange, 12), (orange, white, 12), (red, white, 8)]
    colours = np.concatenate([np.linspace(*blend).round().astype(np.uint8) for blend in blends])
    palette = PIL.Image.new("P", (1, 1))
    palette.putpalette(colours.ravel().tolist())
    return palette


def _pictures(
    frames: list[Frame], images: np.ndarray, labels: np.ndarray
) -> Iterator[PIL.Image.Image]:
    """Draws each frame: the same figure with other numbers, which is quicker than a new one."""
    figure, panels = plt.subplots(2, len(images), figsize=(10, 2.7), layout="constrained", dpi=DPI)
    for axes in panels.flat:
        axes.set(xticks=[], yticks=[])
    height, width = images.shape[1:3]
    lines, outputs = [], []
    for above, below, image, output in zip(*panels, images, frames[0].outputs):
        above.imshow(image[..., 0], cmap="gray")
        above.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
        lines += above.plot([], [], color="orange", linewidth=1.5)
        outputs.append(below.imshow(output[..., 0], cmap="gray", vmin=0, vmax=1))
        below.set_xlabel("0", fontsize=12)
    panels[0, 0].set_ylabel("input and\nwhat is sampled", fontsize=8)
    panels[1, 0].set_ylabel("output and\npredicted class", fontsize=8)
    title = figure.suptitle(" ", x=0.01, ha="left", fontsize=10)
    for number, frame in enumerate(frames):
        title.set_text(f"after {frame.step:,} steps: {frame.error:.0f} % of the test digits wrong")
        for line, outline in zip(lines, frame.outlines):
            line.set_data(*outline.T)
        for image, output in zip(outputs, frame.outputs):
            image.set_data(output[..., 0])
        for axes, label, predicted in zip(panels[1], labels, frame.classes):
            colour = "black" if label == predicted else "red"
            axes.xaxis.label.set(text=str(predicted), color=colour)
        figure.canvas.draw()
        if number == 0:
            figure.set_layout_engine("none")  # Stays as it is.
        yield PIL.Image.fromarray(np.asarray(figure.canvas.buffer_rgba())[..., :3])
    plt.close(figure)
