"""Top K over a large catalogue on a processor: every item scored in 8-bit integers, the best blocks again in float32.

A component is a whole number of steps, one step for all items, and so is the bias: integer scores compare as they are.

Letters: B queries, N items, d width, G blocks.
"""

from __future__ import annotations

import torch
from torch import Tensor

from models.blocked import BLOCK, Blocked, finite
from models.index import Barred

CHUNK = 4096  # items scored at a time: their scores for a batch stay in the processor's cache
BLOCKS = CHUNK // BLOCK
LARGEST = 1 << 23  # steps of a bias: with 127 times twice as many a score still fits into 32 bits
TOGETHER = 64  # queries scored at a time
_LEAST = -(1 << 31)


class Quantised(Blocked):
    """`bytes_an_item` beside the vectors and biases that are there anyway.

    Items stand in the order of their rows, so that a block is read in one piece when it is ranked. Their codes stand
    otherwise within a chunk, first the first item of each block, then the second: maxima are then taken over whole rows
    of scores.
    """

    def __init__(self, vectors: Tensor, biases: Tensor) -> None:
        """`vectors` (N, d) and `biases` (N,), on the CPU. What is not finite bars its row for all."""
        offered = finite(vectors, biases)
        super().__init__(vectors, biases, offered.nonzero()[:, 0].int(), TOGETHER, spare=10)
        self._item = torch.full((self.count,), -1, dtype=torch.int32)
        self._item[self.rows] = torch.arange(len(self.rows), dtype=torch.int32)
        offsets = biases[self.rows]
        if not len(offsets):
            return
        offsets = offsets - (offsets.min() + offsets.max()) / 2  # the same for all: no order changes
        largest = float((vectors if bool(offered.all()) else vectors[self.rows]).abs().max())
        self.steps = min(127.0 / max(largest, 1e-9), LARGEST / max(float(offsets.abs().max()), 1e-9))
        size = len(self.rows) + -len(self.rows) % CHUNK
        self.codes = torch.zeros(size, vectors.shape[1], dtype=torch.int8)
        self._offsets = torch.full((size,), -2 * LARGEST, dtype=torch.int32)  # padding is below all
        for start in range(0, len(self.rows), CHUNK):
            part = slice(start, min(start + CHUNK, len(self.rows)))
            places = start + _place(torch.arange(part.stop - start))
            self.codes[places] = (vectors[self.rows[part]] * self.steps).round().to(torch.int8)
            self._offsets[places] = (offsets[part] * self.steps).round().int()

    @property
    def bytes_an_item(self) -> int:
        """What this holds beside the float32 vectors: codes, biases, and both ways between rows and items."""
        return self.codes.shape[1] + self._offsets.itemsize + self.rows.itemsize + self._item.itemsize

    def _maxima(self, users: Tensor, allowed: Tensor | None, barred: Barred | None) -> Tensor:
        """The best integer score of each block for each query, (B, G)."""
        B = len(users)
        # A whole number, so that the bias is weighed exactly.
        scale = (127.0 / users.abs().amax(1, keepdim=True).clamp(min=1.0)).floor().clamp(min=1.0)
        queries = (users * scale).round().clamp(-127, 127).to(torch.int8).T.contiguous()
        weights = scale.int().T
        scores = torch.empty(CHUNK, B, dtype=torch.int32)
        by_block = scores.view(BLOCK, BLOCKS, B)
        maxima = torch.empty(len(self.codes) // BLOCK, B, dtype=torch.int32)
        bars = self._by_chunk(barred, B)
        chunks = zip(
            torch.split(self.codes, CHUNK), torch.split(self._offsets, CHUNK), torch.split(maxima, BLOCKS), strict=True
        )
        for number, (codes, offsets, into) in enumerate(chunks):
            torch._int_mm(codes, queries, out=scores)
            scores.addcmul_(offsets[:, None], weights)
            if allowed is not None:
                rows = self.rows[number * CHUNK : (number + 1) * CHUNK]
                unwanted = torch.nn.functional.pad(~allowed[:, rows], (0, CHUNK - len(rows)))
                by_block.masked_fill_(unwanted.view(B, BLOCKS, BLOCK).permute(2, 1, 0), _LEAST)
            if number in bars:
                scores.view(-1).index_fill_(0, bars[number], _LEAST)
            torch.amax(by_block, 0, out=into)
        return maxima.T.contiguous()

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


def _place(items: Tensor) -> Tensor:
    """Where in its chunk an item's code stands."""
    within = items % CHUNK
    return within % BLOCK * BLOCKS + within // BLOCK
