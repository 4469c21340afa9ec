"""Whom a snapshot meets before it is served, and whom again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from app import acquaintance
from app.engine import Engine
from app.errors import StoreUnavailable
from app.event import UserHistory
from app.query import Query
from app.served import Served
from tests.stores import Store
from tests.worlds import Seen, served_of, snapshot_of


async def as_it_is(served: Served) -> Served:
    """The catalogue has not moved."""
    return served


class Meeting:
    """What becomes of a snapshot that is to be served next, and of those who act while it meets users one by one."""

    def __init__(self, engine: Engine, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        self.other = served_of(snapshot_of(seed=1))
        self.read = store.read
        self.met: list[tuple[str | None, bool]] = []  # and whether from a trail
        compute = Served.compute

        def noted(served: Served, queries: Any, histories: Any, known: Any, trails: Any = None) -> Any:
            if served is self.other:
                given = trails or [None] * len(queries)
                self.met += [(query.user, trail is not None) for query, trail in zip(queries, given, strict=True)]
            return compute(served, queries, histories, known, trails)

        monkeypatch.setattr(Served, "compute", noted)
        monkeypatch.setattr(acquaintance, "PAGE", 1)
        monkeypatch.setattr(engine._memory, "_read", self.reading)

    async def reading(self, users: Sequence[str]) -> list[UserHistory]:
        await self.meanwhile(users)
        return await self.read(users)

    async def meanwhile(self, users: Sequence[str]) -> None:
        """What happens while these are met."""


@pytest.fixture
async def meeting(mindful: Engine, store: Store, monkeypatch: pytest.MonkeyPatch) -> Meeting:
    """Users a and b are known, b was here last."""
    store.histories = {"a": [1003], "b": [1004, 1020]}
    for user in "ab":
        await mindful.ask(Query(user=user))
    return Meeting(mindful, store, monkeypatch)


async def test_a_successor_knows_who_was_here_and_nobody_who_was_forgotten(
    meeting: Meeting, mindful: Engine, store: Store, seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def go(users: Sequence[str]) -> None:
        if users == ["b"]:
            mindful.forget("b")  # what is stored goes later, at worst

    monkeypatch.setattr(meeting, "meanwhile", go)
    await mindful.succeed(meeting.other, as_it_is)
    assert mindful.served is meeting.other
    assert mindful._memory.adapted.latest() == ["a"]
    batches = len(seen.batches)
    answer = await mindful.ask(Query(user="a"))
    assert len(seen.batches) == batches
    assert answer == meeting.other.answer([Query(user="a")], [store.records("a")])[0]
    assert answer.snapshot == meeting.other.manifest.version
    store.fault = StoreUnavailable()
    await mindful.succeed(served_of(snapshot_of()), as_it_is)
    assert not len(mindful._memory.adapted), "a store that is away holds no snapshot back"


async def test_who_acts_while_a_successor_meets_others_is_met_again(
    meeting: Meeting, mindful: Engine, store: Store, seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def act(users: Sequence[str]) -> None:
        if users == ["a"] and len(store.histories["b"]) == 2:
            store.histories["b"].append(1033)
            assert (await mindful.ask(Query(user="b"))).snapshot != meeting.other.manifest.version

    monkeypatch.setattr(meeting, "meanwhile", act)
    await mindful.succeed(meeting.other, as_it_is)
    assert meeting.met == [("b", False), ("a", False), ("b", True)]
    assert mindful._memory.adapted.latest() == ["b", "a"], "who acted last was here last"
    batches = len(seen.batches)
    for user in "ab":
        expected = meeting.other.answer([Query(user=user)], [store.records(user)])[0]
        assert await mindful.ask(Query(user=user)) == expected
    assert len(seen.batches) == batches, "both are known"


async def test_a_successor_is_not_held_back_by_who_has_nothing_to_be_known_by(
    meeting: Meeting, mindful: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def come(users: Sequence[str]) -> None:
        for number in range(3):
            await mindful.ask(Query(user=f"cold {number}"))
        await mindful.ask(Query(user="b", k=30))  # another question of someone who is known

    monkeypatch.setattr(meeting, "meanwhile", come)
    await mindful.succeed(meeting.other, as_it_is)
    assert meeting.met == [("b", False), ("a", False)]


async def test_a_successor_does_not_wait_for_those_who_act_as_fast_as_they_are_met(
    meeting: Meeting, mindful: Engine, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def act(users: Sequence[str]) -> None:
        store.histories["b"].append(1033)
        await mindful.ask(Query(user="b"))

    monkeypatch.setattr(meeting, "meanwhile", act)
    await mindful.succeed(meeting.other, as_it_is)
    assert mindful.served is meeting.other
    assert [user for user, _ in meeting.met] == ["b", "a", "b"]


async def test_who_is_forgotten_after_acting_is_not_met_again(
    meeting: Meeting, mindful: Engine, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def act_and_go(users: Sequence[str]) -> None:
        if users == ["a"]:
            store.histories["b"].append(1033)
            await mindful.ask(Query(user="b"))
            mindful.forget("b")  # what is stored goes later, at worst

    monkeypatch.setattr(meeting, "meanwhile", act_and_go)
    await mindful.succeed(meeting.other, as_it_is)
    assert [user for user, _ in meeting.met] == ["b", "a"]
    assert mindful._memory.adapted.latest() == ["a"]
