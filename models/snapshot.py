"""A snapshot: one immutable published version of the model and of the items it knows.

    root/
      20260601T120000000-1a2b3c4d/     a version: when it was made, and a hash of all it holds
        model.safetensors              the tensors; N = items
        items.jsonl                    the items, a line each, in row order
        manifest.json                  what it is, where it came from, and the checksums of the other two
      current -> 20260601T120000000-1a2b3c4d

A version is written beside its place and renamed into it, so a folder under its own name is whole; `current` is a link
swapped in one step. Every read checks every byte.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from models.item import Item
from models.manifest import (
    CURRENT,
    FORMAT,
    MANIFEST,
    Manifest,
    SnapshotError,
    checksum,
    manifest_of,
    pinned,
    version_of,
)

__all__ = [
    "CURRENT", "EXPECTED", "FORMAT", "ITEMS", "MANIFEST", "MODEL", "POPULARITY", "Manifest", "Snapshot",
    "SnapshotError", "current", "meant", "prune", "publish", "read", "versions", "write",
]  # fmt: skip

MODEL, ITEMS = "model.safetensors", "items.jsonl"
EXPECTED, POPULARITY = "tower.expected", "popularity"
"""The tensors with a row an item that every snapshot has: what its text lets expect (N, E), interaction counts (N,)."""

AT_A_TIME, PAUSE = 50, 1e-3
"""Items that are read between two pauses, in seconds, where another snapshot is served meanwhile. Without, ten thousand
keep the event loop from half of its time for a tenth of a second, and whoever asks then waits as long."""


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """A snapshot in memory: tensors on the CPU in float32, and the items in row order."""

    manifest: Manifest
    tensors: dict[str, torch.Tensor]
    items: tuple[Item, ...]

    @property
    def version(self) -> str:
        return self.manifest.version


def write(
    root: Path,
    *,
    tensors: Mapping[str, torch.Tensor],
    items: Sequence[Item],
    config: Mapping[str, Any],
    content_model: str,
    scale: tuple[float, float],
    metrics: Mapping[str, float],
    parent: str | None,
    created: str,
    data: Mapping[str, Any],
) -> Path:
    """Write one version under `root` and return its folder. It is not served until `publish` points at it.

    Args:
        tensors: with EXPECTED (N, E) and POPULARITY (N,) among them; the former is stored in float16.
        items: the N items, in the order of those rows.
        created: an ISO time with an offset.
        data: what it was trained on; plain JSON, as are `config` and `metrics`.
    Raises SnapshotError where the counts disagree, a number is not finite or `created` has no offset.
    """
    stored = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}
    if EXPECTED in stored:
        stored[EXPECTED] = stored[EXPECTED].to(torch.float16)
    if fault := _fault(stored, items, len(items)):
        raise SnapshotError(f"Nothing written to {root}: {fault}.")
    root.mkdir(parents=True, exist_ok=True)
    with _one_writer(root):
        aside = root / f".writing-{uuid.uuid4().hex}"
        aside.mkdir()
        save_file(stored, aside / MODEL)
        (aside / ITEMS).write_text("".join(_line(item) for item in items), encoding="utf-8")
        manifest: dict[str, Any] = {
            "format": FORMAT,
            "parent": parent,
            "created": created,
            "config": dict(config),
            "content_model": content_model,
            "scale": list(scale),
            "metrics": {name: float(value) for name, value in metrics.items()},
            "items": len(items),
            "data": dict(data),
            "checksums": {name: checksum(aside / name) for name in (MODEL, ITEMS)},
        }
        try:
            manifest["version"] = version_of(manifest)
            # Through JSON and back, so that what cannot be read again is never written.
            text = Manifest.from_json(json.dumps(manifest)).to_json()
        except (TypeError, ValueError, SnapshotError) as error:
            shutil.rmtree(aside)
            raise SnapshotError(f"Nothing written to {root}: {error}.") from error
        (aside / MANIFEST).write_text(text, encoding="utf-8")
        for path in (aside / MODEL, aside / ITEMS, aside / MANIFEST, aside):
            _fsync(path)
        folder = root / str(manifest["version"])
        if folder.exists():  # the version names its content: the same was written before
            shutil.rmtree(aside)
        else:
            os.replace(aside, folder)
        _fsync(root)
    return folder


def read(path: Path, beside: Snapshot | None = None, unhurried: bool = False) -> Snapshot:
    """Read and check a version's folder, or `root/current`.

    Args:
        beside: one in memory: where its items are the same, they are its own.
        unhurried: leave the interpreter to others for most of the time that reading items takes.
    Raises SnapshotError, naming the file, where it is missing, partial, corrupt or of another format.
    """
    while True:
        folder = path.resolve()
        try:
            return _read(folder, beside, unhurried)
        except SnapshotError:
            # The link may have moved on, and the version it pointed at been pruned, while it was being read.
            if path.resolve() == folder:
                raise


def meant(path: Path) -> Path:
    """What `read` is to be given: a version or a `current` as it is; of a folder of snapshots, its `current`."""
    return path if path.name == CURRENT or pinned(path) else path / CURRENT


def publish(root: Path, version: str) -> None:
    """Point `root/current` at a version, in one step. Raises SnapshotError where there is no such version."""
    with _one_writer(root):
        if version not in versions(root):
            known = ", ".join(versions(root)) or "none"
            raise SnapshotError(f"{root} has no version {version!r} to publish; it has: {known}.")
        link = root / f".{CURRENT}-{uuid.uuid4().hex}"
        link.symlink_to(version)
        os.replace(link, root / CURRENT)
        _fsync(root)


def current(root: Path) -> str | None:
    """The version that `root/current` points at; None before the first `publish`."""
    try:
        return os.readlink(root / CURRENT)
    except OSError:
        return None


def versions(root: Path) -> list[str]:
    """Every version under `root`, oldest first."""
    if not root.is_dir():
        return []
    return sorted(
        entry.name
        for entry in root.iterdir()
        if entry.name != CURRENT and not entry.name.startswith(".") and (entry / MANIFEST).is_file()
    )


def prune(root: Path, keep: int) -> list[str]:
    """Delete all but the newest `keep` versions, the current one and its parent; returns what went.

    What a writer that died left behind goes too. A reader that still holds a deleted version keeps what it has read.
    """
    if not root.is_dir():
        return []
    with _one_writer(root):
        found = versions(root)
        kept = {*found[max(len(found) - keep, 0) :], current(root), _parent(root)}
        gone = [version for version in found if version not in kept]
        for version in gone:  # out of its name first: no folder is ever seen half deleted
            os.replace(root / version, root / f".deleting-{version}-{uuid.uuid4().hex}")
        for left in [*root.glob(".writing-*"), *root.glob(".deleting-*"), *root.glob(f".{CURRENT}-*")]:
            if left.is_symlink():
                left.unlink()
            else:
                shutil.rmtree(left)
    return gone


def _read(folder: Path, beside: Snapshot | None, unhurried: bool) -> Snapshot:
    manifest = manifest_of(folder)
    for name in (MODEL, ITEMS):
        if checksum(folder / name) != manifest.checksums.get(name):
            raise SnapshotError(
                f"{folder / name} is corrupt: its SHA-256 is not the manifest's. Copy it again, or serve another."
            )
    try:
        tensors = load_file(folder / MODEL)
        same = beside is not None and beside.manifest.checksums.get(ITEMS) == manifest.checksums[ITEMS]
        items = beside.items if beside is not None and same else tuple(_items(folder / ITEMS, unhurried))
    except (OSError, SafetensorError, ValueError, TypeError, KeyError) as error:
        raise SnapshotError(f"{folder} cannot be read: {error}. Copy this snapshot again, or serve another.") from error
    if fault := _fault(tensors, items, manifest.items):
        raise SnapshotError(f"{folder} is inconsistent: {fault}. Train it again, or serve another.")
    return Snapshot(manifest, {name: _widened(tensor) for name, tensor in tensors.items()}, items)


def _parent(root: Path) -> str | None:
    try:
        return manifest_of((root / CURRENT).resolve()).parent
    except SnapshotError:
        return None


def _fault(tensors: Mapping[str, torch.Tensor], items: Sequence[Item], count: int) -> str | None:
    """What is wrong between the tensors and the items, or None."""
    different = len({item.id for item in items})
    if len(items) != count or different != count:
        return f"it should have {count} items of different ids, and has {different}"
    for name, dimensions in ((EXPECTED, 2), (POPULARITY, 1)):
        if name not in tensors:
            return f"tensor {name!r} is missing"
        if tensors[name].dim() != dimensions or len(tensors[name]) != count:
            return f"tensor {name!r} has shape {tuple(tensors[name].shape)} for {count} items"
    for name, tensor in tensors.items():
        if not bool(torch.isfinite(tensor).all()):
            return f"tensor {name!r} holds a number that is not finite"
    return None


def _line(item: Item) -> str:
    return json.dumps(asdict(item), ensure_ascii=True) + "\n"


def _items(path: Path, unhurried: bool) -> Iterator[Item]:
    for row, line in enumerate(path.read_text(encoding="utf-8").splitlines()):
        if unhurried and row % AT_A_TIME == 0:
            time.sleep(PAUSE)
        yield _item(line)


def _item(line: str) -> Item:
    found = json.loads(line)
    return Item(**(found | {"categories": tuple(found["categories"])}))


def _widened(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.float() if tensor.dtype == torch.float16 else tensor


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _one_writer(root: Path) -> Iterator[None]:
    """Held by whoever changes `root`, across processes; the system lets go of it should the holder die."""
    descriptor = os.open(root, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
