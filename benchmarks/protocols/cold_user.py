"""Cold users: never trained on. k of their events are the support, the next 10 the targets.

Some users are kept to choose settings and to stop training. The others test: those of a list, in a single part; or all
of them, each once, in folds, which takes most of the noise out of small data. The settings are searched while the first
fold is out: the users that choose them are in no fold, so that no test has a say.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks.corpus import Corpus
from benchmarks.task import CaseSet, Part, Task
from models.evaluate import cold_user

VALIDATING = 0.1
"""The share of the users that are not on a list of cold ones, kept to choose settings by."""
QUERY = 10


def parts(corpus: Corpus, shots: Sequence[int], draws: int, folds: int, cold: NDArray[np.int64] | None) -> list[Part]:
    """One part for a list of `cold` users, else `folds` parts.

    Args:
        shots: the sizes of support to test with.
        draws: random supports a user.
        folds: 1 for a single split, with a tenth of the users cold.
    """
    validating, groups = deal(len(corpus.histories), folds, cold)
    validation = list(asked(corpus, validating, [k for k in shots if k > 0], draws).values())
    out = []
    for number, group in enumerate(groups, 1):
        away = {*group.tolist(), *validating.tolist()}
        train = [history for user, history in enumerate(corpus.histories) if user not in away]
        task = Task(corpus, train, validation, np.arange(corpus.items))
        name = f"fold {number}/{len(groups)}" if len(groups) > 1 else "single split"
        out.append(Part(name, task, asked(corpus, group, shots, draws)))
    return out


def deal(
    users: int, folds: int, cold: NDArray[np.int64] | None = None
) -> tuple[NDArray[np.int64], list[NDArray[np.int64]]]:
    """The validating users, and the folds of the cold ones: disjoint, and with several folds covering all others."""
    order = np.random.default_rng(0).permutation(users)
    if cold is not None:
        warm = order[~np.isin(order, cold)]
        return np.sort(warm[: round(VALIDATING * len(warm))]), [cold]
    count = round(VALIDATING * users)
    rest = order[count:]
    groups = np.array_split(rest, folds) if folds > 1 else [rest[:count]]
    return np.sort(order[:count]), [np.sort(group) for group in groups]


def asked(corpus: Corpus, users: NDArray[np.int64], shots: Sequence[int], draws: int) -> dict[str, CaseSet]:
    """A test for each order and number of shots; users with too few events are in those they have enough for."""
    out = {}
    for order in ("time", "random"):
        for k in shots:
            found = [
                (case, int(user))
                for user in users
                for case in cold_user(
                    [corpus.histories[user]], k, order=order, query=QUERY, seed=int(user), draws=draws
                )
            ]
            if found:
                out[f"{order} {k}"] = CaseSet([case for case, _ in found], [user for _, user in found])
    return out
