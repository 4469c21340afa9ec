"""The worker's sign of life in Redis: what it last did, and that it did so lately."""

from __future__ import annotations

import json
import time
from typing import Any

from redis.asyncio import Redis

from app.store import troubles

KEY = "il:worker:status"
EVERY = 5.0
"""Seconds from one beat to the next; three missed make a worker dead."""


class Heartbeat:
    """Written by the worker, read by /health. Methods raise StoreUnavailable when Redis cannot answer."""

    def __init__(self, redis: Redis) -> None:
        self.redis = redis

    async def beat(self, **status: Any) -> None:
        """Say that the worker lives; `status` is anything JSON can hold. It fades after three beats."""
        with troubles():
            await self.redis.set(KEY, json.dumps({"time": time.time(), **status}), px=int(EVERY * 3000))

    async def read(self) -> dict[str, Any] | None:
        """The last beat, with its `age` in seconds; None where there is no living worker."""
        with troubles():
            found = await self.redis.get(KEY)
        if found is None:
            return None
        status: dict[str, Any] = json.loads(found)
        return status | {"age": round(max(time.time() - status["time"], 0.0), 1)}
