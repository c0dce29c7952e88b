"""Loads the kernels by which XLA compiles the ops, where there are any.

They are a library of their own, which is built for TensorFlow 2.20 and later. Where it is missing
or cannot be loaded, everything works but compilation.
"""

import tensorflow as tf

from tf_stn import _build_info
from tf_stn._library import PACKAGE

LIBRARY = PACKAGE / "_tf_stn_xla.so"


def _load() -> bool:
    if not LIBRARY.exists():
        return False
    try:
        tf.load_library(str(LIBRARY))
    except (tf.errors.OpError, OSError):
        return False
    return True


_is_loaded = _load()


def has_kernels() -> bool:
    """Whether XLA can compile the ops for every device that TensorFlow sees."""
    return _is_loaded and (_build_info.CUDA is not None or not tf.config.get_visible_devices("GPU"))
