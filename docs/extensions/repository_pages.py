"""Shows files of the repository as pages of the site.

A page that is nothing but a link to a Markdown file outside of `docs` shows that file, with its
links as they are meant there. Links of other pages to that file lead to the page.
"""

import os
import pathlib
import re
from typing import Any

from sphinx.application import Sphinx

_LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)(#[^)\s]*)?\)")
_WHOLE_PAGE = re.compile(r"\s*\[[^\]]+\]\(((?:\.\./)+[^)#]+\.md)\)\s*")


def _shown_file(page: pathlib.Path) -> pathlib.Path | None:
    """Returns the file that a page shows, if it shows one."""
    match = _WHOLE_PAGE.fullmatch(page.read_text())
    return (page.parent / match[1]).resolve() if match else None


def _pages(docs: pathlib.Path) -> dict[pathlib.Path, pathlib.Path]:
    """Returns the pages that show a file, by file."""
    files = {page: _shown_file(page) for page in docs.rglob("*.md")}
    return {file: page for page, file in files.items() if file}


def _read(app: Sphinx, name: str, source: list[str]) -> None:
    docs = pathlib.Path(app.srcdir).resolve()
    page = docs / app.env.doc2path(name, base=False)
    if page.suffix != ".md":
        return
    pages = _pages(docs)
    file = _shown_file(page)
    if file:
        app.env.note_dependency(str(file))
    origin = file or page

    def link(match: re.Match) -> str:
        target = (origin.parent / match[1]).resolve()
        path = os.path.relpath(pages.get(target, target), page.parent)
        return f"]({path}{match[2] or ''})"

    source[0] = _LINK.sub(link, file.read_text() if file else source[0])


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.connect("source-read", _read)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
