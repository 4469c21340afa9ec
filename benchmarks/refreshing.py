"""The worker's refreshes, without the service: a snapshot that learns from a stream, so many events at a time."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from benchmarks.stream import KEPT, Stream
from benchmarks.task import Say
from models.content import DEFAULT_MODEL
from models.dataset import Dataset
from models.manifest import FORMAT, Manifest
from models.progress import Progress
from models.recipe import Plan, follow
from models.refresh import PATIENCE, Fresh, RefreshConfig, refresh
from models.snapshot import Snapshot


def trained(dataset: Dataset, content: NDArray[np.float32], plan: Plan, say: Say) -> Snapshot:
    """Train on a data set from nothing, as `innerloop train` does; the snapshot stays in memory."""

    def show(at: Progress) -> None:
        if at.ended:
            say(f"  {at}")

    found = follow(dataset, content, plan, progress=show)
    manifest = Manifest(
        format=FORMAT,
        version="in memory",
        parent=None,
        created=datetime.now(UTC).isoformat(),
        config=found.config,
        content_model=DEFAULT_MODEL,
        scale=(dataset.scale.low, dataset.scale.high),
        metrics=found.metrics,
        items=len(dataset.items),
        data={"name": dataset.name},
        checksums={},
    )
    return Snapshot(manifest, {name: tensor.detach().clone() for name, tensor in found.tensors.items()}, dataset.items)


class Refreshing:
    """The snapshot as it stands, and how many events of which users wait for enough others to be judged by."""

    def __init__(
        self, stream: Stream, snapshot: Snapshot, events: int, seed: int, config: RefreshConfig | None = None
    ) -> None:
        """`events`: fresh ones a refresh."""
        self.config = config or RefreshConfig()
        self.stream, self.snapshot, self.events, self.seed = stream, snapshot, events, seed
        self.waiting = Counter[int]()
        self.judged = set[int]()

    def learn(self, start: int, end: int) -> tuple[int, int]:
        """Refresh on the events from `start` to `end`; how many refreshes, and how many of them were published."""
        tried = published = 0
        for first in range(start, end, self.events):
            last = min(first + self.events, end)
            self.waiting.update(self.stream.user[first:last].tolist())
            users = list(self.waiting)
            fresh = [
                Fresh(self.stream.history(user, last), min(self.waiting[user], KEPT), user in self.judged)
                for user in users
            ]
            items = self.stream.corpus.dataset.items[: self.stream.items_before(last)]
            new = range(len(self.snapshot.items), len(items))
            content = {items[row].id: self.stream.corpus.content[row] for row in new}
            config = replace(self.config, seed=self.seed + first)
            refreshed = refresh(self.snapshot, fresh, items, content, config)
            tried += 1
            if refreshed.verdict.publish:
                published += 1
                tensors = {name: tensor.detach().clone() for name, tensor in refreshed.tensors.items()}
                manifest = replace(self.snapshot.manifest, items=len(items))
                self.snapshot = Snapshot(manifest, tensors, tuple(items))
                self.judged = {users[at] for at in refreshed.judges}
                self.waiting = Counter({user: self.waiting[user] for user in self.judged})
            elif self.waiting.total() >= PATIENCE * self.events:
                self.waiting.clear()
        return tried, published
