"""What is remembered of users: the trails among it, in bounds and for one history alone."""

from __future__ import annotations

import numpy as np
import pytest

from app import adapted
from app.adapted import Adapted
from app.event import RECORD, UserHistory
from app.names import Names
from app.query import Answer, Source

ANSWER = Answer(b"", Source(Names([]), "version", False), "")


def history(events: int, version: int = 1) -> UserHistory:
    records = np.zeros(events, RECORD)
    records["handle"] = np.arange(events)
    return UserHistory(version, records.tobytes())


def keep(known: Adapted, user: str, of: UserHistory, width: int = 4, behind: bool = False) -> None:
    trail = np.ones((len(of.records), width), np.float32)
    known.keep(user, of, bytes(12), ANSWER, 10, trail=trail, behind=behind)


def test_a_trail_is_that_of_the_history_without_its_newest_event() -> None:
    known = Adapted(10)
    keep(known, "a", history(3))
    found = known.trail("a", history(4, version=2))
    assert found is not None
    assert len(found) == 3
    other = np.frombuffer(history(4).packed, RECORD).copy()
    other["handle"][1] = 77
    for unfit in (history(3), history(5), UserHistory(2, other.tobytes()), UserHistory(0, b"")):
        assert known.trail("a", unfit) is None
    assert known.trail("b", history(4)) is None
    assert known.find("a", 2) is None, "the vector is out of date"
    assert known.trail("a", history(4, version=2)) is not None, "and the trail leads on"


def test_who_is_adapted_to_without_leaving_a_trail_has_none() -> None:
    known = Adapted(10)
    keep(known, "a", history(3))
    known.keep("a", history(4, version=2), bytes(12), ANSWER, 10)
    assert known.trail("a", history(4, version=3)) is None


def test_trails_go_with_their_users() -> None:
    known = Adapted(2)
    for user in "abc":
        keep(known, user, history(3))
    next_ = history(4, version=2)
    assert [known.trail(user, next_) is not None for user in "abc"] == [False, True, True]
    known.forget("b")
    assert known.trail("b", next_) is None
    known.clear()
    assert known.trail("c", next_) is None


def test_trails_take_so_much_and_the_oldest_make_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapted, "TRAIL_BYTES", 2 * 3 * (4 * 4 + RECORD.itemsize))
    known = Adapted(10)
    for version in (1, 2, 3):  # what is replaced or makes way counts no more
        for user in "abc":
            keep(known, user, history(3, version))
    assert [known.trail(user, history(4, 4)) is not None for user in "abc"] == [False, True, True]
    assert len(known) == 3, "their vectors stay"


def test_who_is_kept_behind_was_here_before_the_others_and_makes_way_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapted, "TRAIL_BYTES", 2 * 3 * (4 * 4 + RECORD.itemsize))
    known = Adapted(3)
    for user in "abc":
        keep(known, user, history(3), behind=True)
    assert known.latest() == ["a", "b", "c"]
    assert [known.trail(user, history(4, 2)) is not None for user in "abc"] == [True, True, False]
    keep(known, "d", history(3))
    assert known.latest() == ["d", "a", "b"]


def test_users_are_let_go_bit_by_bit() -> None:
    known = Adapted(10)
    for user in "abcde":
        keep(known, user, history(3))
    known.shrink(2)
    assert known.latest() == ["e", "d", "c"]
    assert known.trail("a", history(4, 2)) is None
    known.shrink(9)
    assert not len(known)
    assert known._way_bytes == 0
