"""Makes tables, marks and the picture of what was measured."""

import dataclasses
import pathlib
import statistics
from typing import Any

import peers
from suites import SUITES
from workloads import EVERY, ORDERS, ROWS

# How many times faster than the fastest peer: on each workload, in the geometric mean.
SPEED_TARGETS = {
    "forward": (1.3, 2.0),
    "backward": (2.0, 3.0),
    "train": (3.0, 5.0),
    "second-order": (1.0, 1.0),
}
COPY_TARGETS = {"feat64": 1.5, "feat256": 1.5}  # At most so many times as long as a memcpy.
SCALING_TARGET = 1.7  # Of two threads against one, on one image.
MEMORY_TARGET = 0.05  # Of the grid's bytes, at most.
CALL_TARGET = 1.5  # At most so many times as long as the call of another op.
MODE_TARGET = 4.0  # At most so many times as long as linear interpolation with zeros.
# Two ways to compute the same: the first at most so many times as long as the second.
FORM_TARGETS = {
    (peers.XLA.name, peers.OURS.name): 1.05,
    (peers.EACH_IMAGE.name, peers.OURS.name): 1.5,
    (peers.PORTABLE.name, "gather"): 1.2,
    (peers.PORTABLE_XLA.name, "gather XLA"): 1.2,
}
ORDER_TARGET = 3.0  # A step of the second order, at most so many of the first.

MARKERS = ("<!-- results -->", "<!-- end of results -->")

Results = dict[str, Any]  # Of a suite, as in results.json; see compare.py.


@dataclasses.dataclass(frozen=True)
class Line:
    """A figure and what it should be."""

    what: str
    value: float
    target: float
    at_least: bool
    unit: str = "x"

    @property
    def mark(self) -> str:
        met = self.value >= self.target if self.at_least else self.value <= self.target
        return "ok" if met else "MISSED"

    def cells(self) -> list[str]:
        number, target = _number(self.value, self.unit), _number(self.target, self.unit)
        return [self.what, number, f"{'≥' if self.at_least else '≤'} {target}", self.mark]


def _number(value: float, unit: str) -> str:
    return f"{100 * value:.1f} %" if unit == "%" else f"{value:.2f}{unit}"


def _table(rows: list[list[str]]) -> str:
    """Returns a Markdown table that can be read as it is; the first row is its head."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]

    def line(cells: list[str]) -> str:
        first, *others = (cell.ljust(width) for cell, width in zip(cells, widths))
        others = [cell.strip().rjust(width) for cell, width in zip(others, widths[1:])]
        return f"| {' | '.join([first, *others])} |"

    rule = [f"{'-' * width}:" for width in widths[1:]]
    ruled = "|" + "|".join(["-" * (widths[0] + 2), *(f"-{dashes}" for dashes in rule)]) + "|"
    return "\n".join([line(rows[0]), ruled, *(line(row) for row in rows[1:])])


def medians(results: Results, workload: str, row: str) -> dict[str, float]:
    """Returns the seconds of a call, by contestant."""
    measured = results["seconds"].get(workload, {}).get(row, {})
    return {name: figures["median"] for name, figures in measured.items()}


def ratios(results: Results, workload: str, row: str) -> dict[str, float]:
    """Returns the time of each peer over that of tf-stn."""
    seconds = medians(results, workload, row)
    names = [peer.name for peer in peers.PEERS if peer.name in seconds]
    return {name: seconds[name] / seconds[peers.OURS.name] for name in names}


def speed_lines(results: Results, row: str) -> list[Line]:
    """Returns a line for each workload that a peer can do, and one for all of them."""
    if row not in SPEED_TARGETS:
        return []
    each, mean = SPEED_TARGETS[row]
    fastest = {
        workload: min(found.values())
        for workload in results["seconds"]
        if (found := ratios(results, workload, row))
    }
    lines = [Line(workload, value, each, True) for workload, value in fastest.items()]
    if lines:
        value = statistics.geometric_mean(fastest.values())
        lines.append(Line("geometric mean", value, mean, True))
    return lines


def other_lines(results: Results) -> list[Line]:
    """Returns the lines for the memcpy, threads, forms, memory, one call and second order."""
    lines = []
    for workload, target in COPY_TARGETS.items():
        seconds = medians(results, workload, "forward")
        if peers.COPY.name in seconds:
            value = seconds[peers.OURS.name] / seconds[peers.COPY.name]
            lines.append(Line(f"{workload} forward, time over memcpy's", value, target, False))
    for workload in results["seconds"]:
        for row in ROWS:
            seconds = medians(results, workload, row)
            if peers.ONE_THREAD.name in seconds:
                value = seconds[peers.ONE_THREAD.name] / seconds[peers.OURS.name]
                what = f"{workload} {row}, {results['settings']['threads']} threads against 1"
                lines.append(Line(what, value, SCALING_TARGET, True))
            for (way, other), target in FORM_TARGETS.items():
                if way in seconds and other in seconds:
                    value = seconds[way] / seconds[other]
                    what = f"{workload} {row}: {way}, time over that of {other}"
                    lines.append(Line(what, value, target, False))
    for workload, figures in results.get("memory", {}).items():
        value = figures["fused"]["bytes"] / EVERY[workload].grid_bytes
        what = f"{workload} training step, temporary bytes over the grid's"
        lines.append(Line(what, value, MEMORY_TARGET, False, "%"))
    for workload in results["seconds"]:
        first, second = (medians(results, workload, row).get(peers.OURS.name) for row in ORDERS)
        if first and second:
            what = f"{workload} second-order step, time over a first-order one's"
            lines.append(Line(what, second / first, ORDER_TARGET, False))
    calls = {
        row: figures[peers.ONE_CALL.name]["median"]
        for row, figures in results["seconds"].get("one call", {}).items()
    }
    if calls:
        ours, *others = peers.ONE_CALL.rows
        for other in others:
            what = f"one eager call, time over that of {other}"
            lines.append(Line(what, calls[ours] / calls[other], CALL_TARGET, False))
    return lines


def mode_lines(results: Results, row: str) -> dict[tuple[str, str], list[Line]]:
    """Returns by workload and interpolation the time of each mode over that of the first."""
    lines = {}
    for workload in results["seconds"]:
        seconds = medians(results, workload, row)
        for mode in [mode for mode in peers.MODES.variants if mode in seconds]:
            value = seconds[mode] / seconds[peers.MODES.variants[0]]
            interpolation, padding = mode.split()
            line = Line(padding, value, MODE_TARGET, False)
            lines.setdefault((workload, interpolation), []).append(line)
    return lines


def _mode_table(results: Results, row: str) -> str:
    head = ["workload", "interpolation", "linear zeros, ms", *peers.PADDINGS]
    rows = [[*head, "slowest", "target", ""]]
    for (workload, interpolation), lines in mode_lines(results, row).items():
        milliseconds = 1e3 * medians(results, workload, row)[peers.MODES.variants[0]]
        slowest = max(lines, key=lambda line: line.value)
        cells = [line.cells()[1] for line in lines]
        rows.append([workload, interpolation, f"{milliseconds:.3f}", *cells, *slowest.cells()[1:]])
    return _table(rows)


def _speed_table(results: Results, row: str) -> str:
    names = [peer.name for peer in (*peers.FORMS, *peers.PEERS, peers.COPY)]
    measured = {workload: medians(results, workload, row) for workload in results["seconds"]}
    measured = {workload: seconds for workload, seconds in measured.items() if seconds}
    names = [name for name in names if any(name in seconds for seconds in measured.values())]
    lines = {line.what: line for line in speed_lines(results, row)}
    last_head = ["fastest peer", "target", ""] if row in SPEED_TARGETS else []
    rows = [["workload", "tf-stn, ms", *names, *last_head]]
    for workload, seconds in measured.items():
        ours = seconds[peers.OURS.name]
        cells = [f"{seconds[name] / ours:.2f}x" if name in seconds else "" for name in names]
        last = lines[workload].cells()[1:] if workload in lines else [""] * len(last_head)
        rows.append([workload, f"{1e3 * ours:.3f}", *cells, *last])
    if "geometric mean" in lines:
        means = []
        for name in names:
            found = [s[name] / s[peers.OURS.name] for s in measured.values() if name in s]
            means.append(f"{statistics.geometric_mean(found):.2f}x")
        rows.append(["geometric mean", "", *means, *lines["geometric mean"].cells()[1:]])
    return _table(rows)


def _call_table(results: Results) -> str:
    rows = [["one eager call", "µs"]]
    for row in peers.ONE_CALL.rows:
        rows.append([row, f"{1e6 * medians(results, 'one call', row)[peers.ONE_CALL.name]:.1f}"])
    return _table(rows)


def _memory_table(results: Results) -> str:
    rows = [["training step", "grid, MB", "temporary, fused, MB", "temporary, with grid, MB"]]
    for workload, figures in results["memory"].items():
        sizes = [EVERY[workload].grid_bytes, *(figures[way]["bytes"] for way in ("fused", "grid"))]
        rows.append([workload, *(f"{size / 1e6:.2f}" for size in sizes)])
    return _table(rows)


def all_tables(everything: dict[str, Results]) -> str:
    """Returns the tables of all suites, as Markdown."""
    return "\n\n".join(
        f"### {SUITES[name].title}\n\n{tables(results)}" for name, results in everything.items()
    )


def tables(results: Results) -> str:
    """Returns everything that was measured in a suite, as Markdown."""
    machine, settings = results["machine"], results["settings"]
    versions = {}
    for found in results["versions"].values():
        for package, version in found.items():
            versions.setdefault(package, [])
            if version not in versions[package]:
                versions[package].append(version)
    spreads = [
        figures["spread"]
        for rows in results["seconds"].values()
        for measured in rows.values()
        for figures in measured.values()
    ]
    packages = ", ".join(f"{name} {' and '.join(found)}" for name, found in versions.items())
    parts = [
        f"{machine['processor']}, {machine['processors']} processors, "
        f"{settings['threads']} threads each, load {machine['load_before']:.1f} before; "
        f"Python {machine['python']}; {results['date']}.\n"
        f"{packages}.\n"
        f"Medians of {settings['rounds']} rounds of {settings['repeats']}, "
        f"chains of about {1e3 * settings['seconds']:.0f} ms"
        + (
            f"; interquartile ranges of {statistics.median(spreads):.0%} of them."
            if spreads
            else "."
        )
    ]
    for name, why in results["missing"].items():
        parts.append(f"Left out: {name}, {why}.")
    for row in (*ROWS, *ORDERS):
        measured = {name for w in results["seconds"] for name in medians(results, w, row)}
        if measured & set(peers.MODES.variants):
            title = f"**{row.capitalize()}**: time of each mode, as a multiple of linear zeros'"
            parts += [title, _mode_table(results, row)]
        elif measured:
            title = f"**{row.capitalize()}**: time of each, as a multiple of tf-stn's"
            parts += [title, _speed_table(results, row)]
    if "one call" in results["seconds"]:
        parts += ["**One call** from Python, on an image of 4x4", _call_table(results)]
    if results.get("memory"):
        parts += ["**Memory** beyond inputs, output and gradients", _memory_table(results)]
    lines = other_lines(results)
    if lines:
        head = ["further targets", "value", "target", ""]
        parts.append(_table([head, *(line.cells() for line in lines)]))
    return "\n\n".join(parts)


def put_between_markers(text: str, path: pathlib.Path) -> None:
    """Replaces what is between the markers in a file."""
    before, rest = path.read_text().split(MARKERS[0])
    _, after = rest.split(MARKERS[1])
    path.write_text(f"{before}{MARKERS[0]}\n\n{text}\n\n{MARKERS[1]}{after}")


def draw(results: Results, path: pathlib.Path) -> None:
    """Draws bars of each peer's time over tf-stn's, with the targets; nothing without peers."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    import matplotlib.ticker

    rows = [row for row in ROWS if any(ratios(results, w, row) for w in results["seconds"])]
    if not rows:
        return
    colours = dict(zip([peer.name for peer in peers.PEERS], plt.cm.tab10.colors))
    figure, panels = plt.subplots(
        len(rows), 1, figsize=(10, 1 + 2.6 * len(rows)), squeeze=False, layout="constrained"
    )
    seen = {}
    for row, axes in zip(rows, panels[:, 0]):
        workloads = [w for w in results["seconds"] if ratios(results, w, row)]
        for place, workload in enumerate(workloads):
            found = ratios(results, workload, row)
            width = 0.8 / len(found)
            for index, (name, value) in enumerate(found.items()):
                x = place + width * (index - (len(found) - 1) / 2)
                seen[name] = axes.bar(x, value - 1, 0.9 * width, bottom=1, color=colours[name])
        axes.set_yscale("log")
        axes.axhline(1, color="black", linewidth=1)
        axes.axhline(SPEED_TARGETS[row][0], color="grey", linewidth=1, linestyle="--")
        axes.set_xticks(range(len(workloads)), workloads)
        axes.yaxis.set_major_locator(matplotlib.ticker.LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}x")
        axes.yaxis.set_minor_formatter("")
        axes.grid(axis="y", alpha=0.3)
        axes.set_title(f"{row}: time of each peer over tf-stn's; dashed: the target", fontsize=10)
    figure.legend(seen.values(), seen, loc="outside upper center", ncols=len(seen))
    figure.savefig(path, dpi=100)
    plt.close(figure)
