"""The events of a batch as support sets."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from app import support
from app.event import RECORD, UserHistory
from app.query import Inline, Query
from app.support import Events, decode
from models.episode import History, pack
from models.interaction import KINDS, RatingScale


def test_users_are_padded_as_training_pads_them() -> None:
    rng = np.random.default_rng(0)
    counts = [3, 0, 7, 1, 5]
    everyone = [
        History(rng.integers(0, 9, n), rng.integers(0, 3, n), rng.random(n).astype(np.float32), n != 5) for n in counts
    ]
    events = Events(
        np.repeat(np.arange(5), counts),
        *(np.concatenate([one[column] for one in everyone]) for column in range(3)),
        np.array([one.ordered for one in everyone]),
        np.ones(5, np.bool_),
    )
    for places in ([0, 1, 2, 3, 4], [4, 2], [1], [3, 1, 0]):
        expected = pack([everyone[at] for at in places], 5)
        for found, truth in zip(events.support(places, 5), expected, strict=True):
            assert torch.equal(found, truth)


def test_a_history_that_is_damaged_is_not_taken_for_its_neighbours() -> None:
    histories = [UserHistory(1, bytes(RECORD.itemsize + 7)), UserHistory(1, bytes(RECORD.itemsize))]
    with pytest.raises(ValueError, match="whole records, of 20 bytes"):
        decode([Query(user="u")] * 2, histories, np.array([0, -1]), {}, RatingScale())


def test_stored_events_are_taken_apart_alike_compiled_and_not(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    histories: list[UserHistory | None] = []
    for number in range(60):
        records = np.zeros(rng.integers(0, 9), RECORD)
        records["handle"] = rng.choice(
            [0, 1, 3, 4, 2, 5, 4_000_000_000], len(records), p=[0.25] * 3 + [0.19] + [0.02] * 3
        )
        records["kind"] = rng.choice(
            [0, 5, len(KINDS) - 1, len(KINDS), 255], len(records), p=[0.3, 0.3, 0.3, 0.05, 0.05]
        )
        records["value"] = rng.choice([np.nan, 1.0, 4.5], len(records))
        records["time"] = rng.choice([0.0, 1.5e9], len(records)) if number % 2 else 1e9
        histories.append(UserHistory(1, records.tobytes()))
    histories[7] = None
    queries = [Query(user="u")] * len(histories)
    queries[3] = Query(history=Inline(["b", "unknown", "a"], [0, 1, 5], [np.nan, 1.0, 2.0]))
    row_of_handle = np.array([2, 0, -1, 1, 7, -1])

    def decoded() -> Events:
        return decode(queries, histories, row_of_handle, {"a": 0, "b": 1}, RatingScale())

    compiled = decoded()
    monkeypatch.setattr(support, "_compiled", lambda: False)
    for one, other in zip(compiled, decoded(), strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)
    assert compiled.rows[compiled.owner == 3].tolist() == [1, 0]
    assert not compiled.complete[3]
    assert 20 < compiled.ordered.sum() < 60
    assert 20 < compiled.complete.sum() < 60
