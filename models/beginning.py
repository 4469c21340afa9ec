"""How the first events of a history differ from later ones: what the learner does not know of it, in closed form.

New users begin in their own way: on a first page, with what is asked of them, with what everyone has heard of. The
learner has one prior for all places in a history. After training it is moved at each of the first places k so that
what is expected of users at k is, on average, what they take next:

    d_i = log s_i - log q_i       s_i = share of item i in events k + 1 to k + REACH that are new to the user and speak
                                        for their items, FLOOR of it as in the whole log
                                  q_i = mean over users of the softmax of their scores, what they took left out
    w_k = argmin_w sum_i (s_i + q_i) (w . v_i - d_i + c)^2 + ridge |w|^2       c a constant, which ranks nothing
    u   <- u + U / (U + SURE) w_k       of a user with an order and k events; U users went on from there

So a classifier is adjusted to other prior shares of its classes (Saerens et al. 2002), here within what a vector can
say: as it goes by item vectors, it speaks of new items too. Meta-steps go on as if there were none: most of their
windows begin in the middle of a history.

Letters: U users, N items, r rank, P places.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from models.episode import History, pack
from models.learner import Learner

REACH = 10
"""Events that count as next."""
FLOOR = 0.05
"""Of a place's shares, so that what nobody took there is still possible."""
SURE = 50.0
"""Users at a place who say as much of it as is known without them: nothing."""
RIDGE = 0.03
"""Of the mean variance of the item vectors."""
HEARD = 512
"""Users whose scores are averaged, at most."""
ROUNDS = 2
"""One leaves some of d, for a mean of softmaxes is no softmax of a mean."""
SHARES = (1.0, 0.5)
"""Of the whole that are tried beside none of it, where those who judge began in the same days as those who teach."""
LATER = (0.5,)
"""The same where it is for users to come: how new users begin moves with the days."""
SCORES, ROWS = 1 << 24, 1 << 16
"""Scores held at once, and item vectors in double precision: neither grows with the catalogue."""


def choose_beginning(
    learner: Learner, histories: Sequence[History], validate: Callable[[], float], shares: Sequence[float] = SHARES
) -> float:
    """Give `learner` the beginning that these histories ask for, or a share of it, or none: what validates best.

    Args:
        histories: from a user's first event on; those of whom it was trained on will do.
        validate: the figure of the learner as it is, the higher the better.
    Returns:
        The share that was kept, 0 for none.
    """
    learner.beginning.zero_()
    figures = {0.0: validate()}
    whole = find_beginning(learner, histories)
    for share in shares:
        learner.beginning.copy_(share * whole)
        figures[share] = validate()
    best = max(figures, key=figures.__getitem__)
    learner.beginning.copy_(best * whole)
    return best


@torch.no_grad()
def find_beginning(learner: Learner, histories: Sequence[History]) -> Tensor:
    """By how much the user vector is moved at each of the first places, (P, r); by nothing where nobody went on.

    What the learner has of it already counts for nothing, and is left as it is.
    """
    learner.eval()
    vectors, biases = learner.catalogue()
    held, learner.beginning = learner.beginning, torch.zeros_like(learner.beginning)
    ordered = [history for history in histories if history.ordered]
    whole = _shares(ordered, len(vectors)).to(vectors)
    sure = torch.zeros(len(held), 1, device=held.device)
    for place in range(len(held)):
        here = [history for history in ordered if len(history.rows) > place]
        if not here:
            break
        follow = _shares([_new(history, place) for history in here], len(vectors)).to(vectors)
        taken = (1 - FLOOR) * follow + FLOOR * whole
        heard = [history.take(slice(0, place)) for history in here[:: -(-len(here) // HEARD)]]
        for _ in range(ROUNDS):
            expected = _expected(learner, vectors, biases, heard[: None if place else 1])
            known = (taken > 0) & (expected > 0)
            apart = (taken.log() - expected.log())[known]
            learner.beginning[place] += _project(apart, vectors[known], (taken + expected)[known])
        sure[place] = len(here) / (len(here) + SURE)
    found, learner.beginning = learner.beginning, held
    return sure * found


def _new(history: History, place: int) -> History:
    """What comes next after so many events, without what was taken before, as no answer holds it."""
    following = history.take(slice(place, place + REACH))
    return following.take(np.flatnonzero(~np.isin(following.rows, history.rows[:place])))


def _shares(histories: Sequence[History], items: int) -> Tensor:
    """How much of what was taken and spoken for is of each item, (N,)."""
    taken = [history.rows[history.preference > 0] for history in histories]
    counts = np.bincount(np.concatenate([*taken, np.empty(0, np.int64)]), minlength=items)
    return torch.from_numpy(counts / max(counts.sum(), 1))


def _expected(learner: Learner, vectors: Tensor, biases: Tensor, histories: Sequence[History]) -> Tensor:
    """The mean over users of the softmax over what each has not taken, (N,)."""
    total = torch.zeros(len(vectors), dtype=torch.float64, device=vectors.device)
    together = min(64, max(1, SCORES // len(vectors)))
    for start in range(0, len(histories), together):
        support = pack(histories[start : start + together], learner.config.length).to(vectors.device)
        scores = learner.user_vectors(vectors, support) @ vectors.T + biases
        user, slot = support.mask.nonzero(as_tuple=True)
        scores[user, support.rows[user, slot]] = -torch.inf
        total += scores.softmax(-1).nan_to_num(0).sum(0, dtype=torch.float64)  # nothing of those who took all there is
    return (total / len(histories)).to(vectors)


def _project(wanted: Tensor, vectors: Tensor, weights: Tensor) -> Tensor:
    """The vector whose products with the items' come nearest to what is wanted of each, (N,), but for a constant."""
    if not len(wanted):
        return vectors.new_zeros(vectors.shape[1])
    share = weights / weights.sum()
    about, centre = wanted - share @ wanted, share @ vectors
    rank = vectors.shape[1]
    gram, target = (torch.zeros(rank, columns, dtype=torch.float64).to(vectors.device) for columns in (rank, 1))
    for start in range(0, len(wanted), ROWS):
        rows = slice(start, start + ROWS)
        centred = (vectors[rows] - centre).double()
        weighed = centred * share[rows, None]
        gram += weighed.T @ centred
        target += weighed.T @ about[rows, None].double()
    ridge = RIDGE * gram.trace() / rank + 1e-12
    solved: Tensor = torch.linalg.solve(gram + ridge * torch.eye(rank).to(gram), target)
    return solved.squeeze(1).to(vectors)
