"""Top K over a large catalogue on a processor: items scored in 8-bit integers, the best blocks again in float32.

A component is a whole number of steps, one step for all items, and so is the bias: integer scores compare as they are.
Items stand in descending order of their biases. Nearly everywhere but at both ends neighbours then have one bias, which
is added to the maximum of their block and not to each score.

Letters: B queries, N items, d width, G blocks.
"""

from __future__ import annotations

import torch
from torch import Tensor

from models.blocked import BLOCK, Blocked, finite
from models.held import held
from models.index import Barred
from models.scripted import scripted

CHUNK = 4096  # items scored at a time: their scores for a batch stay in the processor's cache
BLOCKS = CHUNK // BLOCK
TOGETHER = 64  # queries scored at a time
SPREAD = 2  # steps that biases in a block may lie apart and pass for one
SURE = 6.0  # standard deviations of the rounding of one score, where two are compared
LARGEST = 1 << 21  # steps of a bias: 127 times as many, two of them apart, still fit into 30 bits with a score
_LEAST = -(1 << 30)


class Quantised(Blocked):
    """`bytes_an_item` beside the vectors and biases that are there anyway.

    A chunk's codes stand as the first item of each block, then the second of each: maxima are then taken over whole
    rows of scores.
    """

    def __init__(self, vectors: Tensor, biases: Tensor) -> None:
        """`vectors` (N, d) and `biases` (N,), on the CPU. What is not finite bars its row for all."""
        offered = finite(vectors, biases).nonzero()[:, 0]
        rows = offered[biases[offered].argsort(descending=True, stable=True)].int()
        super().__init__(vectors, biases, rows, TOGETHER, spare=30)
        self._item = torch.full((self.count,), -1, dtype=torch.int32)
        self._item[rows] = torch.arange(len(rows), dtype=torch.int32)
        if not len(rows):
            return
        size = len(rows) + -len(rows) % CHUNK
        self._codes = torch.zeros(size, vectors.shape[1], dtype=torch.int8)
        offsets = biases[rows]
        offsets = offsets - (offsets[0] + offsets[-1]) / 2  # the same for all: no order changes
        self._held = held(self._codes, self.rows)
        parts = torch.split(rows, CHUNK)
        largest = max(*(float(vectors[part].abs().max()) for part in parts), 1e-9)
        longest = max(float(vectors[part].norm(dim=1).max()) for part in parts)
        self._steps = min(127.0 / largest, LARGEST / max(float(offsets[0]), 1e-9))
        self._longest = self._steps * longest
        for number, part in enumerate(parts):
            places = number * CHUNK + _place(torch.arange(len(part)))
            self._codes[places] = (vectors[part] * self._steps).round().to(torch.int8)
        self._weigh((offsets * self._steps).round().int())

    def _weigh(self, offsets: Tensor) -> None:
        """Let items have these biases, (M,) int32, in steps and in descending order."""
        offsets = torch.nn.functional.pad(offsets, (0, len(self._codes) - len(offsets)), value=-2 * LARGEST)
        self._highest = offsets[::BLOCK].contiguous()
        self._below: dict[int, Tensor] = {}
        for number, own in enumerate(torch.split(offsets.view(-1, BLOCK) - self._highest[:, None], BLOCKS)):
            if int(own.min()) < -SPREAD:
                self._below[number] = own.T.reshape(CHUNK, 1)

    def _forget_biases(self) -> None:
        if len(self.rows):
            self._weigh(torch.zeros(len(self.rows), dtype=torch.int32))

    @property
    def bytes_an_item(self) -> float:
        """What this holds beside the float32 vectors: codes, biases, and both ways between rows and items."""
        if not len(self.rows):
            return 0.0
        kept = (self._codes, self._highest, *self._below.values(), self.rows, self._item)
        return sum(tensor.nbytes for tensor in kept) / len(self.rows)

    def _maxima(self, users: Tensor, allowed: Tensor | None, barred: Barred | None) -> tuple[Tensor, Tensor]:
        # A whole number, so that the bias is weighed exactly.
        scale = (127.0 / users.abs().amax(1, keepdim=True).clamp(min=1.0)).floor().clamp(min=1.0)
        queries = (users * scale).round().clamp(-127, 127).to(torch.int8).T
        weights = scale.int().T
        bars = self._by_chunk(barred, len(users))
        kept = held(queries, weights, allowed)
        maxima: Tensor = scripted(_scan)(
            self._codes, queries, self._below, weights, self.rows, allowed, bars, CHUNK, BLOCK, _LEAST
        )
        del kept
        # Both factors of each product were rounded by up to half a step, and biases; long queries were clipped.
        lengths = queries.float().square().sum(0) + self._longest**2
        clipped = (users * scale - queries.T).abs().sub(0.5).clamp(min=0.0).sum(1)
        unsure = SURE * (lengths / 12).sqrt() + (SPREAD + 1) * weights[0] + 127 * clipped
        return maxima.addcmul_(self._highest[:, None], weights).T.contiguous(), unsure

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
