"""Mixtures of what models say, where each knows something that the others do not."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.mixture import compared, standard_scores
from benchmarks.task import CaseSet
from models.episode import History
from models.evaluate import Case

ITEMS, USERS = 40, 60


class Fixed:
    """Scores every history alike, by its first item."""

    name = "fixed"

    def scores(self, histories: Sequence[History]) -> NDArray[np.float32]:
        return np.stack([np.roll(np.arange(ITEMS, dtype=np.float32), one.rows[0]) for one in histories])


def history(*rows: int) -> History:
    return History(np.array(rows), np.zeros(len(rows), np.int64), np.ones(len(rows), np.float32))


@pytest.fixture
def cases() -> CaseSet:
    rng = np.random.default_rng(0)
    return CaseSet([Case(history(0), rng.integers(1, ITEMS, 1)) for _ in range(USERS)], list(range(USERS)))


def test_scores_are_brought_to_one_scale_over_what_was_not_taken(cases: CaseSet) -> None:
    found = standard_scores(Fixed(), cases)
    assert (found[:, 0] < -1e6).all()
    np.testing.assert_allclose(found[:, 1:].mean(1), 0, atol=1e-5)
    np.testing.assert_allclose(found[:, 1:].std(1), 1, rtol=1e-4)


def test_a_mixture_is_better_than_each_where_each_knows_half_and_crossed_tells_chance_apart(cases: CaseSet) -> None:
    rng = np.random.default_rng(1)
    noise = [rng.normal(size=(USERS, ITEMS)).astype(np.float32) for _ in range(3)]
    halves = [each.copy() for each in noise[:2]]
    for user, case in enumerate(cases.cases):
        halves[user // 2 % 2][user, case.targets] += 6
    found = compared({"innerloop": halves[0], "other": halves[1], "noise": noise[2]}, cases)
    assert found["all"]["fitted"] > 1.2 * max(1.0, found["ours"])
    assert found["all"]["crossed"] > 1.2 * max(1.0, found["ours"])
    assert found["others"]["fitted"] >= 1.0
    assert found["others"]["weights"].keys() == {"other", "noise"}
    nothing = compared({"innerloop": noise[0], "other": noise[1], "noise": noise[2]}, cases)
    assert nothing["all"]["fitted"] > nothing["all"]["crossed"]
