"""The comparison with peers, on a budget of seconds."""

import json
import os
import pathlib
import subprocess
import sys

import compare
import matplotlib.image
import memory
import numpy as np
import numpy_sampler
import peers
import pytest
import reference
import report
import tensorflow as tf
import workloads
from peers import graph

import tf_stn
from tf_stn._resampler import INTERPOLATIONS, PADDINGS

COMMAND = [sys.executable, pathlib.Path(compare.__file__), "--quick", "--seconds", "0.0001"]


@pytest.fixture
def results():
    """As measured: addons three times and torch twice as slow, then half as slow."""

    def figures(**medians):
        return {name: {"median": median, "spread": 0.04} for name, median in medians.items()}

    ours, addons, torch = peers.OURS.name, "addons", "torch NCHW"
    return {
        "date": "2025-01-01",
        "machine": {"processor": "P", "processors": 2, "python": "3.12", "load_before": 0.0},
        "settings": {"threads": 2, "rounds": 1, "repeats": 1, "seconds": 0.001},
        "versions": {ours: {"tensorflow": "2.21"}, addons: {"tensorflow": "2.15"}},
        "missing": {"OpenCV": "not installed"},
        "seconds": {
            "mnist": {"forward": figures(**{ours: 1e-3, addons: 3e-3, torch: 2e-3})},
            "feat64": {
                "forward": figures(**{ours: 1e-3, addons: 2e-3, torch: 8e-3, "memcpy": 8e-4})
            },
            "flow4k": {
                "backward": figures(**{ours: 1e-3, addons: 1.5e-3, "tf-stn, 1 thread": 1.6e-3})
            },
            "one call": {
                row: figures(**{"one call": seconds})
                for row, seconds in zip(peers.ONE_CALL.rows, (1.2e-5, 1e-5, 6e-6))
            },
        },
        "memory": {"flow4k": {"fused": {"bytes": 0}, "grid": {"bytes": 132710400}}},
    }


def test_command_prints_a_table_and_writes_results(tmp_path):
    options = ["--suites", "images", "--workloads", "tiny", "--rows", "forward", "call"]
    options += ["--peers", "addons"]
    folders = ["--environments", str(tmp_path / "none"), "--output", str(tmp_path)]
    process = subprocess.run(
        [*COMMAND, *options, *folders], check=True, capture_output=True, text=True
    )
    assert "Left out: addons, not installed." in process.stdout
    assert "| workload " in process.stdout
    written = json.loads((tmp_path / "results.json").read_text())["images"]
    assert written["missing"] == {"addons": "not installed"}
    assert written["settings"]["threads"] == 2
    measured = written["seconds"]["tiny"]["forward"]
    assert set(measured) == {"tf-stn", "memcpy"}
    assert all(figures["median"] > 0 for figures in measured.values())
    assert 0 < measured["tf-stn"]["error"] < 1e-6
    assert set(written["seconds"]["one call"]) == set(peers.ONE_CALL.rows)


@pytest.mark.parametrize(
    "suite, workload, rows, names",
    [
        ("volumes", "tiny-volume", ["train"], ["tf-stn", "gather"]),
        ("second-order", "tiny", ["first-order", "second-order"], ["tf-stn", "gather"]),
        ("modes", "tiny", ["forward"], list(peers.MODES.variants)),
    ],
    ids=["volumes", "second order", "modes"],
)
def test_command_measures_a_suite_and_keeps_others(tmp_path, suite, workload, rows, names):
    earlier = {"images": {"kept": True}}
    (tmp_path / "results.json").write_text(json.dumps(earlier))
    options = ["--suites", suite, "--workloads", workload, "--rows", *rows, "--peers", "gather"]
    process = subprocess.run(
        [*COMMAND, *options, "--output", str(tmp_path)], check=True, capture_output=True, text=True
    )
    assert "**: time of each" in process.stdout
    written = json.loads((tmp_path / "results.json").read_text())
    assert written["images"] == earlier["images"]
    measured = written[suite]["seconds"][workload]
    assert list(measured) == rows
    for figures in measured.values():
        assert set(names) <= set(figures)
        assert all(f["error"] < 1e-6 and f["median"] > 0 for f in figures.values())


def test_modes_are_compared_with_linear_zeros():
    seconds = dict.fromkeys(peers.MODES.variants, 0.002) | {"linear zeros": 1e-3}
    seconds["cubic wrap"] = 5e-3
    figures = {mode: {"median": value} for mode, value in seconds.items()}
    lines = report.mode_lines({"seconds": {"rgb": {"forward": figures}}}, "forward")
    assert list(lines) == [("rgb", "linear"), ("rgb", "nearest"), ("rgb", "cubic")]
    assert [(line.value, line.mark) for line in lines["rgb", "linear"]] == [
        (1.0, "ok"),
        *[(2.0, "ok")] * 4,
    ]
    assert (lines["rgb", "cubic"][-1].value, lines["rgb", "cubic"][-1].mark) == (5.0, "MISSED")


def test_second_order_is_compared_with_first_order_and_with_peers():
    def figures(**medians):
        return {name: {"median": median} for name, median in medians.items()}

    rows = {
        "first-order": figures(**{"tf-stn": 1e-3, "torch NCHW": 2e-3}),
        "second-order": figures(**{"tf-stn": 3.5e-3, "torch NCHW": 7e-3}),
    }
    results = {"seconds": {"rgb": rows}}
    (line,) = report.other_lines(results)
    assert (line.value, line.mark) == (pytest.approx(3.5), "MISSED")
    lines = report.speed_lines(results, "second-order")
    assert [(line.value, line.mark) for line in lines] == [(pytest.approx(2), "ok")] * 2
    assert report.speed_lines(results, "first-order") == []


def test_modes_are_those_of_the_package():
    assert set(peers.INTERPOLATIONS) == set(INTERPOLATIONS)
    assert set(peers.PADDINGS) == set(PADDINGS)


def test_picture_shows_every_peer(tmp_path, results):
    report.draw(results, tmp_path / "results.png")
    picture = matplotlib.image.imread(tmp_path / "results.png")[..., :3]
    blue_and_orange = [[31, 119, 180], [255, 127, 14]]  # Of the first two peers.
    for colour in blue_and_orange:
        assert (np.abs(255 * picture - colour) < 3).all(axis=-1).sum() > 500


def test_marks_say_whether_a_target_is_met(results):
    forward = {line.what: line for line in report.speed_lines(results, "forward")}
    assert {what: line.value for what, line in forward.items()} == {
        "mnist": 2.0,
        "feat64": 2.0,
        "geometric mean": pytest.approx(2.0),
    }
    assert {line.mark for line in forward.values()} == {"ok"}
    backward = [line.mark for line in report.speed_lines(results, "backward")]
    assert backward == ["MISSED", "MISSED"]
    assert report.speed_lines(results, "train") == []
    others = {line.what: (line.value, line.mark) for line in report.other_lines(results)}
    assert others == {
        "feat64 forward, time over memcpy's": (pytest.approx(1.25), "ok"),
        "flow4k backward, 2 threads against 1": (pytest.approx(1.6), "MISSED"),
        "flow4k training step, temporary bytes over the grid's": (0, "ok"),
        "one eager call, time over that of raw op": (pytest.approx(1.2), "ok"),
        "one eager call, time over that of ImageProjectiveTransformV3": (
            pytest.approx(2.0),
            "MISSED",
        ),
    }


def test_geometric_mean_is_that_of_the_fastest_peer_on_each_workload(results):
    results["seconds"]["mnist"]["forward"]["addons"]["median"] = 5e-4  # Now the fastest there.
    (*_, mean) = report.speed_lines(results, "forward")
    assert mean.value == pytest.approx((0.5 * 2.0) ** 0.5)
    assert mean.mark == "MISSED"


def test_tables_show_what_was_measured(results):
    text = report.tables(results)
    lines = text.splitlines()
    (mnist,) = (line for line in lines if line.startswith("| mnist"))
    assert [cell.strip() for cell in mnist.split("|")[1:-1]] == [
        *("mnist", "1.000", "3.00x", "2.00x", "", "2.00x", "≥ 1.30x", "ok")
    ]
    assert "Left out: OpenCV, not installed." in lines
    assert "tensorflow 2.21 and 2.15." in lines
    assert "load 0.0 before" in text
    assert "interquartile ranges of 4% of them." in text
    widths = [len(line) for line in lines if line.startswith("|")]
    assert len(set(widths)) == text.count("\n\n|")  # Each table is aligned.


def test_tables_go_between_the_markers(tmp_path):
    readme = tmp_path / "README.md"
    first, last = report.MARKERS
    readme.write_text(f"before\n{first}\nold\n{last}\nafter\n")
    for _ in range(2):
        report.put_between_markers("new", readme)
        assert readme.read_text() == f"before\n{first}\n\nnew\n\n{last}\nafter\n"


WORKLOADS = pytest.mark.parametrize(
    "workload",
    [workloads.TINY, workloads.ONE_CALL, workloads.TINY_VOLUME],
    ids=["images", "one call", "volumes"],
)


@WORKLOADS
def test_expected_results_are_those_of_the_specification(workload):
    inputs = workloads.make_inputs(workload)
    data, warp, grad_output = (inputs[name] for name in ("data", "warp", "grad_output"))
    expected = {
        row: workloads.expected_results(workload, inputs, row) for row in ("forward", "backward")
    }
    grad_data, grad_warp = reference.resample_gradients(data, warp, grad_output)
    close = {"rtol": 1e-5, "atol": 1e-5}
    np.testing.assert_allclose(
        expected["forward"]["output"], reference.resample(data, warp), **close
    )
    np.testing.assert_allclose(expected["backward"]["grad_data"], grad_data, **close)
    np.testing.assert_allclose(expected["backward"]["grad_warp"], grad_warp, **close)


@WORKLOADS
def test_points_and_gradients_of_theta_are_those_of_the_affine_grid(workload):
    inputs = workloads.make_inputs(workload)
    theta = tf.constant(inputs["theta"])
    with tf.GradientTape() as tape:
        tape.watch(theta)
        warp = tf_stn.affine_grid(theta, workload.output_size, workload.shape[1:-1])
        output = tf_stn.resampler(inputs["data"], warp)
    gradient = tape.gradient(output, theta, inputs["grad_output"])
    expected = workloads.expected_results(workload, inputs, "train")
    np.testing.assert_allclose(warp, inputs["warp"], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(gradient, expected["grad_theta"], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("mode", peers.MODES.variants)
def test_expected_results_of_every_mode_and_order_are_those_of_the_package(mode, rng):
    data, grad_output = rng.random([2, 4, 5, 2]), rng.normal(size=[2, 40, 2])
    warp = rng.integers(-7, 11, [2, 40, 2]) + rng.uniform(0.1, 0.4, [2, 40, 2])
    sampler = numpy_sampler.Sampler(data, warp, *mode.split())
    inputs = [tf.constant(x) for x in (data, warp, grad_output)]
    modes = dict(zip(("interpolation", "padding"), mode.split(), strict=True))
    results = graph.second_order_step(lambda d, w: tf_stn.resampler(d, w, **modes), *inputs)
    first = (sampler.sample(), *sampler.gradients(grad_output))
    second = sampler.second_order(grad_output, first[1], first[2])
    for (name, actual), expected in zip(results.items(), (*first, *second), strict=True):
        actual = np.zeros(expected.shape) if actual is None else actual
        np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=1e-9, err_msg=name)


@pytest.mark.parametrize("error", [0.5, float("nan")])
def test_wrong_results_are_not_measured(tmp_path, error):
    class Wrong:
        contestant = peers.PEERS[0]

        def ask(self, **request):
            assert request["expected"] == "forward"
            return {"error": error}

    workloads.save(tmp_path / "tiny", workloads.TINY)
    turns = compare.turns_of([Wrong()], "tiny", ["forward"])
    with pytest.raises(RuntimeError, match=r"addons is wrong in tiny, forward: by"):
        compare.measure(turns, workloads.TINY, tmp_path / "tiny", compare.QUICK)


def test_memory_of_a_grid_is_seen(tmp_path):
    """The grid and its gradient are there at the same time, and nothing else."""
    workload = workloads.Workload((1, 640, 640, 1), (640, 640), "affine")
    workloads.save(tmp_path / "workload", workload)
    process = subprocess.run(
        [
            sys.executable,
            memory.__file__,
            "grid",
            "--folder",
            tmp_path / "workload",
            "--threads",
            "2",
        ],
        env=os.environ | compare.cpu_environment(2) | memory.ENVIRONMENT,
        check=True,
        capture_output=True,
        text=True,
    )
    taken = json.loads(process.stdout)["bytes"] / workload.grid_bytes
    assert 1.8 < taken < 2.3
