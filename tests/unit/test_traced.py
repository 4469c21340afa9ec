"""A traced learner gives what the learner gives, whatever the sizes and whoever is in the batch."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import torch

from models.episode import History, pack
from models.learner import Learner, LearnerConfig, Recalls
from models.traced import Traced

N = 40


def learner(**changes: object) -> Learner:
    torch.manual_seed(0)
    config = LearnerConfig.from_dict({"width": 16, "rank": 24, "heads": 2, "length": 12} | changes)
    made = Learner(config, torch.nn.functional.normalize(torch.randn(N, config.rank + 1), dim=-1))
    for parameter in made.parameters():  # away from the zeros some start at, so that every path counts
        torch.nn.init.normal_(parameter, std=0.3)
    return made.eval()


def histories(users: int, longest: int, ordered: float) -> list[History]:
    rng = np.random.default_rng(users)
    sizes = [longest, *rng.integers(0, longest + 1, users - 1)]
    return [
        History(
            rng.integers(0, N, size),
            rng.integers(0, 3, size),
            rng.uniform(-1, 1, size).astype(np.float32),
            bool(rng.random() < ordered),
        )
        for size in sizes
    ]


@pytest.mark.parametrize("recall", get_args(Recalls))
@pytest.mark.parametrize("steps", [1, 3])
def test_it_gives_what_the_learner_gives(recall: Recalls, steps: int) -> None:
    model = learner(recall=recall, steps=steps)
    traced = Traced(model)
    vectors, _ = model.catalogue()
    for users, longest in ((1, 0), (1, 1), (1, 12), (2, 3), (7, 1), (9, 12)):
        for ordered in (0.0, 0.5, 1.0):
            support = pack(histories(users, longest, ordered), 12)
            with torch.inference_mode():
                torch.testing.assert_close(
                    traced.user_vectors(vectors, support), model.user_vectors(vectors, support), atol=1e-5, rtol=1e-5
                )


def test_it_reads_whatever_catalogue_it_is_given() -> None:
    model = learner()
    traced = Traced(model)
    vectors, _ = model.grown(torch.randn(5, model.config.rank + 1)).catalogue()
    support = pack([History(np.array([N + 4, 3]), np.zeros(2, np.int64), np.ones(2, np.float32))], 12)
    with torch.inference_mode():
        torch.testing.assert_close(traced.user_vectors(vectors, support), model.user_vectors(vectors, support))
