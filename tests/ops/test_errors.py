"""Mistakes: each names the argument, what was expected and what was received.

The message is the same in eager mode, where the kernel gives it, and in a graph, where the shape
function does; TensorFlow raises InvalidArgumentError for the one and ValueError for the other.
"""

import re

import numpy as np
import pytest
import tensorflow as tf
from implementations import BOTH, COMPILED

from tf_stn import affine_grid, resampler
from tf_stn._library import ops

pytestmark = BOTH

SHAPE_ERRORS = (ValueError, tf.errors.InvalidArgumentError)
IMAGE = "[batch, height, width, channels] or [batch, depth, height, width, channels]"

WRONG_SHAPES = {
    "data without batch": (
        (5, 5, 3),
        (1, 4, 2),
        f"`data` must have shape {IMAGE}, received [5, 5, 3]",
    ),
    "data of rank 6": ((1, 2, 2, 5, 5, 3), (1, 4, 2), "received [1, 2, 2, 5, 5, 3]"),
    "points in the plane for volumes": (
        (1, 2, 5, 5, 3),
        (1, 4, 2),
        "`warp` must have shape [batch, ..., 3], received [1, 4, 2]",
    ),
    "data is a scalar": ((), (1, 4, 2), f"`data` must have shape {IMAGE}, received []"),
    "warp of rank 1": ((1, 5, 5, 3), (2,), "`warp` must have shape [batch, ..., 2], received [2]"),
    "warp is a scalar": ((1, 5, 5, 3), (), "`warp` must have shape [batch, ..., 2], received []"),
    "warp of 3 coordinates": ((1, 5, 5, 3), (1, 4, 3), "received [1, 4, 3]"),
    "warp of 0 coordinates": ((1, 5, 5, 3), (1, 4, 0), "received [1, 4, 0]"),
    "other batch": (
        (2, 5, 5, 3),
        (3, 4, 2),
        "`data` and `warp` must have the same batch size, or one of them 1, "
        "received `data` of shape [2, 5, 5, 3] and `warp` of shape [3, 4, 2]",
    ),
    "batch of 0 against 2": ((0, 5, 5, 3), (2, 4, 2), "must have the same batch size"),
    "no rows": ((1, 0, 5, 3), (1, 4, 2), "must have a height and a width of at least 1"),
    "no columns": ((1, 5, 0, 3), (1, 2), "received `data` of shape [1, 5, 0, 3]"),
    "no slices": (
        (1, 0, 5, 5, 3),
        (1, 4, 3),
        "`data` must have a depth, a height and a width of at least 1 where `warp` has points",
    ),
}


@pytest.mark.parametrize("case", WRONG_SHAPES)
def test_wrong_shapes_are_refused_by_name(run, case):
    data_shape, warp_shape, message = WRONG_SHAPES[case]
    with pytest.raises(SHAPE_ERRORS) as error:
        run(resampler, tf.zeros(data_shape), tf.zeros(warp_shape))
    found = str(error.value)
    if "assertion failed" in found:  # TensorFlow's own, which prints other brackets and commas.
        message, found = (re.sub(r"[\[\],]", "", text) for text in (message, found))
    assert message in found


@COMPILED
@pytest.mark.parametrize("case", WRONG_SHAPES)
def test_the_gradient_op_checks_the_same(run, case):
    data_shape, warp_shape, message = WRONG_SHAPES[case]
    with pytest.raises(SHAPE_ERRORS) as error:
        run(
            lambda *inputs: ops.tf_stn_resampler_grad(*inputs, []),
            tf.zeros(data_shape),
            tf.zeros(warp_shape),
            tf.zeros([*warp_shape[:-1], 3]),
        )
    assert message in str(error.value)


@COMPILED
@pytest.mark.parametrize(
    "shape", [(2, 4), (2, 4, 4), (2, 5, 3), (3, 4, 3), (2, 4, 1, 3), (), (3,)], ids=str
)
def test_the_gradient_op_checks_the_incoming_gradient(run, shape):
    with pytest.raises(SHAPE_ERRORS) as error:
        run(
            lambda *inputs: ops.tf_stn_resampler_grad(*inputs, []),
            tf.zeros([2, 5, 5, 3]),
            tf.zeros([2, 4, 2]),
            tf.zeros(shape),
        )
    assert "`grad_output` must have shape [batch, ..., channels]" in str(error.value)
    assert f"received [{', '.join(map(str, shape))}]" in str(error.value)


def test_partly_known_shapes_are_checked_as_far_as_they_go():
    def trace(data, warp):
        specs = [tf.TensorSpec(data), tf.TensorSpec(warp)]
        return tf.function(resampler, input_signature=specs).get_concrete_function().output_shapes

    assert trace([None, 5, 5, 3], [2, None, 2]).as_list() == [2, None, 3]
    assert trace([4, None, None, None], [None, None, 2]).as_list() == [4, None, None]
    assert trace([None] * 4, None).rank is None
    with pytest.raises(ValueError, match=r"`warp` must have shape .* received \[\?, 4\]"):
        trace(None, [None, 4])
    with pytest.raises(ValueError, match=r"`warp` must have shape .* 3\], received \[\?, 2\]"):
        trace([None] * 5, [None, 2])
    with pytest.raises(ValueError, match="same batch size"):
        trace([2, None, None, None], [3, None, None])
    with pytest.raises(ValueError, match="at least 1"):
        trace([None, 0, None, 3], [1, 4, 2])


@pytest.mark.parametrize("dtype", ["uint32", "uint64", "complex64", "string"])
def test_wrong_data_type_is_refused_by_name(run, dtype):
    data = tf.fill([1, 2, 2, 1], "") if dtype == "string" else tf.zeros([1, 2, 2, 1], dtype)
    expected = f"`data` must be of type float16, .*, int64 or bool, received {dtype}"
    with pytest.raises(TypeError, match=expected):
        run(resampler, data, tf.zeros([1, 1, 2]))


@pytest.mark.parametrize("dtype", ["bool", "complex64", "string"])
def test_wrong_coordinate_type_is_refused_by_name(run, dtype):
    warp = tf.fill([1, 1, 2], "") if dtype == "string" else tf.zeros([1, 1, 2], dtype)
    with pytest.raises(TypeError, match=f"`warp` must hold real numbers, received {dtype}"):
        run(resampler, tf.zeros([1, 2, 2, 1]), warp)


@pytest.mark.parametrize("argument", ["interpolation", "padding"])
@pytest.mark.parametrize("value", ["bilinear", "", None, 1, ["linear"]])
def test_unknown_mode_is_refused_by_name(run, argument, value):
    with pytest.raises(
        ValueError, match=f"`{argument}` must be one of '.*received {re.escape(repr(value))}"
    ):
        run(lambda d, w: resampler(d, w, **{argument: value}), tf.zeros([1, 2, 2, 1]), [[[0.0, 0]]])


@COMPILED
def test_raw_op_refuses_an_unknown_mode(run):
    with pytest.raises(SHAPE_ERRORS, match="interpolation"):
        run(
            lambda d, w: ops.tf_stn_resampler(d, w, [], interpolation="bilinear"),
            tf.zeros([1, 2, 2, 1]),
            tf.zeros([1, 1, 2]),
        )


@pytest.mark.parametrize(
    "shape", [(6,), (2, 5), (2, 7), (2, 3, 2), (2, 2, 2), (2, 3, 3), (1, 2, 3, 2)], ids=str
)
def test_wrong_theta_is_refused_by_name(run, shape):
    with pytest.raises(
        SHAPE_ERRORS, match=r"`theta` must have shape \[batch, \.\.\., 2, 3\] or \[batch, 6\]"
    ):
        run(lambda theta: affine_grid(theta, (2, 2), (2, 2)), np.zeros(shape, np.float32))


SIZE_ARGUMENT = pytest.mark.parametrize("argument", ["output_size", "input_size"])


@SIZE_ARGUMENT
@pytest.mark.parametrize(
    "size",
    [4, (4,), (4, 4, 4), (4, 0), (-1, 4), (4, 2.5), (True, 4), None, "44", (4, None)],
    ids=str,
)
def test_wrong_size_is_refused_by_name(argument, size):
    sizes = {"output_size": (4, 4), "input_size": (4, 4), argument: size}
    with pytest.raises(ValueError, match=f"`{argument}` must be two positive integers .*received"):
        affine_grid(tf.zeros([1, 6]), **sizes)


@SIZE_ARGUMENT
@pytest.mark.parametrize(
    "size", [4, [4], [4, 4, 4], [4, 0], [-1, 4], [[4, 4]], [4.0, 4.0]], ids=str
)
def test_wrong_size_in_a_tensor_is_refused_by_name(run, argument, size):
    def grid(size):
        return affine_grid(
            tf.zeros([1, 6]), **({"output_size": (4, 4), "input_size": (4, 4)} | {argument: size})
        )

    with pytest.raises(
        SHAPE_ERRORS, match=f"`{argument}` must be two positive integers .*received"
    ):
        run(grid, size)


@COMPILED
@pytest.mark.parametrize("op", [ops.tf_stn_resampler, ops.tf_stn_resampler_grad])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_raw_op_refuses_coordinates_of_the_other_type(run, op, dtype):
    other = tf.float32 if dtype == "float64" else tf.float64
    inputs = [tf.zeros([1, 2, 2, 1], dtype), tf.zeros([1, 1, 2], other)]
    if op is ops.tf_stn_resampler_grad:
        inputs.append(tf.zeros([1, 1, 1], dtype))
    with pytest.raises(SHAPE_ERRORS, match=r"`warp` must be of type .* for `data` of type"):
        run(lambda *inputs: op(*inputs, []), *inputs)


@COMPILED
@pytest.mark.parametrize(
    "orders, message",
    [
        ([-1], "must be an order from 0 to 100 for each of x, y and z, received [-1]"),
        ([0, 101], "received [0, 101]"),
        ([0, 0, 0, 0], "received [0, 0, 0, 0]"),
        ([0, 0, 1], "must have no order in z for images"),
    ],
    ids=str,
)
def test_raw_ops_refuse_wrong_orders_of_a_derivative(run, orders, message):
    inputs = [tf.zeros([1, 2, 2, 1]), tf.zeros([1, 1, 2]), tf.zeros([1, 1, 1])]
    for op, count in ((ops.tf_stn_resampler, 2), (ops.tf_stn_resampler_grad, 3)):
        with pytest.raises(SHAPE_ERRORS) as error:
            run(lambda *inputs, op=op: op(*inputs, [], derivative=orders), *inputs[:count])
        assert message in str(error.value)


SECOND_ORDER = {
    "grad_output": ((1, 4, 2), (1, 5, 5, 3), (2, 4, 2), "`grad_output` must have shape"),
    "grad_grad_data of another batch": (
        (2, 4, 3),
        (2, 5, 5, 3),
        (2, 4, 2),
        "`grad_grad_data` must have shape of `data`, [1, 5, 5, 3], or [0], received [2, 5, 5, 3]",
    ),
    "grad_grad_warp of another rank": (
        (2, 4, 3),
        (1, 5, 5, 3),
        (2, 4, 1, 2),
        "`grad_grad_warp` must have shape of `warp`, [2, 4, 2], or [0], received [2, 4, 1, 2]",
    ),
}


@COMPILED
@pytest.mark.parametrize("case", SECOND_ORDER)
def test_the_op_of_second_order_checks_the_same(run, case):
    *shapes, message = SECOND_ORDER[case]
    with pytest.raises(SHAPE_ERRORS) as error:
        run(
            lambda *inputs: ops.tf_stn_resampler_grad_grad(*inputs, []),
            *[tf.zeros(shape) for shape in ((1, 5, 5, 3), (2, 4, 2), *shapes)],
        )
    assert message in str(error.value)
