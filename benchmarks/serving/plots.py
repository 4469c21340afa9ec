"""The figures drawn: answers a second beside each rival, and what one costs by catalogue, history and connections."""

from __future__ import annotations

from pathlib import Path
from statistics import mean
from typing import Any

import matplotlib as mpl

mpl.use("svg")

from matplotlib import pyplot as plt

KINDS = {
    "new": "nobody is remembered",
    "known": "known users, a new event for 10%",
    "empty": "empty route",
}


def draw(figures: dict[str, Any], folder: Path) -> None:
    """One SVG a plot, in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    plt.rcParams["svg.hashsalt"] = "innerloop"  # the same figures give the same file
    if "throughput" in figures:
        bars = {name: figures["throughput"][name] for name in ("innerloop", "empty")}
        bars["innerloop, nobody remembered"] = figures.get("unremembered", {}).get("innerloop", [])
        bars |= {name: rival["theirs"] for name, rival in figures.get("rivals", {}).items()}
        rates = {name: mean(came["rate"] for came in each) for name, each in bars.items() if each}
        plot, axes = plt.subplots(figsize=(6, 0.5 + 0.4 * len(rates)))
        axes.barh(list(rates), list(rates.values()))
        axes.set_xlabel("answers a second, 64 connections")
        axes.invert_yaxis()
        _save(plot, folder / "throughput.svg")
    for size, values in figures.get("sweep", {}).items():
        plot, axes = plt.subplots(figsize=(5, 3))
        for kind, label in KINDS.items():
            axes.plot(
                [int(value) for value in values], [1e6 / each[kind] for each in values.values()], "o-", label=label
            )
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel({"items": "items", "history": "longest history", "concurrency": "connections"}[size])
        axes.set_ylabel("microseconds an answer")
        axes.legend()
        _save(plot, folder / f"{size}.svg")


def _save(plot: Any, path: Path) -> None:
    plot.tight_layout()
    plot.savefig(path, metadata={"Date": None})
    plt.close(plot)
