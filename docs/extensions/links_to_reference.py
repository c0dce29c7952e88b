"""Links names of the package that pages and docstrings mention to the reference.

Pages write `tf_stn.resampler(data, warp)` as code, as they would anywhere. On the site that leads
to the description of `tf_stn.resampler`. A name that the package does not have fails the build.
"""

import re
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform
from sphinx.util import logging

_logger = logging.getLogger(__name__)
# A public name, called or not; not a file such as `tf_stn/layers.py`.
_NAME = re.compile(r"(tf_stn(?:\.[A-Za-z]\w*)+)(?:\(.*\))?", re.DOTALL)


class LinkNames(SphinxTransform):
    """Makes references of names in code within running text."""

    default_priority = 400

    def apply(self, **kwargs: Any) -> None:
        """Called by Sphinx, for each page."""
        for literal in list(self.document.findall(nodes.literal)):
            match = _NAME.fullmatch(literal.astext())
            if match is None or isinstance(
                literal.parent, (addnodes.pending_xref, nodes.reference)
            ):
                continue
            reference = addnodes.pending_xref(
                "",
                literal.deepcopy(),
                refdomain="py",
                reftype="obj",
                reftarget=match[1],
                refdoc=self.env.docname,
                refwarn=True,
            )
            literal.replace_self(reference)


def _warn(app: Sphinx, domain: Any, node: addnodes.pending_xref) -> bool | None:
    target = node["reftarget"]
    if node.get("reftype") != "obj" or not _NAME.fullmatch(target):
        return None
    _logger.warning("the package has no public name %s", target, location=node)
    return True


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.add_transform(LinkNames)
    app.connect("warn-missing-reference", _warn)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
