"""This package."""

import numpy as np
import tensorflow as tf

import tf_stn
from peers.graph import GraphPeer, training_step
from peers.peer import Step
from tf_stn._library import ops


def transform_with_grid(
    data: tf.Tensor, theta: tf.Tensor, output_size: tuple[int, int]
) -> tf.Tensor:
    return tf_stn.resampler(data, tf_stn.affine_grid(theta, output_size, data.shape[1:3]))


# The fused transformation, where this version has it.
transform = getattr(tf_stn, "affine_resampler", transform_with_grid)


class ResamplerOp(GraphPeer):
    """`tf_stn.resampler`, its gradient, and the transformation of images by θ."""

    def versions(self) -> dict[str, str]:
        return {"tf-stn": tf_stn.__version__, **super().versions()}

    def steps(self, inputs: dict[str, np.ndarray]) -> dict[str, Step]:
        data, theta, warp, grad_output = (
            tf.constant(inputs[name]) for name in ("data", "theta", "warp", "grad_output")
        )
        output_size = inputs["grad_output"].shape[1:3]

        def backward() -> dict[str, tf.Tensor]:
            grad_data, grad_warp = ops.tf_stn_resampler_grad(
                data, warp, grad_output, [], compute_grad_data=True, compute_grad_warp=True
            )
            return {"grad_data": grad_data, "grad_warp": grad_warp}

        return {
            "forward": lambda: {"output": tf_stn.resampler(data, warp)},
            "backward": backward,
            "train": lambda: training_step(
                lambda data, theta: transform(data, theta, output_size), data, theta, grad_output
            ),
        }
