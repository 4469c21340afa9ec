"""One snapshot and the catalogue as of now, ready to answer. No Redis, no clock, and never changed once made.

Rows are the snapshot's items, then the new ones put since.

Letters: B queries, N rows, M of them new, C content width, d item width.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from app.event import in_order
from app.query import Answer, Entry, Query, Records
from models.episode import History, pack
from models.index import Exact, Index
from models.interaction import KINDS, RatingScale
from models.item import Item
from models.learner import Learner
from models.snapshot import CONTENT, POPULARITY, Manifest, Snapshot

UNKNOWN = -1
"""The version of a catalogue that could not be read."""

Rows = NDArray[np.int64]


class Served:
    """Answers batches of queries. After a change to the catalogue, `renewed` makes the next one."""

    def __init__(
        self,
        learner: Learner,
        snapshot: Snapshot,
        put: Collection[Entry] = (),
        handles: Mapping[str, int] | None = None,
        catalogue_version: int = UNKNOWN,
    ) -> None:
        """Args:
        learner: restored from `snapshot`, on the device that is to answer.
        put: every item that was put; it has the last word on titles, categories and availability.
        handles: the lasting number of each item that a stored history may name.
        catalogue_version: the state of the catalogue that `put` and `handles` are.
        """
        self.learner = learner
        self.snapshot = snapshot
        self.catalogue_version = catalogue_version
        self.put = {entry.item.id: entry for entry in put}
        known = {item.id for item in snapshot.items}
        new = [(entry.item, entry.content) for entry in self.put.values() if entry.item.id not in known]
        width = snapshot.tensors[CONTENT].shape[1]
        fitting = [(item, content) for item, content in new if content is not None and content.shape == (width,)]
        self.held_back = len(new) - len(fitting)  # their content vectors are not of this snapshot's model
        self.items: tuple[Item, ...] = (
            *(self.put[item.id].item if item.id in self.put else item for item in snapshot.items),
            *(item for item, _ in fitting),
        )
        self.rows = {item.id: row for row, item in enumerate(self.items)}
        self._row_of_handle = _row_of_handle(self.rows, handles or {})
        self._available = np.array([item.available for item in self.items], np.bool_)
        self._rows_of_category = _rows_of_category(self.items)
        self._scale = RatingScale(*snapshot.manifest.scale)
        with torch.inference_mode():
            extra = torch.from_numpy(np.stack([content for _, content in fitting])) if fitting else None
            self._vectors, biases = learner.catalogue(extra)
            popularity = torch.cat([snapshot.tensors[POPULARITY], torch.zeros(len(fitting))]).log1p().to(biases)
            self._by_taste: Index = Exact(self._vectors, biases)
            self._by_likeness: Index = Exact(self._vectors, torch.zeros_like(biases))
            self._by_popularity: Index = Exact(self._vectors[:, :0], popularity)

    @property
    def manifest(self) -> Manifest:
        return self.snapshot.manifest

    def renewed(self, put: Collection[Entry], handles: Mapping[str, int], catalogue_version: int) -> Served:
        """The same snapshot with the catalogue in another state."""
        return Served(self.learner, self.snapshot, put, handles, catalogue_version)

    def answer(self, queries: Sequence[Query], records: Sequence[Records | None]) -> list[Answer]:
        """Answer a batch of B queries at once, each as it would be answered alone.

        Args:
            records: each query's stored history; None where it was not read: a query that needs it is then degraded.
                An event on an item that is no longer here is passed over.
        """
        histories = self._histories(queries, records)
        groups: dict[str, list[int]] = defaultdict(list)
        for at, query in enumerate(queries):
            if query.like is not None:
                groups["likeness" if query.like in self.rows else "nothing"].append(at)
            else:
                groups["popularity" if query.stored and records[at] is None else "taste"].append(at)
        answers = {at: Answer([], [], self.snapshot.version) for at in groups["nothing"]}
        with torch.inference_mode():
            if group := groups["taste"]:
                support = pack([histories[at] for at in group], self.learner.config.length)
                users = self.learner.user_vectors(self._vectors, support.to(self._vectors.device))
                # A vector that is not finite would make every score so; zero leaves the biases.
                users = users.where(users.isfinite().all(-1, keepdim=True), 0.0)
                answers |= self._ranked(self._by_taste, users, group, queries, histories)
            if group := groups["likeness"]:
                users = self._vectors[[self.rows[str(queries[at].like)] for at in group]]
                answers |= self._ranked(self._by_likeness, users, group, queries, histories)
            if group := groups["popularity"]:
                users = self._vectors.new_zeros(len(group), 0)
                answers |= self._ranked(self._by_popularity, users, group, queries, histories, degraded=True)
        return [answers[at] for at in range(len(queries))]

    def warm(self, largest: int) -> None:
        """Answer made-up batches of one and of `largest` queries, so that no real one pays for a first time."""
        for size in (1, largest):
            self.answer([Query()] * size, [None] * size)

    def _ranked(
        self,
        index: Index,
        users: Tensor,
        group: Sequence[int],
        queries: Sequence[Query],
        histories: Sequence[History],
        degraded: bool = False,
    ) -> dict[int, Answer]:
        allowed = torch.from_numpy(np.stack([self._allowed(queries[at], histories[at]) for at in group]))
        hits = index.search(users, allowed.to(users.device), max(queries[at].k for at in group))
        answers = {}
        for at, rows, scores in zip(group, hits.rows.tolist(), hits.scores.tolist(), strict=True):
            found = [row for row in rows[: queries[at].k] if row >= 0]
            items = [self.items[row].id for row in found]
            answers[at] = Answer(items, scores[: len(found)], self.snapshot.version, degraded)
        return answers

    def _allowed(self, query: Query, history: History) -> NDArray[np.bool_]:
        """Which rows may answer, (N,)."""
        allowed = self._available.copy()
        if query.candidates is not None:
            allowed &= self._marked(self._rows_of(query.candidates))
        if query.categories is not None:
            nothing = np.zeros(0, np.int64)
            parts = [self._rows_of_category.get(name, nothing) for name in query.categories]
            allowed &= self._marked(np.concatenate([nothing, *parts]))
        if not query.include_seen:
            allowed[history.rows] = False
        allowed[self._rows_of(query.exclude)] = False
        if query.like is not None:
            allowed[self.rows[query.like]] = False
        return allowed

    def _marked(self, rows: Rows) -> NDArray[np.bool_]:
        marks = np.zeros(len(self.items), np.bool_)
        marks[rows] = True
        return marks

    def _rows_of(self, ids: Iterable[str]) -> Rows:
        """The rows of those ids that have one."""
        return np.array([row for row in map(self.rows.get, ids) if row is not None], np.int64)

    def _histories(self, queries: Sequence[Query], records: Sequence[Records | None]) -> list[History]:
        """Each query's events on items that are here; all of the batch in a handful of array operations."""
        rows, kinds, values, ordered = [], [], [], []
        for query, stored in zip(queries, records, strict=True):
            if query.history is not None:
                rows.append(np.array([self.rows.get(item, -1) for item in query.history.items], np.int64))
                kinds.append(np.asarray(query.history.kinds, np.int64))
                values.append(np.asarray(query.history.values, np.float32))
                ordered.append(True)
            elif query.stored and stored is not None:
                rows.append(self._row_of_handle[np.minimum(stored["handle"], len(self._row_of_handle) - 1)])
                kinds.append(stored["kind"].astype(np.int64))
                values.append(stored["value"])
                ordered.append(in_order(stored["time"]))
            else:
                rows.append(np.zeros(0, np.int64))
                kinds.append(np.zeros(0, np.int64))
                values.append(np.zeros(0, np.float32))
                ordered.append(True)
        preference = self._scale.preference(np.concatenate(kinds), np.concatenate(values))
        ends = np.cumsum([len(part) for part in rows])[:-1]
        histories = []
        for row, kind, liking, order in zip(rows, kinds, np.split(preference, ends), ordered, strict=True):
            here = (row >= 0) & (kind < len(KINDS))
            histories.append(History(row[here], kind[here], liking[here], order))
        return histories


def _row_of_handle(rows: Mapping[str, int], handles: Mapping[str, int]) -> Rows:
    """An item's row at the place of its lasting number, -1 where it has none; the last place stands for all beyond."""
    numbers = {handles[item]: row for item, row in rows.items() if item in handles}
    table = np.full(max(numbers, default=-1) + 2, -1, np.int64)
    table[list(numbers.keys())] = list(numbers.values())
    return table


def _rows_of_category(items: Sequence[Item]) -> dict[str, Rows]:
    rows = defaultdict(list)
    for row, item in enumerate(items):
        for category in item.categories:
            rows[category].append(row)
    return {category: np.array(members, np.int64) for category, members in rows.items()}
