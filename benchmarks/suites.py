"""What is compared with what: one suite for each group of tables."""

import dataclasses

import peers
import workloads
from peers import Contestant


@dataclasses.dataclass(frozen=True)
class Suite:
    """Workloads, what is measured of them, and who takes part.

    Attributes:
      title: Above its tables.
      workloads: By name.
      tiny: A workload for tests.
      rows: What is measured.
      contestants: Who takes part, where it can.
      is_interleaved: Whether all rows of a workload are measured by turns, so that they can be
        compared with each other.
    """

    title: str
    workloads: tuple[str, ...]
    tiny: str
    rows: tuple[str, ...]
    contestants: tuple[Contestant, ...]
    is_interleaved: bool = False

    def plan(self, chosen_workloads: list[str], rows: list[str]) -> list[tuple[str, list[str]]]:
        """Returns what to measure: workloads, each with the rows that take turns."""
        rows = [row for row in rows if row in self.rows]
        names = [name for name in chosen_workloads if name in (*self.workloads, self.tiny)]
        kinds = [row for row in rows if row in workloads.EXPECTED]
        if self.is_interleaved:
            plan = [(name, kinds) for name in names if kinds]
        else:
            plan = [(name, [row]) for name in names for row in kinds]
        if "call" in rows:
            plan += [("one call", [row]) for row in peers.ONE_CALL.rows]
        return plan


_WITHOUT_ROOM_FOR_VOLUMES = ("addons", "OpenCV")

SUITES = {
    "images": Suite(
        "Images",
        tuple(workloads.WORKLOADS),
        "tiny",
        (*workloads.ROWS, "memory", "call"),
        (peers.OURS, *peers.PEERS, peers.COPY, peers.ONE_THREAD, peers.ONE_CALL),
    ),
    "volumes": Suite(
        "Volumes",
        tuple(workloads.VOLUMES),
        "tiny-volume",
        workloads.ROWS,
        (
            peers.OURS,
            *(peer for peer in peers.PEERS if peer.name not in _WITHOUT_ROOM_FOR_VOLUMES),
            peers.COPY,
        ),
    ),
    "forms": Suite(
        "Where a model can go",
        ("mnist", "rgb"),
        "tiny",
        workloads.ROWS,
        (peers.OURS, *peers.FORMS, *(peer for peer in peers.PEERS if "gather" in peer.name)),
    ),
    "modes": Suite(
        "Interpolations and paddings",
        ("rgb", "flow1080"),
        "tiny",
        peers.MODES.rows,
        (peers.MODES,),
    ),
    "second-order": Suite(
        "Gradients of gradients",
        ("rgb", "feat64"),
        "tiny",
        workloads.ORDERS,
        (peers.OURS, *(peer for peer in peers.PEERS if "second-order" in peer.rows)),
        is_interleaved=True,
    ),
}
ROWS = tuple(dict.fromkeys(row for suite in SUITES.values() for row in suite.rows))
