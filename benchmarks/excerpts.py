"""Tables that pages beside docs/benchmarks.md show between marks, from the committed figures, and the plot of shots.

`quality` is of what `innerloop evaluate --baselines --json` found, `shots` of what `python -m benchmarks.shots --json`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.shots import METRIC, ORDERS, Gain, Point


def quality(found: Mapping[str, Any]) -> list[str]:
    """A row a protocol, a column a model; the best in bold."""
    models = [one["model"] for one in found["results"]]
    lines = [f"| protocol | cases | {' | '.join(models)} |", "|---|---|" + "---|" * len(models)]
    for protocol, cases in found["cases"].items():
        figures = [one["figures"][protocol][METRIC] for one in found["results"]]
        cells = (f"**{figure:.4f}**" if figure == max(figures) else f"{figure:.4f}" for figure in figures)
        lines.append(f"| {protocol} | {cases} | {' | '.join(cells)} |")
    return lines


def curves(found: Mapping[str, Any]) -> list[list[Point]]:
    """The curves as `benchmarks.shots` measured them."""
    gains = ("over_fewer", "over_none", "over_prior")
    return [
        [Point(**point | {name: point[name] and Gain(**point[name]) for name in gains}) for point in one["points"]]
        for one in found["curves"]
    ]


def shots(found: Sequence[Sequence[Point]], draws: int) -> list[str]:
    """A row a curve, K as trained before K = 0, a column a number of shots, and what the most are worth over none."""
    sizes = [point.shots for point in found[0]]
    lines = [
        f"| order | K | {' | '.join(map(str, sizes))} | {sizes[-1]} over {sizes[0]} (95%) |",
        "|---|---|" + "---|" * (len(sizes) + 1),
    ]
    for order in ORDERS:
        told = "time, the newest k" if order == "time" else f"{order}, {draws} draws"
        for points in sorted((one for one in found if one[0].order == order), key=lambda one: -one[0].steps):
            cells = " | ".join(_short(point.mean, ".4f") for point in points)
            gain = points[-1].over_none
            between = f"{_short(gain.low, '+.3f')} to {_short(gain.high, '+.3f')}"
            lines.append(f"| {told} | {points[0].steps} | {cells} | {between} |")
            told = ""
    return lines


def _short(figure: float, form: str) -> str:
    return re.sub(r"^([+-]?)0\.", r"\1.", f"{figure:{form}}")
