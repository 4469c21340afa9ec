"""The rating head against ridge regression, and its closed-form start and outer loop on ratings with a known origin."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.factors import factorise
from models.likeness import Expectation, category_likeness, content_likeness, order_likeness
from models.rating import RatingHead, Ratings, Start
from models.rating_meta import RatedItems, RatingConfig, RatingLoop, begin

N, D, A, B, T = 40, 5, 3, 6, 12
U, C, NOISE = 150, 6, 0.7  # of the world below
CONFIG = RatingConfig(factors=3, sweeps=10, steps=3, batch_size=32, support=(3, 20), queries=20)


def head(steps: int = 3) -> RatingHead:
    """With parameters that are nothing in particular, half of the items rated."""
    g = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=g, dtype=torch.float64)

    start = Start(
        3.6, 0.7, torch.arange(N) < N // 2, normal(N, D), normal(N).abs(), normal(N, D), normal(N, D), normal(A, D),
        normal(D).abs() + 0.1,
    )  # fmt: skip
    out = RatingHead(start, steps).double()
    with torch.no_grad():
        out.choice.copy_(0.1 * normal(D + 1, D))
    return out


def episodes(width: int = T) -> tuple[Tensor, Ratings, Tensor]:
    g = torch.Generator().manual_seed(1)
    mask = torch.arange(width) < torch.randint(1, width + 1, (B, 1), generator=g)
    values = 1 + 4 * torch.rand(B, width, generator=g, dtype=torch.float64)
    support = Ratings(torch.randint(N, (B, width), generator=g), values, mask)
    return torch.rand(B, A, generator=g, dtype=torch.float64), support, torch.randint(N, (B, 4), generator=g)


def test_without_inner_steps_the_prior_foretells() -> None:
    h = head()
    attributes, support, query = episodes()
    vectors, _ = h.read(query)
    chosen, _ = h.read(support.rows)
    for at in range(B):
        mine = chosen[at][support.mask[at]]
        said = torch.cat([mine.mean(0), torch.tensor([np.log(len(mine)) - 3.0])])
        prior = attributes[at] @ h.attributes + said @ h.choice
        expected = 3.6 + vectors[at, :, 0] + prior[0] + vectors[at, :, 1:] @ prior[1:]
        torch.testing.assert_close(h(attributes, support, query, steps=0)[at], expected)


def test_many_inner_steps_reach_the_ridge_regression() -> None:
    """In plain units: prior W_0 with variance scale^2, a rating with variance 1 / weight."""
    h = head()
    attributes, support, _ = episodes()
    vectors, weights = h.read(support.rows)
    scale = h.log_scale.exp()
    prior = h.prior(attributes, vectors, support.mask) * scale
    found = h.adapted(attributes, support, step_sizes=torch.full((3000, 1), 1.5, dtype=torch.float64)) * scale
    for at in range(B):
        there = support.mask[at]
        z = torch.cat([torch.ones(int(there.sum()), 1), vectors[at][there, 1:]], 1)
        left = support.values[at][there] - 3.6 - vectors[at][there, 0]
        precision = torch.diag(scale**-2) + z.T @ (weights[at][there, None] * z)
        ridge = torch.linalg.solve(precision, z.T @ (weights[at][there] * left) + prior[at] / scale**2)
        torch.testing.assert_close(found[at], ridge, atol=1e-6, rtol=1e-5)


def test_step_sizes_below_two_never_diverge() -> None:
    h = head()
    attributes, support, _ = episodes(300)
    before = h.adapted(attributes, support, step_sizes=torch.full((0, 1), 1.9, dtype=torch.float64))
    after = h.adapted(attributes, support, step_sizes=torch.full((500, 1), 1.9, dtype=torch.float64))
    assert after.isfinite().all()
    assert after.abs().max() < 10 * before.abs().max()


def test_what_pads_a_support_changes_nothing() -> None:
    h = head()
    attributes, support, query = episodes()
    alone = [h(attributes[at : at + 1], Ratings(*(part[at : at + 1, support.mask[at]] for part in support)),
               query[at : at + 1]) for at in range(B)]  # fmt: skip
    torch.testing.assert_close(h(attributes, support, query), torch.cat(alone))
    nothing = support._replace(mask=torch.zeros_like(support.mask))
    torch.testing.assert_close(h(attributes, nothing, query), h(attributes, nothing, query, steps=0))


def test_read_as_cold_an_items_own_vector_is_not_looked_at() -> None:
    h = head()
    attributes, support, query = episodes()
    cold = torch.arange(B) < B // 2
    before, warm = h(attributes, support, query, cold), h(attributes, support, query)
    with torch.no_grad():
        h.vectors.add_(1.0)
        h.expected[h.rated] += 1.0  # a rated item's expectation from its own ratings, too
    after = h(attributes, support, query, cold)
    torch.testing.assert_close(after[cold], before[cold])
    asked_of_rated = h.rated[query] & ~cold[:, None]
    assert ((after - before).abs() > 1e-3)[asked_of_rated].all()
    assert not torch.allclose(before[cold], warm[cold])


def test_the_outer_gradient_passes_through_the_inner_steps_to_every_parameter() -> None:
    h = head()
    attributes, support, query = episodes()
    cold = torch.arange(B) < B // 2

    def loss() -> Tensor:
        return h(attributes, support, query, cold).square().sum()

    loss().backward()
    for name, parameter in h.named_parameters():
        assert parameter.grad is not None, name
        at = int(parameter.grad.abs().argmax())
        slope = float(parameter.grad.flatten()[at])
        with torch.no_grad():
            entry = parameter.view(-1)
            entry[at] += 1e-5
            above = float(loss())
            entry[at] -= 2e-5
            below = float(loss())
            entry[at] += 1e-5
        assert slope != 0, name
        assert (above - below) / 2e-5 == pytest.approx(slope, rel=1e-4), name


def likeness() -> tuple[Expectation, Tensor]:
    g = torch.Generator().manual_seed(2)
    content = torch.nn.functional.normalize(torch.randn(N, 4, generator=g), dim=1)
    known = torch.arange(N) < 30
    return Expectation(2 * content_likeness(content, known), known), torch.randn(N, 2, generator=g)


def test_left_out_is_what_the_others_alone_let_expect() -> None:
    expect, things = likeness()
    found, m = expect.left_out(things), things[:30].mean(0)
    for item in (0, 7, 29):
        rest = [at for at in range(30) if at != item]
        K = expect.across[rest][:, rest].double()
        alpha = torch.linalg.solve(K + torch.eye(29, dtype=torch.float64), (things[rest] - m).double())
        expected = m + expect.across[item, rest] @ alpha.float()
        torch.testing.assert_close(found[item], expected, atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(found[30:], expect(things)[30:])


def test_a_newcomer_is_expected_from_what_came_before_it() -> None:
    expect, things = likeness()
    order = torch.arange(N) // 5
    expect = Expectation(torch.cat([expect.across, torch.zeros(N, N - 30)], 1), torch.arange(N) < 30, order)
    found = expect.newcomers(things, blocks=3)
    for item in (10, 14, 19):  # of the block of places 2 and 3, after the 10 items of places 0 and 1
        K = expect.across[:10, :10].double()
        m = things[:10].mean(0)
        alpha = torch.linalg.solve(K + torch.eye(10, dtype=torch.float64), (things[:10] - m).double())
        expected = m + expect.across[item, :10] @ alpha.float()
        torch.testing.assert_close(found[item], expected, atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(found[:10], expect.left_out(things)[:10])
    later = things.clone()
    later[20:30] += 1.0
    torch.testing.assert_close(expect.newcomers(later, blocks=3)[10:20], found[10:20])


def test_expectation_does_not_look_at_what_is_not_known() -> None:
    expect, things = likeness()
    other = things.clone()
    other[30:] = torch.nan
    torch.testing.assert_close(expect(other), expect(things))


def test_items_are_alike_by_shared_categories_and_by_nearness() -> None:
    found = category_likeness(torch.tensor([[1, 2], [2, 0], [3, 0], [0, 0]]))
    torch.testing.assert_close(found[0], torch.tensor([1.0, 2**-0.5, 0.0, 0.0]))
    assert found[3].eq(0).all()
    near = order_likeness(torch.tensor([0.0, 1.0, 10.0]), 1.0)
    torch.testing.assert_close(near[0, 1], torch.tensor(-0.5).exp())
    assert near[0, 2] < 1e-10


class World:
    """Ratings that follow the model exactly: two tastes that the text tells half of, and older users rate higher."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        content = rng.normal(size=(N, C))
        self.content = torch.from_numpy(content / np.linalg.norm(content, axis=1, keepdims=True)).float()
        told = self.content.numpy() @ rng.normal(size=(C, 3)) * 1.2
        vectors = told + 0.4 * rng.normal(size=(N, 3))
        older = rng.random(U) < 0.5
        users = np.stack([older - 0.5, *rng.normal(size=(2, U))], 1)
        self.truth = 3 + vectors[:, 0] + users[:, :1] + users[:, 1:] @ vectors[:, 1:].T
        self.ratings = (self.truth + NOISE * rng.normal(size=(U, N))).astype(np.float32)
        self.attributes = torch.from_numpy(np.stack([np.ones(U), older], 1)).float()
        self.warm, self.cold = np.arange(30), np.arange(30, N)
        known = torch.arange(N) < 30
        self.expect = Expectation(3 * content_likeness(self.content, known), known)

    def users(self, which: range) -> list[RatedItems]:
        """Their ratings of 24 warm items."""
        rng = np.random.default_rng(1)
        rows = [np.sort(rng.permutation(self.warm)[:24]) for _ in range(U)]
        return [RatedItems(user, rows[user], self.ratings[user, rows[user]]) for user in which]

    def error(self, h: RatingHead, items: NDArray[np.int64], steps: int | None = None) -> float:
        """Of unmet users: squared error on these items, those at even places being the support."""
        who = range(100, U)
        known, asked = items[::2], items[1::2]
        support = Ratings.of([(known, self.ratings[user, known]) for user in who])
        with torch.no_grad():
            found = h(self.attributes[list(who)], support, torch.from_numpy(asked).expand(len(who), -1), steps=steps)
        return float(np.square(found.numpy() - self.truth[np.ix_(list(who), asked)]).mean())


@cache
def world() -> World:
    return World()


def test_factors_find_what_ratings_were_made_of() -> None:
    w = world()
    users = w.users(range(100))
    rows = torch.from_numpy(np.concatenate([one.rows for one in users]))
    values = torch.from_numpy(np.concatenate([one.values for one in users]))
    whose = torch.arange(100).repeat_interleave(24)
    found = factorise(whose, rows, values, w.attributes[:100], w.expect, 2, 30, seed=0)
    assert found.noise == pytest.approx(NOISE**2, rel=0.25)
    z = torch.cat([torch.ones(N, 1), found.items.mean[:, 1:]], 1)
    foretold = found.mean + found.items.mean[:, 0] + found.users.mean @ z.T
    unseen = np.ones((100, N), np.bool_)
    unseen[whose.numpy(), rows.numpy()] = False
    wrong = np.square(foretold.numpy() - w.truth[:100])[:, :30][unseen[:, :30]].mean()
    assert wrong < 0.15 * np.var(w.truth[:100, :30])
    assert found.attributes[1, 0] > 0.4  # of 1, shrunk: what being older adds


def test_a_head_begun_in_closed_form_reads_known_items_and_unknown_ones() -> None:
    w = world()
    h = begin(w.users(range(100)), w.attributes, w.expect, replace(CONFIG, steps=8))
    for items in (w.warm, w.cold):
        spread = np.var(w.truth[100:, items[1::2]])
        assert w.error(h, items) < 0.6 * spread
        assert w.error(h, items) < 0.8 * w.error(h, items, steps=0)


def test_the_outer_loop_improves_on_the_closed_form_and_repeats_by_its_seed() -> None:
    w = world()
    users = w.users(range(100))
    ends = []
    for _ in range(2):
        h = begin(users, w.attributes, w.expect, CONFIG)
        before = w.error(h, w.warm) + w.error(h, w.cold)
        loop = RatingLoop(h, users, w.attributes, CONFIG)
        losses = [loop.run_epoch() for _ in range(15)]
        assert np.mean(losses[-5:]) < losses[0]
        assert w.error(loop.average, w.warm) + w.error(loop.average, w.cold) < before
        ends.append(torch.cat([parameter.detach().flatten() for parameter in loop.average.parameters()]))
    torch.testing.assert_close(*ends, rtol=0, atol=0)


def test_the_outer_loop_learns_from_whoever_has_enough_ratings() -> None:
    w = world()
    few = [one._replace(rows=one.rows[:12], values=one.values[:12]) for one in w.users(range(5))]
    loop = RatingLoop(begin(w.users(range(20)), w.attributes, w.expect, CONFIG), few, w.attributes, CONFIG)
    assert loop.users == []
    assert loop.run_epoch() == 0.0
