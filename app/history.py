"""What Redis knows of each user: the recent history, the event ids, and the stream that the worker reads.

A history is one packed string: the version (8 bytes, little-endian), then records by their times, newest last; those
of one moment in the order they were accepted. The oldest give way, so an accepted event that is older than all of a
full history is on the stream and never in the history. Every key carries the hash tag of a partition:

    il:{p}:history:<user>   the packed string, at most `cap` records
    il:{p}:ids:<user>       HASH event id -> stream entry (0-0: none), and ids-old: the generation before it
    il:{p}:stream           events for the worker; an entry goes when it is done, forgotten, or one too many
    il:forgotten            how often a user was forgotten, whoever it was

An event id is remembered for at least the user's next GENERATION events.

This is for one Redis, or a primary with replicas. Redis Cluster would refuse the reads that span partitions, of many
users at once and of all streams; only the scripts are ready for it, whose keys are all of one partition.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from time import monotonic
from typing import Any
from zlib import crc32

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from app.appends import Appends
from app.event import RECORD, Event, StreamEvent, UserHistory
from app.store import SHORTEST_TIMEOUT, Script, troubles
from app.wire import Wire, command

__all__ = [
    "FORGOTTEN_KEY",
    "GENERATION",
    "GROUP",
    "PARTITIONS",
    "RECORD",
    "Event",
    "History",
    "StreamEvent",
    "UserHistory",
    "partition_of",
]

PARTITIONS = 16
_TAGS = [f"il:{{{partition}}}:" for partition in range(PARTITIONS)]
_HISTORIES = [f"{tag}history:".encode() for tag in _TAGS]
FORGOTTEN_KEY = "il:forgotten"
GENERATION = 1024
GROUP = "refresher"
BLOCK_MS = int(SHORTEST_TIMEOUT * 1000 / 2)


class History:
    """Every user key in Redis. Methods raise StoreUnavailable when Redis cannot answer."""

    def __init__(
        self,
        redis: Redis,
        *,
        cap: int = 200,
        stream_cap: int = 100_000,
        ttl_seconds: int = 0,
        wire: Wire | None = None,
    ) -> None:
        """
        Args:
            cap: the most records a user keeps.
            stream_cap: about the most entries that wait for the worker, over all partitions; the oldest go first.
            ttl_seconds: forget a user this long after the last event; 0 for never.
            wire: a faster way for what is read and appended; without one the client does that too.
        Raises:
            ValueError: a bound that is out of range.
        """
        if cap < 1 or stream_cap < PARTITIONS or ttl_seconds < 0:
            raise ValueError(f"cap: at least 1; stream_cap: at least {PARTITIONS}; ttl_seconds: 0 or more")
        self.redis = redis
        self.stream_cap = stream_cap
        self.ttl_seconds = ttl_seconds
        # Ids must outlive the records: an event in the history is never taken twice.
        self._limits = (cap, stream_cap // PARTITIONS, max(GENERATION, cap), ttl_seconds)
        self._wire = wire
        self._appends = Appends(redis, Script("append.lua"), wire)
        self._forget, self._reclaim = Script("forget.lua"), Script("reclaim.lua")

    async def append(self, events: Sequence[Event], *, history_only: bool = False) -> list[bool]:
        """Keeps events, each where its time belongs. True for one accepted, False for one whose id the user has used.

        `history_only`: they do not go on the stream. One that is older than all of a full history is then kept nowhere.

        Atomic a user, not over users: after StoreUnavailable send the whole batch again, and what was kept the first
        time comes back False.

        Raises:
            BadRequest: a number that does not fit its field; nothing was kept.
        """
        numbers: dict[str, list[int]] = defaultdict(list)
        arguments: dict[str, list[Any]] = {}
        for number, event in enumerate(events):
            if event.user not in arguments:
                arguments[event.user] = [GROUP, event.user, *self._limits, 0 if history_only else 1]
            arguments[event.user] += (event.event_id, event.packed(f"events.{number}"), event.recommendation_id or "")
            numbers[event.user].append(number)
        replies = await self._appends.run([(_keys(user), arguments[user]) for user in numbers])
        accepted = [False] * len(events)
        for places, flags in zip(numbers.values(), replies, strict=True):
            for place, flag in zip(places, flags, strict=True):
                accepted[place] = flag == 1
        return accepted

    async def read(self, users: Sequence[str]) -> list[UserHistory]:
        """The histories of many users, in their order, in one round trip."""
        histories, _ = await self.read_with(users, ())
        return histories

    async def read_with(
        self, users: Sequence[str], extra_keys: Sequence[str]
    ) -> tuple[list[UserHistory], list[bytes | None]]:
        """As `read`, and in the same round trip the values of other keys."""
        keys = [_HISTORIES[crc32(name) % PARTITIONS] + name for name in map(str.encode, users)]
        keys += map(str.encode, extra_keys)
        if not keys:
            return [], []
        with troubles():
            if self._wire is not None:
                (found,) = await self._wire.call(command(("MGET", *keys)), 1)
                if isinstance(found, Exception):
                    raise found
            else:
                found = await self.redis.mget(keys)
        return UserHistory.each(found[: len(users)]), found[len(users) :]

    async def forget(self, user: str) -> int:
        """Deletes every key and stream entry of this user, in one step; forgetting an unknown user is fine.

        Returns how often anyone was forgotten, under FORGOTTEN_KEY: whoever remembers users by another way watches it.
        """
        await self._forget.run(self.redis, [(_keys(user), (GROUP, self.ttl_seconds))])
        with troubles():
            try:
                return int(await self.redis.incr(FORGOTTEN_KEY))
            except ResponseError:
                # A full Redis counts no further, but it deletes: that is a change to be seen, too.
                await self.redis.delete(FORGOTTEN_KEY)
                return 0

    async def fresh(self, consumer: str, count: int = 256, block_ms: int = 1000) -> list[StreamEvent]:
        """Events no worker has been given yet: at most `count` (or one a partition), waiting up to `block_ms` for some.

        They are this consumer's until `done`; one that dies leaves them to `reclaim`.
        """
        end = monotonic() + block_ms / 1000
        streams: dict[Any, Any] = dict.fromkeys(map(_stream, range(PARTITIONS)), ">")
        while True:
            # In slices: the client gives a reply no longer than its timeout.
            wait = min(BLOCK_MS, int((end - monotonic()) * 1000))
            try:
                with troubles():
                    reply: Any = await self.redis.xreadgroup(
                        GROUP, consumer, streams, count=_share(count), block=wait if wait > 0 else None
                    )
            except ResponseError as error:
                if "NOGROUP" not in str(error) and "UNBLOCKED" not in str(error):
                    raise
                await self._create_groups()
                continue
            events = [
                StreamEvent.of(_partition(stream), entry, fields)
                for stream, entries in reply or ()
                for entry, fields in entries
                if fields
            ]
            if events or wait <= 0:
                return events

    async def reclaim(self, consumer: str, idle_ms: int = 60_000, count: int = 256) -> list[StreamEvent]:
        """Events given to any consumer at least `idle_ms` ago and not done: at most `count` (or one a partition)."""
        calls = [([_stream(number)], (GROUP, consumer, idle_ms, _share(count))) for number in range(PARTITIONS)]
        try:
            replies = await self._reclaim.run(self.redis, calls)
        except ResponseError as error:
            if "NOGROUP" not in str(error):
                raise
            await self._create_groups()
            return []
        return [
            StreamEvent.of(number, entry, dict(zip(fields[::2], fields[1::2], strict=True)))
            for number, entries in enumerate(replies)
            for entry, fields in entries
        ]

    async def done(self, events: Sequence[StreamEvent]) -> None:
        """Takes events off the stream. Safe to repeat."""
        entries: dict[int, list[bytes]] = defaultdict(list)
        for event in events:
            entries[event.partition].append(event.entry_id)
        if not entries:
            return
        pipeline = self.redis.pipeline(transaction=False)
        for number, ids in entries.items():
            pipeline.xack(_stream(number), GROUP, *ids)
            pipeline.xdel(_stream(number), *ids)
        with troubles():
            await pipeline.execute()

    async def pending(self) -> int:
        """The worker's lag: events on the stream that are not done."""
        pipeline = self.redis.pipeline(transaction=False)
        for number in range(PARTITIONS):
            pipeline.xlen(_stream(number))
        with troubles():
            return sum(await pipeline.execute())

    async def _create_groups(self) -> None:
        pipeline = self.redis.pipeline(transaction=False)
        for number in range(PARTITIONS):
            pipeline.xgroup_create(_stream(number), GROUP, id="0", mkstream=True)
        with troubles():
            for reply in await pipeline.execute(raise_on_error=False):
                # BUSYGROUP: another worker was first.
                if isinstance(reply, Exception) and "BUSYGROUP" not in str(reply):
                    raise reply


def partition_of(user: str) -> int:
    """Which partition's keys and stream are this user's."""
    return crc32(user.encode()) % PARTITIONS


def _keys(user: str) -> list[str]:
    tag = _TAGS[partition_of(user)]
    return [f"{tag}history:{user}", f"{tag}ids:{user}", f"{tag}ids-old:{user}", f"{tag}stream"]


def _stream(partition: int) -> str:
    return f"{_TAGS[partition]}stream"


def _partition(stream: bytes) -> int:
    return int(stream[stream.index(b"{") + 1 : stream.index(b"}")])


def _share(count: int) -> int:
    """COUNT is a limit for each stream."""
    return max(1, count // PARTITIONS)
