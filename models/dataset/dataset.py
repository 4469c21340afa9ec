"""A dataset: interactions, their items, the rating scale, and the report of how they were read."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.dataset.error import DatasetError
from models.dataset.report import Refusals, Report, commonest
from models.dataset.rows import Rows
from models.dataset.table import Table
from models.interaction import KIND_CODES, KINDS, RATING, Interactions, RatingScale
from models.item import Item


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """What was read. `interactions.items` are the ids of `items`, in that order, the untouched items last.

    `checksum` is the SHA-256 of the files it was read from.
    """

    name: str
    interactions: Interactions
    items: tuple[Item, ...]
    scale: RatingScale
    report: Report
    checksum: str

    def has_text(self) -> NDArray[np.bool_]:
        """Which items say anything at all, (N,); the others' ids are no content."""
        return np.array([bool(item.said) for item in self.items])


def assemble(
    name: str,
    files: Sequence[Path],
    rows: Rows,
    described: Iterable[Item],
    refusals: Refusals,
    tables: Iterable[Table],
) -> Dataset:
    """Number the users and items by first appearance in time, and put everything together.

    Args:
        tables: what rows and items were read from: the report tells what was remarkable of them.
    Raises:
        DatasetError: there is no valid interaction.
    """
    if rows.frame.is_empty():
        raise DatasetError.expected(f"{files[0].name}: there is no valid row: {commonest(refusals)}.")
    frame = rows.frame.sort("time", maintain_order=True)
    unsaid = pl.when(pl.col("value").is_null()).then(KIND_CODES["view"]).otherwise(RATING)
    frame = frame.with_columns(pl.coalesce("kind", unsaid).cast(pl.UInt8))
    known = {item.id: item for item in described}
    users, user = _numbered(frame["user"])
    touched, item = _numbered(frame["item"])
    items = (*(known.pop(id_) if id_ in known else Item(id_) for id_ in touched), *known.values())
    interactions = Interactions.from_columns(
        user=user,
        item=item,
        kind=frame["kind"].to_numpy(),
        value=frame["value"].cast(pl.Float32).fill_null(float("nan")).to_numpy(),
        time=frame["time"].to_numpy(),
        users=tuple(users),
        items=tuple(item.id for item in items),
    )
    report = Report(
        rows=rows.read,
        refused=tuple(sorted(refusals.kept)),
        refused_count=refusals.count,
        duplicates=rows.duplicates,
        interactions=len(interactions),
        users=len(users),
        items=len(items),
        described=sum(bool(item.said) for item in items),
        kinds={KINDS[code]: int(count) for code, count in enumerate(np.bincount(interactions.kind)) if count},
        timed=rows.timed,
        first=float(interactions.time.min()) if rows.clock else None,
        last=float(interactions.time.max()) if rows.clock else None,
        notes=tuple(note for table in tables for note in table.remarks()),
    )
    return Dataset(name, interactions, items, _scale(interactions), report, checksum(files))


def checksum(files: Iterable[Path]) -> str:
    """The SHA-256 over the names and contents of `files`, in the order of their names."""
    whole = hashlib.sha256()
    for file in sorted(files, key=lambda path: path.name):
        whole.update(file.name.encode() + b"\0")
        with file.open("rb") as source:
            whole.update(hashlib.file_digest(source, "sha256").digest())
    return whole.hexdigest()


def _numbered(ids: pl.Series) -> tuple[list[str], np.ndarray[tuple[int, ...], np.dtype[np.int32]]]:
    """The distinct ids by first appearance, and the number of each row's id, (N,)."""
    distinct = ids.unique(maintain_order=True)
    numbers = ids.replace_strict(
        distinct, pl.int_range(len(distinct), dtype=pl.Int32, eager=True), return_dtype=pl.Int32
    )
    return distinct.to_list(), numbers.to_numpy()


def _scale(interactions: Interactions) -> RatingScale:
    """The range of the ratings. Where they are all the same they only say "yes", and the scale ends there."""
    rated = interactions.value[(interactions.kind == RATING) & ~np.isnan(interactions.value)]
    if not len(rated):
        return RatingScale()
    low, high = float(rated.min()), float(rated.max())
    return RatingScale(low if low < high else high - 1.0, high)
