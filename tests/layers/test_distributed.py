"""Training on several devices and in several processes gives what one device gives."""

import csv
import importlib
import json
import os
import signal
import subprocess
import sys
import time
import types
from subprocess import Popen

import numpy as np
import pytest
from repository import ROOT

SCRIPT = ROOT / "examples/distributed_digits.py"
EPOCHS, STEPS, KILLED_AFTER = 3, 4, 6
SMALL = ["--epochs", str(EPOCHS), "--steps", str(STEPS), "--batch", "32", "--output"]
# For processes that import TensorFlow and may have to share a processor.
SECONDS = 600
TOLERANCE = 1e-5


@pytest.fixture(scope="module", autouse=True)
def _environment():
    """Processes see virtual devices of the CPU, no cluster but ours, and what examples share."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CUDA_VISIBLE_DEVICES", "-1")
        patch.delenv("TF_CONFIG", raising=False)
        patch.setenv("PYTHONPATH", str(SCRIPT.parent), prepend=os.pathsep)
        patch.syspath_prepend(SCRIPT.parent)
        yield


@pytest.fixture(scope="module")
def script(_environment):
    return importlib.import_module("distributed_digits")


def run(program, *options):
    """Runs a program in a process of its own; returns what it printed and how it ended."""
    command = [sys.executable, program, *options]
    return subprocess.run(command, timeout=SECONDS, capture_output=True, text=True)


@pytest.fixture
def processes(monkeypatch):
    """Every process that is started; none is left in the end."""
    started = []
    start = subprocess.Popen

    def popen(*arguments, **options):
        started.append(start(*arguments, **options))
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", popen)
    yield started
    running = [process for process in started if process.poll() is None]
    for process in running:
        process.kill()
    assert not running


def losses(folder):
    with (folder / "losses.csv").open() as file:
        return [(int(row["step"]), float(row["loss"])) for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def alone(script, tmp_path_factory):
    """The folder of an uninterrupted run on one device."""
    folder = tmp_path_factory.mktemp("alone")
    script.main([*SMALL, str(folder)])
    assert [step for step, _ in losses(folder)] == list(range(1, EPOCHS * STEPS + 1))
    return folder


def assert_same_training(script, folder, alone):
    """In every step, those included that came twice, and in the model that comes out."""
    expected = dict(losses(alone))
    for step, loss in losses(folder):
        assert abs(loss - expected[step]) < TOLERANCE, (step, loss, expected[step])
    model, expected_model = script.st_fcn(), script.st_fcn()
    model.load_weights(folder / "model.weights.h5")
    expected_model.load_weights(alone / "model.weights.h5")
    for weight, expected_weight in zip(model.weights, expected_model.weights):
        values = (weight.numpy(), expected_weight.numpy())
        np.testing.assert_allclose(*values, atol=TOLERANCE, err_msg=weight.path)


def test_losses_tell_steps_and_seeds_apart(script, alone, tmp_path):
    """Otherwise it would say little that they agree."""
    values = [loss for _, loss in losses(alone)]
    assert np.diff(np.sort(values)).min() > TOLERANCE
    script.main([*SMALL, str(tmp_path), "--seed", "1"])
    other = [loss for _, loss in losses(tmp_path)]
    assert np.abs(np.subtract(other, values)).min() > TOLERANCE


def test_two_devices_train_as_one_and_resume_after_a_kill(script, alone, tmp_path):
    command = [SCRIPT, "--strategy", "mirrored", *SMALL, tmp_path]
    killed = run(*command, "--kill-after", str(KILLED_AFTER))
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert (tmp_path / "backup").exists()
    resumed = run(*command)
    assert resumed.returncode == 0, resumed.stderr
    steps = [step for step, _ in losses(tmp_path)]
    assert steps == [*range(1, KILLED_AFTER + 1), *range(STEPS + 1, EPOCHS * STEPS + 1)]
    assert_same_training(script, tmp_path, alone)
    assert not (tmp_path / "backup").exists()


def test_two_workers_train_as_one_and_resume_after_one_is_killed(
    script, alone, processes, tmp_path, capfd
):
    options = ["--kill-after", str(KILLED_AFTER), "--time-limit", str(SECONDS)]
    script.main(["--strategy", "multi_worker", *SMALL, str(tmp_path), *options])
    first, second = processes[:2], processes[2:]
    assert first[1].returncode == -signal.SIGKILL
    assert [process.returncode for process in second] == [0, 0]
    printed = capfd.readouterr().out
    assert printed.count("A worker has died") == 1
    assert f"{EPOCHS * STEPS} steps, " in printed
    steps = [step for step, _ in losses(tmp_path)]
    resumed = list(range(STEPS + 1, EPOCHS * STEPS + 1))
    # The worker that writes may have been ended before it wrote the last that both computed.
    assert steps[-len(resumed) :] == resumed
    assert steps[: -len(resumed)] in [list(range(1, KILLED_AFTER + more)) for more in (0, 1)]
    assert_same_training(script, tmp_path, alone)


def test_workers_are_ended_at_the_time_limit(script, processes, tmp_path):
    with pytest.raises(TimeoutError, match="--time-limit"):
        script.main(["--strategy", "multi_worker", *SMALL, str(tmp_path), "--time-limit", "0.5"])
    assert [process.returncode for process in processes] == [-signal.SIGKILL] * script.WORKERS


def test_workers_are_ended_when_their_launcher_is_told_to_end(
    script, processes, tmp_path, monkeypatch
):
    """Even if it is told twice, as by timeout(1)."""
    kill = Popen.kill

    def told_to_end(process=None):
        os.kill(os.getpid(), signal.SIGTERM)
        if process:
            kill(process)

    usual = signal.getsignal(signal.SIGTERM)
    clock = types.SimpleNamespace(monotonic=time.monotonic, sleep=lambda seconds: told_to_end())
    monkeypatch.setattr(script, "time", clock)
    monkeypatch.setattr(Popen, "kill", told_to_end)
    with pytest.raises(SystemExit, match="Terminated"):
        script.main(["--strategy", "multi_worker", *SMALL, str(tmp_path)])
    assert [process.returncode for process in processes] == [-signal.SIGKILL] * script.WORKERS
    assert signal.getsignal(signal.SIGTERM) == usual


def test_workers_that_die_every_time_are_given_up(script, processes, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(SystemExit, match="Given up after 2 restarts"):
        script.main(["--strategy", "multi_worker", *SMALL, str(tmp_path), "--restarts", "2"])
    assert len(processes) == 3 * script.WORKERS


def test_steps_that_are_none_are_refused(script, capsys):
    with pytest.raises(SystemExit):
        script.main(["--steps", "0"])
    assert "--steps must be at least 1, received 0" in capsys.readouterr().err


def test_batch_that_devices_cannot_share_equally_is_refused(script, capsys, monkeypatch):
    two = types.SimpleNamespace(num_replicas_in_sync=2)
    monkeypatch.setattr(script, "make_strategy", lambda name: two)
    with pytest.raises(SystemExit):
        script.main(["--strategy", "mirrored", "--batch", "33"])
    assert "--batch must be a multiple of 2 devices, received 33" in capsys.readouterr().err


@pytest.fixture(scope="module")
def mirrored(tmp_path_factory):
    """What each way of training gives, by its name."""
    process = run(ROOT / "tests/layers/mirrored_training.py", tmp_path_factory.mktemp("backup"))
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout)


WAYS = ["fit on two devices", "loop on one device", "loop on two devices"]


@pytest.mark.parametrize("way", WAYS)
def test_losses_with_penalties_are_those_of_fit_on_one_device(mirrored, way):
    expected = mirrored["fit on one device"]["loss"]
    np.testing.assert_allclose(mirrored[way]["loss"], expected, atol=TOLERANCE)


@pytest.mark.parametrize("way", WAYS)
def test_gradients_of_all_devices_reach_every_copy_of_a_weight(mirrored, way):
    expected = mirrored["fit on one device"]["weights"]
    for copies, (expected_weight,) in zip(mirrored[way]["weights"], expected):
        assert len(copies) == (2 if "two" in way else 1)
        for copy in copies:
            np.testing.assert_allclose(copy, expected_weight, atol=TOLERANCE)


def test_metric_is_over_all_devices(mirrored):
    one, two = (mirrored[f"fit on {count}"] for count in ("one device", "two devices"))
    assert 0.1 < np.mean(one["fraction_outside"]) < 0.9
    np.testing.assert_allclose(two["fraction_outside"], one["fraction_outside"], atol=TOLERANCE)


def test_fit_on_two_devices_resumes_where_its_last_epoch_ended(mirrored):
    resumed, whole = mirrored["fit on two devices, resumed"], mirrored["fit on two devices"]
    assert resumed["loss"] == whole["loss"][1:]
    assert resumed["weights"] == whole["weights"]
