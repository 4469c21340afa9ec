"""Histories when Redis restarts, hangs, fills up or is not what it should be."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest
from redis.asyncio import Redis

import app.history
from app.embedded import EmbeddedRedis
from app.errors import StoreUnavailable
from app.history import Event, partition_of
from app.store import connect
from app.wire import Wire
from tests.histories import History, events, handles


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
