"""The engine: a queue, a loop that reads, and a loop that owns the device.

What waits when the reader falls idle is read together; who is known by that version of the history is answered at once.
The others are computed together when the device falls idle: few by compiled calls on the loop itself, as another thread
would take longer to win the interpreter, more on the one thread that uses the device.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from time import perf_counter

import torch

from app.acquaintance import Read
from app.adapting import Trail, Vector
from app.errors import NotReady, Overloaded, StoreUnavailable
from app.event import UserHistory
from app.memory import Memory
from app.priority import make_way
from app.query import Answer, Query
from app.served import Outcome, Served
from app.waiting import Line, Observer, Waiting, alike, fail

log = logging.getLogger(__name__)

NICE = 5
"""How much the device's thread makes way for the event loop, which keeps everyone waiting when it does not run."""


class Engine:
    """Answers queries in batches. Start it on the loop it is to live on; `close` lets the queue drain."""

    def __init__(
        self, read: Read, observer: Observer, *, max_batch: int, queue_limit: int, threads: int, remembered: int = 0
    ) -> None:
        """Args:
        read: the way to the stored histories.
        max_batch: the most users read together, or computed together; a request for more of them goes by itself.
        queue_limit: the most users that may wait; one more is refused.
        threads: threads of a computation on the CPU.
        remembered: the most users whose vectors are kept.
        """
        self._read_stored = read
        self._observer = observer
        self._max_batch = max_batch
        self._queue_limit = queue_limit
        self._device_thread = ThreadPoolExecutor(1, "engine", initializer=_begin, initargs=(threads,))
        self._memory = Memory(remembered, read, self._on_device)
        self._queue = Line()
        self._reading: list[Waiting] = []
        self._unknown = Line()  # read, and waiting for the device
        self._computing: list[Waiting] = []
        self._arrived, self._wanted = asyncio.Event(), asyncio.Event()
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
        """For how many users answers are waited for."""
        return self._queue.users + self._unknown.users

    @property
    def served(self) -> Served:
        """What the next batch is answered from. Raises NotReady before the first `swap`."""
        if self._served is None:
            raise NotReady("No snapshot has been loaded yet.")
        return self._served

    def swap(self, served: Served) -> None:
        """Answer from `served` from the next batch on; a batch being computed keeps what it began with."""
        same = self._served is not None and self._served.snapshot is served.snapshot
        self._serve(served)
        if same:
            self._memory.adapted.renewed()
        else:
            self._memory.adapted.clear()

    async def succeed(self, served: Served, latest: Callable[[Served], Awaitable[Served]]) -> None:
        """Swap, and know at once whom the one before knew of late, with the catalogue as it is by then.

        What fails is raised, and what was served before goes on.

        Args:
            latest: gives `served` with the catalogue as it has become meanwhile.
        """
        adapted = await self._memory.meet(served)
        newest = await latest(served)
        if newest is not served:
            adapted.renewed()
        self._serve(newest)
        await self._memory.turn_to(adapted)

    def _serve(self, served: Served) -> None:
        self._served = served
        for waiting in self._unknown:
            waiting.doubt()

    def forget(self, user: str | None = None) -> None:
        """Keep no vector of this user, or of anyone: neither one at hand nor one that is still being computed."""
        for waiting in (*self._reading, *self._unknown, *self._computing):
            waiting.forget(user)
        self._memory.forget(user)

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
        (answer,) = await self._enter(query, (query.user,))
        return answer

    async def ask_all(self, query: Query, users: Sequence[str]) -> list[Answer]:
        """As `ask`, for each of these users, whichever of them the query names: all of them are taken, or none."""
        return await self._enter(query, users)

    def _enter(self, query: Query, users: Sequence[str | None]) -> asyncio.Future[list[Answer]]:
        if not self.alive or self._closing:
            raise NotReady("The engine is not running.")
        # Where nobody waits even more than the limit are taken, or they never could be.
        if self.depth and self.depth + len(users) > self._queue_limit:
            self._observer.shed()
            raise Overloaded(f"{self.depth} users' answers are waited for already.", retry_after=self._drain_seconds())
        waiting = Waiting(query, users, asyncio.get_running_loop().create_future(), perf_counter())
        self._queue.join(waiting)
        self._arrived.set()
        return waiting.given

    async def _run(self) -> None:
        try:
            async with asyncio.TaskGroup() as loops:
                loops.create_task(self._own_device(loops.create_task(self._read_all(), name="reader")), name="device")
        except Exception:
            log.exception("the engine died")
        finally:
            everyone = [*self._reading, *self._queue, *self._unknown, *self._computing]
            fail(everyone, NotReady("The engine has stopped."))
            self._queue, self._unknown = Line(), Line()

    async def _read_all(self) -> None:
        """Read batch after batch, and answer who is known."""
        while batch := await self._collect():
            try:
                await self._read(batch)
            except Exception as error:
                log.exception("a batch of %d requests could not be read", len(batch))
                fail(batch, error)
                continue
            for waiting in batch:
                if not self._memory.answered(waiting):
                    self._unknown.join(waiting)
            self._reading = []
            if self._unknown:
                self._wanted.set()

    async def _own_device(self, reader: asyncio.Task[None]) -> None:
        """Compute batch after batch, for as long as the reader brings any."""
        reader.add_done_callback(lambda _: self._wanted.set())
        while True:
            taken = self._unknown.take(self._max_batch)
            self._computing = [waiting for waiting in taken if not self._memory.answered(waiting)]
            if self._computing:
                self._observer.batch(sum([len(waiting.left) for waiting in self._computing]))
                try:
                    await self._compute(self._computing)
                except Exception as error:
                    log.exception("a batch of %d requests failed", len(self._computing))
                    fail(self._computing, error)
                await asyncio.sleep(0)  # a batch that the loop computed itself is answered before the next
            elif taken:
                continue
            elif reader.done():
                return
            else:
                self._wanted.clear()
                await self._wanted.wait()

    async def _collect(self) -> list[Waiting]:
        """Wait for queries and take what is there, up to `max_batch`; nothing when closing and none is left."""
        batch: list[Waiting] = []
        while not batch:
            if not self._queue:
                if self._closing:
                    return []
                self._arrived.clear()
                await self._arrived.wait()
            batch = self._queue.take(self._max_batch)
        self._reading = batch
        now = perf_counter()
        for waiting in batch:
            self._observer.stage("queue", now - waiting.since)
        return batch

    async def _read(self, batch: Sequence[Waiting]) -> None:
        """Bring the stored history of each query in one round trip; None stays where it could not be read."""
        started = perf_counter()
        stored = [waiting for waiting in batch if waiting.query.stored]
        users = dict.fromkeys([user for waiting in stored for user in waiting.users if user is not None])
        try:
            found: dict[str | None, UserHistory]
            found = dict(zip(users, await self._read_stored(list(users)), strict=True))
            for waiting in stored:
                waiting.histories = [found[user] for user in waiting.users]
        except StoreUnavailable:
            for _ in range(sum([len(waiting.users) for waiting in stored])):
                self._observer.fallback("store-unavailable")
        self._observer.stage("redis", perf_counter() - started)

    async def _compute(self, batch: Sequence[Waiting]) -> None:
        started = perf_counter()
        served = self.served
        firsts, others = alike(batch)
        outcome = await self._on_device(
            served,
            [waiting.query for waiting, _ in firsts],
            [waiting.histories[at] for waiting, at in firsts],
            [waiting.trails[at] for waiting, at in firsts],
            [known.vector if (known := waiting.known[at]) else None for waiting, at in firsts],
        )
        if served is self._served:
            self._memory.keep(firsts, outcome)
        for (waiting, at), answer in zip(firsts, outcome.answers, strict=True):
            waiting.answers[at] = answer
        for number, (waiting, at) in others:
            waiting.answers[at] = outcome.answers[number]
        for waiting in batch:
            waiting.give()
        seconds = perf_counter() - started
        self._observer.stage("compute", seconds)
        self._batch_seconds = 0.8 * self._batch_seconds + 0.2 * seconds if self._batch_seconds else seconds

    async def _on_device(
        self,
        served: Served,
        queries: Sequence[Query],
        histories: Sequence[UserHistory | None],
        trails: Sequence[Trail | None],
        known: Sequence[Vector | None] | None = None,
    ) -> Outcome:
        known = known or [None] * len(queries)
        if served.quick(queries, histories, known, trails):
            return served.compute(queries, histories, known, trails)
        work = partial(served.compute, queries, histories, known, trails)
        return await asyncio.get_running_loop().run_in_executor(self._device_thread, work)

    def _drain_seconds(self) -> float:
        """About how long the queue takes to empty, from how long recent batches took."""
        return self._batch_seconds * (1 + self.depth / self._max_batch)


def _begin(threads: int) -> None:
    torch.set_num_threads(threads)
    make_way(NICE)
