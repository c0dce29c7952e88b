"""Runs one contestant in its own environment, at the word of compare.py.

    python benchmarks/worker.py NAME --threads 2

It reads one request a line from standard input and answers with one line, both JSON. In between it
waits for input and uses no processor. First it says what it runs: {"versions": {...}}. Then

    {"prepare": STEP, "folder": FOLDER, "expected": ROW, "seconds": S}
        loads the workload in FOLDER unless it has it, calls STEP once, compares the results with
        those of ROW there, and makes a chain of calls that takes about S seconds: {"error": E},
        relative, or {"error": null} if the contestant cannot do this;
    {"measure": STEP, "repeats": N}
        runs the chain once untimed, then N times, or if it takes long just once:
        {"seconds": [...]}, of one call.
"""

import argparse
import importlib
import json
import os
import pathlib
import sys
import time
from collections.abc import Callable
from typing import Any

import peers
import workloads
from peers.peer import Peer

MOST_CALLS = 200  # In a chain.
LONG = 0.3  # Seconds; chains that take longer need no call to warm up, and are called once a turn.


def seconds(function: Callable[[], Any]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


class Worker:
    """Prepares and measures the steps of one workload at a time."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._folder = None
        self._steps = {}
        self._chains = {}  # By step: the chain, its number of calls, and the seconds it took.

    def prepare(
        self, name: str, folder: str, expected: str, seconds_of_chain: float
    ) -> dict[str, Any]:
        if folder != self._folder:
            self._chains = {}
            self._steps = {}  # Before the next ones take memory.
            self._steps = self._peer.steps(workloads.load_inputs(pathlib.Path(folder)))
            self._folder = folder
        if name not in self._steps:
            return {"error": None}
        step = self._steps[name]
        results = self._peer.results(step)
        error = 0.0
        if results:
            error = workloads.worst_error(results, pathlib.Path(folder), expected)
        del results
        times = 1
        while True:
            chain = self._peer.chain(step, times)
            chain()  # What is made on first use.
            took = min(seconds(chain), seconds(chain))
            # A chain of few calls overestimates the time of one, so the second try gets closer.
            wanted = min(MOST_CALLS, max(1, round(seconds_of_chain / (took / times))))
            if wanted < 2 * times:
                break
            times = wanted
        self._chains[name] = chain, times, took
        return {"error": error}

    def measure(self, name: str, repeats: int) -> dict[str, Any]:
        chain, times, took = self._chains[name]
        if took < LONG:
            chain()
        else:
            repeats = 1
        return {"seconds": [seconds(chain) / times for _ in range(repeats)]}


def main() -> None:
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # Libraries may print; that is no answer.
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", choices=[contestant.name for contestant in peers.EVERY])
    parser.add_argument("--threads", type=int, required=True)
    options = parser.parse_args()
    (contestant,) = (c for c in peers.EVERY if c.name == options.name)
    module, implementation = contestant.implementation
    peer = getattr(importlib.import_module(f"peers.{module}"), implementation)(options.threads)
    worker = Worker(peer)
    print(json.dumps({"versions": peer.versions()}), file=answers)
    for line in sys.stdin:
        request = json.loads(line)
        if "prepare" in request:
            arguments = (request[name] for name in ("prepare", "folder", "expected", "seconds"))
            answer = worker.prepare(*arguments)
        else:
            answer = worker.measure(request["measure"], request["repeats"])
        print(json.dumps(answer), file=answers)


if __name__ == "__main__":
    main()
