"""The use case: ids in, ids out. Keeps the engine on the newest sound snapshot and on the catalogue as it is.

What is served moves by one reference, between two batches:
    when the catalogue has moved   the batch that sees it in Redis waits for the items, and is computed with them;
                                   where that takes longer than is bearable, it and those after it go without, until
                                   they are there; where none comes by, the watcher sees it
    when `current` has moved       the watcher loads the snapshot aside and warms it, then swaps
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from app import announcement, engine, succession, waiting
from app.catalogue import VERSION_KEY, Catalogue
from app.errors import NotFound, NotReady, StoreUnavailable
from app.event import UserHistory
from app.history import FORGOTTEN_KEY, History
from app.query import Answer, Query
from app.schemas import MOST_USERS
from app.served import UNKNOWN, Served
from app.stock import Stock
from models.item import Item
from models.learner import Learner
from models.manifest import Manifest
from models.snapshot import Snapshot

log = logging.getLogger(__name__)

WITH_EVERY_READ = (VERSION_KEY, announcement.KEY, FORGOTTEN_KEY)
RETRY = 0.25
"""Seconds between looks for a Redis that is away."""

Encode = Callable[[str, Sequence[str]], Awaitable[NDArray[np.float32]]]
"""(content model, texts) -> content vectors, (texts, C)."""


class Observer(waiting.Observer, succession.Observer, Protocol):
    """Told what the engine does and which snapshot is served."""


class Recommender:
    """Start it on the loop it is to live on, and close it there."""

    def __init__(
        self,
        history: History,
        catalogue: Catalogue,
        path: Path,
        encode: Encode,
        observer: Observer,
        *,
        device: str = "auto",
        threads: int = 1,
        max_batch: int = 64,
        queue_limit: int = 512,
        remembered: int = 0,
        poll: float = 1.0,
    ) -> None:
        """Args:
        path: a snapshots folder or its `current`, both followed as they move, or one version, to stay on.
        encode: how the text of an item that is put becomes a content vector.
        device: `auto`, or what torch calls it.
        threads, max_batch, queue_limit, remembered: the engine's.
        poll: seconds between looks at `current` and at the catalogue, which a quiet replica sees no other way.
        """
        self._history = history
        self._catalogue = catalogue
        self._encode = encode
        self._threads = threads
        self._max_batch = max_batch
        self._poll = poll
        self._engine = engine.Engine(
            self._read,
            observer,
            max_batch=max_batch,
            queue_limit=queue_limit,
            threads=threads,
            remembered=remembered,
        )
        self._stock = Stock(catalogue, self._engine)
        self._succession = succession.Succession(
            path, self._engine, self._prepare, self._stock.latest, observer, device
        )
        self._away = False  # Redis; while it is, no batch waits for it
        self._announced: bytes | None = None
        self._forgotten = 0  # how often anyone was forgotten anywhere, as far as this process has acted on it
        self._look = asyncio.Event()
        self._closing = False
        self._watcher: asyncio.Task[None] | None = None
        self._follower: asyncio.Task[None] | None = None
        self._again = False  # there was a look for a new snapshot while one was being made ready

    async def start(self) -> None:
        """Load, warm and serve the current snapshot, or the newest sound one there is. Redis may be away.

        Raises SnapshotError where there is none.
        """
        torch.set_num_threads(self._threads)
        await self._succession.begin()
        self._engine.start()
        self._watcher = asyncio.create_task(self._watch(), name="watcher")

    async def close(self) -> None:
        """Answer what waits, then stop."""
        self._closing = True
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.wait([self._watcher])
        if self._follower is not None:  # which the watcher may have started as it ended
            self._follower.cancel()
            await asyncio.wait([self._follower])
        await self._engine.close()
        await self._stock.close()

    @property
    def alive(self) -> bool:
        """Whether queries are being answered."""
        return self._engine.alive

    @property
    def ready(self) -> bool:
        """A snapshot is loaded and warm, and the engine is alive. Redis may be away."""
        return self._engine.alive  # it starts with a snapshot, and only then

    @property
    def depth(self) -> int:
        """How many queries wait."""
        return self._engine.depth

    @property
    def manifest(self) -> Manifest:
        """Of the snapshot that is served. Raises NotReady before there is one."""
        return self._engine.served.manifest

    @property
    def scale(self) -> tuple[float, float] | None:
        """The range of ratings; None before there is a snapshot."""
        try:
            return self.manifest.scale
        except NotReady:
            return None

    async def recommend(self, query: Query, *, fallback: bool = False) -> Answer:
        """The best items. With `fallback`, categories that leave nothing are dropped.

        Raises Overloaded or NotReady.
        """
        answer = await self._engine.ask(query)
        if fallback and not answer.items and query.categories is not None:
            answer = await self._engine.ask(replace(query, categories=None))
        return answer

    async def recommend_all(self, query: Query, users: Sequence[str]) -> list[Answer]:
        """The best items for each of several users, as `recommend` has them. Raises Overloaded or NotReady."""
        return await self._engine.ask_all(query, users)

    async def forget(self, user: str) -> None:
        """Leave nothing of a user: no key, no vector here, soon none in any other process. Raises StoreUnavailable."""
        count = await self._history.forget(user)
        self._engine.forget(user)
        if count == self._forgotten + 1:
            self._forgotten = count

    async def similar(self, item_id: str, k: int) -> Answer:
        """The items most like this one. Raises NotFound, Overloaded or NotReady."""
        answer = await self._engine.ask(Query(like=item_id, k=k))
        if not answer.items and item_id not in self._engine.served.rows:
            raise NotFound(f"There is no item {item_id!r}.", field="item_id")
        return answer

    def item(self, item_id: str) -> Item | None:
        """What is known here of an item; None for an unknown one."""
        served = self._engine.served
        if item_id in served.put:
            return served.put[item_id].item
        return served.items[served.rows[item_id]] if item_id in served.rows else None

    async def put(self, items: Sequence[Item]) -> int:
        """Add or change items; they can be recommended once this returns. Returns the catalogue's version with them.

        Raises StoreUnavailable, or Unavailable where their text cannot be encoded.
        """
        model = self.manifest.content_model
        vectors = await self._encode(model, [item.content for item in items])
        version = await self._catalogue.put(items, vectors, model)
        await self._stock.renew(version)
        return version

    async def rollback(self) -> Manifest:
        """Go back to the parent of what is served; its manifest. Raises SnapshotRefused where that cannot be."""
        await self._succession.go_back()
        return self.manifest

    async def _read(self, users: Sequence[str]) -> list[UserHistory]:
        """The engine's way to the histories: one MGET, which also says whether catalogue or snapshot have moved."""
        if self._away:
            raise StoreUnavailable("Redis does not answer.")
        try:
            return await self._read_and_notice(users)
        except StoreUnavailable as error:
            self._lose(error)
            raise

    async def _read_and_notice(self, users: Sequence[str]) -> list[UserHistory]:
        """Histories; and what has happened meanwhile: the catalogue moved, a snapshot came, someone was forgotten."""
        histories, (version, announced, forgotten) = await self._history.read_with(users, WITH_EVERY_READ)
        count = int(forgotten or 0)
        if count != self._forgotten:
            # By another process, and who it was is known to nobody any more: all go.
            self._forgotten = count
            self._engine.forget()
        await self._stock.follow(int(version or 0))
        if announced != self._announced:
            self._announced = announced
            self._look.set()
        return histories

    def _lose(self, error: StoreUnavailable) -> None:
        if not self._away:
            log.warning("%s Answers are degraded until that changes. The cause: %s", error, error.__cause__)
            self._away = True
            self._look.set()

    async def _prepare(self, found: Snapshot, learner: Learner, without: bool) -> Served:
        """A snapshot with the catalogue as it is, warm. Raises StoreUnavailable, unless it may do `without`."""
        try:
            stock = await self._stock.goods(found, None)
        except StoreUnavailable as error:
            self._lose(error)
            if not without:
                raise
            stock = ([], {}, UNKNOWN)  # the batch that finds Redis back brings the rest
        served = await asyncio.to_thread(Served, learner, found, *stock)
        await asyncio.to_thread(served.warm, max(self._max_batch, MOST_USERS))
        if served.held_back:
            log.warning("%d items are held back: their content vectors are of another model", served.held_back)
        return served

    async def _watch(self) -> None:
        """Look at Redis, and for a `current` that has moved: when told to, and now and then."""
        # Cancelling alone may not end it: asyncio.wait_for, in the client of Redis, can swallow that on Python 3.11.
        while not self._closing:
            with suppress(TimeoutError):
                async with asyncio.timeout(min(self._poll, RETRY) if self._away else self._poll):
                    await self._look.wait()
            self._look.clear()
            try:
                await self._look_at_redis()
            except Exception:
                log.exception("a look failed; another follows")
            # By itself: a snapshot takes a while to get ready, and Redis may go and come back meanwhile.
            self._again = self._follower is not None and not self._follower.done()
            if not self._again and not self._closing:
                self._follower = asyncio.create_task(self._follow(), name="follower")

    async def _follow(self) -> None:
        try:
            await self._succession.follow()
        except StoreUnavailable:
            pass  # said when it was lost, and the snapshot is tried again
        except Exception:
            log.exception("a look for a new snapshot failed; another follows")
        if self._again:
            self._look.set()

    async def _look_at_redis(self) -> None:
        """Have the items of a catalogue that has moved brought; a Redis that was away is back once it has answered."""
        try:
            await self._read_and_notice(())
        except StoreUnavailable as error:
            self._lose(error)
            return
        if self._away:
            self._away = False
            log.info("Redis answers again")
