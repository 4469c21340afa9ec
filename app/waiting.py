"""Queries on their way through the engine, and what the engine tells of them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol, cast

from app.adapted import Known
from app.adapting import Trail
from app.event import UserHistory
from app.query import Answer, Query


class Observer(Protocol):
    """Told what the engine does, as it does it."""

    def stage(self, name: str, seconds: float) -> None:
        """A batch spent this long in `redis` or `compute`; a request, in `queue`."""

    def batch(self, size: int) -> None:
        """So many users' answers are computed together."""

    def shed(self) -> None:
        """A request was refused because the queue was full."""

    def fallback(self, reason: str) -> None:
        """A query was answered without its user's history."""


@dataclass(slots=True, eq=False)
class Waiting:
    """A query for each of some users, and who waits for all the answers. Lists are by user."""

    query: Query  # of any of them
    users: Sequence[str | None]
    given: asyncio.Future[list[Answer]]
    since: float
    histories: list[UserHistory | None] = field(init=False)
    answers: list[Answer | None] = field(init=False)
    left: Sequence[int] = field(init=False)  # the places of those without an answer
    known: list[Known | None] = field(init=False)  # of just this history, and of what is served
    trails: list[Trail | None] = field(init=False)  # where not: that of all events but the newest, if that is known
    forgotten: frozenset[str | None] = frozenset()  # of whom nothing is to be remembered
    looked_up: int = field(init=False)  # when, as the memory counts it

    def __post_init__(self) -> None:
        count = len(self.users)
        self.left = range(count)
        self.histories, self.answers = [None] * count, [None] * count
        self.doubt()

    def forget(self, user: str | None) -> None:
        """Remember nothing of this user, or of any."""
        self.forgotten |= set(self.users) if user is None else {user}
        for at, one in enumerate(self.users):
            if one in self.forgotten:
                self.known[at] = self.trails[at] = None

    def doubt(self) -> None:
        """What is known of the users may be so no longer."""
        self.looked_up = NEVER
        self.known, self.trails = [None] * len(self.users), [None] * len(self.users)

    def give(self) -> None:
        """Answer, unless nobody waits any more."""
        if not self.given.done():
            self.given.set_result(cast(list[Answer], self.answers))


NEVER = -1

Place = tuple[Waiting, int]
"""One of those who wait, and one of its users."""


class Line:
    """Who waits, in the order of their coming, and how many users are still without an answer."""

    def __init__(self) -> None:
        self._waiting: deque[Waiting] = deque()
        self.users = 0

    def __iter__(self) -> Iterator[Waiting]:
        return iter(self._waiting)

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def join(self, waiting: Waiting) -> None:
        """At the end."""
        self._waiting.append(waiting)
        self.users += len(waiting.left)

    def take(self, most: int) -> list[Waiting]:
        """Those in front, of so many users at most, or a single one of more: whoever came before it need not wait for
        all of those. Whose client has left is dropped.
        """
        taken, users = list[Waiting](), 0
        while self._waiting:
            waiting = self._waiting[0]
            gone = waiting.given.done()
            if taken and not gone and users + len(waiting.left) > most:
                break
            self._waiting.popleft()
            self.users -= len(waiting.left)
            if not gone:
                taken.append(waiting)
                users += len(waiting.left)
        return taken


def alike(batch: Sequence[Waiting]) -> tuple[list[Place], list[tuple[int, Place]]]:
    """Users without an answer: those to be computed for, and those who are asked for the same as one of them, with the
    number of that one.
    """
    if len(batch) == 1 and len(set(batch[0].users)) == len(batch[0].users):
        return [(batch[0], at) for at in batch[0].left], []
    firsts, others = list[Place](), list[tuple[int, Place]]()
    numbers: dict[object, int] = {}
    for waiting in batch:
        query, users, histories = waiting.query, waiting.users, waiting.histories
        for at in waiting.left:
            history = histories[at]
            place = (waiting, at)
            if query.plain and history is not None:
                number = numbers.setdefault((users[at], query.k, history.version), len(firsts))
                if number < len(firsts):
                    others.append((number, place))
                    continue
            firsts.append(place)
    return firsts, others


def fail(batch: Iterable[Waiting], error: Exception) -> None:
    """Tell all who still wait."""
    for waiting in batch:
        if not waiting.given.done():
            waiting.given.set_exception(error)
