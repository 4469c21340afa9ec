"""Top 10 of a large catalogue on one core: how much is found of what is best, in what time, in how many bytes an item.

    python -m benchmarks.index --items 1000000 --json benchmarks/results/index.json --plot docs/performance/index.svg
    python -m benchmarks.index --items 20000 --ways exact panels quantised       # a quick look, without faiss

    plain      torch: one product with all vectors in float32, then topk; the truth the others are measured against
    exact      models.index.Exact
    panels     models.panels.Panels, the same in C, where that was built
    quantised  models.quantised.Quantised
    ivf8       faiss: inverted lists of 8-bit codes, the best 20 ranked again in float32; at several nprobe
    ivf4       faiss: inverted lists of 4-bit product codes, the best 100 ranked again; at several nprobe
    hnsw       faiss: a graph of float32 vectors; at several efSearch

Vectors are random, in groups as items are; user vectors lie near items. No filters: faiss would lose recall to them,
ours score every item. Contenders are measured in turn, the same users for each, repeated. A figure has:

    recall         share of the 10 best that is found, over all users; ours round scores to 1/4096, lower rows first,
                   so that even the exact ones now and then have another tenth item than plain
    ms_a_user      median of batches; ms_quartiles: how far these spread
    alone_ms       median of single queries
    against plain  median of the ratios to plain, which answered the same batch a moment before
    build_seconds  for all settings of a way together, on one core as well
    bytes_an_item  of its own, beside the float32 vectors and biases given; bytes_in_all: with these, if it reads them
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks import index_faiss, index_ways
from benchmarks.index_ways import Absent, Search, Way

GROUPS = 2000
ALONE = 8  # single queries a repetition
WAYS = ("plain", "exact", "panels", "quantised", "ivf8", "ivf4", "hnsw")
APPROXIMATE = {"ivf8", "ivf4", "hnsw"}


def catalogue(items: int, width: int, users: int) -> tuple[Tensor, Tensor, Tensor]:
    """Item vectors (N, d) of length 1, biases (N,) and user vectors (B, d) of length 8."""
    torch.manual_seed(0)
    groups = torch.randn(GROUPS, width)
    noise = 0.7 * torch.randn(items, width)
    vectors = torch.nn.functional.normalize(groups[torch.randint(GROUPS, (items,))] + noise, dim=-1)
    biases = torch.randn(items)
    near = vectors[torch.randint(items, (users,))] + 0.1 * torch.randn(users, width)
    return vectors, biases, 8 * torch.nn.functional.normalize(near, dim=-1)


def recall(found: Tensor, truth: Tensor) -> float:
    """The share of `truth`, (B, K) rows, that is anywhere in the same line of `found`, (B, C); -1 in it is nothing."""
    return float((found[:, None, :] == truth[:, :, None]).any(2).float().mean())


def measure(
    searches: dict[str, Search], users: Tensor, batch: int, repetitions: int, say: Callable[[str], None]
) -> dict[str, dict[str, Any]]:
    """Recall and times of each of `searches`, "plain" among them, for `users` (B, d)."""
    parts = torch.split(users, batch)
    found: dict[str, dict[str, Any]] = {}
    truth = torch.cat([searches["plain"](part) for part in parts])
    for name, search in searches.items():
        say(f"{name}: recall")
        found[name] = {"recall": recall(torch.cat([search(part) for part in parts]), truth)}
        for user in torch.split(users[:3], 1):  # so that what is compiled for one user is, before the clock runs
            search(user)
    together: dict[str, list[float]] = {name: [] for name in searches}
    alone: dict[str, list[float]] = {name: [] for name in searches}
    whole = len(users) // batch
    for turn in range(repetitions):
        say(f"times: repetition {turn + 1} of {repetitions}")
        singles = [(turn * ALONE + number) % len(users) for number in range(ALONE)]
        for name, search in searches.items():
            together[name].append(_milliseconds(search, parts[turn % whole]) / batch)
            alone[name] += [_milliseconds(search, users[one : one + 1]) for one in singles]
    for name, entry in found.items():
        times = np.array(together[name])
        entry["ms_a_user"] = float(np.median(times))
        entry["ms_quartiles"] = np.quantile(times, [0.25, 0.75]).tolist()
        entry["alone_ms"] = float(np.median(alone[name]))
        entry["against plain"] = float(np.median(times / np.array(together["plain"])))
    return found


def _milliseconds(search: Search, users: Tensor) -> float:
    began = time.perf_counter()
    search(users)
    return (time.perf_counter() - began) * 1000


def machine(ways: Collection[str]) -> dict[str, Any]:
    """What the figures of these ways depend on beside the code."""
    cpus = Path("/proc/cpuinfo")
    names = [line for line in cpus.read_text().splitlines() if "model name" in line] if cpus.exists() else []
    faiss = index_faiss.faiss() if find_spec("faiss") and APPROXIMATE & set(ways) else None
    return {
        "processor": names[0].split(":", 1)[1].strip() if names else platform.machine(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "cores": os.cpu_count(),
        "load": os.getloadavg(),
        "torch": torch.__version__,
        "faiss": faiss and f"{faiss.__version__} {faiss.get_compile_options().strip()}",
    }


def table(figures: dict[str, dict[str, Any]]) -> None:
    """The figures, a line each, on stdout."""
    print(f"{'':12}{'recall':>8}{'ms a user':>11}{'alone ms':>10}{'to plain':>10}{'bytes':>8}{'build s':>9}")
    for name, entry in figures.items():
        print(
            f"{name:12}{entry['recall']:8.4f}{entry['ms_a_user']:11.4f}{entry['alone_ms']:10.3f}"
            f"{entry['against plain']:10.3f}{entry['bytes_an_item']:8.0f}{entry['build_seconds']:9.1f}"
        )


def parse(given: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=1_000_000, help="in the catalogue (%(default)s)")
    parser.add_argument("--width", type=int, default=64, help="of their vectors (%(default)s)")
    parser.add_argument("--batch", type=int, default=64, help="users that ask together (%(default)s)")
    parser.add_argument("--users", type=int, default=1024, help="that recall is measured over (%(default)s)")
    parser.add_argument("--repetitions", type=int, default=15, help="batches timed for each figure (%(default)s)")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS, help="only these, and plain (all)")
    parser.add_argument("--lists", type=int, help="inverted lists of ivf8 and ivf4 (about 4 sqrt(items))")
    parser.add_argument("--probes", type=int, nargs="+", default=[8, 16, 32, 64, 128, 256], help="nprobe (%(default)s)")
    parser.add_argument("--links", type=int, default=32, help="M of hnsw (%(default)s)")
    parser.add_argument("--construction", type=int, default=64, help="efConstruction of hnsw (%(default)s)")
    parser.add_argument("--efforts", type=int, nargs="+", default=[16, 32, 64, 128, 256], help="efSearch (%(default)s)")
    parser.add_argument("--ivf-weight", type=float, default=3.0, help="of the bias in a query to ivf (%(default)s)")
    parser.add_argument("--hnsw-weight", type=float, default=4.0, help="and to hnsw; users are 8 long (%(default)s)")
    parser.add_argument("--json", type=Path, help="write the figures, the machine and these options here")
    parser.add_argument("--plot", type=Path, help="draw recall against latency here, as SVG; needs matplotlib")
    options = parser.parse_args(given)
    if not 1 <= options.batch <= options.users:
        parser.error("--users must be at least --batch, and that at least 1")
    if options.items < 1000:
        parser.error("--items must be at least 1000: below, none of this matters")
    options.lists = options.lists or index_faiss.lists_for(options.items)
    return options


def makers(options: argparse.Namespace, say: Callable[[str], None]) -> dict[str, Callable[[Tensor, Tensor], Way]]:
    """How each way that was asked for is built from vectors and biases, in the order of WAYS."""
    lists = partial(index_faiss.ivf, lists=options.lists, probes=options.probes, weight=options.ivf_weight, say=say)
    graph = partial(
        index_faiss.hnsw, links=options.links, construction=options.construction, efforts=options.efforts,
        weight=options.hnsw_weight, say=say,
    )  # fmt: skip
    known: dict[str, Callable[[Tensor, Tensor], Way]] = {
        "plain": index_ways.plain, "exact": index_ways.exact, "panels": index_ways.panels,
        "quantised": index_ways.quantised, "ivf8": partial(lists, bits=8), "ivf4": partial(lists, bits=4),
        "hnsw": graph,
    }  # fmt: skip
    return {way: known[way] for way in WAYS if way == "plain" or way in options.ways}


@torch.inference_mode()  # as the service does
def main(given: list[str] | None = None) -> None:
    options = parse(given)
    if options.plot:
        from benchmarks.index_plot import draw  # first, so that a missing matplotlib shows before the work
    began = time.perf_counter()

    def say(line: str) -> None:
        print(f"{time.perf_counter() - began:7.1f} s  {line}", file=sys.stderr, flush=True)

    torch.set_num_threads(1)
    about = {"date": datetime.now(UTC).isoformat(timespec="seconds"), "machine": machine(options.ways)}
    say(f"making {options.items:,} items")
    vectors, biases, users = catalogue(options.items, options.width, options.users)
    searches: dict[str, Search] = {}
    built: dict[str, dict[str, Any]] = {}
    skipped: dict[str, str] = {}
    for way, make in makers(options, say).items():
        say(f"{way}: building")
        started = time.perf_counter()
        try:
            index = make(vectors, biases)
        except Absent as reason:
            skipped[way] = str(reason)
            say(f"{way}: {reason}")
            continue
        seconds, held = time.perf_counter() - started, index.held()
        for setting, search in index.searches.items():
            name = way if setting is None else f"{way} {setting}"
            searches[name] = search
            built[name] = {
                "way": way, "setting": setting, "build_seconds": seconds, "bytes_an_item": held,
                "bytes_in_all": held + index.reads * 4 * (options.width + 1),
            }  # fmt: skip
    measured = measure(searches, users, options.batch, options.repetitions, say)
    figures = {name: built[name] | entry for name, entry in measured.items()}
    table(figures)
    asked = {name: value for name, value in vars(options).items() if name not in ("json", "plot")}
    found = about | {"asked": asked, "load_after": os.getloadavg(), "skipped": skipped, "figures": figures}
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(found, indent=1) + "\n")
    if options.plot:
        draw(found, options.plot)


if __name__ == "__main__":
    main()
