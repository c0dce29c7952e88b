"""The example of a page: its figures and its picture."""

import matplotlib.image
import numpy as np
import page
import pytest
import tensorflow as tf
from repository import ROOT


@pytest.fixture(autouse=True)
def _always_on_cpu(on_cpu):
    """What the page states was computed there."""


def test_spline_straightens_what_a_homography_leaves_curved(tmp_path):
    path = tmp_path / "page.png"
    figures = page.main(["--output", str(path)])
    assert figures["photo"] == pytest.approx(2.2, abs=0.1)
    assert figures["homography"] > 2
    assert figures["spline"] < 0.5
    stated = "less than 0.5 pixels from a straight line, and was 2.2"
    assert stated in page.__doc__.replace("\n", " ")
    written, kept = (
        matplotlib.image.imread(each) for each in (path, ROOT / "docs/pictures/page.png")
    )
    assert written.shape == kept.shape
    assert np.abs(written - kept).mean() < 0.02  # Fonts and colours in the file may differ.
    assert (ROOT / "docs/pictures/page.png").stat().st_size < 250_000


def test_homography_takes_the_corners_of_the_text_to_the_clicks():
    photo = page.load_page()
    first, last = page.LINES[page.FIRST], page.LINES[page.LAST]
    belong = [page.straight(line)[i] for line in (first, last) for i in (0, -1)]
    found = page.PROJECTIVE.map_points(
        page.homography(photo), page.normalise(belong, page.output_size(photo))
    )
    clicks = page.normalise([line[i] for line in (first, last) for i in (0, -1)], photo.shape[1:3])
    np.testing.assert_allclose(found, clicks, atol=1e-5)


def test_rule_is_found_where_it_is():
    x, y = np.meshgrid(np.arange(384), np.arange(191))
    height = 154 + 3 * np.cos(x / 100)
    photo = 1 - 0.5 * np.exp(-((y - height) ** 2))
    found = page.find_rule(tf.constant(photo[None, ..., None], tf.float32))
    np.testing.assert_allclose(found[:, 1], 154 + 3 * np.cos(found[:, 0] / 100), atol=0.1)


def test_bend_is_zero_of_a_straight_line_alone():
    x = np.arange(10.0)
    assert page.bend(np.stack([x, 3 * x + 1], axis=-1)) == pytest.approx(0, abs=1e-12)
    assert page.bend(np.stack([x, (-1.0) ** x], axis=-1)) > 0.9
