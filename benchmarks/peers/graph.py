"""What the ways that are made of TensorFlow's graphs have in common."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from peers.peer import Peer, Step


class GraphPeer(Peer):
    """Calls are chained inside one `tf.function`, so that Python takes no part in them."""

    def __init__(self, threads: int) -> None:
        super().__init__(threads)
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)

    def versions(self) -> dict[str, str]:
        return {"tensorflow": tf.__version__}

    def chain(self, step: Step, times: int) -> Callable[[], None]:
        # One element of every result goes into a sum, because TensorFlow does not compute what
        # nobody reads; and each call waits for the sum of those before it.
        step = tf.function(step)  # Traced once, and put in line by TensorFlow.

        @tf.function
        def run() -> tf.Tensor:
            total = tf.zeros([])
            for _ in range(times):
                with tf.control_dependencies([total]):
                    results = step().values()
                total = tf.add_n([total, *(x[(0,) * x.shape.rank] for x in results)])
            return total

        return lambda: run().numpy()

    def results(self, step: Step) -> dict[str, np.ndarray]:
        return {name: value.numpy() for name, value in tf.function(step)().items()}


def training_step(
    transform: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
    data: tf.Tensor,
    theta: tf.Tensor,
    grad_output: tf.Tensor,
) -> dict[str, tf.Tensor]:
    """Transforms images and goes back to the gradients in them and in θ."""
    with tf.GradientTape() as tape:
        tape.watch([data, theta])
        output = transform(data, theta)
    grad_data, grad_theta = tape.gradient(output, [data, theta], grad_output)
    return {"output": output, "grad_data": grad_data, "grad_theta": grad_theta}


def affine_grid(
    theta: tf.Tensor, output_size: tuple[int, int], input_size: tuple[int, int]
) -> tf.Tensor:
    """Returns the warp of θ, in pixels, for ways that have no grid of their own."""
    y, x = np.meshgrid(*(np.linspace(-1, 1, side) for side in output_size), indexing="ij")
    points = np.stack([x, y, np.ones_like(x)], axis=-1).reshape(1, -1, 3).astype(np.float32)
    half_span = (np.array([input_size[1], input_size[0]], np.float32) - 1) / 2
    to_pixels = theta * half_span[:, None] + [[0, 0, half_span[0]], [0, 0, half_span[1]]]
    warp = tf.matmul(points, to_pixels, transpose_b=True)
    return tf.reshape(warp, [-1, *output_size, 2])
