"""Top K over a large catalogue: every item scored in 8-bit integers, the best blocks again in float32.

A component is a whole number of steps, one step for all items, and so is the bias, so integer scores compare as they
are. All items are scored, so filters cost no recall: what is barred is overwritten before the maxima are taken. The
float32 vectors that decide in the end are the caller's own, not copied.

Letters: B queries, N items, d width, K results, G blocks.
"""

from __future__ import annotations

import torch
from torch import Tensor

from models.index import Barred, Exact, Hits, Index, best

LARGE = 200_000
"""Items from which on integers are faster; below, a whole batch's float32 scores are nearly as quick."""

CHUNK = 4096  # items scored at a time: their scores for a batch stay in the processor's cache
BLOCK = 32  # neighbouring items that share one maximum
BLOCKS = CHUNK // BLOCK
LARGEST = 1 << 23  # steps of a bias: with 127 times twice as many a score still fits into 32 bits
TOGETHER = 64  # queries scored at a time
_LEAST = -(1 << 31)


def index_for(vectors: Tensor, biases: Tensor) -> Index:
    """The fastest index for a catalogue of this size, vectors (N, d) and biases (N,), on the device they are on."""
    if len(biases) >= LARGE and vectors.shape[1] and vectors.device.type == "cpu" and hasattr(torch, "_int_mm"):
        return Quantised(vectors, biases)
    return Exact(vectors, biases)


class Quantised:
    """`bytes_an_item` beside the vectors and biases that are there anyway.

    Items stand in the order of their rows, so that a block is read in one piece when it is ranked. Their codes stand
    otherwise within a chunk, first the first item of each block, then the second: maxima are then taken over whole rows
    of scores.
    """

    def __init__(self, vectors: Tensor, biases: Tensor) -> None:
        """`vectors` (N, d) and `biases` (N,), on the CPU. A bias that is not finite bars its row for all."""
        self.count = len(biases)
        self.vectors = vectors
        self.biases = biases
        self.rows = biases.isfinite().nonzero()[:, 0].int()
        self._item = torch.full((self.count,), -1, dtype=torch.int32)
        self._item[self.rows] = torch.arange(len(self.rows), dtype=torch.int32)
        offsets = biases[self.rows]
        if not len(offsets):
            return
        offsets = offsets - (offsets.min() + offsets.max()) / 2  # the same for all: no order changes
        self.steps = min(127.0 / max(float(vectors.abs().max()), 1e-9), LARGEST / max(float(offsets.abs().max()), 1e-9))
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

    def search(self, users: Tensor, allowed: Tensor | None, k: int, barred: Barred | None = None) -> Hits:
        """See `models.index.Index`."""
        if not len(self.rows):
            shape = (len(users), min(k, self.count))
            return Hits(torch.full(shape, -1), torch.full(shape, -torch.inf))
        found = []
        for at in range(0, max(len(users), 1), TOGETHER):
            queries = slice(at, at + TOGETHER)
            pairs = None
            if barred is not None:
                here = (barred.queries >= at) & (barred.queries < at + TOGETHER)
                pairs = Barred(barred.queries[here] - at, barred.rows[here])
            found.append(
                self._search(users[queries], None if allowed is None else allowed[queries], min(k, self.count), pairs)
            )
        return Hits(*(torch.cat(parts) for parts in zip(*found, strict=True)))

    def _search(self, users: Tensor, allowed: Tensor | None, k: int, barred: Barred | None) -> tuple[Tensor, Tensor]:
        maxima = self._maxima(users, allowed, barred)
        blocks = maxima.topk(min(2 * k + 10, maxima.shape[1])).indices
        items = (blocks[:, :, None] * BLOCK + torch.arange(BLOCK)).flatten(1)
        chosen = self.rows.index_select(0, items.clamp(max=len(self.rows) - 1).flatten())
        vectors = self.vectors.index_select(0, chosen).view(*items.shape, self.vectors.shape[1])
        scores = (vectors @ users[:, :, None])[:, :, 0] + self.biases.index_select(0, chosen).view(items.shape)
        rows = chosen.long().view(items.shape)
        scores.masked_fill_(items >= len(self.rows), -torch.inf)
        if allowed is not None:
            scores.masked_fill_(~allowed.gather(1, rows), -torch.inf)
        if barred is not None:
            # A number for each pair of a query and a row; padding may hold a row more than once.
            pairs = rows + self.count * torch.arange(len(rows))[:, None]
            scores.masked_fill_(torch.isin(pairs, barred.queries * self.count + barred.rows), -torch.inf)
        found, values = best(scores, rows, min(k, scores.shape[1]))
        missing = k - found.shape[1]
        pad = torch.nn.functional.pad
        return pad(found, (0, missing), value=-1), pad(values, (0, missing), value=-torch.inf)

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
        for number in range(len(self.codes) // CHUNK):
            part = slice(number * CHUNK, (number + 1) * CHUNK)
            torch._int_mm(self.codes[part], queries, out=scores)
            scores.addcmul_(self._offsets[part, None], weights)
            rows = self.rows[part]
            if allowed is not None:
                unwanted = torch.nn.functional.pad(~allowed[:, rows], (0, CHUNK - len(rows)))
                by_block.masked_fill_(unwanted.view(B, BLOCKS, BLOCK).permute(2, 1, 0), _LEAST)
            if number in bars:
                scores.view(-1).index_fill_(0, bars[number], _LEAST)
            torch.amax(by_block, 0, out=maxima[number * BLOCKS : (number + 1) * BLOCKS])
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
