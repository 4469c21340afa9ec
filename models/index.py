"""Top K over item vectors: score(u, i) = u . v_i + b_i, best first. An index stands for one state of the catalogue.

Letters: B queries, N items, d width, K results.
"""

from __future__ import annotations

import math
from copy import copy
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from models.held import held
from models.scripted import scripted

GRID = 4096
"""Scores are told apart to 1/4096 and ties go to the lower row. A matrix product rounds differently in a batch than
alone, by far less than that: so a user gets the same items either way."""

SPARE = 8
_ROW_BITS = 28
_NOTHING = torch.iinfo(torch.int64).min
_CHUNK = 1 << 24  # scores held at once, so that a large catalogue does not multiply with a large batch


class Hits(NamedTuple):
    """The best items of each query, best first, on the CPU."""

    rows: Tensor  # (B, K) int64, -1 after the last where fewer than K were allowed
    scores: Tensor  # (B, K) float32, -inf there


class Barred(NamedTuple):
    """Single rows that single queries may not be answered with, as P pairs; the same pair may come twice."""

    queries: Tensor  # (P,) int64, places in the batch
    rows: Tensor  # (P,) int64


class Index(Protocol):
    """Anything that finds the items with the highest scores."""

    def search(self, users: Tensor, allowed: Tensor | None, k: int, barred: Barred | None = None) -> Hits:
        """Up to `k` rows for each of `users`, (B, d).

        Args:
            allowed: (B, N) bool, the rows that may answer; None for all.
            barred: pairs to leave out as well; far cheaper than a mask where few rows of many are not wanted.
        """

    def unbiased(self) -> Index:
        """The same with a bias of 0 for every row that may answer; what it can, it shares with this one."""


class Exact:
    """Scores every item: the truth, and fast up to some 100,000 items.

    The rows stand in G blocks, row r in block r mod G. The best k rows are in the k blocks with the highest maxima, so
    only those are ranked. SPARE blocks more tell whether a tie at the edge hides a row; who has one is ranked whole.
    """

    def __init__(self, vectors: Tensor, biases: Tensor) -> None:
        """`vectors` (N, d) and `biases` (N,), on the device that is to search them.

        A bias that is not finite takes its row out of every answer.
        """
        self.count = len(biases)
        block = _block(self.count)
        self._blocks = -(-self.count // block)
        size = self._blocks * block
        # Components by items, as a product with few queries reads them fastest; the bias is one more component.
        self._table = vectors.new_zeros(vectors.shape[1] + 1, size)
        self._table[:-1, : self.count] = vectors.T
        self._table[-1] = -torch.inf
        self._table[-1, : self.count] = biases.where(biases.isfinite(), -torch.inf)
        self._row = torch.arange(size, device=biases.device)
        self._held = held(self._table, self._row)

    def unbiased(self) -> Exact:
        """See `Index`; the table is a copy."""
        other = copy(self)
        other._table = self._table.clone()
        other._table[-1].masked_fill_(self._table[-1].isfinite(), 0.0)
        other._held = held(other._table, other._row)
        return other

    def search(self, users: Tensor, allowed: Tensor | None, k: int, barred: Barred | None = None) -> Hits:
        """See `Index`. K is `k`, or N where that is less; a score that is not a number counts as not allowed."""
        step = max(1, _CHUNK // max(1, self.count))
        if len(users) <= step:
            return Hits(*(found.cpu() for found in self._search(users, allowed, k, barred)))
        found = [
            self._search(
                users[at : at + step], None if allowed is None else allowed[at : at + step], k, part(barred, at, step)
            )
            for at in range(0, len(users), step)
        ]
        return Hits(*(torch.cat(parts).cpu() for parts in zip(*found, strict=True)))

    def _search(self, users: Tensor, allowed: Tensor | None, k: int, barred: Barred | None) -> tuple[Tensor, Tensor]:
        queries, rows = (None, None) if barred is None else barred
        k = min(k, self.count)
        kept = held(users, allowed, queries, rows)
        found: tuple[Tensor, Tensor] = scripted(_exact)(
            self._table, self._row, self.count, self._blocks, users, allowed, queries, rows, k
        )
        del kept
        return found


def _exact(
    table: Tensor,
    row: Tensor,
    count: int,
    blocks: int,
    users: Tensor,
    allowed: Tensor | None,
    queries: Tensor | None,
    rows: Tensor | None,
    k: int,
    spare: int = SPARE,
) -> tuple[Tensor, Tensor]:
    """The search of `Exact`, over `count` rows in G `blocks`: (B, K) rows and scores.

    `spare`, like the grid and the bits below, is an argument: a scripted function reads no constants of a module.
    """
    scores = torch.nn.functional.pad(users, [0, 1], value=1.0) @ table
    if allowed is not None:
        scores[:, :count].masked_fill_(~allowed, -torch.inf)
    if queries is not None and rows is not None:
        scores.view(-1).index_fill_(0, queries * len(row) + rows, -torch.inf)
    if k + spare >= blocks:
        return best(scores, row.expand_as(scores), k)
    maxima, chosen = _rounded(scores.view(len(scores), len(row) // blocks, blocks).amax(1)).topk(k + spare)
    ranked = (chosen[:, :, None] + row[::blocks]).flatten(1)
    found, values = best(scores.gather(1, ranked), ranked, k)
    # Not a number anywhere shows in its block's maximum, and that comes first.
    hidden = (maxima[:, -1] == maxima[:, k - 1]) & (maxima[:, -1] > -torch.inf) | maxima[:, 0].isnan()
    if bool(hidden.any()):
        whole = scores[hidden]
        found[hidden], values[hidden] = best(whole, row.expand_as(whole), k)
    return found, values


def _rounded(scores: Tensor, grid: int = GRID) -> Tensor:
    """Scores in steps of 1 / GRID, as whole numbers."""
    return scores.mul(grid).round_().clamp_(min=-float(1 << 33)).clamp_(max=float(1 << 33))


def best(
    scores: Tensor, rows: Tensor, k: int, grid: int = GRID, row_bits: int = _ROW_BITS, nothing: int = _NOTHING
) -> tuple[Tensor, Tensor]:
    """The best `k` of (B, M) scores at these rows, (B, M), as Hits has them: rows, then scores."""
    # One integer a score, higher for a lower row among equals: no two are the same, so top K has one answer.
    keys = _rounded(scores).to(torch.int64).mul_(1 << row_bits).sub_(rows)
    top, places = keys.masked_fill_(~(scores > -torch.inf), nothing).topk(k)
    found = rows.gather(1, places)
    none = top == nothing
    values = (top + found).div(1 << row_bits, rounding_mode="floor").float() / grid
    return found.masked_fill_(none, -1), values.masked_fill_(none, -torch.inf)


def _block(count: int) -> int:
    """Rows a block, a power of 2: about as many blocks as rows in the blocks that are ranked."""
    return 1 << max(0, round(math.log2(max(count, 1) / (2 * SPARE)) / 2))


def part(barred: Barred | None, at: int, step: int) -> Barred | None:
    """The pairs of `step` queries from the one at `at` on, which becomes the first."""
    if barred is None:
        return None
    here = (barred.queries >= at) & (barred.queries < at + step)
    return Barred(barred.queries[here] - at, barred.rows[here])
