"""What the tests of histories share: events, the two ways to Redis, and what is found there."""

from __future__ import annotations

from typing import Any

from redis.asyncio import Redis

import app.history
from app.history import Event, StreamEvent
from app.wire import Wire

ways: list[str] = []
wires: list[Wire] = []


def events(user: str, count: int, start: int = 0) -> list[Event]:
    return [Event(f"e{number}", user, number, kind=1, time=float(number)) for number in range(start, start + count)]


async def handles(history: app.history.History, user: str) -> list[int]:
    (found,) = await history.read([user])
    return [int(handle) for handle in found.records["handle"]]


async def drain(history: app.history.History, consumer: str = "worker") -> list[StreamEvent]:
    found: list[StreamEvent] = []
    while page := await history.fresh(consumer, block_ms=0):
        found += page
    return found


async def traces(redis: Redis, user: str) -> list[object]:
    """Every key, field, value and stream entry in the whole store that has the user's name in it."""
    name = user.encode()
    found: list[object] = []
    async for key in redis.scan_iter(count=1000):
        if name in key:
            found.append(key)
        kind = await redis.type(key)
        if kind == b"stream":
            found += [(key, entry) for entry, fields in await redis.xrange(key) if name in b"|".join(fields.values())]
        elif kind == b"hash":
            found += [(key, field) for field, value in (await redis.hgetall(key)).items() if name in field + value]
        else:
            assert kind == b"string"
            if name in (await redis.get(key) or b""):
                found.append(key)
    return found


def History(redis: Redis, **options: Any) -> app.history.History:
    """A history, by the way at hand."""
    if ways == ["by wire"]:
        wires.append(Wire(redis))
        options["wire"] = wires[-1]
    return app.history.History(redis, **options)
