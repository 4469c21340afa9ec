"""innerloop worker: keeps the model fresh from the events that come in."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from app.settings import Settings


def worker(
    snapshot: Annotated[Path | None, typer.Option(help="The snapshots folder to refresh.")] = None,
    redis_url: Annotated[str | None, typer.Option(help="Where the events are; INNERLOOP_REDIS_URL by default.")] = None,
    parent_pid: Annotated[int | None, typer.Option(help="Stop when this process has gone.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Say whether a worker lives: exit with 0, or with 1.")] = False,
) -> None:
    """Run the worker until it is told to stop."""
    from app.settings import load, variable
    from app.telemetry import configure_logs

    settings = load(snapshot=snapshot, redis_url=redis_url)
    if settings.redis_url is None:
        typer.echo(f"innerloop: the worker needs a Redis: set {variable('redis_url')} or REDIS_URL.", err=True)
        raise typer.Exit(2)
    if settings.pinned:
        typer.echo(f"innerloop: {settings.snapshot} is one version; the worker refreshes a snapshots folder.", err=True)
        raise typer.Exit(2)
    if check:
        raise typer.Exit(0 if asyncio.run(_lives(settings)) else 1)
    configure_logs(settings.log_level)
    os.nice(10)  # requests come first
    asyncio.run(_run(settings, parent_pid))


async def _lives(settings: Settings) -> bool:
    from app.errors import StoreUnavailable
    from app.heartbeat import Heartbeat
    from app.store import connect

    redis = connect(str(settings.redis_url), timeout=settings.redis_timeout)
    try:
        status = await Heartbeat(redis).read()
    except StoreUnavailable as error:
        typer.echo(str(error), err=True)
        return False
    finally:
        await redis.aclose()
    typer.echo("no living worker" if status is None else str(status))
    return status is not None


async def _run(settings: Settings, parent_pid: int | None) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    watch = asyncio.create_task(_watch_parent(parent_pid, stop))
    try:
        await _work(settings, stop)
    finally:
        watch.cancel()


async def _watch_parent(parent_pid: int | None, stop: asyncio.Event) -> None:
    """A parent that is killed cannot tell us: an orphan is given another parent, and sees that."""
    while parent_pid is not None and not stop.is_set():
        if os.getppid() != parent_pid:
            stop.set()
        await asyncio.sleep(1)


async def _work(settings: Settings, stop: asyncio.Event) -> None:
    import torch

    from app.catalogue import Catalogue
    from app.heartbeat import Heartbeat
    from app.history import History
    from app.refresher import Refresher, Schedule
    from app.store import connect
    from models.refresh import RefreshConfig

    torch.set_num_threads(settings.threads or 1)
    redis = connect(str(settings.redis_url), timeout=settings.redis_timeout)
    history = History(
        redis,
        cap=settings.history_length,
        stream_cap=settings.stream_length,
        ttl_seconds=settings.history_days * 86_400,
    )
    refresher = Refresher(
        history,
        Catalogue(redis),
        Heartbeat(redis),
        settings.snapshots,
        Schedule(events=settings.refresh_events, seconds=settings.refresh_seconds, keep=settings.refresh_keep),
        RefreshConfig(meta_steps=settings.refresh_steps),
    )
    try:
        await refresher.run(stop)
    finally:
        await redis.aclose()
