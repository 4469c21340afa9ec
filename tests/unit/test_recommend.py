"""The body of an answer, which is written by hand, is the JSON that it is meant to be."""

from __future__ import annotations

import json

import numpy as np
import pytest

from app import names as names_module
from app.names import Names, end
from app.query import FOUND, Answer, Source
from app.routes.recommend import scored, written

IDS = ["a", "b b", "c", 'a"b', "back\\slash", "é", "\ud800", "\n", "x" * 256, "snow ☃", "😀"]


@pytest.fixture(params=["compiled", "python"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "python":
        monkeypatch.setattr(names_module, "library", lambda: None)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("scores", [False, True])
@pytest.mark.parametrize("ids", [IDS[:3], IDS])
def test_it_is_json_whatever_an_id_holds(ids: list[str], scores: bool) -> None:
    rows = np.array([[2, 0, 1], [len(ids) - 1, 1, 0], [0, -1, -1], [1, 2, -1], [-1, -1, -1]])
    counts = np.array([3, 3, 1, 1, 0])
    names = Names(ids)
    texts = names.written(rows, counts, end('ver"sion', True))
    assert len(texts) == len(rows)
    for few, count, text in zip(rows.tolist(), counts.tolist(), texts, strict=True):
        chosen = few[:count]
        found = np.array([(row, 0.5 + row) for row in chosen], FOUND)
        answer = Answer(found.tobytes(), Source(names, 'ver"sion', True), text)
        assert answer.items == [ids[row] for row in chosen]
        for _ in range(2):  # the second time it is remembered
            assert json.loads(written('"u"', "id", scored(answer) if scores else answer.written)) == {
                "user_id": '"u"',
                "recommendation_id": "id",
                "items": [{"item_id": ids[row]} | ({"score": 0.5 + row} if scores else {}) for row in chosen],
                "snapshot": 'ver"sion',
                "degraded": True,
            }


@pytest.mark.usefixtures("way")
def test_a_batch_of_nobody_and_a_catalogue_of_nothing_are_written_too() -> None:
    none = np.zeros((0, 3), np.int64)
    assert Names(IDS).written(none, none.sum(1), end("v", False)) == []
    empty = np.zeros((2, 0), np.int64)
    assert Names([]).written(empty, empty.sum(1), "!") == ['"items":[]!', '"items":[]!']
