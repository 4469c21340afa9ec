"""The demo reads back, is the same every time, and has something in it to learn."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from models import demo
from models.dataset import Dataset, read


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    demo.write(folder, users=400, items=600)
    return folder


@pytest.fixture(scope="module")
def dataset(folder: Path) -> Dataset:
    return read(folder)


def test_every_row_reads(dataset: Dataset) -> None:
    report = dataset.report
    assert (report.refused_count, report.duplicates) == (0, 0)
    assert (report.users, report.items, report.described) == (400, 600, 600)
    assert set(report.kinds) == {"view", "click", "like", "dislike", "purchase", "rating"}
    assert (dataset.scale.low, dataset.scale.high) == (1.0, 5.0)
    assert report.first is not None
    assert report.last is not None
    assert 60 < (report.last - report.first) / 86400 < 190


def test_items_are_distinct_and_complete(dataset: Dataset) -> None:
    assert len({item.title for item in dataset.items}) == 600
    assert all(len(item.categories) == 2 and len(item.text) > 60 for item in dataset.items)
    assert len({item.categories for item in dataset.items}) == 40


def test_the_same_seed_writes_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []
    demo.write(tmp_path / "a", users=400, items=600, progress=lambda done, total: steps.append((done, total)))
    demo.write(tmp_path / "b", users=400, items=600, seed=1)
    for name in ("items.csv", "interactions.csv"):
        assert (tmp_path / "a" / name).read_bytes() == (folder / name).read_bytes()
        assert (tmp_path / "b" / name).read_bytes() != (folder / name).read_bytes()
    assert steps[-1][0] == steps[-1][1] == len(steps)


def test_taste_beats_popularity(dataset: Dataset) -> None:
    """The next book shares its theme with one of the last three far more often than the popular books do."""
    log, bounds = dataset.interactions, dataset.interactions.bounds()
    theme = np.array([hash(item.categories) for item in dataset.items])
    popular = theme[np.argsort(-np.bincount(log.item, minlength=600))[:3]]
    last = bounds[1:] - 1
    by_history = np.mean([theme[log.item[row]] in theme[log.item[row - 3 : row]] for row in last])
    by_popularity = np.mean(np.isin(theme[log.item[last]], popular))
    assert by_history > 0.5
    assert by_history > 2 * by_popularity


def test_some_books_are_much_more_popular(dataset: Dataset) -> None:
    counts = np.sort(np.bincount(dataset.interactions.item, minlength=600))[::-1]
    assert counts[:60].sum() > 0.2 * counts.sum()


def test_nobody_reads_a_book_twice(dataset: Dataset) -> None:
    log = dataset.interactions
    assert len(set(zip(log.user.tolist(), log.item.tolist(), strict=True))) == len(log)


def test_tastes_drift(dataset: Dataset) -> None:
    """A reader's last books share fewer themes with the first ones than the first ones among themselves."""
    log, bounds = dataset.interactions, dataset.interactions.bounds()
    theme = np.array([hash(item.categories) for item in dataset.items])
    soon, late = [], []
    for start, end in pairwise(bounds):
        if end - start >= 20:
            first = theme[log.item[start : start + 5]]
            soon.append(np.isin(theme[log.item[start + 5 : start + 10]], first).mean())
            late.append(np.isin(theme[log.item[end - 5 : end]], first).mean())
    assert np.mean(soon) > 1.5 * np.mean(late)
