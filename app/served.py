"""One snapshot and the catalogue as of now, ready to answer. No Redis, no clock, and never changed once made.

Rows are the snapshot's items, then the new ones put since.

Letters: B queries, N rows, M of them new, C content width, d item width.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from app.adapting import Adapting, Trail, Vector
from app.effort import effort
from app.event import UserHistory
from app.names import Names, end
from app.query import FOUND, Answer, Entry, Query, Source
from app.support import Events, Rows, decode, rows_of_handles
from models.index import Barred, Index
from models.indexes import index_for
from models.interaction import RatingScale
from models.item import Item
from models.learner import Learner
from models.panels import Panels
from models.snapshot import POPULARITY, Manifest, Snapshot

QUICK = 2e-3
"""Seconds that the event loop may spend on a batch itself. Under load another thread takes up to 5 ms longer to win the
interpreter back again and again, meanwhile more come to wait, and their batch takes longer still."""

UNKNOWN = -1
"""The version of a catalogue that could not be read."""


class Outcome(NamedTuple):
    """What came of a batch."""

    answers: list[Answer]
    vectors: list[Vector | None]  # (d,) of each query's user, None where nobody was adapted to
    complete: list[bool]  # whether a vector is made of the whole history, and of nothing but the snapshot's items
    trails: list[Trail | None]  # what a next event goes on from, where it can


class Served:
    """Answers batches of queries. After a change to the catalogue, `renewed` makes the next one."""

    def __init__(
        self,
        learner: Learner,
        snapshot: Snapshot,
        put: Collection[Entry] = (),
        handles: Mapping[str, int] | None = None,
        catalogue_version: int = UNKNOWN,
        expected: Mapping[str, Tensor] | None = None,
        adapting: Adapting | None = None,
    ) -> None:
        """Args:
        learner: restored from `snapshot`, on the device that is to answer.
        put: every item that was put; it has the last word on titles, categories and availability.
        handles: the lasting number of each item that a stored history may name.
        catalogue_version: the state of the catalogue that `put` and `handles` are.
        expected: what this learner expects of some texts, (d + 1,) each, where that is known already.
        adapting: this learner's, where it was made already.
        """
        self.learner = learner
        self._adapting = adapting or Adapting(learner)
        self.snapshot = snapshot
        self.catalogue_version = catalogue_version
        self.put = {entry.item.id: entry for entry in put}
        known = {item.id for item in snapshot.items}
        new = [(entry.item, entry.content) for entry in self.put.values() if entry.item.id not in known]
        width = len(learner.words.centre)
        fitting = [(item, content) for item, content in new if content is not None and content.shape == (width,)]
        self.held_back = len(new) - len(fitting)  # their content vectors are not of this snapshot's model
        self.items: tuple[Item, ...] = (
            *(self.put[item.id].item if item.id in self.put else item for item in snapshot.items),
            *(item for item, _ in fitting),
        )
        self.rows = {item.id: row for row, item in enumerate(self.items)}
        self._names = Names([item.id for item in self.items])
        self._row_of_handle = rows_of_handles(self.rows, handles or {})
        self._rows_of_category = _rows_of_category(self.items)
        self._scale = RatingScale(*snapshot.manifest.scale)
        with torch.inference_mode():
            self._expected = self._expect(fitting, expected or {})
            extra = [self._expected[item.said] for item, _ in fitting]
            self._vectors, biases = learner.catalogue(torch.stack(extra) if extra else None)
            available = torch.tensor([item.available for item in self.items]).to(biases.device)
            popularity = torch.cat([snapshot.tensors[POPULARITY], torch.zeros(len(fitting))]).log1p().to(biases)
            none = np.zeros((1, 0), np.int64)
            (self._nothing,) = self._answers(none, none.astype(np.float32), none.sum(1))
            self._prior = self._adapting.prior(self._vectors)
            self._by_taste = self._index(self._vectors, biases, available)
            self._by_likeness = self._likeness(biases, available)
            self._by_popularity = self._index(self._vectors[:, :0], popularity, available)

    @staticmethod
    def _index(vectors: Tensor, biases: Tensor, available: Tensor) -> Index:
        return index_for(vectors, biases.where(available, -torch.inf))

    def _likeness(self, biases: Tensor, available: Tensor) -> Index:
        """By the cosine: where lengths are learned, the product favours long vectors, whatever they are like."""
        if self.learner.config.unit:
            return self._by_taste.unbiased()
        none = torch.zeros_like(biases).where(biases.isfinite(), -torch.inf)
        return self._index(F.normalize(self._vectors, dim=-1), none, available)

    def _expect(
        self, items: Sequence[tuple[Item, NDArray[np.float32]]], known: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """What the learner expects of each of these items' texts; only those that are not `known` are read."""
        said = {item.said: content for item, content in items}
        out = {text: known[text] for text in said if text in known}
        fresh = [text for text in said if text not in out]
        if fresh:
            found = self.learner.expect(fresh, torch.from_numpy(np.stack([said[text] for text in fresh])))
            out |= zip(fresh, found, strict=True)
        return out

    @property
    def manifest(self) -> Manifest:
        return self.snapshot.manifest

    def renewed(self, put: Collection[Entry], handles: Mapping[str, int], catalogue_version: int) -> Served:
        """The same snapshot with the catalogue in another state."""
        return Served(self.learner, self.snapshot, put, handles, catalogue_version, self._expected, self._adapting)

    def quick(
        self,
        queries: Sequence[Query],
        histories: Sequence[UserHistory | None],
        known: Sequence[Vector | None],
        trails: Sequence[Trail | None],
    ) -> bool:
        """Whether `compute` is done with these sooner than another thread would begin."""
        if not (self._adapting.compiled and isinstance(self._by_taste, Panels)):
            return False
        return (
            effort(queries, histories, known, trails, len(self.items), self.learner.config, self._by_taste.score)
            <= QUICK
        )

    def answer(self, queries: Sequence[Query], histories: Sequence[UserHistory | None]) -> list[Answer]:
        """As `compute`, the answers alone."""
        return self.compute(queries, histories, [None] * len(queries)).answers

    def compute(
        self,
        queries: Sequence[Query],
        histories: Sequence[UserHistory | None],
        known: Sequence[Vector | None],
        trails: Sequence[Trail | None] | None = None,
    ) -> Outcome:
        """Answer a batch of B queries at once, each as it would be answered alone.

        Args:
            histories: each query's stored history; None where it was not read: a query that needs it is then degraded.
                An event on an item that is no longer here is passed over.
            known: the vector, (d,), of a query's user where it is at hand for just this history; None to adapt.
            trails: where it is not, the trail of just this history without its newest event, if that is at hand.
        """
        events = decode(queries, histories, self._row_of_handle, self.rows, self._scale)
        groups: dict[str, list[int]] = defaultdict(list)
        for at, query in enumerate(queries):
            if query.like is not None:
                groups["likeness" if query.like in self.rows else "nothing"].append(at)
            else:
                groups["popularity" if query.stored and histories[at] is None else "taste"].append(at)
        answers = [self._nothing] * len(queries)
        vectors: list[Vector | None] = list(known)
        ways: list[Trail | None] = [None] * len(queries) if trails is None else list(trails)
        with torch.inference_mode():
            if group := groups["taste"]:
                unknown = [at for at in group if vectors[at] is None]
                for at in unknown:
                    vectors[at] = self._prior
                self._adapting.adapt(self._vectors, unknown, events, vectors, ways)
                found = bytearray().join([cast(Vector, vectors[at]) for at in group])
                users = torch.frombuffer(found, dtype=torch.float32).view(len(group), -1).to(self._vectors.device)
                self._rank(self._by_taste, users, group, queries, events, answers)
            if group := groups["likeness"]:
                users = F.normalize(self._vectors[[self.rows[str(queries[at].like)] for at in group]], dim=-1)
                self._rank(self._by_likeness, users, group, queries, events, answers)
            if group := groups["popularity"]:
                users = self._vectors.new_zeros(len(group), 0)
                self._rank(self._by_popularity, users, group, queries, events, answers, degraded=True)
        # An item put since the snapshot stands on its text alone, and that may be put again.
        settled = np.bincount(events.owner[events.rows >= len(self.snapshot.items)], minlength=len(queries)) == 0
        complete = events.complete & settled
        if not complete.all():
            ways = [way if whole else None for way, whole in zip(ways, complete, strict=True)]
        return Outcome(answers, vectors, complete.tolist(), ways)

    def warm(self, largest: int) -> None:
        """Answer made-up batches of one and of `largest` queries, so that no real one pays for a first time."""
        for size in (1, largest):
            self.answer([Query()] * size, [None] * size)

    def _rank(
        self,
        index: Index,
        users: Tensor,
        group: Sequence[int],
        queries: Sequence[Query],
        events: Events,
        answers: list[Answer],
        degraded: bool = False,
    ) -> None:
        """Put in the answers of a group. Masks of all rows are made only for those who ask for few of them."""
        masked = [queries[at].candidates is not None or queries[at].categories is not None for at in group]
        for few in (False, True):
            chosen = [number for number, asked in enumerate(masked) if asked is few]
            if not chosen:
                continue
            places = [group[number] for number in chosen]
            asked = [queries[at] for at in places]
            allowed = torch.from_numpy(np.stack([self._allowed(query) for query in asked])) if few else None
            hits = index.search(
                users if len(chosen) == len(users) else users[chosen],
                None if allowed is None else allowed.to(users.device),
                max(query.k for query in asked),
                self._barred(places, asked, events),
            )
            rows = hits.rows.cpu().numpy()
            counts = np.minimum((rows >= 0).sum(1), [query.k for query in asked])
            made = self._answers(rows, hits.scores.cpu().numpy(), counts, degraded)
            for at, answer in zip(places, made, strict=True):
                answers[at] = answer

    def _answers(
        self, rows: Rows, scores: NDArray[np.float32], counts: NDArray[np.int64], degraded: bool = False
    ) -> list[Answer]:
        """Of the first `counts`, (B,), of `rows` and their `scores`, (B, K)."""
        source = Source(self._names, self.snapshot.version, degraded)
        texts = self._names.written(rows, counts, end(source.snapshot, degraded))
        found = np.empty(rows.shape, FOUND)
        found["row"], found["score"] = rows, scores
        packed = found.tobytes()
        begins = np.arange(len(rows)) * (rows.shape[1] * FOUND.itemsize)
        ends = begins + counts * FOUND.itemsize
        return [
            Answer(packed[begin:end], source, text)
            for begin, end, text in zip(begins.tolist(), ends.tolist(), texts, strict=True)
        ]

    def _barred(self, places: Sequence[int], queries: Sequence[Query], events: Events) -> Barred:
        """What each of the queries at these places has seen, and what each does not want."""
        owner, seen = events.owner, events.rows
        if len(places) < len(events.ordered) or any(query.include_seen for query in queries):
            place = np.full(len(events.ordered), -1, np.int64)
            place[places] = [-1 if query.include_seen else at for at, query in enumerate(queries)]
            owner = place[owner]
            owner, seen = owner[owner >= 0], seen[owner >= 0]
        left_out = [(at, query) for at, query in enumerate(queries) if query.exclude or query.like is not None]
        if left_out:
            unwanted = [
                self._rows_of(query.exclude if query.like is None else (*query.exclude, query.like))
                for _, query in left_out
            ]
            named = [np.full(len(rows), at) for (at, _), rows in zip(left_out, unwanted, strict=True)]
            owner, seen = np.concatenate([owner, *named]), np.concatenate([seen, *unwanted])
        device = self._vectors.device
        return Barred(torch.from_numpy(owner).to(device), torch.from_numpy(seen).to(device))

    def _allowed(self, query: Query) -> NDArray[np.bool_]:
        """Which rows a query asks for, (N,)."""
        allowed = np.ones(len(self.items), np.bool_)
        if query.candidates is not None:
            allowed &= self._marked(self._rows_of(query.candidates))
        if query.categories is not None:
            nothing = np.zeros(0, np.int64)
            parts = [self._rows_of_category.get(name, nothing) for name in query.categories]
            allowed &= self._marked(np.concatenate([nothing, *parts]))
        return allowed

    def _marked(self, rows: Rows) -> NDArray[np.bool_]:
        marks = np.zeros(len(self.items), np.bool_)
        marks[rows] = True
        return marks

    def _rows_of(self, ids: Iterable[str]) -> Rows:
        """The rows of those ids that have one."""
        return np.array([row for row in map(self.rows.get, ids) if row is not None], np.int64)


def _rows_of_category(items: Sequence[Item]) -> dict[str, Rows]:
    rows = defaultdict(list)
    for row, item in enumerate(items):
        for category in item.categories:
            rows[category].append(row)
    return {category: np.array(members, np.int64) for category, members in rows.items()}
