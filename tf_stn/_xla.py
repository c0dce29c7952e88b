"""Loads the kernels by which XLA compiles the ops, where there are any.

They are a library of their own, which is built for TensorFlow 2.20 and later. Where it is missing
or cannot be loaded, everything works but compilation.
"""

import tensorflow as tf

from tf_stn._library import PACKAGE, has_ops

LIBRARY = PACKAGE / "_tf_stn_xla.so"


def _load() -> bool:
    if not has_ops() or not LIBRARY.exists():
        return False
    try:
        tf.load_library(str(LIBRARY))
    except (tf.errors.OpError, OSError):
        return False
    return True


_is_loaded = _load()


def can_compile() -> bool:
    """Whether XLA can compile what samples, for every device that TensorFlow sees."""
    if not has_ops():
        return True  # It is all made of TensorFlow's own operations.
    from tf_stn import _build_info

    return _is_loaded and (_build_info.CUDA is not None or not tf.config.get_visible_devices("GPU"))
