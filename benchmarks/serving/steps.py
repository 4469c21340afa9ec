"""What a batch costs on the device's thread, step by step, in this process: a core's microseconds.

And how long it takes by the clock beside a thread that always wants the interpreter, as a busy event loop does.

Letters: B users of the batch.
"""

from __future__ import annotations

import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from app import served as served_module
from app.adapting import Adapting
from app.event import RECORD, UserHistory
from app.main import SWITCH_SECONDS
from app.query import Query
from app.served import Served
from models import snapshot
from models.learner import Learner

SIZES = (1, 6, 64)
ROUNDS = 30


def steps(folder: Path, items: int, longest: int, seed: int = 0) -> dict[str, dict[str, float]]:
    """By B, the medians of: decoding, adapting, adapting from a trail, searching and ranking; and of all of it by the
    clock, alone and beside a busy loop.

    Args:
        folder: a snapshot of items i0, i1, ...
        longest: histories are of 2 to so many views.
    """
    found = snapshot.read(folder)
    served = Served(Learner.restore(found), found, (), {f"i{n}": n for n in range(items)}, 1)
    rng = np.random.default_rng(seed)
    out: dict[str, dict[str, float]] = {}
    for size in SIZES:
        taken: dict[str, list[float]] = {"decode": [], "adapt": [], "adapt, led": [], "rank": []}
        for _ in range(ROUNDS):
            now = [_history(rng, items, int(count)) for count in rng.integers(2, longest + 1, size)]
            before = [UserHistory(1, one.packed[: -RECORD.itemsize]) for one in now]
            queries, nobody = [Query(user="u")] * size, [None] * size
            trails = served.compute(queries, before, nobody).trails
            with _timed() as spent:
                served.compute(queries, now, nobody)
            taken["decode"].append(spent["decode"])
            taken["adapt"].append(spent["adapt"])
            taken["rank"].append(spent["rank"])
            with _timed() as spent:
                served.compute(queries, now, nobody, trails)
            taken["adapt, led"].append(spent["adapt"])
            for name, loop in (("by the clock", nullcontext()), ("beside a busy loop", _busy())):
                with loop:
                    began = time.perf_counter()
                    served.compute(queries, now, nobody, trails)
                    taken.setdefault(name, []).append(time.perf_counter() - began)
        out[str(size)] = {name: round(statistics.median(each) * 1e6, 1) for name, each in taken.items()}
    return out


def _history(rng: np.random.Generator, items: int, count: int) -> UserHistory:
    records = np.zeros(count, RECORD)
    records["handle"], records["value"] = rng.integers(0, items, count), np.nan
    records["time"] = np.arange(count)
    return UserHistory(2, records.tobytes())


@contextmanager
def _busy() -> Iterator[None]:
    """Within it another thread runs Python without a pause, with the service's switch interval."""
    before, done = sys.getswitchinterval(), threading.Event()

    def spin() -> None:
        while not done.is_set():
            [str(number) for number in range(100)]

    thread = threading.Thread(target=spin)
    sys.setswitchinterval(SWITCH_SECONDS)
    thread.start()
    try:
        time.sleep(0.002)
        yield
    finally:
        done.set()
        thread.join()
        sys.setswitchinterval(before)


@contextmanager
def _timed() -> Iterator[dict[str, float]]:
    """Within it the processor seconds of each step are added up."""
    spent = dict.fromkeys(("decode", "adapt", "rank"), 0.0)

    def timing(name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*given: Any, **named: Any) -> Any:
            began = time.thread_time()
            try:
                return work(*given, **named)
            finally:
                spent[name] += time.thread_time() - began

        return timed

    places: list[tuple[Any, str, str]] = [
        (served_module, "decode", "decode"),
        (Adapting, "adapt", "adapt"),
        (Served, "_rank", "rank"),
    ]
    whole = [(owner, attribute, getattr(owner, attribute)) for owner, attribute, _ in places]
    for owner, attribute, name in places:
        setattr(owner, attribute, timing(name, getattr(owner, attribute)))
    try:
        yield spent
    finally:
        for owner, attribute, work in whole:
            setattr(owner, attribute, work)
