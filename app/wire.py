"""One connection to Redis that carries the calls of the hot path, many at once, in order: bytes out, replies in.

It does what the client library would do for such a call, in far less time, and nothing else: whatever is not called by
the thousand goes through the library.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any, cast

import hiredis
from redis.asyncio import Redis, SSLConnection
from redis.exceptions import AuthenticationError, ConnectionError, NoScriptError, ResponseError, TimeoutError

Part = str | bytes | int
GRACE = 0.05
"""Seconds."""


def command(parts: Iterable[Part]) -> bytes:
    """A command as Redis reads it."""
    packed = [part if type(part) is bytes else str(part).encode() for part in parts]
    return b"".join([b"*%d\r\n" % len(packed), *[b"$%d\r\n%b\r\n" % (len(part), part) for part in packed]])


class Wire:
    """Made from a client's settings; connects when it is first used and again whenever the connection has gone."""

    def __init__(self, redis: Redis) -> None:
        self._settings: dict[str, Any] = redis.connection_pool.connection_kwargs
        self._timeout = float(self._settings["socket_timeout"])
        self._line: Line | None = None
        self._connecting: asyncio.Task[Line] | None = None

    @classmethod
    def of(cls, redis: Redis) -> Wire | None:
        """A wire to where a client goes; None where it would have to be encrypted, which is left to the client."""
        return None if issubclass(redis.connection_pool.connection_class, SSLConnection) else cls(redis)

    async def call(self, commands: bytes, count: int) -> list[Any]:
        """The replies to `count` commands, sent in one go. A reply that says no is an exception among them.

        Cancelling it is safe: the replies come all the same, and go nowhere.

        Raises redis.exceptions.ConnectionError, TimeoutError or AuthenticationError: some may have been carried out.
        """
        line = self._line
        if line is None or line.closed:
            if self._connecting is None:  # one attempt for all who wait, so that they fail together
                self._connecting = asyncio.create_task(self._connect(), name="wire")
                self._connecting.add_done_callback(self._connected)
            line = await asyncio.shield(self._connecting)
        return await line.call(commands, count, self._timeout)

    def _connected(self, attempt: asyncio.Task[Line]) -> None:
        self._connecting = None
        if not attempt.cancelled() and attempt.exception() is None:
            self._line = attempt.result()

    def close(self) -> None:
        """Hang up; whoever waits for a reply is told so."""
        if self._line is not None:
            self._line.hang_up(ConnectionError("The connection was closed."))

    async def _connect(self) -> Line:
        loop, settings = asyncio.get_running_loop(), self._settings
        try:
            async with asyncio.timeout(self._timeout):
                if settings.get("path"):
                    _, line = await loop.create_unix_connection(Line, settings["path"])
                else:
                    host, port = settings.get("host", "localhost"), settings.get("port", 6379)
                    _, line = await loop.create_connection(Line, host, port)
        except OSError as error:  # a timeout is one too
            raise ConnectionError(str(error)) from error
        greetings: list[Sequence[Part]] = []
        if settings.get("password"):
            user = settings.get("username")
            greetings.append(("AUTH", *((user,) if user else ()), settings["password"]))
        if settings.get("db"):
            greetings.append(("SELECT", settings["db"]))
        if greetings:
            replies = await line.call(b"".join(map(command, greetings)), len(greetings), self._timeout)
            for reply in replies:
                if isinstance(reply, Exception):
                    line.hang_up(ConnectionError("It was refused."))
                    raise reply
        return line


class Line(asyncio.Protocol):
    """The connection itself."""

    def __init__(self) -> None:
        self.closed = False
        self._reader = hiredis.Reader(replyError=_refusal)
        self._waiting: deque[tuple[int, list[Any], asyncio.Future[list[Any]]]] = deque()
        self._transport: asyncio.Transport | None = None

    async def call(self, commands: bytes, count: int, timeout: float) -> list[Any]:
        """See Wire. `timeout` is in seconds."""
        if self.closed or self._transport is None:
            raise ConnectionError("The connection has gone.")
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[list[Any]] = loop.create_future()
        self._waiting.append((count, [], answered))
        self._transport.write(commands)
        alarm = loop.call_later(timeout, self._late, answered)
        try:
            return await answered
        finally:
            alarm.cancel()

    def _late(self, answered: asyncio.Future[list[Any]]) -> None:
        # If the loop itself was held up, the reply may be here and unread: it gets a turn first.
        asyncio.get_running_loop().call_later(GRACE, self._give_up, answered)

    def _give_up(self, answered: asyncio.Future[list[Any]]) -> None:
        # Replies come in order: one that does not come stands in the way of all after it.
        if not answered.done():
            self.hang_up(TimeoutError("Redis did not answer in time."))

    def hang_up(self, error: Exception) -> None:
        """Fail everyone who waits."""
        self.closed = True
        if self._transport is not None:
            self._transport.abort()
        while self._waiting:
            _, _, answered = self._waiting.popleft()
            if not answered.done():
                answered.set_exception(error)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.hang_up(ConnectionError(f"Redis hung up: {exc}" if exc else "Redis hung up."))

    def data_received(self, data: bytes) -> None:
        try:
            self._reader.feed(data)
            while self._waiting and (reply := self._reader.gets()) is not False:
                count, replies, answered = self._waiting[0]
                replies.append(reply)
                if len(replies) == count:
                    self._waiting.popleft()
                    if not answered.done():
                        answered.set_result(replies)
        except hiredis.ProtocolError as error:
            self.hang_up(ConnectionError(str(error)))


def _refusal(text: str) -> Exception:
    """The library's exception for a reply that says no."""
    if text.startswith("NOSCRIPT"):
        return NoScriptError(text)
    if text.startswith(("NOAUTH", "WRONGPASS", "ERR invalid password", "ERR AUTH")):
        return AuthenticationError(text)
    return ResponseError(text)
