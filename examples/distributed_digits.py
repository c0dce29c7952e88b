"""Trains the spatial transformer of distorted_digits.py on several devices or machines.

    python examples/distributed_digits.py                          # one device
    python examples/distributed_digits.py --strategy mirrored      # all GPUs, or two virtual CPUs
    python examples/distributed_digits.py --strategy multi_worker  # two processes, here

On a cluster, TF_CONFIG says who the workers are and which of them this is: then the last command,
started on each, trains on all of them. They must share the folder of --output.

All strategies see the same batches and so have the same losses. The state is backed up after every
epoch; what was interrupted, for instance by --kill-after, goes on from there when the command is
given again, without that option. For the two processes, the command itself does that. It writes
losses.csv, a line for each step, those that had to be repeated twice, and model.weights.h5.
"""

import argparse
import contextlib
import csv
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator

import keras
import numpy as np
import tensorflow as tf
from digits import networks, training
from digits.data import Examples, load_digits
from digits.distortions import DISTORTIONS

DISTORTION = DISTORTIONS["RTS"]
WORKERS = 2


def make_strategy(name: str) -> tf.distribute.Strategy:
    """Returns the strategy; to be called before TensorFlow does anything."""
    if name == "none":
        return tf.distribute.get_strategy()
    if name == "multi_worker":
        return tf.distribute.MultiWorkerMirroredStrategy()
    if tf.config.list_physical_devices("GPU"):
        return tf.distribute.MirroredStrategy()
    (cpu,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


def st_fcn() -> keras.Model:
    """Returns the demo's dense network with a transformer in front."""
    return networks.make("ST-FCN", DISTORTION.canvas, "affine")


def batches(examples: Examples, size: int, first: int, seed: int) -> tf.data.Dataset:
    """Returns batches of distorted digits, of all replicas together, from step `first` on.

    What is in a batch follows from its number, so that training that resumes sees what it would
    have seen.
    """
    digits, labels = tf.constant(examples.images), tf.constant(examples.labels)

    def batch(step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        seeds = tf.unstack(tf.random.split([tf.constant(seed, tf.int64), step]))
        chosen = tf.random.stateless_uniform([size], seeds[0], 0, len(digits), tf.int32)
        return DISTORTION(tf.gather(digits, chosen), seeds[1]), tf.gather(labels, chosen)

    # Every worker makes every batch and takes its part of it.
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    steps = tf.data.Dataset.range(first, np.iinfo(np.int64).max)
    return steps.map(batch).with_options(options).prefetch(2)


def training_step(strategy: tf.distribute.Strategy, model: keras.Model) -> Callable:
    """Returns a function that takes a batch from an iterator, trains on it and returns its loss."""

    def on_replica(images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            logits = model(images, training=True)
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
            loss += sum(model.losses)
            # The optimizer adds up the gradients of all replicas.
            share = loss / strategy.num_replicas_in_sync
        variables = model.trainable_variables
        model.optimizer.apply(tape.gradient(share, variables), variables)
        return loss

    @tf.function(autograph=False)
    def step(iterator: tf.distribute.DistributedIterator) -> tf.Tensor:
        losses = strategy.run(on_replica, args=next(iterator))
        return strategy.reduce(tf.distribute.ReduceOp.MEAN, losses, axis=None)

    return step


def steps_done(model: keras.Model) -> int:
    return int(model.optimizer.iterations.numpy())


class WriteLosses(keras.callbacks.Callback):
    """Writes the loss of every step as a line of a file."""

    def __init__(self, path: pathlib.Path) -> None:
        super().__init__()
        self.path = path

    def on_train_begin(self, logs: dict | None = None) -> None:
        if not steps_done(self.model):
            self.path.write_text("step,loss\n")

    def on_train_batch_end(self, batch: int, logs: dict) -> None:
        with self.path.open("a", newline="") as file:
            csv.writer(file, lineterminator="\n").writerow([steps_done(self.model), logs["loss"]])


class KillAfter(keras.callbacks.Callback):
    """Ends the process after so many steps as the kernel does when memory is short."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps

    def on_train_batch_end(self, batch: int, logs: dict) -> None:
        if steps_done(self.model) == self.steps:
            os.kill(os.getpid(), signal.SIGKILL)


@contextlib.contextmanager
def folder_of_worker(strategy: tf.distribute.Strategy, output: pathlib.Path) -> Iterator:
    """Yields where this worker saves: in `output` one of them, the others in a passing folder.

    All must save, since a layer may have values that are summed over workers when they are read.
    All start from what the one saved, since another may have died before it saved the same.
    """
    output.mkdir(parents=True, exist_ok=True)
    if strategy.extended.should_checkpoint:
        yield output
        return
    with tempfile.TemporaryDirectory() as folder:
        if (output / "backup").exists():
            shutil.copytree(output / "backup", pathlib.Path(folder) / "backup")
        yield pathlib.Path(folder)


def train(
    strategy: tf.distribute.Strategy, examples: Examples, options: argparse.Namespace
) -> keras.Model:
    """Trains, from the last backup if there is one, and returns the model."""
    keras.utils.set_random_seed(options.seed)
    with folder_of_worker(strategy, options.output) as folder, strategy.scope():
        model = st_fcn()
        model.compile("adam")
        model.optimizer.build(model.trainable_variables)  # Here, not in the graph of a replica.
        # Twice, since it may be while one is written that the process dies.
        backup = keras.callbacks.BackupAndRestore(str(folder / "backup"), double_checkpoint=True)
        callbacks = [backup, WriteLosses(folder / "losses.csv")]
        if options.kill_after is not None:
            callbacks.append(KillAfter(options.kill_after))
        callbacks = keras.callbacks.CallbackList(callbacks, model=model)
        callbacks.on_train_begin()  # Restores the model, and with it the number of steps.
        data = batches(examples, options.batch, steps_done(model), options.seed)
        iterator = iter(strategy.experimental_distribute_dataset(data))
        step = training_step(strategy, model)
        for epoch in range(steps_done(model) // options.steps, options.epochs):
            callbacks.on_epoch_begin(epoch)
            for index in range(options.steps):
                callbacks.on_train_batch_begin(index)
                callbacks.on_train_batch_end(index, {"loss": float(step(iterator))})
            callbacks.on_epoch_end(epoch)
        model.save_weights(folder / "model.weights.h5")
        callbacks.on_train_end()  # Not before: it removes the backup.
    return model


def percent_wrong(model: keras.Model, test: Examples) -> float:
    predicted = tf.argmax(model(training.distorted_test_images(DISTORTION, test)), axis=-1)
    return 100 * float(np.mean(predicted.numpy() != test.labels))


def cluster(count: int) -> list[dict]:
    """Returns the TF_CONFIG of each of `count` workers on this machine."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))  # Any port that is free.
        addresses = [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]
    tasks = [{"type": "worker", "index": index} for index in range(count)]
    return [{"cluster": {"worker": addresses}, "task": task} for task in tasks]


def run_workers(options: argparse.Namespace, kill_after: int | None) -> bool:
    """Runs all workers until they are done, or one of them dies, and returns which it was."""
    command = [sys.executable, __file__, "--strategy", "multi_worker"]
    for name in ("epochs", "steps", "batch", "seed", "output"):
        command += [f"--{name}", str(getattr(options, name))]
    configurations = cluster(WORKERS)
    workers = []
    deadline = time.monotonic() + options.time_limit
    try:
        for index, configuration in enumerate(configurations):
            is_last = index == len(configurations) - 1
            extra = ["--kill-after", str(kill_after)] if kill_after and is_last else []
            environment = os.environ | {"TF_CONFIG": json.dumps(configuration)}
            with (options.output / f"worker-{index}.log").open("a") as log:
                workers.append(subprocess.Popen([*command, *extra], env=environment, stderr=log))
        while any(worker.poll() is None for worker in workers):
            if any(worker.poll() for worker in workers):
                break
            if time.monotonic() > deadline:
                raise TimeoutError(f"not done after --time-limit {options.time_limit:g} s")
            time.sleep(0.1)
        return all(worker.poll() == 0 for worker in workers)
    finally:
        for worker in workers:
            worker.kill()
        for worker in workers:
            worker.wait()


def leave(*_: object) -> None:
    """Ends this process by an exception, so that its workers are ended too."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # Some send it twice.
    sys.exit("Terminated")


def supervise(options: argparse.Namespace) -> None:
    """Runs the workers; when one dies, the others are of no use, and all start again."""
    options.output.mkdir(parents=True, exist_ok=True)
    kill_after = options.kill_after
    usual = signal.signal(signal.SIGTERM, leave)
    try:
        for _ in range(1 + options.restarts):
            if run_workers(options, kill_after):
                return
            print("A worker has died. All start again from the last backup.", flush=True)
            kill_after = None
        sys.exit(f"Given up after {options.restarts} restarts; see {options.output}/*.log")
    finally:
        signal.signal(signal.SIGTERM, usual)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--strategy", choices=["none", "mirrored", "multi_worker"], default="none")
    add("--epochs", type=int, default=10, help="default: %(default)s")
    add("--steps", type=int, default=62, help="of an epoch; default: %(default)s")
    add("--batch", type=int, default=64, help="of all replicas together; default: %(default)s")
    add("--seed", type=int, default=0, help="default: %(default)s")
    add("--output", type=pathlib.Path, default=pathlib.Path("demo/distributed"), help="folder")
    add("--kill-after", type=int, help="kill the process, or the last of them, after so many steps")
    add("--restarts", type=int, default=3, help="of processes that die; default: %(default)s")
    add("--time-limit", type=float, default=3600, help="for them, in s; default: %(default)s")
    options = parser.parse_args(arguments)
    for name in ("epochs", "steps", "batch"):
        if getattr(options, name) < 1:
            parser.error(f"--{name} must be at least 1, received {getattr(options, name)}")
    if options.strategy == "multi_worker" and "TF_CONFIG" not in os.environ:
        supervise(options)
        return
    strategy = make_strategy(options.strategy)
    replicas = strategy.num_replicas_in_sync
    if options.batch % replicas:
        parser.error(f"--batch must be a multiple of {replicas} devices, received {options.batch}")
    examples, test = load_digits()
    model = train(strategy, examples, options)
    if strategy.extended.should_checkpoint:
        wrong = percent_wrong(model, test)
        print(f"{steps_done(model)} steps, {wrong:.1f} % of the test digits wrong")


if __name__ == "__main__":
    main()
