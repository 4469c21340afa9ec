"""Integer scores of all items by `models/native/scan.c`: a block's scores never leave the processor's first cache.

Letters: B queries, M items, N rows, d width, G blocks, S steps of four components.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from functools import cache
from typing import Self

import torch
from torch import Tensor

from models.blocked import BLOCK
from models.index import Barred
from models.library import called, library

MOST = 64  # queries, as in scan.c
CODED = 1 << 16  # items at a time
REGISTERS, TILES = 1, 2


@cache
def best_scan() -> int:
    """The best way of this processor, as scan.c numbers them: 0 for none, 1 for registers, 2 for tiles."""
    found = library()
    return 0 if found is None or found.innerloop_scan_block() != BLOCK else int(found.innerloop_scans())


class Scan:
    """As `models.chunked.Chunked`, by one thread."""

    def __init__(self, code: Callable[[slice], Tensor], d: int, rows: Tensor, item: Tensor, by: int) -> None:
        """See `models.chunked.Chunked`; `by` is a way of scan.c's.

        Raises:
            ValueError: this processor has no such way.
        """
        if not 0 < by <= best_scan():  # which also asks the system for tiles
            raise ValueError(f"this processor cannot scan by {by}: its best is {best_scan()}")
        whole = 64 * -(-d // 64)  # what tiles read at a time
        self._by = min(by, REGISTERS) if whole > 1.5 * d else by
        self._rows, self._item = rows, item
        self._steps = (whole if self._by == TILES else d + -d % 4) // 4
        self._blocks = -(-len(rows) // BLOCK)
        self._codes = torch.zeros(self._blocks, 2, self._steps, BLOCK // 2, 4, dtype=torch.uint8)
        for start in range(0, len(rows), CODED):
            part = (code(slice(start, start + CODED)).short() + 128).to(torch.uint8)
            padded = torch.nn.functional.pad(part, (0, 4 * self._steps - d, 0, -len(part) % BLOCK), value=128)
            here = slice(start // BLOCK, start // BLOCK + len(padded) // BLOCK)
            self._codes[here] = padded.reshape(-1, 2, BLOCK // 2, self._steps, 4).transpose(2, 3)

    def weigh(self, offsets: Tensor, spread: int, nothing: int) -> Self:
        """See `models.chunked.Chunked`."""
        other = copy(self)
        offsets = torch.nn.functional.pad(offsets, (0, self._blocks * BLOCK - len(offsets)), value=nothing)
        offsets = offsets.view(-1, BLOCK)
        below = offsets - offsets[:, :1]
        uneven = below.amin(1) < -spread
        other._highest = offsets[:, 0].contiguous()
        other._below = below[uneven].contiguous()
        other._below_at = torch.where(uneven, uneven.cumsum(0) - 1, -1).int()
        return other

    @property
    def nbytes(self) -> int:
        """Of codes and biases."""
        kept = (self._codes, self._highest, self._below, self._below_at)
        return sum(tensor.nbytes for tensor in kept)

    def maxima(self, queries: Tensor, weights: Tensor, allowed: Tensor | None, barred: Barred | None) -> Tensor:
        """See `models.chunked.Chunked`; B is at most MOST."""
        B, d = queries.shape
        asked = torch.zeros(MOST, 4 * self._steps, dtype=torch.int8)
        asked[:B, :d] = queries
        weights, sums = weights.contiguous(), queries.sum(1, dtype=torch.int32)
        maxima = torch.empty(B, self._blocks, dtype=torch.int32)
        users = items = torch.empty(0, dtype=torch.int64)
        if barred is not None:
            items = self._item[barred.rows].long()
            users, items = barred.queries[items >= 0].contiguous(), items[items >= 0]
        allowed = None if allowed is None else allowed.contiguous()
        called(
            "innerloop_scan",
            self._by, self._blocks, self._steps, self._codes.data_ptr(), self._highest.data_ptr(),
            self._below_at.data_ptr(), self._below.data_ptr(), len(self._rows), len(self._item),
            self._rows.data_ptr(), B, asked.data_ptr(), weights.data_ptr(), sums.data_ptr(),
            None if allowed is None else allowed.data_ptr(), len(users), users.data_ptr(), items.data_ptr(),
            maxima.data_ptr(),
        )  # fmt: skip
        return maxima

    _highest: Tensor
    _below: Tensor
    _below_at: Tensor
