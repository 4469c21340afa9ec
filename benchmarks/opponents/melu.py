"""MeLU's network (Lee et al. 2019, arXiv:1908.00413): embedded features of user and item, then decision layers.

Letters: B users, R ratings, E width of one embedding, d width of all together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.rating import Episode, Features, Rated

Parameters = dict[str, Tensor]

EPISODES = 64  # read at once


class Padded(NamedTuple):
    """Ratings of B users, each with empty slots up to the longest."""

    users: Tensor  # (B,)
    rows: Tensor  # (B, R)
    values: Tensor  # (B, R)
    mask: Tensor  # (B, R) float, 0 in an empty slot

    @classmethod
    def of(cls, ratings: Sequence[Rated]) -> Padded:
        """Padded to the longest."""
        width = max(1, max(len(one.rows) for one in ratings))
        rows, values = np.zeros((len(ratings), width), np.int64), np.zeros((len(ratings), width), np.float32)
        mask = np.zeros((len(ratings), width), np.float32)
        for at, one in enumerate(ratings):
            count = len(one.rows)
            rows[at, :count], values[at, :count], mask[at, :count] = one.rows, one.values, 1.0
        users = torch.tensor([one.user for one in ratings])
        return cls(users, torch.from_numpy(rows), torch.from_numpy(values), torch.from_numpy(mask))


class Embedding(nn.Module):
    """Categorical features -> the mean embedding of each block, concatenated."""

    def __init__(self, features: Features, width: int) -> None:
        super().__init__()
        self.blocks = {name: torch.from_numpy(block) for name, block in features.blocks.items()}
        self.tables = nn.ParameterDict(
            {name: nn.Parameter(torch.randn(size, width) * 0.1) for name, size in features.sizes().items()}
        )

    def forward(self, rows: Tensor) -> Tensor:
        """(...,) -> (..., blocks * E)."""
        return looked_up(dict(self.tables), {name: block[rows] for name, block in self.blocks.items()})


class MeLU(nn.Module):
    """Embeddings, and the decision layers that a user adapts."""

    def __init__(self, users: Features, items: Features, embedding: int, width: int, mean: float) -> None:
        super().__init__()
        self.user, self.item = Embedding(users, embedding), Embedding(items, embedding)
        d = embedding * (len(users.blocks) + len(items.blocks))
        layers = [nn.Linear(d, width), nn.Linear(width, width), nn.Linear(width, 1)]
        with torch.no_grad():
            layers[-1].bias.fill_(mean)
        self.decision = nn.ParameterDict(
            {f"{kind}{at}": getattr(layer, kind) for at, layer in enumerate(layers) for kind in ("weight", "bias")}
        )

    def features(self, users: Tensor, rows: Tensor) -> Tensor:
        """(...,) users and (..., R) rows -> (..., R, d)."""
        return beside(self.user(users), self.item(rows))

    def forward(self, users: Tensor, rows: Tensor) -> Tensor:
        """Predicted ratings, (..., R)."""
        return decide(dict(self.decision), self.features(users, rows))


def looked_up(tables: Parameters, slots: dict[str, Tensor]) -> Tensor:
    """The mean embedding of the slots' categories, block beside block: (..., slots) each -> (..., blocks * E)."""
    out = []
    for name, chosen in slots.items():
        there = (chosen > 0).float()[..., None]
        out.append((tables[name][chosen] * there).sum(-2) / there.sum(-2).clamp(min=1))
    return torch.cat(out, -1)


def beside(user: Tensor, item: Tensor) -> Tensor:
    """A user's features, (..., d), before those of each item, (..., R, d)."""
    return torch.cat([user[..., None, :].expand(*item.shape[:-1], -1), item], -1)


def decide(decision: Parameters, features: Tensor) -> Tensor:
    """The decision layers, (..., R, d) -> (..., R)."""
    x = F.relu(F.linear(features, decision["weight0"], decision["bias0"]))
    x = F.relu(F.linear(x, decision["weight1"], decision["bias1"]))
    return F.linear(x, decision["weight2"], decision["bias2"]).squeeze(-1)


def masked_error(guesses: Tensor, values: Tensor, mask: Tensor) -> Tensor:
    """The mean squared error of what is there."""
    return ((guesses - values).square() * mask).sum() / mask.sum().clamp(min=1)


@torch.no_grad()
def predicted(read: Callable[[Padded, Padded], Tensor], episodes: Sequence[Episode]) -> list[NDArray[np.float32]]:
    """What `read` makes of (support, query), (B, Q), for each episode without the padding, (Q,) each."""
    out: list[NDArray[np.float32]] = []
    for start in range(0, len(episodes), EPISODES):
        batch = episodes[start : start + EPISODES]
        support, query = (Padded.of([episode[at] for episode in batch]) for at in (0, 1))
        found = read(support, query)
        out += [found[at, : len(one.query.rows)].numpy() for at, one in enumerate(batch)]
    return out
