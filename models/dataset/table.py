"""A table read from one file: named columns, and the line that each row came from."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from models.dataset.delimited import split
from models.dataset.error import DatasetError
from models.dataset.jsonl import parse
from models.dataset.lines import LINE
from models.dataset.report import Refusals

TEXT = {".csv": None, ".tsv": "\t", ".tab": "\t"}
JSON = (".jsonl", ".ndjson")
PARQUET = (".parquet", ".pq")
SUFFIXES = (*TEXT, *JSON, *PARQUET)

SHOWN = 10  # unused columns that are named


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of one file. `frame` has a column LINE beside its own; text formats hold every value as a string.

    Whoever reads a column adds it to `used`.
    """

    file: str
    frame: pl.DataFrame
    notes: tuple[str, ...] = ()
    used: set[str | None] = field(default_factory=set)

    @property
    def columns(self) -> list[str]:
        return [name for name in self.frame.columns if name != LINE]

    def remarks(self) -> tuple[str, ...]:
        """The notes, and which columns nobody has used."""
        unused = [name for name in self.columns if name not in self.used]
        if not unused:
            return self.notes
        more = f" and {len(unused) - SHOWN:,} more" if len(unused) > SHOWN else ""
        return (*self.notes, f"{self.file}: columns not used: {', '.join(unused[:SHOWN])}{more}")


def load(path: Path, refusals: Refusals, *, separator: str | None = None, names: list[str] | None = None) -> Table:
    """The table in `path`, by its suffix; malformed rows go to `refusals`.

    Args:
        separator: of a text format; guessed from the first line where it is None.
        names: the columns of a text file without a header.
    Raises:
        DatasetError: the file is missing, is no table, or cannot be decoded.
    """
    if not path.is_file():
        raise DatasetError.expected(f"{path}: there is no such file.")
    suffix = path.suffix.lower()
    if suffix in PARQUET:
        return Table(path.name, _parquet(path))
    text, notes = decoded(path)
    if suffix in JSON:
        return Table(path.name, parse(text, path.name, refusals), notes)
    quoted = separator is None or separator == ","
    if separator is None:
        separator = TEXT.get(suffix)
    return Table(path.name, split(text, path.name, refusals, separator=separator, names=names, quoted=quoted), notes)


def decoded(path: Path) -> tuple[str, tuple[str, ...]]:
    """The text of a file, its line ends all "\\n", and a note where it had to be read as Latin-1.

    UTF-8 with or without a byte order mark, and UTF-16 with one, are known by their bytes.
    """
    data = path.read_bytes()
    notes: tuple[str, ...] = ()
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        text = data.decode("utf-16", errors="replace")
    elif b"\0" in data[:65536]:
        raise DatasetError.expected(f"{path}: this is not text.")
    else:
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = data.decode("latin-1")
            notes = (f"{path.name} is not UTF-8 and was read as Latin-1",)
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text, notes


def _parquet(path: Path) -> pl.DataFrame:
    try:
        frame = pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DatasetError.expected(f"{path}: this is not a readable Parquet file ({error}).") from error
    return frame.with_row_index(LINE, offset=1).with_columns(pl.col(LINE).cast(pl.Int64))
