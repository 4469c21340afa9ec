"""The way to Redis: one client, scripts that survive a restart of the server, and its troubles in our words."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import resources
from typing import Any
from urllib.parse import urlsplit

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    ClusterDownError,
    ConnectionError,
    MasterDownError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
    TimeoutError,
    TryAgainError,
)

from app.errors import StoreUnavailable
from app.wire import Wire, command

SHORTEST_TIMEOUT = 0.5
"""Seconds. The worker's blocking read waits up to half of this on the server, and must hear back in time."""

AWAY = (ConnectionError, TimeoutError)
UNABLE = (OutOfMemoryError, ReadOnlyError, MasterDownError, ClusterDownError, TryAgainError)
SAYS_UNABLE = (
    "OOM ", "READONLY", "MISCONF", "LOADING", "BUSY ", "NOREPLICAS", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN"
)  # fmt: skip
"""What a reply says when it has no class of its own, or when Redis 6.2 wraps it in a script's error."""


def connect(url: str, *, connections: int = 32, timeout: float = 1.0) -> Redis:
    """A client that answers or fails within a bound, and never queues without one.

    Nothing is sent until the first command. Nothing is retried here: the caller knows what is safe to repeat, and the
    pool replaces a connection that the server has closed before lending it. A command that is cancelled under way costs
    its connection, so that nobody reads the reply of another; still, do not cancel.

    Args:
        url: redis://, rediss:// or unix://.
        connections: the most at once; one more caller waits up to `timeout`.
        timeout: seconds, for connecting, for each reply and for a free connection.
    Raises:
        ValueError: an unknown scheme, or a timeout under 0.5 s.
    """
    if timeout < SHORTEST_TIMEOUT:
        raise ValueError(f"timeout: at least {SHORTEST_TIMEOUT} seconds, not {timeout}")
    keepalive = {} if urlsplit(url).scheme == "unix" else {"socket_keepalive": True}
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=connections,
        timeout=timeout,
        socket_timeout=timeout,
        socket_connect_timeout=timeout,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
        decode_responses=False,
        **keepalive,
    )
    return Redis.from_pool(pool)


@contextmanager
def troubles() -> Iterator[None]:
    """Turns whatever means "Redis cannot answer now" into StoreUnavailable. Other errors are bugs and pass."""
    try:
        yield
    except AWAY as error:
        # The client wraps what goes wrong while it connects.
        refused = isinstance(error, AuthenticationError) or isinstance(error.__cause__, AuthenticationError)
        raise StoreUnavailable("Redis refuses the password." if refused else "Redis does not answer.") from error
    except ResponseError as error:
        if not isinstance(error, UNABLE) and not any(word in str(error) for word in SAYS_UNABLE):
            raise
        raise StoreUnavailable("Redis answers, but cannot serve now.") from error


class Script:
    """A Lua script, which is atomic, called by its hash and sent again to a server that has lost it."""

    def __init__(self, file: str) -> None:
        self.source = resources.files("app").joinpath(file).read_text(encoding="utf-8")
        self.sha = hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest()

    async def run(
        self, redis: Redis, calls: Sequence[tuple[Sequence[str], Sequence[Any]]], wire: Wire | None = None
    ) -> list[Any]:
        """Makes many calls in one round trip, each atomic by itself. Returns a reply a call.

        Raises:
            StoreUnavailable: some calls may have been made, so a call must be safe to repeat.
        """
        replies: list[Any] = [NoScriptError()] * len(calls)
        for attempt in range(3):
            waiting = [number for number, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
            if not waiting:
                break
            with troubles():
                if attempt:
                    await redis.script_load(self.source)
                found = await self._send(redis, [calls[number] for number in waiting], wire)
                for number, reply in zip(waiting, found, strict=True):
                    replies[number] = reply
        with troubles():
            for reply in replies:
                if isinstance(reply, Exception):
                    raise reply
        return replies

    async def _send(
        self, redis: Redis, calls: Sequence[tuple[Sequence[str], Sequence[Any]]], wire: Wire | None
    ) -> list[Any]:
        parts = [("EVALSHA", self.sha, len(keys), *keys, *arguments) for keys, arguments in calls]
        if wire is not None:
            return await wire.call(b"".join([command(each) for each in parts]), len(parts))
        pipeline = redis.pipeline(transaction=False)
        for each in parts:
            pipeline.execute_command(*each)
        return await pipeline.execute(raise_on_error=False)
