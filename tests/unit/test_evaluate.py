"""Metrics against cases worked by hand, and against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import label_ranking_average_precision_score, ndcg_score, top_k_accuracy_score

from models.episode import History
from models.evaluate import Case, cold_user, evaluate, leave_one_out, metrics_at, ranks


def history(*rows: int) -> History:
    return History(np.array(rows, np.int64), np.zeros(len(rows), np.int64), np.ones(len(rows), np.float32))


class Fixed:
    """Ranks by one fixed list of scores."""

    name = "fixed"

    def __init__(self, *scores: float) -> None:
        self.fixed = np.array(scores, np.float32)

    def scores(self, histories: list[History]) -> NDArray[np.float32]:
        return np.tile(self.fixed, (len(histories), 1))


def test_ranks_by_hand() -> None:
    scores = np.array([0.9, 0.5, 0.7, 0.1])
    assert ranks(scores, np.array([0])).tolist() == [1]
    assert ranks(scores, np.array([1, 3])).tolist() == [3, 4]


def test_a_tie_counts_against_the_target() -> None:
    assert ranks(np.zeros(100), np.array([5])).tolist() == [100]
    assert ranks(np.array([1.0, 1.0, 0.0]), np.array([0, 1])).tolist() == [1, 2]
    assert ranks(np.array([1.0, 1.0, 1.0]), np.array([0, 1])).tolist() == [2, 3]


def test_an_excluded_or_undefined_target_ranks_last() -> None:
    assert ranks(np.array([-np.inf, 0.1, -np.inf]), np.array([0])).tolist() == [3]
    assert ranks(np.array([np.nan, 0.1, 0.2]), np.array([0])).tolist() == [3]
    assert ranks(np.array([np.nan, 5.0, 1.0, 2.0]), np.array([0, 1])).tolist() == [1, 4]


def test_metrics_by_hand() -> None:
    got = metrics_at(np.array([1, 3, 30]), [10])
    assert got["HR@10"] == 1
    assert got["Recall@10"] == pytest.approx(2 / 3)
    assert got["MRR"] == 1
    # gains at ranks 1 and 3: 1 + 1/2; ideal of three: 1 + 1/log2(3) + 1/2
    assert got["NDCG@10"] == pytest.approx(1.5 / (1.5 + 1 / np.log2(3)))
    assert metrics_at(np.array([11]), [10])["NDCG@10"] == 0


def test_one_target_against_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(200, 50))
    targets = rng.integers(0, 50, 200)
    truth = np.zeros_like(scores)
    truth[np.arange(200), targets] = 1
    ours = [metrics_at(ranks(row, target[None]), [10]) for row, target in zip(scores, targets, strict=True)]
    assert np.mean([m["HR@10"] for m in ours]) == pytest.approx(
        top_k_accuracy_score(targets, scores, k=10, labels=range(50))
    )
    assert np.mean([m["NDCG@10"] for m in ours]) == pytest.approx(ndcg_score(truth, scores, k=10))
    assert np.mean([m["MRR"] for m in ours]) == pytest.approx(label_ranking_average_precision_score(truth, scores))


def test_many_targets_against_scikit_learn() -> None:
    rng = np.random.default_rng(1)
    scores = rng.normal(size=(100, 60))
    truth = (rng.random((100, 60)) < 0.2).astype(float)
    ours = [metrics_at(ranks(s, np.flatnonzero(t)), [5, 10]) for s, t in zip(scores, truth, strict=True)]
    for k in (5, 10):
        assert np.mean([m[f"NDCG@{k}"] for m in ours]) == pytest.approx(ndcg_score(truth, scores, k=k))


def test_evaluate_excludes_what_was_seen_and_counts_coverage() -> None:
    cases = [Case(history(0, 1), np.array([2])), Case(history(0), np.array([2]))]
    got = evaluate(Fixed(9, 8, 7, 6), cases, [1, 2])
    assert got["HR@1"] == 0.5  # the second user has not seen item 1, which stands first
    assert got["HR@2"] == 1
    assert got["coverage@10"] == 1


def test_a_constant_scorer_scores_nothing() -> None:
    scores = [0.0] * 100
    assert evaluate(Fixed(*scores), [Case(history(0), np.array([7]))])["NDCG@10"] == 0


def test_no_case_is_an_error() -> None:
    with pytest.raises(ValueError, match="too few interactions"):
        evaluate(Fixed(1.0), [])


def test_leave_one_out_takes_the_last_event() -> None:
    (case,) = leave_one_out([history(3, 1, 2), history(4), history(5, 6, 5)])
    assert case.support.rows.tolist() == [3, 1]
    assert case.targets.tolist() == [2]


def test_cold_user_in_time_order() -> None:
    (case,) = cold_user([history(*range(20)), history(1, 2, 3)], 5, order="time")
    assert case.support.rows.tolist() == [0, 1, 2, 3, 4]
    assert case.targets.tolist() == list(range(5, 15))


def test_cold_user_at_random_repeats_with_its_seed_and_never_leaks() -> None:
    users = [history(*np.random.default_rng(u).permutation(30).tolist()) for u in range(5)]
    cases = cold_user(users, 5, seed=3, draws=2)
    assert len(cases) == 10
    again = cold_user(users, 5, seed=3, draws=2)
    for case, other in zip(cases, again, strict=True):
        assert case.support.rows.tolist() == other.support.rows.tolist()
        assert len(case.targets) == 10
        assert not set(case.support.rows) & set(case.targets)
    assert cases[0].support.rows.tolist() != users[0].rows[:5].tolist()
