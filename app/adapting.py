"""Adapting to the users of a batch: those of like length together, and from where the last event left them if known.

Letters: B users, T slots, N items, d width of the blocks, r width of the vectors.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from app.support import Events, Rows
from models.compiled import Compiled
from models.learner import Learner
from models.traced import Traced

SLOTS = 800
"""Events traced at once, about: what the caches hold. Users are padded to the longest among them."""

MANY = 1 << 16
"""Events that one compiled call is given at the most, which pads nobody."""

Vector = bytes
"""A user, (r,) of float32: as a string it is one small object, and many are put together in no time."""

Trail = NDArray[np.float32]
"""What a user's n events were when they entered the blocks but the first, (n, (blocks - 1) d)."""


class Adapting:
    """One learner's. It knows no user: what is known of one is given with each call."""

    def __init__(self, learner: Learner) -> None:
        self._length = learner.config.length
        self._course = Compiled(learner) if Compiled.possible(learner) else Traced(learner)

    @property
    def compiled(self) -> bool:
        """Whether it is done by compiled calls, which take a few users within tenths of a millisecond."""
        return isinstance(self._course, Compiled)

    def prior(self, items: Tensor) -> Vector:
        """The vector of a user without a history, (r,)."""
        nothing = np.zeros(0, np.int64)
        nobody = Events(nothing, nothing, nothing, np.zeros(0, np.float32), *(np.ones(1, np.bool_),) * 2)
        users, _ = self._follow(items, nobody, [0], np.zeros(1, np.int64), None)
        vector: Vector = users[0].tobytes()
        return vector

    def adapt(
        self,
        items: Tensor,
        places: Sequence[int],
        events: Events,
        vectors: list[Vector | None],
        trails: list[Trail | None],
    ) -> None:
        """Put in the vectors of the queries at these places, and the trails that they leave.

        Args:
            items: item vectors, (N, r).
            vectors: left as it is where there are no events.
            trails: of all events but the newest, where that is known; afterwards of all of them, or None where the next
                event could not go on from it: there is no order, or it would push the first one out of sight.
        """
        counts = np.bincount(events.owner, minlength=len(vectors))
        many, ordered = counts.tolist(), events.ordered.tolist()  # one by one, numpy's own take their time
        followed, others = list[int](), list[int]()
        for at in places:
            trail = trails[at]
            if trail is not None and len(trail) + 1 == many[at] <= self._length and ordered[at]:
                followed.append(at)
            else:
                trails[at] = None
                if many[at]:
                    others.append(at)
        for group in (followed, others):
            for part in _alike(group, counts, self._length, MANY if self.compiled else SLOTS):
                lead = [trail for at in part if (trail := trails[at]) is not None] if group is followed else None
                users, left = self._follow(items, events, part, counts, lead)
                for at, user, trail in zip(part, users, left, strict=True):
                    vectors[at] = user.tobytes()
                    lasts = many[at] < self._length and ordered[at]
                    trails[at] = trail.copy() if lasts else None

    def _follow(
        self, items: Tensor, events: Events, part: Sequence[int], counts: Rows, lead: Sequence[Trail] | None
    ) -> tuple[NDArray[np.float32], list[Trail]]:
        """Vectors, (B, r), and trails of the queries at these places; `lead`: those of all events but the newest."""
        if isinstance(self._course, Compiled):
            seen = np.minimum(counts[part], self._length)
            ends = seen.cumsum()
            known = None if lead is None else np.concatenate(lead)
            users, trails = self._course.follow(
                items, *events[1:4], events.ordered[part], counts.cumsum()[part] - seen, seen, known
            )
            return users, [trails[end - count : end] for end, count in zip(ends.tolist(), seen.tolist(), strict=True)]
        support = events.support(part, self._length)
        before = None if lead is None else _padded(lead, support.rows.shape[1] - 1)
        vectors, padded = (tensor.cpu().numpy() for tensor in self._course.follow(items, support, before))
        size = padded.shape[1]
        return vectors, [padded[row, max(size - int(counts[at]), 0) :] for row, at in enumerate(part)]


def _alike(places: Sequence[int], counts: Rows, length: int, slots: int) -> Iterator[list[int]]:
    """Those with about as many events together, the longest first, as many as fit into so many slots."""
    many = counts.tolist()
    left = sorted(places, key=many.__getitem__)
    while left:
        together = max(1, slots // min(many[left[-1]], length))
        left, part = left[:-together], left[-together:]
        yield part


def _padded(trails: Sequence[Trail], size: int) -> Tensor:
    """Trails, the newest event last, (B, size, (blocks - 1) d); zero before the first."""
    lead = np.zeros((len(trails), size, trails[0].shape[1]), np.float32)
    for row, trail in zip(lead, trails, strict=True):
        row[size - len(trail) :] = trail
    return torch.from_numpy(lead)
