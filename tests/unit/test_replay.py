"""The replay comes back as it was laid down."""

from __future__ import annotations

import numpy as np

from models.episode import History
from models.replay import build_replay, read_replay


def test_replay_comes_back_as_it_was() -> None:
    users = [History(np.arange(n), np.zeros(n, np.int64), np.ones(n, np.float32), n != 7) for n in (3, 20, 7)]
    back = read_replay(build_replay(users, length=5, seed=0))
    assert sorted(h.rows.tolist() for h in back) == sorted(h.rows[-5:].tolist() for h in users)
    assert sorted((len(h.rows), h.ordered) for h in back) == [(3, True), (5, False), (5, True)]
    assert all(h.preference.tolist() == [1.0] * len(h.rows) for h in back)


def test_a_replay_of_beginnings_holds_the_first_events() -> None:
    users = [History(np.arange(n), np.zeros(n, np.int64), np.ones(n, np.float32)) for n in (3, 20)]
    back = read_replay(build_replay(users, length=5, seed=0, first=True))
    assert sorted(h.rows.tolist() for h in back) == [[0, 1, 2], [0, 1, 2, 3, 4]]
