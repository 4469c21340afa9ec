"""innerloop evaluate: a snapshot on what it was not trained on, beside tuned baselines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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

if TYPE_CHECKING:
    from models.evaluate import Case, Ranker
    from models.split import Split

Protocols = dict[str, "list[Case]"]


def evaluate(
    data: DataOption,
    snapshot: Annotated[Path, typer.Option(help="The snapshots folder, its `current`, or one version.")] = Path(
        "snapshots/current"
    ),
    items: ItemsOption = None,
    user_column: UserOption = None,
    item_column: ItemOption = None,
    kind_column: KindOption = None,
    value_column: ValueOption = None,
    time_column: TimeOption = None,
    baselines: Annotated[
        bool,
        typer.Option("--baselines", help="Also tune and rank popularity, ItemKNN, iALS and EASE on the same data."),
    ] = False,
    shots: Annotated[str, typer.Option(help="Events a cold user has, with commas between the counts.")] = "1,3,5,10",
    draws: Annotated[int, typer.Option(min=1, help="Random supports drawn for each cold user.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, not a table.")] = False,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads of torch; all cores by default.")] = None,
) -> None:
    """Rank every item for held-out users and events, seen items excluded and ties counted against the ranker.

    Protocols: `leave-one-out`, the last event of each warm user; `cold random k` and `cold time k`, users never
    trained on, with k events at random or their first k in time, and their next 10 to find.
    """
    import torch

    from models.evaluate import LearnerRanker
    from models.evaluate import evaluate as measure
    from models.learner import Learner
    from models.recipe import split_like
    from models.snapshot import SnapshotError, meant, read

    if threads:
        torch.set_num_threads(threads)
    try:
        wanted = _counts(shots)
        loaded = read(meant(snapshot))
        dataset = read_dataset(data, items, user_column, item_column, kind_column, value_column, time_column)
        parts = split_like(dataset, loaded)
        protocols = _protocols(parts, wanted, draws)
    except (SnapshotError, ValueError) as error:
        typer.echo(f"innerloop: {error}", err=True)
        raise typer.Exit(2) from None
    ordered = bool(loaded.manifest.config.get("ordered"))
    if ordered:
        typer.echo("trained with --ordered: `cold random` asks for what it was not trained to tell", err=True)
    learner = Learner.restore(loaded)
    rankers: list[tuple[Ranker, dict[str, Any]]] = [
        (LearnerRanker(learner), {}),
        (LearnerRanker(learner, "innerloop, K = 0", steps=0), {}),
    ]
    if baselines:
        rankers += _tuned(parts, len(dataset.items), ordered)
    results = []
    for ranker, settings in rankers:
        typer.echo(f"ranking: {ranker.name}", err=True)
        figures = {name: measure(ranker, cases) for name, cases in protocols.items()}
        results.append({"model": ranker.name, "settings": settings, "figures": figures})
    if as_json:
        about = {"snapshot": loaded.version, "data": dataset.name, "checksum": dataset.checksum}
        counts = {name: len(cases) for name, cases in protocols.items()}
        typer.echo(json.dumps(about | {"cases": counts, "results": results}, indent=2))
    else:
        _print(results, protocols)


def _counts(shots: str) -> list[int]:
    try:
        counts = [int(part) for part in shots.split(",")]
    except ValueError:
        counts = [-1]
    if min(counts) < 0:
        raise ValueError(f"--shots {shots}: expected counts of events from 0 on with commas between, such as 1,3,5")
    return counts


def _protocols(parts: Split, shots: list[int], draws: int) -> Protocols:
    from models.evaluate import cold_user, leave_one_out

    found: Protocols = {"leave-one-out": leave_one_out(parts.full)}
    for order in ("random", "time"):
        for count in shots:
            found[f"cold {order} {count}"] = cold_user(parts.cold, count, order=order, draws=draws)
    kept = {name: cases for name, cases in found.items() if cases}
    if not kept:
        raise ValueError("nothing was held out that could be ranked: the users have too few events")
    return kept


def _tuned(parts: Split, items: int, ordered: bool) -> list[tuple[Ranker, dict[str, Any]]]:
    """Each baseline with the settings that validate best, on the cases that stopped our own training."""
    try:
        import implicit  # noqa: F401
    except ImportError:
        typer.echo("innerloop: the baselines need a library: pip install implicit", err=True)
        raise typer.Exit(2) from None
    from models.baselines import grid, incidence
    from models.evaluate import mean_ndcg
    from models.recipe import validation_cases

    cases = validation_cases(parts.valid, ordered)
    chosen = []
    for name, candidates in grid(incidence(parts.warm, items)):
        scored = []
        for settings, build in candidates:
            typer.echo(f"tuning: {name} {settings}", err=True)
            ranker = build()
            scored.append((mean_ndcg(ranker, cases), ranker, settings))
        _, ranker, settings = max(scored, key=lambda entry: entry[0])
        chosen.append((ranker, settings))
    return chosen


def _print(results: list[dict[str, Any]], protocols: Protocols) -> None:
    from rich.console import Console
    from rich.table import Table

    headings = ("protocol", "cases", "model", "HR@10", "Recall@10", "NDCG@10", "MRR", "coverage")
    table = Table(*headings, box=None, padding=(0, 1, 0, 0), pad_edge=False)  # within 80 columns
    for name, cases in protocols.items():
        for result in results:
            figures = result["figures"][name]
            shown = (f"{figures[metric]:.4f}" for metric in ("HR@10", "Recall@10", "NDCG@10", "MRR", "coverage@10"))
            table.add_row(name, f"{len(cases):,}", result["model"], *shown)
        table.add_row()
    Console().print(table)
