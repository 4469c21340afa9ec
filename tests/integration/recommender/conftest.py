"""A snapshots folder, and replicas that follow it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from tests.replicas import Replica, Start
from tests.worlds import publish_snapshot


@pytest.fixture
def root(tmp_path: Path) -> Path:
    publish_snapshot(tmp_path)
    return tmp_path


@pytest.fixture
async def start(root: Path, redis: Redis) -> AsyncIterator[Start]:
    async with AsyncExitStack() as stack:

        async def start(path: Path = root, client: Redis = redis, **options: Any) -> Replica:
            replica = Replica(client, path, **options)
            await replica.recommender.start()
            stack.push_async_callback(replica.recommender.close)
            return replica

        yield start
