"""Which runs are finished, and who is at the others: so runs survive a kill, and can be shared."""

import contextlib
import dataclasses
import fcntl
import json
import pathlib
from collections.abc import Iterator
from typing import Any, TextIO

import keras

from digits.training import Run, make


def _content(file: TextIO) -> dict[str, Any] | None:
    """Returns what is in a file; None if nothing is, or a part of what should be."""
    file.seek(0)
    try:
        return json.load(file)
    except json.JSONDecodeError:
        return None


def _write(file: TextIO, content: dict[str, Any]) -> None:
    file.truncate(0)
    file.write(json.dumps(content, indent=2) + "\n")
    file.flush()


class Ledger:
    """A folder with a file for each run: empty from its start, and with the result at its end.

    Who makes a run holds a lock on its file, which the system takes away when the process ends,
    however it ends. So any number of processes can share the runs of a folder.

    Args:
      folder: Is made if it is not there.
      settings: What all runs of the folder have in common; a ValueError if those that are in it
        had others.
    """

    def __init__(self, folder: pathlib.Path, settings: dict[str, Any]) -> None:
        self.folder, self.settings = folder, settings
        (folder / "runs").mkdir(parents=True, exist_ok=True)
        with (folder / "settings.json").open("a+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            earlier = _content(file)
            if earlier is None:
                _write(file, settings)
        for name, value in settings.items():
            if earlier is not None and earlier.get(name) != value:
                raise ValueError(
                    f"{folder} was begun with {name} {earlier.get(name)!r}, received {value!r}; "
                    "choose another folder"
                )

    @contextlib.contextmanager
    def claim(self, run: Run) -> Iterator[TextIO | None]:
        """Gives the file for the result, or None where there is one or another makes it."""
        with (self.folder / "runs" / f"{run.name}.json").open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield None
            else:
                yield None if _content(file) else file

    def finish(self, run: Run, file: TextIO, model: keras.Model, result: dict[str, Any]) -> None:
        """Keeps the weights of a network with a transformer, then the result of its run."""
        if run.transformation:
            model.save_weights(self._weights(run))
        _write(file, dataclasses.asdict(run) | result)

    def load(self, run: Run) -> keras.Model | None:
        """Returns the network of a finished run with a transformer, or None."""
        if not (run.transformation and self.results([run])):
            return None
        model = make(run)
        model.load_weights(self._weights(run))
        return model

    def _weights(self, run: Run) -> pathlib.Path:
        return self.folder / "runs" / f"{run.name}.weights.h5"

    def results(self, runs: list[Run]) -> list[dict[str, Any]]:
        """Returns the results of those of `runs` that are finished."""
        results = []
        for run in runs:
            path = self.folder / "runs" / f"{run.name}.json"
            if path.exists():
                with path.open() as file:
                    results.append(_content(file))
        return [result for result in results if result]
