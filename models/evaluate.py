"""Full-ranking evaluation: metrics, protocols, and one table for every ranker.

Every item the user was not seen with is ranked (no sampled negatives: they reorder models, Krichene & Rendle 2020), and
a tie counts against the target, so that a constant scorer scores nothing.

Letters: B users, N items, R a user's targets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from models.episode import History, pack
from models.learner import Learner


class Ranker(Protocol):
    """Whatever scores all items for some histories: the learner, or a baseline."""

    @property
    def name(self) -> str:
        """What tables call it."""
        ...

    def scores(self, histories: Sequence[History]) -> NDArray[np.float32]:
        """(B, N): the higher, the sooner recommended."""
        ...


class Case(NamedTuple):
    """One user's test: what the ranker may see, and the rows it should rank high."""

    support: History
    targets: NDArray[np.integer[Any]]  # (R,)


@dataclass(frozen=True, slots=True)
class LearnerRanker:
    """The learner as a ranker; `steps` = 0 shows what it is worth without adapting."""

    learner: Learner
    name: str = "innerloop"
    steps: int | None = None

    def scores(self, histories: Sequence[History]) -> NDArray[np.float32]:
        """Adapt to each history and score all items, (B, N)."""
        self.learner.eval()
        with torch.inference_mode():
            vectors, biases = self.learner.catalogue()
            support = pack(histories, self.learner.config.length).to(biases.device)
            users = self.learner.user_vectors(vectors, support, self.steps)
            return np.asarray(torch.addmm(biases, users, vectors.T).cpu().numpy(), np.float32)


def ranks(scores: NDArray[np.floating[Any]], targets: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
    """Where each target stands among all items, 1 the best, (R,), ascending; ties count against the targets.

    Args:
        scores: (N,), with -inf for items that may not be ranked.
        targets: distinct rows, (R,). A target scored -inf or NaN ranks last.
    """
    found = np.nan_to_num(scores[targets], nan=-np.inf, posinf=np.inf, neginf=-np.inf)
    wanted = np.sort(found)[::-1]
    others = np.delete(scores, targets)
    ahead = len(others) - np.searchsorted(np.sort(others), wanted, side="left")  # others that score as high or higher
    return np.asarray(ahead + np.arange(1, len(wanted) + 1), np.int64)


def metrics_at(found: NDArray[np.int64], cutoffs: Iterable[int] = (10, 20)) -> dict[str, float]:
    """One user's metrics from the ranks of the targets, (R,), as `ranks` gives them.

    HR@K: is any target in the top K. Recall@K: the share of targets there. NDCG@K: binary gains, log2 discount, against
    the ideal order. MRR: the reciprocal rank of the first target.
    """
    out: dict[str, float] = {"MRR": float(1 / found[0])}
    for k in cutoffs:
        inside = found[found <= k]
        ideal = (1 / np.log2(np.arange(2, min(len(found), k) + 2))).sum()
        out[f"HR@{k}"] = float(len(inside) > 0)
        out[f"Recall@{k}"] = len(inside) / len(found)
        out[f"NDCG@{k}"] = float((1 / np.log2(inside + 1)).sum() / ideal)
    return out


def evaluate(
    ranker: Ranker,
    cases: Sequence[Case],
    cutoffs: Iterable[int] = (10, 20),
    batch_size: int = 256,
    progress: Callable[[int], None] | None = None,
) -> dict[str, float]:
    """Mean metrics over the cases, items of the support excluded from the ranking.

    Adds `coverage@10`: the share of the catalogue that stands in anyone's top 10. `progress` is told the cases done.

    Raises:
        ValueError: there is no case.
    """
    if not cases:
        raise ValueError("no case to evaluate: every user has too few interactions for this protocol")
    cutoffs = tuple(cutoffs)
    totals: dict[str, float] = {}
    shown: set[int] = set()
    for start in range(0, len(cases), batch_size):
        batch = cases[start : start + batch_size]
        scores = ranker.scores([case.support for case in batch])
        for case, row in zip(batch, scores, strict=True):
            row[case.support.rows] = -np.inf
            for name, value in metrics_at(ranks(row, case.targets), cutoffs).items():
                totals[name] = totals.get(name, 0.0) + value
            shown.update(np.argpartition(row, -10)[-10:].tolist() if len(row) > 10 else range(len(row)))
        if progress:
            progress(len(batch))
    means = {name: total / len(cases) for name, total in totals.items()}
    return means | {"coverage@10": len(shown) / scores.shape[1]}


def mean_ndcg(ranker: Ranker, groups: Sequence[Sequence[Case]]) -> float:
    """NDCG@10, the mean over groups of cases: the one figure that models and settings are chosen by."""
    return float(np.mean([evaluate(ranker, cases, [10])["NDCG@10"] for cases in groups]))


def leave_one_out(full: Sequence[History]) -> list[Case]:
    """The last event of each history is the target, all before it the support.

    A user whose last item already occurs in the support is left out: the item could not be ranked.
    """
    return [
        Case(history.take(slice(0, -1)), history.rows[-1:])
        for history in full
        if len(history.rows) >= 2 and history.rows[-1] not in history.rows[:-1]
    ]


def cold_user(
    histories: Sequence[History], shots: int, *, order: str = "random", query: int = 10, seed: int = 0, draws: int = 1
) -> list[Case]:
    """Users never trained on: `shots` events are the support, the next `query` distinct new items the targets.

    Args:
        order: "time" takes the first events; "random" takes events at random, `draws` times.
    """
    rng = np.random.default_rng(seed)
    cases = []
    for history in histories:
        for _ in range(draws if order == "random" else 1):
            events = history
            if order == "random":
                events = history.take(rng.permutation(len(history.rows)))._replace(ordered=False)
            support = events.take(slice(0, shots))
            seen = set(support.rows.tolist())
            fresh = [row for row in dict.fromkeys(events.rows[shots:].tolist()) if row not in seen][:query]
            if len(support.rows) == shots and len(fresh) == query:
                cases.append(Case(support, np.array(fresh, np.int64)))
    return cases
