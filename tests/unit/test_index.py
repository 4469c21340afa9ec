"""The exact indexes, of torch and compiled, against a plain sort."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from models import index
from models.index import Barred, Exact
from models.indexes import index_for
from models.panels import Panels
from models.sieve import Sieve, sieves
from tests.worlds import need_library

Kind = type[Exact] | type[Panels]


def need_tiles() -> None:
    if not sieves():
        pytest.skip("this processor has no tiles of bfloat16")


@pytest.fixture(params=[Exact, Panels, index_for])
def kind(request: pytest.FixtureRequest) -> Any:
    if request.param is not Exact:
        need_library()
    if request.param is index_for:
        need_tiles()
    return request.param


def everything(queries: int, items: int) -> torch.Tensor:
    return torch.ones(queries, items, dtype=torch.bool)


def test_it_finds_what_a_full_sort_finds(kind: Kind) -> None:
    torch.manual_seed(0)
    vectors, biases, users = torch.randn(300, 8), torch.randn(300), torch.randn(7, 8)
    allowed = torch.rand(7, 300) > 0.3
    hits = kind(vectors, biases).search(users, allowed, 20)
    truth = (users @ vectors.T + biases).masked_fill(~allowed, -torch.inf).sort(descending=True)
    assert torch.equal(hits.rows, truth.indices[:, :20])
    torch.testing.assert_close(hits.scores, truth.values[:, :20], atol=1 / index.GRID, rtol=0)
    assert hits.scores.dtype == torch.float32


def test_ties_go_to_the_lower_row(kind: Kind) -> None:
    hits = kind(torch.ones(6, 2), torch.tensor([0.0, 0, 0, -1, 0, 3])).search(torch.ones(1, 2), everything(1, 6), 4)
    assert hits.rows.tolist() == [[5, 0, 1, 2]]
    assert hits.scores.tolist() == [[5.0, 2.0, 2.0, 2.0]]


def test_alone_or_in_a_batch_a_user_gets_the_same(kind: Kind) -> None:
    torch.manual_seed(1)
    # Each item five times, at five places in memory, and scores that are quarters but for rounding: ties everywhere.
    vectors = (torch.randint(-9, 10, (40, 48)) / 3).repeat(5, 1)
    users = torch.randint(-9, 10, (33, 48)) * 0.75
    exact = kind(vectors, torch.zeros(200))
    together = exact.search(users, everything(33, 200), 12)
    alone = [exact.search(user[None], everything(1, 200), 12) for user in users]
    assert sum(not torch.equal(one.rows[0], rows) for one, rows in zip(alone, together.rows, strict=True)) == 0


def test_fewer_than_asked_for_ends_in_nothing(kind: Kind) -> None:
    exact = kind(torch.eye(3), torch.tensor([-9.0, -8.0, -7.0]))
    allowed = torch.tensor([[True, False, True], [False, False, False]])
    hits = exact.search(torch.zeros(2, 3), allowed, 5)
    assert hits.rows.tolist() == [[2, 0, -1], [-1, -1, -1]]
    assert hits.scores.tolist() == [[-7.0, -9.0, -torch.inf], [-torch.inf] * 3]


def test_a_score_that_is_not_a_number_is_never_a_result(kind: Kind) -> None:
    exact = kind(torch.eye(2), torch.tensor([float("nan"), 0.0]))
    assert exact.search(torch.tensor([[1.0, 1e38], [0.0, 1.0]]), everything(2, 2), 2).rows.tolist() == [[1, -1]] * 2


def test_a_batch_too_large_to_score_at_once_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(2)
    exact, users, allowed = Exact(torch.randn(50, 4), torch.randn(50)), torch.randn(9, 4), torch.rand(9, 50) > 0.2
    whole = exact.search(users, allowed, 5)
    monkeypatch.setattr(index, "_CHUNK", 100)
    assert torch.equal(exact.search(users, allowed, 5).rows, whole.rows)


def test_an_index_without_vectors_ranks_by_bias_alone(kind: Kind) -> None:
    hits = kind(torch.zeros(3, 0), torch.tensor([1.0, 3.0, 2.0])).search(torch.zeros(2, 0), everything(2, 3), 2)
    assert hits.rows.tolist() == [[1, 2], [1, 2]]


@pytest.mark.parametrize("count", [700, 4096, 10_001])
def test_by_blocks_it_finds_what_a_full_sort_finds(kind: Kind, count: int) -> None:
    torch.manual_seed(3)
    vectors, biases, users = torch.randn(count, 8), torch.randn(count), torch.randn(20, 8)
    biases[::7] = -torch.inf
    barred = Barred(torch.arange(20).repeat_interleave(30), torch.randint(count, (600,)))
    allowed = torch.rand(20, count) > 0.3
    for mask in (None, allowed):
        hits = kind(vectors, biases).search(users, mask, 15, barred)
        scores = users @ vectors.T + biases
        scores[barred.queries, barred.rows] = -torch.inf
        truth = scores if mask is None else scores.masked_fill(~mask, -torch.inf)
        torch.testing.assert_close(hits.scores, truth.topk(15).values, atol=1 / index.GRID, rtol=0)
        torch.testing.assert_close(truth.gather(1, hits.rows), hits.scores, atol=1 / index.GRID, rtol=0)


def test_by_blocks_ties_still_go_to_the_lower_row(kind: Kind) -> None:
    torch.manual_seed(4)
    # Scores of few different values: far more rows are equal than blocks are ranked.
    vectors, users = torch.randint(0, 3, (5000, 2)).float(), torch.randint(0, 3, (9, 2)).float()
    hits = kind(vectors, torch.zeros(5000)).search(users, None, 12)
    order = (users @ vectors.T).sort(descending=True, stable=True)
    assert torch.equal(hits.rows, order.indices[:, :12])
    assert torch.equal(kind(vectors, torch.zeros(5000)).search(users, everything(9, 5000), 12).rows, hits.rows)


def test_by_blocks_numbers_that_are_none_hide_nothing(kind: Kind) -> None:
    vectors = torch.zeros(5000, 1)
    vectors[4321] = torch.nan
    biases = torch.arange(5000).float()
    hits = kind(vectors, biases).search(torch.ones(2, 1), None, 3)
    assert hits.rows.tolist() == [[4999, 4998, 4997]] * 2
    only = torch.zeros(2, 5000, dtype=torch.bool)
    only[:, 17] = True
    assert kind(vectors, biases).search(torch.ones(2, 1), only, 3).rows.tolist() == [[17, -1, -1]] * 2


def test_a_batch_cut_in_parts_keeps_who_is_barred_from_what(monkeypatch: pytest.MonkeyPatch) -> None:
    exact, users = Exact(torch.eye(40), torch.arange(40).float()), torch.zeros(7, 40)
    barred = Barred(torch.tensor([0, 3, 6, 6]), torch.tensor([39, 39, 39, 38]))
    monkeypatch.setattr(index, "_CHUNK", 80)
    assert exact.search(users, None, 1, barred).rows.T.tolist() == [[38, 39, 39, 38, 39, 39, 37]]


def test_without_biases_it_is_as_if_made_without(kind: Kind) -> None:
    torch.manual_seed(3)
    vectors, users = torch.randn(300, 8), torch.randn(7, 8)
    biases = torch.randn(300).masked_fill(torch.arange(300) % 7 == 0, -torch.inf)
    biased = kind(vectors, biases)
    before = biased.search(users, None, 20)
    found = biased.unbiased().search(users, None, 20)
    truth = kind(vectors, torch.zeros(300).masked_fill(biases.isinf(), -torch.inf)).search(users, None, 20)
    assert torch.equal(found.rows, truth.rows)
    assert torch.equal(found.scores, truth.scores)
    assert torch.equal(biased.search(users, None, 20).rows, before.rows), "nothing is changed of the index it is of"


def test_none_asked_for_is_an_empty_answer(kind: Kind) -> None:
    hits = kind(torch.eye(3), torch.zeros(3)).search(torch.zeros(2, 3), None, 0)
    assert hits.rows.shape == hits.scores.shape == (2, 0)


def test_scores_beyond_the_grid_are_answered(kind: Kind) -> None:
    vectors, biases = torch.zeros(130, 1), torch.full((130,), -torch.inf)
    biases[70], biases[129] = -2e38, -1e38
    hits = kind(vectors, biases).search(torch.zeros(1, 1), None, 3)
    assert hits.rows.tolist() == [[70, 129, -1]]  # both beyond what is told apart


@pytest.mark.parametrize(("count", "d", "queries", "k"), [(700, 8, 1, 3), (5000, 64, 70, 10), (3001, 33, 17, 100)])
@pytest.mark.parametrize("ties", [False, True])
def test_a_sieve_loses_nothing_and_scores_to_the_last_bit(count: int, d: int, queries: int, k: int, ties: bool) -> None:
    """With `ties` more items are as good as the k-th best than there is room for."""
    need_tiles()
    torch.manual_seed(5)
    vectors, biases, users = torch.randn(count, d), torch.randn(count), 3 * torch.randn(queries, d)
    biases[::7] = -torch.inf
    if ties:
        vectors, biases = vectors[:1].repeat(count, 1), biases.round()
    users[0], users[-1] = 0.0, 1e30
    barred = Barred(torch.arange(queries).repeat_interleave(30), torch.randint(count, (30 * queries,)))
    same(vectors, biases, users, k, barred)


def same(vectors: torch.Tensor, biases: torch.Tensor, users: torch.Tensor, k: int, barred: Barred) -> None:
    """A sieve answers as panels do, to the last bit, with and without what is barred, masked and biased."""
    masks = [None, torch.rand(len(users), len(vectors)) > 0.3]
    exact, rough = Panels(vectors, biases), Sieve(vectors, biases)
    for mask, given, plain in [(mask, given, plain) for mask in masks for given in (None, barred) for plain in (0, 1)]:
        found, truth = ((of.unbiased() if plain else of).search(users, mask, k, given) for of in (rough, exact))
        assert torch.equal(found.rows, truth.rows)
        assert torch.equal(found.scores, truth.scores)


def one_long(vectors: torch.Tensor, biases: torch.Tensor) -> None:
    vectors[77] *= 30


def spread(vectors: torch.Tensor, biases: torch.Tensor) -> None:
    vectors *= torch.randn(len(vectors), 1).exp()


def alike(vectors: torch.Tensor, biases: torch.Tensor) -> None:
    """More than there is room for, each of them better than any other item: every query is lost."""
    rows = torch.randperm(len(vectors))[:400]
    vectors[rows], biases[rows] = vectors[0].clone(), 50.0


def alike_one_way(vectors: torch.Tensor, biases: torch.Tensor) -> None:
    """Those whose users look the one way are lost, the others are not."""
    vectors[torch.randperm(len(vectors))[:400]] = torch.nn.functional.one_hot(torch.tensor(0), vectors.shape[1]) * 9.0


@pytest.mark.parametrize("change", [one_long, spread, alike, alike_one_way])
@pytest.mark.parametrize(("queries", "k"), [(1, 10), (64, 1), (150, 10), (90, 100), (3, 101)])
def test_a_sieve_is_right_where_lengths_differ_and_queries_are_lost(change: Any, queries: int, k: int) -> None:
    need_tiles()
    torch.manual_seed(6)
    vectors, biases = torch.nn.functional.normalize(torch.randn(3000, 40), dim=1), 0.5 * torch.randn(3000)
    users = 3 * torch.nn.functional.normalize(torch.randn(queries, 40), dim=1)
    change(vectors, biases)
    biases[::7] = -torch.inf
    users[::13] *= 1e4  # lost from the beginning where the items are long
    of = torch.randint(queries, (40 * queries,))  # in no order, and some pairs twice
    barred = Barred(of, torch.randint(3000, (40 * queries,)))
    best = Panels(vectors, biases).search(users, None, 3).rows  # and what would be answered
    barred = Barred(
        torch.cat((barred.queries, torch.arange(queries).repeat_interleave(best.shape[1]))),
        torch.cat((barred.rows, best.reshape(-1))),
    )
    same(vectors, biases, users, k, barred)


@pytest.mark.parametrize("number", [torch.nan, torch.inf, 3.4e38, 1e30])
def test_vectors_whose_lengths_say_nothing_are_not_for_a_sieve(number: float) -> None:
    need_tiles()
    for shape in ((1, 1), (70, 3)):
        vectors, biases = torch.full(shape, number), torch.zeros(shape[0])
        with pytest.raises(ValueError, match="numbers"):
            Sieve(vectors, biases)
        assert type(index_for(vectors, biases)) is Panels
    with pytest.raises(ValueError, match="no vectors"):
        Sieve(torch.zeros(3, 0), torch.zeros(3))


def test_a_sieve_takes_vectors_of_any_kind() -> None:
    need_tiles()
    torch.manual_seed(7)
    vectors, biases, users = torch.randn(40, 500).double().T, torch.randn(500), torch.randn(5, 40)
    found, truth = (of(vectors, biases).search(users, None, 9) for of in (Sieve, Panels))
    assert torch.equal(found.rows, truth.rows)
    assert torch.equal(found.scores, truth.scores)


def test_a_sieve_finds_what_rounding_hides_as_well_as_it_can() -> None:
    need_tiles()
    step = 2**-7  # of bfloat16 from 1 on
    vectors = torch.full((200, 64), 1 + 0.501 * step)  # rounded up, all but one, which is best
    vectors[150] = 1 + 0.499 * step
    biases = torch.zeros(200)
    biases[150] = 64 * 0.002 * step + 0.01
    assert Sieve(vectors, biases).search(torch.ones(2, 64), None, 1).rows.tolist() == [[150], [150]]


def test_a_sieve_reckons_with_what_rounding_does_to_a_user() -> None:
    need_tiles()
    step = 2**-7
    user = torch.cat((torch.full((32,), 1 + 0.499 * step), torch.full((32,), 1 + 0.501 * step)))  # down, and up
    vectors, biases = torch.zeros(200, 64), torch.zeros(200)
    vectors[32:, 32:] = 1.0  # the first block has no length at all
    vectors[150], biases[150] = vectors[150].flip(0), 0.01
    assert Sieve(vectors, biases).search(user[None], None, 1).rows.tolist() == [[150]]
