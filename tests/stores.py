"""A store for an engine without Redis, which does what a test needs a store to do; and the engine held up by it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from app.engine import Engine
from app.event import RECORD, UserHistory
from app.query import Query
from app.served import Served


class Store:
    """Histories in memory, with a gate to hold a batch at and a fault to raise."""

    def __init__(self) -> None:
        self.histories: dict[str, list[int]] = {}
        self.asked: list[list[str]] = []
        self.reached = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()
        self.fault: Exception | None = None

    async def read(self, users: Sequence[str]) -> list[UserHistory]:
        self.asked.append(list(users))
        self.reached.set()
        await self.gate.wait()
        if self.fault is not None:
            raise self.fault
        return [self.records(user) for user in users]

    def records(self, user: str) -> UserHistory:
        out = np.zeros(len(self.histories.get(user, [])), RECORD)
        out["handle"], out["value"], out["time"] = self.histories.get(user, []), np.nan, np.arange(len(out))
        return UserHistory(sum(self.histories.get(user, [])), out.tobytes())


async def held(engine: Engine, store: Store, *queries: Query) -> list[asyncio.Task[list[str]]]:
    """Queries sent while the first of them holds the engine at the store."""

    async def items(query: Query) -> list[str]:
        return (await engine.ask(query)).items

    store.gate.clear()
    tasks = []
    for query in queries:
        tasks.append(asyncio.create_task(items(query)))
        await asyncio.sleep(0)
        if len(tasks) == 1:
            await store.reached.wait()
    await asyncio.sleep(0.01)
    return tasks


@contextmanager
def busy(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Within it a batch that is computed does not come to its end; the event is set once one has begun."""
    begun, go = threading.Event(), threading.Event()
    compute = Served.compute

    def slow(self: Served, *given: Any) -> Any:
        begun.set()
        go.wait(10)
        return compute(self, *given)

    monkeypatch.setattr(Served, "compute", slow)
    monkeypatch.setattr(Served, "quick", lambda *given: False)  # the loop would wait itself
    try:
        yield begun
    finally:
        go.set()
