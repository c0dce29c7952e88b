"""What Keras calls while it trains: pictures of what a model samples, for TensorBoard."""

import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from tf_stn._keras import keras
from tf_stn._numbers import check_integer
from tf_stn._observing import Samples, samples_of
from tf_stn.visualize import draw_samples, require_matplotlib, to_array

__all__ = ["TensorBoardPictures"]

_BUCKETS = 30  # As in tf.summary.histogram.


# tf.summary.image and tf.summary.histogram are in the package of TensorBoard, which TensorFlow no
# longer comes with. These write the same.
def _write(tag: str, value: Any, step: int, plugin: str) -> None:
    metadata = tf.compat.v1.SummaryMetadata()
    metadata.plugin_data.plugin_name = plugin
    tf.summary.write(tag, value, step, metadata)


def _write_image(tag: str, picture: np.ndarray, step: int) -> None:
    height, width, _ = picture.shape
    _write(tag, [str(width), str(height), tf.io.encode_png(picture)], step, "images")


def _write_histogram(tag: str, values: np.ndarray, step: int) -> None:
    """Writes how many of the finite values lie in each of as many buckets: [low, high, number]."""
    values = values[np.isfinite(values)].astype(np.float64)
    low, high = (values.min(), values.max()) if len(values) else (0.0, 0.0)
    edges = np.linspace(low, high, _BUCKETS + 1)
    counts = np.zeros(_BUCKETS)
    if low < high:
        counts, _ = np.histogram(values, edges)
    else:
        counts[-1] = len(values)
    _write(tag, np.stack([edges[:-1], edges[1:], counts], axis=1), step, "histograms")


def _by_name(samples: Samples) -> Iterator[tuple[str, np.ndarray]]:
    """Yields the values of each parameter of each transformation, over all images."""
    if samples.parameters is None:
        return
    parameters = np.asarray(samples.parameters)
    are_several = samples.output.shape.rank > samples.data.shape.rank
    if not are_several:
        parameters = parameters[:, None]
    _, transformations, *_, count = parameters.shape
    for i, k in np.ndindex(transformations, count):
        prefix = f"transformation_{i:0{len(str(transformations - 1))}}/" if are_several else ""
        yield f"{prefix}parameter_{k:0{len(str(count - 1))}}", parameters[:, i, ..., k]


class TensorBoardPictures(keras.callbacks.Callback):
    """Shows in TensorBoard what a model samples, and the parameters of its transformation.

    >>> import tempfile
    >>> images = np.random.default_rng(0).uniform(size=[16, 8, 8, 1]).astype(np.float32)
    >>> layer = tf_stn.SpatialTransformer(keras.layers.Flatten(), name="look")
    >>> model = keras.Sequential([keras.Input([8, 8, 1]), layer])
    >>> model.compile("sgd", "mse")
    >>> folder = tempfile.mkdtemp()
    >>> pictures = tf_stn.callbacks.TensorBoardPictures(folder, images, every=5)
    >>> history = model.fit(images, images, epochs=10, verbose=0, callbacks=[pictures])

    After the first epoch, and every so many epochs after that, it writes under the layer's name
    `look/samples`, a picture as `tf_stn.visualize.draw` draws it, and for each parameter of its
    transformation, if it has one, a histogram over all images: `look/parameter_0` and so on, of
    several transformations `look/transformation_0/parameter_0`. Values that are not finite are left
    out. Steps are epochs, counted from 0, as those of `keras.callbacks.TensorBoard`.

    To write, neither that callback nor the package of TensorBoard is needed.

    Args:
      log_dir: Folder for the event file. That of `keras.callbacks.TensorBoard` will do.
      images: What the model takes: a batch, the same in all epochs.
      layer: Which layer of `tf_stn.layers`, itself or its name, or the name of a function; default
        None: the only one that samples.
      every: It writes once in so many epochs; default 1.
      **options: As in `tf_stn.visualize.draw`: `lines`, `max_images`, `margin`, `value_range`,
        `layout`, `size`.

    Raises:
      ImportError: there is no Matplotlib.
      ValueError: `every` is not a positive integer, when the callback is made; the model does not
        sample images, or in more than one place, when training begins; and as `draw`.
    """

    def __init__(
        self,
        log_dir: str | os.PathLike,
        images: Any,
        *,
        layer: str | keras.layers.Layer | None = None,
        every: int = 1,
        **options: Any,
    ) -> None:
        super().__init__()
        self.every = check_integer("every", every, 1)
        require_matplotlib()  # Not only after the first epoch.
        self.log_dir = os.fspath(log_dir)
        self.images = images
        self.layer = layer
        self.options = options
        self._writer: Any = None  # A writer of summaries, from the first epoch on.

    def set_model(self, model: keras.Model) -> None:
        super().set_model(model)
        samples_of(model, self.images, self.layer)  # Better now than after the first epoch.

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        if epoch % self.every:
            return
        samples = samples_of(self.model, self.images, self.layer)
        picture = to_array(draw_samples(samples, **self.options))
        if self._writer is None:
            self._writer = tf.summary.create_file_writer(self.log_dir)
        # Whatever other callbacks say of which steps are recorded.
        with self._writer.as_default(), tf.summary.record_if(True):
            _write_image(f"{samples.name}/samples", picture, epoch)
            for name, values in _by_name(samples):
                _write_histogram(f"{samples.name}/{name}", values, epoch)
        self._writer.flush()

    def on_train_end(self, logs: dict | None = None) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
