"""Top K over a large catalogue on a GPU: every item scored in half precision, the best blocks again in float32.

The scores of a batch are never held whole: a chunk of items at a time is scored and brought to its blocks' maxima,
small enough to stay in the device's cache. What is left to pay is one pass over the items, 2 bytes a component.
float16 and not bfloat16: as many bytes, and scores that are told apart eight times as finely.

Letters: B queries, N items, d width, G blocks.
"""

from __future__ import annotations

import torch
from torch import Tensor

from models.blocked import BLOCK, Blocked, finite
from models.index import Barred

HELD = 1 << 23
"""Scores held at a time."""
TOGETHER = 1024
LARGEST = 6e4  # of a half, nearly


class Halved(Blocked):
    """Item vectors in half precision, `bytes_an_item` beside those in float32 that are there anyway."""

    def __init__(self, vectors: Tensor, biases: Tensor) -> None:
        """`vectors` (N, d) and `biases` (N,), on the device. What is not finite bars its row for all."""
        rows = torch.arange(len(biases), dtype=torch.int32, device=vectors.device)
        offered = finite(vectors, biases)
        super().__init__(vectors, biases.where(offered, -torch.inf), rows, TOGETHER, spare=30)
        size = self.count + -self.count % BLOCK
        self._halves = vectors.new_zeros(size, vectors.shape[1], dtype=torch.float16)
        self._halves[: self.count] = vectors.nan_to_num()
        self._offsets = vectors.new_full((size,), -torch.inf, dtype=torch.float16)
        self._offsets[: self.count] = biases.clamp(-LARGEST, LARGEST).where(offered, -torch.inf)

    def _forget_biases(self) -> None:
        self._offsets = self._offsets.masked_fill(self._offsets.isfinite(), 0.0)

    @property
    def bytes_an_item(self) -> int:
        """What this holds beside the float32 vectors: halves, biases, and rows."""
        return 2 * self._halves.shape[1] + self._offsets.itemsize + self.rows.itemsize

    def _maxima(self, users: Tensor, allowed: Tensor | None, barred: Barred | None) -> tuple[Tensor, Tensor]:
        B, size = len(users), len(self._halves)
        halves = users.clamp(-LARGEST, LARGEST).half()
        maxima = users.new_empty(B, size // BLOCK, dtype=torch.float16)
        chunk = max(BLOCK, HELD // B // BLOCK * BLOCK)
        starts = list(range(0, size, chunk))
        bars = _by_chunk(barred, starts) if barred is not None else {}
        for number, start in enumerate(starts):
            part = slice(start, min(start + chunk, size))
            scores = torch.addmm(self._offsets[part], halves, self._halves[part].T)
            if allowed is not None:
                here = allowed[:, part]
                scores[:, : here.shape[1]].masked_fill_(~here, -torch.inf)
            if number in bars:
                queries, rows = bars[number]
                scores.view(-1).index_fill_(0, queries * scores.shape[1] + rows - start, -torch.inf)
            torch.amax(scores.view(B, -1, BLOCK), 2, out=maxima[:, start // BLOCK : part.stop // BLOCK])
        return maxima, users.new_full((B,), torch.inf)  # not reckoned: as many blocks as may be are ranked


def _by_chunk(barred: Barred, starts: list[int]) -> dict[int, Barred]:
    """The pairs that fall into each of the chunks that begin there."""
    rows, order = barred.rows.sort()
    queries = barred.queries[order]
    edges = torch.searchsorted(rows, torch.tensor(starts[1:], device=rows.device)).cpu()
    parts = zip(torch.tensor_split(queries, edges), torch.tensor_split(rows, edges), strict=True)
    return {number: Barred(*part) for number, part in enumerate(parts) if len(part[0])}
