"""Exact top K by `models/native/search.c`: the scores of a panel of items never leave the processor's first cache.

Letters: B queries, N items, d width, K results.
"""

from __future__ import annotations

from copy import copy
from typing import Self

import numpy as np
import torch
from torch import Tensor

from models.index import GRID, Barred, Hits
from models.library import called, place

PANEL = 64  # items, as in search.c


class Panels:
    """Scores every item, as `models.index.Exact` does, on the CPU."""

    score = 1.5e-9
    """Seconds, about, that an item of 64 components takes for a query among others, on a core with AVX-512."""

    def __init__(self, vectors: Tensor, biases: Tensor) -> None:
        """`vectors` (N, d) and `biases` (N,). A bias that is not finite takes its row out of every answer."""
        self.count, d = vectors.shape
        panels = -(-self.count // PANEL)
        padded = torch.zeros(panels * PANEL, d)
        padded[: self.count] = vectors
        self._panels = padded.view(panels, PANEL, d).transpose(1, 2).contiguous()
        self._biases = torch.full((panels * PANEL,), -torch.inf)
        self._biases[: self.count] = biases.where(biases.isfinite(), -torch.inf)
        self._places = self._panels.data_ptr(), self._biases.data_ptr()

    def unbiased(self) -> Self:
        """See `models.index.Index`; the panels are shared."""
        other = copy(self)
        other._biases = self._biases.masked_fill(self._biases.isfinite(), 0.0)
        other._places = self._places[0], other._biases.data_ptr()
        return other

    def search(self, users: Tensor, allowed: Tensor | None, k: int, barred: Barred | None = None) -> Hits:
        """See `models.index.Index`. K is `k`, or N where that is less; a score that is no number is not allowed."""
        B, d = users.shape
        k = min(k, self.count)
        if k < 1:
            return Hits(torch.empty(B, 0, dtype=torch.int64), torch.empty(B, 0))
        rows, scores = np.empty((B, k), np.int64), np.empty((B, k), np.float32)
        users = users.contiguous()
        allowed = None if allowed is None else allowed.contiguous()
        queries, unwanted = (None, None) if barred is None else (part.contiguous() for part in barred)
        called(
            "innerloop_search",
            self.count, d, self._places[0], self._places[1], B, users.data_ptr(), begin(allowed),
            0 if queries is None else len(queries), begin(queries), begin(unwanted), k, GRID, place(rows),
            place(scores),
        )  # fmt: skip
        return Hits(torch.from_numpy(rows), torch.from_numpy(scores))


def begin(tensor: Tensor | None) -> int | None:
    """Where a contiguous tensor begins."""
    return None if tensor is None else tensor.data_ptr()
