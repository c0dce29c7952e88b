"""Every example in a docstring and in the README runs."""

import doctest
import pathlib
import re

import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_stn

ROOT = pathlib.Path(__file__).resolve().parents[1]
PUBLIC = [getattr(tf_stn, name) for name in tf_stn.__all__]


@pytest.mark.parametrize("item", PUBLIC, ids=lambda item: item.__name__)
def test_docstring_example_runs(item):
    names = {"tf": tf, "tf_stn": tf_stn, "keras": keras}
    (test,) = doctest.DocTestFinder(recurse=False).find(item, item.__name__, globs=names)
    assert test.examples, "there is no example"
    result = doctest.DocTestRunner().run(test)
    assert result.failed == 0


@pytest.mark.parametrize("item", PUBLIC, ids=lambda item: item.__name__)
def test_docstring_has_every_section(item):
    sections = ("Args:", "Gradients:", "Raises:", "Reference:")
    assert all(f"\n    {section}" in item.__doc__ for section in sections)


def test_readme_example_runs():
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    names = {}
    exec(example, names)
    assert isinstance(names["model"], keras.Model)
    assert np.all(np.isfinite(names["model"](tf.zeros([1, 42, 42, 1]))))


def test_files_named_in_the_readme_exist():
    readme = (ROOT / "README.md").read_text()
    links = re.findall(r"\]\((?!https?:)([^)#]+)", readme)
    paths = re.findall(r"^\| `([^`]+)`", readme, re.MULTILINE)
    assert links
    assert paths
    for path in (*links, *paths):
        assert (ROOT / path).exists(), path
