"""What an item's description lets one expect of it: regression on how alike items are.

Items are alike by their texts, by the categories they share, and by how near their years are,

    K_ij = s_text (c'_i . c'_j + (c_i . c_j)^3) + sum_f s_f shared_f(i, j) / sqrt(n_i n_j) + s_year near(i, j) + ..

(c' about the mean, near = exp(-(y_i - y_j)^2 / 2 width^2), products of likenesses being likenesses too), each part as
strong, s, as it is worth beside what the description does not tell, whose strength is 1. Whatever is known of some
items, t_i (a bias, a factor), is then the Gaussian process t ~ N(m, K + I), and for the others

    E t_j = m + sum_i K_ji alpha_i,   alpha = (K + I)^-1 (t - m).

What a known item's own description would let expect, had the item been left out, is t_i - alpha_i / (K + I)^-1_ii:
exact but for m, and of one inverse for all items (Rasmussen & Williams 2006, section 5.4.2). Where items come in an
order, what could be expected of each when it was new is less: what came after it, or with it, does not help.

Letters: N items, M known ones, C content width, S slots of categories, D things expected.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional as F


def content_likeness(content: Tensor, known: Tensor) -> Tensor:
    """By text, (N, N), of content vectors (N, C) whose mean is that of those `known`, (N,) bool.

    The cube sees what is nearly the same, as sequels are, and is deaf to what all texts have in common.
    """
    described = content.abs().sum(1, keepdim=True) > 0
    centred = (content - content[known].mean(0)) * described
    return centred @ centred.T + (content @ content.T) ** 3


def category_likeness(categories: Tensor) -> Tensor:
    """By shared categories, (N, N): the slots, (N, S), hold category numbers from 1, 0 for none."""
    said = torch.zeros(len(categories), int(categories.max()) + 1).scatter_(1, categories, 1.0)
    said = F.normalize(said[:, 1:], dim=1)
    return said @ said.T


def order_likeness(positions: Tensor, width: float) -> Tensor:
    """By how near in order, (N, N): positions (N,), `width` of which away likeness has fallen to 0.6."""
    return torch.exp(-0.5 * ((positions[:, None] - positions[None, :]) / width).square())


class Expectation:
    """The regression on the likeness to known items."""

    def __init__(self, likeness: Tensor, known: Tensor, order: Tensor | None = None) -> None:
        """`likeness`: (N, N). `known`: which items something is known of, (N,) bool. `order`: when each came, (N,)."""
        self.items, self.order = len(likeness), order
        self.rows = known.nonzero().squeeze(1)
        self.across = likeness[:, self.rows]  # (N, M)
        self.inverse = self._inverse(torch.ones(len(self.rows), dtype=torch.bool))  # (M, M)

    def __call__(self, things: Tensor) -> Tensor:
        """What the descriptions let expect, (N, D), from what is known, (N, D); rows not known are not looked at."""
        known = things[self.rows]
        return known.mean(0) + self.across @ (self.inverse @ (known - known.mean(0)))

    def left_out(self, things: Tensor) -> Tensor:
        """As by calling it, but each known item is expected from the others alone, (N, D)."""
        out = self(things)
        known = things[self.rows]
        alpha = self.inverse @ (known - known.mean(0))
        out[self.rows] = known - alpha / self.inverse.diagonal()[:, None]
        return out

    def newcomers(self, things: Tensor, blocks: int = 10) -> Tensor:
        """As by calling it, but each known item as it could be expected when it was new, (N, D).

        In order, the known items make up `blocks`, those that came together in one; each block is expected from all
        before it, and the first, with nothing before it, as by `left_out`. Without an order all are.
        """
        out = self.left_out(things)
        if self.order is None:
            return out
        known, order = things[self.rows], self.order[self.rows].double()
        cuts = torch.quantile(order, torch.linspace(0, 1, blocks + 1, dtype=torch.float64))
        for before, until in pairwise(cuts[1:]):
            old, new = order <= before, (order > before) & (order <= until)
            if new.any():
                mean = known[old].mean(0)
                alpha = self._inverse(old) @ (known[old] - mean)
                out[self.rows[new]] = mean + self.across[self.rows[new]][:, old] @ alpha
        return out

    def _inverse(self, which: Tensor) -> Tensor:
        """Of K + I among some of the known items, (M,) bool."""
        own = self.across[self.rows[which]][:, which].double()
        own.diagonal().add_(1.0)
        return torch.cholesky_inverse(torch.linalg.cholesky(own)).float()
