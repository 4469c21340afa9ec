"""What is known of first events: expected at each of the first places is, on average, what users take next."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from models.beginning import FLOOR, REACH, choose_beginning, find_beginning
from models.compiled import Compiled
from models.episode import History, pack
from models.evaluate import LearnerRanker, cold_user, mean_ndcg
from models.learner import PLACES, Learner, LearnerConfig
from models.traced import Traced
from tests.worlds import need_library

ITEMS, LENGTH = 40, 30


def history(rows: list[int], ordered: bool = True) -> History:
    return History(np.array(rows, np.int64), np.zeros(len(rows), np.int64), np.ones(len(rows), np.float32), ordered)


def made(length: int = LENGTH) -> Learner:
    torch.manual_seed(0)
    found = Learner(LearnerConfig(width=8, rank=32, heads=2, length=length), torch.randn(ITEMS, 33))
    with torch.no_grad():
        found.prior.normal_(std=0.3)
    return found.eval()


def users(count: int, seed: int) -> list[History]:
    """All begin with a few of the first ten items, and go on with any of the others."""
    rng = np.random.default_rng(seed)
    return [history([*rng.permutation(10)[:5], *(10 + rng.permutation(30)[:15])]) for _ in range(count)]


def marginal(learner: Learner, histories: list[History], place: int) -> Tensor:
    """What the learner expects at a place, the mean over users."""
    scores = torch.from_numpy(LearnerRanker(learner).scores([one.take(slice(0, place)) for one in histories]))
    for row, one in zip(scores, histories, strict=True):
        row[one.rows[:place]] = -torch.inf
    return scores.softmax(-1).mean(0)


def shares(histories: list[History], start: int, end: int) -> Tensor:
    counts = np.bincount(np.concatenate([one.rows[start:end] for one in histories]), minlength=ITEMS)
    return torch.from_numpy(counts / counts.sum()).float()


@torch.no_grad()
def test_expected_comes_near_to_what_is_taken_next() -> None:
    learner, everyone = made(), users(300, 0)
    found = find_beginning(learner, everyone)
    assert found.shape == (PLACES, 32)
    for place in (0, 2, 4, 7):
        taken = (1 - FLOOR) * shares(everyone, place, place + REACH) + FLOOR * shares(everyone, 0, 20)
        learner.beginning.zero_()
        before = (marginal(learner, everyone, place) - taken).abs().sum()
        learner.beginning.copy_(found)
        assert (marginal(learner, everyone, place) - taken).abs().sum() < 0.7 * before


@torch.no_grad()
def test_a_few_users_say_little() -> None:
    learner, everyone = made(), users(300, 0)
    many = find_beginning(learner, everyone)
    few = find_beginning(learner, [one if at < 3 else one.take(slice(0, 4)) for at, one in enumerate(everyone)])
    assert few[5:8].norm(dim=-1).max() < 0.3 * many[5:8].norm(dim=-1).min()


@torch.no_grad()
def test_it_moves_the_users_of_its_places_who_have_an_order_and_no_others() -> None:
    learner = made()
    vectors, _ = learner.catalogue()
    sizes = [0, 1, 2, PLACES - 1, PLACES, LENGTH + 5]
    support = pack([history(list(range(size))) for size in sizes] + [history([3], False), history([], False)], LENGTH)
    before = learner.user_vectors(vectors, support)
    learner.beginning.copy_(torch.arange(1.0, PLACES + 1)[:, None].expand(-1, 32))
    moved = learner.user_vectors(vectors, support) - before
    torch.testing.assert_close(moved[:, 0], torch.tensor([1.0, 2.0, 3.0, PLACES, 0.0, 0.0, 0.0, 0.0]))
    both = pack([history([3, 4, 5]), history([3, 4, 5], False)], LENGTH)
    each = learner(vectors, both)
    learner.beginning.zero_()
    moved = each - learner(vectors, both)
    torch.testing.assert_close(moved[:, :, 0], torch.tensor([[1.0, 2.0, 3.0, 4.0], [0.0] * 4]))


@torch.no_grad()
@pytest.mark.parametrize("length", [4, LENGTH])  # fewer than the places, and more
@pytest.mark.parametrize("way", ["compiled", "traced"])
def test_every_way_to_adapt_knows_it(way: str, length: int) -> None:
    learner = made(length)
    learner.beginning.normal_()
    vectors, _ = learner.catalogue()
    asked = [history(list(range(size)), ordered) for size in (0, 1, 3, 4, 19, 20, 36) for ordered in (True, False)]
    wanted = learner.user_vectors(vectors, pack(asked, length))
    if way == "traced":
        found, _ = Traced(learner).follow(vectors, pack(asked, length))
        torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)
        return
    need_library()
    rows = np.concatenate([one.rows for one in asked])
    sizes = np.array([len(one.rows) for one in asked])
    counts, ordered = np.minimum(sizes, length), np.array([one.ordered for one in asked])
    given = (rows, np.zeros_like(rows), np.ones(len(rows), np.float32), ordered, sizes.cumsum() - counts, counts)
    users_found, _ = Compiled(learner).follow(vectors, *given)
    np.testing.assert_allclose(users_found, wanted, atol=1e-4)


@torch.no_grad()
def test_the_next_event_goes_on_from_a_trail_at_its_own_place() -> None:
    learner = made()
    learner.beginning.normal_()
    vectors, _ = learner.catalogue()
    course = Traced(learner)
    _, trail = course.follow(vectors, pack([history([1, 2]), history([3, 4])], LENGTH))
    whole = pack([history([1, 2, 5]), history([3, 4, 6])], LENGTH)
    led, _ = course.follow(vectors, whole, trail)
    torch.testing.assert_close(led, learner.user_vectors(vectors, whole), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_what_validates_best_is_kept_and_goes_into_a_snapshot() -> None:
    learner, everyone, others = made(), users(300, 0), users(40, 1)
    cases = [cold_user(others, shots, order="time") for shots in (0, 1, 3)]

    def validate() -> float:
        return mean_ndcg(LearnerRanker(learner), cases)

    before = validate()
    share = choose_beginning(learner, everyone, validate)
    assert validate() > 1.5 * before
    assert torch.equal(learner.beginning, share * find_beginning(learner, everyone))
    assert torch.equal(learner.tensors()["beginning"], learner.beginning)
    assert choose_beginning(learner, everyone, lambda: 0.5) == 0.0  # nobody gains
    assert not learner.beginning.any()


@torch.no_grad()
def test_half_of_it_is_kept_where_that_is_best() -> None:
    learner, everyone = made(), users(100, 0)
    whole = find_beginning(learner, everyone)
    assert choose_beginning(learner, everyone, lambda: -float((learner.beginning - 0.5 * whole).norm())) == 0.5
    torch.testing.assert_close(learner.beginning, 0.5 * whole)


@torch.no_grad()
def test_where_nobody_went_on_nothing_moves() -> None:
    learner = made()
    found = find_beginning(learner, [history([1, 2]), history([2, 3]), history([1, 4, 5], False)])
    assert (found[:2].norm(dim=-1) > 0).all()
    assert not found[2:].any()
    assert not find_beginning(learner, [history([1, 2, 3], False)]).any()
    everything = [history(list(range(ITEMS)) * 2) for _ in range(5)]  # all there is, and again
    assert find_beginning(learner, everything).isfinite().all()


@torch.no_grad()
def test_what_was_taken_before_is_not_what_comes_next() -> None:
    learner, everyone = made(), users(200, 0)
    again = [history([*one.rows[:5], *one.rows[:5], *one.rows[5:]]) for one in everyone]
    vectors, _ = learner.catalogue()
    repeated = vectors @ find_beginning(learner, again)[5]
    assert repeated[:10].mean() < repeated[10:].mean()  # their second time is no answer


@torch.no_grad()
def test_what_was_spoken_against_is_not_what_users_go_on_to_take() -> None:
    learner, everyone = made(), users(100, 0)
    against = [one._replace(preference=np.where(one.rows == 12, -1.0, 1.0).astype(np.float32)) for one in everyone[:90]]
    vectors, _ = learner.catalogue()
    whole = vectors @ find_beginning(learner, everyone)[5]
    most_against = vectors @ find_beginning(learner, against + everyone[90:])[5]
    assert whole[12] - most_against[12] > 3 * (whole[13:] - most_against[13:]).abs().mean()


@torch.no_grad()
def test_a_training_does_not_know_it() -> None:
    learner = made()
    vectors, _ = learner.catalogue()
    support = pack([history([]), history([1, 2])], LENGTH)
    whole = learner.user_vectors(vectors, support)
    learner.beginning.fill_(1.0)
    for part in (learner.dropout, learner.blocks):
        part.eval()
    learner.training = True
    torch.testing.assert_close(learner.user_vectors(vectors, support), whole)
    torch.testing.assert_close(learner(vectors, support)[:, 0], learner.prior.expand(2, -1))


@torch.no_grad()
def test_it_turns_with_the_directions_and_stays_when_items_come() -> None:
    learner = made()
    learner.beginning.normal_()
    asked = [history([]), history([1, 2])]
    before = LearnerRanker(learner).scores(asked)
    rotation, _ = torch.linalg.qr(torch.randn(32, 32))
    learner.turn(rotation)
    np.testing.assert_allclose(LearnerRanker(learner).scores(asked), before, atol=1e-4)
    grown = learner.grown(torch.randn(3, 33))
    np.testing.assert_allclose(LearnerRanker(grown).scores(asked)[:, :ITEMS], before, atol=1e-4)
