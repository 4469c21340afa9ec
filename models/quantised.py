"""Top K over a large catalogue: every item scored in 8-bit integers, the best blocks again in float32.

A component is a whole number of steps, one step for all items, so integer scores compare as they are. The bias is a
number of steps too, spread over a few components more. All items are scored, so filters cost no recall: what is barred
is overwritten before the maxima are taken. The float32 vectors that decide in the end are the caller's own, not copied.

Letters: B queries, N items, d width, K results, G blocks.
"""

from __future__ import annotations

import torch
from torch import Tensor

from models.index import Barred, Exact, Hits, Index, best

LARGE = 200_000
"""Items from which on integers are faster; below, a whole batch's float32 scores are nearly as quick."""

CHUNK = 4096  # items scored at a time: their scores for a batch stay in the processor's cache
BLOCK = 32  # items of a chunk that share one maximum
BIAS_COMPONENTS = 8
TOGETHER = 64  # queries scored at a time
_LEAST = -(1 << 31)


def index_for(vectors: Tensor, biases: Tensor) -> Index:
    """The fastest index for a catalogue of this size, vectors (N, d) and biases (N,), on the device they are on."""
    if len(biases) >= LARGE and vectors.shape[1] and vectors.device.type == "cpu" and hasattr(torch, "_int_mm"):
        return Quantised(vectors, biases)
    return Exact(vectors, biases)


class Quantised:
    """`bytes_an_item` beside the vectors and biases that are there anyway."""

    def __init__(self, vectors: Tensor, biases: Tensor) -> None:
        """`vectors` (N, d) and `biases` (N,), on the CPU. A bias that is not finite bars its row for all."""
        self.count = len(biases)
        self.vectors = vectors
        self.biases = biases
        self.rows = biases.isfinite().nonzero()[:, 0].int()
        self._place = torch.full((self.count,), -1, dtype=torch.int32)
        self._place[self.rows] = torch.arange(len(self.rows), dtype=torch.int32)
        offsets = biases[self.rows]
        if not len(offsets):
            return
        offsets = offsets - (offsets.min() + offsets.max()) / 2  # the same for all: no order changes
        # Fine enough for the components, and so coarse that the largest bias fits.
        reach = max(float(vectors.abs().max()), float(offsets.abs().max()) / BIAS_COMPONENTS)
        self.steps = 127.0 / max(reach, 1e-9)
        d = vectors.shape[1]
        self.codes = torch.zeros(len(self.rows) + -len(self.rows) % CHUNK, d + BIAS_COMPONENTS, dtype=torch.int8)
        for start in range(0, len(self.rows), CHUNK):
            part = slice(start, min(start + CHUNK, len(self.rows)))
            self.codes[part, :d] = (vectors[self.rows[part]] * self.steps).round().to(torch.int8)
            whole = (offsets[part] * self.steps).round().clamp(-127 * BIAS_COMPONENTS, 127 * BIAS_COMPONENTS).long()
            share = whole.div(BIAS_COMPONENTS, rounding_mode="floor")[:, None]
            extra = (whole % BIAS_COMPONENTS)[:, None] > torch.arange(BIAS_COMPONENTS)
            self.codes[part, d:] = (share + extra).to(torch.int8)

    @property
    def bytes_an_item(self) -> int:
        """What this holds beside the float32 vectors: the codes, and both ways between rows and places."""
        return self.codes.shape[1] + self.rows.itemsize + self._place.itemsize

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
        chosen = maxima.topk(min(3 * k + 20, maxima.shape[1]))
        chunk, offset = chosen.indices // (CHUNK // BLOCK), chosen.indices % (CHUNK // BLOCK)
        places = chunk[:, :, None] * CHUNK + offset[:, :, None] + torch.arange(0, CHUNK, CHUNK // BLOCK)
        places = places.flatten(1)
        rows = self.rows[places.clamp(max=len(self.rows) - 1)].long()
        scores = torch.baddbmm(self.biases[rows][:, :, None], self.vectors[rows], users[:, :, None])[:, :, 0]
        scores.masked_fill_(places >= len(self.rows), -torch.inf)
        if allowed is not None:
            scores.masked_fill_(~allowed.gather(1, rows), -torch.inf)
        if barred is not None:
            # A number for each pair of a query and a row; padding may hold a row more than once.
            count = int(self._place.shape[0])
            pairs = rows + count * torch.arange(len(rows))[:, None]
            scores.masked_fill_(torch.isin(pairs, barred.queries * count + barred.rows), -torch.inf)
        found, values = best(scores, rows, min(k, scores.shape[1]))
        missing = k - found.shape[1]
        pad = torch.nn.functional.pad
        return pad(found, (0, missing), value=-1), pad(values, (0, missing), value=-torch.inf)

    def _maxima(self, users: Tensor, allowed: Tensor | None, barred: Barred | None) -> Tensor:
        """The best integer score of each block for each query, (B, G)."""
        # A whole number, so that the bias is weighed exactly.
        scale = (127.0 / users.abs().amax(1, keepdim=True).clamp(min=1.0)).floor().clamp(min=1.0)
        weights = scale.expand(-1, self.codes.shape[1] - users.shape[1])
        queries = torch.cat([(users * scale).round(), weights], 1).clamp(-127, 127).to(torch.int8)
        scores = torch.empty(len(users), CHUNK, dtype=torch.int32)
        maxima = torch.empty(len(users), len(self.codes) // BLOCK, dtype=torch.int32)
        bars = self._by_chunk(barred)
        for number in range(len(self.codes) // CHUNK):
            part = slice(number * CHUNK, (number + 1) * CHUNK)
            torch._int_mm(queries, self.codes[part].T, out=scores)
            rows = self.rows[part]
            if allowed is not None:
                scores[:, : len(rows)].masked_fill_(~allowed[:, rows], _LEAST)
            if number in bars:
                scores.view(-1).index_fill_(0, bars[number], _LEAST)
            scores[:, len(rows) :] = _LEAST
            blocks = slice(number * (CHUNK // BLOCK), (number + 1) * (CHUNK // BLOCK))
            torch.amax(scores.view(len(users), BLOCK, CHUNK // BLOCK), 1, out=maxima[:, blocks])
        return maxima

    def _by_chunk(self, barred: Barred | None) -> dict[int, Tensor]:
        """Places in each chunk's flat scores that are not wanted."""
        if barred is None:
            return {}
        places = self._place[barred.rows].long()
        kept = places >= 0
        order = places[kept].sort()
        flat = barred.queries[kept][order.indices] * CHUNK + order.values % CHUNK
        counts = torch.bincount(order.values // CHUNK)
        parts = torch.tensor_split(flat, counts.cumsum(0)[:-1]) if len(counts) else ()
        return {number: part for number, part in enumerate(parts) if len(part)}
