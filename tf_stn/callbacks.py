"""What Keras calls while it trains: pictures of a spatial transformer at work, for TensorBoard."""

import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from tf_stn._inspection import find_layer, inputs_of
from tf_stn._keras import keras
from tf_stn.layers import SpatialTransformer
from tf_stn.visualize import check_integer, draw, require_matplotlib, to_array

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


def _by_name(layer: SpatialTransformer, parameters: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Yields the values of each parameter of each transformer, over all images."""
    if not layer.num_transformers:
        parameters = parameters[:, None]
    _, transformers, *_, count = parameters.shape
    for i, k in np.ndindex(transformers, count):
        prefix = f"transformer_{i:0{len(str(transformers - 1))}}/" if layer.num_transformers else ""
        yield f"{prefix}parameter_{k:0{len(str(count - 1))}}", parameters[:, i, ..., k]


class TensorBoardPictures(keras.callbacks.Callback):
    """Shows in TensorBoard what a spatial transformer samples, and the parameters it predicts.

    >>> import tempfile
    >>> images = np.random.default_rng(0).uniform(size=[16, 8, 8, 1]).astype(np.float32)
    >>> layer = tf_stn.SpatialTransformer(keras.layers.Flatten(), name="look")
    >>> model = keras.Sequential([keras.Input([8, 8, 1]), layer])
    >>> model.compile("sgd", "mse")
    >>> folder = tempfile.mkdtemp()
    >>> pictures = tf_stn.callbacks.TensorBoardPictures(folder, images, every=5)
    >>> history = model.fit(images, images, epochs=10, verbose=0, callbacks=[pictures])

    After the first epoch, and every so many epochs after that, it writes under the layer's name
    `look/samples`, a picture as `tf_stn.visualize.draw` draws it, and for each parameter of the
    transformation a histogram over all images: `look/parameter_0` and so on, of several
    transformers `look/transformer_0/parameter_0`. Values that are not finite are left out. Steps
    are epochs, counted from 0, as those of `keras.callbacks.TensorBoard`.

    To write, neither that callback nor the package of TensorBoard is needed.

    Args:
      log_dir: Folder for the event file. That of `keras.callbacks.TensorBoard` will do.
      images: What the model takes: a batch, the same in all epochs.
      layer: Which transformer, itself or its name; default None: the only one of the model.
      every: It writes once in so many epochs; default 1.
      **options: As in `tf_stn.visualize.draw`: `lines`, `max_images`, `margin`, `value_range`,
        `layout`, `size`.

    Raises:
      ImportError: there is no Matplotlib.
      ValueError: `every` is not a positive integer, when the callback is made; there is no such
        layer in the model, or more than one, when training begins; and as `draw`.
    """

    def __init__(
        self,
        log_dir: str | os.PathLike,
        images: Any,
        layer: str | SpatialTransformer | None = None,
        every: int = 1,
        **options: Any,
    ) -> None:
        super().__init__()
        check_integer("every", every, 1)
        require_matplotlib()  # Not only after the first epoch.
        self.log_dir = os.fspath(log_dir)
        self.images = images
        self.layer = layer
        self.every = every
        self.options = options
        self._writer: Any = None  # A writer of summaries, from the first epoch on.

    def set_model(self, model: keras.Model) -> None:
        super().set_model(model)
        find_layer(model, self.layer)  # An error now is better than after the first epoch.

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        if epoch % self.every:
            return
        layer = find_layer(self.model, self.layer)
        inputs = inputs_of(self.model, layer, self.images)
        picture = to_array(draw(layer, inputs, **self.options))
        parameters = layer.parameters(inputs).numpy()
        if self._writer is None:
            self._writer = tf.summary.create_file_writer(self.log_dir)
        # Whatever other callbacks say of which steps are recorded.
        with self._writer.as_default(), tf.summary.record_if(True):
            _write_image(f"{layer.name}/samples", picture, epoch)
            for name, values in _by_name(layer, parameters):
                _write_histogram(f"{layer.name}/{name}", values, epoch)
        self._writer.flush()

    def on_train_end(self, logs: dict | None = None) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
