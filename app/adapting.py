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
from models.episode import History, pack
from models.learner import Learner
from models.traced import Traced

SLOTS = 800
"""Events adapted to at once, about: what the caches hold. Users are padded to the longest among them."""

Vector = NDArray[np.float32]
"""A user, (r,)."""

Trail = NDArray[np.float32]
"""What a user's n events were when they entered the blocks but the first, (n, (blocks - 1) d)."""


class Adapting:
    """One learner's. It knows no user: what is known of one is given with each call."""

    def __init__(self, learner: Learner) -> None:
        self._traced = Traced(learner)
        self._length = learner.config.length

    def prior(self, items: Tensor) -> Vector:
        """The vector of a user without a history, (r,)."""
        nobody = pack([History(*(np.zeros(0, np.int64),) * 2, np.zeros(0, np.float32))], 1)
        users, _ = self._traced.follow(items, nobody)
        first: Vector = _array(users)[0]
        return first

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
        followed, others = list[int](), list[int]()
        for at in places:
            trail = trails[at]
            if trail is not None and len(trail) + 1 == counts[at] <= self._length and events.ordered[at]:
                followed.append(at)
            else:
                trails[at] = None
                if counts[at]:
                    others.append(at)
        for group in (followed, others):
            for part in _alike(group, counts, self._length):
                support = events.support(part, self._length)
                lead = _lead([trails[at] for at in part], support.rows.shape[1] - 1) if group is followed else None
                users, left = self._traced.follow(items, support, lead)
                made, behind = _array(users), _array(left)
                for row, at in enumerate(part):
                    vectors[at] = made[row]
                    lasts = counts[at] < self._length and events.ordered[at]
                    trails[at] = behind[row, len(behind[row]) - counts[at] :].copy() if lasts else None


def _alike(places: Sequence[int], counts: Rows, length: int) -> Iterator[list[int]]:
    """Those with about as many events together, the longest first, as many as fit into SLOTS."""
    left = sorted(places, key=counts.__getitem__)
    while left:
        together = max(1, SLOTS // min(int(counts[left[-1]]), length))
        left, part = left[:-together], left[-together:]
        yield part


def _array(tensor: Tensor) -> NDArray[np.float32]:
    """On the CPU."""
    found: NDArray[np.float32] = tensor.cpu().numpy()
    return found


def _lead(trails: Sequence[Trail | None], size: int) -> Tensor:
    """Trails, the newest event last, (B, size, (blocks - 1) d); zero before the first."""
    found = [trail for trail in trails if trail is not None]
    lead = np.zeros((len(found), size, found[0].shape[1]), np.float32)
    for row, trail in zip(lead, found, strict=True):
        row[size - len(trail) :] = trail
    return torch.from_numpy(lead)
