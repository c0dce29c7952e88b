"""Which implementation samples: the compiled ops, or TensorFlow's own operations."""

import contextlib
import contextvars
from collections.abc import Iterator

from tf_stn import _library

_IS_PORTABLE: contextvars.ContextVar[bool] = contextvars.ContextVar(
    "tf_stn_is_portable", default=not _library.has_ops()
)


def is_portable() -> bool:
    """Whether what is sampled now is to be made of TensorFlow's own operations."""
    return _IS_PORTABLE.get()


@contextlib.contextmanager
def portable() -> Iterator[None]:
    """Makes everything that samples meanwhile of TensorFlow's own operations.

    A model then goes wherever TensorFlow goes: to LiteRT, to plain TensorFlow without this
    package, to devices without a compiled kernel. The results are those of the compiled ops up to
    rounding, with the same gradients of any order and the same errors; it takes longer.

    >>> image = tf.reshape([0., 10., 20., 30.], [1, 2, 2, 1])
    >>> with tf_stn.portable():
    ...     sampled = tf_stn.resampler(image, [[[0.5, 0.0], [1.0, 0.5]]])
    >>> sampled[0, :, 0].numpy()
    array([ 5., 20.], dtype=float32)

    What counts is where a function is called, or a graph traced: export a model inside, as in
    `with tf_stn.portable(): model.export(path)`. A `tf.function` that was traced before keeps the
    ops that it has, and one that was traced inside keeps these. The context is that of the thread
    (a `contextvars` variable), may be nested, and may be a decorator: `@tf_stn.portable()`.

    For a whole process, set `TF_STN_IMPLEMENTATION=portable` in the environment before the
    import: the compiled library is then not loaded. With `compiled`, an import that cannot load it
    fails; inside this context, functions are portable all the same. Without the variable, the
    compiled ops are used where they can be loaded; where they cannot, a warning says why, and
    everything is portable.

    Yields:
      Nothing.
    """
    token = _IS_PORTABLE.set(True)
    try:
        yield
    finally:
        _IS_PORTABLE.reset(token)
