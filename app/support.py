"""The histories of a batch, decoded in one go: stored records and inline events become columns, then a support set.

Letters: B queries, P events of all of them, T slots.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from app.event import RECORD, UserHistory
from app.query import Query
from models.episode import Support
from models.interaction import KINDS, RatingScale
from models.library import called, library, place

Rows = NDArray[np.int64]


class Events(NamedTuple):
    """Every event of a batch on an item that is here, by query, and newest last within one."""

    owner: Rows  # (P,), the query's place in the batch
    rows: Rows  # (P,)
    kinds: Rows  # (P,)
    preference: NDArray[np.float32]  # (P,)
    ordered: NDArray[np.bool_]  # (B,), False where the events of a query came in no particular order
    complete: NDArray[np.bool_]  # (B,), False where an event of a query was passed over

    def support(self, places: Sequence[int], length: int) -> Support:
        """The newest `length` events of the queries at these places, (B, T), padded as `episode.pack` pads them."""
        ends = np.cumsum(np.bincount(self.owner, minlength=len(self.ordered)))
        counts = np.diff(ends, prepend=0)[places]
        T = max(1, min(length, int(counts.max(initial=0))))
        slots = np.arange(T)
        mask = slots >= T - counts[:, None]
        at = np.where(mask, ends[places, None] - T + slots, -1)  # the last place is for empty slots
        padded = (
            np.append(column, np.zeros(1, column.dtype))[at] for column in (self.rows, self.kinds, self.preference)
        )
        return Support(*map(torch.from_numpy, (*padded, mask, self.ordered[places])))


def rows_of_handles(rows: Mapping[str, int], handles: Mapping[str, int]) -> Rows:
    """An item's row at the place of its lasting number, -1 where it has none; the last place stands for all beyond."""
    numbers = {handles[item]: row for item, row in rows.items() if item in handles}
    table = np.full(max(numbers, default=-1) + 2, -1, np.int64)
    table[list(numbers.keys())] = list(numbers.values())
    return table


def decode(
    queries: Sequence[Query],
    histories: Sequence[UserHistory | None],
    row_of_handle: Rows,
    row_of_item: Mapping[str, int],
    scale: RatingScale,
) -> Events:
    """What the queries' histories say, stored or given inline.

    An event on an item that is not here is passed over, and so is a stored one of a kind nobody knows.

    Args:
        histories: each query's stored history, None where there is none to read.
        row_of_handle: an item's row at the place of its handle, -1 for none; the last place stands for all beyond.
    Raises:
        ValueError: a stored history is damaged.
    """
    size = RECORD.itemsize
    stored = [
        history.packed if history is not None and query.stored else b"" for query, history in _pairs(queries, histories)
    ]
    counts = np.array([len(packed) // size for packed in stored], np.int64)
    packed = b"".join(stored)
    if len(packed) != size * counts.sum():
        raise ValueError(f"a stored history is not of whole records, of {size} bytes each")
    apart = _apart_compiled if _compiled() else _apart
    owner, rows, kinds, values, ordered, complete = apart(packed, counts, row_of_handle)
    inline = [(at, query.history) for at, query in enumerate(queries) if query.history is not None]
    if inline:
        given_rows = [row_of_item.get(item, -1) for _, given in inline for item in given.items]
        owner = np.concatenate([owner, *(np.full(len(given.items), at) for at, given in inline)])
        rows = np.concatenate([rows, np.array(given_rows, np.int64)])
        kinds = np.concatenate([kinds, *(np.asarray(given.kinds, np.int64) for _, given in inline)])
        values = np.concatenate([values, *(np.asarray(given.values, np.float32) for _, given in inline)])
        complete[owner[rows < 0]] = False
        order = np.argsort(owner, kind="stable")
        order = order[rows[order] >= 0]
        owner, rows, kinds, values = owner[order], rows[order], kinds[order], values[order]
    return Events(owner, rows, kinds, scale.preference(kinds, values), ordered, complete)


class _Columns(NamedTuple):
    """Stored events; see Events."""

    owner: Rows
    rows: Rows
    kinds: Rows
    values: NDArray[np.float32]  # (P,), NaN where there is none
    ordered: NDArray[np.bool_]
    complete: NDArray[np.bool_]


@cache
def _compiled() -> bool:
    return library() is not None and sys.byteorder == "little"


def _apart_compiled(packed: bytes, counts: Rows, row_of_handle: Rows) -> _Columns:
    """The records of B users, `counts` (B,) of each, taken apart in a single call."""
    B, P = len(counts), len(packed) // RECORD.itemsize
    whole, values, marks = np.empty((3, P), np.int64), np.empty(P, np.float32), np.empty((2, B), np.bool_)
    found = np.empty(1, np.int64)
    called(
        "innerloop_decode",
        packed, B, place(counts), place(row_of_handle), len(row_of_handle) - 1, len(KINDS), *map(place, whole),
        place(values), *map(place, marks), place(found),
    )  # fmt: skip
    owner, rows, kinds = whole[:, : found[0]]
    return _Columns(owner, rows, kinds, values[: len(owner)], *marks)


def _apart(packed: bytes, counts: Rows, row_of_handle: Rows) -> _Columns:
    """The same in more steps."""
    records = np.frombuffer(packed, RECORD)
    owner = np.repeat(np.arange(len(counts)), counts)
    rows = row_of_handle[np.minimum(records["handle"], len(row_of_handle) - 1)]
    kinds, values = records["kind"].astype(np.int64), records["value"]
    here = (rows >= 0) & (kinds < len(KINDS))
    complete = np.ones(len(counts), np.bool_)
    complete[owner[~here]] = False
    return _Columns(owner[here], rows[here], kinds[here], values[here], _ordered(records["time"], counts), complete)


def _pairs(queries: Sequence[Query], histories: Sequence[UserHistory | None]) -> zip[tuple[Query, UserHistory | None]]:
    return zip(queries, histories, strict=True)


def _ordered(times: NDArray[np.float64], counts: Rows) -> NDArray[np.bool_]:
    """`app.event.in_order` for each of the B runs of `counts`, (B,), in `times`."""
    ends = counts.cumsum()
    changed = (times[1:] != times[:-1]).nonzero()[0] + 1  # the places of another time than that before
    within = changed.searchsorted(ends) - changed.searchsorted(ends - counts + 1)
    ordered: NDArray[np.bool_] = (within > 0) | (counts < 2)
    return ordered
