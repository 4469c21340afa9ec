"""Refreshing: a few meta-steps on fresh histories, and the gate that decides whether the outcome is served.

Of each user with fresh events the newest is held out. The candidate trains on what lies before it, rehearsing a replay
sample so as not to forget; then the candidate and the current learner rank the same held-out events, which neither was
trained on. A candidate that is worse is never published.

Letters: N items, M new items, C content width.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.episode import History, windows
from models.evaluate import Case, LearnerRanker, evaluate, leave_one_out
from models.item import Item
from models.learner import Learner
from models.meta import OuterConfig, OuterLoop
from models.recipe import count_kinds
from models.replay import read_replay
from models.snapshot import POPULARITY, Snapshot


@dataclass(frozen=True, slots=True)
class RefreshConfig:
    """How a refresh runs and when its outcome is good enough."""

    meta_steps: int = 30
    rate: float = 0.25  # of the rate the snapshot was trained with
    tolerance: float = 0.01  # the share of the current NDCG@10 a candidate may lose to chance
    cases: int = 20  # held-out events needed for a verdict
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the gate found. Higher is better in all figures; `likelihood` is the mean log-probability of the events."""

    publish: bool
    reason: str
    cases: int
    current: float = 0.0  # NDCG@10
    candidate: float = 0.0
    current_likelihood: float = 0.0
    candidate_likelihood: float = 0.0


@dataclass(frozen=True, slots=True)
class Refreshed:
    """The verdict, and what to publish if it is favourable."""

    verdict: Verdict
    tensors: dict[str, Tensor]
    items: tuple[Item, ...]


class Stopped(Exception):
    """The refresh was told to stop; nothing came of it."""


def catalogue_of(snapshot: Snapshot, put: Sequence[tuple[Item, NDArray[np.float32] | None]]) -> tuple[Item, ...]:
    """The snapshot's items as they were last put, then the new ones that have a content vector: rows in this order."""
    latest = {item.id: item for item, _ in put}
    known = {item.id for item in snapshot.items}
    new = [item for item, content in put if item.id not in known and content is not None]
    return (*(latest.get(item.id, item) for item in snapshot.items), *new)


def refresh(
    snapshot: Snapshot,
    fresh: Sequence[History],
    items: tuple[Item, ...],
    content: Mapping[str, NDArray[np.float32]],
    config: RefreshConfig,
    stop: Callable[[], bool] = lambda: False,
) -> Refreshed:
    """Train a candidate on fresh histories and judge it against the learner of `snapshot`.

    Args:
        snapshot: what is served now.
        fresh: histories of users with new events, the newest event last; rows count `items`.
        items: the catalogue as `catalogue_of` gives it.
        content: content vectors, (C,) each, of the items beyond the snapshot's, by id.
        stop: asked between meta-steps.
    Raises:
        Stopped: `stop` said so.
    """
    new = items[len(snapshot.items) :]
    current = Learner.restore(snapshot)
    if new:
        vectors = torch.from_numpy(np.stack([content[item.id] for item in new]))
        current = current.grown(current.expect([item.said for item in new], vectors))
    cases = [case for case, history in _newest(fresh) if history.preference[-1] > 0]
    popularity = _count(snapshot, fresh, len(items))
    if len(cases) < config.cases:
        reason = f"{len(cases)} held-out events are too few to judge by; {config.cases} are needed"
        return Refreshed(Verdict(False, reason, len(cases)), {}, items)
    candidate = copy.deepcopy(current)
    candidate.meet(count_kinds(fresh))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)  # dropout draws from the global generator
        _train(candidate, snapshot, fresh, popularity, config, stop)
    verdict = judge(current, candidate.eval(), cases, config.tolerance)
    replay = {name: tensor for name, tensor in snapshot.tensors.items() if name.startswith("replay.")}
    return Refreshed(verdict, candidate.tensors() | replay | {POPULARITY: popularity}, items)


def judge(current: Learner, candidate: Learner, cases: Sequence[Case], tolerance: float) -> Verdict:
    """Rank the same events with both; the candidate must be no worse by NDCG@10 and by likelihood."""
    before, after = (evaluate(LearnerRanker(learner), cases, [10])["NDCG@10"] for learner in (current, candidate))
    was, now = _likelihood(current, cases), _likelihood(candidate, cases)
    figures = (
        f"NDCG@10 {before:.4f} -> {after:.4f}, log-likelihood {was:.3f} -> {now:.3f} on {len(cases)} unseen events"
    )
    if not np.isfinite(now):
        return Verdict(False, f"the candidate's scores are not finite: {figures}", len(cases), before, after, was, now)
    worse = after < before * (1 - tolerance) or now < was
    reason = f"the candidate is {'worse' if worse else 'no worse'}: {figures}"
    return Verdict(not worse, reason, len(cases), before, after, was, now)


def _newest(fresh: Sequence[History]) -> list[tuple[Case, History]]:
    """Each user's newest event as a case, where it can be ranked."""
    return [(cases[0], history) for history in fresh if (cases := leave_one_out([history]))]


def _train(
    candidate: Learner,
    snapshot: Snapshot,
    fresh: Sequence[History],
    popularity: Tensor,
    config: RefreshConfig,
    stop: Callable[[], bool],
) -> None:
    outer = OuterConfig(**snapshot.manifest.config["outer"])
    loop = OuterLoop(candidate, replace(outer, rate=outer.rate * config.rate, seed=config.seed), popularity)
    known = [history.take(slice(0, -1)) for history in fresh]
    replay = read_replay(snapshot.tensors)
    chosen = loop.rng.permutation(len(replay))[: max(len(known), loop.config.batch_size)]
    histories = [*known, *(replay[at] for at in chosen)]
    candidate.train()
    done = 0
    length, size = candidate.config.length, loop.config.batch_size
    while done < config.meta_steps:
        before = done
        for batch in windows(histories, length, size, loop.config.shuffled, loop.rng):
            if stop():
                raise Stopped
            loop.meta_step(batch)
            done += 1
            if done == config.meta_steps:
                break
        if done == before:
            break
    candidate.load_state_dict(loop.average, strict=False)  # steadier than where the last few batches left it


def _count(snapshot: Snapshot, fresh: Sequence[History], items: int) -> Tensor:
    """The snapshot's popularity, (N + M,), with each fresh user's newest event counted."""
    popularity = torch.zeros(items)
    popularity[: len(snapshot.items)] = snapshot.tensors[POPULARITY]
    rows = torch.from_numpy(np.array([history.rows[-1] for history in fresh if len(history.rows)], np.int64))
    return popularity + torch.bincount(rows, minlength=items)


def _likelihood(learner: Learner, cases: Sequence[Case]) -> float:
    """The mean log-probability of the targets under the softmax over all items."""
    scores = torch.from_numpy(LearnerRanker(learner).scores([case.support for case in cases]))
    targets = torch.tensor([int(case.targets[0]) for case in cases])
    return float(torch.log_softmax(scores, -1)[torch.arange(len(cases)), targets].mean())
