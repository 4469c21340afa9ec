"""The service in this process: uvicorn, what is announced once it answers, and what runs beside it until it ends."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import Awaitable, Callable, Sequence
from types import FrameType

import typer
import uvicorn
from fastapi import FastAPI

from app.main import create_app
from app.settings import Settings, address

Beside = Callable[[], Awaitable[None]]
"""Something that runs until it is cancelled."""


def run(
    settings: Settings,
    listening: socket.socket,
    beside: Sequence[Beside],
    create: Callable[[Settings], FastAPI] = create_app,
) -> bool:
    """Serve on a bound socket until SIGINT or SIGTERM. False where the service could not start; the log says why."""
    app = create(settings)
    # A failure that a person can mend is said once, without uvicorn's trace.
    logging.getLogger("uvicorn.error").addFilter(lambda _: app.state.failure is None)
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http="httptools",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=10,
    )
    service = Service(config, beside)
    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(service.attend(listening))
    if app.state.failure is not None:
        typer.echo(f"innerloop: {app.state.failure}", err=True)
    return service.started


class Service(uvicorn.Server):
    """A server that ends without raising its signal again, so that the process exits with 0."""

    def __init__(self, config: uvicorn.Config, beside: Sequence[Beside]) -> None:
        super().__init__(config)
        self.beside = beside
        self.tasks: list[asyncio.Future[None]] = []

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started and not self.should_exit:
            typer.echo(announcement(*(sockets or self.servers[0].sockets)[0].getsockname()[:2]))
            # Only now: they import torch too, on the same few cores, and the service is what people wait for.
            self.tasks = [asyncio.ensure_future(start()) for start in self.beside]

    async def attend(self, listening: socket.socket) -> None:
        """Serve until told to stop, then stop what runs beside."""
        try:
            await self.serve(sockets=[listening])
        except SystemExit:
            # Uvicorn's way to say that start-up failed, which its log has explained.
            self.started = False
        finally:
            for task in self.tasks:
                task.cancel()
            await asyncio.gather(*self.tasks, return_exceptions=True)


def announcement(host: str, port: int) -> str:
    """What to do now that the service answers."""
    base = address(host, port)
    return (
        f"innerloop is ready: {base}\n"
        f"  docs   {base}/docs\n"
        f"  try    curl '{base}/recommend?user_id=u_1&k=5'\n"
        f"  users  innerloop import --data WHAT-IT-WAS-TRAINED-ON --url {base}\n"
        f"  stop   Ctrl-C"
    )
