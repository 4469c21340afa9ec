"""The approximate ways of faiss, one thread each, at several settings.

faiss knows no biases, so a bias stands as components more of its item, and the query has a constant there. `weight` is
the length of that part of the query, beside user vectors of length 8. Scores do not depend on it; lists and graphs do,
for they are made from items alone: with a small one they put items together by popularity and not by likeness.

Codes are ranked again in float32, from the vectors that are there anyway, as `models.quantised` does.

Letters: B queries, N items, d width, c components for the bias, C candidates ranked again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.index_ways import Absent, K, Search, Way

COMPONENTS = 8  # of a bias: so its error shrinks, and 64 + 8 fill registers where 64 + 1 would not
SLICE = 100_000  # items added between two lines of progress
TRAINED = 50  # items a list that clustering sees; faiss warns below 39


def faiss() -> Any:
    """The library, held to one thread.

    Raises:
        Absent: it is not installed.
    """
    if not find_spec("faiss"):
        raise Absent("The ways of faiss are left out: it is not installed (pip install faiss-cpu).")
    import faiss

    faiss.omp_set_num_threads(1)
    return faiss


def lists_for(items: int) -> int:
    """Inverted lists for so many items: 4 sqrt(N), as faiss advises, as a power of 2; fewer where items are few."""
    return 1 << max(0, int(math.log2(max(1.0, min(4.1 * math.sqrt(items), items / TRAINED)))))


def ivf(
    vectors: Tensor,
    biases: Tensor,
    *,
    bits: int,
    lists: int,
    probes: Sequence[int],
    weight: float,
    say: Callable[[str], None],
) -> Way:
    """Inverted lists of codes, `bits` (4 or 8) a component: 4 as product quantisation, scanned in registers.

    Args:
        vectors: (N, d).
        biases: (N,).
        lists: how many.
        probes: lists that a query looks into, one number a setting.
    """
    library = faiss()
    extended = _items(vectors, biases, COMPONENTS, weight)
    width, metric = extended.shape[1], library.METRIC_INNER_PRODUCT
    coarse = library.IndexFlatIP(width)
    if bits == 4:
        index = library.IndexIVFPQFastScan(coarse, width, lists, width, 4, metric)
        index.by_residual = False
    else:
        index = library.IndexIVFScalarQuantizer(coarse, width, lists, library.ScalarQuantizer.QT_8bit, metric)
    index.cp.spherical = True  # else the lists whose centre is long take nearly everything
    sample = np.random.default_rng(0).choice(len(extended), min(len(extended), TRAINED * lists), replace=False)
    index.train(extended[sample])
    _add(index, extended, say)
    again = 100 if bits == 4 else 2 * K

    def searching(probes: int) -> Search:
        def search(users: Tensor) -> Tensor:
            index.nprobe = probes
            found = index.search(_queries(users, COMPONENTS, weight), again)[1]
            return _ranked(vectors, biases, users, torch.from_numpy(found))

        search.keep = coarse  # type: ignore[attr-defined]  # the index does not
        return search

    settings = sorted({min(count, lists) for count in probes})
    return Way({count: searching(count) for count in settings}, partial(_held, index), True)


def hnsw(
    vectors: Tensor,
    biases: Tensor,
    *,
    links: int,
    construction: int,
    efforts: Sequence[int],
    weight: float,
    say: Callable[[str], None],
) -> Way:
    """A graph of neighbours over float32 vectors.

    Args:
        vectors: (N, d).
        biases: (N,).
        links: of an item, M.
        construction: candidates looked at where an item is put in, efConstruction.
        efforts: candidates a search keeps, efSearch, one number a setting.
    """
    library = faiss()
    extended = _items(vectors, biases, 1, weight)
    index = library.IndexHNSWFlat(extended.shape[1], links, library.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = construction
    _add(index, extended, say)

    def searching(effort: int) -> Search:
        def search(users: Tensor) -> Tensor:
            index.hnsw.efSearch = effort
            return torch.from_numpy(index.search(_queries(users, 1, weight), K)[1])

        return search

    settings = sorted({max(K, effort) for effort in efforts})
    return Way({effort: searching(effort) for effort in settings}, partial(_held, index), False)


def _held(index: Any) -> float:
    """Bytes an item of all that faiss would write to a file."""
    return len(faiss().serialize_index(index)) / float(index.ntotal)


def _items(vectors: Tensor, biases: Tensor, components: int, weight: float) -> Any:
    """Vectors with their biases as components more: (N, d + c) float32."""
    part = biases[:, None] / (math.sqrt(components) * weight)
    return torch.cat([vectors, part.expand(-1, components)], 1).numpy()


def _queries(users: Tensor, components: int, weight: float) -> Any:
    """What asks those for u . v + b: (B, d + c) float32."""
    return torch.nn.functional.pad(users, [0, components], value=weight / math.sqrt(components)).numpy()


def _add(index: Any, extended: Any, say: Callable[[str], None]) -> None:
    for at in range(0, len(extended), SLICE):
        index.add(extended[at : at + SLICE])
        say(f"{min(at + SLICE, len(extended)):,} of {len(extended):,} items are in")


def _ranked(vectors: Tensor, biases: Tensor, users: Tensor, found: Tensor) -> Tensor:
    """The best K of the rows `found`, (B, C), -1 where there is none, by their scores in float32."""
    rows = found.clamp(min=0)
    scores = torch.einsum("bkd,bd->bk", vectors[rows], users) + biases[rows]
    return found.gather(1, scores.masked_fill_(found < 0, -torch.inf).topk(K).indices)
