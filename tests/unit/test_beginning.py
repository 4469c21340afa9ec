"""What is known of first events: expected at each of the first places is, on average, what users take next."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from models import beginning as module
from models.beginning import beginning, choose_beginning
from models.compiled import Compiled
from models.episode import History, pack
from models.evaluate import LearnerRanker, cold_user, mean_ndcg
from models.learner import Learner, LearnerConfig
from models.traced import Traced

ITEMS, LENGTH = 40, 8
PLACES = LENGTH  # no more than the learner reads


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


def marginal(learner: Learner, histories: list[History], place: int) -> torch.Tensor:
    """What the learner expects at a place, the mean over users."""
    scores = torch.from_numpy(LearnerRanker(learner).scores([one.take(slice(0, place)) for one in histories]))
    for row, one in zip(scores, histories, strict=True):
        row[one.rows[:place]] = -torch.inf
    return scores.softmax(-1).mean(0)


@torch.no_grad()
def test_expected_comes_near_to_what_is_taken_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RIDGE", 1e-6)  # 32 directions for 40 items: nearly all can be said
    learner, everyone = made(), users(300, 0)
    found = beginning(learner, everyone)
    assert found.shape == (PLACES, 32)
    for place in (0, 2, 4, 7):
        taken = torch.bincount(
            torch.cat([torch.from_numpy(one.rows[place : place + 10]) for one in everyone]), minlength=ITEMS
        ).float()
        taken = 0.95 * taken / taken.sum() + 0.05 * torch.full((ITEMS,), 1 / ITEMS)
        learner.beginning.zero_()
        before = (marginal(learner, everyone, place) - taken).abs().sum()
        learner.beginning.copy_(found)
        assert (marginal(learner, everyone, place) - taken).abs().sum() < 0.6 * before


@torch.no_grad()
def test_it_moves_the_users_of_its_places_who_have_an_order_and_no_others() -> None:
    learner = made()
    vectors, _ = learner.catalogue()
    support = pack(
        [history([]), history([3]), history([3, 4]), history(list(range(PLACES))), history([3], False)], LENGTH
    )
    before = learner.user_vectors(vectors, support)
    learner.beginning.copy_(torch.arange(1.0, PLACES + 1)[:, None].expand(-1, 32))
    moved = learner.user_vectors(vectors, support) - before
    torch.testing.assert_close(moved[:, 0], torch.tensor([1.0, 2.0, 3.0, 0.0, 0.0]))
    each = learner(vectors, pack([history([3, 4, 5]), history([3, 4, 5], False)], LENGTH))
    learner.beginning.zero_()
    moved = each - learner(vectors, pack([history([3, 4, 5]), history([3, 4, 5], False)], LENGTH))
    torch.testing.assert_close(moved[:, :, 0], torch.tensor([[1.0, 2.0, 3.0, 4.0], [0.0] * 4]))


@torch.no_grad()
@pytest.mark.parametrize("length", [4, LENGTH])
def test_every_way_to_adapt_knows_it(length: int) -> None:
    learner = made(length)
    learner.beginning.normal_()
    vectors, _ = learner.catalogue()
    asked = [history(list(range(count)), ordered) for count in (0, 1, 3, 4, 7, 9) for ordered in (True, False)]
    wanted = learner.user_vectors(vectors, pack(asked, length))
    traced, _ = Traced(learner).follow(vectors, pack(asked, length))
    torch.testing.assert_close(traced, wanted, atol=1e-5, rtol=1e-5)
    if not Compiled.possible(learner):
        pytest.skip("no compiler was at hand")
    rows = np.concatenate([one.rows for one in asked])
    sizes = np.array([len(one.rows) for one in asked])
    counts = np.minimum(sizes, length)
    ordered = np.array([one.ordered for one in asked])
    found, _ = Compiled(learner).follow(
        vectors, rows, np.zeros_like(rows), np.ones(len(rows), np.float32), ordered, sizes.cumsum() - counts, counts
    )
    np.testing.assert_allclose(found, wanted, atol=1e-4)


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
    before = mean_ndcg(LearnerRanker(learner), cases)
    best = choose_beginning(learner, everyone, lambda: mean_ndcg(LearnerRanker(learner), cases))
    assert best > 1.5 * before
    assert best == mean_ndcg(LearnerRanker(learner), cases)
    assert torch.equal(learner.tensors()["beginning"], learner.beginning)
    assert learner.beginning.abs().sum() > 0
    nobody_gains = choose_beginning(learner, everyone, lambda: 0.5)
    assert nobody_gains == 0.5
    assert not learner.beginning.any()


@torch.no_grad()
def test_half_of_it_is_kept_where_that_is_best() -> None:
    learner, everyone = made(), users(100, 0)
    whole = beginning(learner, everyone)
    choose_beginning(learner, everyone, lambda: -float((learner.beginning - 0.5 * whole).norm()))
    torch.testing.assert_close(learner.beginning, 0.5 * whole)


@torch.no_grad()
def test_where_nobody_went_on_nothing_moves() -> None:
    learner = made()
    found = beginning(learner, [history([1, 2]), history([2, 3]), history([1, 4, 5], False)])
    assert found[:2].abs().sum() > 0
    assert not found[2:].any()
    assert not beginning(learner, [history([1, 2, 3], False)]).any()


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


@torch.no_grad()
def test_what_was_spoken_against_is_not_what_users_go_on_to_take() -> None:
    learner, everyone = made(), users(100, 0)
    against = [one._replace(preference=np.where(one.rows == 12, -1.0, 1.0).astype(np.float32)) for one in everyone[:90]]
    vectors, _ = learner.catalogue()
    whole = vectors @ beginning(learner, everyone)[5]
    most_against = vectors @ beginning(learner, against + everyone[90:])[5]
    assert whole[12] - most_against[12] > 3 * (whole[13:] - most_against[13:]).abs().mean()
