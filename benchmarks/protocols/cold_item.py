"""Cold items: nobody touched them in training; their text is all there is.

All users train, on their events with the other items. A tenth of these items is cold too, while training, and chooses
settings. A test's support is the user's events with trained items, its targets the cold items the user took; they are
ranked among all items, and among the cold ones only. The targets lie anywhere among the support's events, before them
or after, so that for what is asked its order means nothing, and it says so.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from benchmarks.corpus import Corpus
from benchmarks.task import CaseSet, Part, Task
from models.episode import History
from models.evaluate import Case

VALIDATING = 0.1
ENOUGH = 1500
"""Users that are enough to choose by; all of them test."""


def parts(corpus: Corpus, cold: NDArray[np.int64]) -> list[Part]:
    """One part; `cold` holds the rows of the cold items."""
    everything = np.arange(corpus.items)
    rest = np.setdiff1d(everything, cold)
    picked = np.random.default_rng(0).permutation(rest)
    validating = np.sort(picked[: round(VALIDATING * len(rest))])
    known = np.setdiff1d(rest, validating)
    trained = np.isin(everything, known)
    train = [history.take(trained[history.rows]) for history in corpus.histories]
    return [
        Part(
            "all users",
            Task(
                corpus,
                train,
                list(asked(corpus.histories, train, validating, np.isin(everything, rest), ENOUGH).values()),
                known,
            ),
            asked(corpus.histories, train, cold, np.isin(everything, np.union1d(known, cold))),
        )
    ]


def asked(
    full: list[History],
    support: list[History],
    cold: NDArray[np.int64],
    candidates: NDArray[np.bool_],
    most: int | None = None,
) -> dict[str, CaseSet]:
    """Users with any of the `cold` rows, `most` of them: among all `candidates`, (N,), and among the cold rows only."""
    cases: list[Case] = []
    users: list[int] = []
    for user in np.random.default_rng(0).permutation(len(full)).tolist():
        if len(users) == most:
            break
        history, known = full[user], support[user]
        taken = np.unique(history.rows[np.isin(history.rows, cold)]).astype(np.int64)
        if len(taken) and len(known.rows):
            cases.append(Case(known._replace(ordered=False), taken))
            users.append(user)
    only = np.isin(np.arange(len(candidates)), cold)
    return {"among all items": CaseSet(cases, users, candidates), "among cold items": CaseSet(cases, users, only)}
