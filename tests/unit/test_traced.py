"""A traced learner gives what the learner gives, whatever the sizes and whoever is in the batch."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import torch

from models.episode import History, pack
from models.learner import KIND_SLOTS, Learner, LearnerConfig, Recalls
from models.traced import Traced, _trace

N = 40


def learner(seed: int = 0, **changes: object) -> Learner:
    torch.manual_seed(seed)
    config = LearnerConfig.from_dict({"width": 16, "rank": 24, "heads": 2, "length": 12} | changes)
    made = Learner(config, torch.nn.functional.normalize(torch.randn(N, config.rank + 1), dim=-1))
    for parameter in made.parameters():  # away from the zeros some start at, so that every path counts
        torch.nn.init.normal_(parameter, std=0.3)
    made.kind_shares.copy_(torch.rand(KIND_SLOTS))
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
@pytest.mark.parametrize("steps", [0, 1, 3])
def test_it_gives_what_the_learner_gives(recall: Recalls, steps: int) -> None:
    model = learner(recall=recall, steps=steps)
    traced = Traced(model)
    vectors, _ = model.catalogue()
    for users, longest in ((1, 0), (1, 1), (1, 12), (2, 3), (7, 1), (9, 12)):
        for ordered in (0.0, 0.5, 1.0):
            support = pack(histories(users, longest, ordered), 12)
            with torch.inference_mode():
                torch.testing.assert_close(
                    traced.follow(vectors, support)[0], model.user_vectors(vectors, support), atol=1e-5, rtol=1e-5
                )


@pytest.mark.parametrize("length", [1, 2])
def test_a_learner_may_be_shorter_than_the_example_that_is_traced(length: int) -> None:
    model = learner(length=length)
    traced = Traced(model)
    vectors, _ = model.catalogue()
    for ordered in (0.0, 1.0):
        support = pack(histories(3, length, ordered), length)
        with torch.inference_mode():
            torch.testing.assert_close(traced.follow(vectors, support)[0], model.user_vectors(vectors, support))


@pytest.mark.parametrize("recall", get_args(Recalls))
@pytest.mark.parametrize("blocks", [1, 2, 3])
def test_from_a_trail_the_newest_event_leads_where_all_of_them_do(recall: Recalls, blocks: int) -> None:
    model = learner(recall=recall, blocks=blocks)
    traced = Traced(model)
    vectors, _ = model.catalogue()
    users = [history for history in histories(9, 12, 1.0) if len(history.rows) > 1]
    before = [history.take(slice(0, -1)) for history in users]
    with torch.inference_mode():
        _, trail = traced.follow(vectors, pack(before, 12))
        whole, left = traced.follow(vectors, pack(users, 12))
        alone, grown = traced.follow(vectors, pack(users, 12), trail)
        torch.testing.assert_close(alone, whole, atol=1e-5, rtol=1e-5)
        assert grown.shape == left.shape == (len(users), 12, (blocks - 1) * 16)
        seen = pack(users, 12).mask
        torch.testing.assert_close(grown[seen], left[seen], atol=1e-5, rtol=1e-5)
        if blocks > 1:
            elsewhere, _ = traced.follow(vectors, pack(users, 12), torch.randn_like(trail))
            assert not torch.allclose(elsewhere, whole, atol=1e-2), "the trail is what it goes on from"


def test_a_later_learner_of_its_shape_leaves_it_as_it_is() -> None:
    first, second = learner(), learner(seed=1)
    traced = Traced(first)
    vectors, _ = first.catalogue()
    support = pack(histories(5, 12, 1.0), 12)
    with torch.inference_mode():
        before = traced.follow(vectors, support)[0]
        other = Traced(second).follow(vectors, support)[0]
        assert torch.equal(traced.follow(vectors, support)[0], before)
        torch.testing.assert_close(other, second.user_vectors(vectors, support), atol=1e-5, rtol=1e-5)
        assert not torch.allclose(other, before)


def test_learners_that_differ_in_what_only_training_knows_share_a_trace() -> None:
    Traced(learner())
    made = _trace.cache_info().misses
    Traced(learner(seed=1, dropout=0.5, support_dropout=0.5, residual_dropout=0.5))
    assert _trace.cache_info().misses == made
    Traced(learner(heads=4))
    assert _trace.cache_info().misses > made


def test_a_vector_that_is_not_finite_is_zero() -> None:
    broken = learner()
    with torch.no_grad():
        broken.prior[3] = torch.nan
    vectors, _ = broken.catalogue()
    with torch.inference_mode():
        assert not Traced(broken).follow(vectors, pack(histories(2, 3, 1.0), 12))[0].any()


def test_it_reads_whatever_catalogue_it_is_given() -> None:
    model = learner()
    traced = Traced(model)
    vectors, _ = model.grown(torch.randn(5, model.config.rank + 1)).catalogue()
    support = pack([History(np.array([N + 4, 3]), np.zeros(2, np.int64), np.ones(2, np.float32))], 12)
    with torch.inference_mode():
        torch.testing.assert_close(traced.follow(vectors, support)[0], model.user_vectors(vectors, support))
