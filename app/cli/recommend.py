"""innerloop recommend: the top K for a history or a user, from a snapshot, with no server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.data import (
    ItemOption,
    ItemsOption,
    KindOption,
    TimeOption,
    UserOption,
    ValueOption,
    read_dataset,
)

if TYPE_CHECKING:
    from models.dataset import Dataset
    from models.episode import History
    from models.snapshot import Snapshot


def recommend(
    snapshot: Annotated[Path, typer.Option(help="The snapshots folder, its `current`, or one version.")] = Path(
        "snapshots/current"
    ),
    history: Annotated[
        str | None, typer.Option(help='Item ids, oldest first, as "1,260,1196"; "1:0.5" adds a rating.')
    ] = None,
    user: Annotated[str | None, typer.Option(help="A user of the dataset given with --data.")] = None,
    data: Annotated[Path | None, typer.Option("--data", help="The dataset that --user is looked up in.")] = None,
    k: Annotated[int, typer.Option("-k", min=1, max=1000, help="How many items.")] = 10,
    items: ItemsOption = None,
    user_column: UserOption = None,
    item_column: ItemOption = None,
    kind_column: KindOption = None,
    value_column: ValueOption = None,
    time_column: TimeOption = None,
    include_seen: Annotated[bool, typer.Option(help="Also recommend what is in the history.")] = False,
) -> None:
    """Adapt to a history, or to a user's in a dataset, and print the items to recommend."""
    import torch

    from models.episode import pack
    from models.index import Exact
    from models.learner import Learner
    from models.snapshot import SnapshotError, meant, read

    if (history is None) == (user is None):
        raise typer.BadParameter('give either --history "ID,ID,..." or --user ID with --data')
    try:
        loaded = read(meant(snapshot))
    except SnapshotError as error:
        typer.echo(f"innerloop: {error}", err=True)
        raise typer.Exit(2) from None
    if history is not None:
        events, whose = _typed(history, loaded), f"the history {history}"
    else:
        if data is None:
            raise typer.BadParameter("--user needs --data, the dataset to look the user up in")
        dataset = read_dataset(data, items, user_column, item_column, kind_column, value_column, time_column)
        events, whose = _looked_up(str(user), dataset, loaded), f"user {user}"
    learner = Learner.restore(loaded)
    with torch.inference_mode():
        vectors, biases = learner.catalogue()
        vector = learner.user_vectors(vectors, pack([events], learner.config.length))
        allowed = torch.tensor([item.available for item in loaded.items])
        if not include_seen:
            allowed[torch.from_numpy(events.rows)] = False
        hits = Exact(vectors, biases).search(vector, allowed[None], k)
    typer.echo(f"Recommended items for {whose}")
    for place, (row, score) in enumerate(zip(hits.rows[0].tolist(), hits.scores[0].tolist(), strict=True), 1):
        if row >= 0:
            item = loaded.items[row]
            categories = f"  [{', '.join(item.categories)}]" if item.categories else ""
            typer.echo(f"{place:>3}. {item.id}  {item.title}{categories}  ({score:.2f})")


def _typed(text: str, loaded: Snapshot) -> History:
    """A history as typed: ids with commas between them, each with a rating after a colon if there is one."""
    import numpy as np

    from models.episode import History
    from models.interaction import KIND_CODES, RatingScale

    rows_of = {item.id: row for row, item in enumerate(loaded.items)}
    low, high = loaded.manifest.scale
    rows, kinds, values = [], [], []
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, rating = (part, "", "") if part in rows_of else part.rpartition(":")
        if name not in rows_of:
            raise typer.BadParameter(
                f"'{part}' is not an item of the snapshot, nor an item with a rating as in '1:4.5'"
            )
        try:
            value = float(rating) if rating else None
        except ValueError:
            raise typer.BadParameter(f"'{rating}' in '{part}' is not a number") from None
        if value is not None and not low <= value <= high:
            raise typer.BadParameter(f"'{rating}' in '{part}': a rating must be from {low:g} to {high:g}")
        values.append(float("nan") if value is None else value)
        rows.append(rows_of[name])
        kinds.append(KIND_CODES["rating" if rating else "view"])
    kind_codes = np.array(kinds, np.int64)
    preference = RatingScale(*loaded.manifest.scale).preference(kind_codes, np.array(values))
    return History(np.array(rows, np.int64), kind_codes, preference)


def _looked_up(user: str, dataset: Dataset, loaded: Snapshot) -> History:
    """A user's history in a dataset, its items as the snapshot numbers them; items the snapshot lacks are left out."""
    import numpy as np

    from models.split import histories

    if user not in dataset.interactions.users:
        raise typer.BadParameter(
            f"there is no user '{user}' in {dataset.name}; the first is '{dataset.interactions.users[0]}'"
        )
    found = histories(dataset)[dataset.interactions.users.index(user)]
    rows_of = {item.id: row for row, item in enumerate(loaded.items)}
    row_of = np.array([rows_of.get(item.id, -1) for item in dataset.items], np.int64)
    mapped = found._replace(rows=row_of[found.rows])
    return mapped.take(np.flatnonzero(mapped.rows >= 0))
