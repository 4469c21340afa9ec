"""Integer scores of all items by torch: a chunk at a time, whose scores for a batch stay in the processor's cache.

Letters: B queries, M items, N rows, d width, G blocks.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from typing import Self

import torch
from torch import Tensor

from models.blocked import BLOCK
from models.held import held
from models.index import Barred
from models.scripted import scripted

CHUNK = 4096  # items
BLOCKS = CHUNK // BLOCK
LEAST = -(1 << 30)


class Chunked:
    """It can be searched once `weigh` has given it biases.

    A chunk's codes stand as the first item of each block, then the second of each: maxima are then taken over whole
    rows of scores.
    """

    def __init__(self, code: Callable[[slice], Tensor], d: int, rows: Tensor, item: Tensor) -> None:
        """Args:
        code: the codes, (n, d) int8, of a run of items.
        rows: the row of each item, (M,) int32.
        item: the item of each row, (N,) int32, -1 where there is none.
        """
        self._rows, self._item = rows, item
        self._codes = torch.zeros(len(rows) + -len(rows) % CHUNK, d, dtype=torch.int8)
        for start in range(0, len(rows), CHUNK):
            part = code(slice(start, start + CHUNK))
            self._codes[start + _place(torch.arange(len(part)))] = part
        self._held = held(self._codes, rows)

    def weigh(self, offsets: Tensor, spread: int, nothing: int) -> Self:
        """The same with these biases, (M,) int32, in descending order.

        Args:
            spread: how far biases within a block may lie apart and pass for one.
            nothing: the bias of what fills up the last chunk.
        """
        other = copy(self)
        offsets = torch.nn.functional.pad(offsets, (0, len(self._codes) - len(offsets)), value=nothing)
        other._highest = offsets[::BLOCK].contiguous()
        other._below = {}
        below = offsets.view(-1, BLOCK) - other._highest[:, None]
        for number, own in enumerate(torch.split(below, BLOCKS)):
            if int(own.min()) < -spread:
                other._below[number] = own.T.reshape(CHUNK, 1)
        return other

    @property
    def nbytes(self) -> int:
        """Of codes and biases."""
        return sum(tensor.nbytes for tensor in (self._codes, self._highest, *self._below.values()))

    def maxima(self, queries: Tensor, weights: Tensor, allowed: Tensor | None, barred: Barred | None) -> Tensor:
        """The best integer score of each block, (B, G) int32.

        Args:
            queries: (B, d) int8.
            weights: (B,) int32, what a step of bias counts.
            allowed, barred: see `models.index.Index`.
        """
        queries, weights = queries.T, weights[None]
        kept = held(queries, weights, allowed)
        found: Tensor = scripted(_scan)(
            self._codes, queries, self._below, weights, self._rows, allowed, self._by_chunk(barred, queries.shape[1]),
            CHUNK, BLOCK, LEAST,
        )  # fmt: skip
        del kept
        return found.addcmul_(self._highest[:, None], weights).T.contiguous()

    def _by_chunk(self, barred: Barred | None, B: int) -> dict[int, Tensor]:
        """Places in each chunk's flat scores that are not wanted."""
        if barred is None:
            return {}
        items = self._item[barred.rows].long()
        kept = items >= 0
        order = items[kept].sort()
        flat = _place(order.values) * B + barred.queries[kept][order.indices]
        counts = torch.bincount(order.values // CHUNK)
        parts = torch.tensor_split(flat, counts.cumsum(0)[:-1]) if len(counts) else ()
        return {number: part for number, part in enumerate(parts) if len(part)}

    _highest: Tensor
    _below: dict[int, Tensor]


def _scan(
    codes: Tensor,
    queries: Tensor,
    below: dict[int, Tensor],
    weights: Tensor,
    rows: Tensor,
    allowed: Tensor | None,
    bars: dict[int, Tensor],
    chunk: int,
    block: int,
    least: int,
) -> Tensor:
    """The best integer score of each block for each query, (G, B), the bias of its highest aside.

    `below`, `bars`: by chunk, what biases lie below those, (chunk, 1), and places in the flat scores that are barred.
    The last three are arguments because a scripted function reads no constants of a module.
    """
    B, blocks = queries.shape[1], chunk // block
    scores = torch.empty([chunk, B], dtype=torch.int32)
    by_block = scores.view(block, blocks, B)
    maxima = torch.empty([len(codes) // block, B], dtype=torch.int32)
    for number in range(len(codes) // chunk):
        torch._int_mm(codes[number * chunk : (number + 1) * chunk], queries, out=scores)
        if number in below:
            scores.addcmul_(below[number], weights)
        if allowed is not None:
            here = rows[number * chunk : (number + 1) * chunk]
            unwanted = torch.nn.functional.pad(~allowed[:, here], [0, chunk - len(here)])
            by_block.masked_fill_(unwanted.view(B, blocks, block).permute(2, 1, 0), least)
        if number in bars:
            scores.view(-1).index_fill_(0, bars[number], least)
        torch.amax(by_block, 0, out=maxima[number * blocks : (number + 1) * blocks])
    return maxima


def _place(items: Tensor) -> Tensor:
    """Where in its chunk an item's code stands."""
    within = items % CHUNK
    return within % BLOCK * BLOCKS + within // BLOCK
