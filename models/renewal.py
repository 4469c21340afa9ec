"""The renewal: item vectors begin again from more interactions, in closed form, and keep what training added to them.

A training begins at residuals f = trust (direction - text) and a recall that reads the directions by their strengths
(`models.recipe.begin`). A renewal finds the directions anew from what the summary and the changed histories say, turns
all that was learned into their basis by the rotation R that brings the old directions nearest to the new, and puts

    r' = R (r - f) + f'          filter' = filter * start' / start

so that where nothing has changed nothing changes, and an item that is new or was hardly known moves the most.

Letters: N items, r rank of vectors.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from models.block import Recall
from models.directions import read_directions, summarise_more
from models.episode import History
from models.items import ItemTower
from models.learner import Learner
from models.recipe import FACTOR, TAKERS, TRUSTED_AT


@torch.no_grad()
def renew(
    learner: Learner, factor: Tensor, takers: Tensor, changed: Sequence[tuple[History, History]]
) -> dict[str, Tensor]:
    """Renew the learner in place; what a snapshot keeps of the summary.

    Args:
        factor, takers: the summary the learner stands on, (N, r + 1) and (N,).
        changed: users' histories as they were, empty for a new user, and as they are.
    """
    old, was = read_directions(factor, takers)
    more, counts = summarise_more(factor, takers, changed)
    new, now = read_directions(more, counts)
    learned = learner.tower.residual - _placed(learner.tower, old, takers)
    across = (new * takers.sqrt()[:, None]).T @ (old * takers.sqrt()[:, None])
    left, _, right = torch.linalg.svd(across + 1e-6 * across.norm() * torch.eye(len(across)))  # unused ones stay put
    rotation = left @ right
    learner.turn(rotation)
    learner.tower.residual.copy_(learned @ rotation.T + _placed(learner.tower, new, counts))
    if learner.recall is None:
        return {FACTOR: more, TAKERS: counts}
    begun, begins = (_begun(strengths) for strengths in (was, now))
    renewed = torch.where(begun > 0, learner.recall.filter / begun, 1.0) * begins
    learner.recall.filter.copy_(torch.where(begun + begins > 0, renewed, learner.recall.filter))
    return {FACTOR: more, TAKERS: counts}


def _placed(tower: ItemTower, directions: Tensor, takers: Tensor) -> Tensor:
    """Residuals where the directions and texts alone put the items, (N, r)."""
    return tower.placed(directions, takers / (takers + TRUSTED_AT))


def _begun(strengths: Tensor) -> Tensor:
    """The filter that a recall begins with, (GATHERERS, r)."""
    fresh = Recall(len(strengths), 1)
    fresh.start(strengths)
    return fresh.filter.detach()
