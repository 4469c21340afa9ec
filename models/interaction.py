"""One interaction, and the columns that hold many.

N = interactions. Users and items are numbered: `user` and `item` hold positions in `users` and `items`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

KINDS: tuple[str, ...] = (
    "view", "click", "like", "dislike", "purchase", "rating", "cart", "save", "share", "play", "skip", "complete",
)  # fmt: skip
"""The kinds of event. A kind's code is its position here and is stored for good: append, never reorder."""

KIND_CODES: dict[str, int] = {kind: code for code, kind in enumerate(KINDS)}
AGAINST: frozenset[str] = frozenset({"dislike", "skip"})
RATING = KIND_CODES["rating"]
_FOR = np.array([-1.0 if kind in AGAINST else 1.0 for kind in KINDS], np.float32)


@dataclass(frozen=True, slots=True)
class Interaction:
    """What one user did with one item. `time` is in seconds since the epoch; `value` is a rating or a quantity."""

    user: str
    item: str
    kind: str = "view"
    value: float | None = None
    time: float = 0.0


@dataclass(frozen=True, slots=True)
class RatingScale:
    """The range ratings come in, such as 0.5 to 5."""

    low: float = 1.0
    high: float = 5.0

    def preference(self, kinds: NDArray[np.integer], values: NDArray[np.floating]) -> NDArray[np.float32]:
        """How much each interaction speaks for its item, from -1 (against) to 1 (for).

        A rating in the lowest 40% of the scale speaks against; a dislike or a skip is -1; all else is 1.

        Args:
            kinds: kind codes, (N,), each of one of KINDS.
            values: (N,), NaN where there is none.
        Returns:
            (N,) float32, never 0: every interaction is evidence of something.
        """
        out: NDArray[np.float32] = _FOR[kinds]
        rated = (kinds == RATING) & ~np.isnan(values)
        if not rated.any():
            return out
        share = np.clip((values[rated] - self.low) / max(self.high - self.low, 1e-9), 0.0, 1.0)
        # 0.4 and up: 0.25 rising to 1; below: -0.4 falling to -1.
        out[rated] = np.where(share >= 0.4, 0.25 + 0.75 * (share - 0.4) / 0.6, -0.4 - 0.6 * (0.4 - share) / 0.4)
        return out


@dataclass(frozen=True, slots=True, eq=False)
class Interactions:
    """Many interactions as columns, each (N,), sorted by user and, within a user, oldest first.

    Built by `Interactions.of`; user and item numbers follow the first appearance in time order.
    """

    user: NDArray[np.int32]
    item: NDArray[np.int32]
    kind: NDArray[np.uint8]
    value: NDArray[np.float32]  # NaN where there is none
    time: NDArray[np.float64]
    users: tuple[str, ...]
    items: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.user)

    @classmethod
    def of(cls, rows: Sequence[Interaction]) -> Interactions:
        """Columns from single interactions. The sort is stable: equal times keep the order they came in."""
        users = {name: number for number, name in enumerate(dict.fromkeys(row.user for row in rows))}
        items = {name: number for number, name in enumerate(dict.fromkeys(row.item for row in rows))}
        return cls.from_columns(
            user=np.array([users[row.user] for row in rows], np.int32),
            item=np.array([items[row.item] for row in rows], np.int32),
            kind=np.array([KIND_CODES[row.kind] for row in rows], np.uint8),
            value=np.array([np.nan if row.value is None else row.value for row in rows], np.float32),
            time=np.array([row.time for row in rows], np.float64),
            users=tuple(users),
            items=tuple(items),
        )

    @classmethod
    def from_columns(
        cls,
        *,
        user: NDArray[np.int32],
        item: NDArray[np.int32],
        kind: NDArray[np.uint8],
        value: NDArray[np.float32],
        time: NDArray[np.float64],
        users: tuple[str, ...],
        items: tuple[str, ...],
    ) -> Interactions:
        """Sort columns, each (N,), into place, by user, then time, then the order they came in."""
        order = np.lexsort((np.arange(len(user)), time, user))
        return cls(user[order], item[order], kind[order], value[order], time[order], users, items)

    def bounds(self) -> NDArray[np.int64]:
        """(users + 1,): user u's interactions are at `bounds[u]:bounds[u + 1]`."""
        return np.searchsorted(self.user, np.arange(len(self.users) + 1)).astype(np.int64)

    def ordered(self) -> NDArray[np.bool_]:
        """Whose interactions have an order, (users,): all but those of several that came at one moment."""
        bounds = self.bounds()
        ordered = np.diff(bounds) < 2
        first, last = bounds[:-1][~ordered], bounds[1:][~ordered] - 1
        ordered[~ordered] = self.time[first] < self.time[last]
        return ordered

    def where(self, keep: NDArray[np.bool_]) -> Interactions:
        """The interactions that `keep`, (N,), marks; users and items keep their numbers."""
        return Interactions(
            self.user[keep], self.item[keep], self.kind[keep], self.value[keep], self.time[keep], self.users, self.items
        )
