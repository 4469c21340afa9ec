"""What reading a dataset found: rows, refusals, duplicates, and the shape of what is left."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime

KEPT_REFUSALS = 1000
"""Every refusal is counted; this many are kept with their line and reason."""


@dataclass(frozen=True, slots=True, order=True)
class Refusal:
    """A row that was not read. `line` counts from 1, the header being line 1; in Parquet it is the row's number."""

    file: str
    line: int
    reason: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.reason}"


@dataclass(slots=True)
class Refusals:
    """Refusals as they are found."""

    count: int = 0
    kept: list[Refusal] = field(default_factory=list)

    def add(self, file: str, line: int, reason: str) -> None:
        self.count += 1
        if len(self.kept) < KEPT_REFUSALS:
            self.kept.append(Refusal(file, line, reason))


@dataclass(frozen=True, slots=True)
class Report:
    """What reading found. `rows` counts the interactions read, good, refused and repeated alike.

    `refused` holds the first refusals, of interactions and of items; `refused_count` counts them all.
    `timed` is False where nothing but the order of the rows says what came first. `first` and `last` are seconds since
    the epoch, None where the data has an order but no clock.
    """

    rows: int
    refused: tuple[Refusal, ...]
    refused_count: int
    duplicates: int
    interactions: int
    users: int
    items: int
    described: int
    kinds: dict[str, int]
    timed: bool
    first: float | None = None
    last: float | None = None
    notes: tuple[str, ...] = ()

    @property
    def density(self) -> float:
        """The share of all (user, item) pairs that an interaction stands for."""
        return self.interactions / max(self.users * self.items, 1)

    def lines(self, shown: int = 20) -> list[str]:
        """The report as text, with the first `shown` refusals."""
        out = [
            f"rows read      {self.rows:,}",
            f"rows refused   {self.refused_count:,}",
            f"duplicates     {self.duplicates:,} (dropped)",
            f"interactions   {self.interactions:,}",
            "kinds          " + ", ".join(f"{kind} {count:,}" for kind, count in self.kinds.items()),
            f"users          {self.users:,}",
            f"items          {self.items:,} ({self.described:,} described)",
            f"density        {self.density:.4%}",
        ]
        if self.first is not None and self.last is not None:
            out.append(f"time           {_moment(self.first)} to {_moment(self.last)}")
        else:
            out.append(f"time           {'an order, no clock' if self.timed else 'none given: as the rows come'}")
        out += [f"note           {note}" for note in self.notes]
        out += [f"refused        {refusal}" for refusal in self.refused[:shown]]
        if self.refused_count > min(shown, len(self.refused)):
            out.append(f"refused        ... and {self.refused_count - min(shown, len(self.refused)):,} more")
        return out


def commonest(refusals: Refusals) -> str:
    """The commonest reason and where it was first met, for an error about a file with no valid row."""
    if not refusals.kept:
        return "it has no rows"
    reason, _ = Counter(refusal.reason for refusal in refusals.kept).most_common(1)[0]
    where = next(refusal for refusal in refusals.kept if refusal.reason == reason)
    return f"{refusals.count:,} refused, such as {where}"


def _moment(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat(sep=" ", timespec="seconds").removesuffix("+00:00")
    except (OverflowError, ValueError, OSError):
        return f"{seconds:g} s"
