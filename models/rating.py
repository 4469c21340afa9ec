"""The rating objective: fast weights W: D -> 1 that foretell a user's ratings from item features.

    r_ui = mean + b_i + W_u k_i        k_i = scale * [1, q_i]        W_0(u) = (A a_u + S s_u) / scale

b_i and q_i are an item's bias and factors: its own where others have rated it, else what its description lets one
expect of it (models/likeness.py), the bias by a line c_0 + c_1 expected, for it is no random item that gets rated. The
first feature carries the user's own bias. A head starts at what the user's attributes a_u let expect and the choice of
what to rate, s_u: the mean [b, q] of the support's items and how many they are. `models.adapt.adapt` moves it K steps
down the gradient of

    L(W) = 1/2m ( sum_t a_t (W k_t - (r_t - mean - b_t))^2 + |W - W_0|^2 ),    m = 1 + sum_t a_t |k_t|^2.

The second term is D more events for the same inner loop, the unit vectors with the values of W_0: in the units of
`scale` the prior is as sure in one direction as in another. W_K tends to the ridge regression, the posterior mean, as
the steps grow many. m bounds the curvature by 1, so that no user diverges at step sizes below 2. A rating of an item
known by description alone says less, a_t = 1 / (noise + surplus), for the item may differ from what was expected.

Everything begins in closed form (models/factors.py); the outer loop (models/rating_meta.py) learns, through the inner
steps, all but the items: step sizes, scale, both noises, the line, A and S.

Letters: B users, N items, T support ratings, Q queries, A attributes, d factors, D = 1 + d features, K inner steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.adapt import adapt
from models.factors import Factors
from models.likeness import Expectation

TYPICAL = 3.0  # log of a support's size, about which its effect is learned


class Ratings(NamedTuple):
    """Ratings of B users, padded."""

    rows: Tensor  # (B, T)
    values: Tensor  # (B, T)
    mask: Tensor  # (B, T) bool, False in an empty slot

    @classmethod
    def of(cls, ratings: Sequence[tuple[NDArray[np.int64], NDArray[np.float32]]]) -> Ratings:
        """From rows and values, a pair a user."""
        width = max(1, max(len(rows) for rows, _ in ratings))
        out = cls(*(torch.zeros(len(ratings), width, dtype=kind) for kind in (torch.int64, torch.float32, torch.bool)))
        for at, (rows, values) in enumerate(ratings):
            out.rows[at, : len(rows)] = torch.from_numpy(rows)
            out.values[at, : len(rows)] = torch.from_numpy(values)
            out.mask[at, : len(rows)] = True
        return out


class Start(NamedTuple):
    """Where a head begins: vectors [b, q] of the items, the users' prior, and how sure each is."""

    mean: float
    noise: float
    rated: Tensor  # (N,) bool: which items have a vector of their own
    items: Tensor  # (N, D); rows not rated are not looked at
    unsure: Tensor  # (N,): variance of a rating of a rated item for not knowing the item better
    expected: Tensor  # (N, D), by description
    newcomer: Tensor  # (N, D): the same, for a rated item as when it was new; by these what is cold is learned
    attributes: Tensor  # (A, D)
    rho: Tensor  # (D,): variance of the users' heads

    @classmethod
    def of(cls, found: Factors, expect: Expectation, rated: Tensor) -> Start:
        """From the factors, and the descriptions they were found with."""
        weight = torch.cat([torch.ones(1), found.rho[1:]])
        unsure = found.items.covariance.diagonal(dim1=1, dim2=2) @ weight
        vectors = found.items.mean
        expected, newcomer = expect(vectors), expect.newcomers(vectors)
        return cls(found.mean, found.noise, rated, vectors, unsure, expected, newcomer, found.attributes, found.rho)


class RatingHead(nn.Module):
    """Meta-parameters of the rating objective, and the items' vectors."""

    rated: Tensor
    vectors: Tensor
    unsure: Tensor
    expected: Tensor
    newcomer: Tensor

    def __init__(self, start: Start, steps: int) -> None:
        super().__init__()
        self.mean = start.mean
        self.register_buffer("vectors", start.items)
        for name in ("rated", "unsure", "expected", "newcomer"):
            self.register_buffer(name, getattr(start, name))
        D = len(start.rho)
        self.log_scale = nn.Parameter(start.rho.log() / 2)
        self.attributes = nn.Parameter(start.attributes.clone())
        self.choice = nn.Parameter(torch.zeros(D + 1, D))
        self.cold_bias = nn.Parameter(torch.tensor([0.0, 1.0]))
        wrong = (start.newcomer - start.items)[start.rated].square().mean(0)
        surplus = wrong[0] + wrong[1:] @ start.rho[1:]
        self.log_noises = nn.Parameter(torch.stack([torch.tensor(start.noise), surplus]).log())
        self.log_step_sizes = nn.Parameter(chebyshev(steps).log())

    @property
    def step_sizes(self) -> Tensor:
        """(K, 1): there is one head."""
        return self.log_step_sizes.exp()[:, None]

    def read(self, rows: Tensor, cold: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Vectors [b, q] of the items (B, T), (B, T, D), and how much a rating of each weighs, (B, T).

        `cold`: whose items are read by their descriptions alone, (B,) bool, as if nobody had rated them.
        """
        rated, expected = self.rated[rows], self.expected[rows]
        if cold is not None:
            expected = torch.where(rated[..., None], self.newcomer[rows], expected)
            rated = rated & ~cold[:, None]
        bias = self.cold_bias[0] + self.cold_bias[1] * expected[..., :1]
        expected = torch.cat([bias, expected[..., 1:]], -1)
        noise, surplus = self.log_noises.exp()
        weights = 1 / (noise + torch.where(rated, self.unsure[rows], surplus))
        return torch.where(rated[..., None], self.vectors[rows], expected), weights

    def keys(self, vectors: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, D)."""
        return torch.cat([torch.ones_like(vectors[..., :1]), vectors[..., 1:]], -1) * self.log_scale.exp()

    def prior(self, attributes: Tensor, vectors: Tensor, mask: Tensor) -> Tensor:
        """W_0 of users with these attributes, (B, A), who chose these items, (B, T, D): (B, D)."""
        count = mask.sum(1, keepdim=True).clamp(min=1)
        mean = (vectors * mask[..., None]).sum(1) / count
        chosen = torch.cat([mean, count.to(mean.dtype).log() - TYPICAL], -1)
        return (attributes @ self.attributes + chosen @ self.choice) / self.log_scale.exp()

    def adapted(
        self, attributes: Tensor, support: Ratings, cold: Tensor | None = None, step_sizes: Tensor | None = None
    ) -> Tensor:
        """The users' heads W_K, (B, D); `step_sizes`, (K, 1), in place of the learned ones."""
        vectors, weights = self.read(support.rows, cold)
        prior = self.prior(attributes, vectors, support.mask)
        keys, weights = self.keys(vectors), weights * support.mask
        B, D = prior.shape
        bound = 1 + (weights * keys.square().sum(-1)).sum(-1, keepdim=True)
        keys = torch.cat([keys, torch.eye(D, dtype=prior.dtype, device=prior.device).expand(B, D, D)], 1)
        values = torch.cat([support.values - self.mean - vectors[..., 0], prior], 1)
        weights = torch.cat([weights, torch.ones_like(prior)], 1) / bound
        sizes = self.step_sizes if step_sizes is None else step_sizes
        W = adapt(prior[:, None, None], keys[:, None], values[:, None, :, None], weights[:, None], sizes)
        return W[:, 0, 0]

    def forward(
        self, attributes: Tensor, support: Ratings, query: Tensor, cold: Tensor | None = None, steps: int | None = None
    ) -> Tensor:
        """Foretold ratings of the query rows, (B, Q); `steps`: so many inner steps, not all."""
        W = self.adapted(attributes, support, cold, self.step_sizes[:steps])
        vectors, _ = self.read(query, cold)
        return self.mean + vectors[..., 0] + (self.keys(vectors) @ W[..., None]).squeeze(-1)


def chebyshev(steps: int, low: float = 0.04, high: float = 1.0) -> Tensor:
    """Step sizes that together shrink the error most for curvatures from `low` to `high`, the largest last, (K,)."""
    angles = (2 * torch.arange(steps, 0, -1) - 1) * torch.pi / (2 * max(steps, 1))
    return 1 / ((high + low) / 2 - (high - low) / 2 * torch.cos(angles))
