"""innerloop validate: what a dataset holds, and which of its rows cannot be read and why."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

from app.cli.data import (
    DataOption,
    ItemOption,
    ItemsOption,
    KindOption,
    TimeOption,
    UserOption,
    ValueOption,
    read_dataset,
)


def validate(
    data: DataOption,
    items: ItemsOption = None,
    user_column: UserOption = None,
    item_column: ItemOption = None,
    kind_column: KindOption = None,
    value_column: ValueOption = None,
    time_column: TimeOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="The report as JSON.")] = False,
    strict: Annotated[bool, typer.Option(help="Exit with 1 when any row was refused.")] = False,
) -> None:
    """Read a dataset and report rows, refusals with line numbers and reasons, duplicates, users, items and times."""
    dataset = read_dataset(data, items, user_column, item_column, kind_column, value_column, time_column)
    report = dataset.report
    if as_json:
        typer.echo(json.dumps(asdict(report) | {"density": report.density}, indent=2))
    else:
        typer.echo(f"{dataset.name}\n" + "\n".join(f"  {line}" for line in report.lines()))
    if strict and report.refused_count:
        raise typer.Exit(1)
