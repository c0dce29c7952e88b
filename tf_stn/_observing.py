"""Lets somebody look on while a model samples images: which ones, where, and what came out.

Sampling functions call `note`, and layers say by `sampling_of` whose samples these are. It costs a
call a look at a context variable, as long as nobody looks on.
"""

import contextlib
import contextvars
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Samples:
    """A call of a sampling function.

    Attributes:
      name: Of the outermost layer of this package that called it, or of the node of a functional
        model, or of the function.
      data: The images or volumes, `[batch, *size, channels]`.
      warp: Returns the sample points in pixels, `[batch, ..., *output_size, rank]`.
      output: `[batch, ..., *output_size, channels]`.
      is_straight: Whether straight lines stay straight.
      parameters: Of the transformation, where a layer applies one.
    """

    name: str
    data: tf.Tensor
    warp: Callable[[], tf.Tensor]
    output: tf.Tensor
    is_straight: bool
    parameters: tf.Tensor | None


class _Observer:
    def __init__(self) -> None:
        self.seen: list[Samples] = []
        self.callers: list[tuple[str, tf.Tensor | None]] = []


_OBSERVER: contextvars.ContextVar[_Observer | None] = contextvars.ContextVar(
    "tf_stn_observer", default=None
)


@contextlib.contextmanager
def observe() -> Iterator[list[Samples]]:
    """Collects what is sampled eagerly meanwhile, in the list that it returns."""
    observer = _Observer()
    token = _OBSERVER.set(observer)
    try:
        yield observer.seen
    finally:
        _OBSERVER.reset(token)


def is_observed() -> bool:
    """Whether somebody looks on: then a layer adds no losses and updates no metrics."""
    return _OBSERVER.get() is not None


@contextlib.contextmanager
def sampling_of(name: str, parameters: tf.Tensor | None = None) -> Iterator[None]:
    """Says whose samples those are that are noted meanwhile."""
    observer = _OBSERVER.get()
    if observer is None:
        yield
        return
    observer.callers.append((name, parameters))
    try:
        yield
    finally:
        observer.callers.pop()


def note(
    function: str,
    data: tf.Tensor,
    warp: Callable[[], tf.Tensor],
    output: tf.Tensor,
    is_straight: bool = False,
) -> None:
    """Notes a call of a sampling function, if somebody looks on. In a graph nothing is noted."""
    observer = _OBSERVER.get()
    if observer is None or tf.is_symbolic_tensor(output):
        return
    name = observer.callers[0][0] if observer.callers else function
    parameters = [each for _, each in observer.callers if each is not None]
    last = parameters[-1] if parameters else None
    observer.seen.append(Samples(name, data, warp, output, is_straight, last))


def samples_of(model: Callable, inputs: Any, layer: Any = None) -> Samples:
    """Returns what `model` samples where it is called with `inputs`; of several calls the first.

    A ValueError says what there is, if `layer` is not one of those that sample, or None though
    there are several.

    Args:
      model: A layer, a model, or a function.
      inputs: What it is called with.
      layer: A layer, or the name of one, of a node, or of a function; None: the only one.
    """
    if not callable(model):
        raise ValueError(
            f"`model` must be a layer, a model or a function, received a {type(model).__name__}"
        )
    with observe() as seen:
        model(inputs, training=False) if hasattr(model, "trainable_weights") else model(inputs)
    if not seen:
        raise ValueError(
            "`model` must sample its images by a layer or a function of tf_stn, and eagerly, "
            f"received {getattr(model, 'name', model)!r}, which did not"
        )
    names = list(dict.fromkeys(each.name for each in seen))
    wanted = getattr(layer, "name", layer)
    chosen = names if wanted is None else [name for name in names if name == wanted]
    listed = ", ".join(map(repr, names))
    if len(chosen) > 1:
        raise ValueError(
            f"`layer` must say which of several is meant: {listed}, received {layer!r}"
        )
    if not chosen:
        raise ValueError(f"`layer` must be one of those of `model`: {listed}, received {layer!r}")
    return next(each for each in seen if each.name == chosen[0])
