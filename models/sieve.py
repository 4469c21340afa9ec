"""Exact top K by `models/native/sieve.c`: all items scored roughly by AMX's tiles, those in doubt again in float32.

Letters: B queries, N items, d width, K results, G blocks, S steps of 32 components.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Self

import numpy as np
import torch
from torch import Tensor

from models.index import GRID, Barred, Hits
from models.library import POINTER, REAL, WHOLE, called, library, place
from models.panels import Panels, begin

BLOCK = 32  # items, as in sieve.c
PLACES = 1 << 31  # numbers of all vectors: what sieve.c counts them by
TOO_LONG = 1e15  # an item, as in sieve.c; none that is shorter overflows, squared or in bfloat16


class _Catalogue(ctypes.Structure):
    """`Catalogue` of sieve.c."""

    _fields_ = [
        *((name, WHOLE) for name in ("N", "r", "steps")),
        *((name, POINTER) for name in ("codes", "vectors", "panels", "biases", "lengths", "offs")),
        *((name, REAL) for name in ("longest", "highest")),
    ]  # fmt: skip


@cache
def sieves() -> bool:
    """Whether this processor can; the system is asked for tiles."""
    found = library()
    return found is not None and bool(found.innerloop_sieves())


class Sieve(Panels):
    """As `Panels` to the last bit, and faster; it is `Panels` where rows are asked for by a mask."""

    score = 0.4e-9

    def __init__(self, vectors: Tensor, biases: Tensor) -> None:
        """See `Panels`. Vectors that are float32 and contiguous are not copied: they must stay as they are.

        Raises:
            ValueError: this processor cannot, or these vectors are none or too many, or too long or no numbers.
        """
        N, d = vectors.shape
        if not (0 < N * d < PLACES and sieves()):
            raise ValueError("this processor cannot, or there are no vectors or too many")
        self._vectors = vectors.float().contiguous()
        rough = self._vectors.bfloat16()
        G, S = -(-N // BLOCK), -(-d // 32)
        self._lengths = _longest(self._vectors, G)
        self._offs = _longest(self._vectors - rough, G)
        self._longest = float(self._lengths.max())
        if not self._longest + float(self._offs.max()) < TOO_LONG:  # nor is it where either is not a number
            raise ValueError("these vectors are too long, or not of numbers")
        super().__init__(self._vectors, biases)
        padded = torch.nn.functional.pad(rough, (0, 32 * S - d, 0, BLOCK * G - N))
        pairs = padded.view(torch.int32).view(G, 2, 16, S, 16)
        self._codes = pairs.permute(0, 3, 1, 4, 2).contiguous()
        self._describe()

    def _describe(self) -> None:
        biases = self._biases[self._biases.isfinite()]
        self._catalogue = _Catalogue(
            *self._vectors.shape, self._codes.shape[1], self._codes.data_ptr(), self._vectors.data_ptr(), *self._places,
            self._lengths.data_ptr(), self._offs.data_ptr(), self._longest,
            float(biases.abs().max()) if len(biases) else 0.0,
        )  # fmt: skip

    def unbiased(self) -> Self:
        """See `models.index.Index`; all but the biases is shared."""
        other = super().unbiased()
        other._describe()
        return other

    def search(self, users: Tensor, allowed: Tensor | None, k: int, barred: Barred | None = None) -> Hits:
        """See `models.panels.Panels`."""
        B, k = len(users), min(k, self.count)
        if allowed is not None or k < 1:
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


def _longest(vectors: Tensor, blocks: int) -> Tensor:
    """The length of the longest of each block's vectors, (G,)."""
    lengths = vectors.norm(dim=1)
    return torch.nn.functional.pad(lengths, (0, BLOCK * blocks - len(lengths))).view(blocks, BLOCK).amax(1)
