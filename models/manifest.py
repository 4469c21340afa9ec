"""The manifest of a snapshot: what it is, where it came from, and the checksums of its files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

FORMAT = 7
MANIFEST = "manifest.json"
CURRENT = "current"


class SnapshotError(Exception):
    """A snapshot that is missing, partial, corrupt or of another format; the message says which, and what to do."""


def pinned(path: Path) -> bool:
    """Whether a path is one version of a snapshot, and neither a folder of them nor its `current`, which both move."""
    return path.name != CURRENT and (path / MANIFEST).exists()


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a snapshot is and where it came from. `version` ends in a hash of all the rest, so it vouches for that too.

    `parent` is the version it was refreshed from; `data` is what it was trained on; `scale` is that of the ratings.
    """

    format: int
    version: str
    parent: str | None
    created: str
    config: dict[str, Any]
    content_model: str
    scale: tuple[float, float]
    metrics: dict[str, float]
    items: int
    data: dict[str, Any]
    checksums: dict[str, str]

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2, sort_keys=True, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Manifest:
        """Read a manifest back. Raises SnapshotError where it is of another format, lacks a field or was altered."""
        try:
            found = json.loads(text)
        except ValueError as error:
            raise SnapshotError(f"it is not JSON ({error})") from error
        if not isinstance(found, dict) or not isinstance(found.get("format"), int):
            raise SnapshotError("it names no format: it is not the manifest of a snapshot")
        if found["format"] != FORMAT:
            age = "an older" if found["format"] < FORMAT else "a newer"
            raise SnapshotError(f"it has format {found['format']}, of {age} innerloop; this one reads {FORMAT}")
        if wrong := {field.name for field in fields(cls)} ^ found.keys():
            raise SnapshotError(f"these fields are missing or unknown: {', '.join(sorted(wrong))}")
        try:
            version = version_of(found)
        except ValueError as error:
            raise SnapshotError(f"it holds a number that is not finite ({error})") from error
        if found["version"] != version:
            raise SnapshotError("its content does not match its version: it was altered")
        return cls(**(found | {"scale": tuple(found["scale"])}))


def version_of(manifest: Mapping[str, Any]) -> str:
    """When it was made, to the millisecond in UTC, and a hash of every field but the version itself.

    Raises SnapshotError where `created` is not an ISO time with an offset, ValueError where a number is not finite.
    """
    try:
        created = datetime.fromisoformat(manifest["created"])
    except (TypeError, ValueError):
        created = datetime.min
    if created.tzinfo is None:
        raise SnapshotError(f"created must be a time as 2026-06-01T12:00:00+00:00, got {manifest['created']!r}")
    rest = {name: value for name, value in manifest.items() if name != "version"}
    text = json.dumps(rest, sort_keys=True, allow_nan=False)
    return f"{created.astimezone(UTC):%Y%m%dT%H%M%S%f}"[:-3] + f"-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def manifest_of(folder: Path) -> Manifest:
    """The manifest of a version's folder. Raises SnapshotError, naming the file."""
    try:
        return Manifest.from_json((folder / MANIFEST).read_text(encoding="utf-8"))
    except OSError as error:
        why = "there is no such folder" if not folder.is_dir() else f"it has no readable {MANIFEST}, so it is partial"
        raise SnapshotError(f"{folder} is not a snapshot: {why}. Train one with `innerloop train`.") from error
    except (SnapshotError, UnicodeDecodeError) as error:
        raise SnapshotError(f"{folder / MANIFEST}: {error}. Train it again, or serve another.") from error


def checksum(path: Path) -> str:
    """A file's SHA-256. Raises SnapshotError where it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise SnapshotError(
            f"{path} cannot be read, so this snapshot is partial. Copy it again, or serve another."
        ) from error
