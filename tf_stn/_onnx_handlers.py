"""How tf2onnx converts the ops: to ONNX's GridSample, or to what the portable implementation is.

Importing this module registers the handlers with tf2onnx, for everything that converts by it.
What surrounds a GridSample is written in TensorFlow's own operations, which tf2onnx then converts,
and so is a sample for which there is no GridSample.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tf2onnx import tfonnx, utils
from tf2onnx.handler import tf_op

from tf_stn import _portable
from tf_stn._grids import displaced_pixels, map_pixels, projective_grid

# By interpolation, names up to opset 19 and from opset 20 on.
_MODES = {
    "nearest": ("nearest", "nearest"),
    "linear": ("bilinear", "linear"),
    "cubic": ("bicubic", "cubic"),
}
# By padding: GridSample's `padding_mode` and `align_corners`. For "wrap" the image is extended by
# the pixels that are read across an edge, see _extended.
_PADDINGS = {
    "zeros": ("zeros", 0),
    "border": ("border", 0),
    "reflect": ("reflection", 1),
    "symmetric": ("reflection", 0),
    "wrap": ("border", 0),
}
_BEFORE, _AFTER = 1, 2  # Pixels that cubic interpolation reads before and after an image.
_FAR = 2.0**30  # As in the compiled ops, coordinates are limited to this where images repeat.


def _value(graph: Any, name: str) -> np.ndarray | None:
    """Returns the value of a tensor that is constant."""
    node = graph.get_node_by_output(name)
    return node.get_tensor_value(as_list=False) if node is not None and node.is_const() else None


def _spec(graph: Any, name: str) -> tf.TensorSpec:
    shape = graph.get_shape(name)
    sides = None if shape is None else [None if side < 0 else side for side in shape]
    return tf.TensorSpec(sides, utils.map_onnx_to_numpy_type(graph.get_dtype(name)))


def _side(tensor: tf.Tensor, axis: int) -> int | tf.Tensor:
    """Returns a side, as an integer if it is known."""
    known = tensor.shape[axis]
    return tf.shape(tensor)[axis] if known is None else known


def choose_exactly(graph: Any, nodes: list[Any]) -> list[Any]:
    """Makes tf2onnx convert choices (`tf.where`) to choices; a rewriter as tf2onnx takes them.

    Otherwise they may become sums of products with 0 and 1: NaN where what is not chosen is
    infinite.
    """
    for node in nodes:
        if node.type in ("Select", "SelectV2"):
            node.set_attr("handles_nan", True)
    return nodes


def _insert(graph: Any, function: Callable[..., Any], inputs: Sequence[str]) -> list[str]:
    """Adds what a function in TensorFlow's own operations computes.

    Args:
      graph: Graph of tf2onnx.
      function: From tensors to a tensor or several.
      inputs: Names of the tensors in `graph`. Constants remain constants.

    Returns:
      Names of what `function` returns.
    """
    values = {name: _value(graph, name) for name in inputs}
    late = [name for name in inputs if values[name] is None]

    def call(*arguments: tf.Tensor) -> Any:
        tensors = dict(zip(late, arguments, strict=True))
        return function(*(tensors[n] if n in tensors else tf.constant(values[n]) for n in inputs))

    # Outside the graph of TensorFlow that is being converted.
    with tf.init_scope():
        traced = tf.function(call, autograph=False).get_concrete_function(
            *(_spec(graph, name) for name in late)
        )
    ends = [[tensor.name for tensor in each] for each in (traced.inputs, traced.outputs)]
    definition = tfonnx.tf_optimize(*ends, traced.graph.as_graph_def(add_shapes=True))
    with tf.Graph().as_default() as optimised:
        tf.import_graph_def(definition, name="")
        part, _ = tfonnx.graphs_from_tf(optimised, *ends)
    choose_exactly(part, part.get_nodes())
    part.set_config(None, graph.opset, graph.extra_opset)
    part = tfonnx.process_parsed_graph(part, None, [], [], False, None, None)
    return _copy(part, graph, dict(zip(ends[0], late, strict=True)))


def _copy(part: Any, graph: Any, names: dict[str, str]) -> list[str]:
    """Copies a converted graph into another, and returns the names there of its outputs.

    Args:
      part: What to copy.
      graph: Where to.
      names: For each input of `part`, the name in `graph`.
    """
    for node in part.get_nodes():
        if node.is_graph_input():
            continue
        if node.is_const():
            value = node.get_tensor_value(as_list=False)
            copy = graph.make_const(utils.make_name("tf_stn"), value)
        else:
            copy = graph.make_node(
                node.type,
                [names[name] if name else name for name in node.input],
                attr=node.get_onnx_attrs(),
                output_count=len(node.output),
                name=utils.make_name(f"tf_stn/{node.type}"),
                shapes=node.output_shapes,
                dtypes=node.output_dtypes,
                domain=node.domain,
            )
        names.update(zip(node.output, copy.output, strict=True))
    return [names[name] for name in part.outputs]


def _replace(graph: Any, node: Any, results: Sequence[str]) -> None:
    """Lets `results` take the place of the outputs of `node`."""
    outputs, shapes, dtypes = list(node.output), node.output_shapes, node.output_dtypes
    graph.remove_node(node.name)
    for result, output, shape, dtype in zip(results, outputs, shapes, dtypes, strict=True):
        graph.make_node("Identity", [result], outputs=[output], shapes=[shape], dtypes=[dtype])


class _GridSample:
    """A sample by the operator GridSample: what is computed before and after it.

    GridSample takes channels first and normalised coordinates; of NaN and of coordinates that are
    far outside an image it promises nothing.
    """

    def __init__(self, rank: int, interpolation: str, padding: str, dtype: tf.DType) -> None:
        self.rank = rank
        self.interpolation = interpolation
        self.padding = padding
        self.dtype = dtype  # Of coordinates, and of the pixels where theirs is a half type.

    def insert(self, graph: Any, data: str, warp: str, fill: Sequence[str]) -> str:
        """Adds the sample to a graph of tf2onnx, and returns the name of the output."""
        images, grid, nan = _insert(graph, self.before, [data, warp, *fill])
        padding_mode, align_corners = _PADDINGS[self.padding]
        node = graph.make_node(
            "GridSample",
            [images, grid],
            attr={
                "mode": _MODES[self.interpolation][int(graph.opset >= 20)],
                "padding_mode": padding_mode,
                "align_corners": align_corners,
            },
            shapes=[[-1] * (self.rank + 2)],
            dtypes=[graph.get_dtype(images)],
        )
        dtype = _spec(graph, data).dtype

        def after(*tensors: tf.Tensor) -> tf.Tensor:
            return tf.cast(self.after(*tensors), dtype)

        (output,) = _insert(graph, after, [node.output[0], nan, warp, *fill])
        return output

    def before(
        self, data: tf.Tensor, warp: tf.Tensor, *fill: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Returns images and points for GridSample, and what to add to a sample: 0 or NaN."""
        data = tf.cast(data, self.dtype)
        for pixel in fill:  # What lies outside is then zero.
            data -= tf.cast(pixel, self.dtype)
        missing = self._missing_axes(warp)
        for _ in range(missing):
            warp = tf.expand_dims(warp, 1)
        if missing < 0:
            points = tf.reduce_prod(tf.shape(warp)[1:-1])
            ones = [1] * (self.rank - 1)
            warp = tf.reshape(warp, tf.stack([_side(warp, 0), *ones, points, self.rank]))
        sides = [_side(data, axis) for axis in range(self.rank, 0, -1)]
        # For a row of points: ONNX Runtime then takes half as long for a product with it.
        row = tf.stack([_side(warp, self.rank), self.rank])
        size = tf.broadcast_to(tf.cast(tf.stack(sides), self.dtype), row)
        zero = tf.zeros([], self.dtype)
        is_nan = tf.math.is_nan(warp)
        nan = tf.reduce_sum(tf.where(is_nan, tf.constant(np.nan, self.dtype), zero), axis=-1)
        grid = self._normalised(tf.where(is_nan, zero, warp), size)
        if self.padding == "wrap":
            data = self._extended(data)
        images = tf.transpose(data, [0, self.rank + 1, *range(1, self.rank + 1)])
        return *self._of_one_batch(images, grid), tf.expand_dims(nan, 1)

    def _missing_axes(self, warp: tf.Tensor) -> int:
        """Returns how many axes points lack: GridSample's have as many as an image."""
        return self.rank + 2 - warp.shape.rank

    def _normalised(self, pixels: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
        """Returns points as GridSample takes them, none of them far outside."""
        if self.interpolation == "nearest":  # Here, so that ties go to the even pixel.
            pixels = tf.round(pixels)
        if self.padding in ("zeros", "border"):
            # All taps of a point beyond this lie outside, whatever the size.
            return tf.clip_by_value(pixels * (2 / size) + (1 / size - 1), -8.0, 8.0)
        periods = {"reflect": 2 * size - 2, "symmetric": 2 * size, "wrap": size}
        period = tf.maximum(periods[self.padding], 1)
        pixels = tf.clip_by_value(pixels, -_FAR, _FAR)
        pixels -= tf.floor(pixels / period) * period
        if self.padding == "reflect":  # The centres of the outermost pixels are -1 and 1.
            return pixels * (2 / tf.maximum(size - 1, 1)) - 1
        if self.padding == "wrap":
            size += _BEFORE + _AFTER
            pixels += _BEFORE
        return pixels * (2 / size) + (1 / size - 1)

    def _extended(self, data: tf.Tensor) -> tf.Tensor:
        """Returns images with the pixels around them that are read across their edges."""
        for axis in range(1, self.rank + 1):
            side = _side(data, axis)
            # Remainders of positive numbers: of negative ones, tf2onnx makes those of C.
            index = tf.range(side * _BEFORE - _BEFORE, side * (_BEFORE + 1) + _AFTER) % side
            data = tf.gather(data, index, axis=axis)
        return data

    def _of_one_batch(self, images: tf.Tensor, grid: tf.Tensor) -> list[tf.Tensor]:
        """Returns both with the same batch, which GridSample needs."""
        batches = [images.shape[0], grid.shape[0]]
        if None not in batches and batches[0] == batches[1]:
            return [images, grid]
        batch = tf.where(tf.equal(tf.shape(images)[0], 1), tf.shape(grid)[0], tf.shape(images)[0])
        return [
            tensor
            if tensor.shape[0] not in (None, 1)
            else tf.broadcast_to(tensor, tf.concat([[batch], tf.shape(tensor)[1:]], axis=0))
            for tensor in (images, grid)
        ]

    def after(
        self, sampled: tf.Tensor, nan: tf.Tensor, warp: tf.Tensor, *fill: tf.Tensor
    ) -> tf.Tensor:
        """Returns what GridSample has sampled, as the op returns it."""
        # Before channels are last: ONNX Runtime then takes half as long to add NaN.
        sampled += nan
        for pixel in fill:
            sampled += tf.reshape(tf.cast(pixel, self.dtype), [-1] + [1] * self.rank)
        output = tf.transpose(sampled, [0, *range(2, self.rank + 2), 1])
        missing = self._missing_axes(warp)
        if missing >= 0:
            return tf.squeeze(output, axis=list(range(1, 1 + missing))) if missing else output
        sides = [tf.shape(output)[:1], tf.shape(warp)[1:-1], tf.shape(output)[-1:]]
        return tf.reshape(output, tf.concat(sides, axis=0))


def _has_grid_sample(
    graph: Any, rank: int, interpolation: str, dtype: tf.DType, fill: Sequence[str]
) -> bool:
    """Whether ONNX Runtime has a GridSample that can compute a sample."""
    if graph.opset < (20 if rank == 3 or dtype == tf.float64 else 16):
        return False
    if rank == 3 and interpolation == "cubic":
        return False
    # What lies outside is subtracted from all pixels, and added again.
    values = [_value(graph, name) for name in fill]
    return all(value is None or np.all(np.isfinite(value)) for value in values)


def _modes(node: Any) -> dict[str, str]:
    """Returns the modes of a sample; an error if it is a derivative, which has no counterpart."""
    if node.get_attr_value("derivative"):
        raise ValueError("derivatives of samples cannot be converted")
    return {name: node.get_attr_str(name) for name in ("interpolation", "padding")}


def _rank(graph: Any, data: str, warp: str) -> int:
    images, points = _spec(graph, data).shape, _spec(graph, warp).shape
    if images.rank is None or points.rank is None:
        raise ValueError("the number of axes of `data` and of the points must be known")
    return images.rank - 2


def _insert_sample(graph: Any, node: Any, data: str, warp: str, fill: Sequence[str]) -> str:
    modes, rank = _modes(node), _rank(graph, data, warp)
    dtype = _spec(graph, warp).dtype
    if _has_grid_sample(graph, rank, modes["interpolation"], dtype, fill):
        return _GridSample(rank, dtype=dtype, **modes).insert(graph, data, warp, fill)

    def sample(data: tf.Tensor, warp: tf.Tensor, *fill: tf.Tensor) -> tf.Tensor:
        return _portable.resampler(data, warp, fill, **modes)

    (output,) = _insert(graph, sample, [data, warp, *fill])
    return output


@tf_op("TfStn>Resampler")
class _Resampler:
    @classmethod
    def version_1(cls, graph: Any, node: Any, **_: Any) -> None:
        data, warp, *fill = node.input
        _replace(graph, node, [_insert_sample(graph, node, data, warp, fill)])


def _replace_mapped(graph: Any, node: Any, grid: Callable[..., tf.Tensor]) -> None:
    """Converts a sample at the pixels of an output, mapped by matrices."""
    data, matrix, size, *fill = node.input
    rank = _rank(graph, data, matrix)
    (warp,) = _insert(graph, lambda m, s: grid(m, s, rank), [matrix, size])
    _replace(graph, node, [_insert_sample(graph, node, data, warp, fill)])


@tf_op("TfStn>AffineResampler")
class _AffineResampler:
    @classmethod
    def version_1(cls, graph: Any, node: Any, **_: Any) -> None:
        _replace_mapped(graph, node, map_pixels)


@tf_op("TfStn>ProjectiveResampler")
class _ProjectiveResampler:
    @classmethod
    def version_1(cls, graph: Any, node: Any, **_: Any) -> None:
        _replace_mapped(graph, node, projective_grid)


@tf_op("TfStn>DisplacementResampler")
class _DisplacementResampler:
    @classmethod
    def version_1(cls, graph: Any, node: Any, **_: Any) -> None:
        data, displacement, *fill = node.input
        rank = _rank(graph, data, displacement)
        (warp,) = _insert(graph, lambda moved: displaced_pixels(moved, rank), [displacement])
        _replace(graph, node, [_insert_sample(graph, node, data, warp, fill)])


def _replace_gradients(
    graph: Any, node: Any, points: str, to_warp: Callable[[tf.Tensor, int], tf.Tensor]
) -> None:
    """Converts gradients of first order.

    Args:
      graph: Graph of tf2onnx.
      node: The op.
      points: Name of its input that has the points.
      to_warp: From that, and the number of spatial axes, to a warp which moves as that does.
    """
    modes = _modes(node)
    rank = _rank(graph, *node.input[:2])
    is_wanted = [bool(node.get_attr_int(f"compute_grad_{x}")) for x in ("data", points)]

    def gradients(
        data: tf.Tensor, parameters: tf.Tensor, grad_output: tf.Tensor, *fill: tf.Tensor
    ) -> list[tf.Tensor]:
        warp = to_warp(parameters, rank)
        output = _portable.resampler(data, warp, fill, **modes)
        # Not by a tape, which tf.init_scope keeps from recording.
        both = tf.gradients(output, [data, warp], grad_output, unconnected_gradients="zero")
        return [g if wanted else tf.zeros([0], g.dtype) for g, wanted in zip(both, is_wanted)]

    _replace(graph, node, _insert(graph, gradients, node.input))


@tf_op("TfStn>ResamplerGrad")
class _ResamplerGrad:
    @classmethod
    def version_1(cls, graph: Any, node: Any, **_: Any) -> None:
        _replace_gradients(graph, node, "warp", lambda warp, _: warp)


@tf_op("TfStn>DisplacementResamplerGrad")
class _DisplacementResamplerGrad:
    @classmethod
    def version_1(cls, graph: Any, node: Any, **_: Any) -> None:
        _replace_gradients(graph, node, "displacement", displaced_pixels)
