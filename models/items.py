"""The item tower: what the text lets expect, plus a learned residual, gives an item's vector and bias.

    v_i = normalize(e_i + r_i)         b_i = bias_i, or slope p_i + cold_bias where nothing was learned
    v_i = short e_i + r_i              where lengths are learned: they begin short and grow with what is known

e_i, a direction, and p_i, a log popularity, are what the item's text lets expect (`models.words`), fitted once and then
fixed: theta_0 of theta = theta_0 + delta. The residual r_i adds what interactions taught. Residual and bias are dropped
at random, together, while training, so that users' vectors also learn to find items that nobody has touched (as in
DropoutNet, Volkovs et al. 2017). Of a trained item e_i and p_i are what the other items let expect, so that a dropped
item is as little known as a new one. e_i itself is not trained: a map of it, learned beside the rest, soon knows the
trained items by heart and ranks new ones worse.

Letters: N items, M new items, r rank of vectors.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def log_popularity(popularity: Tensor) -> Tensor:
    """The log of how often each item was taken, about its mean, (N,)."""
    logs = torch.log(popularity + 1.0)
    return logs - logs.mean()


SHORT = 0.2
"""The length that item vectors begin with where it is learned."""


class ItemTower(nn.Module):
    """Item vectors (N, r) and biases (N,), from what their texts let expect, (N, r + 1)."""

    expected: Tensor
    described: Tensor

    def __init__(self, expected: Tensor, width: int, residual_dropout: float, unit: bool = True) -> None:
        """Args:
        expected: direction and log popularity of each item, (N, r + 1), zeros where there is no text.
        unit: whether vectors have unit length, or one that is learned.
        """
        super().__init__()
        self.unit = unit
        self.size = 1.0 if unit else SHORT
        self.register_buffer("expected", expected)
        self.register_buffer("described", _described(expected), persistent=False)
        self.speaks = bool(self.described.any())
        self.residual = nn.Parameter(torch.randn(len(expected), width) * (0.3 * self.size / width**0.5))
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
        """Begin where `placed` puts the items; one of which nothing at all is known stays where it is, at random."""
        known = self.described | directions.any(-1)
        self.residual.copy_(torch.where(known[:, None], self.placed(directions, trust), self.residual))

    def placed(self, directions: Tensor, trust: Tensor) -> Tensor:
        """Residuals that put the items where the interactions alone would, as far as they can be trusted, (N, r).

        They are what the text does not say: v = (1 - trust) e + trust * direction. An item without a text has nothing
        else to be trusted.

        Args:
            directions: (N, r), unit vectors; 0 for an untouched item.
            trust: how far an item's interactions outweigh its text, from 0 for an untouched item to 1, (N,).
        """
        return torch.where(self.described, trust, 1.0)[:, None] * (self.size * directions - self.text())

    def forward(self) -> tuple[Tensor, Tensor]:
        """Vectors (N, r) and biases (N,) of the catalogue; while training, some stand on their text alone."""
        vectors: Tensor = self.residual
        bias: Tensor = self.bias
        if self.training and self.residual_dropout > 0:
            keep = torch.rand(len(bias), device=bias.device) >= self.residual_dropout
            keep = keep | ~self.described  # such an item has nothing else to stand on
            vectors = vectors * keep[:, None]
            bias = torch.where(keep, bias, self.worth(self.expected))
        if self.speaks:
            vectors = vectors + self.text()
        return self._sized(vectors), bias

    def cold(self, expected: Tensor) -> tuple[Tensor, Tensor]:
        """Vectors (M, r) and biases (M,) of new items, from what their texts let expect, (M, r + 1).

        Nobody has touched them because nobody could: their biases begin where the text lets expect them, and a refresh
        then learns what they are worth.
        """
        return self._sized(self.size * expected[:, :-1]), self.worth(expected)

    def _sized(self, vectors: Tensor) -> Tensor:
        return F.normalize(vectors, dim=-1) if self.unit else vectors

    def worth(self, expected: Tensor) -> Tensor:
        """The bias that a text alone lets expect, (M, r + 1) -> (M,)."""
        return self.slope * expected[:, -1] + self.cold_bias

    def text(self) -> Tensor:
        """Where the text alone puts the items, (N, r)."""
        return self.size * self.expected[:, :-1]

    @torch.no_grad()
    def turn(self, rotation: Tensor) -> None:
        """Turn every vector v to rotation v; (r, r)."""
        self.expected[:, :-1] = self.expected[:, :-1] @ rotation.T
        self.residual.copy_(self.residual @ rotation.T)


def _described(expected: Tensor) -> Tensor:
    """Of which rows anything is expected, (M,) bool."""
    return expected.abs().sum(-1) > 0
