"""How many events a second redis-server takes through append.lua when nothing else stands in between."""

from __future__ import annotations

import random
import socket
import time
import uuid
from urllib.parse import unquote, urlsplit

import hiredis

from app.event import Event
from app.history import GENERATION, GROUP, PARTITIONS, _keys
from app.store import Script

CAP, STREAM = 200, 100_000 // PARTITIONS


def events_a_second(url: str, users: int, items: int, seconds: float, batch: int = 500) -> float:
    """One client, `batch` calls a round trip, written as bytes beforehand: the client costs next to nothing."""
    script, rng = Script("append.lua"), random.Random(0)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(unquote(urlsplit(url).path))
        client.sendall(_command("SCRIPT", "LOAD", script.source))
        _replies(client, 1)
        rounds = [
            b"".join(
                _command("EVALSHA", script.sha, 4, *_call(f"u{rng.randrange(users)}", rng.randrange(items)))
                for _ in range(batch)
            )
            for _ in range(40)
        ]
        done, began = 0, time.perf_counter()
        while time.perf_counter() - began < seconds and done < len(rounds):
            client.sendall(rounds[done])
            _replies(client, batch)
            done += 1
        return done * batch / (time.perf_counter() - began)


def _call(user: str, item: int) -> tuple[str | int | bytes, ...]:
    event = Event(uuid.uuid4().hex, user, item, 0, None, time.time())
    limits = (CAP, STREAM, GENERATION, 0)
    return (*_keys(user), GROUP, user, *limits, event.event_id, event.packed("event"), "")


def _command(*parts: str | int | bytes) -> bytes:
    packed = [part if isinstance(part, bytes) else str(part).encode() for part in parts]
    return b"*%d\r\n" % len(packed) + b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in packed)


def _replies(client: socket.socket, count: int) -> None:
    reader = hiredis.Reader()
    while count:
        reader.feed(client.recv(1 << 20))
        while (reply := reader.gets()) is not False:
            if isinstance(reply, Exception):
                raise reply
            count -= 1
