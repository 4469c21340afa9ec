"""Principal directions: items lie by who took them, computed in full or by sampling the range."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from models import directions
from models.directions import principal_directions, summarise, summarise_more
from models.episode import History


def test_items_that_the_same_users_took_start_close_together() -> None:
    rng = np.random.default_rng(0)
    crowds = [np.append(half * 10 + rng.choice(10, 4, replace=False), 20) for half in (0, 1) for _ in range(100)]
    users = [History(rows.astype(np.int64), np.zeros(5, np.int64), np.ones(5, np.float32)) for rows in crowds]
    placed, strengths = principal_directions(users, items=22, rank=8, seed=0)
    unit = torch.nn.functional.normalize(placed[:20], dim=-1)
    likeness = unit @ unit.T
    within, across = likeness[:10, :10].mean(), likeness[:10, 10:].mean()
    assert within > across + 0.3
    assert placed[21].abs().sum() == 0  # nobody took it
    torch.testing.assert_close(placed[:20].norm(dim=-1), torch.ones(20))
    assert strengths.shape == (8,)
    assert (strengths.diff() <= 1e-6).all()
    torch.testing.assert_close(placed, principal_directions(users, items=22, rank=8, seed=0)[0])


def test_many_users_get_nearly_the_same_directions(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    crowds = [half * 20 + rng.choice(20, 6, replace=False) for half in (0, 1, 2) for _ in range(90 - 30 * half)]
    users = [History(rows.astype(np.int64), np.zeros(6, np.int64), np.ones(6, np.float32)) for rows in crowds]
    exact, strengths = principal_directions(users, items=60, rank=2, seed=0)
    monkeypatch.setattr(directions, "EXACT", 0)
    ranged, estimated = principal_directions(users, items=60, rank=2, seed=0)
    ranged, exact = ranged[20:], exact[20:]  # the largest crowd is the direction that is dropped
    torch.testing.assert_close(ranged @ ranged.T, exact @ exact.T, atol=0.02, rtol=0.02)
    torch.testing.assert_close(estimated, strengths, atol=0.01, rtol=0.01)


def test_fewer_users_than_directions_are_no_trouble() -> None:
    users = [History(np.array([0, 1]), np.zeros(2, np.int64), np.ones(2, np.float32)) for _ in range(3)]
    placed, strengths = principal_directions(users, items=5, rank=16, seed=0)
    assert placed.shape == (5, 16)
    assert strengths.shape == (16,)


def test_a_summary_takes_in_what_changes_as_if_it_had_known() -> None:
    """New users, and old ones with more events, need no other user's history."""
    rng = np.random.default_rng(0)
    drawn = [rng.permutation(60)[: rng.integers(4, 30)] for _ in range(50)]
    everyone = [History(rows, np.zeros(len(rows), np.int64), np.ones(len(rows), np.float32)) for rows in drawn]
    was = [
        one.take(slice(0, len(one.rows) // 2 if at < 10 else 0 if at < 20 else None)) for at, one in enumerate(everyone)
    ]
    known = summarise([one for one in was if len(one.rows)], items=60, rank=55, seed=0)
    factor, takers = summarise_more(*known, list(zip(was[:20], everyone[:20], strict=True)))
    whole, counts = summarise(everyone, items=60, rank=55, seed=0)
    torch.testing.assert_close(takers, counts)
    torch.testing.assert_close(factor @ factor.T, whole @ whole.T, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(factor.norm(dim=0)[:20], whole.norm(dim=0)[:20], atol=1e-3, rtol=1e-3)


def test_a_summary_of_far_fewer_users_than_its_width_takes_in_more() -> None:
    """Most of its columns are zero: as many equal values, which defeat an eigensolver in single precision."""
    rng = np.random.default_rng(0)

    def user(most: int) -> History:
        rows = rng.choice(600, rng.integers(1, most), replace=False)
        return History(rows, np.zeros(len(rows), np.int64), np.ones(len(rows), np.float32))

    known = [user(100) for _ in range(60)]
    nobody = History(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))
    summary = summarise(known, items=600, rank=200, seed=0)
    for _ in range(10):
        more = [user(60) for _ in range(6)]
        known += more
        summary = summarise_more(*summary, [(nobody, one) for one in more])
    factor, _ = summary
    whole, _ = summarise(known, items=600, rank=200, seed=0)
    torch.testing.assert_close(factor @ factor.T, whole @ whole.T, atol=1e-3, rtol=1e-3)
