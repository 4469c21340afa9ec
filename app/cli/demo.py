"""innerloop demo: a generated catalogue and its users, and on request a snapshot trained on them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer


def demo(
    out: Annotated[Path | None, typer.Option(help="Where the data goes; the data folder's `demo` by default.")] = None,
    snapshots: Annotated[
        Path | None, typer.Option(help="Also train a snapshot into this folder, if it has none yet.")
    ] = None,
) -> None:
    """Generate demo data, unless it is there already. It is a demo, not a benchmark."""
    from app.settings import load

    folder = out or load().data_folder / "demo"
    if snapshots is not None:
        prepare(folder, snapshots)
    else:
        generate(folder)
        typer.echo(f"The demo data is in {folder}.")


def prepare(folder: Path, snapshots: Path) -> None:
    """See to it that `snapshots` has a snapshot, trained on demo data in `folder` where it had none."""
    if (snapshots / "current").exists():
        from models.manifest import SnapshotError, manifest_of

        try:
            manifest_of(snapshots / "current")
        except SnapshotError:  # which the service will tell; what it cannot know is whose snapshot it is
            typer.echo(f"innerloop: if the demo made {snapshots}, remove it and start again.", err=True)
        return
    from app.cli.train import train_snapshot

    generate(folder)
    typer.echo("Training a snapshot on the demo data; this is done once and takes a few minutes.")
    train_snapshot(folder, snapshots, epochs=20, patience=4)  # enough for a demo


def generate(folder: Path) -> None:
    """Write the demo data, whole or not at all; data that is there stays."""
    if folder.exists():
        return
    from models.demo import write

    typer.echo("Generating the demo: about 2,000 items and 3,000 users, none of them real.")
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    write(partial)
    partial.replace(folder)
