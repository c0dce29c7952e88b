"""Every example in a docstring, in the README and in the pages of docs runs."""

import doctest
import re
import subprocess
import sys

import keras
import matplotlib.image
import numpy as np
import pytest
import tensorflow as tf
from page_examples import run_examples, text_of
from repository import ROOT

import tf_stn
from tf_stn import transformations
from tf_stn.__main__ import OPS
from tf_stn._resampler import INTERPOLATIONS, PADDINGS

PAGES = sorted(str(path.relative_to(ROOT / "docs")) for path in ROOT.glob("docs/**/*.md"))
MODULES = (
    "callbacks",
    "fields",
    "layers",
    "matrices",
    "metrics",
    "onnx",
    "regularizers",
    "transformations",
    "visualize",
)
PUBLIC = [getattr(tf_stn, name) for name in tf_stn.__all__ if name not in MODULES]
PUBLIC += [transformations.Projective.parameters_of_corners]
PUBLIC += [
    getattr(getattr(tf_stn, module), name)
    for module in MODULES
    for name in getattr(tf_stn, module).__all__
    if name != "SpatialTransformer"  # It is at the top.
]
SAMPLING = [tf_stn.affine_grid, tf_stn.affine_resampler, tf_stn.resampler]
SAMPLING += [tf_stn.displacement_resampler, tf_stn.projective_resampler]
SAMPLING += [tf_stn.SpatialTransformer]


@pytest.mark.parametrize("item", PUBLIC, ids=lambda item: item.__name__)
def test_docstring_example_runs(item):
    names = {"tf": tf, "tf_stn": tf_stn, "keras": keras, "np": np}
    (test,) = doctest.DocTestFinder(recurse=False).find(item, item.__name__, globs=names)
    assert test.examples, "there is no example"
    result = doctest.DocTestRunner().run(test)
    assert result.failed == 0


@pytest.mark.parametrize("item", SAMPLING, ids=lambda item: item.__name__)
def test_docstring_has_every_section(item):
    sections = ("Args:", "Gradients:", "Raises:", "Reference:")
    assert all(f"\n    {section}" in item.__doc__ for section in sections)


PAGES_WITH_CODE = [page for page in PAGES if "```" in text_of(page)]


@pytest.mark.parametrize("page", [page for page in PAGES_WITH_CODE if page != "how_to/keras2.md"])
def test_examples_of_a_page_run(page):
    run_examples(page)  # That of Keras 2 in an environment of its own, in only_keras2.py.


def test_pages_name_every_mode():
    text = (ROOT / "docs/explanation/sampling.md").read_text()
    for mode in (*INTERPOLATIONS, *PADDINGS):
        assert f'| `"{mode}"`' in text


def test_picture_of_the_modes_is_drawn(tmp_path):
    script = ROOT / "examples/sampling_modes.py"
    command = [sys.executable, script, "--output", tmp_path, "--size", "24"]
    subprocess.run(command, check=True, capture_output=True)
    picture = matplotlib.image.imread(tmp_path / "sampling.png")[..., :3]
    is_orange = (np.abs(picture - [1.0, 0.65, 0.0]) < 0.1).all(axis=-1)
    assert is_orange.sum() > 15 * 100  # An outline in each of the photos.
    assert (ROOT / "docs/pictures/sampling.png").stat().st_size < 300_000


def test_pictures_of_the_transformations_are_drawn(tmp_path):
    script = ROOT / "examples/draw_transformations.py"
    subprocess.run([sys.executable, script, "--output", tmp_path], check=True, capture_output=True)
    for name in ("direction.png", "visualize.png"):
        picture, kept = (
            matplotlib.image.imread(folder / name)[..., :3]
            for folder in (tmp_path, ROOT / "docs/pictures")
        )
        assert picture.shape == kept.shape
        assert np.abs(picture - kept).mean() < 0.02  # Fonts and colours in the file may differ.
        assert (ROOT / "docs/pictures" / name).stat().st_size < 200_000


def test_readme_example_runs():
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    names = {}
    exec(example, names)
    assert isinstance(names["model"], keras.Model)
    assert np.all(np.isfinite(names["model"](tf.zeros([1, 42, 42, 1]))))


@pytest.mark.parametrize("page", ["README.md", *(f"docs/{page}" for page in PAGES)])
def test_files_that_a_page_links_to_exist(page):
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", (ROOT / page).read_text())
    assert links
    for path in links:
        assert ((ROOT / page).parent / path).exists(), path


SECTIONS = sorted(path.parent for path in ROOT.glob("docs/*/index.md"))


@pytest.mark.parametrize("section", SECTIONS, ids=lambda path: path.name)
def test_first_page_of_a_section_leads_to_all_others(section):
    pages = {path.name for path in section.iterdir() if path.suffix in (".md", ".rst")}
    links = re.findall(r"\]\(([\w.]+)\)", (section / "index.md").read_text())
    assert pages - {"index.md"} <= set(links)


def test_pages_and_scripts_name_files_of_docs_that_exist():
    readers = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.py")]
    names = [
        (reader, name)
        for reader in readers
        for name in re.findall(r"(?<!/)\bdocs/[\w/]+\.(?:md|png|json|rst|py)\b", reader.read_text())
    ]
    assert len(names) > 40
    assert [(reader, name) for reader, name in names if not (ROOT / name).exists()] == []


def test_paths_in_the_readme_exist():
    paths = re.findall(r"^\| `([^`]+)`", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert paths
    for path in paths:
        assert (ROOT / path).exists(), path


def test_what_the_package_prints_of_itself_names_every_op():
    sources = (path.read_text() for path in (ROOT / "cc/ops").glob("*.cc"))
    registered = [name for text in sources for name in re.findall(r'REGISTER_OP\("(.*?)"\)', text)]
    assert registered
    assert sorted(OPS) == sorted(registered)
