"""Configuration of the site, which `make docs` builds."""

import os
import pathlib
import sys

DOCS = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(DOCS / "extensions"), str(DOCS.parent)]
# The reference is read from the package. Its docstrings are the same without a compiled library.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ["TF_STN_IMPLEMENTATION"] = "portable"

import tf_stn  # noqa: E402  # After what it reads.

REPOSITORY = "https://github.com/tf-stn/tf-stn"

project = "tf-stn"
author = "The tf-stn authors"
project_copyright = author
version = release = tf_stn.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    # Ours.
    "class_descriptions",
    "links_to_reference",
    "public_names",
    "repository_pages",
]
exclude_patterns = ["requirements.txt"]

# Pages are Markdown that reads well without Sphinx, too.
myst_heading_anchors = 4
copybutton_prompt_text = r">>> |\.\.\. "
copybutton_prompt_is_regexp = True
copybutton_exclude = ".linenos, .gp, .go"

# Docstrings are of Google's style, with names and code in single backticks.
default_role = "py:obj"
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_custom_sections = [
    "Gradients",
    "XLA",
    "Reference",
    "Input shape",
    "Output shape",
    ("Call arguments", "params_style"),
]
autodoc_inherit_docstrings = False
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints = "none"  # What arguments are is said in words, with their shapes.
autosummary_generate = False
python_maximum_signature_line_length = 80
add_module_names = False
toc_object_entries_show_parents = "hide"

html_theme = "pydata_sphinx_theme"
html_title = f"tf-stn {release}"
html_baseurl = "https://tf-stn.github.io/tf-stn/"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_favicon = "static/logo.svg"
html_show_sourcelink = False
html_copy_source = False
html_context = {"default_mode": "auto"}  # Light or dark, as the browser asks.
html_theme_options = {
    "github_url": REPOSITORY,
    "logo": {"text": "tf-stn", "image_light": "static/logo.svg", "image_dark": "static/logo.svg"},
    "navbar_align": "left",
    "header_links_before_dropdown": 6,
    "navigation_with_keys": False,
    "show_prev_next": True,
    "show_toc_level": 2,
    "footer_start": ["copyright"],
    "footer_end": ["sphinx-version"],
}
