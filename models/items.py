"""The item tower: content projected, plus a learned residual, gives an item's vector and bias.

    v_i = normalize(P (c_i - mean) + r_i)         b_i = bias_i, or the cold bias where nothing was learned

theta = theta_0 + delta: the pretrained content vector c_i carries an item nobody has touched, the residual r_i adds
what interactions taught. Residual and bias are dropped at random, together, while training, so that the projection
learns to stand alone (as DropoutNet does, Volkovs et al. 2017) and the cold bias is learned beside it.

Letters: N items, M new items, C content width, d item width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

OPTIMISM = 0.5


class ItemTower(nn.Module):
    """Item vectors (N, d) of unit length and biases (N,) from content vectors (N, C)."""

    content: Tensor
    centre: Tensor
    described: Tensor

    def __init__(self, content: Tensor, width: int, residual_dropout: float) -> None:
        super().__init__()
        count, content_width = content.shape
        described = _described(content)
        self.speaks = bool(described.any())
        self.register_buffer("content", content)
        self.register_buffer("described", described, persistent=False)
        self.register_buffer("centre", content[described].mean(0) if self.speaks else content.new_zeros(content_width))
        self.projection = nn.Parameter(torch.randn(width, content_width) * (1.5 / width**0.5))
        self.residual = nn.Parameter(torch.randn(count, width) * (0.3 / width**0.5))
        self.bias = nn.Parameter(torch.zeros(count))
        self.cold_bias = nn.Parameter(torch.zeros(()))
        self.residual_dropout = residual_dropout

    def start_biases(self, popularity: Tensor) -> None:
        """Begin from the log of how often each item was taken, (N,): the prior then starts as popularity."""
        with torch.no_grad():
            logs = torch.log(popularity + 1.0)
            self.bias.copy_(logs - logs.mean())

    @torch.no_grad()
    def start(self, directions: Tensor, trust: Tensor, ridge: float = 10.0) -> None:
        """Begin from where the interactions alone would put the items, as far as they can be trusted.

        The projection begins as the ridge regression of the directions on the content, so that an item's text says from
        the first step where it belongs; the residual is what is left: v = (1 - trust) P c + trust * direction.

        Args:
            directions: (N, d), unit vectors; 0 for an untouched item.
            trust: how far an item's interactions outweigh its text, from 0 for an untouched item to 1, (N,).
        """
        centred = (self.content - self.centre) * self.described[:, None]
        weighted = centred * trust[:, None]
        gram = weighted.T @ centred + ridge * torch.eye(centred.shape[1], dtype=centred.dtype, device=centred.device)
        self.projection.copy_(torch.linalg.solve(gram, weighted.T @ directions).T)
        self.residual.copy_(trust[:, None] * (directions - centred @ self.projection.T))

    def forward(self) -> tuple[Tensor, Tensor]:
        """Vectors (N, d) and biases (N,) of the catalogue; while training, some stand on content alone."""
        residual: Tensor = self.residual
        bias: Tensor = self.bias
        if self.training and self.residual_dropout > 0:
            keep = torch.rand(len(bias), device=bias.device) >= self.residual_dropout
            keep = keep | ~self.described  # such an item has nothing else to stand on
            residual = residual * keep[:, None]
            bias = torch.where(keep, bias, self.cold_bias)
        if self.speaks:
            residual = residual + self.text()
        return F.normalize(residual, dim=-1), bias

    def cold(self, content: Tensor) -> tuple[Tensor, Tensor]:
        """Vectors (M, d) and biases (M,) of new items, from their content vectors (M, C).

        Nobody has touched them because nobody could: they begin at the bias of the OPTIMISM quantile, no lower than the
        cold bias of items that were there and left alone, and a refresh then learns what they are worth. With more
        optimism than the median a few dozen new items crowd all others out of the top ten.
        """
        hopeful = torch.maximum(torch.quantile(self.bias.float(), OPTIMISM), self.cold_bias)
        return F.normalize(self.project(content, _described(content)), dim=-1), hopeful.expand(len(content))

    def text(self) -> Tensor:
        """Where the text alone puts the items, (N, d)."""
        return self.project(self.content, self.described)

    @torch.no_grad()
    def turn(self, rotation: Tensor) -> None:
        """Turn every vector v to rotation v; (d, d)."""
        self.projection.copy_(rotation @ self.projection)
        self.residual.copy_(self.residual @ rotation.T)

    def project(self, content: Tensor, described: Tensor) -> Tensor:
        """(M, C) -> (M, d). An item without content projects to zero, not to the centre's image."""
        return content @ self.projection.T - described[:, None] * (self.projection @ self.centre)


def _described(content: Tensor) -> Tensor:
    """Which rows say anything, (M,) bool."""
    return content.abs().sum(-1) > 0
