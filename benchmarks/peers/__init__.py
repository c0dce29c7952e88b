"""The ways to sample images that are compared, and where each of them is installed."""

import dataclasses


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
    """

    name: str
    implementation: tuple[str, str]
    environment: str | None = None
    threads: int | None = None
    rows: tuple[str, ...] = ("forward", "backward", "train")
    workloads: tuple[str, ...] | None = None

    def is_measured(self, workload: str, row: str) -> bool:
        return row in self.rows and (self.workloads is None or workload in self.workloads)


OURS = Contestant("tf-stn", ("resampler_op", "ResamplerOp"))
PEERS = (
    Contestant("addons", ("addons", "Addons"), "addons"),
    Contestant("torch NCHW", ("torch_grid_sample", "GridSample"), "torch"),
    Contestant("torch NHWC", ("torch_grid_sample", "GridSampleChannelsLast"), "torch"),
    Contestant("OpenCV", ("opencv", "Remap"), "opencv", rows=("forward",)),
    Contestant("gather", ("gather", "Gather")),
    Contestant("gather XLA", ("gather", "GatherXla")),
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
EVERY = (OURS, *PEERS, COPY, ONE_THREAD, ONE_CALL)
