"""Each user's metrics, from full rankings with seen items excluded and ties counted against the ranker.

Letters: B cases, N items, U users.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks.task import CaseSet
from models.evaluate import Case, Ranker, metrics_at, ranks

CUTOFFS = (10, 20)
BATCH = 256


def single_ranks(scores: NDArray[np.float32], targets: NDArray[np.int64]) -> NDArray[np.int64]:
    """The rank of one target a row, (B,), 1 the best, as `models.evaluate.ranks` has it; scores are (B, N)."""
    own = np.take_along_axis(scores, targets[:, None], 1)
    wanted = np.where(np.isnan(own), -np.inf, own)
    return np.asarray((~(scores < wanted)).sum(1), np.int64)  # what is NaN is not below


def single_metrics(found: NDArray[np.int64], cutoffs: Sequence[int]) -> dict[str, NDArray[np.float64]]:
    """`models.evaluate.metrics_at` of many cases with one target each, from the targets' ranks, (B,)."""
    out = {"MRR": 1 / found}
    for k in cutoffs:
        inside = (found <= k).astype(np.float64)
        out |= {f"HR@{k}": inside, f"Recall@{k}": inside, f"NDCG@{k}": inside / np.log2(found + 1)}
    return out


def cases_measured(
    ranker: Ranker,
    cases: Sequence[Case],
    candidates: NDArray[np.bool_] | None = None,
    cutoffs: Sequence[int] = CUTOFFS,
    *,
    covering: bool = True,
) -> tuple[dict[str, NDArray[np.float64]], float]:
    """Every metric of every case, (B,) each, and, if `covering`, the share of the candidates in anyone's top 10."""
    found: list[dict[str, NDArray[np.float64]]] = []
    shown: set[int] = set()
    items = 0
    for start in range(0, len(cases), BATCH):
        batch = cases[start : start + BATCH]
        scores = ranker.scores([case.support for case in batch])
        items = scores.shape[1]
        for case, row in zip(batch, scores, strict=True):
            row[case.support.rows] = -np.inf
        if candidates is not None:
            scores[:, ~candidates] = -np.inf
        if all(len(case.targets) == 1 for case in batch):
            alone = single_ranks(scores, np.array([case.targets[0] for case in batch], np.int64))
            found.append(single_metrics(alone, cutoffs))
        else:
            each = [metrics_at(ranks(row, case.targets), cutoffs) for case, row in zip(batch, scores, strict=True)]
            found.append({name: np.array([one[name] for one in each]) for name in each[0]})
        if covering and items > 10:
            shown.update(np.unique(np.argpartition(scores, -10, 1)[:, -10:]).tolist())
    coverage = len(shown) / (items if candidates is None else int(candidates.sum()))
    return {name: np.concatenate([one[name] for one in found]) for name in found[0]}, coverage


def users_measured(ranker: Ranker, test: CaseSet) -> tuple[dict[str, NDArray[np.float64]], float]:
    """Every metric of every user, (U,) each, the mean of the user's cases, users ascending; and the coverage."""
    by_case, coverage = cases_measured(ranker, test.cases, test.candidates)
    _, index = np.unique(test.users, return_inverse=True)
    counts = np.bincount(index)
    return {name: np.bincount(index, values) / counts for name, values in by_case.items()}, coverage


def validated(ranker: Ranker, tests: Sequence[CaseSet]) -> float:
    """NDCG@10, the mean over the tests: what settings are chosen by and training is stopped by."""
    measured = (
        cases_measured(ranker, test.cases, test.candidates, [10], covering=False)[0] for test in tests if test.cases
    )
    return float(np.mean([figures["NDCG@10"].mean() for figures in measured]))
