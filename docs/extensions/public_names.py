"""Fails the build of the site where the reference lacks a public name.

Each public module has a page `reference/<module>.rst` that lists its names in tables, by purpose,
and describes them. A name must be in both.
"""

import pathlib
import re
import sys
import types
from typing import Any

from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging

import tf_stn

_logger = logging.getLogger(__name__)


def public_names() -> dict[str, list[str]]:
    """Returns the public names of the package and of its public modules, by module."""
    names = [name for name in dir(tf_stn) if not name.startswith("__")]
    modules = {
        name: getattr(tf_stn, name)
        for name in names
        if isinstance(getattr(tf_stn, name), types.ModuleType)
    }
    own = [name for name in names if name not in modules]
    return {"tf_stn": own} | {f"tf_stn.{name}": m.__all__ for name, m in modules.items()}


def _check(app: Sphinx, env: BuildEnvironment) -> None:
    objects = env.get_domain("py").objects  # type: ignore[attr-defined]
    for module, names in public_names().items():
        page = pathlib.Path(app.srcdir, "reference", f"{module}.rst")
        if not page.exists():
            _logger.warning("public module %s has no page in the reference: %s", module, page)
            continue
        listed = re.findall(r"^ +~?([\w.]+)$", page.read_text(), re.MULTILINE)
        for name in names:
            # SpatialTransformer, for one, is in tf_stn.layers, too.
            is_at_the_top = getattr(tf_stn, name, None) is getattr(sys.modules[module], name)
            if f"{module if not is_at_the_top else 'tf_stn'}.{name}" not in objects:
                _logger.warning("the reference does not describe %s.%s", module, name)
            if name not in (entry.rsplit(".", 1)[-1] for entry in listed):
                _logger.warning("no table of %s lists %s", page.name, name)


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.connect("env-check-consistency", _check)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
