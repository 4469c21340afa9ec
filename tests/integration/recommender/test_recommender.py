"""The recommender on a real Redis and a real learner with random parameters: events, items, outages."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from time import perf_counter
from typing import Any

import pytest
from redis.asyncio import Redis

from app import stock
from app.catalogue import VECTOR_KEY, VERSION_KEY
from app.embedded import EmbeddedRedis
from app.engine import Engine
from app.errors import NotFound, StoreUnavailable
from app.query import Query
from app.served import Served
from app.store import connect
from models.item import Item
from tests.replicas import Replica, Start, until
from tests.worlds import CONTENT_WIDTH, SHELVES, publish_snapshot, shelf


async def test_an_event_is_in_the_next_answer_on_every_replica(start: Start) -> None:
    one, two = await start(), await start()
    before = await one.ask("u")
    assert before == await two.ask("u")
    assert not before.degraded
    await one.view("u", *before.items[:3])
    after = await two.ask("u")
    assert after == await one.ask("u")
    assert not set(before.items[:3]) & set(after.items)
    await two.history.forget("u")
    assert await one.ask("u") == before


async def test_a_put_item_is_served_at_once_on_every_replica(start: Start) -> None:
    one, two = await start(), await start()
    await two.ask("u")
    await one.recommender.put([Item("new", "A new one", categories=("fresh",)), Item("i0", "Renamed", available=False)])
    for replica in (two, one):
        assert (await replica.ask("u", categories=["fresh"])).items == ["new"]
        assert (await replica.ask("u", candidates=["i0"])).items == []
        assert replica.recommender.item("i0") == Item("i0", "Renamed", available=False)
        assert "new" not in (await replica.recommender.similar("new", 5)).items
    await one.view("u", "new")
    assert (await two.ask("u", categories=["fresh"])).items == []
    await one.recommender.put([Item("new", "Moved", categories=("other",))])
    assert (await two.ask("v", categories=["other"])).items == ["new"]
    assert (await two.ask("v", categories=["fresh"])).items == []


async def test_a_catalogue_that_takes_long_holds_nobody_back_for_long(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where there are a million items: one question waits for as long as is bearable, the next not at all."""
    one, two = await start(), await start(poll=60.0)
    await two.ask("u")
    going = threading.Event()
    real = Served.renewed

    def long(*given: Any) -> Served:
        assert going.wait(10)
        return real(*given)

    monkeypatch.setattr(stock, "PATIENCE", 0.5)
    await one.recommender.put([Item("new", "A new one", categories=("fresh",))])
    monkeypatch.setattr(Served, "renewed", long)
    waits = []
    try:
        for _ in range(3):
            began = perf_counter()
            assert (await two.ask("u", categories=["fresh"])).items == []
            waits.append(perf_counter() - began)
        assert waits[0] >= 0.5 > max(waits[1:])
    finally:
        going.set()
    await until(lambda: two.recommender.item("new") is not None)
    assert (await two.ask("u", categories=["fresh"])).items == ["new"]


async def test_the_words_of_a_put_item_place_it_on_every_replica(start: Start) -> None:
    one, two = await start(), await start()
    await one.recommender.put([Item("new", "A new one", shelf(3))])
    await two.ask("u")
    for replica in (one, two):
        assert {int(name[1:]) % SHELVES for name in (await replica.recommender.similar("new", 8)).items} == {3}
    await one.recommender.put([Item("new", "A new one", shelf(1))])
    await two.ask("u")
    for replica in (one, two):
        assert {int(name[1:]) % SHELVES for name in (await replica.recommender.similar("new", 8)).items} == {1}


async def test_a_replica_that_nobody_asks_sees_a_put_item_within_a_look(start: Start) -> None:
    one, quiet = await start(), await start()
    item = Item("new", "A new one")
    await one.recommender.put([item])
    await until(lambda: quiet.recommender.item("new") == item)


async def test_an_empty_category_can_fall_back(start: Start) -> None:
    recommender = (await start()).recommender
    nowhere = Query(categories=["nowhere"])
    assert (await recommender.recommend(nowhere)).items == []
    assert await recommender.recommend(nowhere, fallback=True) == await recommender.recommend(Query())


async def test_items(start: Start) -> None:
    recommender = (await start()).recommender
    item = recommender.item("i3")
    assert item is not None
    assert item.title == "Item 3"
    assert recommender.item("unknown") is None
    assert len((await recommender.similar("i3", 7)).items) == 7
    with pytest.raises(NotFound, match="unknown"):
        await recommender.similar("unknown", 7)


async def test_redis_away_at_the_start_then_there_then_gone_then_back(
    start: Start, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "app.recommender")
    server = EmbeddedRedis(tmp_path / "redis")
    server.start()
    url = server.url
    server.stop()
    client = connect(url)
    try:
        replica = await start(client=client)
        assert replica.recommender.ready
        lost = await replica.ask("u", k=4, categories=["odd"])
        assert lost.degraded
        assert lost.items == ["i1", "i3", "i5", "i7"]
        server.start()
        await asyncio.sleep(0.6)
        assert not (await replica.ask("u")).degraded
        await replica.view("u", "i1")
        await replica.recommender.put([Item("new", categories=("fresh",))])
        server.stop()
        assert (await replica.ask("u")).degraded
        with pytest.raises(StoreUnavailable):
            await replica.recommender.put([Item("newer")])
        server.start()
        await asyncio.sleep(0.6)
        found = await replica.ask("u", k=100)
        assert not found.degraded
        assert "i1" not in found.items
        assert (await replica.ask("u", categories=["fresh"])).items == ["new"]
        assert set(replica.seen.fallbacks) == {"store-unavailable"}
        said = [(record.levelname, record.message) for record in caplog.records if record.name == "app.recommender"]
        assert [level for level, _ in said] == ["WARNING", "INFO"] * 2
        assert said[0][1].startswith("Redis does not answer.")
        assert said[0][1].count("redis.sock") == 1  # where it was looked for
    finally:
        await client.aclose()
        server.stop()


async def test_redis_is_back_though_a_snapshot_takes_long(
    start: Start, tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    getting_ready = asyncio.Event()

    async def long(*_: Any) -> None:
        getting_ready.set()
        await asyncio.sleep(60)

    with EmbeddedRedis(tmp_path / "redis") as server:
        async with connect(server.url) as client:
            replica = await start(client=client)
            monkeypatch.setattr(Engine, "succeed", long)
            publish_snapshot(root, seed=1)
            async with asyncio.timeout(10):
                await getting_ready.wait()
            server.stop()
            assert (await replica.ask("u")).degraded
            server.start()
            async with asyncio.timeout(10):
                while (await replica.ask("u")).degraded:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)


async def test_a_wrong_password_is_said_once_and_never_shown(
    start: Start, redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    client = connect(redis_url.replace("unix://", "unix://somebody:open-sesame@"))
    replica = await start(client=client)
    assert (await replica.ask("u")).degraded
    await asyncio.sleep(0.3)
    said = [record.message for record in caplog.records if record.name == "app.recommender"]
    assert len(said) == 1
    assert said[0].startswith("Redis refuses the password.")
    assert "open-sesame" not in caplog.text
    with pytest.raises(StoreUnavailable, match="refuses the password"):
        await replica.recommender.put([Item("new")])
    await client.aclose()


async def test_it_closes_whatever_its_watcher_is_at(root: Path, redis: Redis) -> None:
    for turn in range(60):
        replica = Replica(redis, root, poll=1e-5)
        await replica.recommender.start()
        await asyncio.sleep(turn * 1e-4)
        await asyncio.wait_for(replica.recommender.close(), 5)


async def test_a_store_that_lost_its_data_is_filled_again(start: Start, redis: Redis) -> None:
    replica = await start()
    await replica.recommender.put([Item("new", categories=("fresh",))])
    await redis.flushall()
    assert not (await replica.ask("u")).degraded
    await replica.view("u", "i4", "new")
    for one in (replica, await start()):
        assert (await one.ask("u", candidates=["i4", "i6"])).items == ["i6"]
    # What this process was told of an item it still knows; it is gone for the others until it is put again.
    assert (await replica.ask("v", categories=["fresh"])).items == ["new"]


async def test_an_item_that_cannot_be_read_stops_nothing(start: Start, redis: Redis) -> None:
    replica = await start()
    await replica.recommender.put([Item("new")])
    await redis.hset("il:{items}:data", "new", "{not json")
    await redis.incr(VERSION_KEY)
    await redis.zincrby("il:{items}:changed", 1, "new")
    assert not (await replica.ask("u")).degraded
    await replica.view("u", "i1")
    assert "i1" not in (await replica.ask("u", k=100)).items
    await replica.recommender.put([Item("new", categories=("fresh",))])
    assert (await replica.ask("u", categories=["fresh"])).items == ["new"]


async def test_an_item_whose_vector_another_model_made_is_held_back(start: Start, redis: Redis) -> None:
    await (await start()).recommender.put([Item("new", categories=("fresh",))])
    await redis.hset(VECTOR_KEY, "new", b"another\0" + bytes(2 * CONTENT_WIDTH))
    replica = await start()
    assert (await replica.ask("u", categories=["fresh"])).items == []
    assert replica.recommender.item("new") == Item("new", categories=("fresh",))


async def test_forgetting_leaves_no_vector_in_any_process(start: Start) -> None:
    one, two = await start(remembered=9), await start(remembered=9)
    before = await one.ask("u")
    await one.view("u", *before.items[:3])
    await one.view("v", before.items[4])
    for replica in (one, two):
        for user in "uv":
            await replica.ask(user)
    assert [list(replica.recommender._engine._memory.adapted._known) for replica in (one, two)] == [["u", "v"]] * 2
    await one.recommender.forget("u")
    assert list(one.recommender._engine._memory.adapted._known) == ["v"], "this process knows whom"
    await until(lambda: not len(two.recommender._engine._memory.adapted))
    assert await two.ask("u") == await one.ask("u") == before
    assert list(one.recommender._engine._memory.adapted._known) == ["v"]


async def test_an_item_that_comes_back_to_a_history_changes_a_remembered_answer(start: Start) -> None:
    one = await start(remembered=9)
    await one.view("u", "i1", "i2")
    before = await one.ask("u", k=30)
    assert await one.ask("u", k=30) is before
    await one.recommender.put([Item(before.items[0], "Gone", available=False)])
    assert (await one.ask("u", k=30)).items == before.items[1:] + (await one.ask("u", k=30)).items[29:]


async def test_a_history_that_begins_anew_after_forgetting_is_adapted_to(start: Start) -> None:
    one = await start(remembered=9)
    await one.view("u", "i1", "i2")
    old = await one.ask("u")
    await one.recommender.forget("u")
    await one.view("u", "i40")
    new = await one.ask("u")
    assert new != old
    assert "i40" not in new.items
