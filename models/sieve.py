"""Exact top K by `models/native/sieve.c`: all items scored roughly by AMX's tiles, those in doubt again in float32.

Letters: B queries, N items, d width, K results, G blocks, S steps of 32 components.
"""

from __future__ import annotations

import ctypes
import math
from functools import cache
from typing import Self

import numpy as np
import torch
from torch import Tensor

from models.index import GRID, Barred, Hits
from models.library import POINTER, REAL, WHOLE, called, library, place
from models.panels import Panels, begin

BLOCK = 32  # items, as in sieve.c
MOST = 100  # results, as in sieve.c
PLACES = 1 << 31  # numbers of all vectors: what sieve.c counts them by


class _Catalogue(ctypes.Structure):
    """`Catalogue` of sieve.c."""

    _fields_ = [
        *((name, WHOLE) for name in ("count", "rank", "steps")),
        *((name, POINTER) for name in ("codes", "vectors", "panels", "biases")),
        *((name, REAL) for name in ("longest", "off", "highest")),
    ]  # fmt: skip


@cache
def _sieves() -> bool:
    """Whether this processor can."""
    found = library()
    return found is not None and bool(found.innerloop_sieves())


class Sieve(Panels):
    """As `Panels` to the last bit, and faster; it is `Panels` where rows are asked for by a mask."""

    score = 0.4e-9

    @staticmethod
    def possible(vectors: Tensor) -> bool:
        """Whether these vectors, (N, d), can be searched so, on this processor."""
        return 0 < vectors.numel() < PLACES and _sieves() and math.isfinite(float(vectors.norm()))

    def __init__(self, vectors: Tensor, biases: Tensor) -> None:
        """See `Panels`.

        Raises:
            ValueError: it is not `possible`.
        """
        if not self.possible(vectors):  # which also asks the system for tiles
            raise ValueError("this processor cannot, or these vectors are not such")
        super().__init__(vectors, biases)
        N, d = vectors.shape
        G, S = -(-N // BLOCK), -(-d // 32)
        self._vectors = vectors.contiguous()
        rough = vectors.bfloat16()
        padded = torch.nn.functional.pad(rough, (0, 32 * S - d, 0, BLOCK * G - N))
        pairs = padded.view(torch.int32).view(G, 2, 16, S, 16)
        self._codes = pairs.permute(0, 3, 1, 4, 2).contiguous()
        self._longest = float(vectors.norm(dim=1).max())
        self._off = float((vectors - rough.float()).norm(dim=1).max())
        self._describe()

    def _describe(self) -> None:
        biases = self._biases[self._biases.isfinite()]
        self._catalogue = _Catalogue(
            *self._vectors.shape, self._codes.shape[1], self._codes.data_ptr(), self._vectors.data_ptr(), *self._places,
            self._longest, self._off, float(biases.abs().max()) if len(biases) else 0.0,
        )  # fmt: skip

    def unbiased(self) -> Self:
        """See `models.index.Index`; all but the biases is shared."""
        other = super().unbiased()
        other._describe()
        return other

    def search(self, users: Tensor, allowed: Tensor | None, k: int, barred: Barred | None = None) -> Hits:
        """See `models.panels.Panels`."""
        B, k = len(users), min(k, self.count)
        if allowed is not None or not 0 < k <= MOST:
            return super().search(users, allowed, k, barred)
        rows, scores = np.empty((B, k), np.int64), np.empty((B, k), np.float32)
        users = users.contiguous()
        queries, unwanted = (None, None) if barred is None else (part.contiguous() for part in barred)
        called(
            "innerloop_sieve",
            ctypes.addressof(self._catalogue), B, users.data_ptr(), 0 if queries is None else len(queries),
            begin(queries), begin(unwanted), k, GRID, place(rows), place(scores),
        )  # fmt: skip
        return Hits(torch.from_numpy(rows), torch.from_numpy(scores))
