"""The worker against a real Redis: what it learns, what it keeps, and what it survives."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from redis.asyncio import Redis

from app import announcement
from app.catalogue import Catalogue
from app.heartbeat import Heartbeat
from app.history import Event, History, partition_of
from app.refresher import Refresher, Schedule
from models import snapshot
from models.episode import History as Events
from models.item import Item
from models.learner import Learner
from models.meta import OuterLoop
from models.recipe import plan
from models.refresh import PATIENCE, RefreshConfig
from models.replay import build_replay
from models.words import Words

ITEMS = 30
PLAN = plan(
    {"width": 16, "length": 10, "dropout": 0.0, "rate": 1e-2, "shuffled": 0.0, "batch_size": 32, "refreshing": 1.0}
)
CONFIG = RefreshConfig(meta_steps=40, cases=10)


def walk(start: int, step: int, count: int = 8) -> list[int]:
    return [(start + step * at) % ITEMS for at in range(count)]


def publish(root: Path) -> str:
    """A snapshot trained a little on walks by ones."""
    torch.manual_seed(0)
    histories = [Events(np.array(walk(s, 1)), np.zeros(8, np.int64), np.ones(8, np.float32)) for s in range(ITEMS)]
    width = PLAN.learner.rank + 1
    expected = torch.nn.functional.normalize(torch.randn(ITEMS, width), dim=-1)
    learner = Learner(PLAN.learner, expected, Words.silent(12, width))
    loop = OuterLoop(learner, PLAN.outer, torch.ones(ITEMS))
    for _ in range(5):
        loop.run_epoch(histories)
    folder = snapshot.write(
        root,
        tensors=learner.tensors() | {"popularity": torch.ones(ITEMS)} | build_replay(histories, 10, 0),
        items=[Item(f"i{row}", f"Item {row}") for row in range(ITEMS)],
        config=PLAN.to_dict(),
        content_model="none",
        scale=(1.0, 5.0),
        metrics={},
        parent=None,
        created="2026-06-01T12:00:00+00:00",
        data={},
    )
    snapshot.publish(root, folder.name)
    return folder.name


class World:
    """A snapshots folder, its items registered, and users whose walks can be posted."""

    def __init__(self, redis: Redis, root: Path) -> None:
        self.redis, self.root = redis, root
        self.history, self.catalogue, self.heartbeat = History(redis), Catalogue(redis), Heartbeat(redis)
        self.first = publish(root)

    def refresher(self, schedule: Schedule | None = None) -> Refresher:
        return Refresher(
            self.history, self.catalogue, self.heartbeat, self.root, schedule or Schedule(events=10), CONFIG
        )

    async def post(self, users: int, step: int, prefix: str = "u") -> None:
        await self.catalogue.register(f"i{row}" for row in range(ITEMS))
        events = [
            Event(f"e{number}", f"{prefix}{user}", self.catalogue.handles[f"i{row}"], 0, time=float(number))
            for user in range(users)
            for number, row in enumerate(walk(user, step))
        ]
        assert all(await self.history.append(events))


@pytest.fixture
def world(redis: Redis, tmp_path: Path) -> World:
    return World(redis, tmp_path / "snapshots")


async def gathered(refresher: Refresher, count: int) -> Refresher:
    for _ in range(50):
        await refresher._gather()
        if len(refresher._waiting) >= count:
            return refresher
    raise AssertionError(f"only {len(refresher._waiting)} events came")


async def test_fresh_events_become_a_published_snapshot(world: World) -> None:
    await world.post(users=40, step=3)
    refresher = await gathered(world.refresher(), 40 * 8)
    verdict = await refresher.refresh()
    assert verdict is not None
    assert verdict.publish, verdict.reason
    version = snapshot.current(world.root)
    assert version != world.first
    found = snapshot.read(world.root / "current")
    assert found.manifest.parent == world.first
    assert found.manifest.data["fresh events"] == 40 * 8
    assert await world.redis.get(announcement.KEY) == version.encode()
    assert 0 < len(refresher._judged) <= 20
    assert await world.history.pending() == len(refresher._waiting) == 8 * len(refresher._judged)
    learner = Learner.restore(found)
    assert learner.catalogue()[0].shape[0] == ITEMS


async def test_an_item_put_while_serving_joins_the_next_snapshot(world: World) -> None:
    await world.post(users=40, step=3)
    vector = np.random.default_rng(0).normal(size=(1, 12)).astype(np.float32)
    await world.catalogue.put([Item("new", "A new one")], vector, "none")
    refresher = await gathered(world.refresher(), 40 * 8)
    await refresher.refresh()
    assert snapshot.read(world.root / "current").items[-1].id == "new"


async def test_who_judged_teaches_the_next_refresh(world: World) -> None:
    await world.post(users=40, step=3)
    refresher = await gathered(world.refresher(), 40 * 8)
    await refresher.refresh()
    judged = refresher._judged
    waited = 8 * len(judged)
    await world.post(users=40, step=3, prefix="v")
    await gathered(refresher, waited + 40 * 8)
    counted = snapshot.read(world.root / "current").tensors["popularity"].sum()
    verdict = await refresher.refresh()
    assert verdict is not None
    assert verdict.publish, verdict.reason
    assert not judged & refresher._judged
    learned = snapshot.read(world.root / "current").tensors["popularity"].sum() - counted
    assert learned == waited + 8 * (40 - len(refresher._judged))


async def test_what_was_refused_waits_and_is_given_up_in_time(world: World) -> None:
    await world.post(users=40, step=3)
    refresher = await gathered(world.refresher(Schedule(events=30)), 40 * 8)
    refresher.config = replace(CONFIG, tolerance=float("-inf"))  # nothing is good enough
    verdict = await refresher.refresh()
    assert verdict is not None
    assert not verdict.publish
    assert snapshot.current(world.root) == world.first
    assert await world.history.pending() == len(refresher._waiting) == PATIENCE * 30


async def test_a_forgotten_user_teaches_nothing(world: World) -> None:
    await world.post(users=40, step=3)
    refresher = await gathered(world.refresher(), 40 * 8)
    for user in range(40):
        await world.history.forget(f"u{user}")
    verdict = await refresher.refresh()
    assert verdict is not None
    assert verdict.cases == 0
    assert snapshot.current(world.root) == world.first


async def test_too_few_to_judge_by_wait_until_there_are_enough(world: World) -> None:
    await world.post(users=2, step=3)
    refresher = await gathered(world.refresher(), 2 * 8)
    assert refresher._due()
    verdict = await refresher.refresh()
    assert verdict is not None
    assert verdict.cases == 7
    assert await world.history.pending() == 2 * 8
    refresher._since -= refresher.schedule.seconds
    assert not refresher._due(), "nothing has come since"
    await world.post(users=6, step=3, prefix="v")
    await gathered(refresher, 8 * 8)
    assert refresher._due()
    verdict = await refresher.refresh()
    assert verdict is not None
    assert verdict.cases > CONFIG.cases


async def test_what_waits_for_a_verdict_is_bounded_and_drops_the_forgotten(world: World) -> None:
    await world.post(users=6, step=3)
    world.history.stream_cap = 40
    refresher = world.refresher()
    for _ in range(20):
        await refresher._gather()
        if await world.history.pending() <= 40:
            break
    assert len(refresher._waiting) == 40
    # As a history that has expired: its entries stay on the stream.
    for user in range(6):
        await world.redis.delete(f"il:{{{partition_of(f'u{user}')}}}:history:u{user}")
    await refresher.refresh()
    assert not refresher._waiting
    assert await world.history.pending() == 0


async def test_a_kind_nobody_knows_is_passed_over(world: World) -> None:
    await world.post(users=40, step=3)
    handle = world.catalogue.handles["i0"]
    await world.history.append([Event("odd", f"u{user}", handle, 200, time=99.0) for user in range(40)])
    refresher = await gathered(world.refresher(), 40 * 9)
    verdict = await refresher.refresh()
    assert verdict is not None
    assert verdict.cases == 7 * len(refresher._judged)


async def test_what_a_dead_worker_held_is_taken_over(world: World) -> None:
    await world.post(users=40, step=3)
    await gathered(world.refresher(), 40 * 8)  # and dies
    heir = world.refresher()
    heir.consumer, heir.reclaim_after = "heir", 1.0
    await asyncio.sleep(1.1)
    await gathered(heir, 40 * 8)
    verdict = await heir.refresh()
    assert verdict is not None
    assert verdict.publish, verdict.reason
    assert await world.history.pending() == 8 * len(heir._judged)


async def test_a_candidate_of_an_outdated_snapshot_is_not_published(world: World) -> None:
    await world.post(users=40, step=3)
    refresher = await gathered(world.refresher(), 40 * 8)
    write = refresher._publish

    def meanwhile(*given: object) -> str | None:
        folder = next(path for path in world.root.iterdir() if path.name == world.first)
        other = publish_again(world.root, folder)
        result = write(*given)  # type: ignore[arg-type]
        assert snapshot.current(world.root) == other
        return result

    refresher._publish = meanwhile  # type: ignore[method-assign]
    await refresher.refresh()
    assert len(snapshot.versions(world.root)) == 2, "what was never published is not kept to be served later"
    assert not list(world.root.glob(".deleting-*"))


def publish_again(root: Path, folder: Path) -> str:
    """Somebody else publishes: the same content under a later name."""
    found = snapshot.read(folder)
    again = snapshot.write(
        root,
        tensors=found.tensors,
        items=found.items,
        config=found.manifest.config,
        content_model="none",
        scale=(1.0, 5.0),
        metrics={},
        parent=None,
        created="2026-06-02T12:00:00+00:00",
        data={},
    )
    snapshot.publish(root, again.name)
    return again.name


async def test_it_runs_beats_and_stops(world: World) -> None:
    stop = asyncio.Event()
    running = asyncio.create_task(world.refresher(Schedule(events=100)).run(stop))
    await world.post(users=40, step=3)
    async with asyncio.timeout(60):
        while snapshot.current(world.root) == world.first:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
        status = await world.heartbeat.read()
        stop.set()
        await running
    assert status is not None
    assert status["lag"] >= 0


async def test_a_few_events_wait_for_their_time(world: World) -> None:
    await world.post(users=1, step=3)
    refresher = await gathered(world.refresher(Schedule(events=1000, seconds=3600)), 8)
    assert not refresher._due()
    refresher._since -= 3600
    assert refresher._due()
