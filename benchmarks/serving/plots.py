"""The figures drawn: beside each rival, and against catalogue size, history length and connections."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")

from matplotlib import pyplot as plt


def draw(figures: dict[str, Any], folder: Path) -> None:
    """One SVG a plot, in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    plt.rcParams["svg.hashsalt"] = "innerloop"  # the same figures give the same file
    if "throughput" in figures:
        rates = {
            name: sum(came["rate"] for came in each) / len(each)
            for name, each in figures["throughput"].items()
            if isinstance(each, list)
        }
        plot, axes = plt.subplots(figsize=(6, 0.5 + 0.4 * len(rates)))
        axes.barh(list(rates), list(rates.values()))
        axes.set_xlabel("answers a second, 64 connections")
        axes.invert_yaxis()
        _save(plot, folder / "throughput.svg")
    for size, values in figures.get("sweep", {}).items():
        plot, axes = plt.subplots(figsize=(5, 3))
        for kind, label in (("known", "a new event for 10%"), ("new", "every user for the first time")):
            axes.plot([int(value) for value in values], [each[kind] for each in values.values()], "o-", label=label)
        axes.set_xscale("log")
        axes.set_ylim(bottom=0)
        axes.set_xlabel({"items": "items", "history": "longest history", "concurrency": "connections"}[size])
        axes.set_ylabel("answers a second / empty route")
        axes.legend()
        _save(plot, folder / f"{size}.svg")


def _save(plot: Any, path: Path) -> None:
    plot.tight_layout()
    plot.savefig(path, metadata={"Date": None})
    plt.close(plot)
