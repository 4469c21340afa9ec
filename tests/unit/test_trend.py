"""The trend moves biases as far as fresh counts ask for, and no further."""

from __future__ import annotations

import torch

from models.trend import HALF_LIFE, PRIOR, Trend

N = 4


def likes(*counts: float) -> torch.Tensor:
    return torch.tensor(counts)


def start() -> Trend:
    return Trend.read({"popularity": likes(39, 9, 9, 1)})


def test_nothing_fresh_moves_nothing() -> None:
    torch.testing.assert_close(start().shift(), torch.zeros(N))
    counted = start().after(likes(0, 1, 0, 0))
    torch.testing.assert_close(Trend.read(counted.tensors()).shift(), counted.shift())
    assert counted.shift()[1] > 0


def test_the_shift_is_the_change_of_a_share() -> None:
    trend = start().after(likes(0, 4, 0, 0))
    share = likes(40, 10, 10, 2) / 62
    k = PRIOR * N
    expected = torch.log((likes(0, 4, 0, 0) + k * share) / (4 + k) / share)
    torch.testing.assert_close(trend.shift(), expected)
    assert expected[1] > 0 > expected[0]


def test_what_goes_on_as_before_goes_nowhere() -> None:
    trend = start()
    for _ in range(20):
        trend = trend.after(trend.share * 10)
    torch.testing.assert_close(trend.shift(), torch.zeros(N), atol=1e-5, rtol=0)


def test_old_counts_fade_by_half() -> None:
    half = HALF_LIFE * N
    trend = start().after(likes(0, 8, 0, 0)).after(likes(half, 0, 0, 0))
    torch.testing.assert_close(trend.taken, likes(half, 4, 0, 0))
    torch.testing.assert_close(trend.exposed, torch.full((N,), half + 4))


def test_a_new_item_begins_where_its_bias_stands() -> None:
    trend = start().after(likes(0, 8, 0, 0))
    learned = start().share.log() + 0.7
    biases = torch.cat([learned + trend.shift(), learned[1:2]])
    grown = trend.grown(biases)
    torch.testing.assert_close(grown.share[N], grown.share[1])
    assert grown.shift()[N] == 0
    after = grown.after(likes(0, 0, 0, 0, 1))
    assert after.shift()[N] > 0
    assert after.exposed[N] == 1
