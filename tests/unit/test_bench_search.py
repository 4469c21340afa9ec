"""The benchmark's machinery: what is tried, what is kept, who is cold, and how sure a comparison is."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.bootstrap import compare, resampled
from benchmarks.measure import single_ranks, users_measured
from benchmarks.outcome import outcome, table
from benchmarks.packed import pack, unpack
from benchmarks.protocols.cold_user import deal
from benchmarks.runs import OtherRuns, Runs
from benchmarks.search import draw
from benchmarks.sweep import sweep
from benchmarks.task import CaseSet, Fitted, Limits, Part, Say, Settings, Task
from models.episode import History
from models.evaluate import Case, ranks

SPACE = {"a": (1, 2, 3, 4), "b": ("x", "y", "z"), "c": (0.0, 0.5)}


def history(*rows: int) -> History:
    return History(np.array(rows, np.int64), np.zeros(len(rows), np.int64), np.ones(len(rows), np.float32))


def test_the_search_begins_with_the_defaults_and_repeats_nothing() -> None:
    found = draw(SPACE, 10)
    assert found[0] == {"a": 1, "b": "x", "c": 0.0}
    assert len({json.dumps(one) for one in found}) == 10
    assert draw(SPACE, 15)[:10] == found


def test_a_small_space_is_searched_whole() -> None:
    assert len({json.dumps(one) for one in draw(SPACE, 99)}) == 24
    assert draw({}, 5) == [{}]


def test_the_bootstrap_of_two_users_by_hand() -> None:
    """Of two users, the four resamples are equally likely: (a, a), (a, b), (b, a), (b, b)."""
    means = resampled(np.array([[0.0, 1.0]]), 20_000)[0]
    shares = [float((means == value).mean()) for value in (0.0, 0.5, 1.0)]
    np.testing.assert_allclose(shares, [0.25, 0.5, 0.25], atol=0.02)


def test_a_comparison_is_paired() -> None:
    """Users differ by far more than the models; only pairs show that ours is a little better on every one."""
    theirs = np.random.default_rng(0).random(50)
    found = compare(theirs + 0.01, theirs)
    assert found.difference_low == pytest.approx(0.01)
    assert found.difference_high == pytest.approx(0.01)
    assert found.wins == 1.0
    assert compare(theirs, theirs).wins == 0.0
    with pytest.raises(ValueError, match="the same users"):
        compare(theirs, theirs[:-1])


def test_packed_figures_come_back() -> None:
    figures = np.random.default_rng(0).random(100)
    np.testing.assert_allclose(unpack(pack(figures)), figures, atol=5.1e-5)


def test_folds_are_disjoint_and_cover_all_but_the_validating_users() -> None:
    validating, folds = deal(103, 5)
    assert len(validating) == 10
    together = np.concatenate([validating, *folds])
    assert sorted(together.tolist()) == list(range(103))


def test_listed_users_are_the_cold_ones() -> None:
    cold = np.array([3, 5, 8])
    validating, folds = deal(23, 5, cold)
    assert [fold.tolist() for fold in folds] == [[3, 5, 8]]
    assert len(validating) == 2
    assert not set(validating.tolist()) & set(cold.tolist())


def test_a_single_target_ranks_as_any() -> None:
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 5, (40, 9)).astype(np.float32)  # many ties
    scores[rng.random(scores.shape) < 0.1] = np.nan
    scores[rng.random(scores.shape) < 0.1] = -np.inf
    targets = rng.integers(0, 9, 40)
    expected = [ranks(row, np.array([target]))[0] for row, target in zip(scores, targets, strict=True)]
    assert single_ranks(scores, targets).tolist() == expected


class Constant:
    """Ranks items by how high their row is."""

    name = "constant"

    def __init__(self, worth: float) -> None:
        self.worth = worth

    def scores(self, histories: Sequence[History]) -> NDArray[np.float32]:
        return np.tile(np.arange(20, dtype=np.float32) * self.worth, (len(histories), 1))


def test_draws_of_one_user_count_as_one() -> None:
    cases = [Case(history(0), np.array([19])), Case(history(0), np.array([1])), Case(history(0), np.array([19]))]
    by_user, _ = users_measured(Constant(1.0), CaseSet(cases, [7, 7, 9]))
    assert by_user["HR@10"].tolist() == [0.5, 1.0]


def test_only_candidates_are_ranked() -> None:
    candidates = np.zeros(20, np.bool_)
    candidates[[0, 1, 2]] = True
    by_user, _ = users_measured(Constant(1.0), CaseSet([Case(history(2), np.array([1]))], [0], candidates))
    assert by_user["MRR"].tolist() == [1.0]


class Counting:
    """A contender that counts its trainings; `worth` 1 ranks the target first, -1 last."""

    name = "innerloop"
    seeded = True

    def __init__(self) -> None:
        self.fits: list[tuple[float, int]] = []

    def space(self, task: Task) -> Mapping[str, Sequence[Any]]:
        return {"worth": (-1.0, 1.0)}

    def fit(self, task: Task, settings: Settings, seed: int, limits: Limits, say: Say) -> Fitted:
        self.fits.append((settings["worth"], seed))
        return Fitted(Constant(settings["worth"]))


def swept(path: Path, contender: Counting, seeds: list[int], trials: int = 2) -> Runs:
    test = CaseSet([Case(history(0), np.array([19])), Case(history(1), np.array([18]))], [0, 1])
    part = Part("all", Task(None, [], [test], np.arange(20)), {"loo": test})  # type: ignore[arg-type]
    runs = Runs(path, {"protocol": "loo"})
    sweep([contender], [part], seeds, trials, Limits(), runs, lambda _: None)
    return runs


def test_a_rerun_skips_what_is_finished(tmp_path: Path) -> None:
    path, first, again, more = tmp_path / "out.json", Counting(), Counting(), Counting()
    swept(path, first, [0, 1])
    assert first.fits == [(-1.0, 0), (1.0, 0), (1.0, 1)]  # both trials, then the better one with the other seed
    assert swept(path, again, [0, 1]).get(("innerloop", "all", 1, -1)) is not None
    assert again.fits == []
    runs = swept(path, more, [0, 1, 2])
    assert more.fits == [(1.0, 2)]
    known = outcome(runs, 100)["tests"]["loo"]["innerloop"]
    assert known["figures"]["HR@10"] == 1.0
    assert known["seeds"] == 3
    assert "innerloop" in table(outcome(runs, 100))
    with pytest.raises(OtherRuns, match="protocol: loo there, time here"):
        Runs(path, {"protocol": "time"})
    for broken in ("{", "[]", '{"about": [], "runs": 1}'):
        path.write_text(broken)
        with pytest.raises(OtherRuns, match="is no file of runs"):
            Runs(path, {"protocol": "loo"})


def test_a_search_carried_further_leaves_no_tests_of_what_it_overtook(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    swept(path, Counting(), [0, 1, 2], trials=1)
    known = outcome(swept(path, Counting(), [0], trials=2), 100)["tests"]["loo"]["innerloop"]
    assert known["settings"] == {"worth": 1.0}
    assert known["seeds"] == 1  # those of the other setting are not ours to average
    smaller = outcome(swept(path, Counting(), [0], trials=1), 100)["tests"]["loo"]["innerloop"]
    assert smaller["settings"] == {"worth": -1.0}
    assert smaller["seeds"] == 1


def test_seeds_in_another_order_are_counted_once(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    swept(path, Counting(), [1, 0])
    known = outcome(swept(path, Counting(), [0, 1]), 100)["tests"]["loo"]["innerloop"]
    assert known["seeds"] == 2
    assert known["figures"]["HR@10"] == 1.0


def test_what_a_command_dropped_another_does_not_bring_back(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    one = Runs(path, {"protocol": "loo"})
    mine = {"model": "ease", "part": "all", "seed": 0, "trial": 0, "settings": {"a": 1}}
    one.put(mine | {"tests": {"loo": {}}})
    other = Runs(path, {"protocol": "loo"})
    one.keep_tests("ease", {"a": 2})
    other.put(mine | {"model": "ials"})
    assert all("tests" not in record for record in Runs(path, {"protocol": "loo"}))


def test_commands_side_by_side_fill_one_file(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    one, other = Runs(path, {"protocol": "loo"}), Runs(path, {"protocol": "loo"})
    shared = {"part": "all", "seed": 0, "trial": 0}
    one.put({"model": "ease", **shared})
    other.put({"model": "sasrec", **shared})
    one.put({"model": "ials", **shared})
    assert {record["model"] for record in Runs(path, {"protocol": "loo"})} == {"ease", "sasrec", "ials"}
