"""Cross-validation of a plan: what it is worth on users it was never trained on, and how much that depends on which.

The users are dealt into K folds. Each fold in turn is held out cold while a learner is trained from nothing on the
others, of whom a tenth stops the training. Every user is asked about once, by a learner that has not seen them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from statistics import fmean, stdev
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from models.dataset import Dataset
from models.episode import History
from models.evaluate import Case, LearnerRanker, cold_user, evaluate, leave_one_out
from models.progress import Progress
from models.recipe import Plan, follow
from models.split import split

SHOTS = (5, 10)
DRAWS = 20


@dataclass(frozen=True, slots=True)
class CrossValidation:
    """Each fold's figures by name, in the order of the folds. A fold without a case has no figure of that name."""

    folds: tuple[Mapping[str, float], ...]

    def summary(self) -> dict[str, dict[str, Any]]:
        """Of each figure its mean over the folds, their standard deviation (of a sample), and the folds' own."""
        names = dict.fromkeys(name for fold in self.folds for name in fold)
        found = {name: [fold[name] for fold in self.folds if name in fold] for name in names}
        return {
            name: {"mean": fmean(values), "deviation": stdev(values) if len(values) > 1 else 0.0, "folds": values}
            for name, values in found.items()
        }


def cases(cold: Sequence[History], ordered: bool = False) -> dict[str, list[Case]]:
    """What is asked about users who were held out: their next item, and the next 10 from a few events.

    These are drawn at random, or where all is `ordered` the first ones.
    """
    asked = {"next item": leave_one_out(cold)}
    for shots in SHOTS:
        few = cold_user(cold, shots, order="time") if ordered else cold_user(cold, shots, draws=DRAWS)
        asked[f"cold user, k = {shots}"] = few
    return {name: found for name, found in asked.items() if found}


def check(dataset: Dataset, folds: int) -> None:
    """Whether so many folds can be dealt.

    Raises:
        ValueError: there are fewer users than folds.
    """
    users = len(dataset.interactions.users)
    if not 2 <= folds <= users:
        raise ValueError(f"{users} users cannot be dealt into {folds} folds")


def cross_validate(
    dataset: Dataset,
    content: NDArray[np.float32],
    plan: Plan,
    folds: int,
    progress: Callable[[int, Progress], None] | None = None,
    device: torch.device | str = "cpu",
) -> CrossValidation:
    """Train and test `folds` times.

    Args:
        content: content vectors, (N, C), in the order of `dataset.items`.
        plan: the config to judge; of its split only the seed and the share of validating users count. Every training
            begins from the same seed.
        progress: told the fold, from 0, and how far its training is.
        device: where to train.
    Raises:
        ValueError: there are fewer users than folds, or a fold leaves too little to train, validate or test on.
    """
    check(dataset, folds)
    found = []
    for fold in range(folds):
        own = replace(plan.split, cold=1 / folds, last=False, fold=fold)  # nobody is asked about who trained
        asked = cases(split(dataset, own).cold, plan.ordered)
        if not asked:
            raise ValueError(f"fold {fold + 1} of {folds} has nobody with 2 items or more: take fewer")
        show = None if progress is None else partial(progress, fold)
        trained = follow(dataset, content, replace(plan, split=own), device=device, progress=show)
        ranker = LearnerRanker(trained.learner)
        figures = {f"NDCG@10, {name}": evaluate(ranker, some, [10])["NDCG@10"] for name, some in asked.items()}
        found.append(figures | {"epochs": trained.metrics["epochs"]})
    return CrossValidation(tuple(found))
