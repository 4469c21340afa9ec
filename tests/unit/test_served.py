"""Answers from a real learner with random parameters, on a small catalogue."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from app.history import RECORD, UserHistory
from app.query import Answer, Entry, Inline, Query
from app.served import Served
from app.support import decode
from models.interaction import KIND_CODES
from models.item import Item
from tests.worlds import SHELVES, content_of, served_of, shelf, snapshot_of

COUNT = 60


@pytest.fixture(scope="module")
def served() -> Served:
    return served_of(snapshot_of(COUNT))


def records(*handles: int, kind: str = "view", value: float = math.nan) -> NDArray[np.void]:
    out = np.zeros(len(handles), RECORD)
    out["handle"], out["kind"], out["value"] = handles, KIND_CODES[kind], value
    out["time"] = np.arange(len(handles))
    return out


def entry(handle: int, id: str, **fields: Any) -> Entry:
    return Entry(handle, Item(id, **fields), content_of(1, seed=handle)[0])


def answers(served: Served, queries: Sequence[Query], stored: Sequence[NDArray[np.void] | None]) -> list[Answer]:
    return served.answer(
        queries, [None if one is None else UserHistory(1, one.astype(RECORD).tobytes()) for one in stored]
    )


def ask(served: Served, query: Query, stored: NDArray[np.void] | None = None) -> list[str]:
    return answers(served, [query], [stored])[0].items


def test_a_renewed_catalogue_keeps_the_trace(served: Served) -> None:
    assert served.renewed([], {}, 7)._adapting is served._adapting


def test_a_trail_leads_to_the_same_answers(served: Served) -> None:
    length = served.learner.config.length
    queries = [Query(user="u")] * 4
    sizes = (1, 4, length - 1, length)
    stored = [records(*(1000 + n for n in range(size + 1))) for size in sizes]
    earlier, now = ([UserHistory(1, one[: len(one) - back].tobytes()) for one in stored] for back in (1, 0))
    nobody = [None] * 4
    left = served.compute(queries, earlier, nobody).trails
    assert [None if trail is None else len(trail) for trail in left] == [1, 4, length - 1, None]
    whole, led = served.compute(queries, now, nobody), served.compute(queries, now, nobody, left)
    assert led.answers == whole.answers
    astray = [None if trail is None else np.ones_like(trail) for trail in left]
    answers = served.compute(queries, now, nobody, astray).answers
    assert [one == other for one, other in zip(answers, whole.answers, strict=True)] == [False, False, False, True]
    late = served.compute(queries, now, nobody, [left[1], left[0], None, None])
    assert late.answers == whole.answers, "a trail of another length is not followed"


def test_no_trail_is_left_without_an_order_or_by_what_is_not_the_snapshots(served: Served) -> None:
    unordered, unknown = records(1003, 1017, 1008), records(1003, 9_999)
    unordered["time"] = 7.0
    histories = [UserHistory(1, one.tobytes()) for one in (unordered, unknown)]
    assert served.compute([Query(user="u")] * 2, histories, [None] * 2).trails == [None, None]
    first = served.compute([Query(user="u")], [UserHistory(1, unordered[:1].tobytes())], [None]).trails
    both = UserHistory(2, unordered[:2].tobytes())
    assert served.compute([Query(user="u")], [both], [None], first).answers == served.answer([Query(user="u")], [both])


def test_events_of_one_moment_have_no_order(served: Served) -> None:
    stored = records(1003, 1017, 1008)
    stored["time"] = 7.0
    histories = [
        UserHistory(1, one.astype(RECORD).tobytes())
        for one in (stored, records(1003, 1017), stored[:1], stored[:0], stored)
    ]
    decoded = decode([Query(user="u")] * 5, histories, served._row_of_handle, served.rows, served._scale)
    assert decoded.ordered.tolist() == [False, True, True, True, False]


def test_a_stored_history_and_the_same_given_inline_answer_alike(served: Served) -> None:
    stored = records(1003, 1017, 1008, kind="rating", value=4.0)
    inline = Inline(["i3", "i17", "i8"], [KIND_CODES["rating"]] * 3, [4.0] * 3)
    by_user, by_history = answers(served, [Query(user="u"), Query(history=inline)], [stored, None])
    assert by_user == by_history
    assert len(by_user.items) == 10
    assert by_user.snapshot == served.manifest.version
    assert all(math.isfinite(score) for score in by_user.scores)
    assert list(by_user.scores) == sorted(by_user.scores, reverse=True)
    assert not {"i3", "i17", "i8"} & set(by_user.items)


def test_events_change_the_answer_and_their_order_and_value_matter(served: Served) -> None:
    prior = ask(served, Query(user="nobody"), records())
    assert ask(served, Query()) == prior
    liked = ask(served, Query(user="u", include_seen=True), records(1003, kind="rating", value=5.0))
    disliked = ask(served, Query(user="u", include_seen=True), records(1003, kind="rating", value=1.0))
    assert prior != liked != disliked != prior
    there, back = records(1001, 1030, 1040), records(1040, 1030, 1001)
    assert ask(served, Query(user="u", k=20), there) != ask(served, Query(user="u", k=20), back)


def test_a_user_gets_the_same_alone_as_in_any_batch(served: Served) -> None:
    rng = np.random.default_rng(0)
    queries = [Query(user=str(n), k=int(rng.integers(1, 15))) for n in range(20)]
    stored = [records(*rng.integers(1000, 1000 + COUNT, int(rng.integers(0, 30)))) for _ in queries]
    queries += [Query(like="i5"), Query(history=Inline(["i1"], [0], [math.nan]))]
    together = answers(served, queries, [*stored, None, None])
    for query, given, answer in zip(queries, [*stored, None, None], together, strict=True):
        alone = answers(served, [query], [given])[0]
        assert alone.items == answer.items
        assert alone.scores == pytest.approx(answer.scores, abs=1e-3)


def test_filters(served: Served) -> None:
    everything = ask(served, Query(k=100))
    assert sorted(everything) == sorted(f"i{n}" for n in range(COUNT) if n % 10 != 9)  # every tenth is unavailable
    assert ask(served, Query(k=100, exclude=["i1", "unknown"])) == [item for item in everything if item != "i1"]
    assert set(ask(served, Query(k=100, candidates=["i4", "i9", "i2", "i2", "unknown"]))) == {"i4", "i2"}
    odd = {item for item in everything if int(item[1:]) % 2}
    assert set(ask(served, Query(k=100, categories=["odd"]))) == odd
    assert set(ask(served, Query(k=100, categories=["odd", "even", "unknown"]))) == set(everything)
    assert ask(served, Query(categories=["unknown"])) == []
    assert ask(served, Query(candidates=[])) == []
    only_seen = Query(user="u", candidates=["i4", "i2"])
    assert ask(served, only_seen, records(1004)) == ["i2"]
    assert sorted(ask(served, replace(only_seen, include_seen=True), records(1004))) == ["i2", "i4"]


def test_what_a_history_names_that_is_not_here_is_passed_over(served: Served) -> None:
    known = records(1003, 1008)
    with_strangers = np.concatenate([records(0, 4_000_000_000, 999), known, records(1000 + COUNT)])
    assert ask(served, Query(user="u"), with_strangers) == ask(served, Query(user="u"), known)
    future = records(1003)
    future["kind"] = 200
    assert ask(served, Query(user="u"), future) == ask(served, Query(user="u"), records())


def test_numbers_that_are_not_finite_in_a_history_leave_finite_scores(served: Served) -> None:
    for value in (math.inf, -math.inf, math.nan):
        answer = answers(served, [Query(user="u")], [records(1003, 1004, kind="rating", value=value)])[0]
        assert len(answer.items) == 10
        assert all(math.isfinite(score) for score in answer.scores)


def test_a_user_vector_that_is_not_finite_falls_back_on_the_biases() -> None:
    broken = served_of(snapshot_of(COUNT))
    with torch.no_grad():
        broken.learner.kind_vectors.fill_(math.inf)
    answer = answers(broken, [Query(user="u")], [records(1003)])[0]
    assert len(answer.items) == 10
    assert all(math.isfinite(score) for score in answer.scores)


def test_without_its_history_a_query_is_answered_by_popularity_with_the_same_filters(served: Served) -> None:
    inline = Inline(["i3"], [0], [math.nan])
    queries = [Query(user="u", categories=["odd"], exclude=["i3"], k=3), Query(history=inline), Query(like="i3")]
    by_popularity, *others = answers(served, queries, [None] * 3)
    assert by_popularity.degraded
    assert by_popularity.items == ["i1", "i5", "i7"]  # the lower the number, the more popular
    assert [answer.degraded for answer in others] == [False, False]


@pytest.mark.parametrize("unit", [True, False])
@pytest.mark.parametrize("row", [7, COUNT])
def test_likeness_is_to_the_item_by_the_cosine_and_never_the_item(row: int, unit: bool) -> None:
    served = served_of(snapshot_of(COUNT, unit=unit)).renewed([entry(5000, "new", text=shelf(3))], {}, 7)
    vectors = served._vectors
    assert bool(vectors.norm(dim=-1).std() < 1e-4) == unit
    cosines = torch.nn.functional.cosine_similarity(vectors, vectors[row : row + 1])
    nearest = [at for at in cosines.argsort(descending=True).tolist() if at % 10 != 9 and at != row][:5]
    answer = answers(served, [Query(like=served.items[row].id, k=5)], [None])[0]
    assert answer.items == [served.items[at].id for at in nearest]
    assert answer.scores == pytest.approx(cosines[nearest].tolist(), abs=1e-3)
    assert ask(served, Query(like="unknown")) == []


def test_a_put_item_is_served_through_its_text_alone(served: Served) -> None:
    put = [
        entry(5000, "new", title="New"),
        entry(1001, "i1", categories=("moved",)),
        entry(1002, "i2", available=False),
    ]
    handles = {f"i{n}": 1000 + n for n in range(COUNT)} | {"new": 5000}
    renewed = served.renewed(put, handles, 7)
    assert renewed.catalogue_version == 7
    assert ask(renewed, Query(candidates=["new"])) == ["new"]
    assert ask(renewed, Query(user="u", k=100), records(5000)) != ask(renewed, Query(user="u", k=100), records())
    assert "new" not in ask(renewed, Query(user="u", k=100), records(5000))
    assert ask(renewed, Query(categories=["moved"])) == ["i1"]
    assert "i2" not in ask(renewed, Query(k=100))
    assert ask(served, Query(candidates=["new"])) == []  # the one before is as it was


def test_the_words_of_a_put_item_say_where_it_belongs(served: Served) -> None:
    """Its content vector is a random one: only its words can tell."""

    def neighbours(text: str) -> set[int]:
        renewed = served.renewed([entry(5000, "new", title="New", text=text)], {}, 7)
        return {
            int(name[1:]) % SHELVES for name in ask(renewed.renewed(renewed.put.values(), {}, 8), Query(like="new"))
        }

    assert neighbours(shelf(3)) == {3}
    assert neighbours(shelf(1)) == {1}


def test_a_text_put_again_is_read_again(served: Served) -> None:
    renewed = served.renewed([entry(5000, "new", text=shelf(3)), entry(5001, "other", text=shelf(1))], {}, 7)
    moved = renewed.renewed([entry(5000, "new", text=shelf(1)), entry(5001, "other", text=shelf(1))], {}, 8)
    assert {int(name[1:]) % SHELVES for name in ask(moved, Query(like="new", k=5, exclude=["other"]))} == {1}


def test_nothing_is_expected_of_a_put_item_that_says_nothing(served: Served) -> None:
    renewed = served.renewed([entry(5000, "shelf 3")], {}, 7)  # its id is no text
    answer = answers(renewed, [Query(candidates=["shelf 3"])], [None])[0]
    nobody = answers(renewed, [Query(k=100)], [None])[0]
    assert answer.items == ["shelf 3"]
    assert answer.scores[0] == pytest.approx(served.learner.catalogue(torch.zeros(1, 17))[1][-1].item(), abs=1e-4)
    assert "shelf 3" in nobody.items


def test_an_item_of_another_content_model_is_held_back(served: Served) -> None:
    short = entry(5002, "short")._replace(content=np.ones(3, np.float32))
    other = entry(5000, "other")._replace(content=None)
    renewed = served.renewed([other, entry(5001, "fine"), short], {}, 1)
    assert renewed.held_back == 2
    assert set(ask(renewed, Query(candidates=["other", "fine", "short"]))) == {"fine"}


def test_warming_up_answers_batches(served: Served) -> None:
    served.warm(8)
