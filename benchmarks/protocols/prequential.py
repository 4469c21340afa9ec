"""Time: a log cut at one moment, then period by period, as the service would meet it.

The events of a period are first to be foretold, then learned from. `frozen` keeps the parameters of the cut (and adapts
to each history, as all do); `refreshed` takes the worker's step, `models.refresh.refresh`, for every so many events;
`retrained` is trained from nothing on all that came before. New items join all three by their content. The recipe's own
settings are used: here our learner is compared with itself. `popularity` counts all that came before.

A period's figures are of the parameters before it; its seconds are what it took to make these after the period before,
of the clock and of processors. The training at the cut, which the three share, is counted as frozen's.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, NamedTuple, Self

import numpy as np
import torch

from benchmarks.cost import Cost
from benchmarks.host import machine, revision
from benchmarks.measure import users_measured
from benchmarks.outcome import outcome, table
from benchmarks.packed import pack
from benchmarks.protocols.ranking import about, corpus_of, named
from benchmarks.refreshing import Refreshing, trained
from benchmarks.runs import Record, Runs
from benchmarks.stream import Stream
from benchmarks.sweep import KEPT
from benchmarks.task import Limits, Say
from models import recipe
from models.baselines import Popularity, incidence
from models.dataset import Dataset
from models.evaluate import LearnerRanker, Ranker
from models.learner import Learner
from models.refresh import RefreshConfig
from models.sizes import sized
from models.snapshot import Snapshot
from models.split import histories

LATER = "after the first period"
MOST = 2000
"""Cases of a period."""
VARIANTS = {name: name for name in ("frozen", "refreshed", "retrained", "popularity")}


class Spent(NamedTuple):
    """What the parameters of a period took to make: nothing where they are another period's or model's."""

    seconds: float
    cpu_seconds: float
    memory: dict[str, float]

    @classmethod
    def of(cls, cost: Cost) -> Self:
        """All that `cost` measured."""
        return cls(cost.seconds, cost.cpu_seconds, cost.memory)


Made = tuple[int, Ranker, Spent, dict[str, float]]  # period, ranker, what it took, notes


def run(options: argparse.Namespace, say: Say) -> None:
    """Read, run what is not finished, compare, and print the table.

    Raises:
        ValueError: a model that does not exist, or data without a clock.
    """
    chosen = named(options.models, VARIANTS)
    corpus = corpus_of(options)
    if corpus.dataset.report.first is None:
        raise ValueError(f"{corpus.dataset.name} has an order and no clock: it cannot be cut at one moment")
    say(f"content vectors: {corpus.content.shape}")
    stream = Stream(corpus)
    edges = np.linspace(round(options.first * len(stream)), len(stream), options.periods + 1).astype(int).tolist()
    clock = {"first": options.first, "periods": options.periods}
    runs = Runs(options.json, about(options, corpus) | clock)
    limits = Limits("cpu", options.epochs, options.patience)
    tests = [stream.cases(start, end, MOST) for start, end in pairwise(edges)]
    for seed in options.seeds:
        course = Course(stream, edges, options.refresh_events, seed, limits, say)
        for name in chosen:
            settings = {"refresh_events": options.refresh_events} if name == "refreshed" else {}
            same = (name, seed, settings)
            done = {run["trial"] for run in runs if (run["model"], run["seed"], run["settings"]) == same}
            todo = [period for period in range(options.periods) if period not in done]
            for period, ranker, spent, notes in course.follow(name, todo):
                with Cost() as evaluating:
                    by_user, coverage = users_measured(ranker, tests[period])
                figures = {metric: float(values.mean()) for metric, values in by_user.items()}
                say(f"{name}, period {period + 1}: NDCG@10 {figures['NDCG@10']:.4f}; {spent.cpu_seconds:.1f} CPU s")
                runs.put(
                    {
                        "model": name,
                        "part": f"period {period + 1:02}",
                        "seed": seed,
                        "trial": period,
                        "settings": settings,
                        "plan": course.plan(name, period),
                        "train_seconds": spent.seconds,
                        "train_cpu_seconds": spent.cpu_seconds,
                        "peak_memory_mib": spent.memory,
                        "notes": notes,
                        "date": datetime.now(UTC).isoformat(timespec="seconds"),
                        "machine": machine(limits),
                        "revision": revision(),
                        "tests": {
                            "all periods": {
                                "figures": figures | {"coverage@10": coverage},
                                "cases": len(tests[period].cases),
                                "evaluate_seconds": evaluating.seconds,
                                "users": {metric: pack(by_user[metric]) for metric in KEPT["time"]},
                                "whose": pack(np.unique(tests[period].users).astype(np.float64)),
                            }
                        },
                    }
                )
    runs.merge()
    runs.outcome = outcome(map(labelled, runs), options.resamples, ours="refreshed")
    runs.save()
    print(table(runs.outcome))


def labelled(record: Record) -> Record:
    """The record with its test under LATER too, unless it is of the first period, which all variants share."""
    tests = record["tests"]
    return record if record["trial"] == 0 else record | {"tests": tests | {LATER: tests["all periods"]}}


class Course:
    """One seed's way through the periods, variant by variant; the training at the cut is shared."""

    def __init__(
        self, stream: Stream, edges: list[int], refresh_events: int, seed: int, limits: Limits, say: Say
    ) -> None:
        self.stream, self.edges, self.refresh_events = stream, edges, refresh_events
        self.seed, self.limits, self.say = seed, limits, say
        self._first: tuple[Snapshot, Cost] | None = None

    def plan(self, variant: str, period: int) -> dict[str, Any]:
        """What was chosen to make a variant's parameters of a period: how to refresh, or the recipe of a training."""
        if variant == "refreshed":
            return asdict(RefreshConfig())
        start = self.edges[period if variant == "retrained" else 0]
        return {} if variant == "popularity" else self._planned(self.stream.before(start)).to_dict()

    def follow(self, variant: str, todo: list[int]) -> Iterator[Made]:
        """What ranks each of the periods to do, and what it took to make."""
        if not todo:
            return
        if variant == "refreshed":
            yield from self._refreshed(todo)
            return
        for period in todo:
            start = self.edges[period]
            if variant == "popularity":
                with Cost() as cost:
                    rows = incidence(histories(self.stream.before(start)), self._known(period))
                yield period, Popularity(rows), Spent.of(cost), {}
                continue
            snapshot, cost = self._at_the_cut() if variant == "frozen" or not period else self._trained(start)
            own = period > 0 if variant == "retrained" else period == 0
            spent = Spent.of(cost) if own else Spent(0.0, 0.0, cost.memory)
            yield period, self._ranker(snapshot, period), spent, dict(snapshot.manifest.metrics)

    def _refreshed(self, todo: list[int]) -> Iterator[Made]:
        """From the cut on, each period's refreshes on the events of the one before; the chain cannot skip any."""
        snapshot, cost = self._at_the_cut()
        refreshing = Refreshing(self.stream, snapshot, self.refresh_events, self.seed)
        spent, notes = Spent(0.0, 0.0, cost.memory), dict[str, float]()
        for period in range(max(todo) + 1):
            if period:
                with Cost() as cost:
                    tried, published = refreshing.learn(self.edges[period - 1], self.edges[period])
                spent = Spent.of(cost)
                notes = {"refreshes": float(tried), "published": float(published)}
                self.say(f"  {published} of {tried} refreshes published")
            if period in todo:
                yield period, self._ranker(refreshing.snapshot, period), spent, notes

    def _known(self, period: int) -> int:
        """The items that may be recommended in a period: all met before it ends."""
        return self.stream.items_before(self.edges[period + 1])

    def _ranker(self, snapshot: Snapshot, period: int) -> LearnerRanker:
        """The snapshot, with the items that are new by the end of the period."""
        learner = Learner.restore(snapshot)
        new = slice(len(snapshot.items), self._known(period))
        texts, content = self.stream.corpus.texts[new], self.stream.corpus.content[new]
        return LearnerRanker(learner.grown(learner.expect(texts, torch.from_numpy(content))) if texts else learner)

    def _at_the_cut(self) -> tuple[Snapshot, Cost]:
        if self._first is None:
            self._first = self._trained(self.edges[0])
        return self._first

    def _trained(self, event: int) -> tuple[Snapshot, Cost]:
        dataset = self.stream.before(event)
        plan = self._planned(dataset)
        with Cost() as cost:
            snapshot = trained(dataset, self.stream.corpus.content[: len(dataset.items)], plan, self.say)
        return snapshot, cost

    def _planned(self, dataset: Dataset) -> recipe.Plan:
        chosen: dict[str, Any] = {"seed": self.seed}
        chosen |= {"epochs": self.limits.epochs} if self.limits.epochs else {}
        chosen |= {"patience": self.limits.patience} if self.limits.patience else {}
        return recipe.plan(sized(dataset, ordered=False) | chosen, hold_out=False)
