"""A recommender as one process has it, for tests that start several of them."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from redis.asyncio import Redis

from app.catalogue import Catalogue
from app.history import Event, History
from app.query import Answer, Query
from app.recommender import Recommender
from models.interaction import KIND_CODES
from tests.worlds import CONTENT_MODEL, CONTENT_WIDTH, Seen

numbers = itertools.count()


async def encode(model: str, texts: Sequence[str]) -> NDArray[np.float32]:
    """A content vector from a text's hash: the same for the same text."""
    assert model == CONTENT_MODEL
    seeds = [int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") for text in texts]
    vectors = np.stack([np.random.default_rng(seed).normal(size=CONTENT_WIDTH) for seed in seeds])
    unit: NDArray[np.float32] = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return unit


class Replica:
    """A recommender as one process has it: with a catalogue and a history of its own."""

    def __init__(self, redis: Redis, path: Path, **options: Any) -> None:
        self.seen = Seen()
        self.history, self.catalogue = History(redis), Catalogue(redis)
        self.recommender = Recommender(
            self.history, self.catalogue, path, encode, self.seen, device="cpu", **({"poll": 0.05} | options)
        )

    async def view(self, user: str, *items: str) -> None:
        handles = await self.catalogue.resolve(items)
        view = KIND_CODES["view"]
        await self.history.append([Event(f"e{next(numbers)}", user, handles[item], view) for item in items])

    async def ask(self, user: str, **rest: Any) -> Answer:
        return await self.recommender.recommend(Query(user=user, **rest))


Start = Callable[..., Awaitable[Replica]]


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
