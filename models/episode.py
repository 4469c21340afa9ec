"""Episodes: users' histories as padded tensors, and the windows that training draws from them.

Letters: B users, T events.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class Support(NamedTuple):
    """What users did, newest last: slot T - 1 holds the newest event, empty slots stand at the left."""

    rows: Tensor  # (B, T) int64, the item's row; 0 in an empty slot
    kinds: Tensor  # (B, T) int64, the kind's code
    preference: Tensor  # (B, T) float32, -1 (against) to 1 (for)
    mask: Tensor  # (B, T) bool, False in an empty slot

    def to(self, device: torch.device | str) -> Support:
        """The same on another device."""
        return Support(*(part.to(device) for part in self))


class History(NamedTuple):
    """One user's events, oldest first, each (n,)."""

    rows: NDArray[np.integer[Any]]
    kinds: NDArray[np.integer[Any]]
    preference: NDArray[np.float32]

    def take(self, which: NDArray[np.integer[Any]] | slice) -> History:
        """The events at these positions, in this order."""
        return History(self.rows[which], self.kinds[which], self.preference[which])


def pack(
    rows: Sequence[NDArray[np.integer[Any]]],
    kinds: Sequence[NDArray[np.integer[Any]]],
    preference: Sequence[NDArray[np.floating[Any]]],
    length: int,
) -> Support:
    """Pad histories into one support set of B users, keeping the newest `length` events of each.

    T is the longest kept history, at least 1, so that a batch of short histories stays cheap.
    """
    size = max(1, min(length, max((len(history) for history in rows), default=1)))
    out_rows = np.zeros((len(rows), size), np.int64)
    out_kinds = np.zeros((len(rows), size), np.int64)
    out_preference = np.zeros((len(rows), size), np.float32)
    mask = np.zeros((len(rows), size), np.bool_)
    for user, history in enumerate(rows):
        count = min(len(history), size)
        if count:
            out_rows[user, -count:] = history[-count:]
            out_kinds[user, -count:] = kinds[user][-count:]
            out_preference[user, -count:] = preference[user][-count:]
            mask[user, -count:] = True
    return Support(*map(torch.from_numpy, (out_rows, out_kinds, out_preference, mask)))


def pack_histories(histories: Sequence[History], length: int) -> Support:
    """`pack` for whole histories."""
    return pack(
        [history.rows for history in histories],
        [history.kinds for history in histories],
        [history.preference for history in histories],
        length,
    )


class Episodes(NamedTuple):
    """A batch for the outer loop: the events of B users, and whose are in the order they happened."""

    support: Support
    ordered: Tensor  # (B,) bool


def windows(
    histories: Sequence[History],
    length: int,
    batch_size: int,
    shuffled: float,
    rng: np.random.Generator,
    most: int | None = None,
) -> Iterator[Episodes]:
    """One epoch: every history cut into windows of at most `length` events at a random offset, in random order.

    Args:
        histories: one a user; those with fewer than 2 events teach nothing and are left out.
        shuffled: the share of users whose events are put in random order, so that the learner also meets histories
            without an order, such as a new user's import.
        most: windows taken of one user, at random, so that a few users with endless histories do not outweigh all.
    """
    cuts: list[tuple[History, bool]] = []
    for history in histories:
        count = len(history.rows)
        if count < 2:
            continue
        ordered = rng.random() >= shuffled
        events = history if ordered else history.take(rng.permutation(count))
        first = 0 if count <= length else int(rng.integers(1, length + 1))
        edges = [0, *range(first, count, length), count] if first else [0, count]
        spans = [(a, b) for a, b in pairwise(edges) if b - a >= 2]
        if most is not None and len(spans) > most:
            spans = [spans[at] for at in rng.permutation(len(spans))[:most]]
        cuts += [(events.take(slice(a, b)), ordered) for a, b in spans]
    order = rng.permutation(len(cuts))
    for start in range(0, len(order), batch_size):
        chosen = [cuts[at] for at in order[start : start + batch_size]]
        yield Episodes(
            pack_histories([cut for cut, _ in chosen], length), torch.tensor([ordered for _, ordered in chosen])
        )
