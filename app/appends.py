"""Appends of many requests, sent together: what comes while a round trip is under way makes the next one."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import accumulate, islice
from typing import Any

from redis.asyncio import Redis

from app.store import Script
from app.wire import Wire

Call = tuple[Sequence[str], Sequence[Any]]
"""A script's keys and arguments."""

MOST = 1000
"""Calls in a round trip, but for a single request with more: its reply must come before the wire gives up."""


class Appends:
    """One script, called by many at once. What fails, fails for all who were sent together, MOST calls about."""

    def __init__(self, redis: Redis, script: Script, wire: Wire | None) -> None:
        self._redis, self._script, self._wire = redis, script, wire
        self._waiting: list[tuple[Sequence[Call], asyncio.Future[list[Any]]]] = []
        self._sending: asyncio.Task[None] | None = None

    async def run(self, calls: Sequence[Call]) -> list[Any]:
        """A reply a call. Raises StoreUnavailable: some calls may have been made."""
        answered: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        self._waiting.append((calls, answered))
        if self._sending is None:
            self._sending = asyncio.create_task(self._send(), name="appends")
        return await answered

    async def _send(self) -> None:
        try:
            while self._waiting:
                sizes = accumulate(len(calls) for calls, _ in self._waiting)
                count = 1 + sum(size < MOST for size in sizes)
                together, self._waiting = self._waiting[:count], self._waiting[count:]
                try:
                    every = [call for calls, _ in together for call in calls]
                    replies = iter(await self._script.run(self._redis, every, self._wire))
                except Exception as error:  # each of them has to know
                    for _, answered in together:
                        if not answered.done():
                            answered.set_exception(error)
                    continue
                for calls, answered in together:
                    mine = list(islice(replies, len(calls)))
                    if not answered.done():
                        answered.set_result(mine)
        finally:
            self._sending = None
