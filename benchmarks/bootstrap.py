"""The paired bootstrap over users: how sure is it that one model is better than another?

Users are drawn with replacement, the same users for both models (Efron & Tibshirani 1993, chapter 8). One who is
measured more than once, in several periods, is drawn with all of it.

Letters: M models, F figures, U users, R resamples.
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


def resampled(
    figures: NDArray[np.float64], resamples: int, seed: int = 0, users: NDArray[np.int64] | None = None
) -> NDArray[np.float64]:
    """Means of the M models' figures, (M, F), over the same resamples of the U users: (M, R).

    `users`: whose each figure is, (F,); unless given, each is another user's.
    """
    _, whose = np.unique(np.arange(figures.shape[1]) if users is None else users, return_inverse=True)
    counts = np.bincount(whose)
    U = len(counts)
    sums = np.stack([np.bincount(whose, row, U) for row in figures])
    rng = np.random.default_rng(seed)
    out = np.empty((len(figures), resamples))
    for at in range(resamples):
        drawn = np.bincount(rng.integers(0, U, U), minlength=U)
        out[:, at] = sums @ drawn / (counts @ drawn)
    return out


def compare(
    ours: NDArray[np.float64],
    theirs: NDArray[np.float64],
    resamples: int = 2000,
    seed: int = 0,
    users: NDArray[np.int64] | None = None,
) -> Comparison:
    """Ours against theirs, (F,) each, the same users in the same order; `users` as `resampled` takes it.

    Raises:
        ValueError: there are no figures, or not the same number of them.
    """
    if len(ours) != len(theirs) or not len(ours):
        raise ValueError(f"a paired comparison needs the same users, not {len(ours)} and {len(theirs)}")
    first, second = resampled(np.stack([ours, theirs]), resamples, seed, users)
    low, high = np.percentile(first - second, [2.5, 97.5])
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.where(second > 0, first / second, np.inf)
    ratio_low, ratio_high = np.percentile(ratios, [2.5, 97.5], method="nearest")
    wins = float((first > second).mean())
    means = float(ours.mean()), float(theirs.mean())
    return Comparison(*means, float(low), float(high), float(ratio_low), float(ratio_high), wins)
