"""Small worlds for tests: a snapshot of a real learner with random parameters, and what stands on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from app.served import Served
from models import snapshot
from models.compiled import Compiled
from models.dataset import Dataset, read
from models.item import Item
from models.learner import Learner, LearnerConfig
from models.library import library
from models.recipe import Trained
from models.sizes import FEW_USERS
from models.snapshot import POPULARITY, Snapshot
from models.traced import Traced
from models.words import Words

CONTENT_MODEL = "test-model"
CONTENT_WIDTH = 24
SHELVES = 5
COURSE = Traced if library() is None else Compiled
"""What adapts in a service on this machine's CPU."""
gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA GPU")


def need_library() -> None:
    """Skip where no C compiler was at hand: torch does the same there, and the tests of that run everywhere."""
    if library() is None:
        pytest.skip("there is no compiled library here")


def content_of(count: int, seed: int = 0, width: int = CONTENT_WIDTH) -> NDArray[np.float32]:
    """Random content vectors of unit length, (count, width)."""
    vectors = np.random.default_rng(seed).normal(size=(count, width)).astype(np.float32)
    unit: NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


def shelf(number: int) -> str:
    """What the text of an item with this number says."""
    return f"Found on shelf {number % SHELVES}"


def publish_snapshot(
    root: Path,
    count: int = 60,
    *,
    seed: int = 0,
    parent: str | None = None,
    content_model: str = CONTENT_MODEL,
    width: int = CONTENT_WIDTH,
    unit: bool = True,
) -> str:
    """Write and publish a snapshot of items i0, i1, ... under `root`; its version.

    i0 is the most popular. Every tenth item, from i9, is unavailable; categories are "even" and "odd". Item n lies on
    shelf n % SHELVES, as its text says, and items of one shelf are alike. Unless `unit`, vectors have lengths.
    """
    torch.manual_seed(seed)
    content = torch.from_numpy(content_of(count, seed, width))
    config = LearnerConfig(width=16, rank=16, heads=2, blocks=2, length=20, unit=unit)
    items = [
        Item(f"i{n}", f"Item {n}", shelf(n), ("odd" if n % 2 else "even",), available=n % 10 != 9) for n in range(count)
    ]
    goals = torch.randn(SHELVES, config.rank + 1)[torch.arange(count) % SHELVES]
    words, expected = Words.fit([item.said for item in items], content, goals, torch.ones(count))
    learner = Learner(config, expected, words)
    with torch.no_grad():
        for parameter in learner.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    folder = snapshot.write(
        root,
        tensors=learner.tensors() | {POPULARITY: torch.arange(count, 0, -1).float()},
        items=items,
        config={"learner": asdict(learner.config)},
        content_model=content_model,
        scale=(1.0, 5.0),
        metrics={},
        parent=parent,
        created=f"2026-06-01T12:00:{seed:02}+00:00",
        data={},
    )
    snapshot.publish(root, folder.name)
    return folder.name


def snapshot_of(count: int = 60, *, seed: int = 0, unit: bool = True) -> Snapshot:
    """A snapshot in memory, as `publish_snapshot` makes it."""
    with TemporaryDirectory() as root:
        return snapshot.read(Path(root) / publish_snapshot(Path(root), count, seed=seed, unit=unit))


def served_of(given: Snapshot, handles: Mapping[str, int] | None = None) -> Served:
    """That snapshot on the CPU; item i3 has handle 1003 unless `handles` says otherwise."""
    numbers = {item.id: 1000 + row for row, item in enumerate(given.items)} if handles is None else handles
    return Served(Learner.restore(given), given, handles=numbers)


class Seen:
    """An observer that remembers what it was told."""

    def __init__(self) -> None:
        self.stages: Counter[str] = Counter()
        self.batches: list[int] = []
        self.sheds = 0
        self.fallbacks: Counter[str] = Counter()
        self.versions: list[str] = []
        self.swap_failures: Counter[str] = Counter()

    def stage(self, name: str, seconds: float) -> None:
        assert seconds >= 0
        self.stages[name] += 1

    def batch(self, size: int) -> None:
        self.batches.append(size)

    def shed(self) -> None:
        self.sheds += 1

    def fallback(self, reason: str) -> None:
        self.fallbacks[reason] += 1

    def serving(self, version: str, created: str) -> None:
        assert created
        self.versions.append(version)

    def swap_failed(self, reason: str) -> None:
        self.swap_failures[reason] += 1


def write_trained(root: Path, dataset: Dataset, trained: Trained, checksum: str | None = None) -> str:
    """Write what was trained as a snapshot that says it comes of `dataset`, or of data with `checksum`; its version."""
    return snapshot.write(
        root,
        tensors=trained.tensors,
        items=dataset.items,
        config=trained.config,
        content_model="none",
        scale=(1.0, 5.0),
        metrics=trained.metrics,
        parent=None,
        created="2026-06-01T12:00:00+00:00",
        data={"name": dataset.name, "checksum": checksum or dataset.checksum},
    ).name


def many_users(folder: Path, items: int, events: int, *, timed: bool = False, at_once: int = 0) -> Dataset:
    """Just more users than are few, each of whom takes items in their order; of `at_once` all events share a time."""
    file = folder / "many.csv"
    rows = [
        f"u{user},i{(user + at) % items}" + f",{at if user >= at_once else 0}" * timed
        for user in range(FEW_USERS + 1)
        for at in range(events)
    ]
    file.write_text("user,item" + ",time" * timed + "\n" + "\n".join(rows) + "\n")
    return read(file)
