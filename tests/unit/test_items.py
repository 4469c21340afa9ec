"""The item tower: what text and interactions each contribute."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from models.items import SHORT, ItemTower, log_popularity

N, D = 200, 8


def started() -> tuple[ItemTower, torch.Tensor]:
    """A tower whose texts nearly tell the directions, half of the items untouched."""
    g = torch.Generator().manual_seed(0)
    directions = F.normalize(torch.randn(N, D, generator=g), dim=-1)
    said = 0.5 * directions + 0.1 * torch.randn(N, D, generator=g)
    expected = torch.cat([said, torch.randn(N, 1, generator=g)], 1)
    tower = ItemTower(expected, D, residual_dropout=0.0)
    trust = torch.cat([torch.full((N // 2,), 0.9), torch.zeros(N // 2)])
    tower.start(directions * (trust > 0)[:, None], trust)
    return tower, directions


def test_touched_items_begin_where_interactions_put_them() -> None:
    tower, directions = started()
    vectors, _ = tower()
    assert (vectors[: N // 2] * directions[: N // 2]).sum(-1).min() > 0.95


def test_untouched_items_begin_where_their_text_puts_them() -> None:
    tower, directions = started()
    vectors, _ = tower()
    assert (vectors[N // 2 :] * directions[N // 2 :]).sum(-1).mean() > 0.8
    cold, bias = tower.cold(tower.expected[N // 2 :])
    torch.testing.assert_close(vectors[N // 2 :], cold)
    assert bias.shape == (N // 2,)


def test_without_text_only_interactions_speak() -> None:
    tower = ItemTower(torch.zeros(4, D + 1), D, residual_dropout=0.5)
    directions = F.normalize(torch.randn(4, D), dim=-1)
    tower.start(directions, torch.full((4,), 0.5))
    vectors, _ = tower.train()()
    torch.testing.assert_close(vectors, directions)
    cold, bias = tower.cold(torch.zeros(2, D + 1))
    assert torch.equal(cold, torch.zeros(2, D))
    assert bias.isfinite().all()


def test_where_lengths_are_learned_all_begin_short_where_they_would_be_else() -> None:
    unit, directions = started()
    tower = ItemTower(unit.expected.clone(), D, residual_dropout=0.0, unit=False)
    trust = torch.cat([torch.full((N // 2,), 0.9), torch.zeros(N // 2)])
    tower.start(directions * (trust > 0)[:, None], trust)
    torch.testing.assert_close(F.normalize(tower()[0], dim=-1), unit()[0])
    torch.testing.assert_close(tower()[0][N // 2 :], tower.cold(tower.expected[N // 2 :])[0])
    assert tower()[0].norm(dim=-1).max() <= SHORT * 1.5
    with torch.no_grad():
        tower.residual[0] *= 10
    assert tower()[0][0].norm() > 3 * SHORT
    rotation = torch.linalg.qr(torch.randn(D, D))[0]
    before = tower()[0]
    tower.turn(rotation)
    torch.testing.assert_close(tower()[0], before @ rotation.T)


def test_residual_dropout_leaves_some_items_to_their_text() -> None:
    tower, _ = started()
    tower.residual_dropout = 0.5
    with torch.no_grad():
        tower.bias.fill_(10.0)
        tower.residual.add_(1.0)
    vectors, biases = tower.train()()
    alone, _ = tower.cold(tower.expected)
    dropped = biases != 10.0
    assert 0.3 < dropped.float().mean() < 0.7
    torch.testing.assert_close(vectors[dropped], alone[dropped])
    torch.testing.assert_close(biases[dropped], tower.worth(tower.expected)[dropped])
    assert tower.eval()()[1].eq(10.0).all()


def test_new_items_begin_where_their_text_lets_expect_them() -> None:
    tower, _ = started()
    with torch.no_grad():
        tower.bias.add_(5.0)  # what is known of others does not lift them
    torch.testing.assert_close(tower.cold(tower.expected)[1], tower.slope * tower.expected[:, -1] + tower.cold_bias)


def test_without_a_text_directions_are_trusted_and_who_knows_nothing_stays() -> None:
    expected = torch.zeros(3, 5)
    expected[0] = torch.tensor([1.0, 0.0, 0.0, 0.0, 0.3])
    tower = ItemTower(expected, 4, 0.0)
    before = tower.residual[2].detach().clone()
    directions = torch.tensor([[0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    tower.start(directions, torch.tensor([0.5, 0.1, 0.0]))
    torch.testing.assert_close(tower.residual[0], torch.tensor([-0.5, 0.5, 0.0, 0.0]))
    torch.testing.assert_close(tower.residual[1], directions[1])
    assert before.any()
    torch.testing.assert_close(tower.residual[2], before)


def test_popularity_counts_by_its_logarithm() -> None:
    logs = log_popularity(torch.tensor([0.0, 1.0, 3.0]))
    torch.testing.assert_close(logs[1:] - logs[:-1], torch.tensor([2.0, 2.0]).log())
    assert logs.sum().abs() < 1e-6
