"""How far could cold users be served? The best mixture of all models of a finished benchmark, against each alone.

    python -m benchmarks.mixture --results benchmarks/results/cold-user-ml-1m.json --data DATA/ml-1m \
        --split DATA/ml-1m/melu_cold_split.json --json OUT.json

Every model is trained again with the settings that the benchmark chose, fold after fold, and the cases of all folds are
one test. Its scores of a case's items are brought to mean 0 and deviation 1, and weights are looked for by coordinates,
two rounds over WEIGHTS from each of the two best models alone, and from all alike.
`fitted` finds them on the very cases that are measured, or on half of them: the best that is found, and no more.
`crossed` finds them on every other user and measures the others, both ways: what a mixture is worth where it has not
looked. Ratios are to the best opponent alone, by its figure of the same cases.

Letters: B cases, N items, M models.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.contenders import RANKERS
from benchmarks.corpus import Corpus
from benchmarks.host import machine
from benchmarks.protocols import cold_user
from benchmarks.protocols.ranking import listed, read_split
from benchmarks.task import CaseSet, Contender, Limits, Task
from models.dataset import Columns
from models.evaluate import Ranker, metrics_at, ranks

WEIGHTS = (0.0, 0.1, 0.2, 0.4, 0.7, 1.0, 1.5)
ROUNDS, BATCH = 2, 256
OURS = "innerloop"
MIXED = ("all", "others")

Scores = NDArray[np.float32]


def standard_scores(ranker: Ranker, cases: CaseSet) -> Scores:
    """(B, N): mean 0 and deviation 1 over the items of a case that it has not taken; those it has are far below."""
    out = []
    for start in range(0, len(cases.cases), BATCH):
        batch = cases.cases[start : start + BATCH]
        scores = np.array(ranker.scores([case.support for case in batch]), np.float32)
        for case, row in zip(batch, scores, strict=True):
            row[case.support.rows] = np.nan
        scores -= np.nanmean(scores, 1, keepdims=True)
        scores /= np.nanstd(scores, 1, keepdims=True) + 1e-9
        out.append(np.nan_to_num(scores, nan=-1e9))
    return np.concatenate(out)


def figure(scores: Sequence[Scores], weights: Sequence[float], cases: CaseSet, of: NDArray[np.intp]) -> float:
    """Mean NDCG@10 of the mixture over the cases numbered in `of`."""
    mixed = sum(weight * own[of] for weight, own in zip(weights, scores, strict=True) if weight)
    rows = np.asarray(mixed, np.float32)
    found = [
        metrics_at(ranks(row, cases.cases[case].targets), [10])["NDCG@10"] for row, case in zip(rows, of, strict=True)
    ]
    return float(np.mean(found))


def mixed(scores: Sequence[Scores], cases: CaseSet, of: NDArray[np.intp]) -> list[float]:
    """The weights, (M,), of the best mixture for these cases that a search by coordinates finds from some starts."""
    alone = [figure([own], [1.0], cases, of) for own in scores]
    single = np.eye(len(scores))[np.argsort(alone)[::-1][:2]]
    best, kept = -1.0, [1.0] * len(scores)
    for start in (*single.tolist(), kept):
        weights, reached = start, figure(scores, start, cases, of)
        for _ in range(ROUNDS):
            for at in range(len(scores)):
                for weight in WEIGHTS:
                    tried = [*weights[:at], weight, *weights[at + 1 :]]
                    if any(tried) and (found := figure(scores, tried, cases, of)) > reached:
                        reached, weights = found, tried
        if reached > best:
            best, kept = reached, weights
    return kept


def compared(scores: dict[str, Scores], cases: CaseSet) -> dict[str, Any]:
    """What each model, the mixtures of the opponents and those of all come to on one test."""
    everyone = np.arange(len(cases.cases))
    alone = {name: figure([own], [1.0], cases, everyone) for name, own in scores.items()}
    best = max(value for name, value in alone.items() if name != OURS)
    out: dict[str, Any] = {"cases": len(everyone), "alone": alone, "ours": alone[OURS] / best}
    halves = [np.flatnonzero(np.array(cases.users) % 2 == half) for half in (0, 1)]
    for label, names in (("all", list(scores)), ("others", [name for name in scores if name != OURS])):
        own = [scores[name] for name in names]
        halved = [(mixed(own, cases, one), other) for one, other in (halves, halves[::-1]) if len(one) and len(other)]
        crossed = [figure(own, weights, cases, other) * len(other) for weights, other in halved]
        tried = [mixed(own, cases, everyone), *(weights for weights, _ in halved)]
        weights = max(tried, key=lambda one: figure(own, one, cases, everyone))
        out[label] = {
            "weights": dict(zip(names, weights, strict=True)),
            "fitted": figure(own, weights, cases, everyone) / best,
            "crossed": sum(crossed) / len(everyone) / best,
        }
    return out


def joined(tests: Sequence[CaseSet]) -> CaseSet:
    """The cases of several folds as one test."""
    return CaseSet([case for test in tests for case in test.cases], [user for test in tests for user in test.users])


def first(contender: Contender, task: Task) -> dict[str, Any]:
    """A contender's settings where none are chosen: the first of each."""
    return {setting: values[0] for setting, values in contender.space(task).items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, required=True, help="a finished file of the protocol cold-user")
    parser.add_argument("--data", type=Path, required=True, help="the data set that it is of")
    parser.add_argument("--split", type=Path, help="as the benchmark was given it")
    parser.add_argument("--patience", type=int, help="as the benchmark was given it")
    parser.add_argument("--epochs", type=int, help="as the benchmark was given it")
    parser.add_argument("--folds", type=int, help="only the first so many; all unless given")
    parser.add_argument("--without", default="", type=lambda text: text.split(","), help="models to leave out")
    parser.add_argument("--json", type=Path, help="where to keep the figures")
    parser.add_argument("--cache", type=Path, default=Path(".innerloop/content.sqlite"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    told = json.loads(options.results.read_text())
    about = told["about"]
    if about["protocol"] != "cold-user":
        parser.error(f"{options.results} is of the protocol {about['protocol']}; cold-user is wanted")
    corpus = Corpus.read(options.data, options.cache, Columns(**about.get("columns", {})))
    if corpus.dataset.checksum != about["checksum"]:
        parser.error(f"{options.results} is of other data than {options.data}")
    split = read_split(options.split)
    cold = corpus.users_of(listed(split, "cold_users")) if split else None
    folds = about["folds"] if isinstance(about["folds"], int) else 1
    shots = [k for k in about["shots"] if k]
    parts = cold_user.parts(corpus, shots, about["draws"], folds, cold)[: options.folds]
    tests = told["outcome"]["tests"]
    names = [name for name in next(iter(tests.values())) if ", K = " not in name and name not in options.without]
    settings = {name: next(iter(tests.values()))[name]["settings"] for name in names}
    limits = Limits("cpu", options.epochs, options.patience)
    asked: dict[str, list[CaseSet]] = {}
    said: dict[str, dict[str, list[Scores]]] = {}
    for part in parts:
        for name in names:
            print(f"{part.name}, {name}: {settings[name]}", file=sys.stderr, flush=True)
            fitted = RANKERS[name].fit(part.task, first(RANKERS[name], part.task) | settings[name], 0, limits, _say)
            for test, cases in part.tests.items():
                said.setdefault(test, {}).setdefault(name, []).append(standard_scores(fitted.ranker, cases))
        for test, cases in part.tests.items():
            asked.setdefault(test, []).append(cases)
    found = {}
    for test, each in asked.items():
        scores = {name: np.concatenate(own) for name, own in said.pop(test).items()}
        found[test] = compared(scores, joined(each))
        mixtures = [(label, found[test][label]) for label in MIXED]
        line = ", ".join(f"{label} {known['fitted']:.3f} ({known['crossed']:.3f})" for label, known in mixtures)
        print(f"{test}: ours {found[test]['ours']:.3f}; fitted (crossed): {line}", flush=True)
    if options.json:
        whole = {
            "of": about,
            "parts": [part.name for part in parts],
            "date": _now(),
            "machine": machine(Limits()),
            "tests": found,
        }
        options.json.write_text(json.dumps(whole, indent=1) + "\n")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="minutes")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
