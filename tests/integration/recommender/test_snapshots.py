"""Which snapshot a recommender serves, from a real snapshots folder."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from app import announcement, stock
from app.adapted import Adapted
from app.errors import SnapshotRefused, StoreUnavailable
from app.memory import Memory
from app.served import Served
from app.stock import Goods, Stock
from models import snapshot
from models.item import Item
from models.snapshot import SnapshotError
from tests.replicas import Replica, Start, until
from tests.worlds import publish_snapshot


async def test_a_new_snapshot_is_served_and_no_request_fails(start: Start, root: Path) -> None:
    replica = await start()
    versions: list[str] = []

    async def load() -> None:
        while len(set(versions)) < 3:
            answers = await asyncio.gather(*(replica.ask(str(n)) for n in range(8)))
            assert all(len(answer.items) == 10 and not answer.degraded for answer in answers)
            versions.extend(answer.snapshot for answer in answers)

    loading = asyncio.create_task(load())
    published = [snapshot.current(root)]
    for seed in (1, 2):
        published.append(await asyncio.to_thread(publish_snapshot, root, seed=seed, parent=published[-1]))
        await until(lambda: replica.recommender.manifest.version == published[-1])
        await asyncio.sleep(0.05)
    await asyncio.wait_for(loading, 10)
    assert list(dict.fromkeys(versions)) == published == replica.seen.versions


async def test_a_put_item_and_a_history_outlive_a_swap_to_other_rows(start: Start, root: Path) -> None:
    replica = await start()
    await replica.recommender.put([Item("new", categories=("fresh",))])
    await replica.view("u", "i1", "i2", "new")
    version = await asyncio.to_thread(publish_snapshot, root, 80, seed=3)
    await until(lambda: replica.recommender.manifest.version == version)
    everything = (await replica.ask("u", k=100)).items
    assert "i79" not in everything  # unavailable
    assert "i78" in everything
    assert not {"i1", "i2", "new"} & set(everything)
    assert (await replica.ask("v", categories=["fresh"])).items == ["new"]


async def test_an_announcement_is_acted_on_before_the_next_look(start: Start, root: Path, redis: Redis) -> None:
    replica = await start(poll=3600)
    version = await asyncio.to_thread(publish_snapshot, root, seed=1)
    await replica.ask("u")
    await asyncio.sleep(0.1)
    assert replica.recommender.manifest.version != version
    await announcement.announce(redis, version)
    await replica.ask("u")
    await until(lambda: replica.recommender.manifest.version == version)


@pytest.mark.parametrize("name", [snapshot.MODEL, snapshot.ITEMS, snapshot.MANIFEST])
async def test_a_corrupt_snapshot_is_never_served(start: Start, root: Path, tmp_path: Path, name: str) -> None:
    good = snapshot.current(root)
    replica = await start()
    aside = tmp_path / "aside"
    bad = await asyncio.to_thread(publish_snapshot, aside, seed=1)
    file = aside / bad / name
    file.write_bytes(file.read_bytes()[:-9])
    (aside / bad).rename(root / bad)
    snapshot.publish(root, bad)
    await until(lambda: replica.seen.swap_failures.total() > 0)
    await asyncio.sleep(0.3)
    assert replica.seen.swap_failures == {"unreadable": 1}  # and not tried again and again
    assert (await replica.ask("u")).snapshot == good
    assert (await (await start()).ask("u")).snapshot == good  # nor after a restart
    assert (await replica.recommender.rollback()).version == good
    assert snapshot.current(root) == good


@pytest.mark.parametrize(("name", "expected"), [(snapshot.MODEL, 0), (snapshot.MANIFEST, 1)])
async def test_in_place_of_a_corrupt_snapshot_its_parent_starts(
    start: Start, root: Path, name: str, expected: int
) -> None:
    first = snapshot.current(root)
    aside = publish_snapshot(root, seed=1)
    current = publish_snapshot(root, seed=2, parent=first)
    publish_snapshot(root, seed=3, parent=current)
    snapshot.publish(root, current)  # the newest was gone back from
    file = root / current / name
    file.write_bytes(file.read_bytes()[:-9])
    # Without its manifest nobody knows the parent: the newest of those that are older.
    assert (await start()).recommender.manifest.version == (first, aside)[expected]


async def test_rollback_goes_to_the_parent_and_no_further(start: Start, root: Path) -> None:
    first = snapshot.current(root)
    second = publish_snapshot(root, seed=1, parent=first)
    one, two = await start(), await start()
    assert (await one.recommender.rollback()).version == first
    assert snapshot.current(root) == first
    assert (await one.ask("u")).snapshot == first
    await until(lambda: two.recommender.manifest.version == first)
    with pytest.raises(SnapshotRefused, match="no parent"):
        await one.recommender.rollback()
    assert one.seen.versions == [second, first]


async def test_a_rollback_made_elsewhere_is_not_undone(start: Start, root: Path) -> None:
    first = snapshot.current(root)
    publish_snapshot(root, seed=1, parent=first)
    one, two = await start(), await start(poll=3600)
    await one.recommender.rollback()
    with pytest.raises(SnapshotRefused, match="no parent"):
        await two.recommender.rollback()  # two still served what one went back from
    assert snapshot.current(root) == first
    assert (await two.ask("u")).snapshot == first


async def test_one_version_is_stayed_on(start: Start, root: Path) -> None:
    first = snapshot.current(root)
    assert first is not None
    pinned, following = await start(root / first), await start(root / "current")
    second = await asyncio.to_thread(publish_snapshot, root, seed=1, parent=first)
    await until(lambda: following.recommender.manifest.version == second)
    assert (await pinned.ask("u")).snapshot == first
    with pytest.raises(SnapshotRefused, match="one version"):
        await pinned.recommender.rollback()


async def test_without_any_snapshot_it_does_not_start(tmp_path: Path, redis: Redis) -> None:
    replica = Replica(redis, tmp_path / "empty")
    assert replica.recommender.scale is None
    with pytest.raises(SnapshotError, match="innerloop train"):
        await replica.recommender.start()
    assert not replica.recommender.ready


async def test_items_that_are_put_while_a_snapshot_meets_users_are_there_when_it_is_served(
    start: Start, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replica = await start()
    met = asyncio.Event()
    meet = Memory.meet

    async def long(memory: Memory, served: Served) -> Adapted:
        adapted = await meet(memory, served)
        await replica.recommender.put([Item("new", categories=("fresh",)), Item("i0", available=False)])
        met.set()
        return adapted

    monkeypatch.setattr(Memory, "meet", long)
    monkeypatch.setattr(stock, "PATIENCE", 0.0)  # what is not there at once is not in the answer
    newer = publish_snapshot(root, seed=1)
    async with asyncio.timeout(10):
        await met.wait()
    await until(lambda: replica.recommender.manifest.version == newer)
    assert (await replica.ask("u", categories=["fresh"])).items == ["new"]
    assert "i0" not in (await replica.ask("u", k=100)).items


async def test_a_snapshot_that_comes_while_redis_goes_is_served_once_it_is_back(
    start: Start, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And never without the catalogue, as if no history named an item that it knows."""
    replica = await start()
    real = Stock.goods
    away = [2]

    async def lost(of: Stock, *given: Any) -> Goods:
        if away[0]:
            away[0] -= 1
            raise StoreUnavailable("Redis does not answer.")
        return await real(of, *given)

    monkeypatch.setattr(Stock, "goods", lost)
    newer = publish_snapshot(root, seed=1)
    await until(lambda: replica.recommender.manifest.version == newer)
    assert away == [0]
    assert not replica.recommender._succession.failures
    assert replica.recommender._engine.served.catalogue_version > 0


async def test_a_snapshot_that_is_announced_while_another_gets_ready_is_not_forgotten(
    start: Start, root: Path, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    replica = await start(poll=60.0)
    newest: list[str] = []
    meet = Memory.meet

    async def long(memory: Memory, served: Served) -> Adapted:
        if not newest:
            newest.append(publish_snapshot(root, seed=2))
            await announcement.announce(redis, newest[0])
            await replica.ask("u")  # which sees the announcement
            await asyncio.sleep(0.1)
        return await meet(memory, served)

    monkeypatch.setattr(Memory, "meet", long)
    await announcement.announce(redis, publish_snapshot(root, seed=1))
    await replica.ask("u")
    await until(lambda: newest != [] and replica.recommender.manifest.version == newest[0])
