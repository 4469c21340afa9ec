"""The opponents on data small enough to work by hand."""

from __future__ import annotations

import numpy as np
import pytest

from models.baselines import EASE, ImplicitALS, ItemKNN, Popularity, grid, incidence
from models.episode import History
from models.evaluate import Case, Ranker, evaluate


def history(*rows: int) -> History:
    return History(np.array(rows, np.int64), np.zeros(len(rows), np.int64), np.ones(len(rows), np.float32))


# Two crowds: items 1 to 4 go together, and items 6 to 9. Everybody took item 0, nobody items 5 and 10.
RNG = np.random.default_rng(0)
USERS = [history(0, *(half * 5 + RNG.choice(np.arange(1, 5), 3, replace=False))) for half in (0, 1) for _ in range(100)]
TRAIN = incidence(USERS, 11)


def test_incidence_counts_each_pair_once() -> None:
    matrix = incidence([history(1, 1, 2), history()], 4)
    assert matrix.toarray().tolist() == [[0, 1, 1, 0], [0, 0, 0, 0]]


def test_popularity_gives_everyone_the_same() -> None:
    scores = Popularity(TRAIN).scores([history(), history(1)])
    assert scores[0].tolist() == scores[1].tolist()
    assert scores[0].argmax() == 0
    assert scores[0][10] == 0


@pytest.mark.parametrize(
    "ranker", [ItemKNN(TRAIN, 20), ImplicitALS(TRAIN, 3, 0.1, 1.0), EASE(TRAIN, 10.0)], ids=lambda ranker: ranker.name
)
def test_the_crowd_of_an_unseen_user_is_found(ranker: Ranker) -> None:
    cases = [Case(history(1, 2), np.array([3, 4])), Case(history(6, 7), np.array([8, 9]))]
    assert evaluate(ranker, cases, [2])["HR@2"] == 1


def test_ease_is_its_closed_form() -> None:
    X = TRAIN.toarray().astype(np.float64)
    P = np.linalg.inv(X.T @ X + 10.0 * np.eye(11))
    B = np.eye(11) - P / np.diag(P)
    asked = np.zeros(11)
    asked[[1, 2]] = 1
    found = EASE(TRAIN, 10.0).scores([history(1, 2)])[0]
    known = [0, 1, 2, 3, 4, 6, 7, 8, 9]
    np.testing.assert_allclose(found[known], (asked @ B)[known], rtol=1e-3, atol=1e-4)
    assert max(found[5], found[10]) < found[known].min()


def test_the_grid_builds_what_it_says() -> None:
    for name, candidates in grid(TRAIN):
        settings, build = candidates[0]
        assert build().name == name
        assert isinstance(settings, dict)


def test_ials_begins_at_random_and_by_its_seed() -> None:
    histories = [history(0, 1)]
    first, again, other = (ImplicitALS(TRAIN, 3, 0.1, 1.0, seed).scores(histories) for seed in (0, 0, 1))
    np.testing.assert_allclose(first, again, rtol=1e-4)
    assert not np.allclose(first, other, rtol=1e-3)
