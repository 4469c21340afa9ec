"""The item tower: what the text lets expect, plus a learned residual, gives an item's vector and bias.

    v_i = normalize(e_i + r_i)         b_i = bias_i, or slope p_i + cold_bias where nothing was learned

e_i, a direction, and p_i, a log popularity, are what the item's text lets expect (`models.words`), fitted once and then
fixed: theta_0 of theta = theta_0 + delta. The residual r_i adds what interactions taught. Residual and bias are dropped
at random, together, while training, so that users' vectors also learn to find items that nobody has touched (as in
DropoutNet, Volkovs et al. 2017). Of a trained item e_i and p_i are what the other items let expect, so that a dropped
item is as little known as a new one. e_i itself is not trained: a map of it, learned beside the rest, soon knows the
trained items by heart and ranks new ones worse.

Letters: N items, M new items, d item width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

OPTIMISM = 2.33
"""Standard deviations a new item is hoped to do better than its text lets expect: that one in 100 does."""


def log_popularity(popularity: Tensor) -> Tensor:
    """The log of how often each item was taken, about its mean, (N,)."""
    logs = torch.log(popularity + 1.0)
    return logs - logs.mean()


class ItemTower(nn.Module):
    """Item vectors (N, d) of unit length and biases (N,), from what their texts let expect, (N, d + 1)."""

    expected: Tensor
    described: Tensor

    def __init__(self, expected: Tensor, width: int, residual_dropout: float) -> None:
        """`expected`: direction and log popularity of each item, (N, d + 1), zeros where there is no text."""
        super().__init__()
        self.register_buffer("expected", expected)
        self.register_buffer("described", _described(expected), persistent=False)
        self.speaks = bool(self.described.any())
        self.residual = nn.Parameter(torch.randn(len(expected), width) * (0.3 / width**0.5))
        self.bias = nn.Parameter(torch.zeros(len(expected)))
        self.slope = nn.Parameter(torch.ones(()))
        self.cold_bias = nn.Parameter(torch.zeros(()))
        self.residual_dropout = residual_dropout

    def start_biases(self, popularity: Tensor) -> None:
        """Begin from the log of how often each item was taken, (N,): the prior then starts as popularity."""
        with torch.no_grad():
            self.bias.copy_(log_popularity(popularity))

    @torch.no_grad()
    def start(self, directions: Tensor, trust: Tensor) -> None:
        """Begin from where the interactions alone would put the items, as far as they can be trusted.

        The residual is what the text does not say: v = (1 - trust) e + trust * direction. An item without a text has
        nothing else to be trusted, and one of which nothing at all is known stays where it is, at random.

        Args:
            directions: (N, d), unit vectors; 0 for an untouched item.
            trust: how far an item's interactions outweigh its text, from 0 for an untouched item to 1, (N,).
        """
        trust = torch.where(self.described, trust, 1.0)[:, None]
        known = self.described | directions.any(-1)
        self.residual.copy_(torch.where(known[:, None], trust * (directions - self.expected[:, :-1]), self.residual))

    def forward(self) -> tuple[Tensor, Tensor]:
        """Vectors (N, d) and biases (N,) of the catalogue; while training, some stand on their text alone."""
        vectors: Tensor = self.residual
        bias: Tensor = self.bias
        if self.training and self.residual_dropout > 0:
            keep = torch.rand(len(bias), device=bias.device) >= self.residual_dropout
            keep = keep | ~self.described  # such an item has nothing else to stand on
            vectors = vectors * keep[:, None]
            bias = torch.where(keep, bias, self.worth(self.expected))
        if self.speaks:
            vectors = vectors + self.expected[:, :-1]
        return F.normalize(vectors, dim=-1), bias

    def cold(self, expected: Tensor) -> tuple[Tensor, Tensor]:
        """Vectors (M, d) and biases (M,) of new items, from what their texts let expect, (M, d + 1).

        Nobody has touched them because nobody could: their biases begin OPTIMISM standard deviations above what is
        expected, those by which the known items' biases lie about what would be expected of them, and a refresh then
        learns what they are worth.
        """
        astray = (self.bias - self.worth(self.expected)).square().mean().sqrt()
        return F.normalize(expected[:, :-1], dim=-1), self.worth(expected) + OPTIMISM * astray

    def worth(self, expected: Tensor) -> Tensor:
        """The bias that a text alone lets expect, (M, d + 1) -> (M,)."""
        return self.slope * expected[:, -1] + self.cold_bias


def _described(expected: Tensor) -> Tensor:
    """Of which rows anything is expected, (M,) bool."""
    return expected.abs().sum(-1) > 0
