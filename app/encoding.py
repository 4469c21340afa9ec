"""Item text -> content vectors, in a process of its own.

The encoder takes seconds to import and holds the interpreter while it works: neither may stall a request. C = content
width, M = texts.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import Pipe, get_context
from multiprocessing.connection import Connection, wait
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.errors import Unavailable
from models.content import ContentError, Encoder


class Encoding:
    """One encoder process, started by the first text and replaced should it die."""

    def __init__(self, cache: Path | None = None) -> None:
        """`cache`: where content vectors are remembered, as `models.content.Encoder` takes it."""
        self._cache = cache
        self._pool: ProcessPoolExecutor | None = None
        self._leash: Connection | None = None
        self._closed = False

    async def encode(self, model: str, texts: Sequence[str]) -> NDArray[np.float32]:
        """Content vectors, (M, C), of unit length. Texts are encoded in the order of the calls.

        Args:
            model: the content model, as a snapshot's manifest names it.
        Raises:
            Unavailable: the model cannot be loaded, or its process died twice over these texts.
        """
        loop = asyncio.get_running_loop()
        for _ in range(2):
            if self._closed:
                break
            pool = self._started()
            try:
                return await loop.run_in_executor(pool, _encode, model, list(texts))
            except BrokenProcessPool:
                if self._pool is pool:  # else another call has replaced it already
                    self._pool = None
                    pool.shutdown(wait=False)
            except ContentError as error:
                raise Unavailable(f"Item texts cannot be encoded here: {error}", retry_after=60) from error
        raise Unavailable("The encoder of item texts has stopped.")

    def close(self) -> None:
        """End the process at once, whatever it is at."""
        self._closed = True
        if self._leash is not None:
            self._leash.close()
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def _started(self) -> ProcessPoolExecutor:
        if self._pool is None:
            if self._leash is not None:
                self._leash.close()
            held, self._leash = Pipe(duplex=False)
            self._pool = ProcessPoolExecutor(1, get_context("spawn"), initializer=_settle, initargs=(held, self._cache))
        return self._pool


_encoders: dict[str, Encoder] = {}  # in the encoder's process only, one a model
_cache: Path | None = None


def _settle(leash: Connection, cache: Path | None) -> None:
    """In the new process: let requests go first, leave Ctrl-C to the parent, and end when it lets go or dies."""
    global _cache
    _cache = cache
    os.nice(10)
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def end() -> None:
        wait([leash])  # nothing is ever sent: it becomes readable when its other end is closed
        os._exit(0)

    threading.Thread(target=end, daemon=True).start()


def _encode(model: str, texts: list[str]) -> NDArray[np.float32]:
    if model not in _encoders:
        _encoders[model] = Encoder(model, _cache)
    return _encoders[model].encode(texts)
