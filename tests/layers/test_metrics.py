"""The metric of points that have left their image."""

import numpy as np
import pytest
import tensorflow as tf

import tf_stn
from tf_stn._keras import keras
from tf_stn.metrics import FractionOutside, fraction_outside


def test_points_beyond_the_outermost_centres_are_outside():
    warp = [[[0.0, 0.0], [2.0, 1.0], [2.1, 1.0], [1.0, -0.1], [np.nan, 0.0]]]
    np.testing.assert_allclose(fraction_outside(warp, (2, 3)), [3 / 5])


def test_depth_counts_in_volumes():
    warp = [[[0.0, 0.0, 1.1]], [[2.0, 1.0, 1.0]]]
    np.testing.assert_array_equal(fraction_outside(warp, (2, 2, 3)), [1, 0])


def test_a_thousandth_of_a_pixel_counts():
    assert fraction_outside([[[127.001, 0.0]]], (1, 128)) == 1


@pytest.mark.parametrize("align_corners", [True, False])
def test_no_identity_is_outside(align_corners):
    """In float32 the last point of an identity may be beyond the last pixel, by rounding."""
    theta = tf.constant([[1.0, 0, 0, 0, 1, 0]])
    beyond = 0
    for old in range(2, 257, 18):
        for new in range(2, 257, 18):
            # Without align_corners only a smaller output stays between the outermost centres.
            if not align_corners and new > old:
                continue
            warp = tf_stn.affine_grid(theta, (1, new), (1, old), align_corners=align_corners)
            assert fraction_outside(warp, (1, old)) == 0, (old, new)
            beyond += bool(tf.reduce_max(warp) > old - 1)
    assert beyond or not align_corners, "there is no rounding to tolerate"


def test_sizes_may_be_unknown_until_a_graph_runs():
    @tf.function(input_signature=[tf.TensorSpec([None, None, 2]), tf.TensorSpec([2], tf.int32)])
    def later(warp, size):
        return fraction_outside(warp, size)

    np.testing.assert_array_equal(later([[[2.0, 1.0]], [[3.0, 1.0]]], [2, 3]), [0, 1])


def test_metric_is_the_mean_over_images_of_any_batches():
    metric = FractionOutside()
    metric.update_state([[[0.0, 0.0]], [[9.0, 0.0]], [[9.0, 0.0]]], (2, 3))
    metric.update_state([[[0.0, 0.0]]], (2, 3))
    assert metric.name == "fraction_outside"
    assert float(metric.result()) == 0.5
    metric.reset_state()
    metric.update_state([[[0.0, 0.0]], [[9.0, 0.0]]], (2, 3), sample_weight=[1.0, 3.0])
    assert float(metric.result()) == 0.75


def test_metric_is_saved_by_its_config():
    metric = FractionOutside(name="lost")
    again = keras.metrics.deserialize(keras.metrics.serialize(metric))
    assert type(again) is FractionOutside
    assert again.get_config() == metric.get_config()


@pytest.mark.parametrize(
    "warp, size, message",
    [
        (None, (2, 3), "`warp` must be a tensor or an array of numbers"),
        ([0.0, 0.0], (2, 3), r"`warp` must have shape \[batch, ..., 2\] .*received \[2\]"),
        ([[[0.0] * 4]], (2, 3), r"`warp` must have shape .*received \[1, 1, 4\]"),
        ([[[0.0, 0.0]]], (2, 3, 4), "`input_size` must be two positive integers"),
        ([[[0.0, 0.0]]], (0, 3), "`input_size` must be two positive integers"),
    ],
    ids=["nothing", "no batch", "four coordinates", "size of a volume", "size of zero"],
)
def test_wrong_arguments_are_refused_by_name(warp, size, message):
    for call in (fraction_outside, FractionOutside().update_state):
        with pytest.raises((TypeError, ValueError), match=message):
            call(warp, size)
