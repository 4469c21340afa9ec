"""The engine with a real learner; the store is a function that does what the test needs a store to do."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from typing import Any

import numpy as np
import pytest

from app.engine import Engine
from app.errors import NotReady, Overloaded, StoreUnavailable
from app.history import RECORD, UserHistory
from app.query import Entry, Inline, Query
from app.served import Served
from models.item import Item
from models.traced import Traced
from tests.worlds import Seen, content_of, served_of, snapshot_of


class Store:
    """Histories in memory, with a gate to hold a batch at and a fault to raise."""

    def __init__(self) -> None:
        self.histories: dict[str, list[int]] = {}
        self.asked: list[list[str]] = []
        self.reached = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()
        self.fault: Exception | None = None

    async def read(self, users: Sequence[str]) -> list[UserHistory]:
        self.asked.append(list(users))
        self.reached.set()
        await self.gate.wait()
        if self.fault is not None:
            raise self.fault
        return [self.records(user) for user in users]

    def records(self, user: str) -> UserHistory:
        out = np.zeros(len(self.histories.get(user, [])), RECORD)
        out["handle"], out["value"], out["time"] = self.histories.get(user, []), np.nan, np.arange(len(out))
        return UserHistory(sum(self.histories.get(user, [])), out.tobytes())


@pytest.fixture(scope="module")
def served() -> Served:
    return served_of(snapshot_of())


@pytest.fixture
def adapted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Filled with how many users are adapted to, each time any are."""
    sizes: list[int] = []
    real = Traced.follow

    def counted(self: Traced, vectors: Any, support: Any, *trail: Any) -> Any:
        sizes.append(len(support.rows))
        return real(self, vectors, support, *trail)

    monkeypatch.setattr(Traced, "follow", counted)
    return sizes


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def seen() -> Seen:
    return Seen()


@pytest.fixture
async def engine(served: Served, store: Store, seen: Seen) -> AsyncIterator[Engine]:
    engine = Engine(store.read, seen, max_batch=4, queue_limit=6, threads=1)
    engine.swap(served)
    engine.start()
    yield engine
    store.gate.set()
    await engine.close()


async def held(engine: Engine, store: Store, *queries: Query) -> list[asyncio.Task[list[str]]]:
    """Queries sent while the first of them holds the engine at the store."""

    async def items(query: Query) -> list[str]:
        return (await engine.ask(query)).items

    store.gate.clear()
    tasks = []
    for query in queries:
        tasks.append(asyncio.create_task(items(query)))
        await asyncio.sleep(0)
        if len(tasks) == 1:
            await store.reached.wait()
    await asyncio.sleep(0.01)
    return tasks


async def test_each_gets_the_answer_to_its_own_question(engine: Engine, store: Store, served: Served) -> None:
    store.histories = {f"u{n}": [1000 + n, 1030 + n] for n in range(6)}
    queries = [Query(user=f"u{n}", k=n + 1) for n in range(6)]
    answers = await asyncio.gather(*(engine.ask(query) for query in queries))
    for query, answer in zip(queries, answers, strict=True):
        assert answer.items == served.answer([query], [store.records(str(query.user))])[0].items


async def test_what_waits_meanwhile_is_one_batch_read_in_one_go(engine: Engine, store: Store, seen: Seen) -> None:
    inline = Query(history=Inline(["i1"], [0], [np.nan]))
    tasks = await held(
        engine, store, Query(user="a"), Query(user="b"), inline, Query(user="c"), Query(user="d"), Query()
    )
    assert engine.depth == 5
    store.gate.set()
    await asyncio.gather(*tasks)
    assert store.asked == [["a"], ["b", "c", "d"], []]
    # What was read while the device was not yet at work is computed together, too.
    assert seen.batches == [4, 2]
    assert seen.stages == {"queue": 6, "redis": 3, "compute": 2}


async def test_a_full_queue_refuses_and_says_when_to_come_back(engine: Engine, store: Store, seen: Seen) -> None:
    tasks = await held(engine, store, *[Query(user=str(n)) for n in range(7)])
    with pytest.raises(Overloaded) as refused:
        await engine.ask(Query())
    assert refused.value.retry_after is not None
    assert 0 <= refused.value.retry_after < 60
    assert seen.sheds == 1
    store.gate.set()
    assert all(len(items) == 10 for items in await asyncio.gather(*tasks))
    assert len((await engine.ask(Query())).items) == 10


async def test_whoever_has_left_is_not_computed(engine: Engine, store: Store, seen: Seen) -> None:
    first, *others = await held(engine, store, *[Query(user=str(n)) for n in range(4)])
    for task in others[:2]:
        task.cancel()
    store.gate.set()
    await asyncio.gather(first, others[2])
    assert store.asked == [["0"], ["3"]]
    assert seen.batches == [2]


async def test_without_the_store_users_get_popular_items_and_histories_still_count(
    engine: Engine, store: Store, seen: Seen, served: Served
) -> None:
    store.fault = StoreUnavailable()
    inline = Query(history=Inline(["i1"], [0], [np.nan]))
    user, history = await asyncio.gather(engine.ask(Query(user="a", k=3)), engine.ask(inline))
    assert user.degraded
    assert user.items == ["i0", "i1", "i2"]
    assert not history.degraded
    assert history == served.answer([inline], [None])[0]
    assert seen.fallbacks == {"store-unavailable": 1}
    store.fault = None
    assert not (await engine.ask(Query(user="a"))).degraded


async def test_a_batch_that_fails_fails_alone(engine: Engine, store: Store) -> None:
    store.fault = RuntimeError("a bug")
    with pytest.raises(RuntimeError, match="a bug"):
        await engine.ask(Query(user="a"))
    store.fault = None
    assert len((await engine.ask(Query(user="a"))).items) == 10
    assert engine.alive


async def test_a_swap_is_seen_by_the_next_batch_whole(engine: Engine, store: Store, served: Served) -> None:
    other = served_of(snapshot_of(seed=1))
    for _ in range(5):
        for now in (other, served):
            tasks = [asyncio.create_task(engine.ask(Query(k=5))) for _ in range(6)]
            await asyncio.sleep(0)
            engine.swap(now)
            for answer in await asyncio.gather(*tasks):
                computed_by = served if answer.snapshot == served.snapshot.version else other
                assert answer == computed_by.answer([Query(k=5)], [None])[0]
            assert (await engine.ask(Query())).snapshot == now.snapshot.version


async def test_a_dead_engine_fails_who_waits_at_once_and_says_so(served: Served, store: Store) -> None:
    class Broken(Seen):
        def batch(self, size: int) -> None:
            if len(self.batches) == 1:
                raise RuntimeError("the loop itself is broken")
            super().batch(size)

    engine = Engine(store.read, Broken(), max_batch=2, queue_limit=100, threads=1)
    engine.swap(served)
    engine.start()
    first, second, *others = await held(engine, store, *[Query(user=str(n)) for n in range(8)])
    store.gate.set()
    assert len(await first) == len(await second) == 10
    for task in others:
        with pytest.raises(NotReady):
            await asyncio.wait_for(task, 1)
    assert not engine.alive
    with pytest.raises(NotReady):
        await engine.ask(Query())
    await engine.close()


async def test_closing_answers_what_waits_and_takes_no_more(engine: Engine, store: Store) -> None:
    tasks = await held(engine, store, *[Query(user=str(n)) for n in range(6)])
    closing = asyncio.create_task(engine.close())
    await asyncio.sleep(0)
    with pytest.raises(NotReady):
        await engine.ask(Query())
    store.gate.set()
    assert all(len(items) == 10 for items in await asyncio.gather(*tasks))
    await closing
    assert not engine.alive


async def test_before_the_first_snapshot_it_is_not_ready(store: Store, seen: Seen) -> None:
    engine = Engine(store.read, seen, max_batch=2, queue_limit=2, threads=1)
    with pytest.raises(NotReady):
        await engine.ask(Query())
    engine.start()
    with pytest.raises(NotReady, match="No snapshot"):
        await engine.ask(Query())
    await engine.close()


@pytest.fixture
async def mindful(served: Served, store: Store, seen: Seen) -> AsyncIterator[Engine]:
    """An engine that remembers two users."""
    engine = Engine(store.read, seen, max_batch=4, queue_limit=9, threads=1, remembered=2)
    engine.swap(served)
    engine.start()
    yield engine
    store.gate.set()
    await engine.close()


async def test_who_asks_again_with_no_new_event_is_not_computed_again(
    mindful: Engine, store: Store, seen: Seen, served: Served
) -> None:
    store.histories = {"a": [1003, 1008]}
    first = await mindful.ask(Query(user="a"))
    assert await mindful.ask(Query(user="a")) is first
    assert seen.batches == [1]
    store.histories["a"].append(1030)
    second = await mindful.ask(Query(user="a"))
    assert second == served.answer([Query(user="a")], [store.records("a")])[0] != first
    assert seen.batches == [1, 1]


async def test_another_question_of_the_same_user_starts_from_the_vector(
    mindful: Engine, store: Store, adapted: list[int]
) -> None:
    store.histories = {"a": [1003, 1008]}
    plain = await mindful.ask(Query(user="a", k=20))
    adapted.clear()
    assert (await mindful.ask(Query(user="a", k=5))).items == plain.items[:5]
    odd = await mindful.ask(Query(user="a", categories=["odd"], exclude=[plain.items[0]]))
    assert {int(item[1:]) % 2 for item in odd.items} == {1}
    assert plain.items[0] not in odd.items
    assert (await mindful.ask(Query(user="a", k=20))).items == plain.items, "after other questions too"
    assert not adapted
    await mindful.ask(Query(user="b"))
    store.histories["a"].append(1030)
    await mindful.ask(Query(user="a"))
    assert adapted == [1]


async def test_many_who_ask_the_same_at_once_are_computed_once(mindful: Engine, store: Store, served: Served) -> None:
    store.histories = {"a": [1003]}
    tasks = await held(mindful, store, Query(user="z"), *[Query(user="a")] * 3)
    store.gate.set()
    found = await asyncio.gather(*tasks)
    assert store.asked[1:] == [["a"]]
    assert found[1] == found[2] == found[3] == served.answer([Query(user="a")], [store.records("a")])[0].items


async def test_only_so_many_users_are_remembered(mindful: Engine, store: Store, seen: Seen) -> None:
    store.histories = {user: [1000 + number] for number, user in enumerate("abc")}
    for user in "abccba":
        await mindful.ask(Query(user=user))
    assert len(seen.batches) == 4, "a made way for c and came again"
    assert len(mindful._adapted) == 2


async def test_a_swap_forgets_every_vector(mindful: Engine, store: Store) -> None:
    store.histories = {"a": [1003]}
    await mindful.ask(Query(user="a"))
    other = served_of(snapshot_of(seed=1))
    mindful.swap(other)
    answer = await mindful.ask(Query(user="a"))
    assert answer == other.answer([Query(user="a")], [store.records("a")])[0]


async def test_a_vector_brought_before_a_swap_is_not_used_after_it(
    mindful: Engine, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.histories = {"a": [1003, 1008], "b": [1010]}
    await mindful.ask(Query(user="a"))
    entered, gate = threading.Event(), threading.Event()
    other = served_of(snapshot_of(seed=1))
    real = Traced.follow

    def hold(self: Traced, *given: Any) -> Any:
        entered.set()
        gate.wait(10)
        return real(self, *given)

    monkeypatch.setattr(Traced, "follow", hold)
    try:
        ahead = asyncio.create_task(mindful.ask(Query(user="b")))
        await asyncio.to_thread(entered.wait, 10)
        late = asyncio.create_task(mindful.ask(Query(user="a", k=20)))
        await asyncio.sleep(0.1)  # it is read, knows its vector, and waits for the device
        mindful.swap(other)
    finally:
        gate.set()
    await ahead
    for k, answer in ((20, await late), (5, await mindful.ask(Query(user="a", k=5)))):
        assert answer == other.answer([Query(user="a", k=k)], [store.records("a")])[0]


async def test_a_new_event_goes_on_from_where_the_last_one_led(
    mindful: Engine, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    followed: list[bool] = []
    real = Traced.follow

    def noted(self: Traced, vectors: Any, support: Any, trail: Any = None) -> Any:
        followed.append(trail is not None)
        return real(self, vectors, support, trail)

    async def ask() -> bool:
        followed.clear()
        answer = await mindful.ask(Query(user="a"))
        (way,) = followed
        assert answer == mindful.served.answer([Query(user="a")], [store.records("a")])[0]
        return way

    monkeypatch.setattr(Traced, "follow", noted)
    store.histories = {"a": [1003, 1008]}
    assert not await ask()
    store.histories["a"].append(1030)
    assert await ask()
    store.histories["a"].append(1031)
    assert await ask(), "and on from there"
    store.histories["a"].insert(1, 1032)
    assert not await ask(), "it came in the middle"
    store.histories["a"] += [1033, 1034]
    assert not await ask(), "there are two"
    mindful.forget("a")
    store.histories["a"].append(1035)
    assert not await ask(), "nothing is known of a user who was forgotten"
    mindful.swap(served_of(snapshot_of(seed=1)))
    store.histories["a"].append(1036)
    assert not await ask(), "another snapshot goes other ways"


async def test_a_vector_that_is_being_computed_is_forgotten_too(
    mindful: Engine, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.histories = {"a": [1003], "b": [1004]}
    started, go = threading.Event(), threading.Event()
    compute = Served.compute

    def slow(self: Served, *given: Any) -> Any:
        started.set()
        go.wait(5)
        return compute(self, *given)

    monkeypatch.setattr(Served, "compute", slow)
    asked = [asyncio.create_task(mindful.ask(Query(user=user))) for user in "ab"]
    await asyncio.to_thread(started.wait, 5)
    mindful.forget("a")
    go.set()
    assert all(len(answer.items) == 10 for answer in await asyncio.gather(*asked))
    assert list(mindful._adapted._known) == ["b"]
    mindful.forget()
    assert not len(mindful._adapted)


async def test_a_renewed_catalogue_keeps_the_vectors_and_not_the_answers(
    mindful: Engine, store: Store, adapted: list[int]
) -> None:
    store.histories = {"whole": [1003, 1008], "part": [1003, 9_999]}
    before = {user: await mindful.ask(Query(user=user)) for user in ("whole", "part")}
    served = mindful.served
    new = Entry(9_999, Item("new", "New"), content_of(1, seed=7)[0])
    handles = {f"i{n}": 1000 + n for n in range(60)} | {"new": 9_999}
    gone = Entry(1000, Item(before["whole"].items[0], "Gone", available=False), None)
    mindful.swap(served.renewed([new, gone], handles, 2))
    adapted.clear()  # of nobody, once, for those who have no history
    answers = {user: await mindful.ask(Query(user=user, k=60)) for user in ("whole", "part")}
    assert adapted == [1], "only the one whose history names the new item"
    assert before["whole"].items[0] not in answers["whole"].items
    assert "new" in answers["whole"].items
    assert "new" not in answers["part"].items
    for user, answer in answers.items():
        assert answer == mindful.served.answer([Query(user=user, k=60)], [store.records(user)])[0]


async def test_a_successor_knows_who_was_here_and_nobody_who_was_forgotten(
    mindful: Engine, store: Store, seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.histories = {"a": [1003], "b": [1004]}
    for user in "ab":
        await mindful.ask(Query(user=user))
    other = served_of(snapshot_of(seed=1))
    compute, loop = Served.compute, asyncio.get_running_loop()

    def forgetful(self: Served, *given: Any) -> Any:
        loop.call_soon_threadsafe(mindful.forget, "b")
        return compute(self, *given)

    monkeypatch.setattr(Served, "compute", forgetful)
    await mindful.succeed(other)
    assert mindful.served is other
    assert list(mindful._adapted._known) == ["a"]
    batches = len(seen.batches)
    answer = await mindful.ask(Query(user="a"))
    assert len(seen.batches) == batches
    assert answer == other.answer([Query(user="a")], [store.records("a")])[0]
    assert answer.snapshot == other.manifest.version
    store.fault = StoreUnavailable()
    await mindful.succeed(served_of(snapshot_of()))
    assert not len(mindful._adapted), "a store that is away holds no snapshot back"
