"""The outer loop of the rating objective: episodes in, better meta-parameters out.

An episode is one user's ratings cut at random into support and queries. In a share of the episodes all items are read
by their descriptions alone, with what each description let expect when the item was new: so one head learns to read
known items and unknown ones. The loss is the squared error of the queries, differentiated through
the inner steps. What is kept is the running average of the parameters.

Letters: U users, A attributes.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from models.factors import factorise
from models.likeness import Expectation
from models.rating import RatingHead, Ratings, Start


@dataclass(frozen=True, slots=True)
class RatingConfig:
    """Where the head begins, and how the outer loop runs."""

    factors: int = 32
    sweeps: int = 20
    steps: int = 4  # inner ones
    rate: float = 1e-2
    cold: float = 0.6  # share of the episodes that are read by description alone
    batch_size: int = 64
    support: tuple[int, int] = (3, 90)  # ratings of an episode, from and to
    queries: int = 30  # at most; at least 10
    averaging: float = 0.98
    seed: int = 0


class RatedItems(NamedTuple):
    """One user's ratings, (R,) rows and values, and the user's place among the attributes."""

    user: int
    rows: NDArray[np.int64]
    values: NDArray[np.float32]


def begin(users: Sequence[RatedItems], attributes: Tensor, expect: Expectation, config: RatingConfig) -> RatingHead:
    """A head in closed form; `attributes`: (U, A), the first column 1."""
    rows = torch.from_numpy(np.concatenate([one.rows for one in users]))
    values = torch.from_numpy(np.concatenate([one.values for one in users]))
    whose = torch.from_numpy(np.repeat(np.arange(len(users)), [len(one.rows) for one in users]))
    own = attributes[[one.user for one in users]]
    found = factorise(whose, rows, values, own, expect, config.factors, config.sweeps, config.seed)
    return RatingHead(Start.of(found, expect, torch.bincount(rows, minlength=expect.items) > 0), config.steps)


class RatingLoop:
    """Moves the head; `average` is the one to use."""

    def __init__(self, head: RatingHead, users: Sequence[RatedItems], attributes: Tensor, config: RatingConfig) -> None:
        self.head, self.average, self.config, self.attributes = head, deepcopy(head), config, attributes
        self.users = [one for one in users if len(one.rows) >= config.support[0] + 10]
        self.optimiser = torch.optim.Adam(head.parameters(), config.rate)
        self.rng = np.random.default_rng(config.seed)

    def run_epoch(self) -> float:
        """An episode a user; gives the mean loss."""
        order = self.rng.permutation(len(self.users))
        total = 0.0
        for start in range(0, len(order), self.config.batch_size):
            batch = [self.users[at] for at in order[start : start + self.config.batch_size]]
            total += self.meta_step(batch) * len(batch)
        return total / max(len(order), 1)

    def meta_step(self, batch: Sequence[RatedItems]) -> float:
        """Move the meta-parameters by an episode of each user; gives their loss before."""
        cut = [self._cut(one) for one in batch]
        support = Ratings.of([(one.rows[known], one.values[known]) for one, (known, _) in zip(batch, cut, strict=True)])
        query = Ratings.of([(one.rows[asked], one.values[asked]) for one, (_, asked) in zip(batch, cut, strict=True)])
        cold = torch.from_numpy(self.rng.random(len(batch)) < self.config.cold)
        foretold = self.head(self.attributes[[one.user for one in batch]], support, query.rows, cold)
        loss = F.mse_loss(foretold[query.mask], query.values[query.mask])
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.head.parameters(), 1.0)
        self.optimiser.step()
        with torch.no_grad():
            for kept, latest in zip(self.average.parameters(), self.head.parameters(), strict=True):
                kept.lerp_(latest, 1 - self.config.averaging)
        return float(loss.detach())

    def _cut(self, one: RatedItems) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Which ratings are support and which are queries: as many support ratings as a test may have."""
        order = self.rng.permutation(len(one.rows))
        fewest, most = self.config.support
        known = min(int(self.rng.integers(fewest, most + 1)), len(order) - 10)
        return order[:known], order[known : known + self.config.queries]
