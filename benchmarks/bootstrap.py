"""The paired bootstrap over users: how sure is it that one model is better than another?

Users are drawn with replacement, the same users for both models (Efron & Tibshirani 1993, chapter 8).

Letters: M models, U users, R resamples.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Comparison(NamedTuple):
    """`ours` against `theirs`: means, and 95% intervals of their difference and ratio.

    `wins` is the share of resamples in which ours is strictly higher.
    """

    ours: float
    theirs: float
    difference_low: float
    difference_high: float
    ratio_low: float
    ratio_high: float
    wins: float


def resampled(figures: NDArray[np.float64], resamples: int, seed: int = 0) -> NDArray[np.float64]:
    """Means of the M models, (M, R), over the same resamples of the U users of `figures`, (M, U)."""
    users = figures.shape[1]
    rng = np.random.default_rng(seed)
    out = np.empty((len(figures), resamples))
    for at in range(resamples):
        out[:, at] = figures @ np.bincount(rng.integers(0, users, users), minlength=users) / users
    return out


def compare(ours: NDArray[np.float64], theirs: NDArray[np.float64], resamples: int = 2000, seed: int = 0) -> Comparison:
    """Ours against theirs, (U,) each, the same users in the same order.

    Raises:
        ValueError: there are no users, or not the same number of them.
    """
    if len(ours) != len(theirs) or not len(ours):
        raise ValueError(f"a paired comparison needs the same users, not {len(ours)} and {len(theirs)}")
    first, second = resampled(np.stack([ours, theirs]), resamples, seed)
    low, high = np.percentile(first - second, [2.5, 97.5])
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.where(second > 0, first / second, np.inf)
    ratio_low, ratio_high = np.percentile(ratios, [2.5, 97.5], method="nearest")
    wins = float((first > second).mean())
    means = float(ours.mean()), float(theirs.mean())
    return Comparison(*means, float(low), float(high), float(ratio_low), float(ratio_high), wins)
