"""Finds the compiled library, checks that this TensorFlow can load it, loads it once.

It is loaded when the package is imported, not on first use: a SavedModel that
holds its ops can then be loaded after `import tf_stn` alone. Where it cannot be
loaded, the package works without it; see `tf_stn.portable`.
"""

import ctypes
import importlib.metadata
import os
import pathlib
import sys
import types
import warnings
from typing import Any

try:
    import tensorflow as tf
except ImportError as error:
    raise ImportError(
        "tf_stn needs TensorFlow, which cannot be imported. Install it with: "
        "pip install tensorflow-cpu or pip install 'tensorflow[and-cuda]'"
    ) from error

PACKAGE = pathlib.Path(__file__).parent
LIBRARY = PACKAGE / "_tf_stn.so"
# From the plain loops that all others are compared with to the fastest. TF_STN_CPU_ISA in the
# environment forces one that is lower than the processor's.
CPU_ISAS = ("plain", "baseline", "avx2", "avx512")
# In the environment: which implementation samples, one of IMPLEMENTATIONS.
IMPLEMENTATION = "TF_STN_IMPLEMENTATION"
IMPLEMENTATIONS = ("compiled", "portable")
REBUILD = "pip install --no-build-isolation --force-reinstall --no-deps ."


def _installed_tensorflow() -> str:
    """Returns the name of the distribution that provides `tensorflow`."""
    for name in ("tensorflow-cpu", "tensorflow"):
        try:
            importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        return name
    return "tensorflow"


def check_tensorflow(built_for: str, running: str) -> None:
    """Raises an ImportError unless the minor versions agree.

    TensorFlow's C++ interface changes between minors: a library of another one
    fails to load with a missing symbol, or worse, loads.

    Args:
      built_for: Minor version such as `"2.21"`.
      running: Full version such as `"2.21.0"`.
    """
    minor = ".".join(running.split(".")[:2])
    if minor == built_for:
        return
    raise ImportError(
        f"tf_stn was built for TensorFlow {built_for} and cannot be used with TensorFlow "
        f"{running}. Install the one it was built for:\n"
        f"    pip install '{_installed_tensorflow()}=={built_for}.*'\n"
        f"or build tf_stn for the one you have, from its source folder:\n"
        f"    {REBUILD}"
    )


def check_cpu_isa(wanted: str | None) -> None:
    """Raises an ImportError unless TF_STN_CPU_ISA is unset or names an instruction set."""
    if wanted is not None and wanted not in CPU_ISAS:
        raise ImportError(
            f"TF_STN_CPU_ISA must be one of {', '.join(CPU_ISAS)}, received {wanted!r}"
        )


def check_implementation(wanted: str | None) -> None:
    """Raises an ImportError unless TF_STN_IMPLEMENTATION is unset or names an implementation."""
    if wanted is not None and wanted not in IMPLEMENTATIONS:
        raise ImportError(
            f"{IMPLEMENTATION} must be one of {', '.join(IMPLEMENTATIONS)}, received {wanted!r}"
        )


def cpu_isa() -> str:
    """Returns the instruction set whose loops the CPU kernels use, one of CPU_ISAS."""
    function = ctypes.CDLL(str(LIBRARY)).tf_stn_cpu_isa
    function.restype = ctypes.c_char_p
    return function().decode()


def library_path() -> str:
    """Returns the path of the compiled library, for `tf.load_op_library`.

    A program that runs an exported model needs the ops in it, and none of this package's Python.

    >>> tf_stn.library_path().endswith("_tf_stn.so")
    True

    Raises:
      ImportError: there is no library for this TensorFlow; says why, and how to get it.
    """
    check_library()
    return str(LIBRARY)


def _loaded_before() -> types.ModuleType | None:
    """Returns the ops if this process has loaded the library, or a copy of it, already.

    A second copy would register every kernel once more, and TensorFlow would refuse to choose.
    """
    for module in list(sys.modules.values()):
        # In their dictionaries, since some modules import others where they are asked for a name.
        names = getattr(module, "__dict__", {})
        if names.get("_IS_TENSORFLOW_PLUGIN") and "tf_stn_affine_resampler" in names:
            return module
    return None


def check_library() -> None:
    """Raises an ImportError unless there is a library that was built for this TensorFlow."""
    missing = (
        f"The compiled part of tf_stn is missing from {PACKAGE}. Build it, from the source folder, "
        f"with: {REBUILD}"
    )
    try:
        from tf_stn import _build_info
    except ImportError as error:
        raise ImportError(missing) from error
    if not LIBRARY.exists():
        raise ImportError(missing)
    check_tensorflow(_build_info.TENSORFLOW, tf.__version__)


def _load() -> types.ModuleType:
    check_library()
    loaded = _loaded_before()
    if loaded is not None:
        return loaded
    try:
        return tf.load_op_library(str(LIBRARY))
    except (tf.errors.OpError, OSError) as error:
        raise ImportError(
            f"TensorFlow {tf.__version__} cannot load {LIBRARY}: {error}. Build it anew, from the "
            f"source folder, with: {REBUILD}"
        ) from error


class _NoOps:
    """Stands for the ops where they are not loaded, and says why where one is asked for."""

    def __init__(self, reason: str) -> None:
        self._reason = reason

    def __getattr__(self, name: str) -> Any:
        raise ImportError(f"tf_stn has no compiled ops here. {self._reason}")


def _load_if_wanted() -> Any:
    """Returns the ops, or what stands for them where everything is portable."""
    wanted = os.environ.get(IMPLEMENTATION)
    check_implementation(wanted)
    check_cpu_isa(os.environ.get("TF_STN_CPU_ISA"))
    if wanted == "portable":
        return _NoOps(f"{IMPLEMENTATION}=portable is set, so that the library is not loaded")
    try:
        return _load()
    except ImportError as error:
        if wanted == "compiled":
            raise
        warnings.warn(
            "tf_stn samples by TensorFlow's own operations, which takes several times as long: "
            f"{error}\n{IMPLEMENTATION}=portable in the environment says that this is meant",
            RuntimeWarning,
            stacklevel=2,
        )
        return _NoOps(str(error))


ops = _load_if_wanted()


def has_ops() -> bool:
    """Whether the compiled ops are loaded."""
    return not isinstance(ops, _NoOps)
