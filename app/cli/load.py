"""innerloop import: what a dataset's users did, into a service that runs, so that it knows them from the start."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
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
    describe,
    read_dataset,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx
    import numpy as np
    from numpy.typing import NDArray

    from models.dataset import Dataset


def load(
    data: DataOption,
    url: Annotated[
        str | None, typer.Option(help="The service's address; by default what the settings host and port say.")
    ] = None,
    key: Annotated[
        str | None, typer.Option(help="An API key, where the service asks for one; without --url the setting's first.")
    ] = None,
    items: ItemsOption = None,
    user_column: UserOption = None,
    item_column: ItemOption = None,
    kind_column: KindOption = None,
    value_column: ValueOption = None,
    time_column: TimeOption = None,
) -> None:
    """Give a running service the histories of a dataset's users: the newest events of each, with their times.

    For the data that its snapshot was trained on. These events count as known: they start no refresh, though they stand
    in the windows of users who act again, so evaluate a snapshot before you serve it. The same command a second time
    adds nothing, as each event has an id of its own; what the service was sent before under other ids comes twice, and
    users who were forgotten come back. Events of items that the service does not know are refused: train on the same
    data, or PUT /items, first.
    """
    import httpx

    from app.cli.bar import open_bar
    from app.settings import address
    from app.settings import load as load_settings

    settings = load_settings()
    dataset = read_dataset(data, items, user_column, item_column, kind_column, value_column, time_column)
    typer.echo(describe(dataset))
    if url is None and key is None:
        key = next((known.get_secret_value() for known in settings.api_keys), None)
    base = url or address(settings.host, settings.port)
    counts: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        with httpx.Client(base_url=base, headers=headers, timeout=60.0) as client, open_bar() as bar:
            newest = _newest(dataset, settings.history_length)
            task = bar.add_task("importing", total=len(newest), note="")
            for sent in _batches(dataset, newest, settings.max_events):
                for result in _post(client, sent):
                    counts[result["status"]] += 1
                    if result["status"] == "refused":
                        reasons[result["detail"]] += 1
                bar.update(task, advance=len(sent), note=f"{counts['accepted']:,} events")
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        wrong = str(error) or type(error).__name__
        if isinstance(error, httpx.ConnectError) and not counts:
            wrong += "\nIs a service running there? `innerloop serve` starts one; --url says where it is."
        typer.echo(
            f"innerloop: {base} took {counts['accepted']:,} events, then this went wrong: {wrong}\n"
            "Once it is mended, the same command goes on: what was taken counts once.",
            err=True,
        )
        raise typer.Exit(1) from None
    typer.echo(f"{base} accepted {counts['accepted']:,} events; {counts['duplicate']:,} it had already.")
    for reason, count in reasons.most_common(5):
        typer.echo(f"{count:,} refused: {reason}", err=True)
    if counts["refused"]:
        raise typer.Exit(1)


def _post(client: httpx.Client, events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The result of each event. Raises ValueError, saying why: the service answered something else."""
    answer = client.post("/events", json={"events": events, "history_only": True})
    told = answer.json() if "json" in answer.headers.get("content-type", "") else None
    if answer.status_code != 202 or not isinstance(told, dict) or "results" not in told:
        why = told.get("detail") if isinstance(told, dict) else None
        raise ValueError(f"{answer.status_code} {why or answer.reason_phrase}")
    results: list[dict[str, Any]] = told["results"]
    return results


def _newest(dataset: Dataset, most: int) -> NDArray[np.int64]:
    """Where the newest `most` events of each user stand in the log."""
    import numpy as np

    log = dataset.interactions
    places = np.arange(len(log))
    return places[places >= log.bounds()[1:][log.user] - most]


def _batches(dataset: Dataset, rows: NDArray[np.int64], size: int) -> Iterator[list[dict[str, Any]]]:
    """These events as POST /events takes them, `size` at a time."""
    from models.interaction import KINDS

    log = dataset.interactions
    batch: list[dict[str, Any]] = []
    for row in rows.tolist():
        value = float(log.value[row])
        event = {
            "user_id": log.users[log.user[row]],
            "item_id": log.items[log.item[row]],
            "kind": KINDS[log.kind[row]],
            "value": None if math.isnan(value) else value,
            "timestamp": float(log.time[row]),
        }
        batch.append(event | {"event_id": hashlib.blake2b(repr(event).encode(), digest_size=16).hexdigest()})
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
