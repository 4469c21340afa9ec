"""Delimited text -> a frame of strings, with line numbers, a reason for every row that is malformed, and no lost row.

Almost every record is one well-formed line, and those are read together. Only lines that need care (a quoted line
break, a stray quote) are gone through one by one.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence

import polars as pl

from models.dataset.error import DatasetError
from models.dataset.lines import FILLED, LINE, numbered
from models.dataset.report import Refusals

SEPARATORS = ("\t", ",", ";", "|")
LONGEST = 1000  # lines one quoted field may run over


def split(
    text: str,
    file: str,
    refusals: Refusals,
    *,
    separator: str | None = None,
    names: Sequence[str] | None = None,
    quoted: bool = True,
) -> pl.DataFrame:
    """A frame of strings with a LINE column; empty fields are null, blank lines are no rows.

    Args:
        separator: guessed from the header where it is None; may be "::".
        names: the columns, where the file has no header.
        quoted: whether a double quote at the start of a field quotes it.
    Raises:
        DatasetError: the file is empty.
    """
    if separator == "::":
        text, separator = text.replace("\t", " ").replace("::", "\t"), "\t"
    lines = numbered(text)
    first = lines.select(FILLED.arg_max()).item() if lines.select(FILLED.any()).item() else None
    if first is None:
        raise DatasetError.expected(f"{file}: the file is empty.")
    lines = lines.slice(first)
    if names is None:
        header = str(lines["text"][0])
        separator = separator or max(SEPARATORS, key=header.count)
        names, lines = _names(header, separator, quoted), lines.slice(1)
    separator = separator or ","
    return _records(lines, list(names), separator, quoted, file, refusals)


def _names(header: str, separator: str, quoted: bool) -> list[str]:
    fields = next(csv.reader([header], delimiter=separator)) if quoted else header.split(separator)
    names: list[str] = []
    for number, field in enumerate(fields, 1):
        name = field.strip() or f"column {number}"
        names.append(name if name not in names else f"{name} {number}")
    return names


def _records(
    lines: pl.DataFrame, names: list[str], separator: str, quoted: bool, file: str, refusals: Refusals
) -> pl.DataFrame:
    text, mark = pl.col("text"), "\\t" if separator == "\t" else f"\\{separator}" if separator in "|;" else separator
    has_quote = text.str.contains('"', literal=True) if quoted else pl.lit(value=False)
    sound = rf'^(?:"(?:[^"]|"")*"|[^"{mark}]*)(?:{mark}(?:"(?:[^"]|"")*"|[^"{mark}]*))*$'
    lines = lines.with_columns(
        (has_quote & ~text.str.contains(sound)).alias("care"),
        (pl.when(has_quote).then(text.str.replace_all(r'"[^"]*"', "")).otherwise(text))
        .str.count_matches(separator, literal=True).add(1).alias("width"),
    )  # fmt: skip
    careful = pl.DataFrame(schema={LINE: pl.Int64, **dict.fromkeys(names, pl.String)})
    if lines["care"].any():
        careful, used = _with_care(lines, names, separator, file, refusals)
        lines = lines.filter(~pl.col(LINE).is_in(used))
    lines = lines.filter(FILLED)
    for line, width in lines.filter(pl.col("width") != len(names)).select(LINE, "width").iter_rows():
        refusals.add(file, line, _width(width, len(names)))
    lines = lines.filter(pl.col("width") == len(names))
    if lines.is_empty():
        return careful
    frame = pl.read_csv(
        lines["text"].str.join("\n").item().encode(),
        has_header=False,
        schema=dict.fromkeys(names, pl.String),
        separator=separator,
        quote_char='"' if quoted else None,
    )
    if len(frame) != len(lines):
        raise DatasetError(f"{file}: {len(lines):,} lines were read as {len(frame):,} rows; is the separator right?")
    frame = frame.select(lines[LINE], *names)
    return frame if careful.is_empty() else pl.concat([frame, careful]).sort(LINE)


def _with_care(
    lines: pl.DataFrame, names: list[str], separator: str, file: str, refusals: Refusals
) -> tuple[pl.DataFrame, list[int]]:
    """Rows from the lines that need care, joined to the lines after them where a quote runs on; the lines used up."""
    numbers, texts = lines[LINE].to_list(), lines["text"].to_list()
    rows: list[list[object]] = []
    used: list[int] = []
    after = 0
    for start in lines["care"].arg_true().to_list():
        if start < after:
            continue
        fields, after = _joined(texts, start, separator)
        if fields is None:
            refusals.add(file, numbers[start], "a double quote that is out of place or never closed")
        elif len(fields) != len(names):
            refusals.add(file, numbers[start], _width(len(fields), len(names)))
            after = start + 1  # the lines that ran into this one may be sound by themselves
        else:
            rows.append([numbers[start], *(field or None for field in fields)])
        used += numbers[start:after]
    schema = {LINE: pl.Int64, **dict.fromkeys(names, pl.String)}
    return pl.DataFrame(rows, schema=schema, orient="row"), used


def _joined(texts: list[str], start: int, separator: str) -> tuple[list[str] | None, int]:
    """The fields of the record that begins at `start`, None where it has no sound end, and where the next begins."""
    record = ""
    for end in range(start, min(start + LONGEST, len(texts))):
        record += texts[end] if end == start else "\n" + texts[end]
        if end > start and '"' not in texts[end]:
            continue
        try:
            fields = list(csv.reader([record], delimiter=separator, strict=True))
        except csv.Error:
            continue
        if len(fields) == 1:
            return fields[0], end + 1
    return None, start + 1


def _width(found: int, wanted: int) -> str:
    return f"wrong number of columns: {found} where {wanted} are expected"
