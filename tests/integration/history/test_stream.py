"""The stream of events that the worker reads, in a real Redis."""

from __future__ import annotations

import asyncio
import math

from redis.asyncio import Redis

import app.history
from app.history import GROUP, PARTITIONS, Event, StreamEvent, partition_of
from tests.histories import History, drain, events


async def test_the_worker_gets_each_event_once(history: app.history.History) -> None:
    users = [f"u{number}" for number in range(100)]
    await history.append([Event("1", user, 3, 5, 4.0, 9.5, "rec-1") for user in users])
    assert await history.pending() == 100
    first, second = await asyncio.gather(drain(history, "one"), drain(history, "two"))
    assert sorted(event.user for event in first + second) == sorted(users)
    assert (first + second)[0][3:] == (3, 5, 4.0, 9.5, "rec-1")
    await history.done(first)
    await history.done(first)
    assert await history.pending() == len(second)
    await history.done(second)
    assert await history.pending() == 0
    assert await drain(history) == []
    await history.done([])


async def test_a_waiting_worker_hears_at_once(history: app.history.History) -> None:
    waiting = asyncio.create_task(history.fresh("worker", block_ms=5000))
    await asyncio.sleep(0.4)
    await history.append(events("ann", 1))
    async with asyncio.timeout(1):
        (event,) = await waiting
    assert event.user == "ann"
    assert math.isnan(event.value)


async def test_an_empty_stream_is_waited_for_and_then_left(history: app.history.History) -> None:
    loop = asyncio.get_running_loop()
    start = loop.time()
    assert await history.fresh("worker", block_ms=600) == []
    assert 0.55 < loop.time() - start < 1.5


async def test_the_group_comes_back_after_a_flush(history: app.history.History, redis: Redis) -> None:
    waiting = asyncio.create_task(history.fresh("worker", block_ms=5000))
    await asyncio.sleep(0.1)
    await redis.flushall()
    await history.append(events("ann", 1))
    async with asyncio.timeout(2):
        assert [event.user for event in await waiting] == ["ann"]
    await redis.flushall()
    assert await history.reclaim("worker", idle_ms=0) == []
    await history.append(events("bob", 1))
    assert [event.user for event in await drain(history)] == ["bob"]


async def test_a_dead_workers_events_are_taken_over_page_by_page(history: app.history.History, redis: Redis) -> None:
    await history.append(events("ann", 50))
    assert len(await drain(history, "dead")) == 50
    assert await history.reclaim("heir", idle_ms=60_000) == []
    taken: list[StreamEvent] = []
    for _ in range(50):
        page = await history.reclaim("heir", idle_ms=0, count=PARTITIONS * 7)
        assert len(page) == min(7, 50 - len(taken))
        await history.done(page)
        taken += page
        if len(taken) == 50:
            break
    assert [event.handle for event in taken] == list(range(50))
    assert await history.pending() == 0
    await asyncio.sleep(0.01)
    await history.reclaim("heir", idle_ms=0)
    stream = f"il:{{{partition_of('ann')}}}:stream"
    assert b"dead" not in {consumer["name"] for consumer in await redis.xinfo_consumers(stream, GROUP)}


async def test_entries_that_vanished_leave_no_ghosts(history: app.history.History, redis: Redis) -> None:
    await history.append(events("ann", 30))
    given = await drain(history, "dead")
    stream = f"il:{{{partition_of('ann')}}}:stream"
    await redis.xdel(stream, *(event.entry_id for event in given[:29]))
    (left,) = await history.reclaim("heir", idle_ms=0, count=PARTITIONS * 2)
    assert left.handle == 29
    assert (await redis.xpending(stream, GROUP))["pending"] == 1


async def test_a_worker_sees_what_came_before_its_first_start(history: app.history.History) -> None:
    await history.append(events("ann", 3))
    assert len(await drain(history)) == 3


async def test_a_stream_nobody_reads_is_bounded(redis: Redis) -> None:
    history = History(redis, stream_cap=PARTITIONS * 200)
    await history.append([Event(str(number), f"u{number % 7}", 1, 0) for number in range(7000)])
    partitions = len({partition_of(f"u{number}") for number in range(7)})
    assert await history.pending() <= partitions * 300


async def test_scripts_survive_being_flushed(history: app.history.History, redis: Redis) -> None:
    await history.append(events("ann", 1))
    await redis.script_flush()
    assert await history.append(events("ann", 3) + events("bob", 1)) == [False, True, True, True]
