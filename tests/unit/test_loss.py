"""The outer loss is what it says, against the softmax written out."""

from __future__ import annotations

import numpy as np
import torch

from models.episode import History, pack
from models.learner import Learner, LearnerConfig
from models.loss import Loss, LossConfig

N = 40


def history(rows: list[int]) -> History:
    return History(np.array(rows, np.int64), np.zeros(len(rows), np.int64), np.ones(len(rows), np.float32))


def loss(**changes: object) -> Loss:
    torch.manual_seed(0)
    config = LearnerConfig(width=16, rank=16, heads=2, length=10)
    learner = Learner(config, torch.nn.functional.normalize(torch.randn(N, config.rank + 1), dim=-1)).eval()
    return Loss(learner, LossConfig(**changes), torch.ones(N), torch.Generator().manual_seed(0))  # type: ignore[arg-type]


def test_the_loss_is_the_softmax_of_the_next_event() -> None:
    made = loss(horizon=0.0, exclude_seen=False)
    episodes = pack([history([3, 4, 5])], 10)
    vectors, biases = made.learner.catalogue()
    users = made.learner(vectors, episodes)[0, :3]
    by_hand = torch.nn.functional.cross_entropy(users @ vectors.T + biases, torch.tensor([3, 4, 5]))
    torch.testing.assert_close(made(episodes), by_hand)


def test_smoothing_spreads_a_share_of_the_target_over_the_catalogue() -> None:
    made = loss(horizon=0.0, exclude_seen=False, smoothing=0.2)
    episodes = pack([history([3, 4, 5])], 10)
    vectors, biases = made.learner.catalogue()
    logits = made.learner(vectors, episodes)[0, :3] @ vectors.T + biases
    by_hand = torch.nn.functional.cross_entropy(logits, torch.tensor([3, 4, 5]), label_smoothing=0.2)
    torch.testing.assert_close(made(episodes), by_hand)


def test_what_was_taken_takes_part_in_what_is_spread() -> None:
    made, plain, spread = (loss(horizon=0.0, smoothing=share) for share in (0.2, 0.0, 1.0))
    episodes = pack([history([3, 4, 5])], 10)
    vectors, biases = made.learner.catalogue()
    logits = made.learner(vectors, episodes)[0, :3] @ vectors.T + biases
    torch.testing.assert_close(spread(episodes), (logits.logsumexp(-1) - logits.mean(-1)).mean())
    torch.testing.assert_close(made(episodes), 0.8 * plain(episodes) + 0.2 * spread(episodes))


def test_what_was_taken_is_left_out_of_the_softmax_unless_it_comes_again() -> None:
    made = loss(horizon=0.0)
    episodes = pack([history([3, 4, 5, 4])], 10)
    vectors, biases = made.learner.catalogue()
    logits = made.learner(vectors, episodes)[0, :4] @ vectors.T + biases
    for position, taken in ((1, [3]), (2, [3]), (3, [3, 5])):  # 4 is still to come at 2 and 3
        logits[position, taken] = -torch.inf
    by_hand = torch.nn.functional.cross_entropy(logits, torch.tensor([3, 4, 5, 4]))
    torch.testing.assert_close(made(episodes), by_hand)


def test_without_order_every_later_event_is_a_target() -> None:
    made = loss(exclude_seen=False)
    episodes = pack([history([3, 4])._replace(ordered=False)], 10)
    vectors, biases = made.learner.catalogue()
    logits = torch.log_softmax(made.learner(vectors, episodes)[0] @ vectors.T + biases, -1)
    torch.testing.assert_close(made(episodes), -((logits[0, 3] + logits[0, 4]) / 2 + logits[1, 4]) / 2)


def test_a_sampled_softmax_estimates_the_full_one() -> None:
    made = loss(full_softmax=0, negatives=20_000)
    vectors, biases = made.learner.catalogue()
    queries = torch.randn(5, 16)
    exact = torch.logsumexp(queries @ vectors.T + biases, -1)
    found = made.log_normaliser(queries, vectors, biases, torch.tensor([3, 4, 3]))
    torch.testing.assert_close(found, exact, atol=0.05, rtol=0.05)


def test_a_sample_never_misses_what_was_taken() -> None:
    """Were a target left to chance, the loss of a confident learner would have no lower bound."""
    made = loss(full_softmax=0, negatives=1)
    vectors, biases = made.learner.catalogue()
    queries = 30 * vectors[[7, 9]]
    found = made.log_normaliser(queries, vectors, biases, torch.tensor([7, 9]))
    own = (queries * vectors[[7, 9]]).sum(-1) + biases[[7, 9]]
    assert (found >= own).all()
