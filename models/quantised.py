"""Top K over a large catalogue on a processor: items scored in 8-bit integers, the best blocks again in float32.

A component is a whole number of steps, one step for all items, and so is the bias: integer scores compare as they are.
Items stand in descending order of their biases. Nearly everywhere but at both ends neighbours then have one bias, which
is added to the maximum of their block and not to each score.

Letters: B queries, N items, d width, G blocks.
"""

from __future__ import annotations

import torch
from torch import Tensor

from models.blocked import Blocked, finite
from models.chunked import Chunked
from models.index import Barred
from models.scan import Scan, best_scan

TOGETHER = 64  # queries scored at a time
SPREAD = 2  # steps that biases in a block may lie apart and pass for one
SURE = 6.0  # standard deviations of the rounding of one score, where two are compared
LARGEST = 1 << 21  # steps of a bias: 127 times as many, two of them apart, still fit into 30 bits with a score


class Quantised(Blocked):
    """`bytes_an_item` beside the vectors and biases that are there anyway."""

    def __init__(self, vectors: Tensor, biases: Tensor, by: int | None = None) -> None:
        """`vectors` (N, d) and `biases` (N,), on the CPU. What is not finite bars its row for all.

        `by`: how items are scored, 0 for torch or a way of `models.scan`; None for the best there is.
        """
        offered = finite(vectors, biases).nonzero()[:, 0]
        rows = offered[biases[offered].argsort(descending=True, stable=True)].int()
        super().__init__(vectors, biases, rows, TOGETHER, spare=30)
        self._item = torch.full((self.count,), -1, dtype=torch.int32)
        self._item[rows] = torch.arange(len(rows), dtype=torch.int32)
        if not len(rows):
            return
        offsets = biases[rows]
        offsets = offsets - (offsets[0] + offsets[-1]) / 2  # the same for all: no order changes
        parts = torch.split(rows, 1 << 12)
        largest = max(*(float(vectors[part].abs().max()) for part in parts), 1e-9)
        longest = max(float(vectors[part].norm(dim=1).max()) for part in parts)
        self._steps = min(127.0 / largest, LARGEST / max(float(offsets[0]), 1e-9))
        self._longest = self._steps * longest

        def code(part: slice) -> Tensor:
            return (vectors[rows[part]] * self._steps).round().to(torch.int8)

        by = best_scan() if by is None else by
        given = code, vectors.shape[1], rows, self._item
        codes: Scan | Chunked = Scan(*given, by) if by else Chunked(*given)
        self._codes = codes.weigh((offsets * self._steps).round().int(), SPREAD, -2 * LARGEST)

    def _forget_biases(self) -> None:
        if len(self.rows):
            self._codes = self._codes.weigh(torch.zeros(len(self.rows), dtype=torch.int32), SPREAD, -2 * LARGEST)

    @property
    def bytes_an_item(self) -> float:
        """What this holds beside the float32 vectors: codes, biases, and both ways between rows and items."""
        if not len(self.rows):
            return 0.0
        return (self._codes.nbytes + self.rows.nbytes + self._item.nbytes) / len(self.rows)

    def _maxima(self, users: Tensor, allowed: Tensor | None, barred: Barred | None) -> tuple[Tensor, Tensor]:
        # A whole number, so that the bias is weighed exactly.
        scale = (127.0 / users.abs().amax(1, keepdim=True).clamp(min=1.0)).floor().clamp(min=1.0)
        queries = (users * scale).round().clamp(-127, 127).to(torch.int8)
        weights = scale[:, 0].int()
        # Both factors of each product were rounded by up to half a step, and biases; long queries were clipped.
        lengths = queries.float().square().sum(1) + self._longest**2
        clipped = (users * scale - queries).abs().sub(0.5).clamp(min=0.0).sum(1)
        unsure = SURE * (lengths / 12).sqrt() + (SPREAD + 1) * weights + 127 * clipped
        return self._codes.maxima(queries, weights, allowed, barred), unsure
