"""innerloop train --folds: what a config is worth, over K trainings, each tested on users that it held out."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import typer

from app.cli.bar import open_bar
from app.cli.content import encode
from app.cli.data import describe
from app.cli.plan import plan_for

if TYPE_CHECKING:
    from models.dataset import Dataset


def report(
    dataset: Dataset,
    chosen: dict[str, Any],
    content_model: str | None,
    folds: int,
    as_json: bool,
    threads: int | None,
    device: str,
) -> None:
    """Cross-validate the recipe, `chosen` in place of its own, and print the figures; progress goes to stderr.

    Raises:
        ValueError: a choice or the device does not exist, or the data is too little for so many folds.
    """
    import torch

    from models.content import DEFAULT_MODEL
    from models.crossval import check, cross_validate
    from models.device import find
    from models.progress import Progress

    if threads:
        torch.set_num_threads(threads)
    where = find(device)
    typer.echo(describe(dataset), err=True)
    check(dataset, folds)
    plan = plan_for(dataset, chosen, err=True)
    with open_bar(stderr=True) as bar:
        content = encode(dataset, content_model or DEFAULT_MODEL, bar)
        task = bar.add_task(f"fold 1/{folds}", total=folds * plan.outer.epochs, note="")

        def show(fold: int, at: Progress) -> None:
            done = fold * at.epochs + at.epoch - 1 + at.share
            bar.update(task, description=f"fold {fold + 1}/{folds}", completed=done, note=at.brief)
            if at.ended:
                bar.console.print(f"fold {fold + 1}/{folds}  {at}", highlight=False, soft_wrap=True)

        found = cross_validate(dataset, content, plan, folds, show, where).summary()
        bar.update(task, completed=folds * plan.outer.epochs)
    if as_json:
        config = {part: values for part, values in plan.to_dict().items() if part != "split"}
        about = {"data": dataset.name, "checksum": dataset.checksum, "folds": folds, "config": config}
        typer.echo(json.dumps(about | {"figures": found}, indent=2))
    else:
        _print(found, folds)


def _print(found: dict[str, dict[str, Any]], folds: int) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("figure", f"mean of {folds} folds", "each fold")
    for name, figure in found.items():
        digits = 1 if name == "epochs" else 4
        mean, deviation = (f"{figure[part]:.{digits}f}" for part in ("mean", "deviation"))
        table.add_row(name, f"{mean} \u00b1 {deviation}", "  ".join(f"{value:.{digits}f}" for value in figure["folds"]))
    Console().print(table)
