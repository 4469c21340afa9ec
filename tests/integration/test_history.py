"""Histories and the stream in a real Redis."""

from __future__ import annotations

import asyncio
import math
import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from redis.asyncio import Redis

import app.history
from app.embedded import EmbeddedRedis
from app.errors import BadRequest, StoreUnavailable
from app.history import GENERATION, GROUP, PARTITIONS, Event, StreamEvent, partition_of
from app.store import connect
from app.wire import Wire


def events(user: str, count: int, start: int = 0) -> list[Event]:
    return [Event(f"e{number}", user, number, kind=1, time=float(number)) for number in range(start, start + count)]


async def handles(history: app.history.History, user: str) -> list[int]:
    (found,) = await history.read([user])
    return [int(handle) for handle in found.records["handle"]]


async def drain(history: app.history.History, consumer: str = "worker") -> list[StreamEvent]:
    found: list[StreamEvent] = []
    while page := await history.fresh(consumer, block_ms=0):
        found += page
    return found


async def traces(redis: Redis, user: str) -> list[object]:
    """Every key, field, value and stream entry in the whole store that has the user's name in it."""
    name = user.encode()
    found: list[object] = []
    async for key in redis.scan_iter(count=1000):
        if name in key:
            found.append(key)
        kind = await redis.type(key)
        if kind == b"stream":
            found += [(key, entry) for entry, fields in await redis.xrange(key) if name in b"|".join(fields.values())]
        elif kind == b"hash":
            found += [(key, field) for field, value in (await redis.hgetall(key)).items() if name in field + value]
        else:
            assert kind == b"string"
            if name in (await redis.get(key) or b""):
                found.append(key)
    return found


ways: list[str] = []
wires: list[Wire] = []


@pytest.fixture(autouse=True, params=["by the client", "by wire"])
async def way(request: pytest.FixtureRequest) -> AsyncIterator[None]:
    """Every test runs twice."""
    ways[:] = [request.param]
    yield
    while wires:
        wires.pop().close()
    await asyncio.sleep(0)


def History(redis: Redis, **options: Any) -> app.history.History:
    """A history, by the way at hand."""
    if ways == ["by wire"]:
        wires.append(Wire(redis))
        options["wire"] = wires[-1]
    return app.history.History(redis, **options)


@pytest.fixture
def history(redis: Redis) -> app.history.History:
    return History(redis)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedRedis]:
    """A server of the test's own, to be stopped, filled or frozen."""
    with EmbeddedRedis(tmp_path / "own") as server:
        yield server


@pytest.fixture
async def client(server: EmbeddedRedis) -> AsyncIterator[Redis]:
    client = connect(server.url)
    yield client
    await client.aclose()


async def test_what_was_appended_is_read_back_whole(history: app.history.History) -> None:
    written = [Event("a", "ann", 7, 5, 4.5), Event("b", "ann", 2**32 - 1, 255, time=1_700_000_000.25)]
    assert await history.append(written) == [True, True]
    ann, nobody = await history.read(["ann", "nobody"])
    assert ann.records["handle"].tolist() == [7, 2**32 - 1]
    assert ann.records["kind"].tolist() == [5, 255]
    assert ann.records["time"].tolist() == [0.0, 1_700_000_000.25]
    np.testing.assert_array_equal(ann.records["value"], np.array([4.5, math.nan], np.float32))
    assert ann.version > 1_600_000_000_000_000
    assert nobody.version == 0
    assert len(nobody.records) == 0


async def test_a_batch_answers_in_its_own_order(history: app.history.History) -> None:
    batch = [Event("1", "ann", 1, 0), Event("1", "bob", 2, 0), Event("1", "ann", 3, 0), Event("2", "ann", 4, 0)]
    assert await history.append(batch) == [True, True, False, True]
    assert await handles(history, "ann") == [1, 4]
    assert await handles(history, "bob") == [2]
    assert await history.append([]) == []


async def test_a_batch_sent_again_counts_once(history: app.history.History) -> None:
    batch = events("ann", 5) + events("bob", 5)
    await history.append(batch[:7])
    (before,) = await history.read(["ann"])
    assert await history.append(batch) == [False] * 7 + [True] * 3
    assert await handles(history, "bob") == [0, 1, 2, 3, 4]
    (after,) = await history.read(["ann"])
    assert (after.version, after.records.tobytes()) == (before.version, before.records.tobytes())
    assert await history.pending() == 10


async def test_the_oldest_records_give_way(redis: Redis) -> None:
    history = History(redis, cap=3)
    await history.append(events("ann", 5))
    assert await handles(history, "ann") == [2, 3, 4]
    assert await history.append(events("ann", 1)) == [False]
    assert await redis.strlen(f"il:{{{partition_of('ann')}}}:history:ann") == 8 + 3 * 20


async def test_late_events_go_where_their_times_belong(redis: Redis) -> None:
    history = History(redis, cap=4)

    def at(*times: float) -> list[Event]:
        return [Event(f"{number} at {time}", "ann", number, 0, time=time) for number, time in enumerate(times)]

    async def times() -> list[float]:
        (found,) = await history.read(["ann"])
        return found.records["time"].tolist()

    await history.append(at(30.0, 10.0))
    await history.append(at(40.0))
    await history.append(at(20.0))
    assert await times() == [10.0, 20.0, 30.0, 40.0]
    assert await history.append(at(5.0)) == [True]
    assert await times() == [10.0, 20.0, 30.0, 40.0], "older than all of a full history"
    await history.append(at(50.0, 25.0, 35.0))
    assert await times() == [30.0, 35.0, 40.0, 50.0]
    await history.append([Event(f"same {number}", "bob", number, 0, time=1.0) for number in range(4)])
    assert await handles(history, "bob") == [0, 1, 2, 3]


async def test_a_time_that_is_none_is_refused(history: app.history.History) -> None:
    with pytest.raises(BadRequest, match="finite"):
        await history.append([Event("one", "ann", 1, 0, time=math.nan)])
    assert await handles(history, "ann") == []


async def test_event_ids_are_bounded_and_the_recent_ones_known(history: app.history.History, redis: Redis) -> None:
    count = 2 * GENERATION + 500
    await history.append(events("ann", count))
    tag = f"il:{{{partition_of('ann')}}}"
    assert await redis.hlen(f"{tag}:ids:ann") == 500
    assert await redis.hlen(f"{tag}:ids-old:ann") == GENERATION
    assert not any(await history.append(events("ann", GENERATION + 500, start=GENERATION)))
    # What the retired ids named has left the stream too.
    assert await history.pending() == GENERATION + 500


async def test_appends_at_once_lose_nothing(history: app.history.History) -> None:
    accepted = await asyncio.gather(*(history.append([Event(str(n % 100), "ann", n % 100, 0)]) for n in range(200)))
    assert sum(flag for (flag,) in accepted) == 100
    assert sorted(await handles(history, "ann")) == list(range(100))


async def test_every_accepted_event_moves_the_version_on_even_after_forgetting(history: app.history.History) -> None:
    versions = []
    for number in range(20):
        await history.append(events("ann", 1, start=number))
        versions += [found.version for found in await history.read(["ann"])]
        if number == 10:
            await history.forget("ann")
    assert versions == sorted(set(versions))


async def test_a_version_moves_on_though_the_clock_went_back(history: app.history.History, redis: Redis) -> None:
    ahead = 1 << 52
    await redis.set(f"il:{{{partition_of('ann')}}}:history:ann", ahead.to_bytes(8, "little"))
    await history.append(events("ann", 1))
    assert [found.version for found in await history.read(["ann"])] == [ahead + 1]


async def test_other_keys_come_along(history: app.history.History, redis: Redis) -> None:
    await redis.set("il:version", "7")
    await history.append(events("ann", 2))
    (ann,), extra = await history.read_with(["ann"], ["il:version", "il:nothing"])
    assert len(ann.records) == 2
    assert extra == [b"7", None]
    assert await history.read_with([], []) == ([], [])


async def test_a_number_out_of_range_is_refused_and_nothing_kept(history: app.history.History) -> None:
    with pytest.raises(BadRequest) as caught:
        await history.append([Event("a", "ann", 1, 0), Event("b", "ann", 1, 0, value=1e300)])
    assert caught.value.field == "events.1"
    assert await handles(history, "ann") == []


@pytest.mark.parametrize("user", ["zoë 😀 {0}:history:", "a\nb\0*?[x]", "x" * 2000])
async def test_any_name_is_a_user(history: app.history.History, redis: Redis, user: str) -> None:
    await history.append(events(user, 2))
    assert await handles(history, user) == [0, 1]
    assert {event.user for event in await drain(history)} == {user}
    await history.forget(user)
    assert await traces(redis, user) == []


async def test_forgotten_means_no_key_and_no_stream_entry(history: app.history.History, redis: Redis) -> None:
    await history.append(events("forget-me", 40) + events("keep-me", 40))
    await history.append(events("forget-me", GENERATION * 2, start=100))
    given = await history.fresh("worker", count=64, block_ms=0)
    assert {event.user for event in given} == {"forget-me", "keep-me"}
    assert len(await traces(redis, "forget-me")) > GENERATION

    await history.forget("forget-me")

    assert await traces(redis, "forget-me") == []
    assert await handles(history, "forget-me") == []
    stream = f"il:{{{partition_of('forget-me')}}}:stream"
    assert partition_of("forget-me") != partition_of("keep-me")
    assert (await redis.xpending(stream, GROUP))["pending"] == 0
    # Nor can a worker that was given some of them get at them again, or leave a mark.
    again = await history.reclaim("other", idle_ms=0, count=1000) + await drain(history)
    assert {event.user for event in again} == {"keep-me"}
    assert len(again) == 40
    await history.done(given)
    assert await traces(redis, "forget-me") == []


async def test_forgetting_reaches_what_expired_ids_no_longer_name(redis: Redis) -> None:
    history = History(redis, ttl_seconds=1)
    await history.append(events("forget-me", 3))
    await asyncio.sleep(1.1)
    assert not await redis.exists(f"il:{{{partition_of('forget-me')}}}:ids:forget-me")
    assert len(await traces(redis, "forget-me")) == 3
    await history.forget("forget-me")
    assert await traces(redis, "forget-me") == []


async def test_keys_expire_only_when_told_to(redis: Redis) -> None:
    tag = f"il:{{{partition_of('ann')}}}"
    await History(redis).append(events("ann", 1))
    assert await redis.ttl(f"{tag}:history:ann") == -1
    await History(redis, ttl_seconds=100).append(events("ann", GENERATION, start=1))
    for key in ("history", "ids", "ids-old"):
        assert 0 < await redis.ttl(f"{tag}:{key}:ann") <= 100


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


async def test_data_and_client_survive_a_restart_of_redis(server: EmbeddedRedis, client: Redis) -> None:
    history = History(client)
    await asyncio.gather(*(history.append(events(f"u{number}", 1)) for number in range(5)))
    await asyncio.to_thread(server.stop)
    with pytest.raises(StoreUnavailable) as caught:
        await history.append(events("ann", 1))
    assert caught.value.retry_after
    with pytest.raises(StoreUnavailable):
        await history.fresh("worker")
    await asyncio.to_thread(server.start)
    assert await history.append(events("u1", 2)) == [False, True]
    assert [len(found.records) for found in await history.read(["u0", "u1", "ann"])] == [1, 2, 0]


async def test_a_redis_that_hangs_is_unavailable_soon_and_then_back(server: EmbeddedRedis, client: Redis) -> None:
    history = History(client)
    await history.append(events("ann", 1))
    process = (await client.info("server"))["process_id"]
    os.kill(process, signal.SIGSTOP)
    try:
        async with asyncio.timeout(3):
            with pytest.raises(StoreUnavailable):
                await history.read(["ann"])
    finally:
        os.kill(process, signal.SIGCONT)
    assert await handles(history, "ann") == [0]


async def test_a_full_redis_changes_nothing(server: EmbeddedRedis, client: Redis) -> None:
    history = History(client)
    await history.append(events("ann", 1))
    await client.config_set("maxmemory", 1)
    with pytest.raises(StoreUnavailable):
        await history.append(events("ann", 2))
    assert await handles(history, "ann") == [0]
    assert await history.pending() == 1
    await history.forget("ann")
    await client.config_set("maxmemory", 0)
    assert await history.append(events("ann", 2)) == [True, True]


async def test_a_read_only_redis_still_reads(server: EmbeddedRedis, client: Redis) -> None:
    history = History(client)
    await history.append(events("ann", 1))
    await client.replicaof("127.0.0.1", "1")
    with pytest.raises(StoreUnavailable):
        await history.append(events("ann", 2))
    assert await handles(history, "ann") == [0]


async def test_a_key_of_another_type_is_a_bug_and_says_so(history: app.history.History, redis: Redis) -> None:
    await redis.lpush(f"il:{{{partition_of('ann')}}}:history:ann", "x")
    with pytest.raises(Exception, match="WRONGTYPE"):
        await history.append(events("ann", 1))
    assert await history.pending() == 0


async def test_cancelled_reads_never_cross(redis_url: str) -> None:
    client = connect(redis_url, connections=4)
    history = History(client)
    users = [f"u{number}" for number in range(40)]
    await history.append([Event("1", user, number, 0) for number, user in enumerate(users)])

    async def read(number: int) -> None:
        assert await handles(history, users[number]) == [number]

    for turn in range(30):
        tasks = [asyncio.create_task(read(number)) for number in range(40)]
        await asyncio.sleep(turn / 10_000)
        for task in tasks[::2]:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert {type(result) for result in results} <= {type(None), asyncio.CancelledError}
        assert all(result is None for result in results[1::2])
    async with asyncio.timeout(2):
        await asyncio.gather(*(read(number) for number in range(40)))
    await client.aclose()


async def test_a_password_and_a_database_are_told(tmp_path: Path, server: EmbeddedRedis, client: Redis) -> None:
    await client.config_set("requirepass", "secret")
    url = server.url.replace("unix://", "unix://:secret@") + "?db=3"
    for address, reachable in ((url, True), (url.replace("secret", "wrong"), False)):
        other = connect(address)
        history = History(other)
        if reachable:
            await history.append(events("ann", 2))
            assert await handles(history, "ann") == [0, 1]
            assert await other.exists(f"il:{{{partition_of('ann')}}}:history:ann")
            restore = other
        else:
            with pytest.raises(StoreUnavailable, match="password"):
                await history.read(["ann"])
            await restore.config_set("requirepass", "")  # or its owner could not stop it
            await restore.aclose()
        if not reachable:
            await other.aclose()


async def test_a_wire_that_is_encrypted_is_left_to_the_client() -> None:
    client = connect("rediss://nowhere")
    assert Wire.of(client) is None
    assert Wire.of(connect("redis://nowhere")) is not None


def test_bounds_are_checked(redis_server: EmbeddedRedis) -> None:
    client = connect(redis_server.url)
    for wrong in ({"cap": 0}, {"stream_cap": 3}, {"ttl_seconds": -1}):
        with pytest.raises(ValueError, match="at least 1"):
            History(client, **wrong)
    with pytest.raises(ValueError, match="timeout"):
        connect(redis_server.url, timeout=0.1)
