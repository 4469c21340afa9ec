"""SVD++ (Koren 2008): biases, factors, and implicit feedback; a user it has not met is solved for from the support.

    r_ui = mean + b_i + b_u + q_i . (p_u + |S_u|^(-1/2) sum_(j in S_u) y_j)

Without the y it is biased matrix factorisation. An unmet user's b_u and p_u are the ridge solution on the support.

Letters: N items, U users, B users of a batch, R ratings, d factors, Q queries.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmarks.opponents.stopping import train_until_best
from benchmarks.rating import Episode, FittedRater, Rated, RatingTask, validated
from benchmarks.task import Limits, Say, Settings

BATCH, RATINGS = 64, 200  # users of a batch, and ratings of one user in it


class Factors(nn.Module):
    """The parameters, and the prediction for users of the training."""

    def __init__(self, users: int, items: int, mean: float, factors: int, implicit: bool) -> None:
        super().__init__()
        self.mean, self.implicit = mean, implicit
        self.item_bias, self.user_bias = nn.Parameter(torch.zeros(items)), nn.Parameter(torch.zeros(users))
        self.q, self.p = (nn.Parameter(torch.randn(count, factors) * 0.05) for count in (items, users))
        self.y = nn.Parameter(torch.zeros(items, factors))

    def said(self, rows: Tensor, mask: Tensor) -> Tensor:
        """What having rated these at all says of the users, (B, d)."""
        if not self.implicit:
            return self.p.new_zeros(len(rows), self.p.shape[1])
        return (self.y[rows] * mask[..., None]).sum(1) / mask.sum(1, keepdim=True).clamp(min=1).sqrt()

    def forward(self, users: Tensor, rows: Tensor, mask: Tensor) -> Tensor:
        """(B, R)."""
        taste = self.p[users] + self.said(rows, mask)
        crossed = (self.q[rows] * taste[:, None]).sum(-1)
        return self.mean + self.item_bias[rows] + self.user_bias[users][:, None] + crossed


class FactorsPredictor:
    """Solves for unmet users."""

    def __init__(self, model: Factors, trained: NDArray[np.bool_], bias_ridge: float, factor_ridge: float) -> None:
        """`trained`: the items that have learned anything, (N,); the others' parameters are read as 0."""
        self.model, self.trained = model, torch.from_numpy(trained)
        self.ridge = torch.diag(torch.tensor([bias_ridge, *[factor_ridge] * model.q.shape[1]]))

    @torch.no_grad()
    def predict(self, episodes: Sequence[Episode]) -> list[NDArray[np.float32]]:
        """(Q,) each."""
        known = self.trained.float()
        q, bias = self.model.q * known[:, None], self.model.item_bias * known
        return [self._predict(episode, q, bias, known) for episode in episodes]

    def _predict(self, episode: Episode, q: Tensor, bias: Tensor, known: Tensor) -> NDArray[np.float32]:
        rows, query = torch.from_numpy(episode.support.rows), torch.from_numpy(episode.query.rows)
        said = self.model.said(rows[None], known[rows][None])[0]
        left = torch.from_numpy(episode.support.values) - self.model.mean - bias[rows] - q[rows] @ said
        asked = torch.cat([torch.ones(len(rows), 1), q[rows]], 1)
        solved = torch.linalg.solve(asked.T @ asked + self.ridge, asked.T @ left)
        found = self.model.mean + bias[query] + solved[0] + q[query] @ (solved[1:] + said)
        return np.asarray(found.numpy(), np.float32)


class SVDpp:
    """The contender."""

    name = "svd++"
    seeded = True

    def space(self) -> Mapping[str, Sequence[Any]]:
        """With and without implicit feedback."""
        return {
            "factors": (16, 8, 32, 64),
            "implicit": (True, False),
            "penalty": (0.02, 0.005, 0.01, 0.05, 0.1),
            "rate": (5e-3, 2e-3, 1e-2),
            "bias_ridge": (3.0, 1.0, 5.0, 10.0),
            "factor_ridge": (5.0, 2.0, 10.0, 30.0),
        }

    def fit(
        self, task: RatingTask, settings: Settings, seed: int, limits: Limits, say: Say, epochs: int | None = None
    ) -> FittedRater:
        """By gradient descent on squared errors, penalised as often as a parameter occurs."""
        torch.manual_seed(seed)
        rng = np.random.default_rng(seed)
        train = [one for one in task.train if len(one.rows)]
        model = Factors(len(train), len(task.content), task.mean, settings["factors"], settings["implicit"])
        optimiser = torch.optim.Adam(model.parameters(), settings["rate"])
        predictor = FactorsPredictor(model, task.trained, settings["bias_ridge"], settings["factor_ridge"])

        def run_epoch() -> float:
            total = 0.0
            order = rng.permutation(len(train))
            for start in range(0, len(order), BATCH):
                users = order[start : start + BATCH]
                rows, values, mask = padded([train[user] for user in users], rng)
                there = torch.from_numpy(users)
                wrong = (model(there, rows, mask) - values)[mask]
                size = (
                    model.q[rows][mask].square().sum(-1)
                    + model.item_bias[rows][mask].square()
                    + (model.p[there].square().sum(-1) + model.user_bias[there].square())[:, None].expand_as(mask)[mask]
                    + (model.y[rows][mask].square().sum(-1) if settings["implicit"] else 0.0)
                )
                loss = wrong.square().mean() + settings["penalty"] * size.mean()
                optimiser.zero_grad(set_to_none=True)
                loss.backward()
                optimiser.step()
                total += float(loss.detach()) * len(users)
            return total / len(train)

        best = train_until_best(
            model, run_epoch, lambda: validated(predictor, task), limits, say, most=80, patience=6, epochs=epochs
        )
        return FittedRater(predictor, best, {"epochs": float(best)})


def padded(ratings: Sequence[Rated], rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Rows, values and a mask of what is there, (B, R) each; of a long list some are drawn."""
    kept = [rng.permutation(len(one.rows))[:RATINGS] for one in ratings]
    width = max(len(which) for which in kept)
    rows, values = np.zeros((len(ratings), width), np.int64), np.zeros((len(ratings), width), np.float32)
    mask = np.zeros((len(ratings), width), np.bool_)
    for at, (one, which) in enumerate(zip(ratings, kept, strict=True)):
        rows[at, : len(which)], values[at, : len(which)] = one.rows[which], one.values[which]
        mask[at, : len(which)] = True
    return torch.from_numpy(rows), torch.from_numpy(values), torch.from_numpy(mask)
