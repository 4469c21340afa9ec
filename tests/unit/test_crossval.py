"""Cross-validation asks about everyone once, by learners that have not seen them."""

from __future__ import annotations

from pathlib import Path
from statistics import stdev

import numpy as np
import pytest

from models.crossval import CrossValidation, cases, cross_validate
from models.dataset import Dataset, read
from models.progress import Progress
from models.recipe import plan
from models.split import SplitConfig, split

SMALL = {"width": 16, "rank": 16, "length": 10, "batch_size": 64, "rate": 1e-2, "shuffled": 0.0, "averaging": 0.8}


def walks(folder: Path, users: int, events: int = 20) -> Dataset:
    """Users who go round 30 items."""
    file = folder / "walks.csv"
    lines = [f"u{user},i{(user + at) % 30},{at}" for user in range(users) for at in range(events)]
    file.write_text("user,item,timestamp\n" + "\n".join(lines) + "\n")
    return read(file)


def content(dataset: Dataset) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    return np.zeros((len(dataset.items), 12), np.float32)


@pytest.mark.parametrize(("users", "folds"), [(60, 4), (61, 4), (10, 4), (7, 7), (5, 2)])
def test_folds_deal_everyone_once_and_never_overlap(tmp_path: Path, users: int, folds: int) -> None:
    file = tmp_path / "own.csv"
    file.write_text("user,item\n" + "".join(f"u{user},own{user}\n" for user in range(users)))
    dataset = read(file)
    dealt: list[int] = []
    for fold in range(folds):
        parts = split(dataset, SplitConfig(cold=1 / folds, last=False, fold=fold))
        cold, valid, warm = ([int(one.rows[0]) for one in group] for group in (parts.cold, parts.valid, parts.warm))
        assert sorted([*cold, *valid, *warm]) == list(range(users))
        assert users // folds <= len(cold) <= users // folds + 1
        assert valid
        dealt += cold
    assert sorted(dealt) == list(range(users))


def test_every_fold_trains_anew_and_is_tested_on_users_it_held_out(tmp_path: Path) -> None:
    dataset = walks(tmp_path, 90, events=21)
    seen: list[tuple[int, int]] = []

    def show(fold: int, at: Progress) -> None:
        if at.ended:
            seen.append((fold, at.epoch))

    found = cross_validate(dataset, content(dataset), plan(SMALL | {"epochs": 6}), 3, show)
    assert seen == [(fold, epoch) for fold in range(3) for epoch in range(1, 7)]
    summary = found.summary()
    names = ["NDCG@10, next item", "NDCG@10, cold user, k = 5", "NDCG@10, cold user, k = 10", "epochs"]
    assert list(summary) == names
    assert summary["NDCG@10, next item"]["mean"] > 0.5  # of chance's 0.15: what follows was learned from others
    assert summary["epochs"]["mean"] > 1


def test_nobody_is_asked_about_who_trained(tmp_path: Path) -> None:
    """Every user has items of their own: only a learner trained on a user could foretell the next of them."""
    file = tmp_path / "own.csv"
    lines = [f"u{user},i{user}-{at},{at}" for user in range(8) for at in range(6)]
    file.write_text("user,item,timestamp\n" + "\n".join(lines) + "\n")
    dataset = read(file)
    found = cross_validate(dataset, content(dataset), plan(SMALL | {"epochs": 20, "patience": 20}), 2).summary()
    assert found["NDCG@10, next item"]["mean"] < 0.3


def test_where_all_is_ordered_nobody_is_asked_about_without_an_order(tmp_path: Path) -> None:
    cold = split(walks(tmp_path, 20), SplitConfig(cold=0.5)).cold
    for ordered in (True, False):
        asked = cases(cold, ordered)
        few = [case for name, some in asked.items() if name != "next item" for case in some]
        assert few
        assert all(case.support.ordered is ordered for case in few)
    assert [case.support.rows.tolist() for case in cases(cold, ordered=True)["cold user, k = 5"]] == [
        history.rows[:5].tolist() for history in cold
    ]


def test_the_summary_by_hand() -> None:
    found = CrossValidation(({"a": 0.1, "b": 1.0}, {"a": 0.4}, {"a": 0.1})).summary()
    assert found["a"] == {"mean": pytest.approx(0.2), "deviation": stdev([0.1, 0.4, 0.1]), "folds": [0.1, 0.4, 0.1]}
    assert found["b"] == {"mean": 1.0, "deviation": 0.0, "folds": [1.0]}


def test_what_cannot_be_dealt_or_asked_is_said(tmp_path: Path) -> None:
    dataset = walks(tmp_path, 5, events=4)
    with pytest.raises(ValueError, match="5 users cannot be dealt into 6 folds"):
        cross_validate(dataset, content(dataset), plan(SMALL), 6)
    file = tmp_path / "one.csv"
    file.write_text("user,item\n" + "".join(f"u{user},i{user}\n" for user in range(8)))
    with pytest.raises(ValueError, match="fold 1 of 4 has nobody with 2 items"):
        cross_validate(read(file), np.zeros((8, 4), np.float32), plan(SMALL), 4)
