"""The voice of histories without an order, chosen on users whom training did not see."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from models.episode import History, pack
from models.learner import Learner, LearnerConfig
from models.traced import Traced
from models.voice import choose_voice


@pytest.fixture(params=["always", "unordered", "never"])
def learner(request: pytest.FixtureRequest) -> Learner:
    torch.manual_seed(0)
    made = Learner(LearnerConfig(width=8, rank=8, heads=2, length=6, recall=request.param), torch.randn(9, 9))
    with torch.no_grad():
        made.prior.normal_()
        if made.recall is not None:
            made.recall.filter.fill_(1.0)
    return made.eval()


def asked(ordered: bool) -> History:
    return History(np.array([1, 4, 2]), np.zeros(3, np.int64), np.ones(3, np.float32), ordered)


@torch.no_grad()
def test_it_scales_what_has_no_order_and_nothing_else(learner: Learner) -> None:
    vectors, _ = learner.catalogue()
    both = pack([asked(True), asked(False)], 3)
    before = learner.user_vectors(vectors, both)
    learner.unordered_voice.fill_(0.5)
    after = learner.user_vectors(vectors, both)
    torch.testing.assert_close(after[0], before[0])
    torch.testing.assert_close(after[1] - learner.prior, 0.5 * (before[1] - learner.prior))
    traced, _ = Traced(learner).follow(vectors, both)
    torch.testing.assert_close(traced, after, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_the_best_one_is_kept_and_goes_into_a_snapshot(learner: Learner) -> None:
    vectors, _ = learner.catalogue()
    support = pack([asked(False)], 3)
    wanted = learner.prior + 0.6 * (learner.user_vectors(vectors, support) - learner.prior)

    def validate() -> float:
        return -float((learner.user_vectors(vectors, support) - wanted).norm())

    found = choose_voice(learner, validate, validate())
    assert float(learner.unordered_voice) == pytest.approx(0.6)
    assert found == pytest.approx(0, abs=1e-5)
    assert float(learner.tensors()["unordered_voice"]) == pytest.approx(0.6)


def test_where_nothing_depends_on_it_it_stays_whole(learner: Learner) -> None:
    assert choose_voice(learner, lambda: 0.5, 0.5) == 0.5
    assert float(learner.unordered_voice) == 1.0


@torch.no_grad()
def test_a_training_does_not_hear_it(learner: Learner) -> None:
    vectors, _ = learner.catalogue()
    support = pack([asked(False)], 3)
    whole = learner.user_vectors(vectors, support)
    learner.unordered_voice.fill_(0.5)
    for module in (learner.dropout, learner.blocks):
        module.eval()
    learner.training = True
    torch.testing.assert_close(learner.user_vectors(vectors, support), whole)
