"""Pictures and histograms for TensorBoard, read back from the event files."""

import collections
import sys

import numpy as np
import pytest
import tensorflow as tf

from tf_stn import SpatialTransformer, visualize
from tf_stn._keras import keras
from tf_stn.callbacks import TensorBoardPictures, _write_histogram, _write_image
from tf_stn.layers import Resampler, Transform
from tf_stn.metrics import FractionOutside
from tf_stn.regularizers import Outside
from tf_stn.transformations import Affine, Attention, DenseDisplacement, ThinPlateSpline, Tiled

IMAGES = ((np.arange(5 * 8 * 7).reshape(5, 8, 7, 1) * 37) % 100 / 100).astype(np.float32)


def localisation():
    return keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(4, activation="tanh")])


def model_with(layer, shape=IMAGES.shape[1:]):
    layers = [keras.Input(shape), layer, keras.layers.Flatten(), keras.layers.Dense(1)]
    model = keras.Sequential(layers)
    model.compile(keras.optimizers.SGD(0.1), "mse")
    return model


def train(model, *callbacks, epochs=1):
    return model.fit(
        IMAGES, np.ones([len(IMAGES), 1]), epochs=epochs, verbose=0, callbacks=list(callbacks)
    )


def write(model, callback):
    """Calls `callback` as Keras does in an epoch, without the training."""
    callback.set_model(model)
    callback.on_train_begin()
    callback.on_epoch_end(0)
    callback.on_train_end()


def written(folder):
    """Returns {tag: {step: (name of the plugin, array)}} of all event files in a folder."""
    values = collections.defaultdict(dict)
    for path in sorted(folder.glob("events.out.tfevents.*")):
        for record in tf.data.TFRecordDataset(str(path)):
            event = tf.compat.v1.Event.FromString(record.numpy())
            for value in event.summary.value:
                plugin = value.metadata.plugin_data.plugin_name
                values[value.tag][event.step] = plugin, tf.make_ndarray(value.tensor)
    return dict(values)


def picture_of(entry):
    """Returns the image of a summary, after its width and height, which are text as well."""
    plugin, (width, height, png) = entry
    assert plugin == "images"
    picture = tf.io.decode_png(png).numpy()
    assert picture.shape == (int(height), int(width), 3)
    return picture


def test_writes_after_the_first_epoch_and_then_every_so_many(tmp_path):
    model = model_with(SpatialTransformer(localisation(), name="look"))
    expected = {1: [0, 1, 2, 3, 4], 2: [0, 2, 4], 9: [0]}
    pictures = [
        TensorBoardPictures(tmp_path / str(every), IMAGES, every=every, max_images=1)
        for every in expected
    ]
    train(model, *pictures, epochs=5)
    for every, steps in expected.items():
        values = written(tmp_path / str(every))
        assert sorted(values) == [*(f"look/parameter_{k}" for k in range(6)), "look/samples"]
        assert all(list(by_step) == steps for by_step in values.values())


def test_picture_is_the_one_that_is_drawn(tmp_path):
    layer = SpatialTransformer(localisation(), output_size=(5, 5))
    model = model_with(layer)
    options = {"max_images": 3, "layout": "columns", "margin": 0.5, "size": 1.5}
    pictures = TensorBoardPictures(tmp_path, IMAGES, **options)
    before = visualize.to_array(visualize.draw(layer, IMAGES, **options))
    train(model, pictures, epochs=2)
    by_step = written(tmp_path)[f"{layer.name}/samples"]
    after = visualize.to_array(visualize.draw(layer, IMAGES, **options))
    np.testing.assert_array_equal(picture_of(by_step[1]), after)
    assert not np.array_equal(picture_of(by_step[0]), before)
    assert not np.array_equal(picture_of(by_step[0]), after)


def test_histograms_are_those_of_each_parameter_over_all_images(tmp_path):
    layer = SpatialTransformer(localisation(), name="look")
    train(model_with(layer), TensorBoardPictures(tmp_path, IMAGES, max_images=1), epochs=3)
    values = written(tmp_path)
    parameters = layer.parameters(IMAGES).numpy().astype(np.float64)
    assert np.ptp(parameters, axis=0).min() > 0
    for k in range(6):
        plugin, buckets = values[f"look/parameter_{k}"][2]
        assert plugin == "histograms"
        low, high, counts = buckets.T
        assert counts.sum() == 5
        np.testing.assert_array_equal(low[1:], high[:-1])
        assert (low[0], high[-1]) == (parameters[:, k].min(), parameters[:, k].max())
        expected, _ = np.histogram(parameters[:, k], bins=30)
        np.testing.assert_array_equal(counts, expected)


@pytest.mark.parametrize(
    "values",
    [np.linspace(-1, 2, 100) ** 3, np.full(7, 0.25), np.zeros(0), np.array([1.0])],
    ids=["spread", "equal", "none", "one"],
)
def test_summaries_are_those_of_tensorflow_with_the_package_of_tensorboard(tmp_path, values):
    picture = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)
    with tf.summary.create_file_writer(str(tmp_path / "ours")).as_default():
        _write_histogram("histogram", values, 3)
        _write_image("image", picture, 3)
    with tf.summary.create_file_writer(str(tmp_path / "theirs")).as_default():
        tf.summary.histogram("histogram", values, 3)
        tf.summary.image("image", picture[None], 3)
    ours, theirs = written(tmp_path / "ours"), written(tmp_path / "theirs")
    assert list(ours) == list(theirs) == ["histogram", "image"]
    (plugin, buckets), (their_plugin, their_buckets) = ours["histogram"][3], theirs["histogram"][3]
    assert plugin == their_plugin
    np.testing.assert_allclose(buckets, their_buckets, rtol=1e-12, atol=1e-15)
    np.testing.assert_array_equal(picture_of(ours["image"][3]), picture)
    np.testing.assert_array_equal(picture_of(theirs["image"][3]), picture)


def test_package_of_tensorboard_is_not_needed(tmp_path, monkeypatch):
    for name in ("tensorboard", "tensorboard.summary", "tensorboard.summary.v2"):
        monkeypatch.setitem(sys.modules, name, None)  # As if it were not installed.
    write(model_with(SpatialTransformer(localisation())), TensorBoardPictures(tmp_path, IMAGES))
    assert len(written(tmp_path)) == 7


def test_parameters_that_are_not_finite_are_left_out(tmp_path):
    layer = SpatialTransformer(localisation(), transformation="translation", name="look")
    model = model_with(layer)
    images = IMAGES.copy()
    images[1] = np.nan
    write(model, TensorBoardPictures(tmp_path, images))
    _, buckets = written(tmp_path)["look/parameter_0"][0]
    assert np.isfinite(buckets).all()
    assert buckets[:, 2].sum() == 4


def test_several_transformers_have_histograms_of_their_own(tmp_path):
    layer = SpatialTransformer(localisation(), Tiled(Attention(), (1, 2)), name="look")
    write(model_with(layer), TensorBoardPictures(tmp_path, IMAGES))
    values = written(tmp_path)
    parameters = layer.parameters(IMAGES).numpy().astype(np.float64)
    for i in range(2):
        for k in range(3):
            _, buckets = values[f"look/transformation_{i}/parameter_{k}"][0]
            edges = buckets[0, 0], buckets[-1, 1]
            assert edges == (parameters[:, i, k].min(), parameters[:, i, k].max())


def test_many_parameters_are_numbered_so_that_they_sort(tmp_path):
    layer = SpatialTransformer(localisation(), transformation=ThinPlateSpline((2, 3)), name="look")
    write(model_with(layer), TensorBoardPictures(tmp_path, IMAGES))
    expected = [*(f"look/parameter_{k:02}" for k in range(12)), "look/samples"]
    assert sorted(written(tmp_path)) == expected


def test_histogram_of_a_dense_displacement_is_over_all_pixels(tmp_path):
    net = keras.layers.Conv2D(3, 3, padding="same")
    layer = SpatialTransformer(net, transformation=DenseDisplacement(), name="look")
    write(model_with(layer), TensorBoardPictures(tmp_path, IMAGES))
    values = written(tmp_path)
    assert sorted(values) == ["look/parameter_0", "look/parameter_1", "look/samples"]
    assert values["look/parameter_1"][0][1][:, 2].sum() == 5 * 8 * 7


def test_volumes_have_pictures_and_histograms(tmp_path):
    volumes = IMAGES.reshape(5, 2, 4, 7, 1)
    layer = SpatialTransformer(localisation(), transformation=Affine(rank=3), name="look")
    write(model_with(layer, volumes.shape[1:]), TensorBoardPictures(tmp_path, volumes))
    assert len(written(tmp_path)) == 1 + 12


def test_what_others_say_of_recording_changes_nothing(tmp_path):
    """As `keras.callbacks.TensorBoard(update_freq=...)` does while batches are trained."""
    model = model_with(SpatialTransformer(localisation()))
    with tf.summary.record_if(False):
        write(model, TensorBoardPictures(tmp_path, IMAGES))
    assert len(written(tmp_path)) == 7


def test_stands_beside_the_callback_of_keras_in_one_folder(tmp_path):
    model = model_with(SpatialTransformer(localisation()))
    board = keras.callbacks.TensorBoard(tmp_path, write_graph=False)
    train(model, board, TensorBoardPictures(tmp_path, IMAGES))
    assert len(written(tmp_path)) == 7
    assert "epoch_loss" in written(tmp_path / "train")


def test_training_goes_as_it_does_without_the_pictures(tmp_path):
    results = []
    for callbacks in ([], [TensorBoardPictures(tmp_path, IMAGES)]):
        keras.utils.set_random_seed(1)
        transform = Transform("affine", metrics=FractionOutside(), regularizer=Outside())
        layer = SpatialTransformer(localisation(), transform)
        model = model_with(layer)
        history = train(model, *callbacks, epochs=2).history
        results.append((history, model.get_weights()))
    (plain, weights), (watched, their_weights) = results
    assert plain == watched
    for ours, theirs in zip(weights, their_weights):
        np.testing.assert_array_equal(ours, theirs)


def test_training_again_writes_another_file(tmp_path):
    model = model_with(SpatialTransformer(localisation()))
    pictures = TensorBoardPictures(tmp_path, IMAGES)
    for _ in range(2):
        write(model, pictures)
    assert len(list(tmp_path.glob("events.*"))) == 2


def test_layer_is_chosen_by_name(tmp_path):
    first, second = (SpatialTransformer(localisation(), name=name) for name in ("one", "two"))
    layers = [keras.Input(IMAGES.shape[1:]), first, second, keras.layers.Flatten()]
    model = keras.Sequential([*layers, keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    train(model, TensorBoardPictures(tmp_path, IMAGES, layer="two"))
    assert {tag.split("/")[0] for tag in written(tmp_path)} == {"two"}
    with pytest.raises(
        ValueError, match="`layer` must say which of several is meant: 'one', 'two'"
    ):
        train(model, TensorBoardPictures(tmp_path, IMAGES))


def test_layer_without_parameters_has_a_picture_alone(tmp_path):
    images = keras.Input(IMAGES.shape[1:])
    warp = keras.layers.Reshape((2, 1, 2))(keras.layers.Dense(4)(keras.layers.Flatten()(images)))
    model = keras.Model(images, Resampler(name="look")([images, warp]))
    write(model, TensorBoardPictures(tmp_path, IMAGES))
    assert list(written(tmp_path)) == ["look/samples"]


def test_model_without_a_transformer_is_an_error_before_it_is_trained(tmp_path):
    model = model_with(keras.layers.Flatten())
    before = model.get_weights()
    with pytest.raises(ValueError, match="`model` must sample its images by a layer or a function"):
        train(model, TensorBoardPictures(tmp_path, IMAGES))
    np.testing.assert_array_equal(model.get_weights()[0], before[0])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("every", [0, 1.5, None, True], ids=str)
def test_every_must_be_a_positive_integer(tmp_path, every):
    with pytest.raises(ValueError) as error:
        TensorBoardPictures(tmp_path, IMAGES, every=every)
    assert f"`every` must be an integer of at least 1, received {every}" in str(error.value)
