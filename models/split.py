"""Who is trained on and what is held out, so that every figure comes from events the learner never saw.

Users fall into three groups by a seeded shuffle: warm users, who train; validation users, who stop the training; and
cold users, who test it. Of each warm user the last event is held out as well, for the leave-one-out protocol.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from models.dataset import Dataset
from models.episode import History


@dataclass(frozen=True, slots=True)
class SplitConfig:
    """How to split. A manifest keeps it, so that an evaluation later holds out the same events."""

    cold: float = 0.1  # share of users kept for the cold-user protocol
    valid: float = 0.1  # share of users kept to stop the training
    last: bool = True  # hold out each warm user's last event
    seed: int = 0
    fold: int = 0  # which share of the users is the cold one; with a share of 1 / K, folds 0 to K - 1 are everyone

    def to_dict(self) -> dict[str, Any]:
        """As a manifest keeps it."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Split:
    """Histories by group. `full` holds the warm users' histories with their last event, in the order of `warm`."""

    warm: list[History]
    full: list[History]
    valid: list[History]
    cold: list[History]


def histories(dataset: Dataset) -> list[History]:
    """Each user's history, oldest event first, in the order of `dataset.interactions.users`.

    Several events that all came at one moment have no order. What is taken of a history is taken to be as the whole is,
    where the service looks at the times of what it has.
    """
    log = dataset.interactions
    preference = dataset.scale.preference(log.kind, log.value)
    item, kind = log.item.astype(np.int64), log.kind.astype(np.int64)
    return [
        History(item[a:b], kind[a:b], preference[a:b], ordered)
        for (a, b), ordered in zip(pairwise(log.bounds()), log.ordered().tolist(), strict=True)
    ]


def split(dataset: Dataset, config: SplitConfig) -> Split:
    """Deal the users into groups. The same data and config always give the same groups."""
    everyone = histories(dataset)
    order = np.random.default_rng(config.seed).permutation(len(everyone))
    order = np.roll(order, -round(config.fold * config.cold * len(order)))
    cold_count, valid_count = _count(config.cold, len(order), config.fold), _count(config.valid, len(order))
    cold = [everyone[user] for user in order[:cold_count]]
    valid = [everyone[user] for user in order[cold_count : cold_count + valid_count]]
    full = [everyone[user] for user in order[cold_count + valid_count :]]
    warm = [history.take(slice(0, -1)) for history in full] if config.last else full
    return Split(warm, full, valid, cold)


def _count(share: float, users: int, fold: int = 0) -> int:
    """That share of the users, in its fold; one at the least where there are enough to go round."""
    first, end = (round(at * share * users) for at in (fold, fold + 1))
    return max(end - first, 1 if share > 0 and users >= 4 else 0)
