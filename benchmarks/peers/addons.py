"""TensorFlow Addons: `tfa.image.resampler`."""

import numpy as np
import tensorflow as tf
import tensorflow_addons as tfa
from tensorflow_addons.image import resampler_ops

from peers.graph import GraphPeer, affine_grid, steps_by_tape
from peers.peer import Step

ops = resampler_ops._resampler_so.ops


class Addons(GraphPeer):
    """The ops behind `tfa.image.resampler`."""

    def versions(self) -> dict[str, str]:
        return {"tensorflow-addons": tfa.__version__, **super().versions()}

    def steps(self, inputs: dict[str, np.ndarray]) -> dict[str, Step]:
        tensors = {name: tf.constant(array) for name, array in inputs.items()}
        data, warp, grad_output = (tensors[name] for name in ("data", "warp", "grad_output"))
        sizes = inputs["grad_output"].shape[1:3], inputs["data"].shape[1:3]

        def backward() -> dict[str, tf.Tensor]:
            grad_data, grad_warp = ops.addons_resampler_grad(data, warp, grad_output)
            return {"grad_data": grad_data, "grad_warp": grad_warp}

        def transform(data: tf.Tensor, theta: tf.Tensor) -> tf.Tensor:
            return ops.addons_resampler(data, affine_grid(theta, *sizes))

        steps = steps_by_tape(ops.addons_resampler, transform, tensors)
        return steps | {"backward": backward}
