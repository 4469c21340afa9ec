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
    ordered: Tensor  # (B,) bool, False where the events came in no particular order

    @property
    def mixed(self) -> bool:
        """Whether there is a user among them whose events came in no particular order."""
        return not all(self.ordered.tolist())

    def to(self, device: torch.device | str) -> Support:
        """The same on another device."""
        return Support(*(part.to(device) for part in self))


class History(NamedTuple):
    """One user's events, oldest first, each (n,). Where `ordered` is False the order means nothing."""

    rows: NDArray[np.integer[Any]]
    kinds: NDArray[np.integer[Any]]
    preference: NDArray[np.float32]
    ordered: bool = True

    def take(self, which: NDArray[np.integer[Any]] | slice) -> History:
        """The events at these positions, in this order."""
        return History(self.rows[which], self.kinds[which], self.preference[which], self.ordered)


def pack(histories: Sequence[History], length: int) -> Support:
    """Pad histories into one support set of B users, keeping the newest `length` events of each.

    T is the longest kept history, at least 1, so that a batch of short histories stays cheap.
    """
    size = max(1, min(length, max((len(history.rows) for history in histories), default=1)))
    rows = np.zeros((len(histories), size), np.int64)
    kinds = np.zeros((len(histories), size), np.int64)
    preference = np.zeros((len(histories), size), np.float32)
    mask = np.zeros((len(histories), size), np.bool_)
    for user, history in enumerate(histories):
        count = min(len(history.rows), size)
        if count:
            rows[user, -count:] = history.rows[-count:]
            kinds[user, -count:] = history.kinds[-count:]
            preference[user, -count:] = history.preference[-count:]
            mask[user, -count:] = True
    ordered = np.array([history.ordered for history in histories], np.bool_)
    return Support(*map(torch.from_numpy, (rows, kinds, preference, mask, ordered)))


def windows(
    histories: Sequence[History],
    length: int,
    batch_size: int,
    shuffled: float,
    rng: np.random.Generator,
    most: int | None = None,
    settling: int = 0,
) -> Iterator[tuple[Support, Tensor]]:
    """One epoch: every history cut into windows of at most `length` events at a random offset, in random order.

    A batch holds windows of like length, so that little of it is padding, and as many events as any other, so that each
    event counts the same.

    Args:
        histories: one a user; those with fewer than 2 events teach nothing and are left out.
        batch_size: windows of a batch on average.
        shuffled: the share of users whose events are put in random order, so that the learner also meets histories
            without an order, such as a new user's import.
        most: windows taken of one user, at random, so that a few users with endless histories do not outweigh all.
        settling: events at the start of an ordered window that are not to be foretold where the window begins in the
            middle of a history: seen with nothing before it, the middle would pass for a beginning, and new users do
            begin in their own way. The window that does begin a history is always taken then.
    Yields:
        A support set, and which of its events are to be foretold, (B, T) bool.
    """
    cuts: list[History] = []
    skipped: list[int] = []
    for history in histories:
        count = len(history.rows)
        if count < 2:
            continue
        ordered = rng.random() >= shuffled and history.ordered
        events = history if ordered else history.take(rng.permutation(count))._replace(ordered=False)
        first = 0 if count <= length else int(rng.integers(1, length + 1))
        edges = [0, *range(first, count, length), count] if first else [0, count]
        spans = [(a, b) for a, b in pairwise(edges) if b - a >= 2]
        if most is not None and len(spans) > most:
            kept = spans[:1] if settling else []
            others = spans[len(kept) :]
            spans = kept + [others[at] for at in rng.permutation(len(others))[: most - len(kept)]]
        cuts += [events.take(slice(a, b)) for a, b in spans]
        skipped += [settling if ordered and a > 0 else 0 for a, _ in spans]
    if not cuts:
        return
    lengths = np.array([len(cut.rows) for cut in cuts])
    order = rng.permutation(len(cuts))
    order = order[np.argsort(lengths[order], kind="stable")]
    share = lengths[order].cumsum() / lengths.sum()  # of the events, up to and with each window
    batches = np.split(
        order, np.searchsorted(share, np.linspace(0, 1, -(-len(cuts) // batch_size), endpoint=False)[1:])
    )
    for number in rng.permutation(len(batches)):
        if len(batches[number]):
            support = pack([cuts[at] for at in batches[number]], length)
            place = support.mask.cumsum(1) - 1
            yield support, support.mask & (place >= torch.tensor([skipped[at] for at in batches[number]])[:, None])
