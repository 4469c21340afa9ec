"""How long a batch takes by compiled calls, about: whether it is worth handing over to another thread."""

from __future__ import annotations

from collections.abc import Sequence

from app.adapting import Trail, Vector
from app.event import RECORD, UserHistory
from app.query import Query
from models.learner import LearnerConfig

BATCH, QUERY = 150e-6, 2e-6
USER = 4e-6
EVENT, LED = 1.8e-6, 0.4e-6
ITEM = 6e-9
NAMED = 0.1e-6
"""Seconds, measured on a core with AVX-512 with a learner of width and rank 64: of a batch and of each query; of a user
who is adapted to; of an event, from nothing and where a trail leads up to the newest; of reading an item; of an item
that a query names. What other widths and ranks cost is in between these (measured at 16 and 384, and at 128): the
blocks' maps go with the square of the width, vectors with the rank."""


def effort(
    queries: Sequence[Query],
    histories: Sequence[UserHistory | None],
    known: Sequence[Vector | None],
    trails: Sequence[Trail | None],
    items: int,
    config: LearnerConfig,
    score: float,
) -> float:
    """Seconds, about, that `Served.compute` takes with these, of a learner with `items` items.

    `score`: seconds that the index takes for one of them and one query more, of 64 components.
    """
    B = len(queries)
    size = config.rank / 64
    slower = 0.85 * (config.width / 64) ** 2 + 0.15 * size
    seconds = BATCH + B * QUERY + items * size * (ITEM + B * score)
    for query, history, vector, trail in zip(queries, histories, known, trails, strict=True):
        events = 0
        if query.history is not None:
            events = len(query.history.items)
        elif history is not None and vector is None:
            events = len(history.packed) // RECORD.itemsize
        if events:
            seconds += slower * (USER + (EVENT if trail is None else LED) * min(events, config.length))
        if not query.plain:
            seconds += NAMED * (len(query.exclude) + len(query.candidates or ()))
            if query.candidates is not None or query.categories is not None:
                seconds += NAMED * items
    return seconds
