"""Whom the engine remembers: as of the snapshot that is served, and as of one that is to be served next.

Only the event loop touches it: no locks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from app.acquaintance import Acquaintance, Compute, Read
from app.adapted import Adapted
from app.adapting import Trail, Vector
from app.query import Answer
from app.served import Served
from app.waiting import Waiting

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

    def answered(self, waiting: Waiting) -> bool:
        """Answer a query whose answer is known for just this history; else bring what is: the vector, or a trail."""
        query, history = waiting.query, waiting.history
        waiting.vector = waiting.trail = None  # those brought before a swap are the last snapshot's
        if query.user is None or history is None or not waiting.remember:
            return False
        known = self.adapted.find(query.user, history.version)
        if known is None:
            waiting.trail = self.adapted.trail(query.user, history)
            return False
        if known.answer is None or known.k != query.k or not query.plain:
            waiting.vector = known.vector
            return False
        waiting.give(known.answer)
        return True

    def keep(
        self, alike: Sequence[Waiting], answer: Answer, vector: Vector | None, complete: bool, trail: Trail | None
    ) -> None:
        """What came of queries that were answered as one, where it may be remembered."""
        query, history = alike[0].query, alike[0].history
        if vector is None or history is None or not query.stored or not all(waiting.remember for waiting in alike):
            return
        self.adapted.keep(query, history, vector, answer, complete=complete, trail=trail)
        anew = history.version and alike[0].vector is None
        if anew and self._next is not None and query.user is not None:
            self._next.moved(query.user)

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
