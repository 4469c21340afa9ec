"""Requests for many users, between those for one; with a real learner."""

from __future__ import annotations

import asyncio

import pytest

from app.engine import Engine
from app.errors import Overloaded, StoreUnavailable
from app.query import Answer, Query
from app.served import Served
from tests.stores import Store, busy, held
from tests.worlds import Seen, served_of, snapshot_of


def alone(served: Served, store: Store, users: str) -> list[Answer]:
    """What each user is answered by itself."""
    return served.answer([Query(user=user) for user in users], [store.records(user) for user in users])


async def many(engine: Engine, users: str, k: int = 10) -> list[Answer]:
    return await engine.ask_all(Query(user=users[0], k=k), users)


async def test_only_who_is_not_known_yet_is_computed(mindful: Engine, store: Store, seen: Seen, served: Served) -> None:
    store.histories = {"a": [1003, 1008], "b": [1010]}
    await mindful.ask(Query(user="a"))
    assert await many(mindful, "abab") == alone(served, store, "abab")
    assert await many(mindful, "ba") == alone(served, store, "ba")
    before = list(seen.batches)
    store.histories["b"].append(1030)
    assert await many(mindful, "ab") == alone(served, store, "ab")
    assert (before, seen.batches[len(before) :]) == ([1, 2], [1])


async def test_a_request_for_more_than_are_computed_together_goes_by_itself(
    mindful: Engine, store: Store, seen: Seen, served: Served
) -> None:
    store.histories = {user: [1000 + number] for number, user in enumerate("abcdefgh")}
    (first,) = await held(mindful, store, Query(user="h"))
    before = asyncio.create_task(mindful.ask(Query(user="a")))
    await asyncio.sleep(0)
    large = asyncio.create_task(many(mindful, "bcdef"))
    await asyncio.sleep(0)
    after = asyncio.create_task(mindful.ask(Query(user="g")))
    await asyncio.sleep(0.01)
    store.gate.set()
    await first
    assert [await before, *await large, await after] == alone(served, store, "abcdefg")
    assert store.asked == [["h"], ["a"], list("bcdef"), ["g"]]
    assert 5 in seen.batches


async def test_the_queue_counts_users_who_have_no_answer_yet(
    mindful: Engine, store: Store, seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.histories = {"a": [1003], "b": [1004], "z": [1005]}
    await many(mindful, "ab")
    with busy(monkeypatch) as computing:
        tasks = [asyncio.create_task(many(mindful, "z"))]
        await asyncio.to_thread(computing.wait, 10)
        tasks += [asyncio.create_task(many(mindful, users)) for users in ("abcd", "efgh")]
        await asyncio.sleep(0.1)
        assert mindful.depth == 6, "z is being computed; a and b are known"
        with pytest.raises(Overloaded):
            await many(mindful, "wxyz")
        tasks.append(asyncio.create_task(many(mindful, "xyz")))
        await asyncio.sleep(0.1)
        assert mindful.depth == 9
    assert [len(found) for found in await asyncio.gather(*tasks)] == [1, 4, 4, 3]
    assert seen.sheds == 1


async def test_who_has_left_is_neither_computed_nor_counted(mindful: Engine, store: Store) -> None:
    (first,) = await held(mindful, store, Query(user="z"))
    tasks = [asyncio.create_task(many(mindful, users)) for users in ("abcd", "efgh")]
    await asyncio.sleep(0.01)
    tasks[0].cancel()
    store.gate.set()
    await first
    assert len(await tasks[1]) == 4
    assert store.asked == [["z"], list("efgh")]
    assert mindful.depth == 0


@pytest.mark.parametrize("user", ["a", None])
async def test_who_is_forgotten_meanwhile_is_answered_and_not_remembered(
    mindful: Engine, store: Store, monkeypatch: pytest.MonkeyPatch, user: str | None
) -> None:
    store.histories = {"a": [1003], "b": [1004]}
    with busy(monkeypatch) as computing:
        asked = asyncio.create_task(many(mindful, "ab"))
        await asyncio.to_thread(computing.wait, 10)
        mindful.forget(user)
    assert [len(answer.items) for answer in await asked] == [10, 10]
    assert list(mindful._memory.adapted._known) == (["b"] if user else [])


async def test_each_answer_is_of_one_snapshot_and_names_it(
    mindful: Engine, store: Store, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.histories = {"a": [1003, 1008], "b": [1010], "c": [1011]}
    await mindful.ask(Query(user="a"))
    other = served_of(snapshot_of(seed=1))
    with busy(monkeypatch) as computing:
        ahead = asyncio.create_task(mindful.ask(Query(user="c")))
        await asyncio.to_thread(computing.wait, 10)
        both = asyncio.create_task(many(mindful, "ab"))
        await asyncio.sleep(0.1)  # a is answered from memory, b waits for the device
        mindful.swap(other)
    await ahead
    assert await both == [*alone(served, store, "a"), *alone(other, store, "b")]


async def test_without_the_store_all_get_popular_items(mindful: Engine, store: Store, seen: Seen) -> None:
    store.fault = StoreUnavailable()
    answers = await many(mindful, "abc", k=3)
    assert [(answer.degraded, answer.items) for answer in answers] == [(True, ["i0", "i1", "i2"])] * 3
    assert seen.fallbacks["store-unavailable"] == 3
