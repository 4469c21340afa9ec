"""What Redis knows of items: a lasting number for each id, and the items that came in while serving.

    il:{items}:handle    HASH id -> handle, a number from 0 that never changes hands and depends on no snapshot
    il:{items}:ids       LIST, the id at its handle's place
    il:{items}:data      HASH id -> JSON            of items that were put
    il:{items}:vector    HASH id -> content model, NUL, float16 content vector
    il:{items}:changed   ZSET id -> version of its last put
    il:{items}:version   moves with every put, never comes back

C = width of a content vector; M = items.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from redis.asyncio import Redis

from app.store import Script, troubles
from models.item import Item

HANDLE_KEY = "il:{items}:handle"
IDS_KEY = "il:{items}:ids"
DATA_KEY = "il:{items}:data"
VECTOR_KEY = "il:{items}:vector"
CHANGED_KEY = "il:{items}:changed"
VERSION_KEY = "il:{items}:version"

PAGE = 1000
"""Items a command, so that none holds Redis up for long."""


class Changes(NamedTuple):
    """Items put since some version: handle, item, and content vector (C,), or None if another model made it."""

    version: int
    items: list[tuple[int, Item, NDArray[np.float32] | None]]


class Catalogue:
    """Every item key in Redis, and a local mirror of the handles. Methods raise StoreUnavailable."""

    def __init__(self, redis: Redis) -> None:
        self.redis = redis
        self.handles: dict[str, int] = {}
        self._ids: list[str] = []
        self._register, self._put = Script("register.lua"), Script("put.lua")
        self._pulling: asyncio.Task[None] | None = None

    async def register(self, ids: Iterable[str]) -> None:
        """Gives every id that has none a handle. Safe to repeat, and from many processes at once."""
        await self._pull()
        new = [name for name in dict.fromkeys(ids) if name not in self.handles]
        if new:
            await self._assign(new)
            await self._pull()

    async def handle_of(self, item_id: str) -> int | None:
        """This item's handle: from the mirror, else from Redis. None for an id that nobody registered."""
        return (await self.resolve((item_id,))).get(item_id)

    async def resolve(self, ids: Sequence[str]) -> dict[str, int]:
        """The handles of those ids that have one: from the mirror, with one look into Redis if any is missing."""
        if any(name not in self.handles for name in ids):
            await self._pull()
        return {name: self.handles[name] for name in ids if name in self.handles}

    async def ids_of(self, handles: Sequence[int]) -> list[str | None]:
        """The ids behind handles, in their order. None for a handle that was never given out."""
        if any(handle >= len(self._ids) for handle in handles):
            await self._pull()
        return [self._ids[handle] if 0 <= handle < len(self._ids) else None for handle in handles]

    async def put(self, items: Sequence[Item], vectors: NDArray[np.float32], content_model: str) -> int:
        """Writes items, new or known, with their content vectors (M, C). Returns the catalogue's version after it.

        After StoreUnavailable some may be written: put them all again.
        """
        await self.register(item.id for item in items)
        head = content_model.encode() + b"\0"
        version = 0
        for start in range(0, len(items), PAGE):
            arguments: list[Any] = []
            for item, vector in zip(items[start : start + PAGE], vectors[start : start + PAGE], strict=True):
                arguments += (item.id, _to_json(item), head + np.asarray(vector, "<f2").tobytes())
            keys = (DATA_KEY, VECTOR_KEY, VERSION_KEY, CHANGED_KEY)
            version = int((await self._put.run(self.redis, [(keys, arguments)]))[0])
        return version or await self.version()

    async def version(self) -> int:
        """The version of the last put; the same number that VERSION_KEY holds, 0 for an empty store."""
        with troubles():
            return int(await self.redis.get(VERSION_KEY) or 0)

    async def changes(self, since: int = 0, content_model: str | None = None) -> Changes:
        """Items put after version `since`, as of the version it returns; one put meanwhile may be newer.

        Ask again whenever VERSION_KEY differs from the version at hand. After Redis has lost its data,
        everything there is comes back.

        Args:
            content_model: vectors of any other model are left out; None takes all.
        """
        await self._pull()
        version = await self.version()
        if version < since:
            since = 0
        with troubles():
            ids: list[Any] = await self.redis.zrangebyscore(CHANGED_KEY, f"({since}", "+inf")
        found: list[tuple[int, Item, NDArray[np.float32] | None]] = []
        for start in range(0, len(ids), PAGE):
            page = ids[start : start + PAGE]
            pipeline = self.redis.pipeline(transaction=True)
            pipeline.hmget(DATA_KEY, page)
            pipeline.hmget(VECTOR_KEY, page)
            with troubles():
                data, vectors = await pipeline.execute()
            handles = await self.resolve([name.decode() for name in page])
            for name, written, packed in zip(map(bytes.decode, page), data, vectors, strict=True):
                # A store emptied between two commands leaves gaps; the version will have moved.
                if written is not None and packed is not None and name in handles:
                    found.append((handles[name], _from_json(name, written), _vector(packed, content_model)))
        return Changes(version, found)

    async def _assign(self, ids: Sequence[str]) -> None:
        keys = (HANDLE_KEY, IDS_KEY, VERSION_KEY)
        for start in range(0, len(ids), PAGE):
            await self._register.run(self.redis, [(keys, ids[start : start + PAGE])])

    async def _pull(self) -> None:
        """Brings the mirror up to what Redis holds at this call. One look at a time: who waits shares it, and fails
        with it, so that a Redis that hangs costs everyone one timeout and not one after the other.
        """
        if self._pulling is not None:
            await asyncio.shield(self._pulling)  # it may have looked before our call, so its success is not yet ours
        if self._pulling is None:
            self._pulling = asyncio.create_task(self._mirror(), name="handles")
            self._pulling.add_done_callback(self._pulled)
        await asyncio.shield(self._pulling)

    def _pulled(self, _: asyncio.Task[None]) -> None:
        self._pulling = None

    async def _mirror(self) -> None:
        """Reads what is new, and again the last id it knows: if that has changed, Redis lost its data."""
        names = await self._ids_from(max(len(self._ids) - 1, 0))
        if self._ids and names[:1] != self._ids[-1:]:
            # In the old order, so that where nobody was faster every handle stays what it was.
            await self._assign(self._ids)
            names = await self._ids_from(0)
            self.handles.clear()
            self._ids.clear()
        new = names[1:] if self._ids else names
        self.handles.update(zip(new, range(len(self._ids), len(self._ids) + len(new)), strict=True))
        self._ids += new

    async def _ids_from(self, start: int) -> list[str]:
        names: list[str] = []
        while True:
            at = start + len(names)
            with troubles():
                page: list[Any] = await self.redis.lrange(IDS_KEY, at, at + PAGE - 1)
            names += [name.decode() for name in page]
            if len(page) < PAGE:
                return names


def _to_json(item: Item) -> bytes:
    fields = {"title": item.title, "text": item.text, "categories": item.categories, "available": item.available}
    return json.dumps(fields, ensure_ascii=False).encode()


def _from_json(name: str, written: bytes) -> Item:
    fields = json.loads(written)
    return Item(name, fields["title"], fields["text"], tuple(fields["categories"]), fields["available"])


def _vector(packed: bytes, content_model: str | None) -> NDArray[np.float32] | None:
    model, _, vector = packed.partition(b"\0")
    if content_model is not None and model.decode() != content_model:
        return None
    return np.frombuffer(vector, "<f2").astype(np.float32)
