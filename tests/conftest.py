"""Real servers that the tests start for themselves, on private sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from app.embedded import EmbeddedRedis
from app.store import connect


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    """The session's own redis-server."""
    folder: Path = tmp_path_factory.mktemp("redis")
    with EmbeddedRedis(folder) as server:
        yield server


@pytest.fixture
async def redis(redis_server: EmbeddedRedis) -> AsyncIterator[Redis]:
    """A client of an empty store. The server is the session's alone, so emptying it hurts nobody."""
    redis_server.start()
    client = connect(redis_server.url)
    await client.flushall()
    yield client
    await client.aclose()


@pytest.fixture
def redis_url(redis: Redis, redis_server: EmbeddedRedis) -> str:
    """The address of that empty store, for a process or a client of the test's own."""
    return redis_server.url
