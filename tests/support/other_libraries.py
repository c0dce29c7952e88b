"""What PyTorch and ONNX Runtime make of the same images and grids.

They are too large to be installed for tests alone, so their results are kept in a file.

    pip install numpy torch==2.13.0 onnx==1.23.2 onnxruntime==1.32.0
    python tests/support/other_libraries.py

writes them anew. Where the peers are installed, tests run them too.
"""

import itertools
import pathlib

import numpy as np

RESULTS = pathlib.Path(__file__).parent / "data" / "other_libraries.npz"
# By our name, what PyTorch calls it; ONNX calls it as we do.
INTERPOLATIONS = {"nearest": "nearest", "linear": "bilinear", "cubic": "bicubic"}
# With align_corners, a reflection is about the centres of the outermost pixels.
REFLECTION = {True: "reflect", False: "symmetric"}


def cases():
    """Yields (rank, interpolation, padding, align_corners), all that the peers have."""
    for rank in (2, 3):
        for interpolation, align_corners in itertools.product(INTERPOLATIONS, (True, False)):
            if rank == 3 and interpolation == "cubic":
                continue
            for padding in ("zeros", "border", REFLECTION[align_corners]):
                yield rank, interpolation, padding, align_corners


def name_of(case):
    rank, interpolation, padding, align_corners = case
    return f"{rank}d-{interpolation}-{padding}-{'centres' if align_corners else 'edges'}"


def problem(rank):
    """Returns data, a normalised grid, grad_output, grad_grad_data and grad_grad_grid.

    No point is near a place where a derivative jumps, or where two pixels are as near, of either
    kind of normalised coordinates.
    """
    rng = np.random.default_rng(rank)
    size = np.array([3, 4, 6][-rank:])
    data = rng.normal(size=[1, *size, 2])
    grid = rng.uniform(-2.5, 2.5, size=[1, 200, rank])
    for span in (size - 1, size):
        pixels = 2 * ((grid + 1) * span[::-1] - (span != size - 1)) / 2
        away = np.abs(pixels - np.round(pixels)).min(axis=(0, 2)) > 0.05
        grid = grid[:, away]
    grid = grid[:, :10]
    return data, grid, *(rng.normal(size=s) for s in ([1, 10, 2], data.shape, grid.shape))


def theta(rank):
    """Returns transformations of several kinds, `[3, rank, rank + 1]`."""
    return np.random.default_rng(rank).normal(size=[3, rank, rank + 1])


def is_reflection(padding):
    return padding in REFLECTION.values()


def run_torch(rank, interpolation, padding, align_corners):
    """Returns the output, gradients, and where PyTorch has them those of gradients."""
    import torch

    data, grid, grad_output, grad_grad_data, grad_grad_grid = map(torch.tensor, problem(rank))
    to_first = lambda x: x.movedim(-1, 1)  # noqa: E731
    for x in (data, grid, grad_output):
        x.requires_grad_()
    output = torch.nn.functional.grid_sample(
        to_first(data),
        grid.reshape(1, *[1] * (rank - 1), -1, rank),
        INTERPOLATIONS[interpolation],
        "reflection" if is_reflection(padding) else padding,
        align_corners,
    )
    output = output.movedim(1, -1).reshape(1, -1, 2)
    gradients = torch.autograd.grad(output, [data, grid], grad_output, create_graph=True)
    results = {"output": output, "grad_data": gradients[0], "grad_grid": gradients[1]}
    directed = (gradients[0] * grad_grad_data).sum() + (gradients[1] * grad_grad_grid).sum()
    try:
        second = torch.autograd.grad(directed, [data, grid, grad_output], allow_unused=True)
    except RuntimeError:  # It has no second order of this kind.
        second = ()
    names = ("second_of_data", "second_of_grid", "second_of_output")
    results |= {name: x for name, x in zip(names, second) if x is not None}
    return {name: x.detach().numpy() for name, x in results.items()}


def run_torch_grid(rank, align_corners):
    import torch

    size = [1, 1, *(3, 4, 5)[-rank:]]
    parameters = torch.tensor(theta(rank))
    return torch.nn.functional.affine_grid(parameters, [3, *size[1:]], align_corners).numpy()


def run_onnx(rank, interpolation, padding, align_corners):
    """Returns the output of GridSample of opset 20, float32."""
    import onnx
    import onnxruntime
    from onnx import helper

    node = helper.make_node(
        "GridSample",
        ["x", "grid"],
        ["y"],
        mode=interpolation,
        padding_mode="reflection" if is_reflection(padding) else padding,
        align_corners=int(align_corners),
    )
    infos = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [None] * (rank + 2))
        for name in ("x", "grid", "y")
    ]
    graph = helper.make_graph([node], "sample", infos[:2], infos[2:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    data, grid, *_ = problem(rank)
    inputs = {
        "x": np.moveaxis(data, -1, 1).astype(np.float32),
        "grid": grid.reshape(1, *[1] * (rank - 1), -1, rank).astype(np.float32),
    }
    (output,) = session.run(None, inputs)
    return {"output": np.moveaxis(output, 1, -1).reshape(1, -1, 2)}


def torch_results():
    results = {
        f"torch/{name_of(case)}/{name}": value
        for case in cases()
        for name, value in run_torch(*case).items()
    }
    for rank, align_corners in itertools.product((2, 3), (True, False)):
        name = f"torch/grid/{rank}d-{'centres' if align_corners else 'edges'}"
        results[name] = run_torch_grid(rank, align_corners)
    return results


def onnx_results():
    return {
        f"onnx/{name_of(case)}/{name}": value
        for case in cases()
        for name, value in run_onnx(*case).items()
    }


if __name__ == "__main__":
    RESULTS.parent.mkdir(exist_ok=True)
    np.savez_compressed(RESULTS, **torch_results(), **onnx_results())
