"""Refreshing: what fresh histories change at once, in closed form, a few meta-steps, and the gate.

Users with fresh events are dealt into teachers and judges. From the teachers' events comes a candidate whose biases
follow the trend (`models.trend`) and whose items begin again from more interactions (`models.renewal`), both in closed
form; unless none are wanted, a second one takes a few meta-steps on the teachers' newest windows, with a replay sample
beside them so as not to forget. Where the recipe says so, as it does of many users with long histories, there is one
candidate instead, which goes on with the training (`models.lesson`). The judges' fresh events, which no candidate has
seen, tell the likelier one, and whether it is worse than what is served: then it is never published. Who judged
teaches at the next refresh.

Why whole users: nobody is recommended what they took, so a user's own events speak against the trend they made.

Letters: N items, M new items, C content width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.evaluate import Case, LearnerRanker
from models.fresh import Fresh
from models.gate import Verdict, judge, measure
from models.item import Item
from models.learner import Learner
from models.lesson import Lesson, Stopped, grown
from models.meta import OuterConfig
from models.recipe import count_popularity
from models.snapshot import POPULARITY, Snapshot

__all__ = ["PATIENCE", "Fresh", "RefreshConfig", "Refreshed", "Stopped", "Verdict", "catalogue_of", "refresh"]

PATIENCE = 10
"""Times the events of one refresh that may wait, refused or too few to judge by, before they are given up."""


@dataclass(frozen=True, slots=True)
class RefreshConfig:
    """How a refresh runs and when its outcome is good enough."""

    meta_steps: int = 12  # half as many, of whole batches, where a training goes on
    batch: float = 0.25  # of a batch of the training, what such a step takes else: windows, and positions scored
    cases: int = 20  # held-out events needed for a verdict
    enough: int = 100  # held-out events beyond which no more judges are called
    each: int = 20  # events of a judge at most, the newest
    tolerance: float = 1.0  # what NDCG@10 may lose to chance, in standard errors of the difference
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Refreshed:
    """The verdict, and what to publish if it is favourable."""

    verdict: Verdict
    tensors: dict[str, Tensor]
    items: tuple[Item, ...]
    judges: frozenset[int] = frozenset()  # the places of those whose fresh events it has yet to learn from


def catalogue_of(snapshot: Snapshot, put: Sequence[tuple[Item, NDArray[np.float32] | None]]) -> tuple[Item, ...]:
    """The snapshot's items as they were last put, then the new ones that have a content vector: rows in this order."""
    latest = {item.id: item for item, _ in put}
    known = {item.id for item in snapshot.items}
    new = [item for item, content in put if item.id not in known and content is not None]
    return (*(latest.get(item.id, item) for item in snapshot.items), *new)


def refresh(
    snapshot: Snapshot,
    fresh: Sequence[Fresh],
    items: tuple[Item, ...],
    content: Mapping[str, NDArray[np.float32]],
    config: RefreshConfig,
    stop: Callable[[], bool] = lambda: False,
) -> Refreshed:
    """Make candidates from fresh events and judge the likeliest against the learner of `snapshot`.

    Args:
        snapshot: what is served now.
        fresh: the users with new events, the newest event last; rows count `items`.
        items: the catalogue as `catalogue_of` gives it.
        content: content vectors, (C,) each, of the items beyond the snapshot's, by id.
        stop: asked between meta-steps.
    Raises:
        Stopped: `stop` said so.
    """
    teachers, judges, cases = deal(fresh, config)
    if len(cases) < config.cases or not teachers:
        reason = f"{len(cases)} held-out events are too few to judge by; {config.cases} are needed"
        if not teachers:
            reason = "there is nobody to learn from beside those who judge"
        return Refreshed(Verdict(False, reason, len(cases)), {}, items)
    new = items[len(snapshot.items) :]
    current = Learner.restore(snapshot)
    if new:
        vectors = torch.from_numpy(np.stack([content[item.id] for item in new]))
        current = current.grown(current.expect([item.said for item in new], vectors))
    popularity = grown(snapshot.tensors[POPULARITY], len(items))
    popularity += count_popularity([one.events() for one in teachers], len(items))
    outer = replace(OuterConfig(**snapshot.manifest.config["outer"]), seed=config.seed)
    lesson = Lesson(snapshot.tensors, teachers, popularity, outer, config.meta_steps, config.batch, stop)
    candidates, kept = lesson.candidates(current)

    now, *measured = (measure(_scores(learner, cases), cases) for learner in (current, *candidates))
    best = max(range(len(candidates)), key=lambda at: np.nan_to_num(measured[at].likelihood.mean(), nan=-np.inf))
    verdict = judge(now, measured[best], config.tolerance)
    replay = {name: tensor for name, tensor in snapshot.tensors.items() if name.startswith("replay.")}
    return Refreshed(verdict, candidates[best].tensors() | replay | kept, items, judges)


def deal(fresh: Sequence[Fresh], config: RefreshConfig) -> tuple[list[Fresh], frozenset[int], list[Case]]:
    """Teachers, the judges' places and cases: at random half of the users judge, or fewer where these are enough."""
    teachers: list[Fresh] = []
    judges: list[int] = []
    cases: list[Case] = []
    for at in np.random.default_rng(config.seed).permutation(len(fresh)).tolist():
        found = [] if fresh[at].judged else fresh[at].cases(config.each)
        if found and len(judges) <= len(teachers) and len(cases) < config.enough:
            judges.append(at)
            cases += found
        else:
            teachers.append(fresh[at])
    return teachers, frozenset(judges), cases


def _scores(learner: Learner, cases: Sequence[Case]) -> NDArray[np.float32]:
    return LearnerRanker(learner).scores([case.support for case in cases])
