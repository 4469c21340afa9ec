"""A snapshot comes back as it was written, or not at all."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest
import torch

from models import snapshot
from models.item import Item
from models.snapshot import SnapshotError

ITEMS = (
    Item("a", "Alien", "in space\u2028no one hears", ("horror", "sci-fi")),
    Item("b", available=False),
    Item("ü", "Über"),
)


def write(root: Path, **changes: Any) -> Path:
    """A small valid snapshot, with some arguments changed."""
    given: dict[str, Any] = {
        "tensors": {
            "tower.expected": torch.eye(3, 4),
            "popularity": torch.tensor([3.0, 2.0, 1.0]),
            "steps": torch.tensor([0.5]),
        },
        "items": ITEMS,
        "config": {"width": 4},
        "content_model": "all-MiniLM-L6-v2",
        "scale": (0.5, 5.0),
        "metrics": {"ndcg@10": 0.1},
        "parent": None,
        "created": "2026-06-01T14:00:00.250+02:00",
        "data": {"name": "demo"},
    }
    return snapshot.write(root, **(given | changes))


def series(root: Path, count: int) -> list[str]:
    """Versions, each the parent of the next."""
    made: list[str] = []
    for second in range(count):
        parent = made[-1] if made else None
        made.append(write(root, created=f"2026-06-01T12:00:{second:02}+00:00", parent=parent).name)
    return made


def test_it_comes_back_as_it_was_written(tmp_path: Path) -> None:
    found = snapshot.read(write(tmp_path))
    assert found.items == ITEMS
    assert found.version == found.manifest.version
    assert found.version.startswith("20260601T120000250-")
    assert found.manifest.scale == (0.5, 5.0)
    assert found.manifest.items == 3
    assert found.tensors["tower.expected"].dtype == torch.float32
    assert torch.equal(found.tensors["tower.expected"], torch.eye(3, 4))
    assert torch.equal(found.tensors["steps"], torch.tensor([0.5]))


def test_items_that_are_the_same_are_those_of_the_snapshot_beside_it(tmp_path: Path) -> None:
    served = snapshot.read(write(tmp_path))
    newer = snapshot.read(write(tmp_path, metrics={"ndcg@10": 0.2}, parent=served.version), served)
    assert newer.version != served.version
    assert newer.items is served.items


@pytest.mark.parametrize("items", [ITEMS[::-1], (*ITEMS[:2], Item("c"))])
def test_items_that_are_not_the_same_are_read(tmp_path: Path, items: tuple[Item, ...]) -> None:
    served = snapshot.read(write(tmp_path))
    assert snapshot.read(write(tmp_path, items=items), served).items == items


def test_what_texts_let_expect_takes_two_bytes_a_number_on_disk(tmp_path: Path) -> None:
    small = (write(tmp_path) / snapshot.MODEL).stat().st_size
    wide = {"tower.expected": torch.zeros(3, 1004), "popularity": torch.zeros(3)}
    assert 5_500 < (write(tmp_path, tensors=wide) / snapshot.MODEL).stat().st_size - small < 6_500


def test_writing_the_same_again_is_the_same_version(tmp_path: Path) -> None:
    assert write(tmp_path) == write(tmp_path)
    assert write(tmp_path, config={"width": 5}) != write(tmp_path)
    assert len(snapshot.versions(tmp_path)) == 2
    assert not list(tmp_path.glob(".writing-*"))


def test_current_points_where_it_was_published_and_is_readable(tmp_path: Path) -> None:
    assert snapshot.current(tmp_path) is None
    first, second = series(tmp_path, 2)
    for version in (second, first):
        snapshot.publish(tmp_path, version)
        assert snapshot.current(tmp_path) == version
        assert snapshot.read(tmp_path / "current").version == version
    with pytest.raises(SnapshotError, match=f"no version 'nope'.*{first}, {second}"):
        snapshot.publish(tmp_path, "nope")
    assert snapshot.current(tmp_path) == first


@pytest.mark.parametrize("name", [snapshot.MODEL, snapshot.ITEMS, snapshot.MANIFEST])
def test_one_flipped_bit_is_refused_and_its_file_named(tmp_path: Path, name: str) -> None:
    path = write(tmp_path) / name
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(SnapshotError, match=name):
        snapshot.read(path.parent)


@pytest.mark.parametrize("name", [snapshot.MODEL, snapshot.ITEMS, snapshot.MANIFEST])
def test_a_missing_or_truncated_file_is_refused_and_named(tmp_path: Path, name: str) -> None:
    path = write(tmp_path) / name
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(SnapshotError, match=name):
        snapshot.read(path.parent)
    path.unlink()
    with pytest.raises(SnapshotError, match=f"{name}.*partial"):
        snapshot.read(path.parent)


def test_no_snapshot_at_all_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(SnapshotError, match=r"no such folder.*innerloop train"):
        snapshot.read(tmp_path / "current")


@pytest.mark.parametrize(("format", "why"), [(2, "an older innerloop"), (snapshot.FORMAT + 1, "a newer innerloop")])
def test_another_format_is_refused(tmp_path: Path, format: int, why: str) -> None:
    path = write(tmp_path) / snapshot.MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": format}))
    with pytest.raises(SnapshotError, match=why):
        snapshot.read(path.parent)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"items": ITEMS[:2]}, r"'tower.expected' has shape \(3, 4\) for 2 items"),
        ({"items": (ITEMS[0], ITEMS[0], ITEMS[1])}, "3 items of different ids, and has 2"),
        ({"tensors": {"tower.expected": torch.eye(3)}}, "'popularity' is missing"),
        (
            {"tensors": {"tower.expected": torch.eye(3), "popularity": torch.tensor([1.0, float("nan"), 0.0])}},
            "'popularity' holds a number that is not finite",
        ),
        ({"created": "2026-06-01T12:00:00"}, "created must be a time"),
        ({"metrics": {"ndcg@10": float("nan")}}, "not JSON compliant|not finite"),
        ({"config": {"path": Path()}}, "not JSON serializable"),
    ],
)
def test_what_could_not_be_read_back_is_never_written(tmp_path: Path, changes: dict[str, Any], why: str) -> None:
    with pytest.raises(SnapshotError, match=why):
        write(tmp_path, **changes)
    assert not list(tmp_path.iterdir())


def test_pruning_keeps_the_newest_the_current_and_its_parent(tmp_path: Path) -> None:
    made = series(tmp_path, 6)
    snapshot.publish(tmp_path, made[2])
    (tmp_path / ".writing-left-by-a-dead-writer").mkdir()
    assert snapshot.prune(tmp_path, keep=1) == [made[0], made[3], made[4]]
    assert snapshot.versions(tmp_path) == [made[1], made[2], made[5]]
    assert snapshot.read(tmp_path / "current").version == made[2]
    assert not list(tmp_path.glob(".[wd]*"))


def test_a_reader_of_current_never_fails_while_versions_come_and_go(tmp_path: Path) -> None:
    snapshot.publish(tmp_path, write(tmp_path).name)
    done = threading.Event()

    def keep_publishing() -> None:
        for second in range(40):
            version = write(tmp_path, created=f"2026-06-01T13:00:{second:02}+00:00").name
            snapshot.publish(tmp_path, version)
            snapshot.prune(tmp_path, keep=1)
        done.set()

    writer = threading.Thread(target=keep_publishing)
    writer.start()
    read = set()
    while not done.is_set():
        read.add(snapshot.read(tmp_path / "current").version)
    writer.join()
    assert len(read) > 1
    assert len(snapshot.versions(tmp_path)) == 1
