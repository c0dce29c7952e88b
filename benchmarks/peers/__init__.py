"""The ways to sample images that are compared, and where each of them is installed."""

import dataclasses
import itertools


@dataclasses.dataclass(frozen=True)
class Contestant:
    """Something that is measured: a class of this package, run in an environment.

    Attributes:
      name: As in the tables.
      implementation: Module and class.
      environment: Folder of the virtual environment, or None for that of tf-stn itself.
      threads: How many it may use; None for as many as all others.
      rows: What it is measured in.
      workloads: The same; None for all.
      variants: For one that does each row in several ways: their names in the tables.
    """

    name: str
    implementation: tuple[str, str]
    environment: str | None = None
    threads: int | None = None
    rows: tuple[str, ...] = ("forward", "backward", "train")
    workloads: tuple[str, ...] | None = None
    variants: tuple[str, ...] = ()

    def is_measured(self, workload: str, row: str) -> bool:
        return row in self.rows and (self.workloads is None or workload in self.workloads)

    def steps(self, row: str) -> dict[str, str]:
        """Returns the steps of a row (see `peer.py`), by their names in the tables."""
        if not self.variants:
            return {self.name: row}
        return {variant: f"{row} {variant}" for variant in self.variants}


BOTH_ORDERS = ("forward", "backward", "train", "first-order", "second-order")

OURS = Contestant("tf-stn", ("resampler_op", "ResamplerOp"), rows=BOTH_ORDERS)
PEERS = (
    Contestant("addons", ("addons", "Addons"), "addons"),
    Contestant("torch NCHW", ("torch_grid_sample", "GridSample"), "torch", rows=BOTH_ORDERS),
    Contestant(
        "torch NHWC", ("torch_grid_sample", "GridSampleChannelsLast"), "torch", rows=BOTH_ORDERS
    ),
    Contestant("OpenCV", ("opencv", "Remap"), "opencv", rows=("forward",)),
    Contestant("gather", ("gather", "Gather"), rows=BOTH_ORDERS),
    Contestant("gather XLA", ("gather", "GatherXla"), rows=BOTH_ORDERS),
)
COPY = Contestant("memcpy", ("copy", "Copy"), threads=1, rows=("forward",))
ONE_THREAD = Contestant(
    "tf-stn, 1 thread",
    OURS.implementation,
    threads=1,
    rows=("forward", "backward"),
    workloads=("flow1080", "flow4k"),
)
ONE_CALL = Contestant(
    "one call",
    ("one_call", "OneCall"),
    rows=("tf_stn.resampler", "raw op", "ImageProjectiveTransformV3"),
    workloads=("one call",),
)
XLA = Contestant("XLA", ("resampler_op", "Xla"))
PORTABLE = Contestant("portable", ("resampler_op", "Portable"))
PORTABLE_XLA = Contestant("portable XLA", ("resampler_op", "PortableXla"))
EACH_IMAGE = Contestant("each image", ("resampler_op", "EachImage"))
FORMS = (XLA, EACH_IMAGE, PORTABLE, PORTABLE_XLA)
INTERPOLATIONS = ("linear", "nearest", "cubic")
PADDINGS = ("zeros", "border", "reflect", "symmetric", "wrap")
MODES = Contestant(
    "modes",
    ("modes", "Modes"),
    rows=("forward", "backward"),
    variants=tuple(map(" ".join, itertools.product(INTERPOLATIONS, PADDINGS))),
)
EVERY = (OURS, *PEERS, COPY, ONE_THREAD, ONE_CALL, *FORMS, MODES)
