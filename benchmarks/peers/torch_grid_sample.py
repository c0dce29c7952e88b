"""PyTorch: `torch.nn.functional.grid_sample`."""

import numpy as np
import torch

from peers.peer import Peer, Step

BILINEAR, ZEROS, ALIGN_CORNERS = 0, 0, True
OF_IMAGES = ("output", "grad_data", "loss_grad_data", "loss_grad_grad_output")
OF_POINTS = {"grad_grid": "grad_warp", "loss_grad_grid": "loss_grad_warp"}


class GridSample(Peer):
    """Images and volumes in PyTorch's own layout, channels before the spatial axes."""

    layouts = (torch.contiguous_format, torch.contiguous_format)  # Of images and of volumes.

    def __init__(self, threads: int) -> None:
        super().__init__(threads)
        torch.set_num_threads(threads)

    def versions(self) -> dict[str, str]:
        return {"torch": torch.__version__}

    def steps(self, inputs: dict[str, np.ndarray]) -> dict[str, Step]:
        rank = inputs["warp"].shape[-1]
        layout = self.layouts[rank - 2]
        data, grad_output = (
            torch.from_numpy(inputs[name]).movedim(-1, 1).contiguous(memory_format=layout)
            for name in ("data", "grad_output")
        )
        half_span = (torch.tensor(data.shape[:1:-1], dtype=torch.float64) - 1) / 2
        self._half_span = half_span.numpy()  # Pixels per unit of the grid's coordinates.
        grid = (torch.from_numpy(inputs["warp"]).double() / half_span - 1).float()
        theta = torch.from_numpy(inputs["theta"]).requires_grad_()
        trained = data.clone().requires_grad_()
        sample = {2: torch.grid_sampler_2d, 3: torch.grid_sampler_3d}[rank]
        gradients = {
            2: torch.ops.aten.grid_sampler_2d_backward,
            3: torch.ops.aten.grid_sampler_3d_backward,
        }[rank]

        def forward() -> dict[str, torch.Tensor]:
            return {"output": sample(data, grid, BILINEAR, ZEROS, ALIGN_CORNERS)}

        def backward() -> dict[str, torch.Tensor]:
            grad_data, grad_grid = gradients(
                grad_output, data, grid, BILINEAR, ZEROS, ALIGN_CORNERS, [True, True]
            )
            return {"grad_data": grad_data, "grad_grid": grad_grid}

        def train() -> dict[str, torch.Tensor]:
            points = torch.nn.functional.affine_grid(theta, grad_output.shape, align_corners=True)
            output = torch.nn.functional.grid_sample(trained, points, align_corners=True)
            grad_data, grad_theta = torch.autograd.grad(output, [trained, theta], grad_output)
            return {"output": output, "grad_data": grad_data, "grad_theta": grad_theta}

        return {
            "forward": forward,
            "backward": backward,
            "train": train,
            **_steps_by_autograd(data, grid, grad_output, half_span.float()),
        }

    def results(self, step: Step) -> dict[str, np.ndarray]:
        results = {name: value.detach() for name, value in step().items()}
        for name in set(OF_IMAGES) & results.keys():
            results[name] = results[name].movedim(1, -1)
        results = {name: value.numpy() for name, value in results.items()}
        for of_grid, of_warp in OF_POINTS.items():
            if of_grid in results:
                results[of_warp] = results.pop(of_grid) / self._half_span
        return results


def _steps_by_autograd(
    data: torch.Tensor, grid: torch.Tensor, grad_output: torch.Tensor, half_span: torch.Tensor
) -> dict[str, Step]:
    """Returns steps to gradients in images and points, and to gradients of these."""
    inputs = [x.clone().requires_grad_() for x in (data, grid, grad_output)]

    def first_order(create_graph: bool = False) -> dict[str, torch.Tensor]:
        data, grid, grad_output = inputs
        output = torch.nn.functional.grid_sample(data, grid, align_corners=True)
        grad_data, grad_grid = torch.autograd.grad(
            output, [data, grid], grad_output, create_graph=create_graph
        )
        return {"output": output, "grad_data": grad_data, "grad_grid": grad_grid}

    def second_order() -> dict[str, torch.Tensor]:
        results = first_order(create_graph=True)
        # The loss is that of gradients by pixels.
        gradients = [results["grad_data"], results["grad_grid"] / half_span]
        loss = sum((gradient**2).sum() / 2 for gradient in gradients)
        names = ("loss_grad_data", "loss_grad_grid", "loss_grad_grad_output")
        return results | dict(zip(names, torch.autograd.grad(loss, inputs)))

    return {"first-order": first_order, "second-order": second_order}


class GridSampleChannelsLast(GridSample):
    """The same with the channels last in memory."""

    layouts = (torch.channels_last, torch.channels_last_3d)
