"""The gate: whether a candidate is served, by events that neither it nor the current learner was trained on.

Letters: E cases, N items.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.evaluate import Case


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the gate found. Higher is better in all figures; `likelihood` is the mean log-probability of the events."""

    publish: bool
    reason: str
    cases: int
    current: float = 0.0  # NDCG@10
    candidate: float = 0.0
    current_likelihood: float = 0.0
    candidate_likelihood: float = 0.0


class Measured(NamedTuple):
    """How well each of some events was foretold, (E,): its NDCG@10 and its log-probability."""

    ndcg: NDArray[np.float64]
    likelihood: NDArray[np.float64]


def measure(scores: NDArray[np.float32], cases: Sequence[Case]) -> Measured:
    """Rank the one target of each case among all items its user was not seen with; a tie counts against the target.

    Args:
        scores: (E, N); overwritten where an item was seen.
    """
    for case, row in zip(cases, scores, strict=True):
        row[case.support.rows] = -np.inf
    own = np.take_along_axis(scores, np.array([case.targets for case in cases]), 1)
    ranks = (~(scores < own)).sum(1)
    highest = scores.max(1, keepdims=True)
    total = np.exp(scores - highest).sum(1, keepdims=True, dtype=np.float64)
    likelihood = (own - highest - np.log(total))[:, 0].astype(np.float64)
    return Measured(np.where(ranks <= 10, 1 / np.log2(ranks + 1), 0.0), likelihood)


def judge(current: Measured, candidate: Measured, tolerance: float) -> Verdict:
    """Whether the candidate is no worse at the same events: as likely, and by NDCG@10 down by no more than chance is.

    Args:
        tolerance: what NDCG@10 may lose, in standard errors of the mean difference.
    """
    count = len(current.ndcg)
    before, after = float(current.ndcg.mean()), float(candidate.ndcg.mean())
    was, now = float(current.likelihood.mean()), float(candidate.likelihood.mean())
    figures = f"NDCG@10 {before:.4f} -> {after:.4f}, log-likelihood {was:.3f} -> {now:.3f} on {count} unseen events"
    if not np.isfinite(now):
        return Verdict(False, f"the candidate's scores are not finite: {figures}", count, before, after, was, now)
    error = float((candidate.ndcg - current.ndcg).std()) / count**0.5
    worse = after < before - tolerance * error or now < was
    reason = f"the candidate is {'worse' if worse else 'no worse'}: {figures}"
    return Verdict(not worse, reason, count, before, after, was, now)
