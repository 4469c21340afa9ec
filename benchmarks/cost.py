"""What a piece of work costs: seconds, and the most memory it held."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import threading
import time
from types import TracebackType
from typing import Self

import psutil
import torch

MEBIBYTE = 2**20


class Cost:
    """Within it, time runs and memory is watched, every 20 ms.

    `seconds`: wall time. `cpu_seconds`: of this process's threads and of the processes that it started and that still
    live, which say more where others compute beside it. `memory`: the most this process held, in MiB, less what it held
    before, once what earlier work left behind was given back to the system; on a CUDA device also the most that torch
    allocated there.
    """

    def __enter__(self) -> Self:
        self._process = psutil.Process()
        _give_back()
        self._before = self._peak = self._process.memory_info().rss
        self._over = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        self._watcher.start()
        self._began, self._began_cpu = time.perf_counter(), self._cpu()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.seconds = round(time.perf_counter() - self._began, 3)
        self.cpu_seconds = round(self._cpu() - self._began_cpu, 3)
        self._over.set()
        self._watcher.join()
        self._look()
        self.memory = {"host": round((self._peak - self._before) / MEBIBYTE, 1)}
        if torch.cuda.is_available():
            self.memory["cuda"] = round(torch.cuda.max_memory_allocated() / MEBIBYTE, 1)

    def _cpu(self) -> float:
        seconds = time.process_time()
        for child in self._process.children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                times = child.cpu_times()
                seconds += float(times.user + times.system)
        return seconds

    def _look(self) -> None:
        self._peak = max(self._peak, self._process.memory_info().rss)

    def _watch(self) -> None:
        while not self._over.wait(0.02):
            self._look()


def _give_back() -> None:
    """Return what is free to the system, where the C library can: what is held again would else count as no growth."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
