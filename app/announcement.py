"""The worker's word that there is a new snapshot, so that services need not wait for their next look at the folder."""

from __future__ import annotations

from redis.asyncio import Redis

from app.store import troubles

KEY = "il:snapshot:announced"


async def announce(redis: Redis, version: str) -> None:
    """Say that `version` was published. What is served is decided by the snapshots folder alone.

    Raises StoreUnavailable.
    """
    with troubles():
        await redis.set(KEY, version)
