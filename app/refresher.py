"""The worker: stream -> fresh histories -> a candidate -> gate -> publish.

The stream only says whose history is fresh, and by how many events; what is learned is read from the histories
themselves, so that a forgotten user leaves nothing to learn. Events are taken off the stream once they are learned
from: a worker that dies before then leaves them to the next one. One that dies between publishing and that moment has
the next one count a refresh's events twice, which fades as all counts do. Events that were refused, that were too few
to judge by or that judged wait, and come again with the next refresh.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Event as Flag
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app import announcement
from app.catalogue import Catalogue
from app.errors import StoreUnavailable
from app.event import in_order
from app.heartbeat import EVERY, Heartbeat
from app.history import History, StreamEvent, UserHistory
from models import snapshot as snapshots
from models.episode import History as Events
from models.interaction import KINDS, RatingScale
from models.item import Item
from models.manifest import SnapshotError
from models.refresh import PATIENCE, Fresh, RefreshConfig, Refreshed, Stopped, Verdict, catalogue_of, refresh
from models.snapshot import Snapshot

log = logging.getLogger(__name__)

READ_MS = 1000
RECLAIM_EVERY = 30.0


@dataclass(frozen=True, slots=True)
class Schedule:
    """When to refresh: as soon as `events` are fresh, or after `seconds` if any are."""

    events: int = 2000
    seconds: float = 300.0
    keep: int = 10  # versions left after publishing


class Refresher:
    """Turns fresh events into a better snapshot, one refresh at a time."""

    def __init__(
        self,
        history: History,
        catalogue: Catalogue,
        heartbeat: Heartbeat,
        root: Path,
        schedule: Schedule,
        config: RefreshConfig,
    ) -> None:
        """`root`: the snapshots folder, whose `current` is what serves."""
        self.history, self.catalogue, self.heartbeat = history, catalogue, heartbeat
        self.root, self.schedule, self.config = root, schedule, config
        self.consumer = f"{os.uname().nodename}-{os.getpid()}"
        self.status: dict[str, Any] = {"pid": os.getpid(), "state": "waiting", "refreshes": 0, "published": 0}
        self.reclaim_after = 2 * schedule.seconds + 60.0
        self._waiting: dict[tuple[int, bytes], StreamEvent] = {}
        self._untried = 0  # of those waiting, how many came since the last refresh
        self._judged: set[str] = set()  # of the users whose events wait: those who judged the last refresh
        self._since = time.monotonic()
        self._reclaimed = float("-inf")
        self._stopping = Flag()

    async def run(self, stop: asyncio.Event) -> None:
        """Refresh until told to stop. Redis may be away for a while; nothing is lost by it."""
        beating = asyncio.create_task(self._beat(), name="heartbeat")
        working = asyncio.create_task(self._work(), name="refresher")
        stopping = asyncio.create_task(stop.wait(), name="stop")
        try:
            await asyncio.wait({working, stopping, beating}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._stopping.set()
            stopping.cancel()
            await asyncio.wait({working})
            beating.cancel()
            await asyncio.wait({beating})
        working.result()

    async def _work(self) -> None:
        while not self._stopping.is_set():
            try:
                await self._gather()
                if self._due():
                    await self.refresh()
            except StoreUnavailable as error:
                log.warning("waiting for Redis: %s", error)
                await asyncio.sleep(1)
            except SnapshotError as error:
                self.status |= {"state": "waiting", "error": str(error)}
                log.error("no snapshot to refresh: %s", error)
                await asyncio.sleep(5)
            except Exception as error:
                # What broke this refresh must not end all refreshing; the events stay on the stream for a later try.
                log.exception("the refresh failed")
                self.status |= {"state": "waiting", "error": str(error)}
                self._waiting.clear()
                self._untried = 0
                await asyncio.sleep(5)

    async def _gather(self) -> None:
        """Take what is fresh, and now and then what a dead worker left."""
        found: list[StreamEvent] = []
        if time.monotonic() - self._reclaimed > RECLAIM_EVERY:
            found += await self._left_behind()
            self._reclaimed = time.monotonic()
        found += await self.history.fresh(self.consumer, self.schedule.events, READ_MS)
        before = len(self._waiting)
        self._waiting |= {(event.partition, event.entry_id): event for event in found}
        came = len(self._waiting) - before
        if came and not self._untried:
            self._since = time.monotonic()
        self._untried += came
        # Events that wait for a verdict are held here too: no more of them than the stream would hold.
        await self._drop(list(self._waiting.values())[: max(len(self._waiting) - self.history.stream_cap, 0)])

    async def _drop(self, events: Sequence[StreamEvent]) -> None:
        """Take events off the stream, and wait for them no longer."""
        await self.history.done(events)
        for event in events:
            self._waiting.pop((event.partition, event.entry_id), None)

    async def _left_behind(self) -> list[StreamEvent]:
        """What was given to a worker, perhaps this one, so long ago that a verdict would have fallen."""
        found: dict[tuple[int, bytes], StreamEvent] = {}
        while True:
            before = len(found)
            events = await self.history.reclaim(self.consumer, int(self.reclaim_after * 1000))
            found |= {(event.partition, event.entry_id): event for event in events}
            if len(found) == before:
                return list(found.values())

    def _due(self) -> bool:
        enough = self._untried >= self.schedule.events
        return enough or (self._untried > 0 and time.monotonic() - self._since >= self.schedule.seconds)

    async def refresh(self) -> Verdict | None:
        """Refresh on the events gathered so far; None when told to stop meanwhile, and they are kept."""
        events = list(self._waiting.values())
        self.status |= {"state": "refreshing", "events": len(events)}
        began = time.monotonic()
        current = await asyncio.to_thread(snapshots.read, self.root / "current")
        changes = await self.catalogue.changes(0, current.manifest.content_model)
        put = [(item, content) for _, item, content in changes.items]
        items = catalogue_of(current, put)
        content = {item.id: vector for item, vector in put if vector is not None}
        counts = Counter(event.user for event in events)
        histories = dict(zip(counts, await self.history.read(list(counts)), strict=True))
        fresh = await self._fresh(histories, counts, items, current)
        try:
            refreshed = await asyncio.to_thread(
                refresh, current, list(fresh.values()), items, content, self.config, self._stopping.is_set
            )
        except Stopped:
            return None
        verdict = refreshed.verdict
        version = None
        if verdict.publish:
            version = await asyncio.to_thread(self._publish, current, refreshed, len(events))
            if version is None:
                log.info("kept: another snapshot was published meanwhile; the events come again with the next refresh")
        if version:
            await announcement.announce(self.history.redis, version)
            self.status |= {"published": self.status["published"] + 1, "version": version}
            users = list(fresh)
            self._judged = {users[at] for at in refreshed.judges}
            await self._drop([event for event in events if event.user not in self._judged])
        else:
            # There is nothing to learn from who has no history any longer, and not for ever from the others.
            await self._drop([event for event in events if not len(histories[event.user].records)])
            many = len(self._waiting) - PATIENCE * self.schedule.events
            await self._drop(list(self._waiting.values())[: max(many, 0)])
        self._untried = 0
        took = time.monotonic() - began
        log.info("%s after %.1f s: %s", "published" if verdict.publish else "kept", took, verdict.reason)
        self.status |= {
            "state": "waiting",
            "refreshes": self.status["refreshes"] + 1,
            "seconds": round(took, 2),
            "verdict": asdict(verdict),
        }
        return verdict

    async def _fresh(
        self, histories: dict[str, UserHistory], counts: Counter[str], items: Sequence[Item], current: Snapshot
    ) -> dict[str, Fresh]:
        """The histories of users with fresh events, in rows of `items`. Who was forgotten has none."""
        row_of_id = {item.id: row for row, item in enumerate(items)}
        await self.catalogue.resolve(list(row_of_id))
        handles = self.catalogue.handles
        row_of = np.full(max(handles.values(), default=0) + 1, -1, np.int64)
        for name, row in row_of_id.items():
            if name in handles:
                row_of[handles[name]] = row
        scale = RatingScale(*current.manifest.scale)
        found = {}
        for user, history in histories.items():
            events, new = _events(history, counts[user], row_of, scale)
            if new:
                found[user] = Fresh(events, new, user in self._judged)
        return found

    def _publish(self, current: Snapshot, refreshed: Refreshed, events: int) -> str | None:
        """Write and point at the candidate; None, and no trace of it, where what it grew from is no longer current."""
        manifest, verdict = current.manifest, refreshed.verdict
        folder = snapshots.write(
            self.root,
            tensors=refreshed.tensors,
            items=refreshed.items,
            config=manifest.config,
            content_model=manifest.content_model,
            scale=manifest.scale,
            metrics={"gate NDCG@10": verdict.candidate, "gate NDCG@10 before": verdict.current},
            parent=manifest.version,
            created=datetime.now(UTC).isoformat(),
            data=manifest.data | {"fresh events": events},
        )
        if snapshots.current(self.root) != manifest.version:
            # Out of its name first: no folder is ever seen half deleted.
            gone = folder.rename(self.root / f".deleting-{folder.name}")
            shutil.rmtree(gone, ignore_errors=True)
            return None
        snapshots.publish(self.root, folder.name)
        snapshots.prune(self.root, self.schedule.keep)
        return folder.name

    async def _beat(self) -> None:
        # Cancelling alone may not end it: the client of Redis can swallow that on Python 3.11.
        while not self._stopping.is_set():
            try:
                await self.heartbeat.beat(**self.status, lag=await self.history.pending())
            except StoreUnavailable as error:
                log.warning("no sign of life given: %s", error)
            await asyncio.sleep(EVERY)


def _events(history: UserHistory, count: int, row_of: NDArray[np.int64], scale: RatingScale) -> tuple[Events, int]:
    """A stored history as the learner takes it, and how many of its newest `count` are there; items that are not in the
    catalogue and kinds that no one knows are passed over."""
    records = history.records
    handles = records["handle"].astype(np.int64)
    rows = row_of[np.minimum(handles, len(row_of) - 1)]
    kept = (handles < len(row_of)) & (rows >= 0) & (records["kind"] < len(KINDS))
    kinds = records["kind"][kept].astype(np.int64)
    events = Events(rows[kept], kinds, scale.preference(kinds, records["value"][kept]), in_order(records["time"]))
    return events, int(kept[max(len(kept) - count, 0) :].sum())
