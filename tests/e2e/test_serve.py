"""`innerloop serve` as people run it: one command, its own Redis, its own worker, and nothing left behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.worlds import publish_snapshot

ROOT = Path(__file__).parents[2]
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith("INNERLOOP_") and name != "REDIS_URL"}


class Serve:
    """The command, started; `client` talks to the address it printed."""

    def __init__(self, folder: Path, *options: str, **environment: str) -> None:
        publish = folder / "snapshots"
        if not publish.exists():
            publish_snapshot(publish)
        self.data = folder / "data"
        self.out, self.err = folder / "out", folder / "err"
        command = [sys.executable, "-m", "app.cli", "serve", "--snapshot", str(publish), "--port", "0"]
        with self.out.open("w") as out, self.err.open("w") as err:
            self.process = psutil.Popen(
                [*command, "--data-folder", str(self.data), *options],
                cwd=ROOT,
                env=CLEAN | {"OMP_NUM_THREADS": "1"} | environment,
                stdout=out,
                stderr=err,
                stdin=subprocess.DEVNULL,
            )
        try:
            address = until(lambda: re.search(r"is ready: (http://\S+)", self.out.read_text()))
        except AssertionError:
            self.process.kill()
            raise AssertionError(self.err.read_text()) from None
        self.client = httpx.Client(base_url=address[1], timeout=10)

    def worker(self) -> psutil.Process | None:
        """The worker's process, once it gives a sign of life; a dead one's last sign lingers for a while."""
        check = self.client.get("/health").json()["checks"]["worker"]
        with suppress(psutil.NoSuchProcess):
            return psutil.Process(check["observed"]["pid"]) if check["status"] == "pass" else None
        return None

    def redis(self) -> psutil.Process:
        return psutil.Process(int((self.data / "redis" / "redis.pid").read_text()))

    def stop(self, number: signal.Signals) -> int:
        self.client.close()
        self.process.send_signal(number)
        return int(self.process.wait(30))


def until(found: Callable[[], Any], seconds: float = 60.0) -> Any:
    """What `found` gives, once it gives something."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if result := found():
            return result
        time.sleep(0.05)
    raise AssertionError(f"waited {seconds} s in vain")


def gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


@contextmanager
def started(folder: Path, *options: str, **environment: str) -> Iterator[Serve]:
    serve = Serve(folder, *options, **environment)
    try:
        yield serve
    finally:
        serve.client.close()
        # Whatever failed: the service first, so that it can still stop the others.
        with suppress(psutil.NoSuchProcess):
            serve.process.terminate()
        psutil.wait_procs([serve.process], 30)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_stops_all_it_started(tmp_path: Path, number: signal.Signals) -> None:
    with started(tmp_path) as serve:
        worker, redis = until(serve.worker), serve.redis()
        assert serve.client.get("/docs").status_code == 200
        assert "curl" in serve.out.read_text()
        assert serve.stop(number) == 0
        assert gone(worker)
        assert gone(redis)
        assert "Traceback" not in serve.err.read_text()


def test_what_was_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    with started(tmp_path) as serve:
        worker, redis = until(serve.worker), serve.redis()
        acknowledged = 0
        for number in range(100):
            event = {"user_id": f"u{number % 7}", "item_id": f"i{number % 60}", "kind": "view", "event_id": str(number)}
            if number == 80:
                serve.process.kill()
            with suppress(httpx.TransportError):
                acknowledged += serve.client.post("/events", json=event).json()["accepted"]
        until(lambda: gone(worker))
        assert not gone(redis), "Redis outlives us, with what it holds"
    with started(tmp_path, "--no-worker") as serve:
        assert serve.redis().pid == redis.pid
        kept = sum(len(serve.client.get(f"/users/u{user}/history").json()["events"]) for user in range(7))
        assert kept >= acknowledged >= 80
        assert serve.stop(signal.SIGINT) == 0
        assert gone(redis)


def test_a_dead_worker_and_a_dead_redis_come_back(tmp_path: Path) -> None:
    with started(tmp_path) as serve:
        worker, redis = until(serve.worker), serve.redis()
        serve.client.post("/events", json={"user_id": "ada", "item_id": "i1", "kind": "view"})
        time.sleep(1.1)  # Redis itself keeps what is older than a second
        worker.kill()
        redis.kill()
        until(lambda: gone(redis) and serve.client.get("/users/ada/history").status_code == 200)
        assert len(serve.client.get("/users/ada/history").json()["events"]) == 1
        until(lambda: (found := serve.worker()) is not None and found.pid != worker.pid)


def test_on_a_redis_of_others_it_says_that_no_worker_runs_here(tmp_path: Path, redis_url: str) -> None:
    with started(tmp_path, REDIS_URL=redis_url) as serve:
        assert serve.out.read_text().startswith("no worker here: run `innerloop worker`, or add --worker\n")
        assert serve.worker() is None
        assert serve.stop(signal.SIGINT) == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["serve", "--snapshot", "nowhere"], "there is no snapshot at nowhere"),
        (["serve", "--port", "70000"], "INNERLOOP_PORT"),
        (["worker"], "INNERLOOP_REDIS_URL"),
        (["validate", "--data", "nowhere"], "nowhere"),
    ],
)
def test_what_is_wrong_is_said_without_a_trace(tmp_path: Path, options: list[str], said: str) -> None:
    command = [sys.executable, "-m", "app.cli", *options]
    run = subprocess.run(
        command, cwd=tmp_path, env=CLEAN | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )
    assert run.returncode == 2
    assert said in run.stderr
    assert "Traceback" not in run.stderr


def test_a_device_that_is_not_there_is_said_without_a_trace(tmp_path: Path) -> None:
    publish_snapshot(tmp_path / "snapshots")
    command = [sys.executable, "-m", "app.cli", "serve", "--snapshot", "snapshots", "--port", "0"]
    environment = CLEAN | {"PYTHONPATH": str(ROOT), "INNERLOOP_DEVICE": "cuda:63"}
    run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode != 0
    assert "innerloop: INNERLOOP_DEVICE: torch sees no device 'cuda:63' here" in run.stderr
    assert "Traceback" not in run.stderr


def test_help_imports_nothing_that_takes_long() -> None:
    slow = "torch sentence_transformers polars fastapi uvicorn redis pydantic"
    code = f"import sys, app.cli; print([name for name in {slow.split()} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
