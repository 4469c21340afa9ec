"""One event as Redis keeps it: a packed record of 20 bytes, in a user's history and on the stream."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.errors import BadRequest

_PACKED = struct.Struct("<IB3xfd")
_VERSION = struct.Struct("<Q")
_HEAD = _VERSION.size

RECORD = np.dtype(
    {
        "names": ["handle", "kind", "value", "time"],
        "formats": ["<u4", "u1", "<f4", "<f8"],
        "offsets": [0, 4, 8, 12],
        "itemsize": _PACKED.size,
    }
)
"""One record: item handle, kind code, value (NaN where there is none), time in seconds since the epoch."""


@dataclass(frozen=True, slots=True)
class Event:
    """A valid event, its item and kind already numbers. `time` is in seconds since the epoch."""

    event_id: str
    user: str
    handle: int
    kind: int
    value: float | None = None
    time: float = 0.0
    recommendation_id: str | None = None

    def packed(self, field: str) -> bytes:
        """One RECORD.

        Raises:
            BadRequest: a number that does not fit, at `field`.
        """
        if not math.isfinite(self.time):
            raise BadRequest("A time must be a finite number of seconds.", field=field)
        value = math.nan if self.value is None else self.value
        try:
            return _PACKED.pack(self.handle, self.kind, value, self.time)
        except (struct.error, OverflowError) as error:
            raise BadRequest("A number is out of range: value is at most 3.4e38.", field=field) from error


class UserHistory(NamedTuple):
    """A history as Redis keeps it. A user without one has version 0 and no records."""

    version: int
    packed: bytes  # the records, newest last

    @property
    def records(self) -> NDArray[np.void]:
        """(n,) of RECORD, newest last, read-only."""
        return np.frombuffer(self.packed, RECORD)

    @classmethod
    def of(cls, stored: bytes | None) -> UserHistory:
        """From the string in Redis: the version, 8 bytes little-endian, then the records."""
        return cls.each((stored,))[0]

    @classmethod
    def each(cls, stored: Iterable[bytes | None]) -> list[UserHistory]:
        """The same of many, made as a NamedTuple makes itself, in half the time."""
        make, version = tuple.__new__, _VERSION.unpack_from
        return [
            NOTHING if one is None or len(one) < _HEAD else make(cls, (version(one)[0], one[_HEAD:])) for one in stored
        ]


def in_order(times: NDArray[np.float64]) -> bool:
    """Whether events at these times, (n,), came in an order: those of one moment, as an import brings them, did not."""
    return len(times) < 2 or bool((times != times[0]).any())


NOTHING = UserHistory(0, b"")


class StreamEvent(NamedTuple):
    """An event as the worker meets it; `value` is NaN where there is none."""

    partition: int
    entry_id: bytes
    user: str
    handle: int
    kind: int
    value: float
    time: float
    recommendation_id: str | None = None

    @classmethod
    def of(cls, partition: int, entry_id: bytes, fields: Mapping[bytes, bytes]) -> StreamEvent:
        """From a stream entry's fields: u the user, r the record, i the recommendation id if there is one."""
        handle, kind, value, time = _PACKED.unpack(fields[b"r"])
        recommendation = fields[b"i"].decode() if b"i" in fields else None
        return cls(partition, entry_id, fields[b"u"].decode(), handle, kind, value, time, recommendation)
