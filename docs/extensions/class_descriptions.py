"""How the reference describes classes.

- Their arguments are those of `__init__`. Keras gives layers a `__new__` that takes anything.
- A base class that is private is replaced by the public one that it derives from.
- What a transformation overrides is described once, in `Transformation`.
"""

import inspect
import sys
from typing import Any

from public_names import public_names
from sphinx.application import Sphinx
from sphinx.util.inspect import stringify_signature

from tf_stn import transformations


def _signature(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, arguments: str, returns: str
) -> tuple[str, None] | None:
    if what != "class" or arguments != "(*args, **kwargs)":
        return None
    signature = inspect.signature(obj.__init__)
    _, *parameters = signature.parameters.values()  # Without `self`.
    return stringify_signature(inspect.Signature(parameters), show_annotation=False), None


def _bases(app: Sphinx, name: str, obj: type, options: Any, bases: list[type]) -> None:
    public = {
        getattr(sys.modules[module], each)
        for module, names in public_names().items()
        for each in names
    }
    bases[:] = [
        next(c for c in base.__mro__ if c in public or not c.__module__.startswith("tf_stn."))
        for base in bases
    ]


def _skip(app: Sphinx, what: str, name: str, obj: Any, skip: bool, options: Any) -> bool | None:
    function = getattr(obj, "fget", obj)
    owner, *_ = getattr(function, "__qualname__", "").split(".")
    is_override = owner in transformations.__all__ and owner != "Transformation"
    return True if is_override and hasattr(transformations.Transformation, name) else None


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.connect("autodoc-process-signature", _signature)
    app.connect("autodoc-process-bases", _bases)
    app.connect("autodoc-skip-member", _skip)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
