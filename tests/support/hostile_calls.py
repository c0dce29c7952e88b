"""Calls the ops with shapes, sizes, types and attributes of all sorts.

Each call succeeds or raises one of a few exceptions. Run by a test in a process of its own: the
file named on the command line says what was called last, should that be the end of the process.
"""

import os
import pathlib
import resource
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf
from fuzzing import examples
from hypothesis import given
from hypothesis import strategies as st

from tf_stn._library import ops

EXPECTED = (
    ValueError,
    TypeError,
    tf.errors.InvalidArgumentError,
    tf.errors.ResourceExhaustedError,
)
# What a call may allocate beyond what the process has, in bytes.
MEMORY = 2**31

OPS = {
    "resampler": ["data", "points"],
    "resampler_grad": ["data", "points", "output"],
    "resampler_grad_grad": ["data", "points", "output", "data", "points"],
    "displacement_resampler": ["data", "field"],
    "displacement_resampler_grad": ["data", "field", "field output"],
    "displacement_resampler_grad_grad": ["data", "field", "field output", "data", "field"],
    "affine_resampler": ["data", "matrix", "size"],
    "affine_resampler_grad": ["data", "matrix", "mapped output"],
    "projective_resampler": ["data", "square", "size"],
    "projective_resampler_grad": ["data", "square", "mapped output"],
}
REAL = ["float16", "bfloat16", "float32", "float64"]
HUGE = [2**30, 2**31 - 1]


def mostly(usual, unusual):
    """Draws of `usual` nine times out of ten."""
    return st.integers(0, 9).flatmap(lambda i: unusual if i == 9 else usual)


def any_shape():
    sides = mostly(st.integers(0, 4), st.sampled_from([5, 17, *HUGE, 2**40]))
    return st.lists(sides, max_size=7).filter(
        lambda shape: np.prod([float(side) for side in shape]) < 2**16
    )


def any_size():
    sides = mostly(st.integers(0, 5), st.sampled_from([-1, -(2**31), *HUGE]))
    return st.lists(sides, max_size=4)


@st.composite
def shapes(draw):
    """Draws shapes that go together, by what they are of."""
    rank = draw(st.sampled_from([2, 3]))
    small = st.integers(0, 4)
    batches = draw(st.sampled_from([(1, 1), (2, 2), (1, 3), (3, 1), (0, 0), (0, 1), (1, 0)]))
    batch = 0 if 0 in batches else max(batches)
    sides, size = (draw(st.lists(small, min_size=rank, max_size=rank)) for _ in range(2))
    axes, channels = draw(st.lists(small, max_size=3)), draw(st.integers(0, 9))
    return {
        "data": [batches[0], *sides, channels],
        "points": [batches[1], *axes, rank],
        "output": [batch, *axes, channels],
        "field": [batches[1], *axes, *size, rank],
        "field output": [batch, *axes, *size, channels],
        "matrix": [batches[1], *axes, rank, rank + 1],
        "square": [batches[1], *axes, rank + 1, rank + 1],
        "mapped output": [batch, *axes, *size, channels],
        "size": [rank],
        "fill": [channels],
    }


@st.composite
def calls(draw):
    """Draws (op, [(shape or size, type)], fill, attributes, how to call)."""
    op = draw(st.sampled_from(sorted(OPS)))
    fitting = draw(shapes())
    dtype = draw(st.sampled_from(REAL))
    coordinates = "float64" if dtype == "float64" else "float32"
    inputs = []
    for name in OPS[op]:
        if name == "size":
            inputs.append((draw(any_size()), draw(mostly(st.just("int32"), st.just("int64")))))
            continue
        kind = coordinates if name in ("points", "field", "matrix", "square") else dtype
        shape = draw(mostly(st.just(fitting[name]), st.one_of(any_shape(), st.just([0]))))
        if draw(st.integers(0, 19)) == 0:
            kind = draw(st.sampled_from([*REAL, "int32", "complex64", "string"]))
        inputs.append((shape, kind))
    fill = draw(mostly(st.just([]), st.lists(any_shape() | st.just(fitting["fill"]), max_size=2)))
    attributes = {
        "interpolation": draw(
            mostly(st.sampled_from(["nearest", "linear", "cubic"]), st.sampled_from(["", "area"]))
        ),
        "padding": draw(
            mostly(
                st.sampled_from(["zeros", "border", "reflect", "symmetric", "wrap"]),
                st.sampled_from(["zero", "Zeros"]),
            )
        ),
    }
    if op.startswith(("resampler", "displacement")) and not op.endswith("grad_grad"):
        orders = mostly(st.integers(0, 3), st.sampled_from([-1, 100, 101, 2**31 - 1, 2**40]))
        attributes["derivative"] = draw(mostly(st.just([]), st.lists(orders, max_size=4)))
    if "grad" in op:
        stored = {"resampler": "warp", "displacement": "displacement"}
        of_points = f"compute_grad_{stored.get(op.split('_')[0], 'matrix')}"
        for name in ("compute_grad_data", of_points):
            attributes[name] = draw(st.booleans())
    how = draw(mostly(st.just("eager"), st.sampled_from(["graph", "graph without shapes"])))
    return op, inputs, fill, dtype, attributes, how


def tensor(shape, dtype):
    if dtype == "string":
        return tf.fill(shape, "text")
    count = int(np.prod(shape, dtype=object))
    values = np.resize([0.5, -1.0, 2.25, 1e30, np.nan, 0.0, -np.inf, 1.0], [count])
    if dtype in ("int32", "int64"):
        values = np.arange(count)
    with np.errstate(all="ignore"):
        values = values.astype(tf.as_dtype(dtype).as_numpy_dtype)
    return tf.reshape(tf.constant(values), shape)


def call(op, inputs, fill, dtype, attributes, how):
    sizes = OPS[op].index("size") if "size" in OPS[op] else None
    tensors = [
        tf.constant(values, kind) if i == sizes else tensor(values, kind)
        for i, (values, kind) in enumerate(inputs)
    ]
    fills = [tensor(shape, dtype) for shape in fill]

    def function(*arguments):
        count = len(tensors)
        return getattr(ops, f"tf_stn_{op}")(*arguments[:count], arguments[count:], **attributes)

    if how != "eager":
        specs = [
            tf.TensorSpec(x.shape if how == "graph" else None, x.dtype) for x in (*tensors, *fills)
        ]
        function = tf.function(function, input_signature=specs, autograph=False)
    return function(*tensors, *fills)


def main():
    log = pathlib.Path(sys.argv[1])
    tf.zeros([1])  # Makes TensorFlow's threads, with what memory they need.
    used = 4096 * int(pathlib.Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, resource.RLIM_INFINITY))
    outcomes = {"returned": 0, "raised": 0}

    @examples(300)
    @given(calls())
    def check(case):
        log.write_text(repr(case))
        try:
            call(*case)
        except EXPECTED:
            outcomes["raised"] += 1
        else:
            outcomes["returned"] += 1

    check()
    print(outcomes)
    assert min(outcomes.values()) > sum(outcomes.values()) / 10, outcomes


if __name__ == "__main__":
    main()
