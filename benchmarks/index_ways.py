"""The ways to search that this project has, and the plain one: built, and ready to be measured.

Letters: B queries, N items, d width, K results.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from models.index import Exact, Index
from models.library import library
from models.panels import Panels
from models.quantised import Quantised

K = 10

Search = Callable[[Tensor], Tensor]
"""User vectors (B, d) to rows (B, K) int64, -1 where nothing was found."""


class Absent(Exception):
    """A way that this machine does not have. The message is a sentence for whoever runs the benchmark."""


class Way(NamedTuple):
    """A way to search that was built."""

    searches: dict[int | None, Search]
    """By setting, from quick to thorough; None for a way that has none."""
    held: Callable[[], float]
    """Bytes an item of its own, beside the float32 vectors and biases it was given."""
    reads: bool
    """A search reads the given vectors too, so these must stay in memory."""


def plain(vectors: Tensor, biases: Tensor) -> Way:
    """One product with all `vectors` (N, d), then topk: what the others are measured against."""
    return Way({None: lambda users: torch.addmm(biases, users, vectors.T).topk(K).indices}, lambda: 0.0, True)


def exact(vectors: Tensor, biases: Tensor) -> Way:
    """`models.index.Exact`."""
    return _copied(Exact(vectors, biases))


def panels(vectors: Tensor, biases: Tensor) -> Way:
    """`models.panels.Panels`.

    Raises:
        Absent: the library was not built, or does not suit this processor.
    """
    if library() is None:
        raise Absent("panels is left out: models._native is not built or does not suit this processor.")
    return _copied(Panels(vectors, biases))


def quantised(vectors: Tensor, biases: Tensor) -> Way:
    """`models.quantised.Quantised`."""
    index = Quantised(vectors, biases)
    return Way({None: _rows(index)}, lambda: index.bytes_an_item, True)


def _copied(index: Exact | Panels) -> Way:
    """An index that scores from tensors of its own."""
    held = sum(value.nbytes for value in vars(index).values() if isinstance(value, Tensor))
    return Way({None: _rows(index)}, lambda: held / index.count, False)


def _rows(index: Index) -> Search:
    return lambda users: index.search(users, None, K).rows
