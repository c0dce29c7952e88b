"""The blocks of docs/how_to/migration.md, and what the packages that one comes from make of theirs.

No environment could hold them all, so their results are kept in a file. In each of these

    pip install tensorflow==2.15.1 tensorflow-addons==0.23.0 neurite==0.2 voxelmorph==0.2 \
        stn==1.0.1                                                      # Python 3.10
    pip install tensorflow==1.15.5 'protobuf<3.21' tensorflow-probability==0.8 \
        dm-sonnet==1.36                                                 # Python 3.7
    pip install torch==2.13.0 numpy
    pip install tensorflow-cpu==2.21.0

the command

    python tests/support/migration_page.py

writes the results of the packages that are there anew, and leaves the others. It needs NumPy and
nothing of ours. Where a package is installed, tests run it too.
"""

import ast
import collections
import pathlib
import re

import numpy as np
from repository import ROOT

PAGE = ROOT / "docs/how_to/migration.md"
RESULTS = pathlib.Path(__file__).parent / "data" / "migration.npz"

Pair = collections.namedtuple("Pair", "name before after")
PAIR = r"^### (.+?)\n(?:(?!^#).)*?^Before.*?```python\n(.*?)```.*?^After.*?```python\n(.*?)```"
# Of files, not of a package: a test says what they compute.
WITHOUT_PACKAGE = "Spatial transformer layers for Keras 1 and 2"


def pairs():
    """Returns the pairs of blocks, each named after its heading."""
    found = re.findall(PAIR, PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    return [Pair(name.replace("`", ""), before, after) for name, before, after in found]


def inputs_of(pair):
    """Returns the arrays that the blocks of a pair use, by name.

    Points lie inside and outside of the images, none of them near a place where a derivative jumps.
    """
    rng = np.random.RandomState(0)
    arrays = {
        "images": rng.normal(size=[2, 7, 9, 3]),
        "warp": rng.uniform(-2, 10, size=[2, 20, 2]),
        "grid": rng.uniform(-1.6, 1.6, size=[2, 4, 5, 2]),
        "theta": [[0.9, 0.4, 0.13], [-0.3, 0.8, -0.21]] + 0.1 * rng.normal(size=[2, 2, 3]),
        "flow": rng.uniform(-3, 3, size=[2, 7, 9, 2]),
        "transform": [0.9, 0.2, -0.4, -0.1, 0.8, 1.3, 0.03, 0.02] + 0.01 * rng.normal(size=[2, 8]),
        "volumes": rng.normal(size=[2, 4, 5, 6, 2]),
    }
    if "affine_transform" in pair.name:
        arrays["transform"][:, 6:] = 0
    elif pair.name in (WITHOUT_PACKAGE, "The stn of tutorials"):
        arrays["theta"] *= 0.45  # Inside: outside they are known to differ.
    elif "of volumes" in pair.name:
        arrays["theta"] = np.eye(3, 4) + 0.2 * rng.normal(size=[2, 3, 4])
    elif "voxelmorph" in pair.name:
        arrays["flow"] = rng.uniform(-3, 3, size=[2, 4, 5, 6, 3])
    words = {node.id for node in ast.walk(ast.parse(pair.before)) if isinstance(node, ast.Name)}
    return {name: x.astype(np.float32) for name, x in arrays.items() if name in words}


def weights_of(output):
    """Returns the gradient of the output: numbers that are not the same anywhere."""
    shape = [int(side) for side in output.shape]
    return np.cos(np.arange(np.prod(shape), dtype=np.float32)).reshape(shape)


def run_tensorflow(block, inputs):
    """Returns the output of a block, and the gradients in its inputs where there are any."""
    import tensorflow as tf

    tf.compat.v1.enable_eager_execution()
    tensors = {name: tf.constant(x) for name, x in inputs.items()}
    with tf.GradientTape() as tape:
        tape.watch(list(tensors.values()))
        names = dict(tensors)
        exec(block, names)
        loss = tf.reduce_sum(names["output"] * weights_of(names["output"]))
    results = {"output": names["output"]}
    for name, gradient in zip(tensors, tape.gradient(loss, list(tensors.values()))):
        if gradient is not None:
            results["grad_" + name] = gradient
    return {name: x.numpy() for name, x in results.items()}


def run_torch(block, inputs):
    """The same for PyTorch, whose images have their channels first; not those of the results."""
    import torch

    tensors = {name: torch.tensor(x, requires_grad=True) for name, x in inputs.items()}
    names = {
        name: x.movedim(-1, 1) if name in ("images", "volumes") else x
        for name, x in tensors.items()
    }
    exec(block, names)
    output = names["output"].movedim(1, -1)
    (output * torch.tensor(weights_of(output))).sum().backward()
    results = {"grad_" + name: x.grad for name, x in tensors.items() if x.grad is not None}
    results["output"] = output.detach()
    return {name: x.numpy() for name, x in results.items()}


def run_before(pair):
    """Returns what the package makes of its block; an ImportError if it is not installed."""
    run = run_torch if "torch" in pair.before else run_tensorflow
    return run(pair.before, inputs_of(pair))


def run_after(pair):
    return run_tensorflow(pair.after, inputs_of(pair))


def kept():
    """Returns all kept results, as `name of the pair/name of the result`, and the blocks."""
    with np.load(RESULTS) as results:
        return dict(results)


def kept_of(pair):
    """Returns the kept results of a pair, by name; `before` is the block that they are of."""
    prefix = pair.name + "/"
    return {name[len(prefix) :]: x for name, x in kept().items() if name.startswith(prefix)}


def write_results():
    """Runs what can be run here, and prints what was."""
    results = kept() if RESULTS.exists() else {}
    for pair in pairs():
        try:
            live = run_before(pair)
        except ImportError as error:
            print(f"kept: {pair.name} ({error})")
            continue
        results = {name: x for name, x in results.items() if name.split("/")[0] != pair.name}
        results[pair.name + "/before"] = np.array(pair.before)
        results.update({pair.name + "/" + name: x for name, x in live.items()})
        print("new:  {} ({})".format(pair.name, ", ".join(live)))
    np.savez_compressed(RESULTS, **results)


if __name__ == "__main__":
    write_results()
