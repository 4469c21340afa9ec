"""What a GPU makes of it: adapting users, scoring large catalogues, whole batches of questions.

    python -m benchmarks.gpu --json benchmarks/results/gpu.json

    copy    bytes a second that the device reads and writes when it copies a large tensor
    adapt   users a second through the learner as it is served, with whole histories and from trails, by batch
    score   the top 10 of N items in half precision (`models.halved`), by batch, beside the least that one pass over
            the items takes at that bandwidth, and beside the exact index
    batch   questions a second through `app.served.Served`, histories packed as Redis has them, answers as ids

Random parameters, random histories. Needs torch, numpy, scipy and safetensors alone. Without a GPU it runs on the
processor (--device cpu), which says whether it works and nothing more.

Letters: B users of a batch, T events, N items, d width.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from app.event import RECORD, UserHistory
from app.query import Query
from app.served import Served
from models import snapshot
from models.episode import History, Support, pack
from models.halved import Halved
from models.index import Exact
from models.item import Item
from models.learner import Learner, LearnerConfig
from models.snapshot import POPULARITY
from models.traced import Traced
from models.words import Words

K = 10
CONFIG = LearnerConfig(heads=2, recall="unordered", length=50)
Figure = dict[str, Any]


class Bench:
    """A device, and how often each thing is measured on it."""

    def __init__(self, device: str, repetitions: int) -> None:
        self.device, self.repetitions = torch.device(device), repetitions

    def milliseconds(self, work: Callable[[], object]) -> float:
        """The median of what `work` takes, with all that it left to the device done; 2 seconds are enough of one."""
        for _ in range(3):
            if self._seconds(work) > 0.5:
                break
        found: list[float] = []
        while len(found) < self.repetitions and (len(found) < 3 or sum(found) < 2):
            found.append(self._seconds(work))
        return 1000 * float(np.median(found))

    def _seconds(self, work: Callable[[], object]) -> float:
        self._wait()
        began = time.perf_counter()
        work()
        self._wait()
        return time.perf_counter() - began

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def copy(bench: Bench, size: int) -> float:
    """Gigabytes a second, read and written, of a copy of so many bytes."""
    given = torch.empty(size, dtype=torch.uint8, device=bench.device)
    into = torch.empty_like(given)
    return 2 * size / bench.milliseconds(lambda: into.copy_(given)) / 1e6


def adapt(bench: Bench, items: int, batches: list[int]) -> list[Figure]:
    """Users a second by batch: T = 50 events each, and the newest of 50 from the trail of the others."""
    learner = _learner(items).to(bench.device)
    traced = Traced(learner)
    vectors, _ = learner.catalogue()
    out = []
    for batch in batches:
        support = _support(batch, items)
        _, trail = traced.follow(vectors, support)
        trail = trail[:, :-1].cpu()
        anew = bench.milliseconds(lambda support=support: traced.follow(vectors, support)[0].cpu())  # type: ignore[misc]
        led = bench.milliseconds(lambda support=support, trail=trail: traced.follow(vectors, support, trail)[0].cpu())  # type: ignore[misc]
        figure = {"batch": batch, "users_a_second": batch / anew * 1e3, "led_users_a_second": batch / led * 1e3}
        print(f"adapt {batch:>5} users: {anew:8.2f} ms, from trails {led:8.2f} ms")
        out.append(figure)
    return out


def score(bench: Bench, items: int, width: int, batches: list[int], gigabytes_a_second: float) -> list[Figure]:
    """Milliseconds by batch, and how many times the least that reading the items takes."""
    vectors = torch.nn.functional.normalize(torch.randn(items, width, device=bench.device), dim=-1)
    biases = torch.randn(items, device=bench.device)
    index, exact = Halved(vectors, biases), Exact(vectors, biases)
    least = items * width * 2 / gigabytes_a_second / 1e6
    out = []
    for batch in batches:
        users = 8 * torch.nn.functional.normalize(torch.randn(batch, width, device=bench.device), dim=-1)
        some = users[:16]
        truth = torch.addmm(biases, some, vectors.T).topk(K).indices.cpu()
        found = index.search(some, None, K).rows
        recall = float((found[:, :, None] == truth[:, None, :]).sum() / truth.numel())
        took, truly = (bench.milliseconds(partial(each.search, users, None, K)) for each in (index, exact))
        print(
            f"score {items:>11,} x {width} for {batch:>5}: {took:8.2f} ms, {took / least:6.1f} times a pass over them; "
            f"exactly {truly:8.2f} ms"
        )
        out.append(
            {"items": items, "width": width, "batch": batch, "ms": took, "exact_ms": truly, "times": took / least}
            | {"recall": recall, "bytes_an_item": index.bytes_an_item}
        )
    return out


def answer(bench: Bench, items: int, batches: list[int]) -> list[Figure]:
    """Questions a second of users who are adapted to, by batch: decoded, adapted to, ranked, answered with ids."""
    out = []
    with tempfile.TemporaryDirectory() as folder:
        found = snapshot.read(_write(Path(folder), items))
        served = Served(Learner.restore(found).to(bench.device), found, (), {f"i{row}": row for row in range(items)}, 1)
        rng = np.random.default_rng(0)
        for batch in batches:
            histories = [_history(rng, items) for _ in range(batch)]
            queries, nobody = [Query(user="u")] * batch, [None] * batch
            took = bench.milliseconds(
                lambda queries=queries, histories=histories, nobody=nobody: served.compute(queries, histories, nobody)  # type: ignore[misc]
            )
            print(f"batch {batch:>5} questions: {took:8.2f} ms")
            out.append({"batch": batch, "questions_a_second": batch / took * 1e3})
    return out


def _learner(items: int) -> Learner:
    torch.manual_seed(0)
    expected = torch.nn.functional.normalize(torch.randn(items, CONFIG.rank + 1), dim=-1)
    return Learner(CONFIG, expected, Words.silent(8, CONFIG.rank + 1)).eval()


def _write(root: Path, items: int) -> Path:
    return snapshot.write(
        root,
        tensors=_learner(items).tensors() | {POPULARITY: torch.ones(items)},
        items=[Item(f"i{row}", f"Item {row}") for row in range(items)],
        config={"learner": asdict(CONFIG)},
        content_model="none",
        scale=(1.0, 5.0),
        metrics={},
        parent=None,
        created=datetime.now(UTC).isoformat(),
        data={},
    )


def _support(batch: int, items: int) -> Support:
    rng = np.random.default_rng(batch)
    length = CONFIG.length
    users = [
        History(rng.integers(0, items, length), np.zeros(length, np.int64), np.ones(length, np.float32))
        for _ in range(batch)
    ]
    return pack(users, length)


def _history(rng: np.random.Generator, items: int) -> UserHistory:
    records = np.zeros(CONFIG.length, RECORD)
    records["handle"], records["value"] = rng.integers(0, items, CONFIG.length), np.nan
    records["time"] = np.arange(CONFIG.length)
    return UserHistory(1, records.tobytes())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4, 16, 64, 256, 1024], help="users a batch")
    parser.add_argument(
        "--items", type=int, nargs="+", default=[200_000, 1_000_000, 10_000_000], help="catalogues to score"
    )
    parser.add_argument("--widths", type=int, nargs="+", default=[64, 128], help="of their vectors")
    parser.add_argument("--known", type=int, default=10_000, help="items where users are adapted to")
    parser.add_argument("--copied", type=int, default=1 << 30, help="bytes of the copy")
    parser.add_argument("--repetitions", type=int, default=20)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    bench = Bench(options.device, options.repetitions)
    name = torch.cuda.get_device_name(bench.device) if bench.device.type == "cuda" else platform.machine()
    with torch.inference_mode():
        speed = copy(bench, options.copied)
        print(f"{name}: a copy moves {speed:,.0f} GB/s")
        figures: dict[str, Any] = {"copy_gb_a_second": speed, "adapt": adapt(bench, options.known, options.batches)}
        figures["score"] = [
            figure
            for items in options.items
            for width in options.widths
            for figure in score(bench, items, width, options.batches, speed)
        ]
        figures["batch"] = answer(bench, options.known, options.batches)
    if options.json:
        about = {"device": name, "torch": torch.__version__, "date": datetime.now(UTC).date().isoformat()}
        options.json.write_text(json.dumps(about | {"figures": figures}, indent=1) + "\n")


if __name__ == "__main__":
    main()
