"""The engine with a real learner; the store is a function that does what the test needs a store to do."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest

from app import served as served_module
from app.engine import NICE, Engine
from app.errors import NotReady, Overloaded, StoreUnavailable
from app.query import Inline, Query
from app.served import Served
from models.library import library
from tests.stores import Store, held
from tests.worlds import Seen, served_of, snapshot_of


@pytest.fixture
async def engine(served: Served, store: Store, seen: Seen) -> AsyncIterator[Engine]:
    engine = Engine(store.read, seen, max_batch=4, queue_limit=6, threads=1)
    engine.swap(served)
    engine.start()
    yield engine
    store.gate.set()
    await engine.close()


async def test_each_gets_the_answer_to_its_own_question(engine: Engine, store: Store, served: Served) -> None:
    store.histories = {f"u{n}": [1000 + n, 1030 + n] for n in range(6)}
    queries = [Query(user=f"u{n}", k=n + 1) for n in range(6)]
    answers = await asyncio.gather(*(engine.ask(query) for query in queries))
    for query, answer in zip(queries, answers, strict=True):
        assert answer.items == served.answer([query], [store.records(str(query.user))])[0].items


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere threads have no priorities of their own")
async def test_the_thread_of_the_device_makes_way_for_the_event_loop(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Served, "quick", lambda *given: False)
    await engine.ask(Query(history=Inline(["i1"], [0], [np.nan])))
    nice = {
        thread.name: os.getpriority(os.PRIO_PROCESS, thread.native_id)
        for thread in threading.enumerate()
        if thread.native_id is not None and thread.is_alive()
    }
    device = next(nice[name] for name in nice if name.startswith("engine"))
    assert device == min(nice["MainThread"] + NICE, 19)


@pytest.mark.skipif(library() is None, reason="without compiled calls all go to the thread")
async def test_few_are_computed_at_once_and_many_by_the_thread(
    engine: Engine, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[bool] = []
    real = Served.compute

    def noted(self: Served, *given: Any) -> Any:
        threads.append(threading.current_thread() is threading.main_thread())
        return real(self, *given)

    monkeypatch.setattr(Served, "compute", noted)
    monkeypatch.setattr(served_module, "QUICK", 1.7e-4)
    store.histories = {"few": [1001] * 3} | {str(number): [1001] * 200 for number in range(4)}
    few = await engine.ask(Query(user="few"))
    await engine.ask_all(Query(user="0"), [str(number) for number in range(4)])
    inline = Query(history=Inline(["i1"] * 200, [0] * 200, [np.nan] * 200))
    await asyncio.gather(*(engine.ask(inline) for _ in range(4)))
    assert threads[0]
    assert len(threads) >= 3
    assert not any(threads[1:])
    monkeypatch.setattr(served_module, "QUICK", 0.0)
    assert await engine.ask(Query(user="few")) == few
    assert not threads[-1]


@pytest.mark.skipif(library() is None, reason="without compiled calls all go to the thread")
async def test_between_batches_on_the_loop_answers_go_out(
    engine: Engine, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered: list[int] = []
    before: list[int] = []
    real = Served.compute

    def noted(self: Served, *given: Any) -> Any:
        before.append(len(answered))
        return real(self, *given)

    async def ask(number: int) -> None:
        await engine.ask(Query(user=str(number)))
        answered.append(number)

    monkeypatch.setattr(Served, "compute", noted)
    store.histories = {str(number): [1001] for number in range(6)}
    await asyncio.gather(*(ask(number) for number in range(6)))
    assert before == [0, 4]


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
