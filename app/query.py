"""What the engine is asked and what it answers, and an item as it was put."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.item import Item


class Inline(NamedTuple):
    """A history that came with the query, newest last: item ids, kind codes, values with NaN where there is none."""

    items: Sequence[str]
    kinds: Sequence[int]
    values: Sequence[float]


@dataclass(frozen=True, slots=True)
class Query:
    """What to recommend for: a stored user, a history given here, or (`like`) an item; with none of them, the prior."""

    user: str | None = None
    history: Inline | None = None
    like: str | None = None
    k: int = 10
    exclude: Collection[str] = ()
    candidates: Collection[str] | None = None
    categories: Collection[str] | None = None  # any of these
    include_seen: bool = False

    @property
    def stored(self) -> bool:
        """Whether the user's history must be read before this can be answered."""
        return self.user is not None and self.history is None and self.like is None

    @property
    def plain(self) -> bool:
        """Whether the user and `k` are all there is to it, so that the same history has the same answer."""
        return (
            self.stored
            and self.candidates is None
            and self.categories is None
            and not self.exclude
            and not self.include_seen
        )


@dataclass(slots=True)
class Answer:
    """At most `k` items, best first, all computed from one snapshot. Degraded: by popularity, not for this user.

    It may be given to many who ask the same: nobody changes it, though it is not frozen, as that takes three times as
    long to make. `written` and `scored` are for its reader to note what it has made of the items, without scores and
    with them.
    """

    items: list[str]
    scores: Sequence[float]
    snapshot: str
    degraded: bool = False
    written: str | None = field(default=None, compare=False, repr=False)
    scored: str | None = field(default=None, compare=False, repr=False)


class Entry(NamedTuple):
    """An item as it was put: its lasting number, and its content vector (C,), None where another model made it."""

    handle: int
    item: Item
    content: NDArray[np.float32] | None
