"""What is remembered of users who have been adapted to: the vector, and the last answer, under the history's version.

A history that has moved on has another version, and one that was forgotten has none, so what is stale is never found.
Where it has moved on by one event, the trail of those before leads up to it. All is for one snapshot alone.

Only the event loop touches it: no locks.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import NamedTuple

from app.adapting import Trail, Vector
from app.event import RECORD, UserHistory
from app.query import Answer

TRAIL_BYTES = 96 * 2**20
"""What trails may take in all: those of 14,000 users with 25 events each, at 276 bytes an event with its record."""


class Way(NamedTuple):
    """The trail of a user's history as it was read."""

    packed: bytes
    trail: Trail
    nbytes: int


@dataclass(slots=True)
class Known:
    """A user as of one version of the history."""

    version: int
    vector: Vector
    complete: bool  # made of every event, and all on items of the snapshot: the catalogue cannot change it
    k: int = 0
    answer: Answer | None = None  # to the plain query for `k` items


class Adapted:
    """The users of late, at most `capacity`; the one who was away longest makes way."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._known: OrderedDict[str, Known] = OrderedDict()
        self._ways: OrderedDict[str, Way] = OrderedDict()
        self._way_bytes = 0

    def __len__(self) -> int:
        return len(self._known)

    def find(self, user: str, version: int) -> Known | None:
        """What is known of a user whose history now has this version. What is out of date is dropped."""
        known = self._known.get(user)
        if known is None:
            return None
        if known.version != version:
            del self._known[user]
            return None
        self._known.move_to_end(user)
        return known

    def trail(self, user: str, history: UserHistory) -> Trail | None:
        """That of just this history without its newest event, where it is at hand."""
        way = self._ways.get(user)
        if way is None or way.packed != history.packed[: -RECORD.itemsize]:
            return None
        return way.trail

    def keep(
        self,
        user: str,
        history: UserHistory,
        vector: Vector,
        answer: Answer,
        k: int | None,
        *,
        complete: bool = True,
        trail: Trail | None = None,
        behind: bool = False,
    ) -> None:
        """Remember what a user was adapted to, and the answer if it is to the plain query for `k` items, not None.

        A user without a history has nothing to remember, and one whose history has moved on meanwhile is left alone.
        With `behind`, all who are known already were here later.
        """
        version = history.version
        if not version or not self._capacity:
            return
        known = self._known.get(user)
        if known is None or known.version < version:
            if len(self._known) >= self._capacity and known is None:
                self._lose(self._known.popitem(last=False)[0])
            known = self._known[user] = Known(version, vector, complete)
            self._known.move_to_end(user, last=not behind)
            self._lose(user)
            if trail is not None:
                nbytes = len(history.packed) + trail.nbytes
                self._ways[user] = Way(history.packed, trail, nbytes)
                self._ways.move_to_end(user, last=not behind)
                self._way_bytes += nbytes
                while self._way_bytes > TRAIL_BYTES:
                    self._lose(next(iter(self._ways)))
        if k is not None and known.version == version:
            known.k, known.answer = k, answer

    def _lose(self, user: str) -> None:
        """The trail of a user, if there is one."""
        way = self._ways.pop(user, None)
        if way is not None:
            self._way_bytes -= way.nbytes

    def renewed(self) -> None:
        """The catalogue is another, the snapshot is the same: answers go, and vectors that new items may change."""
        for user in [user for user, known in self._known.items() if not known.complete]:
            del self._known[user]
        for known in self._known.values():
            known.answer = None

    def latest(self) -> list[str]:
        """Everyone, who was here last first."""
        return list(reversed(self._known))

    def forget(self, user: str) -> None:
        """Drop a user, known or not."""
        self._known.pop(user, None)
        self._lose(user)

    def shrink(self, users: int) -> None:
        """Drop the so many who were away longest."""
        for _ in range(min(users, len(self._known))):
            self._lose(self._known.popitem(last=False)[0])

    def clear(self) -> None:
        """Drop everyone."""
        self._known.clear()
        self._ways.clear()
        self._way_bytes = 0
