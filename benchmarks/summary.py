"""The table of README.md: for each finished benchmark ours, the best opponent, and the goal it was held to.

A goal is written down before the runs; what misses it stands in the table all the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

Outcome = dict[str, Any]
Known = dict[str, Any]

LOO = {"amazon-beauty": {"HR@10": 0.100, "NDCG@10": 0.061}, "ml-1m": {"HR@10": 0.310, "NDCG@10": 0.180}}
MAE = {"user-cold": 0.70, "item-cold": 0.86, "both": 0.85}
COLD_USER, COLD_ITEM, REFRESHED, RETRAINED, COST = 1.10, 1.30, 1.10, 0.98, 0.05


class Row(NamedTuple):
    """One line, ready to print."""

    what: str
    ours: str
    opponent: str
    ratio: str
    goal: str
    met: bool


def summary(found: list[dict[str, Any]]) -> list[str]:
    """The table, in Markdown."""
    lines = [
        "| benchmark | innerloop | the best opponent | ours / theirs (95%) | goal | |",
        "|---|---|---|---|---|---|",
    ]
    for protocol, rows in ROWS.items():
        for one in found:
            if one["about"]["protocol"] == protocol and complete(one["outcome"]):
                for row in rows(one["about"]["data"], one["outcome"]):
                    cells = (row.what, row.ours, row.opponent, row.ratio, row.goal, "met" if row.met else "missed")
                    lines.append(f"| {' | '.join(cells)} |")
    return lines if len(lines) > 2 else []


def complete(outcome: Outcome) -> bool:
    """Whether ours has run, and somebody against it."""
    return all(outcome["ours"] in models and len(models) > 1 for models in outcome["tests"].values())


def leave_one_out(data: str, outcome: Outcome) -> Iterator[Row]:
    """Absolute figures."""
    models = outcome["tests"]["loo"]
    ours = models["innerloop"]["figures"]
    for metric, goal in LOO.get(data, {}).items():
        name, known = best(models, metric)
        by = None if metric == outcome["metric"] else metric
        yield Row(
            f"leave-one-out, {data}: {metric}",
            f"{ours[metric]:.4f}",
            f"{name} {known['figures'][metric]:.4f}",
            interval(known, by),
            f">= {goal:.3f}",
            ours[metric] >= goal,
        )


def cold_users(data: str, outcome: Outcome) -> Iterator[Row]:
    """Each order's shots in one line: the mean, and the worst ratio."""
    metric = outcome["metric"]
    asked = {test: models for test, models in outcome["tests"].items() if test.split()[1] != "0"}
    for order in dict.fromkeys(test.split()[0] for test in asked):
        own = {test.split()[1]: models for test, models in asked.items() if test.split()[0] == order}
        ours = {k: models["innerloop"]["figures"][metric] for k, models in own.items()}
        rivals = {k: best(models, metric) for k, models in own.items()}
        ratios = {k: ours[k] / known["figures"][metric] for k, (_, known) in rivals.items()}
        worst = min(ratios, key=lambda k: ratios[k])
        mean = sum(ours.values()) / len(ours)
        other = sum(known["figures"][metric] for _, known in rivals.values()) / len(rivals)
        yield Row(
            f"cold users, {data}, {order} order: {metric}, mean over {', '.join(own)} shots",
            f"{mean:.4f}",
            f"{', '.join(dict.fromkeys(name for name, _ in rivals.values()))}, the best at each: {other:.4f}",
            f"{mean / other:.2f}; least {interval(rivals[worst][1])} at {worst}",
            f">= {COLD_USER:.2f} x at each",
            ratios[worst] >= COLD_USER,
        )


def cold_items(data: str, outcome: Outcome) -> Iterator[Row]:
    """Among the cold items."""
    metric, test = "Recall@20", "among cold items"
    models = outcome["tests"][test]
    name, known = best(models, metric)
    ours, theirs = models["innerloop"]["figures"][metric], known["figures"][metric]
    neighbours = models.get("content-knn", known)["figures"][metric]
    yield Row(
        f"cold items, {data}, {test}: {metric}",
        f"{ours:.4f}",
        f"{name} {theirs:.4f}",
        f"{interval(known)}; {ours / neighbours:.2f} x content-knn",
        f">= {COLD_ITEM:.2f} x content-knn",
        ours >= COLD_ITEM * neighbours,
    )


def ratings(data: str, outcome: Outcome) -> Iterator[Row]:
    """The lower the better."""
    for state, goal in MAE.items():
        models = outcome["tests"][state]
        name, known = best(models, "MAE", lowest=True)
        ours = models["innerloop"]["figures"]["MAE"]
        yield Row(
            f"ratings, {data}, {state}: MAE",
            f"{ours:.4f}",
            f"{name} {known['figures']['MAE']:.4f}",
            interval(known),
            f"<= {goal:.2f}",
            ours <= goal,
        )


def periods(data: str, outcome: Outcome) -> Iterator[Row]:
    """Refreshed against frozen, and against trained from nothing: in quality and cost, where that is finished.

    Of the periods after the first: until its end there is nothing to refresh, and all are the same.
    """
    metric = outcome["metric"]
    models = outcome["tests"].get("after the first period", {})
    if "refreshed" not in models:
        return
    ours = models["refreshed"]
    for name, goal in (("frozen", REFRESHED), ("retrained", RETRAINED)):
        known = models.get(name, {})
        if "ours against it" not in known:
            return
        ratio, versus = ours["figures"][metric] / known["figures"][metric], known["ours against it"]
        yield Row(
            f"time, {data}: {metric}, refreshed against {name}",
            f"{ours['figures'][metric]:.4f}",
            f"{name} {known['figures'][metric]:.4f}",
            f"{ratio:.3f} ({versus['ratio_low']:.2f} to {versus['ratio_high']:.2f})",
            f">= {goal:.2f} x",
            ratio >= goal,
        )
    spent, theirs = ours["train_cpu_seconds"], models["retrained"]["train_cpu_seconds"]
    yield Row(
        f"time, {data}: processor seconds of learning after the cut",
        f"{spent:,.0f}",
        f"retrained {theirs:,.0f}",
        f"{spent / theirs:.3f}",
        f"<= {COST:.2f} x",
        spent <= COST * theirs,
    )


def best(models: dict[str, Known], metric: str, *, lowest: bool = False) -> tuple[str, Known]:
    """The opponent with the best figure, and what is known of it."""
    rivals = {name: known for name, known in models.items() if not name.startswith("innerloop")}
    sign = -1 if lowest else 1
    name = max(rivals, key=lambda one: sign * float(rivals[one]["figures"][metric]))
    return name, rivals[name]


def interval(known: Known, by: str | None = None) -> str:
    """The ratio with its interval, by the outcome's own metric or another that is compared beside it."""
    versus = known["ours against it by"][by] if by else known["ours against it"]
    return f"{versus['ours'] / versus['theirs']:.2f} ({versus['ratio_low']:.2f} to {versus['ratio_high']:.2f})"


ROWS = {
    "loo": leave_one_out,
    "cold-user": cold_users,
    "cold-item": cold_items,
    "ratings": ratings,
    "time": periods,
}
