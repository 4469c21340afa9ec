"""innerloop serve: the service, and on a machine without Redis a private one and the worker beside it."""

from __future__ import annotations

import os
import socket
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from app.settings import Settings


def serve(
    snapshot: Annotated[Path | None, typer.Option(help="The snapshots folder, its `current`, or one version.")] = None,
    host: Annotated[str | None, typer.Option(help="The address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="The port to listen on; 0 takes a free one.")] = None,
    data_folder: Annotated[Path | None, typer.Option(help="Where the embedded Redis and the demo are kept.")] = None,
    demo: Annotated[bool, typer.Option("--demo", help="Serve generated data; made and trained on first use.")] = False,
    worker: Annotated[
        bool | None, typer.Option("--worker/--no-worker", help="Run the worker too; the default without a Redis.")
    ] = None,
) -> None:
    """Run the service until Ctrl-C. Every option is a setting too; see `innerloop settings`."""
    from app.settings import load

    settings = load(snapshot=snapshot, host=host, port=port, data_folder=data_folder)
    if demo and snapshot is None and "snapshot" not in settings.model_fields_set:
        settings = settings.model_copy(update={"snapshot": settings.data_folder / "snapshots"})
    # Ctrl-C at any time, SIGTERM too: whatever was started by then is stopped, in order.
    with suppress(KeyboardInterrupt), ExitStack() as stack:
        _serve(settings, stack, demo=demo, worker=worker)


def _serve(settings: Settings, stack: ExitStack, *, demo: bool, worker: bool | None) -> None:
    if demo:
        from app.cli.demo import prepare

        prepare(settings.data_folder / "demo", settings.snapshots)
    elif not settings.snapshot.exists():
        _fail(
            f"there is no snapshot at {settings.snapshot}.\n"
            f"Train one (innerloop train --data FOLDER --out {settings.snapshot}), or try innerloop serve --demo."
        )
    from app.cli.service import Beside, run
    from app.cli.supervisor import keep_redis, keep_worker
    from app.embedded import EmbeddedRedis, EmbeddedRedisError
    from app.telemetry import configure_logs

    configure_logs(settings.log_level)
    listening = stack.enter_context(_bind(settings.host, settings.port))
    redis: EmbeddedRedis | None = None
    if settings.redis_url is None:
        redis = EmbeddedRedis(settings.data_folder / "redis")
        stack.callback(redis.stop)
        try:
            redis.start()
        except EmbeddedRedisError as error:
            _fail(str(error))
        settings = settings.model_copy(update={"redis_url": redis.url})
    beside: list[Beside] = []
    if redis is not None:
        beside.append(partial(keep_redis, redis))
    if worker if worker is not None else redis is not None and not settings.pinned:
        # The address of Redis may hold a password: it goes through the environment, which others cannot list.
        environment = settings.environment(redis_url=str(settings.redis_url), snapshot=str(settings.snapshot))
        beside.append(partial(keep_worker, ["--parent-pid", str(os.getpid())], environment))
    elif worker is None and not settings.pinned:
        typer.echo("no worker here: run `innerloop worker`, or add --worker")
    if not run(settings, listening, beside):
        raise typer.Exit(1)


def _bind(host: str, port: int) -> socket.socket:
    """The socket, bound before the long part of start-up so that a port in use is known at once. It listens later."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, kind, protocol)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError as error:
        _fail(f"cannot listen on {host}:{port}: {error.strerror or error}. Choose another with --port.")
    return bound


def _fail(message: str) -> None:
    typer.echo(f"innerloop: {message}", err=True)
    raise typer.Exit(2)
