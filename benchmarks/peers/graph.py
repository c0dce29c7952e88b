"""What the ways that are made of TensorFlow's graphs have in common."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from peers.peer import Peer, Step

Sampler = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


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
    transform: Sampler,
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


def first_order_step(
    sampler: Sampler, data: tf.Tensor, warp: tf.Tensor, grad_output: tf.Tensor
) -> dict[str, tf.Tensor]:
    """Samples images and goes back to the gradients in them and in the points."""
    with tf.GradientTape() as tape:
        tape.watch([data, warp])
        output = sampler(data, warp)
    grad_data, grad_warp = tape.gradient(output, [data, warp], grad_output)
    return {"output": output, "grad_data": grad_data, "grad_warp": grad_warp}


def only_gradients(results: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    return {name: results[name] for name in ("grad_data", "grad_warp")}


def second_order_step(
    sampler: Sampler, data: tf.Tensor, warp: tf.Tensor, grad_output: tf.Tensor
) -> dict[str, tf.Tensor]:
    """The same, and the gradients of a loss: half the sum of squares of the first ones."""
    inputs = [data, warp, grad_output]
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        results = first_order_step(sampler, *inputs)
        # One op, of which nothing is stored; squares and their sum would take as long as the rest.
        loss = tf.nn.l2_loss(results["grad_data"]) + tf.nn.l2_loss(results["grad_warp"])
    names = ("loss_grad_data", "loss_grad_warp", "loss_grad_grad_output")
    return results | dict(zip(names, tape.gradient(loss, inputs)))


def steps_by_tape(
    sampler: Sampler, transform: Sampler, tensors: dict[str, tf.Tensor]
) -> dict[str, Step]:
    """Returns the steps of a sampler that has gradients.

    Args:
      sampler: From images and points in pixels to samples.
      transform: From images and θ to samples.
      tensors: The inputs.
    """
    data, theta, warp, grad_output = (
        tensors[name] for name in ("data", "theta", "warp", "grad_output")
    )

    def backward() -> dict[str, tf.Tensor]:
        return only_gradients(first_order_step(sampler, data, warp, grad_output))

    return {
        "forward": lambda: {"output": sampler(data, warp)},
        "backward": backward,
        "train": lambda: training_step(transform, data, theta, grad_output),
        "first-order": lambda: first_order_step(sampler, data, warp, grad_output),
        "second-order": lambda: second_order_step(sampler, data, warp, grad_output),
    }


def compiled_by_xla(steps: dict[str, Step]) -> dict[str, Step]:
    return {row: tf.function(step, jit_compile=True) for row, step in steps.items()}


def affine_grid(
    theta: tf.Tensor, output_size: tuple[int, ...], input_size: tuple[int, ...]
) -> tf.Tensor:
    """Returns the warp of θ, in pixels, for ways that have no grid of their own."""
    rank = len(output_size)
    axes = np.meshgrid(*(np.linspace(-1, 1, side) for side in output_size), indexing="ij")
    points = np.stack([*axes[::-1], np.ones(output_size)], axis=-1)
    points = points.reshape(1, -1, rank + 1).astype(np.float32)
    half_span = (np.array(input_size[::-1], np.float32) - 1)[:, None] / 2
    to_middle = np.concatenate([np.zeros([rank, rank], np.float32), half_span], axis=1)
    warp = tf.matmul(points, theta * half_span + to_middle, transpose_b=True)
    return tf.reshape(warp, [-1, *output_size, rank])
