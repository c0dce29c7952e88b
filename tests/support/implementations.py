"""Which tests run once more with what is portable: TensorFlow's own operations."""

import pytest

BOTH = pytest.mark.usefixtures("implementation")
"""For a module, whose tests then run with the compiled ops and with the portable ones."""

COMPILED = pytest.mark.parametrize("implementation", ["compiled"], indirect=True)
"""For a test in such a module that calls our ops by name, is about their memory,
or samples nothing."""

SLOW_IF_PORTABLE = pytest.mark.parametrize(
    "implementation",
    ["compiled", pytest.param("portable", marks=pytest.mark.portable)],
    indirect=True,
)
"""For a test in such a module that `make test-portable` alone runs with both: it takes long."""
