"""A log as it came in: all events in the order of time, what was known before any of them, and the cases of a period.

Letters: E events, M items met so far.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from benchmarks.corpus import Corpus
from benchmarks.task import CaseSet
from models.dataset import Dataset
from models.episode import History
from models.evaluate import Case

KEPT = 200
"""The newest events of a user that the service keeps."""


class Stream:
    """The corpus's events by time; rows number items by their first event: the first M items are those met so far."""

    def __init__(self, corpus: Corpus) -> None:
        log = corpus.dataset.interactions
        order = np.lexsort((np.arange(len(log)), log.time))
        place = np.empty(len(order), np.int64)
        place[order] = np.arange(len(order))
        self.corpus = corpus
        self.user, self.item = log.user[order].astype(np.int64), log.item[order].astype(np.int64)
        self.met = np.maximum.accumulate(self.item) + 1  # (E,): M, the event included
        self.places = np.split(place, log.bounds()[1:-1])  # of each user's events, ascending

    def __len__(self) -> int:
        return len(self.user)

    def before(self, event: int) -> Dataset:
        """The data set of all that came before an event, of the users and items met by then."""
        dataset = self.corpus.dataset
        log = dataset.interactions
        keep = np.concatenate([places < event for places in self.places])
        users, user = np.unique(log.user[keep], return_inverse=True)
        known = self.items_before(event)
        columns = replace(
            log.where(keep),
            user=user.astype(np.int32),
            users=tuple(log.users[one] for one in users),
            items=log.items[:known],
        )
        return replace(dataset, interactions=columns, items=dataset.items[:known])

    def items_before(self, event: int) -> int:
        """M before an event."""
        return int(self.met[event - 1]) if event else 0

    def history(self, user: int, event: int) -> History:
        """The user's newest events before an event."""
        count = int(np.searchsorted(self.places[user], event))
        return self.corpus.histories[user].take(slice(max(count - KEPT, 0), count))

    def cases(self, start: int, end: int, most: int) -> CaseSet:
        """Events from `start` to `end` that speak for an item new to a user with a history; `most` of them, drawn.

        The history holds what came just before the event, within the period too: the service reads every write.
        """
        found = []
        for event in np.random.default_rng(start).permutation(np.arange(start, end)).tolist():
            user, row = int(self.user[event]), int(self.item[event])
            at = int(np.searchsorted(self.places[user], event))
            whole = self.corpus.histories[user]
            if at and whole.preference[at] > 0 and row not in whole.rows[:at]:
                found.append((Case(self.history(user, event), np.array([row])), user))
            if len(found) == most:
                break
        return CaseSet([case for case, _ in found], [user for _, user in found])
