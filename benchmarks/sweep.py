"""The run of a ranking benchmark: search the settings on the first part, then test on every part with every seed.

A search sees validation figures only. A trial is tested the moment it is the best so far, so that the chosen one needs
no second training; the tests of overtaken trials are thrown away, also those of an earlier, smaller search.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from benchmarks.cost import Cost
from benchmarks.host import machine, revision
from benchmarks.measure import users_measured, validated
from benchmarks.packed import pack
from benchmarks.runs import Record, Runs
from benchmarks.search import draw
from benchmarks.task import Contender, Fitted, Limits, Part, Say, Settings

KEPT: dict[str, tuple[str, ...]] = {
    "loo": ("NDCG@10", "HR@10"),
    "cold-user": ("NDCG@10",),
    "cold-item": ("Recall@20", "NDCG@10"),
    "time": ("NDCG@10",),
}
"""The metrics whose figure is kept for each user; the first is what comparisons are made by."""


def sweep(
    contenders: Iterable[Contender],
    parts: Sequence[Part],
    seeds: Sequence[int],
    trials: int,
    limits: Limits,
    runs: Runs,
    say: Say,
) -> None:
    """Run what is not yet finished."""
    kept = KEPT[runs.about["protocol"]]
    for contender in contenders:
        settings = search(contender, parts[0], seeds[0], trials, limits, runs, say)
        runs.keep_tests(contender.name, settings)
        for seed in seeds if contender.seeded else seeds[:1]:
            for part in parts:
                if chosen(runs, contender.name, part.name, seed, settings) is None:
                    say(f"{contender.name}, {part.name}, seed {seed}, chosen settings: {settings}")
                    record, fitted = trained(contender, part, settings, seed, limits, say)
                    runs.put(record | {"trial": -1, "tests": tested(fitted, part, kept, say)})


def search(contender: Contender, part: Part, seed: int, trials: int, limits: Limits, runs: Runs, say: Say) -> Settings:
    """The settings that validate best."""
    kept = KEPT[runs.about["protocol"]]
    best: Record | None = None
    drawn = draw(contender.space(part.task), trials)
    for number, settings in enumerate(drawn):
        record = runs.get((contender.name, part.name, seed, number))
        if record is None or record["settings"] != settings:
            say(f"{contender.name}, {part.name}, seed {seed}, trial {number + 1}/{len(drawn)}: {settings}")
            record, fitted = trained(contender, part, settings, seed, limits, say)
            record["trial"] = number
            if best is None or record["validation"] > best["validation"]:
                record["tests"] = tested(fitted, part, kept, say)
            runs.put(record)
        if best is None or record["validation"] > best["validation"]:
            best = record
    if best is None:
        raise ValueError("at least one trial is needed")
    runs.save()
    found: Settings = best["settings"]
    return found


def chosen(runs: Runs, model: str, part: str, seed: int, settings: Settings) -> Record | None:
    """The tested run of these settings."""
    for record in runs:
        same = (record["model"], record["part"], record["seed"], record["settings"]) == (model, part, seed, settings)
        if same and "tests" in record:
            return record
    return None


def trained(
    contender: Contender, part: Part, settings: Settings, seed: int, limits: Limits, say: Say
) -> tuple[Record, Fitted]:
    """Fit once and validate."""
    with Cost() as training:
        fitted = contender.fit(part.task, settings, seed, limits, say)
    figure = validated(fitted.ranker, part.task.validation)
    say(f"{contender.name}: validation NDCG@10 {figure:.4f} after {training.seconds:.1f} s")
    record = {
        "model": contender.name,
        "part": part.name,
        "seed": seed,
        "settings": settings,
        "plan": fitted.plan,
        "validation": figure,
        "train_seconds": round(training.seconds + fitted.seconds_before, 3),
        "train_cpu_seconds": round(training.cpu_seconds + fitted.cpu_seconds_before, 3),
        "peak_memory_mib": training.memory,
        "notes": fitted.notes,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(limits),
        "revision": revision(),
    }
    return record, fitted


def tested(fitted: Fitted, part: Part, kept: Sequence[str], say: Say) -> dict[str, Any]:
    """The tests' figures, of the model and of its variants."""
    out: dict[str, Any] = {}
    for variant, ranker in {"": fitted.ranker, **fitted.variants}.items():
        for name, test in part.tests.items():
            with Cost() as evaluating:
                by_user, coverage = users_measured(ranker, test)
            figures = {metric: float(values.mean()) for metric, values in by_user.items()}
            label = f"{name} | {variant}" if variant else name
            say(f"    {label}: NDCG@10 {figures['NDCG@10']:.4f}, HR@10 {figures['HR@10']:.4f}")
            out[label] = {
                "figures": figures | {"coverage@10": coverage},
                "cases": len(test.cases),
                "evaluate_seconds": evaluating.seconds,
                "users": {metric: pack(by_user[metric]) for metric in kept},
            }
    return out
