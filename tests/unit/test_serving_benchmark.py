"""The benchmark's own arithmetic, and its open loop against a real service."""

from __future__ import annotations

import random
from pathlib import Path

import hiredis
import numpy as np
import pytest

from app.settings import Settings
from benchmarks.serving import rivals
from benchmarks.serving.closed import Load
from benchmarks.serving.figures import ratio
from benchmarks.serving.opened import _plan, _requests, open_loop
from benchmarks.serving.store import _command
from benchmarks.serving.world import config_of
from models import adapt
from models.dataset.formats import read
from models.sizes import FEW_USERS, sized
from tests.services import serving, settings_of
from tests.worlds import publish_snapshot


def test_a_ratio_is_of_what_was_measured_side_by_side() -> None:
    assert ratio([2.0, 30.0, 8.0], [1.0, 10.0, 2.0]) == {"ratio": 3.0, "lowest": 2.0, "highest": 4.0}


def test_a_command_is_as_redis_reads_it() -> None:
    reader = hiredis.Reader()
    reader.feed(_command("SET", "é", 7, b"\r\n\x00"))
    assert reader.gets() == [b"SET", "é".encode(), b"7", b"\r\n\x00"]


@pytest.mark.parametrize(("share", "count"), [(0.0, 1), (1.0, 2)])
def test_a_share_of_the_asking_have_just_done_something(share: float, count: int) -> None:
    requests = _requests(Load(share=share, users=1), random.Random(0))
    assert len(requests) == count
    assert requests[-1].startswith(b"POST /recommend ")
    assert all(b'"u0"' in request for request in requests)


def test_what_events_take_is_not_among_the_answers() -> None:
    planned = _plan(Load(share=0.5, users=9, seconds=2.0), 50.0, random.Random(0))
    assert all(counted is request.startswith(b"POST /recommend ") for _, counted, request in planned)
    assert {counted for _, counted, _ in planned} == {True, False}
    assert [due for due, _, _ in planned] == sorted(due for due, _, _ in planned)


@pytest.mark.parametrize(
    ("longest", "length", "recall"), [(20, 20, "never"), (50, 50, "unordered"), (200, 100, "unordered")]
)
def test_the_learner_is_of_the_shape_that_the_recipe_gives_such_histories(
    longest: int, length: int, recall: str, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    log = tmp_path / "events.csv"
    sizes = rng.integers(1, longest + 1, FEW_USERS + 200)
    rows = [f"u{user},i{rng.integers(50)},{at}" for user, size in enumerate(sizes) for at in range(size)]
    log.write_text("\n".join(["user,item,time", *rows]) + "\n")
    wanted = sized(read(log))
    made = config_of(longest)
    assert (made.length, made.recall) == (length, recall)
    for name in ("length", "recall", "rank", "width", "heads"):
        assert getattr(made, name) == wanted[name]
    assert made.unit == wanted.get("unit", True)


def test_the_open_loop_counts_every_request_that_was_due(redis_url: str, tmp_path: Path) -> None:
    publish_snapshot(tmp_path / "snapshots")
    with serving(settings_of(redis_url, tmp_path / "snapshots")) as client:
        load = Load(users=5, items=8, share=0.2, connections=4, seconds=1.0)
        recording = open_loop(int(client.base_url.port or 0), load, 50.0, processes=1)
        refused = open_loop(int(client.base_url.port or 0), Load(path="/nowhere", connections=2, seconds=0.5), 20.0, 1)
    came = recording.whole()
    assert came.faults == 0
    middle = float(np.median(recording.due))
    halves = recording.between(0, middle), recording.between(middle, np.inf)
    assert sum(half["answers"] for half in halves) == len(recording.took)
    assert 20 < came.rate < 120
    assert 0 < came.p50 <= came.p99 <= came.worst
    assert came.late == 0
    assert refused.faults > 0


def test_the_naive_rival_leaves_its_inner_loops_to_autograd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("read", "average", "average_mapped"):
        monkeypatch.setattr(adapt, name, getattr(adapt, name))  # which it replaces, and this puts back
    left = []
    real = rivals.autograd_adapt
    monkeypatch.setattr(rivals, "autograd_adapt", lambda *given: left.append(1) or real(*given))
    publish_snapshot(tmp_path)
    rank = rivals.naive(Settings(snapshot=tmp_path, redis_url="redis://localhost:1"))
    left.clear()
    assert len(rank(np.arange(5))) == 10
    assert len(left) >= 2
