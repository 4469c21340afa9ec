"""The service on a real uvicorn, on a private port, in a thread of the test's process."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from app.main import create_app
from app.settings import Settings


def settings_of(redis_url: str, snapshots: Path, **changes: Any) -> Settings:
    """Settings for a test: one thread, quick looks, nothing from the environment but what is given."""
    given = {"redis_url": redis_url, "snapshot": snapshots, "data_folder": snapshots.parent / "data"}
    quick = {"device": "cpu", "threads": 1, "poll": 0.05, "redis_timeout": 0.5, "api_keys": (), "admin_key": None}
    return Settings(**{**quick, **given, **changes})


@contextmanager
def serving(settings: Settings) -> Iterator[httpx.Client]:
    """A client of the service, which runs until the block ends."""
    server = uvicorn.Server(
        uvicorn.Config(create_app(settings), log_config=None, access_log=False, loop="uvloop", http="httptools")
    )
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        end = time.monotonic() + 30
        while not server.started:
            assert thread.is_alive(), "the service did not start"
            assert time.monotonic() < end, "the service takes too long to start"
            time.sleep(0.01)
        base = f"http://127.0.0.1:{listening.getsockname()[1]}"
        try:
            with httpx.Client(base_url=base, timeout=20) as client:
                yield client
        finally:
            server.should_exit = True
            thread.join(20)
            assert not thread.is_alive(), "the service did not stop"
