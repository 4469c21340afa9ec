"""The trend: how popularity has moved since the biases were learned, told in closed form from counts of fresh events.

    shift_i = log (r_i + k p_i) / ((R_i + k) p_i)          b_i = what was learned + shift_i

p_i is the item's share of the events the bias was learned from, r_i how often the item was liked since, R_i how many
likes there were since it could be liked; r and R fade by half in HALF_LIFE events an item. (r_i + k p_i) / (R_i + k) is
the posterior mean of its share now, with the old share as a prior worth k = PRIOR events an item: the shift of an item
with nothing fresh to be said of it is 0, and what was learned beyond the counts stays as it is.

Letters: N items, M new items.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Self

import torch
from torch import Tensor

from models.snapshot import POPULARITY

HALF_LIFE = 3.0
"""Fresh likes an item of the catalogue in which the counts fade by half."""
PRIOR = 1.0
"""Likes an item that the old shares are worth."""


class Trend(NamedTuple):
    """What a snapshot keeps of it."""

    share: Tensor  # (N,) p, before anything fresh
    taken: Tensor  # (N,) r
    exposed: Tensor  # (N,) R

    @classmethod
    def read(cls, tensors: Mapping[str, Tensor]) -> Self:
        """The trend of a snapshot; of one that was never refreshed, where its popularity leaves it."""
        if "trend.share" in tensors:
            return cls(*(tensors[f"trend.{name}"] for name in cls._fields))
        counts = tensors[POPULARITY] + 1
        none = torch.zeros_like(counts)
        return cls(counts / counts.sum(), none, none)

    def tensors(self) -> dict[str, Tensor]:
        """As a snapshot keeps it."""
        return {f"trend.{name}": tensor for name, tensor in self._asdict().items()}

    def grown(self, biases: Tensor) -> Self:
        """With M more items, given all biases, (N + M,): each begins at the share that its bias stands for."""
        known = len(self.share)
        level = (biases[:known] - self.shift() - self.share.log()).mean()
        none = biases.new_zeros(len(biases) - known)
        share = torch.cat([self.share, (biases[known:] - level).exp()])
        return type(self)(share, torch.cat([self.taken, none]), torch.cat([self.exposed, none]))

    def after(self, likes: Tensor) -> Self:
        """After fresh likes, (N,) counts."""
        fading = 0.5 ** (float(likes.sum()) / (HALF_LIFE * len(likes)))
        return self._replace(taken=fading * self.taken + likes, exposed=fading * self.exposed + likes.sum())

    def shift(self) -> Tensor:
        """What the biases have to hold of it, (N,)."""
        k = PRIOR * len(self.share)
        return ((self.taken + k * self.share) / ((self.exposed + k) * self.share)).log()
