"""How the first events of a history differ from later ones: what the learner does not know of it, in closed form.

New users begin in their own way: on a first page, with what is asked of them, with what everyone has heard of. The
learner has one prior for all places in a history. After training it is moved at each of the first places k so that
what is expected of users at k is, on average, what they take next:

    d_i = log s_i - log q_i       s_i = share of item i in events k + 1 to k + REACH that speak for their items, FLOOR
                                        of it as in the whole log
                                  q_i = mean over users of the softmax of their scores, what they took left out
    w_k = argmin_w sum_i (s_i + q_i) (w . v_i - d_i + c)^2 + ridge |w|^2       c a constant, which ranks nothing
    u   <- u + w_k                of a user with an order and k events; ROUNDS times

It matches marginals, as iterative proportional fitting does (Deming & Stephan 1940), within what a vector can say. As
the correction goes by item vectors, it speaks of new items too. Training goes on as if there were none, as with the
voice: it would learn its own users' beginnings by heart.

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
RIDGE = 0.03
"""Of the mean variance of the item vectors."""
HEARD = 512
"""Users whose scores are averaged, at most."""
ROUNDS = 2
"""One leaves some of d, for a mean of softmaxes is no softmax of a mean."""
SHARES = (1.0, 0.5)


def choose_beginning(learner: Learner, histories: Sequence[History], validate: Callable[[], float]) -> float:
    """Give `learner` the beginning that these histories ask for, or half of it, or none: what validates best.

    Args:
        histories: from a user's first event on; those of whom it was trained on will do.
        validate: the figure of the learner as it is, of users it was not trained on, the higher the better.
    Returns:
        The best figure.
    """
    learner.beginning.zero_()
    figures = {0.0: validate()}
    found = beginning(learner, histories)
    for share in SHARES:
        learner.beginning.copy_(share * found)
        figures[share] = validate()
    best = max(figures, key=figures.__getitem__)
    learner.beginning.copy_(best * found)
    return figures[best]


@torch.no_grad()
def beginning(learner: Learner, histories: Sequence[History]) -> Tensor:
    """By how much the user vector is moved at each of the first places, (P, r); by nothing where nobody went on.

    The learner is left with it; what it had until then is forgotten.
    """
    learner.beginning.zero_()
    vectors, biases = learner.catalogue()
    begun = [history for history in histories if history.ordered]
    whole = _shares(begun, len(vectors)).to(vectors)
    for place in range(len(learner.beginning)):
        here = [history for history in begun if len(history.rows) > place]
        if not here:
            break
        follow = _shares([history.take(slice(place, place + REACH)) for history in here], len(vectors)).to(vectors)
        taken = (1 - FLOOR) * follow + FLOOR * whole
        heard = [history.take(slice(0, place)) for history in here[:: -(-len(here) // HEARD)]]
        for _ in range(ROUNDS):
            expected = _expected(learner, vectors, biases, heard)
            known = (taken > 0) & (expected > 0)
            apart = (taken.log() - expected.log())[known]
            learner.beginning[place] += _project(apart, vectors[known], (taken + expected)[known])
    return learner.beginning.clone()


def _shares(histories: Sequence[History], items: int) -> Tensor:
    """How much of what was taken and spoken for is of each item, (N,)."""
    taken = [history.rows[history.preference > 0] for history in histories]
    counts = np.bincount(np.concatenate([*taken, np.empty(0, np.int64)]), minlength=items)
    return torch.from_numpy(counts / max(counts.sum(), 1))


def _expected(learner: Learner, vectors: Tensor, biases: Tensor, histories: Sequence[History]) -> Tensor:
    """The mean over users of the softmax over what each has not taken, (N,)."""
    total = torch.zeros(len(vectors), dtype=torch.float64, device=vectors.device)
    for start in range(0, len(histories), 64):
        part = list(histories[start : start + 64])
        support = pack(part, learner.config.length).to(vectors.device)
        scores = learner.user_vectors(vectors, support) @ vectors.T + biases
        user, slot = support.mask.nonzero(as_tuple=True)
        scores[user, support.rows[user, slot]] = -torch.inf
        total += scores.double().softmax(-1).sum(0)
    return (total / len(histories)).to(vectors)


def _project(wanted: Tensor, vectors: Tensor, weights: Tensor) -> Tensor:
    """The vector whose products with the items' come nearest to what is wanted of each, (N,), but for a constant."""
    share = (weights / weights.sum()).double()
    about = wanted.double() - share @ wanted.double()
    centred = vectors.double() - share @ vectors.double()
    weighed = centred * share[:, None]
    gram = weighed.T @ centred
    ridge = RIDGE * gram.trace() / len(gram) + 1e-12
    solved: Tensor = torch.linalg.solve(gram + ridge * torch.eye(len(gram)).to(gram), weighed.T @ about)
    return solved.to(vectors)
