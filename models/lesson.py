"""A lesson: what a refresh makes of its teachers, in closed form and some meta-steps, or going on with the training.

Going on takes what a training has at its end and parameters alone have not: AdamW's moments, which tell where a
parameter was going and how far it may be moved, and a running average. Without these a refresh's few steps move all
parameters alike, and its last ones cost about what they teach (docs/experiments.md).

Letters: N items, with those that are new.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from models.episode import History, Support, windows
from models.fresh import Fresh
from models.learner import Learner
from models.meta import OuterConfig, OuterLoop
from models.recipe import FACTOR, TAKERS, count_kinds, count_popularity
from models.renewal import renew
from models.replay import read_replay
from models.snapshot import POPULARITY
from models.trend import Trend

Kept = dict[str, Tensor]
"""What the snapshot that comes of a lesson keeps beside its learner and replay."""
AVERAGING = 0.9
"""How much of the average a meta-step keeps where a training goes on: a refresh takes few."""


class Stopped(Exception):
    """The refresh was told to stop; nothing came of it."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """Who teaches, and how."""

    tensors: dict[str, Tensor]  # of the snapshot that is to learn
    teachers: Sequence[Fresh]
    popularity: Tensor  # (N,), the teachers' fresh events included
    outer: OuterConfig  # of the training, with a seed for this lesson
    meta_steps: int  # from closed forms on; half as many where a training goes on
    batch: float  # of a training's batch, what a meta-step takes from closed forms on
    stop: Callable[[], bool]  # asked before each meta-step

    def candidates(self, current: Learner) -> tuple[list[Learner], Kept]:
        """What might be served instead of the current learner, which already holds the new items.

        Raises:
            Stopped: `stop` said so.
        """
        # Reptile's training ends where its epsilon is 0: there is none to go on with.
        if self.outer.continued and self.meta_steps and self.outer.algorithm != "reptile":
            return self._gone_on(current)
        return self._closed(current)

    def _closed(self, current: Learner) -> tuple[list[Learner], Kept]:
        """One in closed form, and unless no meta-steps are wanted one that has taken them from there."""
        candidate = copy.deepcopy(current).requires_grad_(False)
        before = Trend.read(self.tensors).grown(candidate.tower.bias)
        trend = before.after(self._likes())
        candidate.tower.bias.add_(trend.shift() - before.shift())
        kept = trend.tensors() | {POPULARITY: self.popularity}
        if FACTOR in self.tensors:
            kept |= renew(candidate, *self._summary(), [(one.before(), one.history) for one in self.teachers])
        if not self.meta_steps:
            return [candidate], kept
        length = current.config.length
        newest = [one.history.take(slice(-length, None)) for one in self.teachers]
        stepped = copy.deepcopy(candidate)
        outer = replace(
            self.outer,
            rate=self.outer.rate * self.outer.refreshing,
            batch_size=math.ceil(self.outer.batch_size * self.batch),
            positions=math.ceil(self.outer.positions * self.batch),
        )
        loop = self._begun(stepped, outer)
        self._step(loop, [*newest, *self._rehearsed(loop, len(self.teachers))], self.meta_steps)
        return [candidate, stepped], kept

    def _gone_on(self, current: Learner) -> tuple[list[Learner], Kept]:
        """One that has gone on with the training."""
        candidate = copy.deepcopy(current)
        loop = self._begun(candidate, replace(self.outer, averaging=AVERAGING))
        loop.take_up(self.tensors)
        whole = [one.history for one in self.teachers]
        self._step(loop, [*whole, *self._rehearsed(loop, len(whole) // 2)], math.ceil(self.meta_steps / 2))
        candidate.load_state_dict(loop.average, strict=False)
        kept = {POPULARITY: self.popularity} | loop.moments()
        if FACTOR in self.tensors:
            kept |= dict(zip((FACTOR, TAKERS), self._summary(), strict=True))
        return [candidate], kept

    def _begun(self, learner: Learner, outer: OuterConfig) -> OuterLoop:
        """A loop that moves this learner, which meets the teachers' kinds of events."""
        learner.requires_grad_(True).meet(count_kinds([one.history for one in self.teachers]))
        return OuterLoop(learner, outer, self.popularity)

    def _rehearsed(self, loop: OuterLoop, count: int) -> list[History]:
        """So many of the replay, one at least."""
        replay = read_replay(self.tensors)
        return [replay[at] for at in loop.rng.permutation(len(replay))[: max(count, 1)]]

    def _step(self, loop: OuterLoop, histories: Sequence[History], count: int) -> None:
        """So many meta-steps on windows of these histories, over and over."""
        loop.learner.train()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(loop.config.seed)  # dropout draws from the global generator
            for batch, scored in islice(_batches(loop, histories), count):
                if self.stop():
                    raise Stopped
                loop.meta_step(batch, scored)
        loop.learner.eval()

    def _likes(self) -> Tensor:
        """How often each item was liked in the fresh events, (N,)."""
        events = [one.events() for one in self.teachers]
        return count_popularity([one.take(np.flatnonzero(one.preference > 0)) for one in events], len(self.popularity))

    def _summary(self) -> tuple[Tensor, Tensor]:
        """Who took what with what, (N, r + 1) and (N,), of new items nothing."""
        factor, takers = (grown(self.tensors[name], len(self.popularity)) for name in (FACTOR, TAKERS))
        return factor, takers


def grown(tensor: Tensor, items: int) -> Tensor:
    """With rows of zeros for new items, (N, ...)."""
    return torch.cat([tensor, tensor.new_zeros(items - len(tensor), *tensor.shape[1:])])


def _batches(loop: OuterLoop, histories: Sequence[History]) -> Iterator[tuple[Support, Tensor]]:
    """Those of one epoch after another, as long as there are any."""
    outer, length = loop.config, loop.learner.config.length
    found = True
    while found:
        found = False
        for batch in windows(
            histories, length, outer.batch_size, outer.shuffled, loop.rng, outer.windows, outer.settling
        ):
            found = True
            yield batch
