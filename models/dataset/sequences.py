"""A line a user: the user, then the items in the order of time, separated by spaces."""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl

from models.dataset.columns import Columns
from models.dataset.dataset import Dataset, assemble
from models.dataset.describe import describe
from models.dataset.lines import FILLED, LINE, numbered
from models.dataset.report import Refusals
from models.dataset.rows import check
from models.dataset.table import Table, decoded, load


def recognises(path: Path) -> bool:
    """Whether the file reads as sequences: its first line is words between spaces, with no other separator."""
    with path.open("rb") as file:
        first = file.readline().decode("utf-8-sig", errors="replace")
    return not re.search(r"[,;\t|]", first)


def read(path: Path, items: Path | None, columns: Columns) -> Dataset:
    """Every item of a line is a view; its time is its position. A user's second line goes on from the first.

    Raises:
        DatasetError: there is no valid row.
    """
    refusals = Refusals()
    text, notes = decoded(path)
    lines = numbered(text).filter(FILLED).with_columns(pl.col("text").str.extract_all(r"\S+").alias("words"))
    alone = pl.col("words").list.len() == 1
    for line in lines.filter(alone)[LINE].to_list():
        refusals.add(path.name, line, "missing item: the line holds a user and no items")
    malformed = refusals.count
    frame = lines.filter(~alone).select(
        LINE,
        pl.col("words").list.first().alias("user"),
        pl.col("words").list.slice(1).alias("item"),
    )
    frame = frame.explode("item").with_columns(pl.int_range(pl.len()).over("user").alias("position"))
    table, source = Table(path.name, frame, notes), load(items, refusals) if items else None
    rows = check(table, Columns(), refusals, malformed)
    described = describe(source, columns, refusals) if source else []
    files, tables = ([path, items], [table, source]) if items and source else ([path], [table])
    name = path.parent.resolve().name if path.stem == "sequences" else path.stem
    return assemble(name, files, rows, described, refusals, tables)
