"""Runs the examples of a page of docs."""

import doctest
import re

import migration_page
from repository import ROOT


def text_of(page):
    """Returns the text of a page of `docs` without the blocks that are for the site alone."""
    text = (ROOT / "docs" / page).read_text()
    return re.sub(r"^```\{.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)


def run_examples(page):
    """Runs a page in one session, as a reader would who starts at the top.

    Args:
      page: Path of the page in `docs`.

    Returns:
      What the examples define, by name.
    """
    text = text_of(page)
    sessions = re.findall(r"```pycon\n(.*?)```", text, re.DOTALL)
    # Those of the page on migration are run in pairs, by test_migration.py.
    pairs = migration_page.pairs() if ROOT / "docs" / page == migration_page.PAGE else []
    assert len(sessions) + 2 * len(pairs) == text.count("```") // 2, "there is code that is not run"
    names = {"__name__": __name__}  # TensorFlow looks for the module of functions that it rewrites.
    test = doctest.DocTestParser().get_doctest("\n".join(sessions), names, page, page, 0)
    assert test.examples, "there is no example"
    assert doctest.DocTestRunner().run(test, clear_globs=False).failed == 0
    return test.globs
