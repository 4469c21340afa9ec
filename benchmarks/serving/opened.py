"""The open loop: requests at set moments, whatever becomes of those before; latency counts from the intended moment.

A closed loop waits out a stall and hardly sees it; here whoever would have come meanwhile counts as kept waiting.
"""

from __future__ import annotations

import asyncio
import math
import multiprocessing
import random
import time
from collections import deque
from dataclasses import dataclass
from multiprocessing.synchronize import Barrier
from typing import cast

import numpy as np
import uvloop
from numpy.typing import NDArray

from benchmarks.serving.closed import Load

WARM_SECONDS = 0.5
STARTED_WITHIN = 60.0  # seconds that the processes wait for one another

Planned = tuple[float, bool, bytes]
"""When a request is due, whether its answer counts as one, and the request."""


@dataclass(frozen=True, slots=True)
class Opened:
    """What came of it; times in ms. `late` is the share of requests that no answer came to."""

    rate: float
    p50: float
    p99: float
    worst: float
    faults: int
    late: float


class Connection(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self, free: deque[Connection], queue: deque[Planned], found: list[tuple[float, float]]):
        self.free, self.queue, self.found = free, queue, found
        self.transport: asyncio.Transport | None = None
        self.intended, self.counted = 0.0, True
        self.awaited = 0  # bytes of the answer still to come, once its head is here
        self.head = b""
        self.faults = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is one by its methods alone
        self.free.append(self)

    def send(self, planned: Planned) -> None:
        """Ask now what was to be asked then."""
        assert self.transport is not None
        self.intended, self.counted, request = planned
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        if not self.awaited:
            self.head += data
            end = self.head.find(b"\r\n\r\n")
            if end < 0:
                return
            at = self.head.index(b"content-length: ") + 16  # as uvicorn writes it
            length = int(self.head[at : self.head.index(b"\r\n", at)])
            self.faults += self.head[9:12] not in (b"200", b"202")
            self.awaited, data, self.head = length, self.head[end + 4 :], b""
        self.awaited -= len(data)
        if self.awaited <= 0:
            self.awaited = 0
            if self.counted:
                self.found.append((self.intended, time.perf_counter() - self.intended))
            if self.queue:
                self.send(self.queue.popleft())
            else:
                self.free.append(self)


@dataclass(frozen=True, slots=True)
class Recording:
    """Every answer to a question: when it was due, by time.perf_counter, and how long it took, (n,) each, in seconds.

    Events are sent too, but what they take is not among these.
    """

    due: NDArray[np.float64]
    took: NDArray[np.float64]
    seconds: float
    meant: int
    faults: int

    def between(self, since: float, until: float) -> dict[str, float]:
        """p50 and p99 of what was due then, in ms; no numbers where nothing was."""
        took = self.took[(self.due >= since) & (self.due < until)] * 1000
        if not len(took):
            return {"p50": math.nan, "p99": math.nan, "answers": 0}
        return {"p50": float(np.percentile(took, 50)), "p99": float(np.percentile(took, 99)), "answers": len(took)}

    def whole(self) -> Opened:
        """All of it, summed up."""
        p50, p99 = np.percentile(self.took * 1000, [50, 99])
        late = 1 - len(self.took) / self.meant
        rate = len(self.took) / self.seconds
        return Opened(rate, float(p50), float(p99), float(self.took.max() * 1000), self.faults, late)


def open_loop(port: int, load: Load, rate: float, processes: int = 2) -> Recording:
    """Load a local server at `rate` questions a second, and the events before some of them.

    Several processes send them, with `load.connections` in all.
    """
    context = multiprocessing.get_context("spawn")
    with context.Pool(processes, initializer=_meet, initargs=(context.Barrier(processes),)) as pool:
        share = [
            (port, load, rate / processes, max(1, load.connections // processes), seed) for seed in range(processes)
        ]
        parts = pool.starmap(_generate, share)
    answers = np.concatenate([np.array(found).reshape(-1, 2) for found, _, _ in parts])
    meant, faults = sum(part[1] for part in parts), sum(part[2] for part in parts)
    return Recording(answers[:, 0], answers[:, 1], load.seconds, meant, faults)


_everyone: list[Barrier] = []


def _meet(barrier: Barrier) -> None:
    """Remember where to wait for the other processes: one that still starts would load the machine, not the server."""
    _everyone.append(barrier)


def _generate(
    port: int, load: Load, rate: float, connections: int, seed: int
) -> tuple[list[tuple[float, float]], int, int]:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_drive(port, load, rate, connections, random.Random(seed)))


async def _drive(
    port: int, load: Load, rate: float, connections: int, rng: random.Random
) -> tuple[list[tuple[float, float]], int, int]:
    """(when each answer was due and how long it took, requests that were due, faults)."""
    free: deque[Connection] = deque()
    queue: deque[Planned] = deque()
    found: list[tuple[float, float]] = []
    loop = asyncio.get_running_loop()
    plan = _plan(load, rate, rng)
    made = [
        (await loop.create_connection(lambda: Connection(free, queue, found), "127.0.0.1", port))[1]
        for _ in range(connections)
    ]
    await loop.run_in_executor(None, _everyone[-1].wait, STARTED_WITHIN)
    start = time.perf_counter() + 0.05
    for after, counted, request in plan:
        due = start + after
        wait = due - time.perf_counter()
        if wait > 0:
            await asyncio.sleep(wait)
        if free:
            free.popleft().send((due, counted, request))
        else:
            queue.append((due, counted, request))
    patience = time.perf_counter() + 2
    while len(free) < connections and time.perf_counter() < patience:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    for connection in made:
        assert connection.transport is not None
        connection.transport.abort()
    measured = start + WARM_SECONDS
    sent = sum(counted and after >= WARM_SECONDS for after, counted, _ in plan)
    return [each for each in found if each[0] >= measured], sent, sum(each.faults for each in made)


def _plan(load: Load, rate: float, rng: random.Random) -> list[Planned]:
    """Every request and when it is due, in seconds from the start: made beforehand, for the generator costs too."""
    plan: list[Planned] = []
    due = 0.0
    while due < WARM_SECONDS + load.seconds:
        *events, question = _requests(load, rng)
        plan += [*((due, False, event) for event in events), (due, True, question)]
        due += rng.expovariate(rate)
    return plan


def _requests(load: Load, rng: random.Random) -> list[bytes]:
    """One question, and before it an event for a share of them."""
    user = rng.randrange(load.users)
    asks = [_post(load.path, f'{{"user_id":"u{user}","k":10}}')]
    if rng.random() < load.share:
        item = rng.randrange(load.items)
        asks.insert(0, _post("/events", f'{{"user_id":"u{user}","item_id":"i{item}","kind":"view"}}'))
    return asks


def _post(path: str, body: str) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {len(body)}"
    return f"{head}\r\n\r\n{body}".encode()
