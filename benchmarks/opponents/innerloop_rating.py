"""Our own rating head as a contender, trained with the pieces of `models` on the protocol's own split.

Letters: U users, N items, A attributes, Q queries.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.opponents.stopping import train_until_best
from benchmarks.rating import Episode, FittedRater, Predictor, RatingTask, validated
from benchmarks.task import Limits, Say, Settings
from models.likeness import Expectation, category_likeness, content_likeness, order_likeness
from models.rating import RatingHead, Ratings
from models.rating_meta import RatedItems, RatingConfig, RatingLoop, begin

EPISODES = 256  # read at once
DECADE = 10.0
STRENGTHS = {"text": 1.0, "genres": 1.0, "director": 0.6, "actors": 0.8, "certificate": 0.3, "year": 0.6, "era": 1.0}
ATTRIBUTES = ("gender", "age", "occupation")


@dataclass(frozen=True, eq=False)
class HeadPredictor:
    """Adapts to each support, then reads at the queries."""

    head: RatingHead
    attributes: Tensor  # (U, A)
    steps: int | None = None

    @torch.no_grad()
    def predict(self, episodes: Sequence[Episode]) -> list[NDArray[np.float32]]:
        """(Q,) each."""
        out: list[NDArray[np.float32]] = []
        for start in range(0, len(episodes), EPISODES):
            batch = episodes[start : start + EPISODES]
            support, query = (Ratings.of([episode[at][1:] for episode in batch]) for at in (0, 1))
            own = self.attributes[[episode.support.user for episode in batch]]
            found = self.head(own, support, query.rows, steps=self.steps).numpy()
            out += [found[at, : len(one.query.rows)] for at, one in enumerate(batch)]
        return out


class InnerLoopRater:
    """The contender. Its variant reads the same head without inner steps."""

    name = "innerloop"
    seeded = True

    def space(self) -> Mapping[str, Sequence[Any]]:
        """The defaults of RatingConfig first."""
        return {
            "factors": (32, 16, 48),
            "steps": (4, 3, 6),
            "rate": (1e-2, 3e-3, 2e-2),
            "cold": (0.6, 0.5, 0.7),
            "description": (1.0, 0.5, 2.0),
        }

    def fit(
        self, task: RatingTask, settings: Settings, seed: int, limits: Limits, say: Say, epochs: int | None = None
    ) -> FittedRater:
        """In closed form, then by the outer loop."""
        chosen = dict(settings)
        expect = described(task, chosen.pop("description"))
        config = replace(RatingConfig(**chosen), seed=seed)
        users = [RatedItems(*one) for one in task.train if len(one.rows)]
        attributes = attributes_of(task)
        loop = RatingLoop(begin(users, attributes, expect, config), users, attributes, config)
        predictor = HeadPredictor(loop.average, attributes)
        say(f"  in closed form: validation MAE {validated(predictor, task):.4f}")
        best = train_until_best(
            loop.average,
            loop.run_epoch,
            lambda: validated(predictor, task),
            limits,
            say,
            most=30,
            patience=5,
            epochs=epochs,
        )
        variants: dict[str, Predictor] = {"K = 0": HeadPredictor(loop.average, attributes, steps=0)}
        return FittedRater(predictor, best, {"epochs": float(best)}, variants, asdict(config))


def described(task: RatingTask, strength: float) -> Expectation:
    """What the items' descriptions let expect; `strength` times as much as STRENGTHS say."""
    trained, blocks = torch.from_numpy(task.trained), task.items.blocks
    parts = {"text": content_likeness(torch.from_numpy(task.content), trained)}
    parts |= {name: category_likeness(torch.from_numpy(block)) for name, block in blocks.items() if name in STRENGTHS}
    years = torch.from_numpy(blocks["year"][:, 0])  # numbered in order
    parts["year"] = order_likeness(years.float(), DECADE)
    parts["era"] = parts["genres"] * parts["year"]
    likeness = torch.zeros_like(parts["text"])
    for name, part in parts.items():
        likeness += strength * STRENGTHS[name] * part
    return Expectation(likeness, trained, years)


def attributes_of(task: RatingTask) -> Tensor:
    """One, then gender, age group and occupation, a column a category: (U, A)."""
    blocks = [torch.from_numpy(task.users.blocks[name][:, 0]) for name in ATTRIBUTES]
    said = [torch.nn.functional.one_hot(block)[:, 1:].float() for block in blocks]
    return torch.cat([torch.ones(len(blocks[0]), 1), *said], 1)
