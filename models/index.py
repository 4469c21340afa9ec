"""Top K over item vectors: score(u, i) = u . v_i + b_i, best first. An index stands for one state of the catalogue.

Letters: B queries, N items, d width, K results.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

GRID = 4096
"""Scores are told apart to 1/4096 and ties go to the lower row. A matrix product rounds differently in a batch than
alone, by far less than that: so a user gets the same items either way."""

_ROW_BITS = 28
_NOTHING = torch.iinfo(torch.int64).min
_CHUNK = 1 << 24  # scores held at once, so that a large catalogue does not multiply with a large batch


class Hits(NamedTuple):
    """The best items of each query, best first, on the CPU."""

    rows: Tensor  # (B, K) int64, -1 after the last where fewer than K were allowed
    scores: Tensor  # (B, K) float32, -inf there


class Index(Protocol):
    """Anything that finds the items with the highest scores."""

    def search(self, users: Tensor, allowed: Tensor, k: int) -> Hits:
        """Up to `k` rows for each of `users`, (B, d), out of those that `allowed`, (B, N) bool, marks."""


class Exact:
    """Scores every item: the truth, and fast up to some 100,000 items."""

    def __init__(self, vectors: Tensor, biases: Tensor) -> None:
        """`vectors` (N, d) and `biases` (N,), on the device that is to search them."""
        self.vectors = vectors
        self.biases = biases
        self._row = torch.arange(len(biases), device=biases.device)

    def search(self, users: Tensor, allowed: Tensor, k: int) -> Hits:
        """See `Index`. K is `k`, or N where that is less; a score that is not a number counts as not allowed."""
        step = max(1, _CHUNK // max(1, len(self.biases)))
        found = [
            self._search(*part, k) for part in zip(torch.split(users, step), torch.split(allowed, step), strict=True)
        ]
        return Hits(*(torch.cat(parts).cpu() for parts in zip(*found, strict=True)))

    def _search(self, users: Tensor, allowed: Tensor, k: int) -> tuple[Tensor, Tensor]:
        scores = torch.addmm(self.biases, users, self.vectors.T)
        # One integer a score, higher for a lower row among equals: no two are the same, so top K has one answer.
        keys = (
            scores.mul(GRID).round_().clamp_(-(1 << 33), 1 << 33).to(torch.int64).mul_(1 << _ROW_BITS).sub_(self._row)
        )
        keys = keys.masked_fill_(~(allowed & scores.isfinite()), _NOTHING)
        top, rows = keys.topk(min(k, len(self.biases)))
        nothing = top == _NOTHING
        values = (top + rows).div(1 << _ROW_BITS, rounding_mode="floor").float() / GRID
        return rows.masked_fill_(nothing, -1), values.masked_fill_(nothing, -torch.inf)
