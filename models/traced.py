"""A learner's adapting as a single call, for serving: what Python would ask of torch step by step, recorded once.

Each step of torch lets go of the interpreter and must win it back. Beside an event loop that is busy that takes longer
than the step: 20 ms of adapting took 77. A trace runs through without the interpreter, on a core of its own.

Letters: B users, T events, N items, r width of the vectors.
"""

from __future__ import annotations

import warnings
from copy import deepcopy
from dataclasses import replace
from functools import cache
from typing import cast

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_unflatten

from models.episode import Support
from models.held import held
from models.learner import Learner, LearnerConfig

LEAF = "settled_"  # the buffers of what the meta-parameters come to
ITEMS = "learner.tower."  # their vectors are given with each call
REHEARSALS = 3  # calls until torch has made its plan of a trace
EVENTS = 3  # of the example that is traced


class Course(nn.Module):
    """One course through the learner: with histories without an order, or where all have one.

    What the meta-parameters come to is given as buffers, so that a call does not make it anew.
    """

    def __init__(self, learner: Learner, mixed: bool) -> None:
        super().__init__()
        self.learner, self.mixed = learner, mixed
        leaves, self._form = tree_flatten(learner.settle(max(learner.config.length, EVENTS)))
        self._leaves = len(leaves)
        for number, leaf in enumerate(leaves):
            self.register_buffer(f"{LEAF}{number}", leaf.detach())

    def forward(
        self,
        vectors: Tensor,
        rows: Tensor,
        kinds: Tensor,
        preference: Tensor,
        mask: Tensor,
        ordered: Tensor,
        trail: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        support = Support(rows, kinds, preference, mask, ordered)
        settled = tree_unflatten([getattr(self, f"{LEAF}{number}") for number in range(self._leaves)], self._form)
        users, trail = self.learner.follow(vectors, support, settled, last=True, mixed=self.mixed, trail=trail)
        users = users[:, -1]
        return users.where(users.isfinite().all(-1, keepdim=True), 0.0), trail


class Traced:
    """The learner as it is now: what changes its parameters later is not seen."""

    def __init__(self, learner: Learner) -> None:
        self._device = learner.prior.device
        courses = [(False, False), (True, False), (False, True)]  # only what has an order leaves a trail
        self._courses = {course: _filled(learner, *course) for course in courses}

    def follow(self, vectors: Tensor, support: Support, trail: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """`Learner.user_vectors`, with all the steps that were learned, (B, r), and the trail of `Learner.follow`.

        A vector that is not finite is zero instead: it would make every score so, and zero leaves the biases.

        Args:
            vectors: item vectors, (N, r), where the learner is.
            support: on the CPU, of at most as many events as the learner's length.
            trail: of all events but the newest, (B, T - 1, (blocks - 1) d), on the CPU, of histories with an order.
        """
        course = self._courses[support.mixed, trail is not None]
        given = [*support] if trail is None else [*support, trail]
        if self._device.type != "cpu":
            given = [tensor.to(self._device) for tensor in given]
        kept = held(vectors, *given)
        followed = cast(tuple[Tensor, Tensor], course(vectors, *given))
        del kept
        return followed


@torch.no_grad()
def _filled(learner: Learner, mixed: bool, led: bool) -> nn.Module:
    """The trace of such learners with this one's parameters."""
    shape = replace(learner.config, dropout=0.0, support_dropout=0.0, residual_dropout=0.0)
    course = deepcopy(_trace(shape, mixed, led, learner.prior.device))
    own = dict(Course(learner, mixed).state_dict())
    for name, tensor in course.state_dict().items():
        if not name.startswith(ITEMS):
            tensor.copy_(own[name])
    for _ in range(REHEARSALS):
        course(*_example(learner.config, led, learner.prior.device))
    return course


@cache
@torch.no_grad()
def _trace(config: LearnerConfig, mixed: bool, led: bool, device: torch.device) -> nn.Module:
    """Made once for learners of a shape, so that a later snapshot's need not be recorded beside those who wait."""
    learner = Learner(config, torch.zeros(1, config.rank + 1)).to(device).eval()
    with warnings.catch_warnings():
        # It warns of every branch: these turn on the number of steps and on which block reads, the same at every call.
        warnings.simplefilter("ignore", torch.jit.TracerWarning)  # type: ignore[attr-defined]
        # And that it has successors: those need a compiler where the service runs.
        warnings.simplefilter("ignore", DeprecationWarning)
        # A GPU's fuser would compile anew for every size of batch, beside those who wait.
        torch.jit.set_fusion_strategy([("STATIC", 0)])
        course = Course(learner, mixed).eval()
        return cast(nn.Module, torch.jit.trace(course, _example(config, led, device), check_trace=False))  # type: ignore[no-untyped-call]


def _example(config: LearnerConfig, led: bool, device: torch.device) -> tuple[Tensor, ...]:
    """Two users with a few events. No size is 1: what torch records of such a one might hold for it alone."""
    vectors = torch.zeros(2, config.rank, device=device)
    rows = torch.zeros(2, EVENTS, dtype=torch.int64, device=device)
    mask = torch.ones_like(rows, dtype=torch.bool)
    given = (vectors, rows, torch.zeros_like(rows), mask.float(), mask, mask[:, 0].clone())
    trail = torch.zeros(2, EVENTS - 1, (config.blocks - 1) * config.width, device=device)
    return (*given, trail) if led else given
