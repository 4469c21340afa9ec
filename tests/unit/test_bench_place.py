"""Popularity by place, by hand."""

from __future__ import annotations

import numpy as np

from benchmarks.opponents.place import PlacePopularity
from tests.unit.test_bench_opponents import history


def test_popularity_by_place_counts_what_follows_as_many_events() -> None:
    train = [history(0, 1, 2, 3), history(0, 2, 1, 3), history(1, 2, 3), history(3, 0, ordered=False)]
    ranker = PlacePopularity(train, 5, reach=2, floor=0.1)
    overall = np.array([3, 3, 3, 4, 0]) / 13
    second_and_third = np.array([0, 2, 3, 1, 0]) / 6
    fourth_and_fifth = np.array([0, 0, 0, 2, 0]) / 2
    found = ranker.scores([history(4), history(0, 1, 2), history(0, 1, 2, ordered=False)])
    np.testing.assert_allclose(found[0], second_and_third + 0.1 * overall, rtol=1e-6)
    np.testing.assert_allclose(found[1], fourth_and_fifth + 0.1 * overall, rtol=1e-6)
    np.testing.assert_allclose(found[2], overall, rtol=1e-6)
    np.testing.assert_allclose(ranker.scores([history(0, 1, 2, 3)])[0], 0.1 * overall, rtol=1e-6)  # nobody went on
