"""What the composition root decides by itself."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from app.main import SWITCH_SECONDS, _threads
from tests.services import serving, settings_of
from tests.worlds import publish_snapshot


@pytest.mark.parametrize(("cores", "threads"), [(None, 1), (1, 1), (4, 2), (64, 4)])
def test_the_threads_where_the_system_does_not_say_which_cores_are_ours(
    monkeypatch: pytest.MonkeyPatch, cores: int | None, threads: int
) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    assert _threads() == threads


def test_while_it_serves_threads_give_way_soon(redis_url: str, tmp_path: Path) -> None:
    publish_snapshot(tmp_path / "snapshots")
    before = sys.getswitchinterval()
    with serving(settings_of(redis_url, tmp_path / "snapshots")):
        assert sys.getswitchinterval() == pytest.approx(SWITCH_SECONDS, rel=0.1)
    assert sys.getswitchinterval() == before
