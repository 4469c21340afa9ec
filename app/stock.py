"""The catalogue as it is, in what the engine serves: read when it has moved, and waited for within reason.

Where it takes longer than PATIENCE, answers are given without what is new until it is there.
"""

from __future__ import annotations

import asyncio
import logging

from app.catalogue import Catalogue
from app.engine import Engine
from app.errors import StoreUnavailable
from app.query import Entry
from app.served import UNKNOWN, Served
from models.snapshot import Snapshot

log = logging.getLogger(__name__)

PATIENCE = 0.25
"""Seconds that answers are held back for a renewal. Up to some 100,000 items it is done by then."""

Goods = tuple[list[Entry], dict[str, int], int]
"""Items as they were put, the handle of every item, and the version of the catalogue that these are."""


class Stock:
    """Of one engine."""

    def __init__(self, catalogue: Catalogue, engine: Engine) -> None:
        self._catalogue, self._engine = catalogue, engine
        self._renewing = asyncio.Lock()
        self._renewal: asyncio.Task[None] | None = None  # of a catalogue that was seen to have moved
        self._waited_until = 0.0  # by the loop's clock: when those who wait for it go on without
        self._illegible: int | None = None  # a version of the catalogue that is not to be tried again

    async def close(self) -> None:
        """Give up a renewal that is under way."""
        if self._renewal is not None and not self._renewal.done():
            self._renewal.cancel()
            await asyncio.wait([self._renewal])

    async def follow(self, version: int) -> None:
        """See to it that the catalogue is what it was at `version`, and wait for that, but not for long.

        Everyone waits for the same renewal, and nobody longer than whoever saw first that it was due.

        Raises StoreUnavailable, also where no catalogue has been read before and this one is not there in time.
        """
        loop = asyncio.get_running_loop()
        until: float | None = None
        for _ in range(2):  # one that is under way may have looked before what this version is of
            served = self._engine.served.catalogue_version
            # A lower one than is served is of a store that was put back, unless we have waited meanwhile.
            if version in (served, self._illegible) or (until is not None and 0 < version < served):
                return
            renewal, begun = self._renewal, False
            if renewal is None or renewal.done():
                self._waited_until = until or loop.time() + PATIENCE
                renewal, begun = loop.create_task(self._renew_to(version), name="renewal"), True
                renewal.add_done_callback(lambda done: done.cancelled() or done.exception())  # or nobody asks
                self._renewal = renewal
            until = until or self._waited_until
            await asyncio.wait([renewal], timeout=max(until - loop.time(), 0.0))
            if not renewal.done():
                if self._engine.served.catalogue_version == UNKNOWN:
                    raise StoreUnavailable("The catalogue has not been read yet.")
                return
            await renewal
            if begun:
                return

    async def _renew_to(self, version: int) -> None:
        try:
            async with self._renewing:
                if self._engine.served.catalogue_version != version:
                    await self._renew_once()
        except StoreUnavailable:
            raise
        except Exception:  # what was put must never stop what can be answered
            log.exception("the catalogue cannot be read; it stays as it was until it moves again")
            self._illegible = version

    async def renew(self, version: int) -> None:
        """Bring what is served to the catalogue as it is at `version` or later. Raises StoreUnavailable."""
        async with self._renewing:
            if self._engine.served.catalogue_version < version:
                await self._renew_once()

    async def _renew_once(self) -> None:
        while True:
            served = self._engine.served
            renewed = await asyncio.to_thread(served.renewed, *await self.goods(served.snapshot, served))
            if self._engine.served is served:  # else a snapshot was swapped in meanwhile
                self._engine.swap(renewed)
                return

    async def latest(self, served: Served) -> Served:
        """What is to be served next, with the catalogue as it is now; as it was where Redis is away."""
        async with self._renewing:
            try:
                while served.catalogue_version != await self._catalogue.version():
                    served = await asyncio.to_thread(served.renewed, *await self.goods(served.snapshot, served))
            except StoreUnavailable:
                log.warning("Redis is away: a snapshot is served with the catalogue as it was last read")
            return served

    async def goods(self, found: Snapshot, known: Served | None) -> Goods:
        """Every item that was put; from what is `known`, only the changes are read. Raises StoreUnavailable."""
        since = UNKNOWN if known is None else known.catalogue_version
        if since == UNKNOWN:
            await self._catalogue.register(item.id for item in found.items)
        changes = await self._catalogue.changes(max(since, 0), found.manifest.content_model)
        put = {} if known is None else dict(known.put)
        put |= {item.id: Entry(handle, item, content) for handle, item, content in changes.items}
        return list(put.values()), dict(self._catalogue.handles), changes.version
