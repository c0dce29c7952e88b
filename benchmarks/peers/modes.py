"""This package, in every interpolation and padding."""

import itertools

import numpy as np
import tensorflow as tf

import peers
import tf_stn
from peers.graph import GraphPeer
from peers.peer import Step
from tf_stn._library import ops


class Modes(GraphPeer):
    """`tf_stn.resampler` and its gradient."""

    def versions(self) -> dict[str, str]:
        return {"tf-stn": tf_stn.__version__, **super().versions()}

    def steps(self, inputs: dict[str, np.ndarray]) -> dict[str, Step]:
        data, warp, grad_output = (
            tf.constant(inputs[name]) for name in ("data", "warp", "grad_output")
        )

        def forward(interpolation: str, padding: str) -> dict[str, tf.Tensor]:
            return {
                "output": tf_stn.resampler(data, warp, interpolation=interpolation, padding=padding)
            }

        def backward(interpolation: str, padding: str) -> dict[str, tf.Tensor]:
            grad_data, grad_warp = ops.tf_stn_resampler_grad(
                data, warp, grad_output, [], interpolation=interpolation, padding=padding
            )
            return {"grad_data": grad_data, "grad_warp": grad_warp}

        def step_of(function: Step, modes: tuple[str, str]) -> Step:
            return lambda: function(*modes)

        return {
            f"{row} {' '.join(modes)}": step_of(function, modes)
            for row, function in {"forward": forward, "backward": backward}.items()
            for modes in itertools.product(peers.INTERPOLATIONS, peers.PADDINGS)
        }
