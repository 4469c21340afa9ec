"""`innerloop import`: the users of a file, known to a service that runs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from redis import Redis

from tests.services import serving, settings_of
from tests.worlds import publish_snapshot

CSV = "user,item,rating,timestamp\n"
LINES = [
    f"u{user},i{(user * 7 + at) % 40},{1 + at % 5},{1_700_000_000 + 60 * at}" for user in range(9) for at in range(12)
]


@pytest.fixture
def service(tmp_path: Path, redis_url: str) -> Iterator[httpx.Client]:
    publish_snapshot(tmp_path / "snapshots")
    (tmp_path / "log.csv").write_text(CSV + "\n".join(LINES) + "\n")
    with serving(settings_of(redis_url, tmp_path / "snapshots", api_keys=("secret",))) as client:
        client.headers["x-api-key"] = "secret"
        yield client


def imported(
    folder: Path, client: httpx.Client, *options: str, key: str = "secret"
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "app.cli", "import", "--data", "log.csv", "--url", str(client.base_url), *options]
    return subprocess.run(
        [*command, "--key", key], cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )


def test_the_service_knows_the_users_of_the_file_and_the_worker_hears_nothing(
    tmp_path: Path, service: httpx.Client, redis_url: str
) -> None:
    done = imported(tmp_path, service)
    assert done.returncode == 0, done.stderr
    assert "accepted 108 events; 0 it had already" in done.stdout
    for user in range(9):
        events = service.get(f"/users/u{user}/history").json()["events"]
        lines = [line.split(",") for line in LINES if line.startswith(f"u{user},")]
        assert [(event["item_id"], event["value"]) for event in events] == [(line[1], float(line[2])) for line in lines]
        assert [event["kind"] for event in events] == ["rating"] * 12
    with Redis.from_url(redis_url) as redis:
        assert not list(redis.scan_iter("il:*:stream"))
    assert "accepted 0 events; 108 it had already" in imported(tmp_path, service).stdout


def test_what_is_refused_is_counted_and_the_rest_is_kept(tmp_path: Path, service: httpx.Client) -> None:
    with (tmp_path / "log.csv").open("a") as file:
        file.write("u1,nowhere,5,1700009999\nu2,i1,9,1700009999\n")
    done = imported(tmp_path, service)
    assert done.returncode == 1
    assert "accepted 108 events" in done.stdout
    assert "1 refused: item_id: there is no such item; PUT /items adds one" in done.stderr
    assert "1 refused: value: a rating must be from 1 to 5" in done.stderr


def test_a_service_that_does_not_answer_or_let_in_is_named(tmp_path: Path, service: httpx.Client) -> None:
    done = imported(tmp_path, service, key="wrong")
    assert done.returncode == 1
    assert "401 Send an API key" in done.stderr
    done = imported(tmp_path, service, "--url", "http://127.0.0.1:1")
    assert done.returncode == 1
    assert "http://127.0.0.1:1 took 0 events, then this went wrong" in done.stderr
    assert "`innerloop serve` starts one" in done.stderr
    assert "Traceback" not in done.stderr
