"""Which snapshot is served, and which comes after it: the first, the one that `current` moves to, and the way back.

A snapshot is loaded and warmed aside and swapped in between two batches. One that cannot be is left out, and the one
before goes on.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol

import torch

from app.engine import Engine
from app.errors import SnapshotRefused, StoreUnavailable
from app.served import Served
from models import snapshot
from models.device import find
from models.learner import Learner
from models.manifest import manifest_of, pinned
from models.snapshot import Snapshot, SnapshotError

log = logging.getLogger(__name__)

Prepare = Callable[[Snapshot, Learner, bool], Awaitable[Served]]
"""Makes a snapshot ready to answer: with the catalogue as it is, and warm. Where Redis is away it raises
StoreUnavailable, unless it is told to do without."""

Latest = Callable[[Served], Awaitable[Served]]
"""The same snapshot with the catalogue as it has become meanwhile."""


class Observer(Protocol):
    """Told what is served, and what is not."""

    def serving(self, version: str, created: str) -> None:
        """This snapshot answers from now on; `created` is an ISO time."""

    def swap_failed(self, reason: str) -> None:
        """A snapshot was left out: it is `unreadable`, or its loading `failed` for another reason."""


class Succession:
    """Follows a snapshots folder for one engine."""

    def __init__(
        self, path: Path, engine: Engine, prepare: Prepare, latest: Latest, observer: Observer, device: str
    ) -> None:
        """Args:
        path: a snapshots folder or its `current`, both followed as they move, or one version, to stay on.
        device: `auto`, or what torch calls it.
        """
        self._root = path.parent if path.name == snapshot.CURRENT else path
        self._pinned = path if pinned(path) else None
        self._engine = engine
        self._prepare, self._latest = prepare, latest
        self._observer = observer
        self._device = find(device)
        self._pointer: str | None = None  # where `current` pointed when it was last acted on
        self._swapping = asyncio.Lock()
        self.failures: Counter[str] = Counter()

    async def begin(self) -> None:
        """Serve the current snapshot or, where it is not sound, the nearest of its ancestors that is, or some other.

        Raises SnapshotError where there is none.
        """
        if self._pinned is not None:
            await self._serve(await self._load(self._pinned))
            return
        self._pointer = snapshot.current(self._root)
        refused: SnapshotError | None = None
        for version in _line(self._root, self._pointer):
            try:
                await self._serve(await self._load(self._root / version))
                return
            except SnapshotError as error:
                self._leave_out(version, "unreadable")
                refused = refused or error
        if refused is not None:
            raise refused

    async def follow(self) -> None:
        """Serve what `current` points at, if it has moved. What cannot be served is tried again when it moves again."""
        if self._pinned is not None:
            return
        async with self._swapping:
            await self._catch_up()

    async def go_back(self) -> None:
        """Publish and serve the parent of what is served, or what is served where `current` points elsewhere.

        A `current` that has moved unseen is followed first: it may be someone's way back already.

        Raises SnapshotRefused where there is no sound version to go back to; nothing is published then.
        """
        if self._pinned is not None:
            raise SnapshotRefused("This service was started on one version and stays on it.")
        async with self._swapping:
            await self._catch_up()
            served = self._engine.served
            astray = snapshot.current(self._root) != served.snapshot.version
            version = served.snapshot.version if astray else served.manifest.parent
            if version is None:
                raise SnapshotRefused("The snapshot that is served has no parent to go back to.")
            try:
                target = served if astray else await self._load(self._root / version, served.snapshot)
                await asyncio.to_thread(snapshot.publish, self._root, version)
            except (SnapshotError, OSError) as error:
                log.exception("no way back to snapshot %s", version)
                raise SnapshotRefused(f"Version {version} cannot be gone back to; the log says why.") from error
            self._pointer = version
            if not astray:
                # At once: whoever goes back does not want another answer of what is served.
                self._engine.swap(target)
                self._say(target)

    async def _catch_up(self) -> None:
        pointer = snapshot.current(self._root)
        if pointer is None or pointer == self._pointer:
            return
        before, self._pointer = self._pointer, pointer
        beside = self._engine.served.snapshot
        if pointer == beside.version:
            return
        try:
            await self._serve(await self._load(self._root / pointer, beside, unhurried=True))
        except StoreUnavailable:
            self._pointer = before  # to be tried again: there is nothing wrong with the snapshot
            raise
        except SnapshotError:
            self._leave_out(pointer, "unreadable")
        except Exception:
            self._leave_out(pointer, "failed")

    async def _load(self, folder: Path, beside: Snapshot | None = None, unhurried: bool = False) -> Served:
        found, learner = await asyncio.to_thread(_restore, folder, self._device, beside, unhurried)
        return await self._prepare(found, learner, not unhurried)

    async def _serve(self, served: Served) -> None:
        await self._engine.succeed(served, self._latest)
        self._say(served)

    def _say(self, served: Served) -> None:
        self._observer.serving(served.manifest.version, served.manifest.created)
        log.info("serving snapshot %s on %s", served.manifest.version, self._device)

    def _leave_out(self, version: str, reason: str) -> None:
        log.exception("snapshot %s is not served: %s", version, reason)
        self.failures[reason] += 1
        self._observer.swap_failed(reason)


def _line(root: Path, pointer: str | None) -> list[str]:
    """The versions to try, in order: what `current` points at, its ancestors, then the others, the newest first.

    Those newer than `current` come last: they were gone back from, or never published.
    """
    known = snapshot.versions(root)
    if pointer is None:
        return [snapshot.CURRENT, *reversed(known)]
    line, version = [pointer], _parent(root / pointer)
    while version in known and version not in line:
        line.append(version)
        version = _parent(root / version)
    others = [version for version in reversed(known) if version not in line]
    return line + sorted(others, key=lambda version: version > pointer)  # stable: still the newest first


def _parent(folder: Path) -> str | None:
    try:
        return manifest_of(folder).parent
    except SnapshotError:
        return None


def _restore(folder: Path, device: torch.device, beside: Snapshot | None, unhurried: bool) -> tuple[Snapshot, Learner]:
    found = snapshot.read(folder, beside, unhurried)
    try:
        return found, Learner.restore(found).to(device)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise SnapshotError(f"{folder} holds no learner that this innerloop can restore: {error}") from error
