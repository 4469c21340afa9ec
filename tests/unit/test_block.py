"""The recall: what it begins as, and what its voice makes of a preference."""

from __future__ import annotations

import torch

from models.adapt import fading
from models.block import Recall

RANK = 6


def said(recall: Recall, taken: torch.Tensor, preference: float = 1.0, ordered: bool = True) -> torch.Tensor:
    """What the recall says of one user who took these items, (T, RANK), at the newest event: (RANK,)."""
    count = len(taken)
    left = fading(recall.loop.decay() * ordered, 1, count)[None]
    out: torch.Tensor = recall(taken[None], torch.full((1, count), preference), left, recall.loop.terms(None))
    return out[0, 0].detach()


def started() -> Recall:
    recall = Recall(RANK, steps=1)
    recall.start(torch.tensor([2.0, 1.0, 0.5, 0.25, 0.0, 0.0]))
    return recall


def test_it_begins_as_ridge_regression_reads_the_directions() -> None:
    said_of_each = said(started(), torch.ones(1, RANK))
    shares = torch.tensor([1.0, 0.25, 0.0625, 0.015625])
    torch.testing.assert_close(said_of_each[:4] / said_of_each[0], 1.4 / (shares + 0.4))
    assert said_of_each[4:].abs().sum() == 0  # a direction that is not there says nothing


def test_without_order_all_events_say_as_much_and_with_it_the_newest_says_most() -> None:
    recall, taken = started(), torch.eye(RANK)[:3]
    back = taken.flip(0)
    torch.testing.assert_close(said(recall, taken, ordered=False), said(recall, back, ordered=False))
    assert said(recall, taken)[2] > 1.5 * said(recall, back)[2]


def test_a_middling_rating_says_little_and_the_lowest_the_opposite() -> None:
    recall, taken = started(), torch.ones(1, RANK)
    best, middling, worst = (said(recall, taken, preference)[0] for preference in (1.0, 0.25, -1.0))
    assert best > middling > 0 > worst
