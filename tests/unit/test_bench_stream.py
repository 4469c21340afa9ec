"""A log replayed: nothing that comes later is known, and every read sees what was written before it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.corpus import Corpus
from benchmarks.protocols import cold_item, loo
from benchmarks.refreshing import Refreshing, trained
from benchmarks.stream import Stream
from models import recipe
from models.refresh import RefreshConfig
from models.snapshot import POPULARITY
from models.split import histories


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    """12 users who go round 8 items, in turn, and a ninth item that nobody touched."""
    rows = [f"u{user},i{(user + at) % 8},{at * 100 + user},5" for at in range(6) for user in range(12)]
    (tmp_path / "interactions.csv").write_text("user,item,timestamp,rating\n" + "\n".join(rows) + "\n")
    titles = [f"i{at},film {at}" for at in range(9)]
    (tmp_path / "items.csv").write_text("item,title\n" + "\n".join(titles) + "\n")
    return Corpus.read(tmp_path, tmp_path / "content.sqlite")


def test_an_untouched_item_is_no_candidate(corpus: Corpus) -> None:
    assert corpus.items == 8
    assert corpus.rows_of(["i8", "i0"]).tolist() == [0]


def test_nothing_that_comes_later_is_known(corpus: Corpus) -> None:
    stream = Stream(corpus)
    before = stream.before(5)
    assert len(before.interactions) == 5
    assert len(before.items) == stream.items_before(5) == 5
    assert [history.rows.tolist() for history in histories(before)] == [[0], [1], [2], [3], [4]]


def test_a_case_holds_the_users_events_up_to_its_own(corpus: Corpus) -> None:
    stream = Stream(corpus)
    test = stream.cases(24, 36, 100)
    assert sorted(test.users) == list(range(12))
    for case, user in zip(test.cases, test.users, strict=True):
        whole = corpus.histories[user].rows
        assert case.support.rows.tolist() == whole[:2].tolist()
        assert case.targets.tolist() == [whole[2]]


def test_leave_one_out_trains_on_neither_of_the_last_two(corpus: Corpus) -> None:
    (part,) = loo.parts(corpus)
    for history, full in zip(part.task.train, corpus.histories, strict=True):
        assert history.rows.tolist() == full.rows[:-2].tolist()
    assert [case.targets[0] for case in part.task.validation[0].cases] == [one.rows[-2] for one in corpus.histories]
    assert [case.targets[0] for case in part.tests["loo"].cases] == [one.rows[-1] for one in corpus.histories]


def test_cold_items_are_in_no_training(corpus: Corpus) -> None:
    cold = corpus.rows_of(["i2", "i5"])
    (part,) = cold_item.parts(corpus, cold)
    trained = np.unique(np.concatenate([history.rows for history in part.task.train]))
    assert not set(trained.tolist()) - set(part.task.known.tolist())
    validating = np.concatenate([case.targets for case in part.task.validation[0].cases])
    assert not set(part.task.known.tolist()) & {*cold.tolist(), *validating.tolist()}
    only, everything = part.tests["among cold items"], part.tests["among all items"]
    assert only.candidates is not None
    assert np.flatnonzero(only.candidates).tolist() == cold.tolist()
    for case, user in zip(everything.cases, everything.users, strict=True):
        assert set(case.targets.tolist()) == set(corpus.histories[user].rows.tolist()) & set(cold.tolist())
        assert not case.support.ordered  # the targets lie before and after its events
    assert part.task.unordered


def test_every_event_teaches_once_or_waits(corpus: Corpus) -> None:
    stream = Stream(corpus)
    content = np.random.default_rng(0).normal(size=(corpus.items, 4)).astype(np.float32)
    corpus.__dict__["content"] = content  # without a text encoder
    plan = recipe.plan({"width": 8, "heads": 2, "rank": 4, "length": 5, "epochs": 1}, hold_out=False)
    snapshot = trained(stream.before(36), content, plan, lambda text: None)
    refreshing = Refreshing(stream, snapshot, 12, 0, RefreshConfig(cases=4))
    tried, published = refreshing.learn(36, 72)
    assert tried == 3
    assert published
    learned = refreshing.snapshot.tensors[POPULARITY].sum() - snapshot.tensors[POPULARITY].sum()
    assert learned == 36 - refreshing.waiting.total()
    assert set(refreshing.waiting) >= refreshing.judged
