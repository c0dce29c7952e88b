"""Compares tf-stn with every peer that is installed, on the CPU.

    make peers                                    # once: an environment for each peer
    python benchmarks/compare.py                  # prints tables
    python benchmarks/compare.py --quick          # rough figures, sooner
    python benchmarks/compare.py --suites modes   # one group of tables; see suites.py
    python benchmarks/compare.py --suites images --workloads mnist --rows forward

Every contestant (`peers/__init__.py`) runs in a process of its own (`worker.py`) and is measured in
turn, several rounds, while all others sleep. Everybody gets the same arrays (`workloads.py`), and
it is an error if somebody computes something else. The tables (`report.py`) show medians as ratios.

With `--output FOLDER` it writes results.json and results.png there; what results.json has of other
suites stays:

    {suite: {"date", "machine", "settings", "versions": {contestant: {package: version}},
             "missing": {contestant: reason},
             "seconds": {workload: {row: {contestant: {"median": S, "spread": R, "error": E}}}},
             "memory": {workload: {way: {"bytes": B, ...}}}}}

For contestant, read mode in the suite of modes. The spread is the interquartile range over the
median, and the error the mean difference from the expected results, relative.
"""

import argparse
import contextlib
import dataclasses
import datetime
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

import memory
import peers
import report
import workloads
from peers import Contestant
from suites import ROWS, SUITES, Suite

HERE = pathlib.Path(__file__).resolve().parent
ENVIRONMENTS = HERE.parent / ".venv-peers"
MEMORY_WORKLOADS = [name for name, w in workloads.WORKLOADS.items() if w.grid_bytes > 4e6]
MOST_ERROR = 0.01  # OpenCV rounds the weights of images of some channels to 1/32.
PAUSE = 0.01  # Seconds between turns, in which the threads of the last one go to sleep.


@dataclasses.dataclass(frozen=True)
class Effort:
    """How long to measure.

    Attributes:
      rounds: Turns of each contestant.
      repeats: Chains of calls in a turn.
      seconds: What a chain takes, about.
    """

    rounds: int
    repeats: int
    seconds: float


THOROUGH = Effort(rounds=7, repeats=3, seconds=0.03)
QUICK = Effort(rounds=2, repeats=1, seconds=0.005)


class NotInstalledError(Exception):
    """There is no environment for a contestant, or it does not start there."""


class Process:
    """A worker that runs one contestant."""

    def __init__(self, contestant: Contestant, environments: pathlib.Path, threads: int) -> None:
        self.contestant = contestant
        python = pathlib.Path(sys.executable)
        if contestant.environment is not None:
            python = environments / contestant.environment / "bin/python"
        if not python.exists():
            raise NotInstalledError("not installed")
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115
        threads = contestant.threads or threads
        self._process = subprocess.Popen(
            [python, HERE / "worker.py", contestant.name, "--threads", str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=os.environ | cpu_environment(threads),
            text=True,
            bufsize=1,
        )

    def versions(self) -> dict[str, str]:
        """Waits until the worker is ready; returns the versions of its packages."""
        try:
            return self._answer()["versions"]
        except RuntimeError as error:
            raise NotInstalledError(str(error).splitlines()[-1]) from error

    def ask(self, **request: Any) -> dict[str, Any]:
        """Sends a request, waits for the answer; see worker.py."""
        print(json.dumps(request), file=self._process.stdin)
        return self._answer()

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait()
        self._log.close()

    def _answer(self) -> dict[str, Any]:
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            self._log.seek(0)
            raise RuntimeError(f"{self.contestant.name} has ended:\n{self._log.read().strip()}")
        return json.loads(line)


def cpu_environment(threads: int) -> dict[str, str]:
    return {
        "CUDA_VISIBLE_DEVICES": "-1",
        "OMP_NUM_THREADS": str(threads),
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }


def processor_name() -> str:
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":")[1].strip()
    return platform.machine()


def figures_of(seconds: list[float], error: float) -> dict[str, float]:
    """Returns the median of `seconds` and how far they are spread."""
    median = statistics.median(seconds)
    lower, _, upper = statistics.quantiles(seconds, n=4)
    return {"median": median, "spread": (upper - lower) / median, "error": error}


@dataclasses.dataclass(frozen=True)
class Turn:
    """What is measured in turn: a step of a worker, and where its figures go in the tables."""

    process: Process
    step: str
    row: str
    name: str


def turns_of(processes: list[Process], workload: str, rows: list[str]) -> list[Turn]:
    """Returns the turns of rows of a workload, for all that take part in them."""
    return [
        Turn(process, step, row, name)
        for row in rows
        for process in processes
        if process.contestant.is_measured(workload, row)
        for name, step in process.contestant.steps(row).items()
    ]


def prepare(turn: Turn, folder: pathlib.Path, expected: str, seconds: float) -> float | None:
    """Has a worker prepare its turn; returns how wrong it is, or None if it cannot do this.

    Raises:
      RuntimeError: It computes something else than it should.
    """
    error = turn.process.ask(
        prepare=turn.step, folder=str(folder), expected=expected, seconds=seconds
    )["error"]
    if error is not None and not error <= MOST_ERROR:
        raise RuntimeError(
            f"{turn.name} is wrong in {folder.name}, {turn.row}: "
            f"by {error:.2g} of the results, on average"
        )
    return error


def measure(
    turns: list[Turn], workload: workloads.Workload, folder: pathlib.Path, effort: Effort
) -> dict[str, dict[str, dict[str, float]]]:
    """Returns the figures of a workload in `folder`, by row and name, measured by turns."""
    errors = {}
    by_expected = {}
    for turn in turns:
        is_kind = turn.step.split()[0] in workloads.EXPECTED
        by_expected.setdefault(turn.step if is_kind else "forward", []).append(turn)
    for expected, those in by_expected.items():
        with workloads.saved_results(folder, workload, expected):
            found = {turn: prepare(turn, folder, expected, effort.seconds) for turn in those}
        errors |= {turn: error for turn, error in found.items() if error is not None}
    seconds = {turn: [] for turn in errors}
    for _ in range(effort.rounds):
        for turn, found in seconds.items():
            time.sleep(PAUSE)
            found += turn.process.ask(measure=turn.step, repeats=effort.repeats)["seconds"]
    figures = {turn.row: {} for turn in turns}
    for turn, found in seconds.items():
        figures[turn.row][turn.name] = figures_of(found, errors[turn])
    return figures


def measure_memory(folder: pathlib.Path, threads: int) -> dict[str, dict[str, int]]:
    """Returns the temporary bytes of a training step, by way."""
    environment = os.environ | cpu_environment(threads) | memory.ENVIRONMENT
    found = {}
    for way in memory.WAYS:
        command = [sys.executable, HERE / "memory.py", way, "--folder", folder]
        process = subprocess.run(
            [*command, "--threads", str(threads)],
            env=environment,
            capture_output=True,
            text=True,
        )
        if process.returncode != 0:
            raise RuntimeError(f"memory.py has failed:\n{process.stderr}")
        found[way] = json.loads(process.stdout)
    return found


def start(
    contestants: list[Contestant], options: argparse.Namespace
) -> tuple[dict[Process, dict[str, str]], dict[str, str]]:
    """Returns the workers with the versions of their packages, and who is missing and why."""
    started, missing = [], {}
    for contestant in contestants:  # They load their packages at the same time.
        try:
            started.append(Process(contestant, options.environments, options.threads))
        except NotInstalledError as error:
            missing[contestant.name] = str(error)
    processes = {}
    for process in started:
        try:
            processes[process] = process.versions()
        except NotInstalledError as error:
            process.close()
            missing[process.contestant.name] = str(error)
    return processes, missing


def run(suite: Suite, options: argparse.Namespace, effort: Effort) -> report.Results:
    """Measures a suite; returns what results.json holds of it."""
    chosen = options.workloads or suite.workloads
    plan = suite.plan(chosen, options.rows)
    contestants = [
        contestant
        for contestant in suite.contestants
        if any(contestant.is_measured(workload, row) for workload, rows in plan for row in rows)
        and (contestant not in peers.PEERS or contestant.name in options.peers)
    ]
    results = {
        "date": datetime.date.today().isoformat(),
        "machine": {
            "processor": processor_name(),
            "processors": os.cpu_count(),
            "python": platform.python_version(),
            "load_before": os.getloadavg()[0],
        },
        "settings": {"threads": options.threads, **dataclasses.asdict(effort)},
        "seconds": {},
        "memory": {},
    }
    with tempfile.TemporaryDirectory() as temporary:
        folders = {}

        def folder_of(workload: str) -> pathlib.Path:
            if workload not in folders:
                folders[workload] = pathlib.Path(temporary, workload)
                workloads.save(folders[workload], workloads.EVERY[workload])
            return folders[workload]

        processes, results["missing"] = start(contestants, options)
        results["versions"] = {p.contestant.name: found for p, found in processes.items()}
        with contextlib.ExitStack() as stack:
            for process in processes:
                stack.callback(process.close)
            for workload, rows in plan:
                print(f"{workload}, {' and '.join(rows)}", file=sys.stderr)
                found = measure(
                    turns_of(list(processes), workload, rows),
                    workloads.EVERY[workload],
                    folder_of(workload),
                    effort,
                )
                results["seconds"].setdefault(workload, {}).update(found)
        if "memory" in suite.rows and "memory" in options.rows:
            for workload in [name for name in chosen if name in MEMORY_WORKLOADS]:
                print(f"{workload}, memory", file=sys.stderr)
                found = measure_memory(folder_of(workload), options.threads)
                results["memory"][workload] = found
    return results


def write(measured: dict[str, report.Results], options: argparse.Namespace) -> None:
    """Writes what was measured, and leaves what earlier runs found in other suites."""
    path = options.output / "results.json"
    earlier = json.loads(path.read_text()) if path.exists() else {}
    everything = {name: (earlier | measured).get(name) for name in SUITES}
    everything = {name: results for name, results in everything.items() if results}
    options.output.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{json.dumps(everything, indent=1)}\n")
    if "images" in measured:
        report.draw(measured["images"], options.output / "results.png")
    if options.readme:
        report.put_between_markers(report.all_tables(everything), options.readme)


def main(arguments: list[str] | None = None) -> None:
    peer_names = [peer.name for peer in peers.PEERS]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--suites", nargs="+", choices=SUITES, default=list(SUITES), help="default: all")
    add("--workloads", nargs="+", choices=[n for n in workloads.EVERY if n != "one call"],
        help="default: those of each suite")  # fmt: skip
    add("--rows", nargs="+", choices=ROWS, default=ROWS, help="default: all")
    add("--peers", nargs="*", choices=peer_names, default=peer_names, help="default: all")
    add("--threads", type=int, default=2, help="of every contestant; default: %(default)s")
    add("--quick", action="store_true", help="for rough figures")
    add("--seconds", type=float, help="what a chain of calls takes, about; default: "
        f"{THOROUGH.seconds}, or {QUICK.seconds} with --quick")  # fmt: skip
    add("--environments", type=pathlib.Path, default=ENVIRONMENTS,
        help="folder of the peers' virtual environments; default: %(default)s")  # fmt: skip
    add("--output", type=pathlib.Path, help="folder for results.json and results.png")
    add("--readme", type=pathlib.Path,
        help="file to put the tables of results.json in, between its markers")  # fmt: skip
    options = parser.parse_args(arguments)
    if options.readme and not options.output:
        parser.error("--readme needs --output, whose results.json it shows")
    effort = QUICK if options.quick else THOROUGH
    if options.seconds is not None:
        effort = dataclasses.replace(effort, seconds=options.seconds)
    measured = {}
    for name in options.suites:
        found = run(SUITES[name], options, effort)
        if found["seconds"] or found["memory"]:
            measured[name] = found
            print(report.all_tables({name: found}), end="\n\n")
    if options.output:
        write(measured, options)


if __name__ == "__main__":
    main()
