"""Top K in two goes: all items scored roughly, the best blocks of neighbours again in float32.

What scores roughly is left to those who derive from this. All items are scored, so filters cost no recall: what is
barred is overwritten before the maxima are taken. The float32 vectors that decide in the end are the caller's own.

Letters: B queries, N items, d width, K results, G blocks, C blocks a query ranked again.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from copy import copy
from typing import Self

import torch
from torch import Tensor

from models.index import Barred, Hits, best, part

BLOCK = 32  # neighbouring items that share one maximum


class Blocked(ABC):
    """Item n of those that may answer is in block n // BLOCK, and its row is `rows[n]`."""

    def __init__(self, vectors: Tensor, biases: Tensor, rows: Tensor, together: int, spare: int) -> None:
        """Args:
        vectors: (N, d).
        biases: (N,).
        rows: (M,) int32, those that share a block side by side.
        together: queries scored at a time.
        spare: the most blocks ranked beyond two a result, for what rough scores may confuse.
        """
        self.count = len(biases)
        self.vectors, self.biases, self.rows = vectors, biases, rows
        self._together, self._spare = together, spare
        self._within = torch.arange(BLOCK, device=vectors.device)

    def unbiased(self) -> Self:
        """See `models.index.Index`; what items are scored by roughly is shared."""
        other = copy(self)
        other.biases = self.biases.masked_fill(self.biases.isfinite(), 0.0)
        other._forget_biases()
        return other

    @abstractmethod
    def _forget_biases(self) -> None:
        """Let the rough scores be those of items that all have a bias of 0."""

    @abstractmethod
    def _maxima(self, users: Tensor, allowed: Tensor | None, barred: Barred | None) -> tuple[Tensor, Tensor]:
        """A rough best score of each block for each query, (B, G), and how much two of them may mislead, (B,)."""

    def search(self, users: Tensor, allowed: Tensor | None, k: int, barred: Barred | None = None) -> Hits:
        """See `models.index.Index`."""
        if not len(self.rows) or not len(users):
            shape = (len(users), min(k, self.count))
            return Hits(torch.full(shape, -1), torch.full(shape, -torch.inf))
        found = []
        for at in range(0, len(users), self._together):
            queries, pairs = slice(at, at + self._together), part(barred, at, self._together)
            found.append(
                self._search(users[queries], None if allowed is None else allowed[queries], min(k, self.count), pairs)
            )
        return Hits(*(torch.cat(parts).cpu() for parts in zip(*found, strict=True)))

    def _search(self, users: Tensor, allowed: Tensor | None, k: int, barred: Barred | None) -> tuple[Tensor, Tensor]:
        maxima, unsure = self._maxima(users, allowed, barred)
        top = maxima.topk(min(2 * k + self._spare, maxima.shape[1]))
        # The k best items are in blocks that are hardly below the k-th best: more of them for one query than another.
        least = top.values[:, min(k, top.values.shape[1]) - 1] - unsure
        wanted = ~(top.values < least[:, None])  # infinities differ by no number
        wanted = wanted[:, : int(wanted.sum(1).max())]
        rows, scores = self._scored(users, top.indices[:, : wanted.shape[1]], wanted)
        if allowed is not None:
            scores.masked_fill_(~allowed.gather(1, rows), -torch.inf)
        if barred is not None:
            # A number for each pair of a query and a row; padding may hold a row more than once.
            pairs = rows + self.count * torch.arange(len(rows), device=rows.device)[:, None]
            scores.masked_fill_(torch.isin(pairs, barred.queries * self.count + barred.rows), -torch.inf)
        found, values = best(scores, rows, min(k, scores.shape[1]))
        missing = k - found.shape[1]
        pad = torch.nn.functional.pad
        return pad(found, (0, missing), value=-1), pad(values, (0, missing), value=-torch.inf)

    def _scored(self, users: Tensor, blocks: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
        """The rows of these blocks, (B, C), and their scores, -inf where not `wanted`: (B, C * BLOCK) each."""
        queries, _ = wanted.nonzero(as_tuple=True)
        items = blocks[wanted][:, None] * BLOCK + self._within
        chosen = self.rows.index_select(0, items.clamp(max=len(self.rows) - 1).flatten())
        vectors = self.vectors.index_select(0, chosen).view(*items.shape, self.vectors.shape[1])
        found = (vectors @ users[queries, :, None])[:, :, 0] + self.biases.index_select(0, chosen).view(items.shape)
        rows = torch.zeros(*wanted.shape, BLOCK, dtype=torch.int64, device=users.device)
        scores = users.new_full(rows.shape, -torch.inf)
        rows[wanted] = chosen.long().view(items.shape)
        scores[wanted] = found.masked_fill_(items >= len(self.rows), -torch.inf)
        return rows.flatten(1), scores.flatten(1)


def finite(vectors: Tensor, biases: Tensor) -> Tensor:
    """Which rows may answer, (N,): a score that is no number would hide its whole block."""
    return biases.isfinite() & vectors.isfinite().all(1)
