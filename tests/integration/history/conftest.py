"""Histories by the client and by the wire, and a server of a test's own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

import app.history
from app.embedded import EmbeddedRedis
from app.store import connect
from tests.histories import History, ways, wires


@pytest.fixture(autouse=True, params=["by the client", "by wire"])
async def way(request: pytest.FixtureRequest) -> AsyncIterator[None]:
    """Every test runs twice."""
    ways[:] = [request.param]
    yield
    while wires:
        wires.pop().close()
    await asyncio.sleep(0)


@pytest.fixture
def history(redis: Redis) -> app.history.History:
    return History(redis)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedRedis]:
    """A server of the test's own, to be stopped, filled or frozen."""
    with EmbeddedRedis(tmp_path / "own") as server:
        yield server


@pytest.fixture
async def client(server: EmbeddedRedis) -> AsyncIterator[Redis]:
    client = connect(server.url)
    yield client
    await client.aclose()
