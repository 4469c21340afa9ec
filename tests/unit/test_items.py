"""The item tower: what text and interactions each contribute."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from models.items import ItemTower

N, C, D = 200, 16, 8


def started() -> tuple[ItemTower, torch.Tensor]:
    """A tower whose directions follow from the content, half of the items untouched."""
    g = torch.Generator().manual_seed(0)
    content = F.normalize(torch.randn(N, C, generator=g), dim=-1)
    directions = F.normalize(content @ torch.randn(C, D, generator=g), dim=-1)
    tower = ItemTower(content, D, residual_dropout=0.0)
    trust = torch.cat([torch.full((N // 2,), 0.9), torch.zeros(N // 2)])
    tower.start(directions * (trust > 0)[:, None], trust, ridge=0.1)
    return tower, directions


def test_touched_items_begin_where_interactions_put_them() -> None:
    tower, directions = started()
    vectors, _ = tower()
    assert (vectors[: N // 2] * directions[: N // 2]).sum(-1).min() > 0.95


def test_untouched_items_begin_where_their_text_puts_them() -> None:
    tower, directions = started()
    vectors, _ = tower()
    assert (vectors[N // 2 :] * directions[N // 2 :]).sum(-1).mean() > 0.9
    cold, bias = tower.cold(tower.content[N // 2 :])
    torch.testing.assert_close(vectors[N // 2 :], cold)
    assert bias.shape == (N // 2,)


def test_without_text_only_interactions_speak() -> None:
    tower = ItemTower(torch.zeros(4, C), D, residual_dropout=0.5)
    directions = F.normalize(torch.randn(4, D), dim=-1)
    tower.start(directions, torch.full((4,), 0.5))
    vectors, _ = tower.train()()
    torch.testing.assert_close(vectors, directions)


def test_residual_dropout_leaves_some_items_to_their_text() -> None:
    tower, _ = started()
    tower.residual_dropout = 0.5
    with torch.no_grad():
        tower.bias.fill_(1.0)
        tower.cold_bias.fill_(-1.0)
        tower.residual.add_(1.0)
    vectors, biases = tower.train()()
    alone, _ = tower.cold(tower.content)
    dropped = biases == -1.0
    assert 0.3 < dropped.float().mean() < 0.7
    torch.testing.assert_close(vectors[dropped], alone[dropped])
    assert not tower.eval()()[1].eq(-1.0).any()
