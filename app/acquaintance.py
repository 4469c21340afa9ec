"""A new snapshot gets to know who was here of late before it is served: else all would have to be computed at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from time import perf_counter

from app.adapted import Adapted
from app.adapting import Trail
from app.errors import StoreUnavailable
from app.event import UserHistory
from app.query import Query
from app.served import Outcome, Served

PAGE = 24
"""Users at a time: about as many as the loop computes itself. Of fewer each costs more, behind more others wait."""

REST = 2.0
"""How long the loop and the device are left to who is waiting after each, in times of what it took."""

LONGEST = 60.0
"""Seconds at most that a snapshot is held back for it. Who has not been met by then is computed when asked for; where
that is most of those who ask, everyone waits."""

Read = Callable[[Sequence[str]], Awaitable[Sequence[UserHistory]]]
"""Reads the stored histories of users, in their order. May swap in a newer `Served` before it returns."""

Compute = Callable[[Served, Sequence[Query], Sequence[UserHistory], Sequence[Trail | None]], Awaitable[Outcome]]
"""On the device, or on the loop where that is quick."""


class Acquaintance:
    """Who is known to a snapshot that is to be served next."""

    def __init__(self, capacity: int, served: Served, read: Read, compute: Compute) -> None:
        self.adapted = Adapted(capacity)
        self._served, self._read, self._compute = served, read, compute
        self._meeting: set[str] = set()
        self._moved: dict[str, None] = {}  # who was adapted to anew by the snapshot before, the latest last

    def forget(self, user: str | None) -> None:
        """This user, or everyone: neither one who is known nor one who is just being computed is kept."""
        if user is None:
            self.adapted.clear()
            self._meeting.clear()
            self._moved.clear()
        else:
            self.adapted.forget(user)
            self._meeting.discard(user)
            self._moved.pop(user, None)

    def moved(self, user: str) -> None:
        """This user has acted meanwhile, and is to be met again."""
        self._moved.pop(user, None)
        self._moved[user] = None

    async def meet(self, users: Sequence[str]) -> None:
        """Read and compute users, the first first, then those who have acted since, for as long as they halve.

        It ends too when LONGEST is over or Redis is away.
        """
        end = perf_counter() + LONGEST
        if not await self._meet_all(users, end, behind=True):
            return
        left = len(self._moved)
        while left:
            users, self._moved = list(self._moved), {}
            if not await self._meet_all(users, end, behind=False) or 2 * len(self._moved) > left:
                return
            left = len(self._moved)

    async def _meet_all(self, users: Sequence[str], end: float, behind: bool) -> bool:
        """Whether there was time for all of them, and Redis."""
        for start in range(0, len(users), PAGE):
            if perf_counter() > end or not await self._meet(users[start : start + PAGE], behind):
                return False
        return True

    async def _meet(self, page: Sequence[str], behind: bool) -> bool:
        """Whether Redis was there. With `behind`, whoever was met before was here later."""
        began = perf_counter()
        self._meeting = set(page)
        try:
            found = zip(page, await self._read(page), strict=True)
        except StoreUnavailable:
            return False  # who is not known is computed when asked for
        acted = ((user, history) for user, history in found if history.version)
        new = [(user, history) for user, history in acted if self.adapted.find(user, history.version) is None]
        if new:
            queries = [Query(user=user) for user, _ in new]
            histories = [history for _, history in new]
            trails = [self.adapted.trail(user, history) for user, history in new]
            outcome = await self._compute(self._served, queries, histories, trails)
            for query, history, answer, vector, complete, trail in zip(queries, histories, *outcome, strict=True):
                if query.user is not None and query.user in self._meeting and vector is not None:
                    self.adapted.keep(
                        query.user, history, vector, answer, query.k, complete=complete, trail=trail, behind=behind
                    )
        await asyncio.sleep(REST * (perf_counter() - began))
        return True
