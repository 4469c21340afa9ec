"""What the servers serve: a snapshot of a random learner, and a history in Redis for each of many users.

N = items, C = content width.
"""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from redis.asyncio import Redis

from app.catalogue import Catalogue
from app.event import RECORD
from app.history import partition_of
from models import snapshot
from models.content import DEFAULT_WIDTH
from models.item import Item
from models.learner import Learner, LearnerConfig
from models.snapshot import POPULARITY
from models.words import Words

PAGE = 1000


def config_of(longest: int) -> LearnerConfig:
    """The shape that `models.sizes.sized` gives a learner of many users with histories of 1 to `longest` events."""
    length = next((size for size in (20, 50) if 0.75 * longest <= size), 100)
    if length == 20:
        return LearnerConfig(rank=128, width=128, heads=4, unit=False, recall="never", length=length)
    return LearnerConfig(heads=2, recall="unordered", length=length)


def write(root: Path, items: int, longest: int, *, seed: int = 0, parent: str | None = None) -> str:
    """Write a snapshot of items i0, i1, ... with random parameters, not published yet; its version.

    Its words expect nothing of any text; content vectors are as wide as the default encoder's.
    """
    torch.manual_seed(seed)
    config = config_of(longest)
    expected = torch.nn.functional.normalize(torch.randn(items, config.rank + 1), dim=-1)
    learner = Learner(config, expected, Words.silent(DEFAULT_WIDTH, config.rank + 1))
    with torch.no_grad():
        for name, parameter in learner.named_parameters():
            if not name.startswith("tower."):
                parameter.add_(torch.randn_like(parameter) * 0.05)
        popularity = torch.arange(items, 0, -1).float()
        learner.tower.start_biases(popularity)
    folder = snapshot.write(
        root,
        tensors=learner.tensors() | {POPULARITY: popularity},
        items=[Item(f"i{n}", f"Item {n}", categories=(f"c{n % 10}",)) for n in range(items)],
        config={"learner": asdict(learner.config)},
        content_model="all-MiniLM-L6-v2",
        scale=(1.0, 5.0),
        metrics={},
        parent=parent,
        created=f"2026-01-01T00:00:{seed:02}+00:00",
        data={},
    )
    return folder.name


async def fill(redis: Redis, items: int, users: int, longest: int, seed: int = 0) -> None:
    """Give users u0, u1, ... histories of 1 to `longest` views, packed as append.lua packs them."""
    names = [f"i{n}" for n in range(items)]
    catalogue = Catalogue(redis)
    await catalogue.register(names)
    handles = np.array([catalogue.handles[name] for name in names], np.uint32)
    rng = np.random.default_rng(seed)
    now = int(time.time())
    for start in range(0, users, PAGE):
        pipeline = redis.pipeline(transaction=False)
        for user in range(start, min(start + PAGE, users)):
            count = int(rng.integers(1, longest + 1))
            records = np.zeros(count, RECORD)
            # Popular items come more often, as they do.
            records["handle"] = handles[(items * rng.random(count) ** 2).astype(np.int64)]
            records["value"] = np.nan
            records["time"] = now - 3600 * np.arange(count, 0, -1)
            name = f"u{user}"
            packed = (now * 1_000_000).to_bytes(8, "little") + records.tobytes()
            pipeline.set(f"il:{{{partition_of(name)}}}:history:{name}", packed)
        await pipeline.execute()
