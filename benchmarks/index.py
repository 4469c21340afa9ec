"""Top 10 of a large catalogue on one core: how much is found of what is best, in what time, in how many bytes an item.

    python -m benchmarks.index --items 1000000 --json benchmarks/results/index.json

    plain      torch: one product with all vectors in float32, then topk; the truth the others are measured against
    exact      models.index.Exact
    quantised  models.quantised.Quantised
    ivf        faiss: inverted lists of 4-bit codes, ranked again in float32, where faiss is installed

Vectors are random, in groups as items are; user vectors lie near items. Contenders are measured in turn, repeated.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.index import Exact
from models.quantised import Quantised

Search = Callable[[Tensor], Tensor]
"""User vectors (B, d) to rows (B, 10)."""


def ivf(vectors: Tensor, biases: Tensor, probes: int) -> Search:
    """4-bit codes of every component in 1024 lists; the bias over four components more; the best 100 ranked again."""
    import faiss

    faiss.omp_set_num_threads(1)
    copies = 4
    extended = torch.cat([vectors, (biases / copies)[:, None].expand(-1, copies)], 1).numpy()
    width = extended.shape[1]
    coarse = faiss.IndexFlatIP(width)
    index = faiss.IndexIVFPQFastScan(coarse, width, 1024, width, 4, faiss.METRIC_INNER_PRODUCT)
    index.by_residual = False
    index.train(extended[np.random.default_rng(0).choice(len(extended), 50_000, replace=False)])
    index.add(extended)
    index.nprobe = probes

    def search(users: Tensor) -> Tensor:
        _, found = index.search(torch.cat([users, torch.ones(len(users), copies)], 1).numpy(), 100)
        rows = torch.from_numpy(found).clamp(min=0)
        scores = torch.einsum("bkd,bd->bk", vectors[rows], users) + biases[rows]
        return rows.gather(1, scores.topk(10).indices)

    search.keep = (coarse, index)  # type: ignore[attr-defined]  # faiss does not
    return search


@torch.inference_mode()  # as the service does
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--repetitions", type=int, default=9)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    groups = torch.randn(2000, options.width)
    noise = 0.7 * torch.randn(options.items, options.width)
    vectors = torch.nn.functional.normalize(groups[torch.randint(2000, (options.items,))] + noise, dim=-1)
    biases = torch.randn(options.items)
    near = vectors[torch.randint(options.items, (options.batch,))] + 0.1 * torch.randn(options.batch, options.width)
    users = 8 * torch.nn.functional.normalize(near, dim=-1)
    found: dict[str, dict[str, Any]] = {}
    contenders: dict[str, Search] = {"plain": lambda given: torch.addmm(biases, given, vectors.T).topk(10).indices}

    def build(name: str, make: Callable[[], tuple[Search, float]]) -> None:
        began = time.perf_counter()
        contenders[name], size = make()
        found[name] = {"build_seconds": time.perf_counter() - began, "bytes_an_item": size}

    def exact() -> tuple[Search, float]:
        index = Exact(vectors, biases)
        return (lambda given: index.search(given, None, 10).rows), 4.0 * options.width

    def integers() -> tuple[Search, float]:
        index = Quantised(vectors, biases)
        return (lambda given: index.search(given, None, 10).rows), float(index.bytes_an_item)

    def lists(probes: int) -> tuple[Search, float]:
        return ivf(vectors, biases, probes), options.width / 2 + 2 + 8

    build("exact", exact)
    build("quantised", integers)
    if find_spec("faiss"):
        for probes in (64, 256):
            build(f"ivf {probes}", partial(lists, probes))
    truth = contenders["plain"](users)
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(options.repetitions):
        for name, search in contenders.items():
            for queries in (users, users[:1]):
                began = time.perf_counter()
                rows = search(queries)
                milliseconds = (time.perf_counter() - began) * 1000
                entry = found.setdefault(name, {})
                if len(queries) > 1:
                    times[name].append(milliseconds / len(queries))
                    entry["recall"] = float((rows[:, :, None] == truth[:, None, :]).sum() / truth.numel())
                else:
                    entry["alone_ms"] = min(milliseconds, entry.get("alone_ms", float("inf")))
    for name, entry in found.items():
        entry["ms_a_user"] = float(np.median(times[name]))
        entry["against plain"] = float(np.median(np.array(times[name]) / np.array(times["plain"])))
        print(name, json.dumps(entry))
    if options.json:
        about = {"asked": {"items": options.items, "width": options.width, "batch": options.batch}}
        machine = {"cores": os.cpu_count(), "load": os.getloadavg(), "torch": torch.__version__}
        options.json.write_text(json.dumps(about | {"machine": machine, "figures": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
