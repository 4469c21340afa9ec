"""Histories in a real Redis: appended, read, trimmed, forgotten."""

from __future__ import annotations

import asyncio
import math

import numpy as np
import pytest
from redis.asyncio import Redis

import app.history
from app.errors import BadRequest
from app.history import GENERATION, GROUP, Event, partition_of
from tests.histories import History, drain, events, handles, traces


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


async def test_what_is_for_the_history_only_is_kept_once_and_forgotten_but_no_worker_hears_of_it(
    history: app.history.History, redis: Redis
) -> None:
    assert await history.append(events("ann", 3), history_only=True) == [True] * 3
    assert await history.append(events("ann", 4)) == [False] * 3 + [True]
    assert await handles(history, "ann") == [0, 1, 2, 3]
    assert [event.handle for event in await drain(history)] == [3]
    await history.append(events("ann", GENERATION * 2, start=100), history_only=True)
    await history.forget("ann")
    assert await traces(redis, "ann") == []


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
