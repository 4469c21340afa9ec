"""Recall against latency, drawn: one series a way to search, in batches and for a user alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

STYLES = {
    "plain": ("product and topk, float32", "0.45", "X"),
    "exact": ("Exact, float32", "tab:cyan", "s"),
    "panels": ("Panels, float32 in C", "tab:green", "D"),
    "quantised": ("Quantised, 8-bit integers", "tab:blue", "*"),
    "ivf8": ("faiss IVF, 8-bit (nprobe beside)", "tab:orange", "o"),
    "ivf4": ("faiss IVF, 4-bit PQ (nprobe beside)", "tab:red", "o"),
    "hnsw": ("faiss HNSW (efSearch beside)", "tab:purple", "o"),
}
"""What each way is called, its colour and its mark."""

LATENCIES = {"ms_a_user": "ms a user, in batches of {batch}", "alone_ms": "ms for a user alone"}


def draw(found: dict[str, Any], path: Path) -> None:
    """One SVG of a file of figures, as `benchmarks.index` writes it. The same figures give the same file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with plt.rc_context({"svg.hashsalt": "innerloop", "font.size": 9}):
        plot, panels = plt.subplots(1, len(LATENCIES), figsize=(10, 4.8), sharey=True)
        for axes, (latency, label) in zip(panels, LATENCIES.items(), strict=True):
            _panel(axes, found["figures"], latency)
            axes.set_xlabel(label.format(batch=found["asked"]["batch"]) + " (log scale)")
        panels[0].set_ylabel("recall@10")
        panels[0].set_title(f"{found['asked']['items']:,} items, {found['asked']['width']} wide, one core", loc="left")
        handles, labels = panels[0].get_legend_handles_labels()
        plot.legend(handles, labels, loc="lower center", ncols=4, frameon=False)
        plot.tight_layout(rect=(0, 0.12, 1, 1))
        plot.savefig(path, format="svg", metadata={"Date": None})
        plt.close(plot)


def _panel(axes: Axes, figures: dict[str, dict[str, Any]], latency: str) -> None:
    """Every way against one latency; the settings of the approximate ones beside their points."""
    for way, (label, colour, mark) in STYLES.items():
        points = [entry for entry in figures.values() if entry["way"] == way]
        if not points:
            continue
        x, y = [entry[latency] for entry in points], [entry["recall"] for entry in points]
        exact = points[0]["setting"] is None
        axes.plot(x, y, marker=mark, ms=9 if exact else 5, ls="" if exact else "-", color=colour, label=label, zorder=3)
        over = way == "hnsw"  # of lines that run close together
        for entry in points if not exact else ():
            axes.annotate(
                str(entry["setting"]), (entry[latency], entry["recall"]), xytext=(-5, 4) if over else (5, -9),
                ha="right" if over else "left", textcoords="offset points", color=colour, fontsize=7,
            )  # fmt: skip
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_ylim(top=1.03)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
