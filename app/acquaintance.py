"""A new snapshot gets to know who was here of late before it is served: else all would have to be computed at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from time import perf_counter

from app.adapted import Adapted
from app.errors import StoreUnavailable
from app.event import UserHistory
from app.query import Query
from app.served import Outcome, Served

PAGE = 32
"""Users at a time. Of fewer each costs more, and whoever is met and then acts must be adapted to again: what takes long
is out of date when it is done. Behind more, whoever asks meanwhile waits longer for the device."""

LONGEST = 60.0
"""Seconds at most that a snapshot is held back for it. Who has not been met by then is computed when asked for; where
that is most of those who ask, everyone waits."""

Read = Callable[[Sequence[str]], Awaitable[Sequence[UserHistory]]]
Compute = Callable[[Served, Sequence[Query], Sequence[UserHistory]], Awaitable[Outcome]]
"""On the device, in turn with everyone else."""


class Acquaintance:
    """Who is known to a snapshot that is to be served next."""

    def __init__(self, capacity: int) -> None:
        self.adapted = Adapted(capacity)
        self._meeting: set[str] = set()

    def forget(self, user: str | None) -> None:
        """This user, or everyone: neither one who is known nor one who is just being computed is kept."""
        if user is None:
            self.adapted.clear()
            self._meeting.clear()
        else:
            self.adapted.forget(user)
            self._meeting.discard(user)

    async def meet(self, users: Sequence[str], served: Served, read: Read, compute: Compute) -> None:
        """Read and compute users, the first first, until LONGEST is over or Redis is away.

        The device is left to who is waiting for half of the time.
        """
        try:
            await self._meet(users, served, read, compute)
        finally:
            self.adapted.turn()

    async def _meet(self, users: Sequence[str], served: Served, read: Read, compute: Compute) -> None:
        end = perf_counter() + LONGEST
        for start in range(0, len(users), PAGE):
            began = perf_counter()
            if began > end:
                return
            page = users[start : start + PAGE]
            self._meeting = set(page)
            try:
                histories = await read(page)
            except StoreUnavailable:
                return  # who is not known is computed when asked for
            queries = [Query(user=user) for user in page]
            outcome = await compute(served, queries, histories)
            met = zip(page, queries, histories, *outcome, strict=True)
            for user, query, history, answer, vector, complete, trail in met:
                if user in self._meeting and vector is not None:
                    self.adapted.keep(query, history, vector, answer, complete=complete, trail=trail)
            await asyncio.sleep(perf_counter() - began)
