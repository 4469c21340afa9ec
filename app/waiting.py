"""A query on its way through the engine, and what the engine tells of it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from app.adapting import Trail, Vector
from app.event import UserHistory
from app.query import Answer, Query


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


@dataclass(slots=True, eq=False)
class Waiting:
    """A query, and who waits for its answer."""

    query: Query
    answer: asyncio.Future[Answer]
    since: float
    history: UserHistory | None = None
    vector: Vector | None = None  # (d,), where it is known for this history
    trail: Trail | None = None  # where not: that of the history without its newest event, if that is known
    remember: bool = True  # False once its user was forgotten

    def give(self, answer: Answer) -> None:
        """Answer, unless nobody waits any more."""
        if not self.answer.done():
            self.answer.set_result(answer)


def alike(batch: Sequence[Waiting]) -> list[list[Waiting]]:
    """Those of a batch who have asked the same, together: one computation answers them."""
    groups: dict[object, list[Waiting]] = {}
    for waiting in batch:
        query, history = waiting.query, waiting.history
        key = (query.user, query.k, history.version) if query.plain and history is not None else waiting
        groups.setdefault(key, []).append(waiting)
    return list(groups.values())


def fail(batch: Iterable[Waiting], error: Exception) -> None:
    """Tell all who still wait."""
    for waiting in batch:
        if not waiting.answer.done():
            waiting.answer.set_exception(error)
