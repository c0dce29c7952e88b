"""ONNX: models and functions that sample, exported to files for ONNX Runtime and others.

It needs the extra `onnx`: `pip install 'tf-stn[onnx]'`. Once it is imported, Keras' own
`model.export(path, format="onnx", opset_version=18)` converts this package's ops too. Prefer
`tf_stn.onnx.export`, which checks what it writes: Keras and tf2onnx write a file even if there is
an operation in it that no runtime knows.
"""

import collections
import contextlib
import functools
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import tensorflow as tf

from tf_stn._numbers import check_integer

try:
    import onnx
    import tf2onnx
    from tf2onnx import constants

    from tf_stn import _onnx_handlers  # Registers them.
except ImportError as error:
    _missing: ImportError | None = error
else:
    _missing = None
    # tf2onnx stops at opset 18. Nothing that it makes of one has another meaning in later ones; if
    # an operator is no longer valid there, the check of the file says so.
    for _opset in range(max(constants.OPSET_TO_IR_VERSION) + 1, onnx.defs.onnx_opset_version() + 1):
        constants.OPSET_TO_IR_VERSION[_opset] = onnx.helper.find_min_ir_version_for(
            [onnx.helper.make_opsetid("", _opset)]
        )

__all__ = ["export"]

_LOWEST_OPSET = 13  # Below, what tf2onnx makes of the portable implementation is not tested.


def _require_tf2onnx() -> None:
    if _missing is not None:
        raise ImportError(
            "tf_stn.onnx needs onnx and tf2onnx, which cannot be imported. Install them with: "
            "pip install 'tf-stn[onnx]'"
        ) from _missing


def _check_path(path: Any) -> str:
    """Returns `path` as text; an error unless a file can be written there."""
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"`path` must be the path of a file, received {path!r}")
    path = os.fspath(path)
    if os.path.isdir(path) or not os.path.isdir(os.path.dirname(path) or "."):
        raise ValueError(
            f"`path` must be the path of a file in a folder that exists, received {path!r}"
        )
    return path


def _is_layer(value: Any) -> bool:
    """Whether `value` is a layer or model of Keras 3 or tf_keras; imports neither."""
    return any(
        base.__name__ == "Layer" and base.__module__.split(".")[0] in ("keras", "tf_keras")
        for base in type(value).__mro__
    )


def _inputs_of(model: Any) -> list[Any] | None:
    """Returns the signature of a Keras model that knows its inputs, which are one argument."""
    inputs = getattr(model, "inputs", None)
    if not inputs:
        return None
    inputs = getattr(model, "_inputs_struct", inputs)  # Keras 3 keeps dictionaries there.
    if isinstance(inputs, (list, tuple)) and len(inputs) == 1:
        inputs = inputs[0]
    return [tf.nest.map_structure(lambda x: tf.TensorSpec(x.shape, x.dtype, x.name), inputs)]


def _call_of(model: Any) -> Callable[..., Any]:
    """Returns a function of the inputs alone, as a model has further arguments."""

    def call(*inputs: Any) -> Any:
        return model(*inputs)

    return call


def _specs_of(concrete: Any) -> list[tf.TensorSpec]:
    """Returns what tensors a concrete function takes; other arguments are as they were traced."""
    leaves = tf.nest.flatten(concrete.structured_input_signature)
    return [leaf for leaf in leaves if isinstance(leaf, tf.TensorSpec)]


def _of_concrete(concrete: Any) -> Callable[..., Any]:
    """Returns a function of positional arguments, which are the tensors of `_specs_of`."""
    structure = concrete.structured_input_signature

    def call(*tensors: tf.Tensor) -> Any:
        late = iter(tensors)
        args, kwargs = tf.nest.map_structure(
            lambda leaf: next(late) if isinstance(leaf, tf.TensorSpec) else leaf, structure
        )
        return concrete(*args, **kwargs)

    return call


def _to_trace(model: Any, input_signature: Sequence[Any] | None) -> tuple[Any, list[Any]]:
    """Returns a function that has not been traced yet, and the signature to trace it with."""
    if not callable(model):
        raise TypeError(
            "`model` must be a Keras model, a tf.function or another function of tensors, "
            f"received {model!r}"
        )
    function: Any = model
    signature: Sequence[Any] | None = None
    if _is_layer(model):
        signature = _inputs_of(model)
        function = _call_of(model)
    elif hasattr(model, "structured_input_signature"):
        function, signature = _of_concrete(model), _specs_of(model)
    elif hasattr(model, "python_function"):  # Traced anew, since it may have been elsewhere.
        function, signature = model.python_function, model.input_signature
    if input_signature is not None:
        signature = input_signature
    if signature is None:
        raise ValueError(
            "`input_signature` must be a list with a tf.TensorSpec for each argument, as `model` "
            f"does not say what it takes, received {input_signature!r}"
        )
    is_list = isinstance(signature, (list, tuple))
    specs = tf.nest.flatten(signature)
    if not (is_list and specs and all(isinstance(spec, tf.TensorSpec) for spec in specs)):
        raise ValueError(
            "`input_signature` must be a list with a tf.TensorSpec for each argument, "
            f"received {input_signature!r}"
        )
    if any(spec.shape.rank is None for spec in specs):
        raise ValueError(
            f"`input_signature` must say how many axes each tensor has, received {signature!r}"
        )
    return function, list(signature)


@contextlib.contextmanager
def _errors_of_tf2onnx() -> Iterator[list[str]]:
    """Yields a list of the errors that tf2onnx reports meanwhile: it goes on all the same."""
    reasons: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            error = record.exc_info[1] if record.exc_info else None
            if error is not None:
                reasons.append(str(error))

    logger, collector = logging.getLogger("tf2onnx"), Collector(logging.ERROR)
    logger.addHandler(collector)
    try:
        yield reasons
    finally:
        logger.removeHandler(collector)


def _with_names(function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a function whose outputs have names, as those of saved models have."""

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> dict[str, tf.Tensor]:
        outputs = function(*args, **kwargs)
        if isinstance(outputs, dict) and not any(map(tf.nest.is_nested, outputs.values())):
            return outputs
        return {f"output_{i}": output for i, output in enumerate(tf.nest.flatten(outputs))}

    return call


def _convert(function: Any, signature: list[Any], opset: int) -> Any:
    traced = tf.function(_with_names(function))
    concrete = traced.get_concrete_function(*signature)
    inputs = {spec.name for spec in _specs_of(concrete)}
    if both := sorted(inputs & set(concrete.structured_outputs)):
        raise ValueError(
            "`model` must give outputs other names than its inputs have, "
            f"received {', '.join(map(repr, both))}"
        )
    rewriters = [_onnx_handlers.choose_exactly]
    model, _ = tf2onnx.convert.from_function(
        traced, signature, opset=opset, custom_rewriter=rewriters
    )
    # Tensors that the function has closed over are inputs of what tf2onnx makes of it.
    captures = concrete.graph.captures
    values = {inner.name: outer for outer, inner in captures if outer.dtype != tf.resource}
    for entry in [entry for entry in model.graph.input if entry.name in values]:
        model.graph.input.remove(entry)
        value = onnx.numpy_helper.from_array(values[entry.name].numpy(), entry.name)
        model.graph.initializer.append(value)
    return model


def _nodes(graph: Any) -> Iterator[Any]:
    """Yields all nodes, also those of loops and conditions."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in [attribute.g, *attribute.graphs]:
                yield from _nodes(inner)


def _check_operators(model: Any, opset: int, reasons: list[str]) -> None:
    """Raises a ValueError if a model holds operations that are not ONNX's."""
    unknown = collections.Counter(
        node.op_type
        for node in _nodes(model.graph)
        if not onnx.defs.has(node.op_type, domain=node.domain)
    )
    if not unknown:
        return
    listed = ", ".join(f"{name} ({count})" for name, count in sorted(unknown.items()))
    message = f"`model` cannot be expressed in ONNX, opset {opset}: no operator does {listed}."
    if reasons:
        message += f" tf2onnx says: {'; '.join(dict.fromkeys(reasons))}."
    if any(name.startswith("TfStn>") for name in unknown):
        message += (
            " Export it inside `with tf_stn.portable():`, with shapes whose number of axes is known"
        )
    else:
        message += " Write that part of the model in other operations, or try a higher `opset`"
    raise ValueError(message)


def _check_loads(model: Any, opset: int) -> bytes:
    """Returns the contents of the file; a ValueError unless it is valid and can be loaded."""
    try:
        onnx.checker.check_model(model, full_check=True)
        contents = model.SerializeToString()
        with contextlib.suppress(ImportError):
            import onnxruntime

            options = onnxruntime.SessionOptions()
            options.log_severity_level = 4  # What is wrong is in the error.
            onnxruntime.InferenceSession(contents, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ValueError(
            f"What tf2onnx makes of `model` for opset {opset} cannot be loaded, so nothing was "
            f"written. Try another `opset`, or export inside `with tf_stn.portable():`. {error}"
        ) from error
    return contents


def export(
    model: Any,
    path: str | os.PathLike,
    *,
    opset: int = 18,
    input_signature: Sequence[Any] | None = None,
) -> None:
    """Writes a model or function to an ONNX file.

    >>> import os, tempfile
    >>> def zoom(images):
    ...     return tf_stn.affine_resampler(images, [[0.5, 0.0, 0.0, 0.0, 0.5, 0.0]])
    >>> path = os.path.join(tempfile.mkdtemp(), "zoom.onnx")
    >>> images = tf.TensorSpec([None, 32, 32, 3], name="images")
    >>> tf_stn.onnx.export(zoom, path, input_signature=[images])
    >>> import onnx
    >>> "GridSample" in {node.op_type for node in onnx.load(path).graph.node}
    True

    The file holds nothing but operators of ONNX, and has been checked: by `onnx.checker`, and by
    loading it, where there is ONNX Runtime. If something cannot be expressed, nothing is written.

    Samples become the operator GridSample, all modes of interpolation and padding and a finite
    `fill_value` included: of images from opset 16 on, of volumes from opset 20 on except for
    `"cubic"`, which ONNX Runtime does not have. All others become what `tf_stn.portable` makes of
    them, from opset 13 on, which takes several times as long and many operators. So do gradients
    of first order of `tf_stn.resampler` and `tf_stn.displacement_resampler`, of known sizes. Inside
    `with tf_stn.portable():` all become that.

    What it computes is what the model computes, except that

    - GridSample takes normalised coordinates, whose rounding moves a point by about 1e-7 of the
      side of the image. So samples differ by about 1e-6 of the differences between neighbouring
      pixels, and on a pixel centre the other pixels have a weight that is not quite zero: a NaN or
      infinite pixel shows in its neighbours. `"nearest"` is exact, ties included.
    - NaN coordinates give NaN. Infinite and huge ones are outside the image, as ever, for `"zeros"`
      and `"border"`. For paddings that repeat the image, those beyond 2^22 pixels, where a float32
      can hardly tell pixels apart, may be another pixel of it.
    - A `fill_value` is subtracted from pixels and added to samples, so that the larger of the two
      determines the rounding. One that is known only when the model runs must be finite.
    - tf2onnx leaves out checks of shapes that are known only when a model runs: what would be an
      error there may be one of the runtime.

    The portable form has none of the first three.

    Args:
      model: A Keras model or layer, a `tf.function`, a concrete function such as a signature of a
        saved model, or any function of tensors. It is traced here. tf2onnx makes
        float16 of bfloat16, whose range is larger.
      path: File to write. A file of this name is replaced once all is done.
      opset: Version of ONNX's operators, at least 13; default 18, the highest that tf2onnx knows.
        Models of later ones are written all the same, up to what the installed `onnx` knows.
      input_signature: A list with a `tf.TensorSpec` for each argument, or structures of them, as of
        `tf.function`. Sides may be None. Its names become those of the inputs. By default that of
        the model or `tf.function`; needed where it has none.

    Raises:
      ImportError: `onnx` or `tf2onnx` is not installed.
      TypeError: `model` cannot be called, or `path` is not a path.
      ValueError: a `path` in a folder that does not exist; an `opset` or `input_signature` that
        does not fit; something that ONNX cannot express, with its name and what to do; what is
        made of `model` cannot be loaded.
    """
    _require_tf2onnx()
    path = _check_path(path)
    opset = check_integer("opset", opset, _LOWEST_OPSET, onnx.defs.onnx_opset_version())
    function, signature = _to_trace(model, input_signature)
    with _errors_of_tf2onnx() as reasons:
        try:
            converted = _convert(function, signature, opset)
        except Exception as error:
            if not reasons:  # What tracing raised: an error of the model.
                raise
            raise ValueError(
                f"`model` cannot be expressed in ONNX, opset {opset}: {'; '.join(reasons)}"
            ) from error
    _check_operators(converted, opset, reasons)
    contents = _check_loads(converted, opset)
    temporary = f"{path}.{os.getpid()}.tmp"
    try:
        with open(temporary, "xb") as file:
            file.write(contents)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.remove(temporary)
        raise
