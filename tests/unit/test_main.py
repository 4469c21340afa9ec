"""What the composition root decides by itself."""

from __future__ import annotations

import os

import pytest

from app.main import _threads


@pytest.mark.parametrize(("cores", "threads"), [(None, 1), (1, 1), (4, 2), (64, 4)])
def test_the_threads_where_the_system_does_not_say_which_cores_are_ours(
    monkeypatch: pytest.MonkeyPatch, cores: int | None, threads: int
) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    assert _threads() == threads
