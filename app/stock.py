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
"""Seconds that answers are held back for a catalogue that has moved. Up to some 100,000 items it is there by then."""

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

    async def follow(self, version: int, patient: bool) -> None:
        """See to it that the catalogue is what it was at `version`, and wait for that. Raises StoreUnavailable.

        Everyone waits for the same renewal, nobody but who is `patient` longer than whoever saw first that it was due.
        """
        loop = asyncio.get_running_loop()
        for _ in range(2):  # one that is under way may have looked before what this version is of
            if version in (self._engine.served.catalogue_version, self._illegible):
                return
            if self._renewal is None or self._renewal.done():
                self._renewal = loop.create_task(self._renew_to(version), name="renewal")
                self._renewal.add_done_callback(lambda done: done.cancelled() or done.exception())  # or nobody asks
                self._waited_until = loop.time() + PATIENCE
            left = None if patient else max(self._waited_until - loop.time(), 0.0)
            await asyncio.wait([self._renewal], timeout=left)
            if not self._renewal.done():
                return
            await self._renewal

    async def _renew_to(self, version: int) -> None:
        try:
            await self.renew(version)
        except StoreUnavailable:
            raise
        except Exception:  # what was put must never stop what can be answered
            log.exception("the catalogue cannot be read; it stays as it was until it moves again")
            self._illegible = version

    async def renew(self, version: int | None = None) -> None:
        """Bring what is served to the catalogue as it is, unless that is this version. Raises StoreUnavailable."""
        async with self._renewing:
            while self._engine.served.catalogue_version != version:
                served = self._engine.served
                renewed = await asyncio.to_thread(served.renewed, *await self.goods(served.snapshot, served))
                if self._engine.served is served:  # else a snapshot was swapped in meanwhile
                    self._engine.swap(renewed)
                    return

    async def goods(self, found: Snapshot, known: Served | None) -> Goods:
        """Every item that was put; from what is `known`, only the changes are read. Raises StoreUnavailable."""
        since = UNKNOWN if known is None else known.catalogue_version
        if since == UNKNOWN:
            await self._catalogue.register(item.id for item in found.items)
        changes = await self._catalogue.changes(max(since, 0), found.manifest.content_model)
        put = {} if known is None else dict(known.put)
        put |= {item.id: Entry(handle, item, content) for handle, item, content in changes.items}
        return list(put.values()), dict(self._catalogue.handles), changes.version
