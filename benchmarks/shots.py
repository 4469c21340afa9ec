"""What more shots are worth: the same question, asked of a user of whom more and more is known.

    python -m benchmarks.shots --snapshot SNAPSHOTS/current --data DATA [--draws 10] [--json OUT.json] [--plot OUT.png]

The users are those that `innerloop train` held out whole and that have at least 60 events. The targets are their events
51 to 60 in time, and the items of the first 50 are barred, whatever k is: only the support changes, so a curve over k
holds each user against the same user, with the same targets among the same candidates. (The cold-user protocol of
`benchmarks.learner` asks for the ten events after the k-th: there every k has targets and users of its own.)

    time      the support is the k newest of the first 50, in their order
    random    it is k of the first 50 at random, read without an order; a draw of more holds the draw of fewer

Both at K inner steps as trained and at K = 0, the prior of the same snapshot. Intervals are 95% of the paired bootstrap
over users; a user's figure is the mean of the draws.

Letters: U users, S numbers of shots, D draws, N items, R a user's targets; k shots, K inner steps.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from matplotlib import pyplot as plt
from numpy.typing import NDArray

from benchmarks import plots
from benchmarks.bootstrap import compare
from benchmarks.host import machine
from benchmarks.measure import BATCH
from benchmarks.task import Limits, Say
from models import snapshot as snapshots
from models.dataset import DatasetError, read
from models.episode import History
from models.evaluate import LearnerRanker, Ranker, metrics_at, ranks
from models.learner import Learner
from models.recipe import split_like

KNOWN, QUERY = 50, 10
"""Events that supports are taken from, and events to find after them."""
SHOTS = (0, 1, 3, 5, 10, 20, KNOWN)
ORDERS = ("time", "random")
METRIC = "NDCG@10"
GAINS = ("over the k before (95%)", "over k = 0 (95%)", "over K = 0 (95%)")


class Question(NamedTuple):
    """One user's test. `known` is the user's first 50 events; no item of it is a candidate."""

    known: History
    targets: NDArray[np.int64]  # (R,), distinct


@dataclass(frozen=True, slots=True)
class Gain:
    """A paired difference of NDCG@10, with its 95% interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Point:
    """One point of a curve: its mean NDCG@10, and what it gains."""

    order: str
    steps: int
    shots: int
    mean: float
    over_fewer: Gain | None  # over the k before it in the same curve, if there is one
    over_none: Gain  # over k = 0 in the same curve
    over_prior: Gain  # over K = 0 with the same supports


def questions(cold: Sequence[History]) -> list[Question]:
    """One for each user who has enough events in an order of time.

    An item that comes again is asked for once, or never if it is barred; who is left with no target is left out.

    Raises:
        ValueError: there is no such user.
    """
    found = []
    for history in cold:
        if history.ordered and len(history.rows) >= KNOWN + QUERY:
            known = history.take(slice(0, KNOWN))
            asked = dict.fromkeys(history.rows[KNOWN : KNOWN + QUERY].tolist())
            targets = np.array([row for row in asked if row not in known.rows], np.int64)
            if len(targets):
                found.append(Question(known, targets))
    if not found:
        raise ValueError(
            f"of the {len(cold)} users held out whole, none has {KNOWN + QUERY} events or more in an order of time"
        )
    return found


def supports(known: History, order: str, k: int, draws: int, seed: int) -> list[History]:
    """What is known of a user with k shots: one support in the order of time, D at random.

    Each is the end of one fixed sequence, so that it holds those of fewer shots, also in what is read by a learner that
    looks at fewer than 50 events, which are the last ones.
    """
    if order == "time":
        return [known.take(slice(KNOWN - k, None))]
    rng = np.random.default_rng(seed)
    shuffled = [known.take(rng.permutation(KNOWN))._replace(ordered=False) for _ in range(draws)]
    return [one.take(slice(KNOWN - k, None)) for one in shuffled]


def measured(ranker: Ranker, asked: Sequence[Question], order: str, k: int, draws: int) -> NDArray[np.float64]:
    """Each user's NDCG@10, (U,), the mean of the draws: full ranking, ties against the ranker."""
    cases = [(one, support) for user, one in enumerate(asked) for support in supports(one.known, order, k, draws, user)]
    found: list[float] = []
    for start in range(0, len(cases), BATCH):
        batch = cases[start : start + BATCH]
        scores = ranker.scores([support for _, support in batch])
        for (one, _), row in zip(batch, scores, strict=True):
            row[one.known.rows] = -np.inf
            found.append(metrics_at(ranks(row, one.targets), [10])[METRIC])
    return np.asarray(np.reshape(found, (len(asked), -1)).mean(1), np.float64)


def gain(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> Gain:
    """Ours over theirs, (U,) each, the same users."""
    found = compare(ours, theirs)
    return Gain(found.ours - found.theirs, found.difference_low, found.difference_high)


def curve(order: str, steps: int, figures: NDArray[np.float64], prior: NDArray[np.float64]) -> list[Point]:
    """The S points of a curve, from each user's figures, (S, U), and those of K = 0, (S, U)."""
    points = []
    for at, (k, row) in enumerate(zip(SHOTS, figures, strict=True)):
        over_fewer = gain(row, figures[at - 1]) if at else None
        over_none, over_prior = gain(row, figures[0]), gain(row, prior[at])
        points.append(Point(order, steps, k, float(row.mean()), over_fewer, over_none, over_prior))
    return points


def verdict(points: Sequence[Point]) -> dict[str, Any]:
    """Whether a curve is monotone: it is, within the intervals, unless one from a k to the next lies all below 0."""
    steps = [(point.shots, point.over_fewer) for point in points if point.over_fewer is not None]
    rises = [k for k, over in steps if over.low > 0]
    dips = [k for k, over in steps if over.mean < 0]
    falls = [k for k, over in steps if over.high < 0]
    says = "monotone, in the means too"
    if dips:
        says = f"monotone within the intervals, though the mean dips at k = {', '.join(map(str, dips))}"
    if falls:
        says = f"not monotone: it falls, by more than the interval, at k = {', '.join(map(str, falls))}"
    if rises:
        says += f"; it rises, by more than the interval, at k = {', '.join(map(str, rises))}"
    return {"monotone": not falls, "rises": rises, "dips": dips, "falls": falls, "says": says}


def measure(learner: Learner, asked: Sequence[Question], draws: int, say: Say) -> list[list[Point]]:
    """The curves: for each order that of K = 0, then that of K as trained, if this is another."""
    curves = []
    for order in ORDERS:
        figures: dict[int, NDArray[np.float64]] = {}
        for steps in dict.fromkeys((0, learner.config.steps)):
            rows = []
            for k in SHOTS:
                rows.append(measured(LearnerRanker(learner, steps=steps), asked, order, k, draws))
                say(f"{order} order, K = {steps}, {k} shots: {METRIC} {rows[-1].mean():.4f}")
            figures[steps] = np.stack(rows)
            curves.append(curve(order, steps, figures[steps], figures[0]))
    return curves


def table(curves: Sequence[Sequence[Point]]) -> str:
    """The curves as text, each with what is to be said of it."""
    lines = [f"{'order':<8}{'K':>2}{'shots':>7}{METRIC:>9}" + "".join(f"{name:>28}" for name in GAINS)]
    for points in curves:
        for point in points:
            over_none, over_prior = point.over_none if point.shots else None, point.over_prior if point.steps else None
            shown = "".join(f"{_shown(one):>28}" for one in (point.over_fewer, over_none, over_prior))
            lines.append(f"{point.order:<8}{point.steps:>2}{point.shots:>7}{point.mean:>9.4f}{shown}".rstrip())
        lines += [f"{points[0].order} order, K = {points[0].steps}: {verdict(points)['says']}", ""]
    return "\n".join(lines)


def draw(curves: Sequence[Sequence[Point]], path: Path) -> None:
    """A panel an order: NDCG@10 against shots. The band is the interval of the gain over k = 0."""
    trained = max(points[0].steps for points in curves)
    with plt.rc_context(plots.STYLE):
        figure, axes = plt.subplots(1, len(ORDERS), figsize=(plots.WIDTH * len(ORDERS), plots.HEIGHT), sharey=True)
        for points in curves:
            order, steps, none = points[0].order, points[0].steps, points[0].mean
            ax = axes[ORDERS.index(order)]
            plots.line(ax, list(SHOTS), [point.mean for point in points], f"K = {steps}", f"K = {trained}")
            low, high = ([none + getattr(point.over_none, end) for point in points] for end in ("low", "high"))
            ax.fill_between(SHOTS, low, high, alpha=0.15, lw=0, color=ax.lines[-1].get_color())
            ax.set_xscale("symlog", linthresh=1)
            ax.set_xticks(SHOTS, [str(k) for k in SHOTS])
            ax.set_xlabel("shots, k")
            ax.set_title(f"{order} order: {METRIC}")
        axes[-1].legend(fontsize=7, title="bands: 95%, gain over k = 0", title_fontsize=7)
        plots.save(figure, path)


def main() -> None:
    """Measure, print the table, and keep figures and plot where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--snapshot", type=Path, required=True, help="a snapshot's folder, or a `current` link")
    parser.add_argument("--data", type=Path, required=True, help="the data that it was trained on")
    parser.add_argument("--draws", type=int, default=10, help="random supports a user (default: 10)")
    parser.add_argument("--threads", type=int, help="threads of torch; all cores by default")
    parser.add_argument("--json", type=Path, help="where to keep the figures")
    parser.add_argument("--plot", type=Path, help="where to draw them, as PNG")
    options = parser.parse_args()
    if options.draws < 1:
        parser.error("--draws must be 1 at least")
    torch.set_num_threads(options.threads or torch.get_num_threads())
    try:
        snapshot = snapshots.read(options.snapshot)
        dataset = read(options.data)
        asked = questions(split_like(dataset, snapshot).cold)
    except (snapshots.SnapshotError, DatasetError, ValueError) as error:
        parser.exit(2, f"benchmarks.shots: {error}\n")
    learner = Learner.restore(snapshot)
    curves = measure(learner, asked, options.draws, lambda text: print(text, file=sys.stderr, flush=True))
    print(f"{dataset.name}, snapshot {snapshot.version}: {len(asked)} users, {options.draws} draws\n\n{table(curves)}")
    if options.json:
        about = {
            "date": datetime.now(UTC).isoformat(timespec="seconds"), "machine": machine(Limits()),
            "snapshot": snapshot.version, "data": dataset.name, "checksum": dataset.checksum,
            "users": len(asked), "draws": options.draws, "events read": learner.config.length,
        }  # fmt: skip
        found = [{"verdict": verdict(points), "points": [asdict(point) for point in points]} for points in curves]
        options.json.write_text(json.dumps({"about": about, "curves": found}, indent=1) + "\n")
    if options.plot:
        draw(curves, options.plot)


def _shown(one: Gain | None) -> str:
    return "" if one is None else f"{one.mean:+.4f} ({one.low:+.4f}, {one.high:+.4f})"


if __name__ == "__main__":
    main()
