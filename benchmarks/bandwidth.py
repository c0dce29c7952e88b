"""Measures the ops' bandwidth as a share of what copying memory reaches on the same device.

    python benchmarks/bandwidth.py               # on the first GPU, or the CPU if there is none
    python benchmarks/bandwidth.py --device cpu

For each workload, the bytes that must be moved (every operand once) over the time of a call, and
that as a share of a copy's bandwidth, measured in turn in the same run. Medians; the calls are
chained inside one tf.function, so that Python takes no part.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import tensorflow as tf

import tf_stn
from tf_stn._library import ops

# Name: images [batch, height, width, channels], height and width of the output.
WORKLOADS = {
    "mnist": ((64, 28, 28, 1), (28, 28)),
    "rgb": ((16, 224, 224, 3), (224, 224)),
    "feat64": ((16, 56, 56, 64), (28, 28)),
    "feat256": ((16, 28, 28, 256), (14, 14)),
    "flow4k": ((1, 2160, 3840, 1), (2160, 3840)),
}
COPY_ELEMENTS = 1 << 25


def chained(call: Callable[[], tf.Tensor], times: int) -> Callable[[], None]:
    """Returns a graph that makes `times` calls, one after the other."""

    # One element of every result goes into a sum, because TensorFlow does not compute what nobody
    # reads; and each call waits for the sum of those before it.
    @tf.function
    def run() -> tf.Tensor:
        total = tf.zeros([])
        for _ in range(times):
            with tf.control_dependencies([total]):
                total += call()[0]
        return total

    run()
    return lambda: run().numpy()


def first_element(tensor: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.reshape(tensor, [-1])[:1], tf.float32)


def seconds(call: Callable[[], None]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def calls(dtype: tf.DType, shape: tuple[int, ...], size: tuple[int, int]) -> dict[str, tuple]:
    """Returns what to call for one workload, and the bytes that it must move, by name."""
    data = tf.cast(tf.random.stateless_uniform(shape, [1, 2]), dtype)
    zoom = tf.constant([0.9, 0, 0, 0, 0.9, 0])
    theta = zoom + tf.random.stateless_normal([shape[0], 6], [3, 4], stddev=0.1)
    warp = tf.identity(tf_stn.affine_grid(theta, size, shape[1:3]))
    output = tf.identity(tf_stn.resampler(data, warp))
    image, points, samples = (int(np.prod(x.shape)) * x.dtype.size for x in (data, warp, output))

    def gradient(of_data: bool, of_warp: bool) -> Callable[[], tf.Tensor]:
        compute = {"compute_grad_data": of_data, "compute_grad_warp": of_warp}
        index = 0 if of_data else 1
        return lambda: first_element(
            ops.tf_stn_resampler_grad(data, warp, output, [], **compute)[index]
        )

    return {
        "forward": (
            lambda: first_element(tf_stn.resampler(data, warp)),
            image + points + samples,
        ),
        "grad data": (gradient(True, False), image + points + samples),
        "grad warp": (gradient(False, True), image + 2 * points + samples),
        "grad both": (gradient(True, True), 2 * image + 2 * points + samples),
    }


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    gpu = bool(tf.config.list_physical_devices("GPU"))
    parser.add_argument("--device", choices=["cpu", "gpu"], default="gpu" if gpu else "cpu")
    parser.add_argument("--dtype", choices=["float16", "bfloat16", "float32", "float64"],
                        default="float32")  # fmt: skip
    parser.add_argument("--workloads", nargs="+", choices=WORKLOADS, default=list(WORKLOADS))
    parser.add_argument("--calls", type=int, default=20, help="in one graph; default: %(default)s")
    parser.add_argument("--repeats", type=int, default=9, help="default: %(default)s")
    options = parser.parse_args(arguments)
    with tf.device(f"/{options.device}:0"):
        memory = tf.zeros([COPY_ELEMENTS])
        copy = chained(lambda: memory + 1, options.calls)
        print(f"{'workload':<10}{'op':<12}{'ms':>9}{'GB/s':>9}{'of copy':>9}")
        for name in options.workloads:
            for op, (call, moved) in calls(tf.as_dtype(options.dtype), *WORKLOADS[name]).items():
                run = chained(call, options.calls)
                pairs = [(seconds(run), seconds(copy)) for _ in range(options.repeats)]
                took, copied = (statistics.median(side) / options.calls for side in zip(*pairs))
                share = (moved / took) / (2 * 4 * COPY_ELEMENTS / copied)
                print(
                    f"{name:<10}{op:<12}{took * 1e3:>9.3f}{moved / took / 1e9:>9.1f}{share:>9.2f}"
                )


if __name__ == "__main__":
    main()
