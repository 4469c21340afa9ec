"""Whom the engine remembers: as of the snapshot that is served, and as of one that is to be served next.

Only the event loop touches it: no locks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from app.acquaintance import Acquaintance, Compute, Read
from app.adapted import Adapted
from app.served import Outcome, Served
from app.waiting import Place, Waiting

PARTS = 100
"""In so many parts the users of the snapshot before are let go: 10,000 at once would hold up the loop for 10 ms."""

PAUSE = 0.01
"""Seconds between: those who have acted since they were met are all computed now, and need the interpreter too."""


class Memory:
    """Of at most `capacity` users."""

    def __init__(self, capacity: int, read: Read, compute: Compute) -> None:
        self.adapted = Adapted(capacity)
        self._capacity, self._read, self._compute = capacity, read, compute
        self._next: Acquaintance | None = None
        self._kept = 0  # how often something was: who has been looked up since need not be looked up again

    def answered(self, waiting: Waiting) -> bool:
        """Answer those of a query's users whose answers are known for just their histories; whether that is all.

        For the others bring what is known: the vector, or a trail.
        """
        if waiting.looked_up == self._kept:
            return not waiting.left
        waiting.looked_up = self._kept
        query, adapted = waiting.query, self.adapted
        plain, k = query.plain, query.k
        users, histories, left = waiting.users, waiting.histories, list[int]()
        for at in waiting.left:
            known = waiting.known[at]
            if known is None:
                user, history = users[at], histories[at]
                if user is not None and history is not None and user not in waiting.forgotten:
                    known = waiting.known[at] = adapted.find(user, history.version)
                    if known is not None:
                        waiting.trails[at] = None
                    elif waiting.trails[at] is None:
                        waiting.trails[at] = adapted.trail(user, history)
            if plain and known is not None and known.k == k and known.answer is not None:
                waiting.answers[at] = known.answer
            else:
                left.append(at)
        waiting.left = left
        if not left:
            waiting.give()
        return not left

    def keep(self, places: Sequence[Place], outcome: Outcome) -> None:
        """What came of these, where it may be remembered."""
        self._kept += 1
        for (waiting, at), answer, vector, complete, trail in zip(places, *outcome, strict=True):
            known, query = waiting.known[at], waiting.query
            if known is not None:
                if query.plain:
                    known.k, known.answer = query.k, answer
                continue
            user, history = waiting.users[at], waiting.histories[at]
            if vector is None or history is None or user is None or user in waiting.forgotten:
                continue
            k = query.k if query.plain else None
            self.adapted.keep(user, history, vector, answer, k, complete=complete, trail=trail)
            if self._next is not None and history.version:
                self._next.moved(user)

    def forget(self, user: str | None) -> None:
        """This user, or everyone."""
        if user is None:
            self.adapted.clear()
        else:
            self.adapted.forget(user)
        if self._next is not None:
            self._next.forget(user)

    async def meet(self, served: Served) -> Adapted:
        """What `served` makes of those who were here of late, once it has met them."""
        if not self._capacity:
            return Adapted(0)
        self._next = Acquaintance(self._capacity, served, self._read, self._compute)
        try:
            await self._next.meet(self.adapted.latest())
            return self._next.adapted
        finally:
            self._next = None

    async def turn_to(self, adapted: Adapted) -> None:
        """Remember these from now on, and let those before go bit by bit."""
        before, self.adapted = self.adapted, adapted
        part = -(-len(before) // PARTS)
        while len(before):
            before.shrink(part)
            await asyncio.sleep(PAUSE)
