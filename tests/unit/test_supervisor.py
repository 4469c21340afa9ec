"""Starting again what has died: sooner at first, later each time."""

from __future__ import annotations

from app.cli.supervisor import Backoff


def test_each_wait_is_longer_up_to_a_limit() -> None:
    backoff = Backoff(first=1, longest=5)
    assert [backoff.after(lived=0.1) for _ in range(5)] == [1, 2, 4, 5, 5]


def test_a_long_life_begins_anew() -> None:
    backoff = Backoff(first=1, longest=5)
    for _ in range(4):
        backoff.after(lived=0.1)
    assert backoff.after(lived=11) == 1
    assert backoff.after(lived=0.1) == 2
