r"""Measures what memory a training step takes beyond what goes in and comes out.

    TF_ENABLE_ONEDNN_OPTS=0 MALLOC_MMAP_THRESHOLD_=16384 MALLOC_ARENA_MAX=1 \
        python benchmarks/memory.py fused --folder FOLDER --threads 2

TensorFlow shows no statistics of its allocator on the CPU, so the kernel is asked. oneDNN would
bring a pool that keeps what is freed; without it tensors come from malloc, and with this threshold
malloc gives each of them pages of its own and returns these when it is freed. So the resident pages
of the process are what it uses. The kernel's record of their highest number (VmHWM) is reset before
a step. After it, images, θ, output and gradients are all still held: by how much the record exceeds
what is there now is what was temporary. The process is fresh, and its first steps, in which
TensorFlow sets itself up, do not count. Repeated, it is exact to about 0.1 MB.

It prints {"bytes": B}, the median of the steps, and the least and the most.
"""

import argparse
import ctypes
import json
import os
import pathlib
import statistics
import sys

ENVIRONMENT = {
    "TF_ENABLE_ONEDNN_OPTS": "0",
    "MALLOC_MMAP_THRESHOLD_": "16384",
    "MALLOC_ARENA_MAX": "1",
}
WAYS = ("fused", "grid")
WARM_STEPS, STEPS = 3, 7


def pages(name: str) -> int:
    """Returns a figure of /proc/self/status in bytes."""
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    (kilobytes,) = (line.split()[1] for line in lines if line.startswith(f"{name}:"))
    return int(kilobytes) * 1024


def temporary_bytes(folder: pathlib.Path, way: str, threads: int) -> list[int]:
    """Returns what each of some training steps took for a while."""
    # Here, since compare.py reads ENVIRONMENT and needs no TensorFlow.
    import tensorflow as tf
    import workloads
    from peers import resampler_op
    from peers.graph import training_step

    import tf_stn

    resampler_op.ResamplerOp(threads)
    inputs = workloads.load_inputs(folder)
    names = ("data", "theta", "grad_output")
    data, theta, grad_output = (tf.constant(inputs[name]) for name in names)
    del inputs
    transform = {
        "fused": tf_stn.affine_resampler,
        "grid": resampler_op.transform_with_grid,
    }[way]
    output_size = tuple(grad_output.shape[1:3])

    @tf.function
    def step() -> dict[str, tf.Tensor]:
        return training_step(
            lambda data, theta: transform(data, theta, output_size), data, theta, grad_output
        )

    # The kernel counts pages for each processor and adds them up late: fewer are more exact.
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    trim = ctypes.CDLL(None).malloc_trim
    found = []
    for _ in range(WARM_STEPS + STEPS):
        results = None
        trim(0)
        pathlib.Path("/proc/self/clear_refs").write_text("5")
        results = step()
        found.append(pages("VmHWM") - pages("VmRSS"))
        del results
    return found[WARM_STEPS:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("way", choices=WAYS)
    parser.add_argument("--folder", type=pathlib.Path, required=True)
    parser.add_argument("--threads", type=int, required=True)
    options = parser.parse_args()
    missing = {name for name in ENVIRONMENT if name not in os.environ}
    if missing:
        sys.exit(f"{', '.join(sorted(missing))} must be set; see the top of {__file__}")
    found = temporary_bytes(options.folder, options.way, options.threads)
    print(json.dumps({"bytes": statistics.median(found), "least": min(found), "most": max(found)}))


if __name__ == "__main__":
    main()
