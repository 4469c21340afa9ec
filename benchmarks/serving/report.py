"""The tables of docs/performance.md and its plots, from the committed figures.

    python -m benchmarks.serving.report        (part of `make report`)

A bar was set down before the runs; what misses it stands in the table all the same. Figures are the median of the
repetitions, with the lowest and the highest.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from benchmarks.report import marks, renewed

Figures = dict[str, Any]
OPEN, CLOSE = marks("serving")
RIVALS = {
    "naive": ("adaptation by torch.func a request", 10.0),
    "litserve": ("LitServe, same learner", 3.0),
    "ray": ("Ray Serve, same learner", 3.0),
    "implicit": ("`implicit` with recalculate_user", None),
    "melu": ("an MLP scored again for all items (MeLU's form)", None),
}


class Row(NamedTuple):
    """A line: what, the bar, the figure, and whether it is met, where there is a bar."""

    what: str
    bar: str = ""
    found: str = ""
    met: bool | None = None


def spread(figure: Figures, digits: int = 2) -> str:
    """The median of ratios, the lowest and the highest."""
    return f"{figure['ratio']:.{digits}f} ({figure['lowest']:.{digits}f} to {figure['highest']:.{digits}f})"


def at_least(what: str, figure: Figures, bar: float | None) -> Row:
    """A ratio that should be high."""
    return Row(what, f">= {bar:g}" if bar else "", spread(figure), figure["ratio"] >= bar if bar else None)


def at_most(what: str, figure: Figures, bar: float | None, note: str = "") -> Row:
    """A ratio that should be low."""
    found = spread(figure) + (f"; {note}" if note else "")
    return Row(what, f"<= {bar:g}" if bar else "", found, figure["ratio"] <= bar if bar else None)


def rows(found: Figures) -> Iterator[Row]:
    """Every line for which there are figures."""
    if "throughput" in found:
        yield at_least(
            "/recommend / empty, every user known, a new event before 10% of the questions",
            found["throughput"]["against empty"],
            0.6,
        )
    if "unremembered" in found:
        yield at_least("the same, nobody remembered", found["unremembered"]["against empty"], None)
    if "alone" in found:
        yield at_most("p50 alone / empty", found["alone"]["against empty"], 3)
    if "tail" in found:
        tail = found["tail"]
        by_ratio = sorted(tail["innerloop"], key=lambda each: float(each["p99"] / each["p50"]))
        middle = by_ratio[len(by_ratio) // 2]
        note = f"{middle['p50']:.1f} and {middle['p99']:.1f} ms at {middle['rate']:,.0f} a second"
        yield at_most("p99 / p50, open loop, 70% of the peak", tail["p99 / p50"], 4, note)
        yield at_most("the empty route's, at 70% of its own peak", tail["p99 / p50 of empty"], None)
    if "batch" in found:
        batch, bound = found["batch"], "POST /recommend/batch, 256 users / matrix-multiply bound"
        yield at_least(f"{bound}: answers remembered", batch["known against matmul"], 0.5)
        yield at_least("vectors remembered, answers not", batch["scored against matmul"], 0.5)
        yield at_least("each with a new event, which is no part of the bound", batch["changed against matmul"], None)
    if "swap" in found:
        swap = found["swap"]
        waited = [each["seconds until served"] for each in swap["swaps"]]
        yield Row("swap at half the peak: requests that failed", "0", str(swap["failed"]), swap["failed"] == 0)
        yield at_most("p99 in that second / before", swap["p99 against before, that second"], 2)
        yield at_most(
            "p99 while the new snapshot is read and meets who was here of late / before",
            swap["p99 against before, preparing"],
            None,
            f"for {min(waited):.0f} to {max(waited):.0f} s",
        )
        yield at_most("p99 just after / before", swap["p99 against before, after"], None)
    if "again" in found:
        yield at_least("ten users asking the same again / empty", found["again"]["against empty"], 0.8)
    if "start" in found:
        start = found["start"]
        megabytes = start["megabytes"]
        yield Row(
            "resident memory after all that is above, 10,000 users known",
            "<= 600 MB",
            f"{megabytes:.0f} MB",
            megabytes <= 600,
        )
        note = f"{median(start['ready_seconds']):.2f} s against {median(start['import_seconds']):.2f} s"
        yield at_most("ready / `import torch, fastapi, redis`", start["against imports"], 2, note)
    for name, (what, bar) in RIVALS.items():
        if name in found.get("rivals", {}):
            rival = found["rivals"][name]
            yield at_least(f"against {what}", rival["innerloop / theirs"], bar)
            yield at_least("the same, nobody remembered", rival["innerloop, nobody remembered / theirs"], None)
    if "events" in found:  # which stands in the file after the batches
        yield at_least("POST /events / empty, one event a request", found["events"]["against empty"], 0.6)
        yield at_least(
            "events a second in batches of 500 / redis-server alone, the same script",
            found["events in batches"]["against redis"],
            0.5,
        )


def table(found: Figures) -> list[str]:
    """In Markdown."""
    lines = ["| figure | bar | median (lowest to highest) | |", "|---|---|---|---|"]
    for row in rows(found):
        said = {None: "", True: "met", False: "missed"}[row.met]
        lines.append(f"| {row.what} | {row.bar} | {row.found} | {said} |")
    return lines


def main() -> None:
    """Renew the table and the plots."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=Path("benchmarks/results/serving.json"))
    parser.add_argument("--page", type=Path, default=Path("docs/performance.md"))
    parser.add_argument("--plots", type=Path, default=Path("docs/performance"))
    options = parser.parse_args()
    from benchmarks.serving.plots import draw

    found = json.loads(options.results.read_text())["figures"]
    options.page.write_text(renewed(options.page.read_text(), table(found), OPEN, CLOSE))
    draw(found, options.plots)
    print(f"{options.page}, {len(list(rows(found)))} lines")


if __name__ == "__main__":
    main()
