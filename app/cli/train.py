"""innerloop train: from a dataset to a published snapshot."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli import crossval
from app.cli.bar import open_bar
from app.cli.content import encode
from app.cli.data import (
    DataOption,
    ItemOption,
    ItemsOption,
    KindOption,
    TimeOption,
    UserOption,
    ValueOption,
    describe,
    read_dataset,
)
from app.cli.plan import plan_for

if TYPE_CHECKING:
    from models.dataset import Dataset

RECIPES = "the recipe's"


def _whole(help: str, show_default: str = RECIPES) -> Any:
    return typer.Option(min=1, show_default=show_default, help=help)


def _amount(help: str, show_default: str = RECIPES, most: float = 0.9) -> Any:
    return typer.Option(min=0.0, max=most, show_default=show_default, help=help)


class Recall(StrEnum):
    """Of which histories the recall speaks, as `models.learner` has it."""

    ALWAYS = "always"
    UNORDERED = "unordered"
    NEVER = "never"


class Algorithm(StrEnum):
    """The outer algorithms, as `models.meta` has them."""

    MAML = "maml"
    FOMAML = "fomaml"
    REPTILE = "reptile"


def train(
    data: DataOption,
    out: Annotated[Path, typer.Option(help="The snapshots folder; `current` in it will point at the new one.")] = Path(
        "snapshots"
    ),
    items: ItemsOption = None,
    user_column: UserOption = None,
    item_column: ItemOption = None,
    kind_column: KindOption = None,
    value_column: ValueOption = None,
    time_column: TimeOption = None,
    content_model: Annotated[
        str | None, typer.Option(help="A sentence-transformers model or folder for the items' text.")
    ] = None,
    hold_out: Annotated[
        bool,
        typer.Option(
            help="Keep 10% of the users and everyone's last event for `innerloop evaluate`; or train on these too."
        ),
    ] = True,
    folds: Annotated[
        int | None,
        typer.Option(
            min=2,
            help="Cross-validate these settings instead: deal the users into so many folds, train once for each with "
            "it held out, and report how well its users are served. Publishes nothing and keeps nothing.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The report of --folds as JSON.")] = False,
    device: Annotated[
        str,
        typer.Option(help="Where to train: cpu, cuda, cuda:N or mps, or auto for a CUDA GPU where there is one."),
    ] = "auto",
    threads: Annotated[int | None, typer.Option(min=1, help="Threads of torch; all cores by default.")] = None,
    restart: Annotated[bool, typer.Option(help="Forget an interrupted training of the same data.")] = False,
    seed: Annotated[int, typer.Option(help="The same seed, data and settings give the same snapshot.")] = 0,
    algorithm: Annotated[
        Algorithm | None,
        typer.Option(
            show_default="maml",
            help="The outer loop: differentiated through the inner steps, or with the inner gradients taken for "
            "constants (first-order MAML), or by following gradient steps on each batch (Reptile).",
        ),
    ] = None,
    task_steps: Annotated[int | None, typer.Option(min=1, max=100, help="Reptile's gradient steps on a batch.")] = None,
    follow: Annotated[
        float | None, typer.Option(min=0.001, max=1.0, help="How far Reptile follows them at first; it falls to 0.")
    ] = None,
    steps: Annotated[int | None, typer.Option(min=0, max=16, show_default="1", help="Inner steps, K.")] = None,
    width: Annotated[
        int | None, _whole("Numbers that an event is in the adaptation blocks; the heads share them.")
    ] = None,
    rank: Annotated[
        int | None,
        _whole(
            "Numbers in the vector of an item or a user: a higher one tells more pairs of items apart, and searching "
            "costs as much more."
        ),
    ] = None,
    heads: Annotated[int | None, _whole("Inner loops beside each other in a block, each with keys of its own.")] = None,
    blocks: Annotated[int | None, _whole("Adaptation blocks, one upon the other.", "2")] = None,
    length: Annotated[
        int | None, _whole("Events of a history it looks at.", "20, 50 or 100: three quarters of histories fit")
    ] = None,
    dropout: Annotated[
        float | None, _amount("Share of what the blocks pass on that is dropped while training.")
    ] = None,
    support_dropout: Annotated[
        float | None,
        _amount("Share of the events that each reader that weighs by likeness does without while training."),
    ] = None,
    residual_dropout: Annotated[float | None, _amount("Share of the items that stand on their text alone.")] = None,
    recall: Annotated[
        Recall | None,
        typer.Option(
            show_default="always up to 1,000 users; of more unordered, or never where histories are short or --ordered",
            help="Of which histories a linear recall of the items' own vectors, begun in closed form, speaks beside "
            "the blocks: all, those without an order, or none.",
        ),
    ] = None,
    ordered: Annotated[
        bool | None,
        typer.Option(
            "--ordered/--no-ordered",
            show_default="--ordered for more than 1,000 users with short histories (three quarters of 20 events or "
            "fewer) that nearly all have times that differ",
            help="Every history has an order: none was imported at one moment, and none is asked about without times. "
            "What comes next is then all that is learned and validated, the better where that holds. --recall, "
            "--shuffled, --horizon and --settling still decide for themselves; with one of them it is not the default.",
        ),
    ] = None,
    shuffled: Annotated[
        float | None,
        _amount("Share of the episodes that are put in random order.", "0.5; 0 with --ordered", most=1.0),
    ] = None,
    horizon: Annotated[
        float | None,
        _amount(
            "Where a history has an order, how much each later event counts as a target, as a share of what the one "
            "before it counts: at 0 the next event alone is foretold, at 1 all later ones alike.",
            "0.8; 0 with --ordered",
            most=1.0,
        ),
    ] = None,
    settling: Annotated[
        int | None,
        typer.Option(
            min=0,
            show_default="20 of more than 1,000 users with long histories; else 0, as with --ordered",
            help="Events that are not foretold at the start of a window from the middle of a history: seen with "
            "nothing before it, the middle would pass for a beginning, and new users begin in their own way.",
        ),
    ] = None,
    averaging: Annotated[
        float | None,
        _amount("How much of the parameters' running average a meta-step keeps.", most=0.9999),
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(min=1e-6, max=1.0, show_default=RECIPES, help="The outer learning rate; Reptile's on a batch."),
    ] = None,
    smoothing: Annotated[
        float | None, _amount("Share of each target that is spread over the whole catalogue (label smoothing).")
    ] = None,
    weight_decay: Annotated[
        float | None,
        _amount("How far each meta-step draws matrices and item vectors to 0, times the rate (AdamW).", most=10.0),
    ] = None,
    epochs: Annotated[int | None, _whole("Passes over the histories, at most.", "60")] = None,
    patience: Annotated[int | None, _whole("Epochs to go on without a better validation.", "10")] = None,
) -> None:
    """Train on a dataset and publish a snapshot; or, with --folds, see what the settings are worth.

    Interrupt a training with Ctrl-C: the same command later goes on from the last whole epoch.
    """
    if folds is None and as_json:
        raise typer.BadParameter("only a report has a form: give --folds too", param_hint="--json")
    if folds is not None and not hold_out:
        raise typer.BadParameter("--folds lives by what it holds out", param_hint="--no-hold-out")
    for name, given in (("--task-steps", task_steps), ("--follow", follow)):
        if given is not None and algorithm != Algorithm.REPTILE:
            raise typer.BadParameter("only Reptile has this: give --algorithm reptile too", param_hint=name)
    dataset = read_dataset(data, items, user_column, item_column, kind_column, value_column, time_column)
    wanted: dict[str, Any] = {
        "algorithm": algorithm and algorithm.value, "task_steps": task_steps, "follow": follow,
        "steps": steps, "width": width, "rank": rank, "heads": heads, "blocks": blocks, "length": length,
        "dropout": dropout, "support_dropout": support_dropout, "smoothing": smoothing,
        "residual_dropout": residual_dropout, "recall": recall and recall.value, "shuffled": shuffled,
        "horizon": horizon, "ordered": ordered, "settling": settling, "averaging": averaging, "rate": rate,
        "weight_decay": weight_decay, "epochs": epochs, "patience": patience, "seed": seed,
    }  # fmt: skip
    chosen = {name: value for name, value in wanted.items() if value is not None}
    try:
        if folds is not None:
            crossval.report(dataset, chosen, content_model, folds, as_json, threads, device)
            return
        folder = _train(dataset, out, chosen, content_model, hold_out, threads, device, restart)
    except KeyboardInterrupt:
        kept = "goes on from the last whole epoch; --restart begins again" if folds is None else "begins again"
        typer.echo(f"\nStopped. The same command {kept}.", err=True)
        raise typer.Exit(130) from None
    except ValueError as error:
        typer.echo(f"innerloop: {error}", err=True)
        raise typer.Exit(2) from None
    typer.echo(f"Published {folder}. Serve it: innerloop serve --snapshot {out}/current")


def train_snapshot(data: Path, out: Path, **chosen: Any) -> Path:
    """Train on the dataset at `data` with the recipe, `chosen` in place of its own, and publish under `out`."""
    return _train(read_dataset(data), out, chosen, None, True, None, "auto", False)


def _train(
    dataset: Dataset,
    out: Path,
    chosen: dict[str, Any],
    content_model: str | None,
    hold_out: bool,
    threads: int | None,
    device: str,
    restart: bool,
) -> Path:
    import torch

    from models import recipe, snapshot
    from models.content import DEFAULT_MODEL
    from models.device import find
    from models.progress import Progress

    if threads:
        torch.set_num_threads(threads)
    where = find(device)
    typer.echo(describe(dataset))
    model = content_model or DEFAULT_MODEL
    plan = plan_for(dataset, chosen, hold_out=hold_out)
    with open_bar() as bar:
        content = encode(dataset, model, bar)
        out.mkdir(parents=True, exist_ok=True)
        checkpoint = out / f".training-{_key(dataset, plan, model)}.pt"
        if restart:
            checkpoint.unlink(missing_ok=True)
        if checkpoint.exists():
            typer.echo("Going on with an interrupted training of this data; --restart begins again.")
        task = bar.add_task("training", total=plan.outer.epochs, note="")

        def show(at: Progress) -> None:
            bar.update(task, completed=at.epoch - 1 + at.share, note=at.brief)
            if at.ended:
                bar.console.print(str(at), highlight=False, soft_wrap=True)

        trained = recipe.follow(dataset, content, plan, device=where, checkpoint=checkpoint, progress=show)
        bar.update(task, completed=plan.outer.epochs)
    if trained.epochs < plan.outer.epochs:
        typer.echo(
            f"Stopped after epoch {trained.epochs}: --patience {plan.outer.patience} went by without a better one."
        )
    best, figure = (trained.metrics[name] for name in ("epochs", "validation NDCG@10"))
    typer.echo(f"Kept epoch {best:.0f}. Voice and beginning chosen: NDCG@10 {figure:.4f} on the users who validate.")
    folder = snapshot.write(
        out,
        tensors=trained.tensors,
        items=dataset.items,
        config=trained.config,
        content_model=model,
        scale=(dataset.scale.low, dataset.scale.high),
        metrics=trained.metrics,
        parent=None,
        created=datetime.now(UTC).isoformat(),
        data={"name": dataset.name, "checksum": dataset.checksum, "interactions": len(dataset.interactions)},
    )
    snapshot.publish(out, folder.name)
    checkpoint.unlink(missing_ok=True)
    return folder


def _key(dataset: Dataset, plan: Any, model: str) -> str:
    """Names an interrupted training: another dataset, settings or learner must not go on from it."""
    from models.snapshot import FORMAT

    said = json.dumps([FORMAT, dataset.checksum, plan.to_dict(), model], sort_keys=True)
    return hashlib.sha256(said.encode()).hexdigest()[:12]
