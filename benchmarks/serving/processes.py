"""Real processes on private ports: a redis-server, and each contender as a server of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import psutil

START_SECONDS = 180.0


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
    return port


class Server:
    """A contender that runs: its address, its process, and how long it took to answer."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, ready_seconds: float) -> None:
        self.process = process
        self.port = port
        self.ready_seconds = ready_seconds
        self.base = f"http://127.0.0.1:{port}"

    @property
    def megabytes(self) -> float:
        """Resident memory of the process and its children, in MB."""
        process = psutil.Process(self.process.pid)
        return float(sum(each.memory_info().rss for each in (process, *process.children(recursive=True)))) / 2**20


@contextmanager
def serving(command: Sequence[str], port: int, log: Path, environment: dict[str, str]) -> Iterator[Server]:
    """Run `command`, wait until it answers a recommendation on `port`, and stop it when the block ends."""
    began = time.perf_counter()
    with log.open("wb") as out:
        # A session of its own, so that the processes it starts end with it.
        process = subprocess.Popen(
            command, stdout=out, stderr=out, env=dict(os.environ) | environment, start_new_session=True
        )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
            while not _answers(client):
                if process.poll() is not None or time.perf_counter() - began > START_SECONDS:
                    raise RuntimeError(f"{' '.join(command)} did not start:\n{log.read_text()[-2000:]}")
                time.sleep(0.005)
        yield Server(process, port, time.perf_counter() - began)
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            pass
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def import_seconds() -> float:
    """How long Python takes to import what no such service can do without."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import torch, fastapi, redis"], check=True)
    return time.perf_counter() - began


def _answers(client: httpx.Client) -> bool:
    try:
        return client.post("/recommend", json={"user_id": "u0"}).status_code == 200
    except httpx.TransportError:
        return False
