"""What the engine is asked and what it answers, and an item as it was put."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.names import Names
from models.item import Item


class Inline(NamedTuple):
    """A history that came with the query, newest last: item ids, kind codes, values with NaN where there is none."""

    items: Sequence[str]
    kinds: Sequence[int]
    values: Sequence[float]


@dataclass(slots=True)
class Query:
    """What to recommend for: a stored user, a history given here, or (`like`) an item; with none of them, the prior.

    Nobody changes it, though it is not frozen, as that takes three times as long to make.
    """

    user: str | None = None
    history: Inline | None = None
    like: str | None = None
    k: int = 10
    exclude: Collection[str] = ()
    candidates: Collection[str] | None = None
    categories: Collection[str] | None = None  # any of these
    include_seen: bool = False
    stored: bool = field(init=False)  # whether the user's history must be read before this can be answered
    plain: bool = field(init=False)  # whether user and `k` are all there is to it: the same history, the same answer

    def __post_init__(self) -> None:
        self.stored = self.user is not None and self.history is None and self.like is None
        self.plain = (
            self.stored
            and self.candidates is None
            and self.categories is None
            and not self.exclude
            and not self.include_seen
        )


FOUND = np.dtype([("row", np.int32), ("score", np.float32)])
"""One item of an answer: its row in the catalogue, and its score."""


class Source(NamedTuple):
    """What answers are computed from, and whether by popularity, not for their users."""

    names: Names
    snapshot: str
    degraded: bool


@dataclass(slots=True)
class Answer:
    """At most `k` items, best first, all computed from one snapshot.

    It may be given to many who ask the same: nobody changes it, though it is not frozen, as that takes three times as
    long to make.
    """

    found: bytes  # of FOUND
    source: Source = field(compare=False, repr=False)
    written: str  # all that follows the user in the answer's JSON, without scores
    scored: str | None = field(default=None, compare=False, repr=False)  # with them, once that has been asked for

    @property
    def items(self) -> list[str]:
        return self.source.names.of(np.frombuffer(self.found, FOUND)["row"].tolist())

    @property
    def scores(self) -> list[float]:
        scores: list[float] = np.frombuffer(self.found, FOUND)["score"].tolist()
        return scores

    @property
    def snapshot(self) -> str:
        return self.source.snapshot

    @property
    def degraded(self) -> bool:
        return self.source.degraded


class Entry(NamedTuple):
    """An item as it was put: its lasting number, and its content vector (C,), None where another model made it."""

    handle: int
    item: Item
    content: NDArray[np.float32] | None
