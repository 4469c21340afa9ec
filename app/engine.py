"""The engine owns the device: one queue, one loop, one thread; what waits when it falls idle is the next batch."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter
from typing import NamedTuple, Protocol

import torch

from app.errors import NotReady, Overloaded, StoreUnavailable
from app.query import Answer, Query, Records
from app.served import Served

log = logging.getLogger(__name__)

Reader = Callable[[Sequence[str]], Awaitable[Sequence[Records]]]
"""Reads the stored histories of a batch's users, in their order. May swap in a newer `Served` before it returns."""


class Observer(Protocol):
    """Told what the engine does, as it does it."""

    def stage(self, name: str, seconds: float) -> None:
        """A batch spent this long in `redis` or `compute`; a query, in `queue`."""

    def batch(self, size: int) -> None:
        """So many queries are computed together."""

    def shed(self) -> None:
        """A query was refused because the queue was full."""

    def fallback(self, reason: str) -> None:
        """A query was answered without its user's history."""


class Waiting(NamedTuple):
    """A query in the queue, and who waits for its answer."""

    query: Query
    answer: asyncio.Future[Answer]
    since: float


class Engine:
    """Answers queries in batches. Start it on the loop it is to live on; `close` lets the queue drain."""

    def __init__(self, read: Reader, observer: Observer, *, max_batch: int, queue_limit: int, threads: int) -> None:
        """Args:
        read: the way to the stored histories.
        max_batch: the most queries computed together.
        queue_limit: the most queries that may wait; one more is refused.
        threads: threads of a computation on the CPU.
        """
        self._reader = read
        self._observer = observer
        self._max_batch = max_batch
        self._queue_limit = queue_limit
        self._device_thread = ThreadPoolExecutor(1, "engine", initializer=torch.set_num_threads, initargs=(threads,))
        self._queue: deque[Waiting] = deque()
        self._batch: list[Waiting] = []  # what is being answered
        self._arrived = asyncio.Event()
        self._closing = False
        self._loop: asyncio.Task[None] | None = None
        self._served: Served | None = None
        self._batch_seconds = 0.0

    @property
    def alive(self) -> bool:
        """Whether queries are being answered."""
        return self._loop is not None and not self._loop.done()

    @property
    def depth(self) -> int:
        """How many queries wait."""
        return len(self._queue)

    @property
    def served(self) -> Served:
        """What the next batch is answered from. Raises NotReady before the first `swap`."""
        if self._served is None:
            raise NotReady("No snapshot has been loaded yet.")
        return self._served

    def swap(self, served: Served) -> None:
        """Answer from `served` from the next batch on; a batch being computed keeps what it began with."""
        self._served = served

    def start(self) -> None:
        self._loop = asyncio.create_task(self._run(), name="engine")

    async def close(self) -> None:
        """Answer what waits, then stop."""
        self._closing = True
        self._arrived.set()
        if self._loop is not None:
            await asyncio.wait([self._loop])
        self._device_thread.shutdown()

    async def ask(self, query: Query) -> Answer:
        """Queue a query and wait for its answer.

        Raises:
            Overloaded: too many wait already.
            NotReady: the engine is not running, or died meanwhile, or has nothing to serve.
        """
        if not self.alive or self._closing:
            raise NotReady("The engine is not running.")
        if len(self._queue) >= self._queue_limit:
            self._observer.shed()
            raise Overloaded(f"{len(self._queue)} requests are waiting already.", retry_after=self._drain_seconds())
        waiting = Waiting(query, asyncio.get_running_loop().create_future(), perf_counter())
        self._queue.append(waiting)
        self._arrived.set()
        return await waiting.answer

    async def _run(self) -> None:
        try:
            while batch := await self._collect():
                try:
                    records = await self._read(batch)
                    answers = await self._compute(batch, records)
                except Exception as error:
                    log.exception("a batch of %d queries failed", len(batch))
                    self._fail(batch, error)
                else:
                    self._resolve(batch, answers)
        except Exception:
            log.exception("the engine died")
        finally:
            self._fail([*self._batch, *self._queue], NotReady("The engine has stopped."))
            self._queue.clear()

    async def _collect(self) -> list[Waiting]:
        """Wait for queries and take what is there, at most `max_batch`; nothing when closing and none is left."""
        self._batch = []
        while not self._batch:
            if not self._queue:
                if self._closing:
                    return []
                self._arrived.clear()
                await self._arrived.wait()
            while self._queue and len(self._batch) < self._max_batch:
                waiting = self._queue.popleft()
                if not waiting.answer.done():  # else its client has left
                    self._batch.append(waiting)
        now = perf_counter()
        for waiting in self._batch:
            self._observer.stage("queue", now - waiting.since)
        self._observer.batch(len(self._batch))
        return self._batch

    async def _read(self, batch: Sequence[Waiting]) -> list[Records | None]:
        """The stored history of each query, in one round trip; None for one that needs none, or could not be read."""
        started = perf_counter()
        users = [waiting.query.user for waiting in batch if waiting.query.stored and waiting.query.user is not None]
        found: Sequence[Records | None]
        try:
            found = await self._reader(users)
        except StoreUnavailable:
            found = [None] * len(users)
            for _ in users:
                self._observer.fallback("store-unavailable")
        self._observer.stage("redis", perf_counter() - started)
        rest = iter(found)
        return [next(rest) if waiting.query.stored else None for waiting in batch]

    async def _compute(self, batch: Sequence[Waiting], records: Sequence[Records | None]) -> list[Answer]:
        started = perf_counter()
        queries = [waiting.query for waiting in batch]
        loop = asyncio.get_running_loop()
        answers = await loop.run_in_executor(self._device_thread, self.served.answer, queries, records)
        seconds = perf_counter() - started
        self._observer.stage("compute", seconds)
        self._batch_seconds = 0.8 * self._batch_seconds + 0.2 * seconds if self._batch_seconds else seconds
        return answers

    def _resolve(self, batch: Sequence[Waiting], answers: Sequence[Answer]) -> None:
        for waiting, answer in zip(batch, answers, strict=True):
            if not waiting.answer.done():
                waiting.answer.set_result(answer)

    def _fail(self, batch: Sequence[Waiting], error: Exception) -> None:
        for waiting in batch:
            if not waiting.answer.done():
                waiting.answer.set_exception(error)

    def _drain_seconds(self) -> float:
        """About how long the queue takes to empty, from how long recent batches took."""
        return self._batch_seconds * (1 + len(self._queue) / self._max_batch)
