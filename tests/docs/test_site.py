"""The site that `make docs` builds: what fails the build, and every page in a browser."""

import functools
import http.server
import os
import re
import shutil
import threading

import pytest
from repository import ROOT

SphinxTestApp = pytest.importorskip(
    "sphinx.testing.util", reason="needs Sphinx, which `make docs` installs"
).SphinxTestApp

SITE = ROOT / "build/docs/html"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
IS_REQUIRED = os.environ.get("TF_STN_REQUIRE_SITE") == "1"
WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


def skip(reason):
    """Skips a test; fails it where `make check-docs` says that nothing may be missing."""
    if IS_REQUIRED:
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="module")
def site():
    """The address of the site, served from the folder that it was built in."""
    if not (SITE / "index.html").exists():
        skip("the site has not been built: make docs")
    handler = functools.partial(QuietHandler, directory=SITE)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    """Serves files, and does not print that it does."""

    def log_message(self, *_):
        """Called for every request."""


@pytest.fixture(scope="module")
def browser():
    """A headless Chromium of the machine."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs the extra `docs`")
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        skip("there is no Chromium; on Debian: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=program)
        yield chromium
        chromium.close()


def open_page(browser):
    """Returns a page without a document, and the list that its faults are added to."""
    page, faults = browser.new_page(color_scheme="light", reduced_motion="reduce"), []

    def console(message):
        if message.type in ("error", "warning"):
            faults.append(f"{page.url}: {message.type}: {message.text}")

    def response(answer):
        if answer.status >= 400:
            faults.append(f"{page.url}: {answer.status} for {answer.url}")

    page.on("console", console)
    page.on("response", response)
    page.on("pageerror", lambda error: faults.append(f"{page.url}: {error}"))
    page.on("requestfailed", lambda request: faults.append(f"{page.url}: failed: {request.url}"))
    return page, faults


# Pictures without pixels, and what sticks out to the right without a bar to scroll it by.
WHAT_IS_WRONG = """() => {
  const blank = [...document.images].filter(image => !image.naturalWidth).map(image => image.src);
  const cut = [...document.querySelectorAll("h1, h2, h3, p, table")].filter(element => {
    let scroller = element.parentElement;
    while (scroller && getComputedStyle(scroller).overflowX !== "auto")
      scroller = scroller.parentElement;
    return element.scrollWidth > element.clientWidth + 1 && element.clientWidth &&
           getComputedStyle(element).overflowX !== "auto" && !scroller;
  }).map(element => element.textContent.slice(0, 60));
  const root = document.scrollingElement;
  return [
    ...blank.map(source => "blank picture " + source),
    ...cut.map(text => "cut off: " + text),
    ...(root.scrollWidth > innerWidth ? ["wider than the window"] : []),
  ];
}"""


def visit(page, faults, address):
    """Opens a page and looks at it on a wide and on a narrow screen."""
    page.set_viewport_size(WIDE)
    page.goto(address, wait_until="load")
    for size in (WIDE, NARROW):
        page.set_viewport_size(size)
        width = size["width"]
        faults.extend(f"{address}, {width} pixels: {it}" for it in page.evaluate(WHAT_IS_WRONG))


def test_every_page_loads_without_an_error_or_a_missing_picture(site, browser):
    page, faults = open_page(browser)
    paths = sorted(path.relative_to(SITE).as_posix() for path in SITE.rglob("*.html"))
    paths = [path for path in paths if not path.startswith("_static/")]  # Templates of the theme.
    listings = [path for path in paths if path.startswith("_modules/tf_stn/")]
    paths = [path for path in paths if path not in listings[1:]]  # Of source, and all alike.
    assert {"index.html", "tutorials/gallery.html", "reference/tf_stn.fields.html"} < set(paths)
    for path in paths:
        visit(page, faults, f"{site}/{path}")
    assert faults == []


def test_site_is_light_or_dark_as_the_browser_asks(site, browser):
    page, faults = open_page(browser)
    page.goto(f"{site}/index.html")
    brightness = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        page.wait_for_function(f"document.documentElement.dataset.theme === '{scheme}'")
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        brightness.append(sum(map(int, re.findall(r"\d+", colour)[:3])) / 3)
    assert brightness[0] > 200
    assert brightness[1] < 50
    assert faults == []


def test_faults_of_a_page_are_seen(browser, tmp_path):
    (tmp_path / "page.html").write_text(
        "<h1 style='width: 50px; white-space: nowrap'>a long heading</h1>"
        "<img src='missing.png'><script>console.error('said'); undefinedName()</script>"
    )
    page, faults = open_page(browser)
    visit(page, faults, (tmp_path / "page.html").as_uri())
    for fault in ("blank picture", "cut off: a long", "failed: ", "error: said", "undefinedName"):
        assert any(fault in found for found in faults), (fault, faults)


def test_search_finds_the_description_of_a_name(site, browser):
    page, faults = open_page(browser)
    page.goto(f"{site}/search.html?q=affine_resampler")
    first = page.locator("#search-results li a").first
    first.wait_for()
    assert first.get_attribute("href").endswith("tf_stn.html#tf_stn.affine_resampler")
    assert faults == []


def build(folder, files):
    """Builds a small site of ours; returns the exit status and the warnings.

    Args:
      folder: Where its folder `docs` is to be.
      files: The text of each file, by its path in `docs`.
    """
    source = folder / "docs"
    for name, text in {"conf.py": SMALL_SITE, **files}.items():
        path = source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    app = SphinxTestApp(srcdir=source, warningiserror=True)
    app.build()
    status, warnings = app.statuscode, app.warning.getvalue()
    app.cleanup()
    return status, warnings, app.outdir


SMALL_SITE = f"""
import sys
sys.path.insert(0, {str(ROOT / "docs/extensions")!r})
extensions = ["myst_parser", "sphinx.ext.autodoc"]
extensions += ["class_descriptions", "links_to_reference", "public_names", "repository_pages"]
"""
# It describes one name of two, and lists the other.
HALF_A_REFERENCE = """
Metrics
=======

.. py:class:: tf_stn.metrics.FractionOutside

::

    fraction_outside
"""


def test_build_fails_for_public_names_that_the_reference_lacks(tmp_path):
    toctree = "# Site\n\n```{toctree}\nreference/tf_stn.metrics\n```\n"
    files = {"index.md": toctree, "reference/tf_stn.metrics.rst": HALF_A_REFERENCE}
    status, warnings, _ = build(tmp_path, files)
    assert status == 1
    assert "public module tf_stn.fields has no page in the reference" in warnings
    assert "the reference does not describe tf_stn.metrics.fraction_outside" in warnings
    assert "no table of tf_stn.metrics.rst lists FractionOutside" in warnings
    assert "does not describe tf_stn.metrics.FractionOutside" not in warnings
    assert "lists fraction_outside" not in warnings


def test_build_fails_for_names_that_the_package_lacks_and_for_dead_links(tmp_path):
    page = "# Site\n\n`tf_stn.no_such_name(data)` and [nothing](missing.md) are not there.\n"
    status, warnings, _ = build(tmp_path, {"index.md": page})
    assert status == 1
    assert "the package has no public name tf_stn.no_such_name" in warnings
    assert "'missing.md'" in warnings


def test_page_that_is_a_link_shows_that_file_with_its_links(tmp_path):
    files = {
        "index.md": "# Site\n\n[Read me](../README.md).\n\n```{toctree}\npages/shown\n```\n",
        "pages/shown.md": "[README.md](../../README.md)\n",
        "../README.md": "# Shown\n\nOf the [site](docs/index.md).\n",
    }
    _, _, html = build(tmp_path, files)
    assert (
        'href="../index.html"><span class="std std-doc">site'
        in (html / "pages/shown.html").read_text()
    )
    assert (
        'href="pages/shown.html"><span class="std std-doc">Read me'
        in (html / "index.html").read_text()
    )


CLASSES = """
Site
====

.. autoclass:: tf_stn.layers.Resampler

.. autoclass:: tf_stn.transformations.BSpline
   :members:

.. autoclass:: tf_stn.transformations.Bounded
   :show-inheritance:

.. autoclass:: tf_stn.regularizers.Folding
   :show-inheritance:
"""


def test_classes_are_described_by_their_arguments_and_public_bases(tmp_path):
    _, _, html = build(tmp_path, {"index.rst": CLASSES})
    text = re.sub(r"<[^>]+>|\s", "", (html / "index.html").read_text())
    assert "tf_stn.layers.Resampler(*,interpolation" in text
    assert "tf_stn.transformations.BSpline(control_points" in text
    assert "Bases:TransformationKeeps" in text
    assert "Bases:RegularizerUnfolds" in text
    assert "compute_warp" not in text  # An override of what Transformation describes.
