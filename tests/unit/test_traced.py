"""Traced or compiled, a learner gives what the learner gives, whatever the sizes and whoever is in the batch."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pytest
import torch

from models.compiled import Compiled
from models.episode import History, pack
from models.learner import KIND_SLOTS, Learner, LearnerConfig, Recalls
from models.traced import Traced, _trace
from tests.worlds import need_library

N = 40
Kind = type[Traced] | type[Compiled]


def followed(
    course: Traced | Compiled, vectors: torch.Tensor, users: list[History], lead: list[np.ndarray] | None = None
) -> tuple[torch.Tensor, list[np.ndarray]]:
    """Users' vectors, (B, r), and each one's trail, (n, (blocks - 1) d)."""
    sizes = np.array([len(history.rows) for history in users])
    if isinstance(course, Compiled):
        columns = (np.concatenate([np.asarray(history[at]) for history in users]) for at in range(3))
        ordered = np.array([history.ordered for history in users])
        known = None if lead is None else np.concatenate(lead)
        made, trails = course.follow(vectors, *columns, ordered, sizes.cumsum() - sizes, sizes, known)
        return torch.from_numpy(made), np.split(trails, sizes.cumsum()[:-1])
    support = pack(users, 12)
    T = support.rows.shape[1]
    before = None
    if lead is not None:
        before = torch.zeros(len(users), T - 1, lead[0].shape[1])
        for row, known in zip(before, lead, strict=True):
            row[T - 1 - len(known) :] = torch.from_numpy(known)
    users_made, left = course.follow(vectors, support, before)
    return users_made, [left[row, T - size :].numpy() for row, size in enumerate(sizes)]


@pytest.fixture(params=[Traced, Compiled])
def kind(request: pytest.FixtureRequest) -> Any:
    if request.param is Compiled:
        need_library()
    return request.param


def learner(seed: int = 0, **changes: object) -> Learner:
    torch.manual_seed(seed)
    config = LearnerConfig.from_dict({"width": 16, "rank": 24, "heads": 2, "length": 12} | changes)
    made = Learner(config, torch.nn.functional.normalize(torch.randn(N, config.rank + 1), dim=-1))
    for parameter in made.parameters():  # away from the zeros some start at, so that every path counts
        torch.nn.init.normal_(parameter, std=0.3)
    made.kind_shares.copy_(torch.rand(KIND_SLOTS))
    made.unordered_voice.fill_(0.6)
    made.beginning.normal_(std=0.3)
    return made.eval()


def histories(users: int, longest: int, ordered: float) -> list[History]:
    rng = np.random.default_rng(users)
    sizes = [longest, *rng.integers(0, longest + 1, users - 1)]
    return [
        History(
            rng.integers(0, N, size),
            rng.integers(0, 3, size),
            rng.uniform(-1, 1, size).astype(np.float32),
            bool(rng.random() < ordered),
        )
        for size in sizes
    ]


@pytest.mark.parametrize("recall", get_args(Recalls))
@pytest.mark.parametrize("steps", [0, 1, 3])
def test_it_gives_what_the_learner_gives(kind: Kind, recall: Recalls, steps: int) -> None:
    model = learner(recall=recall, steps=steps)
    traced = kind(model)
    vectors, _ = model.catalogue()
    for users, longest in ((1, 0), (1, 1), (1, 12), (2, 3), (7, 1), (9, 12)):
        for ordered in (0.0, 0.5, 1.0):
            made = histories(users, longest, ordered)
            with torch.inference_mode():
                expected = model.user_vectors(vectors, pack(made, 12))
                torch.testing.assert_close(followed(traced, vectors, made)[0], expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("width", "heads", "rank"), [(16, 2, 24), (24, 3, 20), (64, 2, 64), (32, 4, 300)])
def test_whatever_its_widths(kind: Kind, width: int, heads: int, rank: int) -> None:
    model = learner(width=width, heads=heads, rank=rank)
    course = kind(model)
    vectors, _ = model.catalogue()
    users = histories(9, 12, 0.5)
    with torch.inference_mode():
        expected = model.user_vectors(vectors, pack(users, 12))
        scale = float(expected.abs().max())
        torch.testing.assert_close(followed(course, vectors, users)[0] / scale, expected / scale, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("length", [1, 2])
def test_a_learner_may_be_shorter_than_the_example_that_is_traced(kind: Kind, length: int) -> None:
    model = learner(length=length)
    traced = kind(model)
    vectors, _ = model.catalogue()
    for ordered in (0.0, 1.0):
        users = histories(3, length, ordered)
        with torch.inference_mode():
            expected = model.user_vectors(vectors, pack(users, length))
            torch.testing.assert_close(followed(traced, vectors, users)[0], expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("recall", get_args(Recalls))
@pytest.mark.parametrize("blocks", [1, 2, 3])
def test_from_a_trail_the_newest_event_leads_where_all_of_them_do(kind: Kind, recall: Recalls, blocks: int) -> None:
    model = learner(recall=recall, blocks=blocks)
    traced = kind(model)
    vectors, _ = model.catalogue()
    users = [history for history in histories(9, 12, 1.0) if len(history.rows) > 1]
    before = [history.take(slice(0, -1)) for history in users]
    with torch.inference_mode():
        _, trails = followed(traced, vectors, before)
        whole, left = followed(traced, vectors, users)
        alone, grown = followed(traced, vectors, users, trails)
        torch.testing.assert_close(alone, whole, atol=1e-5, rtol=1e-5)
        for history, one, other in zip(users, grown, left, strict=True):
            assert one.shape == other.shape == (len(history.rows), (blocks - 1) * 16)
            np.testing.assert_allclose(one, other, atol=1e-5, rtol=1e-5)
        if blocks > 1:
            rng = np.random.default_rng(0)
            others = [rng.normal(size=trail.shape).astype(np.float32) for trail in trails]
            elsewhere, _ = followed(traced, vectors, users, others)
            assert not torch.allclose(elsewhere, whole, atol=1e-2), "the trail is what it goes on from"


@pytest.mark.parametrize(("width", "heads", "rank"), [(16, 2, 24), (24, 3, 20), (64, 2, 64)])
@pytest.mark.parametrize("ordered", [0.5, 1.0])
def test_compiled_a_user_gets_the_same_in_any_company(width: int, heads: int, rank: int, ordered: float) -> None:
    need_library()
    model = learner(width=width, heads=heads, rank=rank, steps=2, length=60, recall="unordered")
    course = Compiled(model)
    vectors, _ = model.catalogue()
    users = histories(60, 60, ordered)
    before = [history.take(slice(0, -1)) for history in users if len(history.rows)]
    _, trails = followed(course, vectors, before)
    for made, lead in ((users, None), ([history for history in users if len(history.rows)], trails)):
        together, left = followed(course, vectors, made, lead)
        for at, history in enumerate(made):
            alone, own = followed(course, vectors, [history], None if lead is None else lead[at : at + 1])
            assert torch.equal(together[at], alone[0])
            np.testing.assert_array_equal(left[at], own[0])
        if ordered == 1.0:
            torch.testing.assert_close(together, model.user_vectors(vectors, pack(made, 60)), atol=1e-5, rtol=1e-5)


def test_compiled_who_took_an_item_that_is_broken_is_alone_in_it() -> None:
    need_library()
    model = learner()
    course = Compiled(model)
    vectors, _ = model.catalogue()
    broken = vectors.detach().clone()
    broken[3] = torch.nan
    users = histories(40, 12, 0.5)
    touched = torch.tensor([3 in history.rows for history in users])
    assert touched.any()
    expected, _ = followed(course, vectors.detach(), users)
    made, _ = followed(course, broken, users)
    assert not made[touched].any()
    assert torch.equal(made[~touched], expected[~touched])


def test_a_later_learner_of_its_shape_leaves_it_as_it_is(kind: Kind) -> None:
    first, second = learner(), learner(seed=1)
    traced = kind(first)
    vectors, _ = first.catalogue()
    users = histories(5, 12, 1.0)
    with torch.inference_mode():
        before = followed(traced, vectors, users)[0]
        other = followed(kind(second), vectors, users)[0]
        assert torch.equal(followed(traced, vectors, users)[0], before)
        torch.testing.assert_close(other, second.user_vectors(vectors, pack(users, 12)), atol=1e-5, rtol=1e-5)
        assert not torch.allclose(other, before)


def test_learners_that_differ_in_what_only_training_knows_share_a_trace() -> None:
    Traced(learner())
    made = _trace.cache_info().misses
    Traced(learner(seed=1, dropout=0.5, support_dropout=0.5, residual_dropout=0.5))
    assert _trace.cache_info().misses == made
    Traced(learner(heads=4))
    assert _trace.cache_info().misses > made


def test_a_vector_that_is_not_finite_is_zero(kind: Kind) -> None:
    broken = learner()
    with torch.no_grad():
        broken.prior[3] = torch.nan
    vectors, _ = broken.catalogue()
    with torch.inference_mode():
        assert not followed(kind(broken), vectors, histories(2, 3, 1.0))[0].any()


def test_it_reads_whatever_catalogue_it_is_given(kind: Kind) -> None:
    model = learner()
    traced = kind(model)
    vectors, _ = model.grown(torch.randn(5, model.config.rank + 1)).catalogue()
    users = [History(np.array([N + 4, 3]), np.zeros(2, np.int64), np.ones(2, np.float32))]
    with torch.inference_mode():
        expected = model.user_vectors(vectors, pack(users, 12))
        torch.testing.assert_close(followed(traced, vectors, users)[0], expected, atol=1e-5, rtol=1e-5)
