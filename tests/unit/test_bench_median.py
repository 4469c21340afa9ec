"""Reading rating models at the median."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations_with_replacement

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.median import MedianPredictor, cuts
from benchmarks.rating import Episode, Rated

LEVELS = np.array([1.0, 2.0, 3.0, 4.0])


def wrong(
    predictions: NDArray[np.float32], ratings: NDArray[np.float32], found: Sequence[float] | NDArray[np.float64]
) -> float:
    return float(np.abs(LEVELS[np.searchsorted(np.asarray(found), predictions)] - ratings).sum())


@pytest.mark.parametrize("seed", range(5))
def test_no_other_cuts_are_less_wrong(seed: int) -> None:
    rng = np.random.default_rng(seed)
    ratings = rng.integers(1, 5, 30).astype(np.float32)
    predictions = np.round(ratings + rng.normal(size=30), 1).astype(np.float32)  # some of them equal
    found = cuts(predictions, ratings, LEVELS)
    assert (np.diff(found) >= 0).all()
    places = np.unique(predictions).astype(np.float64) + 0.05
    least = min(wrong(predictions, ratings, some) for some in combinations_with_replacement([-9.0, *places], 3))
    assert wrong(predictions, ratings, found) == pytest.approx(least)


class Constant:
    """Foretells every query's row number."""

    def predict(self, episodes: Sequence[Episode]) -> list[NDArray[np.float32]]:
        return [episode.query.rows.astype(np.float32) for episode in episodes]


def test_a_predictor_is_read_through_its_cuts() -> None:
    none = Rated(0, np.array([], np.int64), np.array([], np.float32))
    asked = Rated(0, np.array([0, 1, 2, 3]), np.array([1, 1, 4, 4], np.float32))
    fitted = MedianPredictor.fitted(Constant(), [Episode(none, asked)], np.array([1.0, 4.0]))
    assert fitted.cuts.tolist() == [1.5]
    assert fitted.predict([Episode(none, asked)])[0].tolist() == [1, 1, 4, 4]
