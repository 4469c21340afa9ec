"""Where the rating head begins: factors of items and users in closed form, with how sure each is.

    r_ui = mean + b_i + w_u . z_i + noise,  z_i = [1, q_i]
    w_u ~ N(A a_u, diag(rho))        [b_i, q_i] ~ N(expected_i, diag(tau))

Users vary about what their attributes a_u let expect, items about what their description does (models/likeness.py):
the transfer-learning identity theta = theta_0 + delta, with delta shrunk by evidence. Given the items, a user's
posterior is a ridge regression, and the other way round; sweeping between the two is variational Bayes (Lim & Teh
2007), which unlike alternating least squares passes on how unsure each side is, so that no penalty needs to be tuned:

    precision_u = diag(1 / rho) + sum_i E[z_i z_i^T] / noise,

and rho, tau and the noise are what the posteriors say they are.

Letters: U users, N items, R ratings in all, A attributes, d factors, D = 1 + d, n rows of one side, m of the other.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from models.likeness import Expectation

ATTRIBUTE_RIDGE = 20.0


class Posterior(NamedTuple):
    """Vectors and their covariances."""

    mean: Tensor  # (n, D)
    covariance: Tensor  # (n, D, D)

    def moments(self) -> tuple[Tensor, Tensor]:
        """Of z = [1, the rest]: E z, (n, D), and E z z^T, (n, D, D)."""
        z, spread = self.mean.clone(), self.covariance.clone()
        z[:, 0], spread[:, 0], spread[:, :, 0] = 1.0, 0.0, 0.0
        return z, z[:, :, None] * z[:, None] + spread

    def bias_times_z(self) -> Tensor:
        """E b z for the bias b, the first entry: (n, D)."""
        out = self.mean[:, :1] * self.moments()[0]
        out[:, 1:] += self.covariance[:, 0, 1:]
        return out


class Table(NamedTuple):
    """Ratings grouped by one side: of its n rows, the other side's rows and the ratings, one group after the other."""

    other: Tensor  # (R,)
    values: Tensor  # (R,), the mean taken off
    starts: Tensor  # (n,)

    @classmethod
    def of(cls, own: Tensor, other: Tensor, values: Tensor, count: int) -> Table:
        """From ratings in any order."""
        order = torch.argsort(own, stable=True)
        sizes = torch.bincount(own, minlength=count)
        return cls(other[order], values[order], sizes.cumsum(0) - sizes)

    def summed(self, things: Tensor, weighted: bool = False) -> Tensor:
        """Each group's sum of the other side's things, times the ratings if `weighted`: (m, ...) -> (n, ...)."""
        flat = things.flatten(1)
        weights = self.values if weighted else None
        out = F.embedding_bag(self.other, flat, self.starts, mode="sum", per_sample_weights=weights)
        return out.view(-1, *things.shape[1:])


class Factors(NamedTuple):
    """What the sweeps end with."""

    mean: float
    noise: float
    items: Posterior  # [b, q]
    users: Posterior  # w
    attributes: Tensor  # (A, D): what an attribute adds to E w
    rho: Tensor  # (D,)
    tau: Tensor  # (D,)


def factorise(
    users: Tensor,
    rows: Tensor,
    values: Tensor,
    attributes: Tensor,
    expect: Expectation,
    factors: int,
    sweeps: int,
    seed: int,
) -> Factors:
    """Sweep between users and items.

    Args:
        users, rows, values: the ratings, (R,) each.
        attributes: a row a user, (U, A), the first column 1.
        expect: what the items' descriptions let expect.
    """
    U, N, D = len(attributes), expect.items, 1 + factors
    mean = float(values.mean())
    by_user = Table.of(users, rows, values - mean, U)
    by_item = Table.of(rows, users, values - mean, N)
    rated = torch.bincount(rows, minlength=N) > 0
    generator = torch.Generator().manual_seed(seed)
    start = 0.1 * torch.randn(N, D, generator=generator) * rated[:, None]
    start[:, 0] = 0.0
    item = Posterior(start, torch.eye(D).expand(N, D, D) * 0.05)
    expected_items, expected_users = torch.zeros(N, D), torch.zeros(U, D)
    noise = 0.8
    rho, tau = torch.ones(D), torch.full((D,), 0.1)
    rho[0], tau[0] = 0.2, 0.3
    gram = attributes.T @ attributes + ATTRIBUTE_RIDGE * torch.eye(attributes.shape[1])
    learned = torch.zeros(attributes.shape[1], D)
    for _ in range(sweeps):
        user = _solved(by_user, item, expected_users, rho, noise)
        item = _solved(by_item, user, expected_items, tau, noise)
        learned = torch.linalg.solve(gram, attributes.T @ user.mean)
        expected_users = attributes @ learned
        rho = _variance(user, expected_users)
        expected_items = expect(item.mean)
        tau = _variance(Posterior(item.mean[rated], item.covariance[rated]), expected_items[rated])
        noise = _noise(by_user, user, item)
    return Factors(mean, noise, item, user, learned, rho, tau)


def _solved(table: Table, other: Posterior, expected: Tensor, variance: Tensor, noise: float) -> Posterior:
    """One side's posteriors given the other's: a ridge regression each, (n, D)."""
    z, second = other.moments()
    precision = table.summed(second) / noise + torch.diag(1 / variance)
    pull = (table.summed(z, weighted=True) - table.summed(other.bias_times_z())) / noise + expected / variance
    covariance = torch.cholesky_inverse(torch.linalg.cholesky(precision))
    return Posterior((covariance @ pull[..., None]).squeeze(-1), covariance)


def _variance(found: Posterior, expected: Tensor) -> Tensor:
    """How far the vectors lie from what was expected of them, (D,)."""
    return ((found.mean - expected).square() + found.covariance.diagonal(dim1=1, dim2=2)).mean(0)


def _noise(by_user: Table, user: Posterior, item: Posterior) -> float:
    """What is left of a rating, E (r - mean - b_i - w_u . z_i)^2, the mean over all."""
    z, second = item.moments()
    left = by_user.values - item.mean[by_user.other, 0]
    unsure = item.covariance[by_user.other, 0, 0]
    pull = by_user.summed(z, weighted=True) - by_user.summed(item.bias_times_z())
    square = user.mean[:, :, None] * user.mean[:, None] + user.covariance
    crossed = (by_user.summed(second) * square).sum() - 2 * (pull * user.mean).sum()
    return float(((left.square() + unsure).sum() + crossed) / len(left))
