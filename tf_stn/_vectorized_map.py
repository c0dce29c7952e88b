"""Lets `tf.vectorized_map`, `pfor` and jacobians call each op once instead of in a loop.

TensorFlow vectorises a function by converting each of its ops into ops that compute all iterations
at once. A tensor that differs between iterations arrives stacked, with the iterations as its first
axis; any other arrives as it is. Without a converter TensorFlow warns and runs the op in a loop.
The converters below are registered when the package is imported. TensorFlow's registry is not
public: where it is missing, the loop remains.

Our ops take images and points that both have a batch axis, one of which may be 1, and points have
any number of further axes. So iterations become a further axis of the points (`_SharedImages`), the
batch axis (`_OneImageEach`), or are merged with it (`_Merged`), whichever copies least.
"""

import contextlib
import functools
from typing import Any, TypeAlias

import tensorflow as tf

from tf_stn import _library

# What an input or output is shaped like. A size and a `fill_value` have no batch axis.
_IMAGES, _POINTS, _OUTPUT, _NO_BATCH = "images", "points", "output", "no batch"
# Inputs, without the optional `fill_value` that is the last one of all ops, and outputs.
_OPS = {
    "resampler": ([_IMAGES, _POINTS], [_OUTPUT]),
    "resampler_grad": ([_IMAGES, _POINTS, _OUTPUT], [_IMAGES, _POINTS]),
    "resampler_grad_grad": (
        [_IMAGES, _POINTS, _OUTPUT, _IMAGES, _POINTS],
        [_IMAGES, _POINTS, _OUTPUT],
    ),
    "affine_resampler": ([_IMAGES, _POINTS, _NO_BATCH], [_OUTPUT]),
    "affine_resampler_grad": ([_IMAGES, _POINTS, _OUTPUT], [_IMAGES, _POINTS]),
}

# A side of a tensor: an integer, or a tensor where it is known only when the graph runs.
_Side: TypeAlias = int | tf.Tensor


def _side(tensor: tf.Tensor, axis: int) -> _Side:
    known = None if tensor.shape.rank is None else tensor.shape[axis]
    return tf.shape(tensor)[axis] if known is None else known


def _is_same(side: _Side, other: _Side) -> bool:
    """Whether two sides are known to be equal."""
    return side is other or (not (tf.is_tensor(side) or tf.is_tensor(other)) and side == other)


def _replace_axes(tensor: tf.Tensor, count: int, sides: list[_Side]) -> tf.Tensor:
    """Returns `tensor` with its first `count` axes reshaped to `sides`."""
    return tf.reshape(tensor, tf.concat([tf.stack(sides), tf.shape(tensor)[count:]], axis=0))


def _broadcast(tensor: tf.Tensor, sides: list[_Side], rest: int) -> tf.Tensor:
    """Returns `tensor` broadcast to `sides`, followed by its own sides from axis `rest` on."""
    return tf.broadcast_to(tensor, tf.concat([tf.stack(sides), tf.shape(tensor)[rest:]], axis=0))


class _SharedImages:
    """All iterations read the same images: they become an axis of the points, after the batch."""

    def can_share(self, points: _Side) -> bool:
        return False

    def enter(self, kind: str, tensor: tf.Tensor, is_stacked: bool) -> tf.Tensor:
        return self._exchange_axes(tensor) if is_stacked else tensor

    def leave(self, kind: str, tensor: tf.Tensor) -> tf.Tensor:
        return self._exchange_axes(tensor)

    def _exchange_axes(self, tensor: tf.Tensor) -> tf.Tensor:
        return tf.transpose(tensor, tf.concat([[1, 0], tf.range(2, tf.rank(tensor))], axis=0))


class _OneImageEach:
    """Each iteration reads one image: iterations become the batch, its batch an axis of points."""

    def can_share(self, points: _Side) -> bool:
        return True

    def enter(self, kind: str, tensor: tf.Tensor, is_stacked: bool) -> tf.Tensor:
        if not is_stacked:
            return tensor[None]
        return tf.squeeze(tensor, axis=1) if kind == _IMAGES else tensor

    def leave(self, kind: str, tensor: tf.Tensor) -> tf.Tensor:
        return tf.expand_dims(tensor, axis=1) if kind == _IMAGES else tensor


class _Merged:
    """Each iteration reads images of its own: iterations and batch become one axis.

    There, images and points need the same batch: one of 1 is copied, and its gradients are summed.
    """

    def __init__(self, length: _Side, images: _Side, points: _Side) -> None:
        self.length = length
        self.batch = tf.where(images == 1, points, images) if tf.is_tensor(images) else images
        self.batches = {_IMAGES: images, _POINTS: points, _OUTPUT: self.batch}

    def can_share(self, points: _Side) -> bool:
        return _is_same(points, 1)

    def enter(self, kind: str, tensor: tf.Tensor, is_stacked: bool) -> tf.Tensor:
        if not is_stacked:
            return tensor
        if not _is_same(self.batches[kind], self.batch):
            tensor = _broadcast(tensor, [self.length, self.batch], rest=2)
        return _replace_axes(tensor, 2, [self.length * self.batch])

    def leave(self, kind: str, tensor: tf.Tensor) -> tf.Tensor:
        own = self.batches[kind]
        if _is_same(own, self.batch):
            return _replace_axes(tensor, 1, [self.length, own])
        copies = self.batch // tf.maximum(own, 1)  # The whole batch or 1; 0 in an empty batch.
        separate = _replace_axes(tensor, 1, [self.length, own, copies])
        return tf.cast(tf.reduce_sum(tf.cast(separate, tf.float64), axis=2), tensor.dtype)


_Layout: TypeAlias = _SharedImages | _OneImageEach | _Merged


class _Call:
    """The call of an op in the body of a loop: its inputs, as converted so far, and attributes."""

    def __init__(self, name: str, pfor_input: Any) -> None:
        op = pfor_input.op
        self.input_kinds, self.output_kinds = _OPS[name]
        self.function = getattr(_library.ops, f"tf_stn_{name}")
        inferred = ("T", "Twarp", "Tmatrix", "num_fill")
        attributes = (attribute.name for attribute in op.op_def.attr)
        self.attributes = {each: op.get_attr(each) for each in attributes if each not in inferred}
        count = len(self.input_kinds)
        self.inputs = [pfor_input.input(i)[:2] for i in range(count)]  # Tensor, whether stacked.
        # Without a batch axis there is no place for iterations. What these raise if an input
        # is stacked tells TensorFlow to run the op in a loop.
        for i, kind in enumerate(self.input_kinds):
            if kind == _NO_BATCH:
                pfor_input.unstacked_input(i)
        self.fill = [pfor_input.unstacked_input(i) for i in range(count, pfor_input.num_inputs)]
        # A gradient that is zero, or that nobody asked for, has shape [0].
        self.is_absent = [
            kind != _NO_BATCH and tensor.shape.rank == 1
            for kind, tensor in zip(self.input_kinds, op.inputs)
        ]
        self.is_wanted = [
            self.attributes.get(f"compute_{output.name}", True) for output in op.op_def.output_arg
        ]
        length = pfor_input.pfor.loop_len_vector
        known = tf.get_static_value(length)
        self.length = length[0] if known is None else int(known[0])

    def differing(self) -> set[str]:
        """Returns which kinds differ between iterations: are stacked, or have such gradients."""
        inputs = zip(self.input_kinds, self.inputs, self.is_absent)
        read = {kind for kind, (_, stacked), absent in inputs if stacked and not absent}
        return read | {kind for kind, wanted in zip(self.output_kinds, self.is_wanted) if wanted}

    def batch(self, i: int) -> _Side:
        """Returns the batch of an input in one iteration."""
        tensor, is_stacked = self.inputs[i]
        return _side(tensor, int(is_stacked))

    def layout(self, differing: set[str]) -> _Layout:
        if _IMAGES not in differing:
            return _SharedImages()
        images, points = self.batch(0), self.batch(1)
        return _OneImageEach() if _is_same(images, 1) else _Merged(self.length, images, points)

    def run(self) -> list[tuple[tf.Tensor, bool]]:
        """Returns the outputs for all iterations, and whether they are stacked."""
        differing = self.differing() | {_OUTPUT}
        layout = self.layout(differing)
        if not layout.can_share(self.batch(1)):
            differing.add(_POINTS)
        arguments = []
        for kind, (tensor, is_stacked), absent in zip(
            self.input_kinds, self.inputs, self.is_absent
        ):
            if absent:
                tensor = tf.zeros([0], tensor.dtype)
            elif kind != _NO_BATCH:
                if kind in differing and not is_stacked:
                    tensor = _broadcast(tensor, [self.length], rest=0)
                tensor = layout.enter(kind, tensor, kind in differing)
            arguments.append(tensor)
        outputs = self.function(*arguments, self.fill, **self.attributes)
        outputs = [outputs] if tf.is_tensor(outputs) else outputs
        return [
            (layout.leave(kind, output) if wanted else output, wanted)
            for kind, output, wanted in zip(self.output_kinds, outputs, self.is_wanted)
        ]


def _register() -> None:
    """Registers a converter for each op, unless there is one.

    There is where the package is imported again, after its modules were forgotten.
    """
    try:
        from tensorflow.python.ops.parallel_for.pfor import RegisterPFor, wrap
    except (ImportError, AttributeError):
        return

    def convert(name: str, pfor_input: Any) -> list:
        return [wrap(output, is_stacked) for output, is_stacked in _Call(name, pfor_input).run()]

    for name in _OPS:
        op = "TfStn>" + name.title().replace("_", "")
        with contextlib.suppress(AssertionError):
            RegisterPFor(op)(functools.partial(convert, name))


_register()
