"""The rating protocol's way from the command line to a finished file.

The settings are searched inside the warm set; the chosen ones train on all of it, as many epochs as were best, and are
tested with every seed. Each state is tested twice: with the ratings as a model gives them, and read at the median
(benchmarks/median.py), with cuts that are found inside the warm set too.
"""

from __future__ import annotations

import argparse
from datetime import UTC, datetime

import numpy as np

from benchmarks.cost import Cost
from benchmarks.host import machine, revision
from benchmarks.median import MedianPredictor
from benchmarks.opponents.bias import Bias
from benchmarks.opponents.innerloop_rating import InnerLoopRater
from benchmarks.opponents.maml import MAML
from benchmarks.opponents.reptile import Reptile
from benchmarks.opponents.svd import SVDpp
from benchmarks.outcome import outcome, table
from benchmarks.packed import pack
from benchmarks.protocols.melu import tasks
from benchmarks.protocols.ranking import about, corpus_of, listed, named, read_split
from benchmarks.rating import Episode, FittedRater, Rater, RatingTask, errors, validated
from benchmarks.runs import Record, Runs
from benchmarks.search import draw
from benchmarks.task import Limits, Say

RATERS: dict[str, Rater] = {
    rater.name: rater
    for rater in (
        InnerLoopRater(),
        Bias("bias", content=False),
        Bias("bias-content", content=True),
        SVDpp(),
        MAML(),
        MAML("fomaml", first_order=True),
        Reptile(),
    )
}
METRICS = ("MAE", "RMSE", "NDCG@5")


def run(options: argparse.Namespace, say: Say) -> None:
    """Read, run what is not finished, compare, and print the table.

    Raises:
        ValueError: a model or an option that does not exist or does not fit.
    """
    raters = named(options.models, RATERS)
    corpus = corpus_of(options)
    split = read_split(options.split)
    users, items = (listed(split, name) for name in ("cold_users", "cold_items"))
    search, final, tests = tasks(corpus, corpus.users_of(users), corpus.rows_of(items))
    say(f"episodes to test: { {state: len(episodes) for state, episodes in tests.items()} }")
    runs = Runs(options.json, about(options, corpus))
    limits = Limits("cpu", options.epochs, options.patience)
    for rater in raters:
        best = chosen(rater, search, options.seeds[0], options.trials, limits, runs, say)
        runs.keep_tests(rater.name, best["settings"])
        for seed in options.seeds if rater.seeded else options.seeds[:1]:
            done = runs.get((rater.name, "all warm", seed, -1))
            if done is None or done["settings"] != best["settings"]:
                epochs = int(best["notes"].get("epochs", 0))
                record, fitted = trained(rater, final, best, seed, limits, say, epochs)
                figures = tested(fitted, final, tests, best["cuts"], say)
                runs.put(record | {"part": "all warm", "trial": -1, "tests": figures})
    runs.merge()
    runs.outcome = outcome(runs, options.resamples, "MAE")
    runs.save()
    print(table(runs.outcome, METRICS))


def chosen(rater: Rater, task: RatingTask, seed: int, trials: int, limits: Limits, runs: Runs, say: Say) -> Record:
    """The trial that validates best."""
    found: list[Record] = []
    drawn = draw(rater.space(), trials)
    for number, settings in enumerate(drawn):
        record = runs.get((rater.name, "search", seed, number))
        if record is None or record["settings"] != settings:
            say(f"{rater.name}, seed {seed}, trial {number + 1}/{len(drawn)}: {settings}")
            record, fitted = trained(rater, task, {"settings": settings}, seed, limits, say, None)
            record |= {"part": "search", "trial": number, "validation": validated(fitted.predictor, task)}
            record |= {"cuts": cut(fitted, task)}
            say(f"{rater.name}: validation MAE {record['validation']:.4f} after {record['train_seconds']:.1f} s")
            runs.put(record)
        found.append(record)
    return min(found, key=lambda record: float(record["validation"]))


def trained(
    rater: Rater, task: RatingTask, about: Record, seed: int, limits: Limits, say: Say, epochs: int | None
) -> tuple[Record, FittedRater]:
    """Fit once."""
    with Cost() as training:
        fitted = rater.fit(task, about["settings"], seed, limits, say, epochs)
    return {
        "model": rater.name,
        "seed": seed,
        "settings": about["settings"],
        "plan": fitted.plan,
        "train_seconds": training.seconds,
        "train_cpu_seconds": training.cpu_seconds,
        "peak_memory_mib": training.memory,
        "notes": fitted.notes,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(limits),
        "revision": revision(),
    }, fitted


def cut(fitted: FittedRater, task: RatingTask) -> dict[str, list[float]]:
    """For each state and way to read, where the median turns to the next level."""
    return {
        state + name: MedianPredictor.fitted(reading, episodes, task.levels).cuts.tolist()
        for state, episodes in task.validation.items()
        for name, reading in fitted.readings.items()
    }


def tested(
    fitted: FittedRater, task: RatingTask, tests: dict[str, list[Episode]], cuts: dict[str, list[float]], say: Say
) -> Record:
    """The figures of each state, for each way to read, as it is and at the median."""
    out: Record = {}
    for state, episodes in tests.items():
        for name, reading in fitted.readings.items():
            at_median = MedianPredictor(reading, task.levels, np.array(cuts[state + name]))
            for label, predictor in ((state, reading), (f"{state}, median", at_median)):
                with Cost() as evaluating:
                    found = errors(predictor, episodes, task.low, task.high)
                figures = {"MAE": float(found["MAE"].mean()), "RMSE": float(np.sqrt(found["MSE"].mean()))}
                if predictor is reading:  # five levels order nothing: NDCG is of the ratings as they are
                    figures["NDCG@5"] = float(found["NDCG@5"].mean())
                told = ", ".join(f"{metric} {figure:.4f}" for metric, figure in figures.items())
                say(f"    {label}{name}: {told}")
                out[label + name] = {
                    "figures": figures,
                    "cases": len(episodes),
                    "evaluate_seconds": evaluating.seconds,
                    "users": {metric: pack(values) for metric, values in found.items()},
                }
    return out
