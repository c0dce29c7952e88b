"""The example of an input pipeline, on a budget of seconds."""

import importlib.util
import pathlib
import re
import shutil
import sys

import numpy as np
import pytest
import tensorflow as tf
from repository import ROOT

pytest.importorskip("skimage", reason="scikit-image, which ships the photos, is an extra")

SEED = tf.constant([1, 2], tf.int64)


@pytest.fixture(scope="module")
def example():
    path = ROOT / "examples/augmentation.py"
    spec = importlib.util.spec_from_file_location("augmentation", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # Where its dataclasses look for their types.
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.fixture(scope="module")
def photos(example):
    return example.load_photos(16, 24)


def take(data, count=6):
    return np.stack([batch.numpy() for batch in data.take(count)])


@pytest.mark.parametrize("pipeline, function", [("batches_then_map", "augment"),
                                                ("map_then_batches", "augment_one")])  # fmt: skip
def test_parallel_map_gives_the_same_images_and_the_seed_decides_which(
    example, photos, pipeline, function
):
    def images(parallel_calls, seed):
        make = getattr(example, pipeline)
        return take(make(photos, getattr(example, function), 4, parallel_calls, seed))

    sequential = images(None, seed=3)
    assert sequential.shape == (6, 4, 24, 24, 3)
    for parallel_calls in (2, tf.data.AUTOTUNE):
        np.testing.assert_array_equal(images(parallel_calls, seed=3), sequential)
    assert not np.array_equal(images(None, seed=4), sequential)


def test_every_batch_and_epoch_has_transformations_of_its_own(example, photos):
    same = np.repeat(photos[:1], 4, axis=0)
    data = example.batches_then_map(same, example.augment, 4, 2, seed=0)
    images = take(data, 3).reshape(12, -1)
    assert len(np.unique(images, axis=0)) == 12
    assert not np.array_equal(take(data, 3).reshape(12, -1), images)


def test_transformations_keep_to_what_is_allowed(example):
    images = tf.zeros([2000, 8, 8, 1])
    theta = example.random_affine(images, SEED).numpy()
    np.testing.assert_array_equal(example.random_affine(images, SEED), theta)
    scale = np.sqrt(np.abs(np.linalg.det(theta[:, :, :2])))
    assert 0.8 <= scale.min() < 0.81
    assert 1.19 < scale.max() <= 1.2
    angle = np.degrees(np.arctan2(theta[:, 1, 1], theta[:, 0, 1])) - 90
    assert 14.5 < np.abs(angle).max() <= 15.0001
    assert 0.09 < np.abs(theta[:, :, 2]).max() <= 0.1
    mirrored = np.linalg.det(theta[:, :, :2]) < 0
    assert 0.45 < mirrored.mean() < 0.55


def test_op_of_tensorflow_gives_the_same_images(example, photos):
    ours = example.augment(photos, SEED)
    theirs = example.augment_by_projection(tf.constant(photos), SEED)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4)


def test_photos_are_different_crops_in_colour(example):
    photos = example.load_photos(8, 24)
    assert photos.shape == (8, 24, 24, 3)
    assert photos.dtype == np.uint8
    assert len(np.unique(photos.reshape(8, -1), axis=0)) == 8
    assert photos.std() > 30


def test_command_prints_a_table_and_writes_it_into_the_page(example, capsys, tmp_path):
    page = shutil.copy(ROOT / "docs/how_to/input_pipelines.md", tmp_path)
    options = ["--sizes", "8", "--batch", "4", "--rounds", "1", "--seconds", "0.01"]
    example.main([*options, "--page", str(page)])
    printed = capsys.readouterr().out
    assert "**8×8 pixels**" in printed
    for way in example.all_ways():
        row = rf"^\| {re.escape(way.name)} \|( [\d,]+ \(\d+\.\d\dx\) \|){{3}} [\d,]+ \|$"
        assert len(re.findall(row, printed, re.MULTILINE)) == 1
    assert "(1.00x)" in printed
    written = pathlib.Path(page).read_text()
    assert f"<!-- throughput -->\n{printed}<!-- end -->\n" in written
    assert written.startswith("# Input pipelines")


@pytest.mark.parametrize(
    "options, message",
    [
        (["--rounds", "0"], "--rounds must be at least 1, received 0"),
        (["--sizes", "32", "301"], "--sizes must be from 1 to 300, received [32, 301]"),
    ],
)
def test_wrong_options_are_refused(example, capsys, options, message):
    with pytest.raises(SystemExit):
        example.main(options)
    assert message in capsys.readouterr().err
