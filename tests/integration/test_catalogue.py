"""Items and their handles in a real Redis."""

from __future__ import annotations

import asyncio
import socket
import time

import numpy as np
import pytest
from numpy.typing import NDArray
from redis.asyncio import Redis

from app.catalogue import IDS_KEY, PAGE, VERSION_KEY, Catalogue
from app.errors import StoreUnavailable
from app.store import connect
from models.item import Item

MODEL = "all-MiniLM-L6-v2"


def unit_vectors(count: int, width: int = 8) -> NDArray[np.float32]:
    vectors = np.random.default_rng(0).normal(size=(count, width)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture
def catalogue(redis: Redis) -> Catalogue:
    return Catalogue(redis)


async def test_handles_are_numbers_for_good(catalogue: Catalogue, redis: Redis) -> None:
    await catalogue.register(["a", "b", "a"])
    await catalogue.register(["b", "c"])
    assert catalogue.handles == {"a": 0, "b": 1, "c": 2}
    fresh = Catalogue(redis)
    await fresh.register(["c", "b", "a"])
    assert fresh.handles == catalogue.handles


async def test_what_another_process_registered_is_found(catalogue: Catalogue, redis: Redis) -> None:
    await Catalogue(redis).register(["a", "b"])
    assert await catalogue.handle_of("b") == 1
    assert await catalogue.handle_of("nowhere") is None
    assert await catalogue.resolve(["nowhere", "a"]) == {"a": 0}
    await Catalogue(redis).register(["c"])
    assert await catalogue.ids_of([2, 0, 99]) == ["c", "a", None]


async def test_many_at_once_agree(redis: Redis) -> None:
    several = [Catalogue(redis) for _ in range(5)]
    names = [f"i{number}" for number in range(2 * PAGE + 10)]
    await asyncio.gather(*(one.register(names[turn * 100 :]) for turn, one in enumerate(several)))
    for one in several:
        await one.resolve(names)
    assert sorted(several[0].handles.values()) == list(range(len(names)))
    assert all(one.handles == several[0].handles for one in several)


async def test_an_item_comes_back_as_it_was_put(catalogue: Catalogue, redis: Redis) -> None:
    items = [Item("a", "Ünïcode 😀", 'text "quoted"', ("x", "y, z"), available=False), Item("b")]
    vectors = unit_vectors(2)
    version = await catalogue.put(items, vectors, MODEL)
    changes = await Catalogue(redis).changes()
    assert changes.version == version
    assert [(handle, item) for handle, item, _ in changes.items] == [(0, items[0]), (1, items[1])]
    for (_, _, vector), put in zip(changes.items, vectors, strict=True):
        assert vector is not None
        np.testing.assert_allclose(vector, put, atol=1e-3)


async def test_changes_are_only_what_came_since(catalogue: Catalogue, redis: Redis) -> None:
    first = await catalogue.put([Item("a"), Item("b")], unit_vectors(2), MODEL)
    second = await catalogue.put([Item("a", "new")], unit_vectors(1), MODEL)
    assert second > first
    assert int(await redis.get(VERSION_KEY)) == second
    changes = await catalogue.changes(first)
    assert [(handle, item.title) for handle, item, _ in changes.items] == [(0, "new")]
    assert await catalogue.changes(second) == (second, [])
    assert len((await catalogue.changes(0)).items) == 2


async def test_the_version_moves_on_though_the_clock_went_back(catalogue: Catalogue, redis: Redis) -> None:
    ahead = 1 << 52
    await redis.set(VERSION_KEY, ahead)
    assert await catalogue.put([Item("a")], unit_vectors(1), MODEL) == ahead + 1
    assert len((await catalogue.changes(ahead)).items) == 1


async def test_registering_alone_changes_no_item(catalogue: Catalogue) -> None:
    await catalogue.register(["a"])
    version = await catalogue.version()
    assert version > 0
    await catalogue.register(["a", "b"])
    assert await catalogue.changes(0) == (version, [])


async def test_more_items_than_a_page(catalogue: Catalogue) -> None:
    items = [Item(f"i{number}") for number in range(PAGE + 5)]
    await catalogue.put(items, unit_vectors(len(items)), MODEL)
    changes = await catalogue.changes()
    assert {item for _, item, _ in changes.items} == set(items)
    assert {handle for handle, _, _ in changes.items} == set(range(PAGE + 5))


async def test_vectors_of_another_model_are_left_out(catalogue: Catalogue) -> None:
    await catalogue.put([Item("a")], unit_vectors(1), MODEL)
    await catalogue.put([Item("b")], unit_vectors(1), "other/model")
    changes = await catalogue.changes(content_model=MODEL)
    assert {item.id: vector is None for _, item, vector in changes.items} == {"a": False, "b": True}


async def test_nothing_put_moves_nothing(catalogue: Catalogue) -> None:
    assert await catalogue.put([], unit_vectors(0), MODEL) == 0
    assert await catalogue.version() == 0


async def test_after_redis_lost_its_data_handles_stay_and_the_version_moves(catalogue: Catalogue, redis: Redis) -> None:
    other = Catalogue(redis)
    version = await catalogue.put([Item("a"), Item("b"), Item("c")], unit_vectors(3), MODEL)
    await other.resolve(["a", "b"])
    await redis.flushall()
    # A new item does not take the number of an old one.
    moved = await other.put([Item("d")], unit_vectors(1), MODEL)
    assert moved > version
    assert other.handles == {"a": 0, "b": 1, "c": 2, "d": 3}
    changes = await catalogue.changes(version)
    assert [(handle, item.id) for handle, item, _ in changes.items] == [(3, "d")]
    assert catalogue.handles == other.handles


async def test_after_a_loss_whoever_is_first_decides(catalogue: Catalogue, redis: Redis) -> None:
    await catalogue.register(["a", "b", "c"])
    await redis.flushall()
    await Catalogue(redis).register(["c", "x"])
    await catalogue.resolve(["nowhere"])
    assert catalogue.handles == {"c": 0, "x": 1, "a": 2, "b": 3}
    assert await redis.lrange(IDS_KEY, 0, -1) == [b"c", b"x", b"a", b"b"]


async def test_without_redis_the_mirror_still_answers(catalogue: Catalogue) -> None:
    await catalogue.register(["a"])
    away = Catalogue(connect("unix:///nonexistent/redis.sock"))
    away.handles.update(catalogue.handles)
    assert await away.handle_of("a") == 0
    with pytest.raises(StoreUnavailable):
        await away.handle_of("b")
    with pytest.raises(StoreUnavailable):
        await away.put([Item("b")], unit_vectors(1), MODEL)


async def test_a_redis_that_hangs_costs_all_who_wait_one_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections, and never says a word
        client = connect(f"redis://127.0.0.1:{silent.getsockname()[1]}", timeout=0.5)
        hung = Catalogue(client)
        begun = time.monotonic()
        first = asyncio.create_task(hung.resolve(["first"]))
        rest = [asyncio.create_task(hung.resolve([f"i{number}"])) for number in range(6)]
        await asyncio.sleep(0.05)
        first.cancel()  # the look is everyone's, not the first one's
        found = await asyncio.gather(first, *rest, return_exceptions=True)
        assert isinstance(found[0], asyncio.CancelledError)
        assert all(isinstance(error, StoreUnavailable) for error in found[1:])
        assert time.monotonic() - begun < 1.0
        await client.aclose()


async def test_who_asks_during_a_look_sees_what_was_registered_before(catalogue: Catalogue, redis: Redis) -> None:
    other = Catalogue(redis)
    for turn in range(20):
        early = asyncio.create_task(catalogue.resolve([f"nowhere{turn}"]))
        await other.register([f"i{turn}"])
        assert await catalogue.resolve([f"i{turn}"]) == {f"i{turn}": turn}
        assert await early == {}


async def test_a_caller_that_gives_up_takes_no_look_from_the_others(catalogue: Catalogue, redis: Redis) -> None:
    await Catalogue(redis).register(["a"])
    first, second = (asyncio.create_task(catalogue.resolve(["a"])) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    assert await second == {"a": 0}
