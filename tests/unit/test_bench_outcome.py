"""The outcome of runs: what is compared, and what each figure cost."""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from benchmarks.bootstrap import compare
from benchmarks.opponents.recency import Matrices, Plain, Recency
from benchmarks.outcome import outcome
from benchmarks.packed import pack, unpack
from benchmarks.protocols.prequential import LATER, labelled
from benchmarks.report import results
from benchmarks.sweep import trained
from benchmarks.task import CaseSet, Fitted, Limits, Part, Say, Settings, Task
from models.baselines import EASE
from models.episode import History
from models.evaluate import Case

BY = "ours against it by"
RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"


def run(model: str, seed: int, users: dict[str, list[float]]) -> dict[str, Any]:
    packed = {metric: pack(np.array(values)) for metric, values in users.items()}
    figures = {metric: float(np.mean(values)) for metric, values in users.items()}
    test = {"figures": figures, "cases": 3, "evaluate_seconds": 0.1, "users": packed}
    known = {"model": model, "part": "all", "seed": seed, "settings": {}, "train_seconds": 1.0, "peak_memory_mib": {}}
    return known | {"tests": {"loo": test}}


def test_hits_are_compared_beside_the_metric_where_both_keep_them() -> None:
    runs = [
        run("innerloop", 0, {"NDCG@10": [0.5, 0.2, 0.6], "HR@10": [1, 1, 0]}),
        run("innerloop", 1, {"NDCG@10": [0.5, 0.4, 0.6], "HR@10": [1, 0, 1]}),
        run("sasrec", 0, {"NDCG@10": [0.4, 0.1, 0.6], "HR@10": [1, 0, 0]}),
        run("ease", 0, {"NDCG@10": [0.3, 0.1, 0.6]}),
    ]
    found = outcome(runs, 100)["tests"]["loo"]
    ours = np.array([1.0, 0.5, 0.5])  # the mean of the seeds
    assert found["sasrec"][BY]["HR@10"] == compare(ours, np.array([1.0, 0.0, 0.0]), 100)._asdict()
    assert found["sasrec"]["ours against it"]["ours"] == pytest.approx(np.mean([0.5, 0.3, 0.6]), abs=1e-4)
    assert BY not in found["ease"]
    assert "ours against it" in found["ease"]
    hits = outcome(runs[:3], 100, "HR@10")["tests"]["loo"]["sasrec"]
    assert BY not in hits  # it is the metric itself
    assert hits["ours against it"] == found["sasrec"][BY]["HR@10"]


@pytest.mark.parametrize("one", results(RESULTS), ids=lambda one: str(one["name"]))
def test_a_committed_outcome_is_what_its_runs_say(one: dict[str, Any]) -> None:
    told = one["outcome"]
    runs = map(labelled, one["runs"]) if one["about"]["protocol"] == "time" else one["runs"]
    found = outcome(runs, 2, told["metric"], told["ours"])  # the intervals need 2,000 resamples; all else none
    for test, models in told["tests"].items():
        assert found["tests"][test].keys() == models.keys()
        for model, known in models.items():
            again = found["tests"][test][model]
            assert again.keys() == known.keys()
            assert again["figures"] == pytest.approx(known["figures"])
            for versus, fresh in zip(comparisons(known), comparisons(again), strict=True):
                assert (versus["ours"], versus["theirs"]) == pytest.approx((fresh["ours"], fresh["theirs"]))


def comparisons(known: dict[str, Any]) -> list[dict[str, float]]:
    """By the outcome's own metric, then by others."""
    return [*([known["ours against it"]] if "ours against it" in known else []), *known.get(BY, {}).values()]


def test_hits_of_a_committed_leave_one_out_are_compared_as_its_runs_say() -> None:
    one = json.loads((RESULTS / "loo-ml-100k.json").read_text())
    runs = {run["model"]: run["tests"]["loo"]["users"]["HR@10"] for run in one["runs"] if "tests" in run}
    told = one["outcome"]["tests"]["loo"]["ease"][BY]["HR@10"]
    assert compare(unpack(runs["innerloop"]), unpack(runs["ease"]), 2000)._asdict() == pytest.approx(told)


def test_a_user_of_several_periods_is_drawn_with_all_of_them() -> None:
    # two users in both periods, five in one: as users they differ more than figures of strangers would
    ours, theirs = np.array([1.0, 0.0, 0.2, 0.3, 1.0, 0.0, 0.2]), np.array([0.0, 0.6, 0.2, 0.2, 0.0, 0.6, 0.3])
    whose = np.array([1, 2, 3, 4, 1, 2, 5])
    rng = np.random.default_rng(0)
    again = []
    for _ in range(2000):
        rows = np.concatenate([np.flatnonzero(whose == user) for user in rng.integers(0, 5, 5) + 1])
        again.append(ours[rows].mean() - theirs[rows].mean())
    found = compare(ours, theirs, 4000, users=whose)
    assert (found.ours, found.theirs) == (ours.mean(), theirs.mean())
    np.testing.assert_allclose(
        (found.difference_low, found.difference_high), np.percentile(again, [2.5, 97.5]), atol=0.05
    )
    strangers = compare(ours, theirs, 4000)
    width = found.difference_high - found.difference_low
    assert width > 1.2 * (strangers.difference_high - strangers.difference_low)


def test_periods_count_by_their_users_in_figures_as_in_comparisons() -> None:
    first, second = [0.2, 0.4, 0.6], [0.8]
    records = []
    for model, factor in (("refreshed", 1.0), ("frozen", 0.5)):
        for trial, (values, users) in enumerate(((first, [1, 2, 3]), (second, [2]))):
            record = run(model, 0, {"NDCG@10": [factor * value for value in values]}) | {"part": f"period {trial}"}
            record["tests"]["loo"]["whose"] = pack(np.array(users, np.float64))
            records.append(record)
    found = outcome(records, 100, ours="refreshed")["tests"]["loo"]
    assert found["refreshed"]["figures"]["NDCG@10"] == pytest.approx(0.5, abs=1e-3)
    assert found["frozen"]["ours against it"]["ours"] == pytest.approx(0.5, abs=1e-3)
    assert found["frozen"]["users"] == 3


HISTORY = History(np.array([0, 1], np.int64), np.zeros(2, np.int64), np.ones(2, np.float32))


def small() -> Task:
    test = CaseSet([Case(HISTORY, np.array([2]))], [0])
    return Task(cast("Any", SimpleNamespace(items=3)), [HISTORY] * 4, [test], np.arange(3))


def test_a_matrix_taken_over_counts_the_clock_and_the_processor_apart() -> None:
    def build(train: Any, penalty: float) -> EASE:
        time.sleep(0.2)  # the clock runs, the processor hardly
        return EASE(train, penalty)

    matrices = Matrices(build)
    plain, faded = Plain("ease", matrices, "penalty", (1.0,)), Recency("ease-recency", matrices, "penalty", (1.0,))
    task = small()
    first = plain.fit(task, {"penalty": 1.0}, 0, Limits(), lambda _: None)
    assert (first.seconds_before, first.cpu_seconds_before) == (0.0, 0.0)
    settings = {"penalty": 1.0, "decay": 0.5, "floor": 0.0}
    again = faded.fit(task, settings, 0, Limits(), lambda _: None)
    assert again.seconds_before >= 0.2
    assert 0 < again.cpu_seconds_before < 0.15


class TakesOver:
    """A contender whose work was done before."""

    name = "over"
    seeded = False

    def space(self, task: Task) -> Mapping[str, Sequence[Any]]:
        return {}

    def fit(self, task: Task, settings: Settings, seed: int, limits: Limits, say: Say) -> Fitted:
        ranker = Recency("ease-recency", Matrices(EASE), "penalty", (1.0,))
        fitted = ranker.fit(task, {"penalty": 1.0, "decay": 0.5, "floor": 0.0}, seed, limits, say)
        return Fitted(fitted.ranker, seconds_before=1000.0, cpu_seconds_before=400.0)


def test_what_was_done_before_is_added_to_each_kind_of_seconds() -> None:
    record, _ = trained(TakesOver(), Part("all", small(), {}), {}, 0, Limits(), lambda _: None)
    assert 1000 <= record["train_seconds"] < 1100
    assert 400 <= record["train_cpu_seconds"] < 500


def test_a_run_says_where_and_of_what_state_of_the_code_it_is() -> None:
    record, _ = trained(TakesOver(), Part("all", small(), {}), {}, 0, Limits(), lambda _: None)
    told = ""
    if shutil.which("git"):
        told = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False).stdout
    assert record["revision"].removesuffix("-dirty") == told[:12]  # both empty where there is no repository
    assert platform.machine() in record["machine"]
    assert record["plan"] == {}


def test_a_seed_that_is_not_through_waits_and_other_parts_are_not_compared() -> None:
    """Another command may be between two parts of a seed; folds of one size are not the same users."""

    def fold(model: str, seed: int, part: str, figure: float) -> dict[str, Any]:
        return run(model, seed, {"NDCG@10": [figure, figure]}) | {"part": part}

    ours = [fold("innerloop", 0, "fold 1", 0.4), fold("innerloop", 0, "fold 2", 0.6)]
    found = outcome([*ours, fold("innerloop", 1, "fold 1", 0.9), fold("ease", 0, "fold 2", 0.1)], 50)["tests"]["loo"]
    assert found["innerloop"]["seeds"] == 1
    assert found["innerloop"]["figures"]["NDCG@10"] == pytest.approx(0.5, abs=1e-3)
    assert "ours against it" not in found["ease"]
    whole = outcome([*ours, fold("ease", 0, "fold 1", 0.2), fold("ease", 0, "fold 2", 0.3)], 50)["tests"]["loo"]
    assert whole["ease"]["ours against it"]["wins"] == 1.0


def test_the_first_period_is_no_part_of_what_came_after_it() -> None:
    first, second = (
        run("refreshed", 0, {"NDCG@10": [figure]}) | {"trial": trial} for trial, figure in enumerate((0.2, 0.4))
    )
    periods = [record | {"tests": {"all periods": record["tests"]["loo"]}} for record in (first, second)]
    found = outcome(map(labelled, periods), 2, ours="refreshed")["tests"]
    assert found["all periods"]["refreshed"]["figures"]["NDCG@10"] == pytest.approx(0.3, abs=1e-3)
    assert found[LATER]["refreshed"]["figures"]["NDCG@10"] == pytest.approx(0.4, abs=1e-3)
