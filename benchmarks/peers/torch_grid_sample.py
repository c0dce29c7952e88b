"""PyTorch: `torch.nn.functional.grid_sample`."""

import numpy as np
import torch

from peers.peer import Peer, Step

BILINEAR, ZEROS, ALIGN_CORNERS = 0, 0, True


class GridSample(Peer):
    """Images in PyTorch's own layout, `[batch, channels, height, width]`."""

    layout = torch.contiguous_format

    def __init__(self, threads: int) -> None:
        super().__init__(threads)
        torch.set_num_threads(threads)

    def versions(self) -> dict[str, str]:
        return {"torch": torch.__version__}

    def steps(self, inputs: dict[str, np.ndarray]) -> dict[str, Step]:
        data, grad_output = (
            torch.from_numpy(inputs[name]).permute(0, 3, 1, 2).contiguous(memory_format=self.layout)
            for name in ("data", "grad_output")
        )
        half_span = (torch.tensor(data.shape[:1:-1], dtype=torch.float64) - 1) / 2
        self._half_span = half_span.numpy()  # Pixels per unit of the grid's coordinates.
        grid = (torch.from_numpy(inputs["warp"]).double() / half_span - 1).float()
        theta = torch.from_numpy(inputs["theta"]).requires_grad_()
        trained = data.clone().requires_grad_()

        def forward() -> dict[str, torch.Tensor]:
            return {"output": torch.grid_sampler_2d(data, grid, BILINEAR, ZEROS, ALIGN_CORNERS)}

        def backward() -> dict[str, torch.Tensor]:
            grad_data, grad_grid = torch.ops.aten.grid_sampler_2d_backward(
                grad_output, data, grid, BILINEAR, ZEROS, ALIGN_CORNERS, [True, True]
            )
            return {"grad_data": grad_data, "grad_grid": grad_grid}

        def train() -> dict[str, torch.Tensor]:
            points = torch.nn.functional.affine_grid(theta, grad_output.shape, align_corners=True)
            output = torch.nn.functional.grid_sample(trained, points, align_corners=True)
            grad_data, grad_theta = torch.autograd.grad(output, [trained, theta], grad_output)
            return {"output": output, "grad_data": grad_data, "grad_theta": grad_theta}

        return {"forward": forward, "backward": backward, "train": train}

    def results(self, step: Step) -> dict[str, np.ndarray]:
        results = {name: value.detach() for name, value in step().items()}
        for name in {"output", "grad_data"} & results.keys():
            results[name] = results[name].permute(0, 2, 3, 1)
        results = {name: value.numpy() for name, value in results.items()}
        if "grad_grid" in results:
            results["grad_warp"] = results.pop("grad_grid") / self._half_span
        return results


class GridSampleChannelsLast(GridSample):
    """The same with the channels last in memory."""

    layout = torch.channels_last
