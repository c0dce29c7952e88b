"""This package."""

import numpy as np
import tensorflow as tf

import tf_stn
from peers.graph import GraphPeer, steps_by_tape
from peers.peer import Step
from tf_stn._library import ops


def transform_with_grid(
    data: tf.Tensor, theta: tf.Tensor, output_size: tuple[int, ...]
) -> tf.Tensor:
    return tf_stn.resampler(data, tf_stn.affine_grid(theta, output_size, data.shape[1:-1]))


class ResamplerOp(GraphPeer):
    """`tf_stn.resampler`, its gradients, and the transformation of images by θ."""

    def versions(self) -> dict[str, str]:
        return {"tf-stn": tf_stn.__version__, **super().versions()}

    def steps(self, inputs: dict[str, np.ndarray]) -> dict[str, Step]:
        tensors = {name: tf.constant(array) for name, array in inputs.items()}
        data, warp, grad_output = (tensors[name] for name in ("data", "warp", "grad_output"))
        output_size = inputs["grad_output"].shape[1:-1]

        def backward() -> dict[str, tf.Tensor]:
            grad_data, grad_warp = ops.tf_stn_resampler_grad(
                data, warp, grad_output, [], compute_grad_data=True, compute_grad_warp=True
            )
            return {"grad_data": grad_data, "grad_warp": grad_warp}

        steps = steps_by_tape(
            tf_stn.resampler,
            lambda data, theta: tf_stn.affine_resampler(data, theta, output_size),
            tensors,
        )
        return steps | {"backward": backward}
