"""The longer a batch takes, the more effort it is said to be; what is known costs none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from app.effort import BATCH, effort
from app.event import RECORD, UserHistory
from app.query import Inline, Query
from models.learner import LearnerConfig

CONFIG = LearnerConfig()
NOBODY = UserHistory(0, b"")
TWENTY = UserHistory(1, bytes(20 * RECORD.itemsize))


def one(query: Query, history: UserHistory | None = NOBODY, *, known: bool = False, led: bool = False) -> float:
    vector, trail = bytes(16), np.zeros((19, 4), np.float32)
    return effort([query], [history], [vector if known else None], [trail if led else None], 1000, CONFIG, 1e-9)


def one_of(history: UserHistory, config: LearnerConfig) -> float:
    return effort([Query()], [history], [None], [None], 0, config, 1e-9)


def test_it_grows_with_all_that_takes_time() -> None:
    user = Query(user="a")
    nothing = one(user)
    assert nothing > BATCH
    assert nothing == one(user, TWENTY, known=True) < one(user, TWENTY, led=True) < one(user, TWENTY)
    assert nothing < one(Query(history=Inline(["i"] * 20, [0] * 20, [np.nan] * 20)), None)
    for asked in ({"exclude": ["i"]}, {"candidates": ["i"]}, {"categories": ["c"]}):
        assert nothing < one(Query(user="a", **asked))
    assert effort([user], [NOBODY], [None], [None], 2000, CONFIG, 1e-9) > nothing
    assert effort([user] * 2, [NOBODY] * 2, [None] * 2, [None] * 2, 1000, CONFIG, 1e-9) > nothing


def test_it_grows_with_the_learner_and_counts_no_event_that_is_not_read() -> None:
    for larger in (replace(CONFIG, rank=384), replace(CONFIG, width=384)):
        assert one_of(TWENTY, larger) > one_of(TWENTY, CONFIG)
    assert effort([Query()], [None], [None], [None], 1000, replace(CONFIG, rank=384), 1e-9) > one(Query(), None)
    assert one_of(TWENTY, replace(CONFIG, length=10)) == one_of(UserHistory(1, bytes(10 * RECORD.itemsize)), CONFIG)
