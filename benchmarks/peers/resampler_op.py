"""This package."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

import tf_stn
from peers.graph import (
    GraphPeer,
    compiled_by_xla,
    first_order_step,
    only_gradients,
    steps_by_tape,
    training_step,
)
from peers.peer import Step
from tf_stn._library import ops


def transform_with_grid(
    data: tf.Tensor, theta: tf.Tensor, output_size: tuple[int, ...]
) -> tf.Tensor:
    return tf_stn.resampler(data, tf_stn.affine_grid(theta, output_size, data.shape[1:-1]))


class ThisPackage(GraphPeer):
    def versions(self) -> dict[str, str]:
        return {"tf-stn": tf_stn.__version__, **super().versions()}


class ByTape(ThisPackage):
    """`tf_stn.resampler`, its gradients, and the transformation of images by θ."""

    def steps(self, inputs: dict[str, np.ndarray]) -> dict[str, Step]:
        return self.steps_of({name: tf.constant(array) for name, array in inputs.items()})

    def steps_of(self, tensors: dict[str, tf.Tensor]) -> dict[str, Step]:
        output_size = tuple(tensors["grad_output"].shape[1:-1])
        return steps_by_tape(
            tf_stn.resampler,
            lambda data, theta: tf_stn.affine_resampler(data, theta, output_size),
            tensors,
        )


class ResamplerOp(ByTape):
    """The same, with the op of the gradients alone where they alone are measured."""

    def steps_of(self, tensors: dict[str, tf.Tensor]) -> dict[str, Step]:
        data, warp, grad_output = (tensors[name] for name in ("data", "warp", "grad_output"))

        def backward() -> dict[str, tf.Tensor]:
            grad_data, grad_warp = ops.tf_stn_resampler_grad(
                data, warp, grad_output, [], compute_grad_data=True, compute_grad_warp=True
            )
            return {"grad_data": grad_data, "grad_warp": grad_warp}

        return super().steps_of(tensors) | {"backward": backward}


class Xla(ResamplerOp):
    """The same ops, called by what XLA has compiled."""

    def steps(self, inputs: dict[str, np.ndarray]) -> dict[str, Step]:
        return compiled_by_xla(super().steps(inputs))


class Portable(ByTape):
    """The same functions in TensorFlow's own ops."""

    def steps(self, inputs: dict[str, np.ndarray]) -> dict[str, Step]:
        def portable(step: Step) -> Step:
            def portable_step() -> dict[str, tf.Tensor]:
                with tf_stn.portable():
                    return step()

            return portable_step

        return {row: portable(step) for row, step in super().steps(inputs).items()}


class PortableXla(Portable):
    """Those, compiled by XLA."""

    def steps(self, inputs: dict[str, np.ndarray]) -> dict[str, Step]:
        return compiled_by_xla(super().steps(inputs))


class EachImage(ThisPackage):
    """Every image by itself, as for gradients of each example, in `tf.vectorized_map`."""

    def steps(self, inputs: dict[str, np.ndarray]) -> dict[str, Step]:
        data, theta, warp, grad_output = (
            tf.constant(inputs[name][:, None]) for name in ("data", "theta", "warp", "grad_output")
        )
        output_size = inputs["grad_output"].shape[1:-1]

        def mapped(
            function: Callable[..., dict[str, tf.Tensor]], *tensors: tf.Tensor
        ) -> dict[str, tf.Tensor]:
            results = tf.vectorized_map(lambda image: function(*image), tensors)
            return {name: tf.squeeze(result, 1) for name, result in results.items()}

        def gradients(*image: tf.Tensor) -> dict[str, tf.Tensor]:
            return only_gradients(first_order_step(tf_stn.resampler, *image))

        def train(*image: tf.Tensor) -> dict[str, tf.Tensor]:
            return training_step(
                lambda data, theta: tf_stn.affine_resampler(data, theta, output_size), *image
            )

        return {
            "forward": lambda: mapped(
                lambda *image: {"output": tf_stn.resampler(*image)}, data, warp
            ),
            "backward": lambda: mapped(gradients, data, warp, grad_output),
            "train": lambda: mapped(train, data, theta, grad_output),
        }
