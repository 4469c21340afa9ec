"""The plots of the report, one a benchmark."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from cycler import cycler
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from benchmarks.outcome import ERRORS

mpl.use("Agg")  # no window is ever opened

WIDTH, HEIGHT, DOTS = 5.2, 3.6, 110
ACROSS = 2  # panels in a row
STYLE: Any = {
    "axes.prop_cycle": cycler(color=list(mpl.color_sequences["tab10"][1:])),  # the first, blue, is ours
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.alpha": 0.3, "font.size": 9,
}  # fmt: skip


def draw(one: dict[str, Any], path: Path) -> None:
    """The benchmark's plot, as PNG."""
    protocol = one["about"]["protocol"]
    with plt.rc_context(STYLE):
        if protocol == "cold-user":
            shots(one["outcome"], path)
        elif protocol == "time":
            periods(one["runs"], path)
        else:
            bars(one["outcome"], path)


def bars(outcome: dict[str, Any], path: Path) -> None:
    """A panel a test: the figure of each model."""
    tests = outcome["tests"]
    across = min(len(tests), ACROSS)
    down = -(-len(tests) // across)
    figure, axes = plt.subplots(down, across, figsize=(WIDTH * across, HEIGHT * down), squeeze=False)
    for ax in axes.flat[len(tests) :]:
        ax.set_axis_off()
    for ax, (test, models) in zip(axes.flat, tests.items(), strict=False):
        sign = -1 if outcome["metric"] in ERRORS else 1  # the best at the top
        ranked = sorted(models.items(), key=lambda pair: sign * float(pair[1]["figures"][outcome["metric"]]))
        colours = ["tab:blue" if model.startswith(outcome["ours"]) else "0.6" for model, _ in ranked]
        values = [known["figures"][outcome["metric"]] for _, known in ranked]
        marks = ax.barh([model for model, _ in ranked], values, xerr=[known["spread"] for _, known in ranked])
        for mark, colour in zip(marks, colours, strict=True):
            mark.set_color(colour)
        ax.bar_label(marks, fmt="%.4f", padding=3)
        ax.margins(x=0.15)
        ax.set_title(f"{test}: {outcome['metric']}")
    save(figure, path)


def shots(outcome: dict[str, Any], path: Path) -> None:
    """A panel an order: the figure against the number of shots."""
    orders = list(dict.fromkeys(test.split()[0] for test in outcome["tests"]))
    figure, axes = plt.subplots(1, len(orders), figsize=(WIDTH * len(orders), HEIGHT), squeeze=False)
    for ax, order in zip(axes[0], orders, strict=True):
        tests = {int(test.split()[1]): models for test, models in outcome["tests"].items() if test.startswith(order)}
        counts = sorted(tests)
        for model in tests[counts[0]]:
            values = [tests[k][model]["figures"][outcome["metric"]] for k in counts if model in tests[k]]
            line(ax, counts, values, model, outcome["ours"])
        ax.set_xscale("symlog", linthresh=1)
        ax.set_xticks(counts, [str(k) for k in counts])
        ax.set_xlabel("shots, k")
        ax.set_title(f"{order} order: {outcome['metric']}")
    axes[0][-1].legend(fontsize=7)
    save(figure, path)


def periods(runs: list[dict[str, Any]], path: Path) -> None:
    """Quality period by period, and the processor seconds spent so far."""
    figure, (quality, cost) = plt.subplots(1, 2, figsize=(2 * WIDTH, HEIGHT))
    for model in dict.fromkeys(run["model"] for run in runs):
        own = [run for run in runs if run["model"] == model]
        numbers = sorted({run["trial"] for run in own})

        def mean(values: Iterable[float]) -> float:
            return float(np.mean(list(values)))

        ndcg = [
            mean(run["tests"]["all periods"]["figures"]["NDCG@10"] for run in own if run["trial"] == number)
            for number in numbers
        ]
        spent = np.cumsum(
            [mean(run["train_cpu_seconds"] for run in own if run["trial"] == number) for number in numbers]
        )
        line(quality, [number + 1 for number in numbers], ndcg, model, "refreshed")
        line(cost, [number + 1 for number in numbers], spent.tolist(), model, "refreshed")
    quality.set_title("NDCG@10, period by period")
    cost.set_title("CPU seconds so far (the training at the cut: frozen's)")
    for ax in (quality, cost):
        ax.set_xlabel("period")
        ax.xaxis.get_major_locator().set_params(integer=True)
    quality.legend(fontsize=7)
    save(figure, path)


def line(ax: Axes, x: list[int], y: list[float], model: str, ours: str) -> None:
    """One model's line; ours stands out."""
    own = model == ours
    ax.plot(x, y, marker="o", ms=3, label=model, lw=2.4 if own else 1.2, color="tab:blue" if own else None)


def save(figure: Any, path: Path) -> None:
    """Write the file and free the figure."""
    figure.tight_layout()
    figure.savefig(path, dpi=DOTS, metadata={"Software": None})
    plt.close(figure)
