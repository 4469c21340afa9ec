"""Reading a dataset on the command line: one place for the column options, the report and the errors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from models.dataset import Dataset

DataOption = Annotated[Path, typer.Option("--data", help="A dataset's folder or file: MovieLens, RecBole, CSV, ...")]
ItemsOption = Annotated[Path | None, typer.Option("--items", help="A table of items, beside a file of interactions.")]
UserOption = Annotated[str | None, typer.Option("--user-column", help="The column of users, if not recognised.")]
ItemOption = Annotated[str | None, typer.Option("--item-column", help="The column of items, if not recognised.")]
KindOption = Annotated[str | None, typer.Option("--kind-column", help="The column of kinds, if not recognised.")]
ValueOption = Annotated[str | None, typer.Option("--value-column", help="The column of ratings, if not recognised.")]
TimeOption = Annotated[str | None, typer.Option("--time-column", help="The column of times, if not recognised.")]


def read_dataset(
    data: Path,
    items: Path | None = None,
    user: str | None = None,
    item: str | None = None,
    kind: str | None = None,
    value: str | None = None,
    time: str | None = None,
) -> Dataset:
    """Read a dataset, or say what is wrong with it and exit with 2."""
    from models.dataset import Columns, DatasetError, read

    try:
        return read(data, Columns(user, item, kind, value, time), items)
    except DatasetError as error:
        typer.echo(f"innerloop: {error}", err=True)
        raise typer.Exit(2) from None


def describe(dataset: Dataset) -> str:
    """One line on what was read, and more on what was not used or refused, if anything was."""
    report = dataset.report
    line = f"{dataset.name}: {report.interactions:,} interactions, {report.users:,} users, {report.items:,} items"
    line += "".join(f"\n{note}" for note in report.notes)
    if report.refused_count:
        first = report.refused[0]
        line += (
            f"\n{report.refused_count:,} rows refused, the first {first.file} line {first.line}: {first.reason}"
            " (`innerloop validate` lists them)"
        )
    return line
