"""The indexes that score roughly first, against the exact one."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor

from models import halved, indexes
from models.blocked import BLOCK, Blocked
from models.halved import Halved
from models.index import Barred, Exact, Hits
from models.indexes import index_for
from models.library import library
from models.panels import Panels
from models.quantised import SPREAD, Quantised
from models.scan import best_scan

N, B, K = 30_000, 40, 10
WIDTH = 64  # what tiles take as it is


@pytest.fixture(scope="module")
def world() -> tuple[Tensor, Tensor, Tensor]:
    """Item vectors (N, d), biases (N,) and user vectors (B, d); every eleventh item is not available."""
    torch.manual_seed(0)
    vectors = torch.nn.functional.normalize(torch.randn(N, WIDTH), dim=-1)
    biases = torch.randn(N) * 0.7
    biases[::11] = -torch.inf
    return vectors, biases, torch.randn(B, WIDTH) * 2


Kind = Callable[[Tensor, Tensor], Blocked]


@pytest.fixture(params=["torch", "registers", "tiles", "halves"])
def kind(request: pytest.FixtureRequest) -> Kind:
    """Integers in each way that this processor has, and halves."""
    if request.param == "halves":
        return Halved
    by = ("torch", "registers", "tiles").index(request.param)
    if by > best_scan():
        pytest.skip(f"this processor has no {request.param} for integers")
    return partial(Quantised, by=by)


def recall(found: Hits, truth: Hits) -> float:
    """The share of the true items that were found."""
    hits = (found.rows[:, :, None] == truth.rows[:, None, :]) & (truth.rows >= 0)[:, None, :]
    return float(hits.sum() / (truth.rows >= 0).sum())


def test_it_finds_what_the_exact_index_finds(kind: Kind, world: tuple[Tensor, Tensor, Tensor]) -> None:
    vectors, biases, users = world
    found, truth = (each(vectors, biases).search(users, None, K) for each in (kind, Exact))
    assert recall(found, truth) >= 0.99
    same = found.rows == truth.rows
    torch.testing.assert_close(found.scores[same], truth.scores[same], atol=1e-3, rtol=0)
    assert not (found.rows % 11 == 0).any()


@pytest.mark.parametrize("share", [0.001, 0.01, 0.1, 0.9])
def test_a_filter_costs_no_recall(kind: Kind, world: tuple[Tensor, Tensor, Tensor], share: float) -> None:
    vectors, biases, users = world
    allowed = torch.rand(B, N) < share
    truth = Exact(vectors, biases).search(users, allowed, K)
    found = kind(vectors, biases).search(users, allowed, K)
    assert recall(found, truth) >= 0.99
    assert allowed.gather(1, found.rows.clamp(min=0))[found.rows >= 0].all()
    assert torch.equal(found.rows >= 0, truth.rows >= 0)


def test_what_is_barred_makes_room_for_the_next(kind: Kind, world: tuple[Tensor, Tensor, Tensor]) -> None:
    vectors, biases, users = world
    best = Exact(vectors, biases).search(users, None, 300).rows
    barred = Barred(torch.arange(B).repeat_interleave(290), best[:, :290].flatten())
    barred = Barred(torch.cat([barred.queries, torch.tensor([0, 0])]), torch.cat([barred.rows, torch.tensor([0, 11])]))
    found = kind(vectors, biases).search(users, None, 10, barred)
    assert recall(found, Hits(best[:, 290:], best[:, 290:])) >= 0.99
    assert not (found.rows[:, :, None] == best[:, None, :290]).any()


def test_more_queries_than_go_together_and_fewer_rows_than_asked_for(
    kind: Kind, world: tuple[Tensor, Tensor, Tensor]
) -> None:
    vectors, biases, users = world
    many = users.repeat(3, 1)
    barred = Barred(torch.tensor([119]), Exact(vectors, biases).search(users[-1:], None, 1).rows[0])
    found = kind(vectors, biases).search(many, None, K, barred)
    assert torch.equal(found.rows[:B], found.rows[B : 2 * B])
    assert found.rows[119, 0] == found.rows[79, 1]
    few = kind(vectors[:30], biases[:30]).search(users[:2], None, 100)
    assert few.rows.shape == (2, 30)
    assert (few.rows >= 0).sum(1).tolist() == [27, 27]
    assert few.scores[0, -1] == -torch.inf


def test_it_is_chosen_by_size(world: tuple[Tensor, Tensor, Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, biases, _ = world
    small = Exact if library() is None else Panels
    assert isinstance(index_for(vectors, biases), small)
    monkeypatch.setattr(indexes, "LARGE", N)
    large = index_for(vectors, biases)
    assert isinstance(large, Quantised)
    biases_at_most = 4 if best_scan() == 0 else 3.5  # of int32; a scan's own stand by item only where neighbours differ
    assert WIDTH + 8 < large.bytes_an_item < WIDTH + 9.1 + biases_at_most
    assert isinstance(index_for(vectors[:, :0], biases), small)
    assert isinstance(index_for(vectors.to("meta"), biases.to("meta")), Exact)
    monkeypatch.setattr(indexes, "LARGE_ON_GPU", N)
    assert isinstance(index_for(vectors.to("meta"), biases.to("meta")), Halved)
    assert Halved(vectors, biases).bytes_an_item == 2 * WIDTH + 6


def test_chunks_of_halves_change_nothing(world: tuple[Tensor, Tensor, Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, biases, users = world
    barred = Barred(torch.arange(B), Exact(vectors, biases).search(users, None, 1).rows[:, 0])
    allowed = torch.rand(B, N) < 0.5
    index = Halved(vectors, biases)
    whole = index.search(users, allowed, K, barred)
    monkeypatch.setattr(halved, "HELD", B * 999)
    for mine, theirs in zip(index.search(users, allowed, K, barred), whole, strict=True):
        assert torch.equal(mine, theirs)


@pytest.mark.parametrize("spread", [0.0, 8.0])
def test_biases_that_all_agree_or_lie_far_apart(
    kind: Kind, world: tuple[Tensor, Tensor, Tensor], spread: float
) -> None:
    vectors, _, users = world
    biases = torch.linspace(-spread, spread, N)
    truth = Exact(vectors, biases).search(users, None, K)
    assert recall(kind(vectors, biases).search(users, None, K), truth) >= 0.99


def test_where_nothing_is_available_nothing_is_found(kind: Kind, world: tuple[Tensor, Tensor, Tensor]) -> None:
    vectors, biases, users = world
    nothing = kind(vectors, torch.full_like(biases, -torch.inf))
    found = nothing.search(users, None, K, Barred(torch.tensor([0]), torch.tensor([5])))
    assert found.rows.shape == (B, K)
    assert (found.rows == -1).all()


@pytest.mark.parametrize("count", [4296, 4147, 5000])
def test_the_last_row_is_barred_though_padding_repeats_it(kind: Kind, count: int) -> None:
    torch.manual_seed(0)
    vectors, biases = torch.nn.functional.normalize(torch.randn(count, 16), dim=-1), torch.zeros(count)
    users = vectors[-1:] * 5 + torch.randn(8, 16) * 0.1
    barred = Barred(torch.arange(8), torch.full((8,), count - 1))
    for k in (50, 100):
        assert (kind(vectors, biases).search(users, None, k).rows[:, 0] == count - 1).all()
        assert (kind(vectors, biases).search(users, None, k, barred).rows != count - 1).all()


def test_biases_alone_decide_where_vectors_say_nothing(kind: Kind) -> None:
    biases = torch.linspace(-1, 1, N)[torch.randperm(N)]
    for vectors in (torch.zeros(N, 8), torch.randn(N, 8) * 1e-6):
        found, truth = (each(vectors, biases).search(torch.ones(2, 8), None, K) for each in (kind, Exact))
        assert recall(found, truth) == 1


def test_nobody_is_answered_with_nothing(kind: Kind, world: tuple[Tensor, Tensor, Tensor]) -> None:
    vectors, biases, users = world
    found = kind(vectors, biases).search(users[:0], None, K)
    assert found.rows.shape == found.scores.shape == (0, K)


def test_vectors_that_are_no_numbers_hide_nothing(kind: Kind, world: tuple[Tensor, Tensor, Tensor]) -> None:
    vectors, biases, users = world
    biases = biases.nan_to_num(neginf=0.0)
    truth = Exact(vectors, biases).search(users, None, K)
    broken = vectors.clone()
    ruined = torch.arange(0, N, 300)
    broken[ruined] = torch.nan
    found = kind(broken, biases).search(users, None, K)
    assert not torch.isin(found.rows, ruined).any()
    assert recall(found, Hits(*(part[:, :5] for part in truth))) > 0.95  # of the best, few are ruined


def test_scores_that_leave_the_rough_range_are_answered(kind: Kind, world: tuple[Tensor, Tensor, Tensor]) -> None:
    vectors, biases, users = world
    for scale, least in ((40.0, 0.95), (1e5, 0.0)):
        truth = Exact(vectors, biases).search(users * scale, None, K)
        found = kind(vectors, biases).search(users * scale, None, K)
        assert (found.rows >= 0).all()
        assert recall(found, truth) >= least


def test_no_more_is_ranked_again_than_rounding_may_hide(world: tuple[Tensor, Tensor, Tensor]) -> None:
    vectors, biases, users = world
    index = Quantised(vectors, biases)
    maxima, unsure = index._maxima(users, None, None)
    top = maxima.topk(2 * K + 30).values
    ranked = (top >= top[:, K - 1 : K] - unsure[:, None]).sum(1)
    assert int(ranked.min()) >= K
    assert float(ranked.float().mean()) < 1.6 * K


@pytest.mark.parametrize("count", [N, 4097, 4128, 70])  # a chunk, blocks and part of one to be padded
def test_without_biases_it_is_as_if_made_without(kind: Kind, world: tuple[Tensor, Tensor, Tensor], count: int) -> None:
    vectors, biases, users = (each[:count] for each in world)
    vectors, asked = vectors.abs(), -users.abs()  # all scores are negative: what pads a block would come first
    available = torch.zeros(count).masked_fill(biases.isinf(), -torch.inf)
    biased = kind(vectors, biases)
    before = biased.search(asked, None, K)
    found, truth = biased.unbiased().search(asked, None, K), Exact(vectors, available).search(asked, None, K)
    assert recall(found, truth) >= 0.99
    assert not (found.rows % 11 == 0).any()
    assert torch.equal(biased.search(asked, None, K).rows, before.rows), "nothing is changed of the index it is of"


@pytest.mark.parametrize(("count", "width"), [(5, 64), (70, 3), (5000, 64), (9000, 128), (4097, 18), (300, 65)])
@pytest.mark.parametrize("queries", [1, 31, 33, 64])
def test_compiled_or_by_torch_blocks_have_the_same_maxima(count: int, width: int, queries: int) -> None:
    if not best_scan():
        pytest.skip("this processor scans by torch alone")
    torch.manual_seed(count + queries)
    vectors, biases = torch.nn.functional.normalize(torch.randn(count, width)), torch.randn(count) * 0.7
    biases[::11] = -torch.inf
    users = torch.randn(queries, width) * 2
    allowed = torch.rand(queries, count) < 0.3
    barred = Barred(torch.randint(0, queries, (500,)), torch.randint(0, count, (500,)))
    ways = [Quantised(vectors, biases, by) for by in range(best_scan() + 1)]
    weights = (127 / users.abs().amax(1, keepdim=True).clamp(min=1)).floor()
    blocks = (len(ways[0].rows) + BLOCK - 1) // BLOCK
    for given in ((None, None), (allowed, None), (None, barred), (allowed, barred)):
        theirs, *ours = (way._maxima(users, *given)[0][:, :blocks] for way in ways)
        answered = theirs > -(1 << 24)  # else nothing of the block may answer
        for found in ours:
            # torch looks at biases more closely than need be, where a chunk has a block in which they differ much.
            assert ((found - theirs).abs() <= SPREAD * weights)[answered].all()
            assert (found < -(1 << 24))[~answered].all()
            assert torch.equal(found, ours[0])


def test_a_way_that_the_processor_has_not_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot scan by 3"):
        Quantised(torch.eye(4), torch.zeros(4), 3)


def test_an_index_of_nothing_takes_nothing(world: tuple[Tensor, Tensor, Tensor]) -> None:
    vectors, biases, _ = world
    assert Quantised(vectors, torch.full_like(biases, -torch.inf)).bytes_an_item == 0
