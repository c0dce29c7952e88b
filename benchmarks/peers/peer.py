"""What the worker asks of a way to sample images."""

from collections.abc import Callable
from typing import Any

import numpy as np

Step = Callable[[], dict[str, Any]]  # One call; returns its results by name.


class Peer:
    """A way to sample images.

    Args:
      threads: How many it may use.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads

    def versions(self) -> dict[str, str]:
        """Returns the versions of the packages that do the work."""
        raise NotImplementedError

    def steps(self, inputs: dict[str, np.ndarray]) -> dict[str, Step]:
        """Returns what to call, by row, or by row and variant. What is missing cannot be done."""
        raise NotImplementedError

    def chain(self, step: Step, times: int) -> Callable[[], None]:
        """Returns a function that makes `times` calls, one after the other."""

        def run() -> None:
            for _ in range(times):
                step()

        return run

    def results(self, step: Step) -> dict[str, np.ndarray]:
        """Returns what one call computes, images and volumes with their channels last."""
        return {name: np.asarray(value) for name, value in step().items()}
