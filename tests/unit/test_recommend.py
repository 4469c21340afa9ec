"""The body of an answer, which is written by hand, is the JSON that it is meant to be."""

from __future__ import annotations

import json

import pytest

from app.query import Answer
from app.routes.recommend import written


@pytest.mark.parametrize("scores", [False, True])
@pytest.mark.parametrize("items", [[], ["a"], ["a", "b b", "c"], ['a"b', "back\\slash", "é", "\ud800", "\n"]])
def test_it_is_json_whatever_an_id_holds(items: list[str], scores: bool) -> None:
    answer = Answer(items, [0.1 + number for number in range(len(items))], "version")
    named = [{"item_id": item} | ({"score": 0.1 + at} if scores else {}) for at, item in enumerate(items)]
    for _ in range(2):  # the second time it is remembered
        assert json.loads(written('"u"', answer, "id", scores=scores)) == {
            "user_id": '"u"',
            "recommendation_id": "id",
            "items": named,
            "snapshot": "version",
            "degraded": False,
        }
