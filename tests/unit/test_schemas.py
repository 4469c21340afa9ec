"""The wire, inwards: what is let in, and how a refusal names its field."""

from __future__ import annotations

import time
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from app.schemas import EventBatch, EventBody, EventIn, RecommendIn, Refused, explain

EVENTS: TypeAdapter[EventIn | EventBatch] = TypeAdapter(EventBody)
GOOD = {"user_id": "u", "item_id": "i", "kind": "view"}


def _faults(adapter: TypeAdapter[Any], body: object) -> list[tuple[str, str]]:
    with pytest.raises(ValidationError) as caught:
        adapter.validate_python(body)
    return explain(caught.value.errors())


def test_one_event_alone_and_a_batch() -> None:
    assert isinstance(EVENTS.validate_python(GOOD), EventIn)
    batch = EVENTS.validate_python({"events": [GOOD]})
    assert isinstance(batch, EventBatch)
    assert batch.events == [EventIn.model_validate(GOOD)]


def test_a_bad_event_of_a_batch_is_refused_by_itself() -> None:
    bad = {**GOOD, "event_id": "e", "user_id": "", "kind": "dance"}
    batch = EVENTS.validate_python({"events": [GOOD, bad, 7]})
    assert isinstance(batch, EventBatch)
    good, refused, number = batch.events
    assert isinstance(good, EventIn)
    assert isinstance(refused, Refused)
    assert refused.event_id == "e"
    assert "user_id" in refused.detail
    assert "'dislike'" in refused.detail
    assert number == Refused(None, "event: must be an object")


@pytest.mark.parametrize("body", [[], "events", None, 3, {"events": 3}, {"events": []}, {}])
def test_what_is_neither_is_an_error(body: object) -> None:
    assert _faults(EVENTS, body)


@pytest.mark.parametrize("identifier", ["", "x" * 257, "a\nb", "a\x00", "\x9f", "\ud800", 7, None])
def test_ids(identifier: object) -> None:
    assert [field for field, _ in _faults(EVENTS, {**GOOD, "item_id": identifier})] == ["item_id"]


@pytest.mark.parametrize("identifier", ["x" * 256, "a b/c?d=é", "日本語", "🎬"])
def test_ids_may_be_in_any_script(identifier: str) -> None:
    assert isinstance(EVENTS.validate_python({**GOOD, "item_id": identifier}), EventIn)


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        ("1970-01-01T00:00:10Z", 10.0),
        ("1970-01-01T02:00:10+02:00", 10.0),
        ("1970-01-01T00:00:10.5+00:00", 10.5),
        (10, 10.0),
        (10.5, 10.5),
    ],
)
def test_times(given: object, seconds: float) -> None:
    event = EVENTS.validate_python({**GOOD, "timestamp": given})
    assert isinstance(event, EventIn)
    assert event.timestamp == seconds


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("2026-01-01T00:00:00", "offset"),
        ("yesterday", "ISO-8601"),
        (True, "ISO-8601"),
        (float("nan"), "between 1970"),
        (10**400, "between 1970"),
        (-1, "between 1970"),
        (time.time() * 1000, "milliseconds"),
        ("9999-12-31T23:59:59Z", "between 1970"),
        ("0001-01-01T00:00:00+14:00", "between 1970"),
    ],
)
def test_times_refused(given: object, said: str) -> None:
    ((field, text),) = _faults(EVENTS, {**GOOD, "timestamp": given})
    assert field == "timestamp"
    assert said in text


def test_a_rating_needs_a_value() -> None:
    assert _faults(EVENTS, {**GOOD, "kind": "rating"}) == [("value", "a rating needs a value")]
    assert isinstance(EVENTS.validate_python({**GOOD, "kind": "rating", "value": 0}), EventIn)


@pytest.mark.parametrize("value", [float("inf"), float("nan"), 1e300, "much", "4", True])
def test_values_are_finite(value: object) -> None:
    assert [field for field, _ in _faults(EVENTS, {**GOOD, "value": value})] == ["value"]


def test_a_field_that_does_not_exist_is_an_error() -> None:
    assert _faults(EVENTS, {**GOOD, "itemid": "x"}) == [("itemid", "there is no such field")]


def test_an_inline_history_takes_ids_and_objects() -> None:
    asked = RecommendIn.model_validate({"history": ["a", {"item_id": "b", "kind": "rating", "value": 4}]})
    assert asked.history is not None
    assert [(past.item_id, past.kind, past.value) for past in asked.history] == [
        ("a", "view", None),
        ("b", "rating", 4),
    ]


def test_an_inline_history_names_the_entry_at_fault() -> None:
    faults = _faults(TypeAdapter(RecommendIn), {"history": ["a", "", {"item_id": "b", "kind": "x"}, 5]})
    assert [field for field, _ in faults] == ["history.1.item_id", "history.2.kind", "history.3"]


@pytest.mark.parametrize("k", [0, 101, "many", "5", None, 1.5, True])
def test_k(k: object) -> None:
    assert [field for field, _ in _faults(TypeAdapter(RecommendIn), {"k": k})] == ["k"]


def test_a_whole_number_is_an_integer() -> None:
    assert RecommendIn.model_validate({"k": 10.0}).k == 10
