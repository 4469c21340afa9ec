"""RecBole's atomic files: NAME.inter, NAME.item; tab-separated, with `name:type` headers and no quoting."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from models.dataset.columns import Columns
from models.dataset.dataset import Dataset, assemble
from models.dataset.describe import describe
from models.dataset.report import Refusals
from models.dataset.rows import check
from models.dataset.table import Table, load


def read(inter: Path, columns: Columns) -> Dataset:
    """The interactions of a `.inter` file, and the items of the `.item` file beside it, if there is one.

    Raises:
        DatasetError: the file is missing, or there is no valid row.
    """
    refusals = Refusals()
    table, _ = _atomic(inter, refusals)
    rows = check(table, columns, refusals, refusals.count)
    beside = inter.with_suffix(".item")
    if not beside.is_file():
        return assemble(inter.stem, [inter], rows, [], refusals, [table])
    items, spaced = _atomic(beside, refusals)
    described = describe(items, columns, refusals, spaced=spaced)
    return assemble(inter.stem, [inter, beside], rows, described, refusals, [table, items])


def _atomic(path: Path, refusals: Refusals) -> tuple[Table, set[str]]:
    """The table under its plain column names, and those of its columns that hold words separated by spaces."""
    table = load(path, refusals, separator="\t")
    typed = {name: name.partition(":") for name in table.columns}
    renamed = table.frame.rename({name: parts[0] for name, parts in typed.items()})
    return replace(table, frame=renamed), {parts[0] for parts in typed.values() if parts[2] == "token_seq"}
