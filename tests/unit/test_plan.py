"""The plan that the command line makes of the data and the options."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from app.cli.plan import plan_for
from tests.worlds import many_users


@pytest.mark.parametrize(
    ("chosen", "ordered"),
    [
        ({}, True),
        ({"rank": 8}, True),
        ({"ordered": False}, False),
        ({"recall": "always"}, False),
        ({"shuffled": 0.2}, False),
        ({"horizon": 0.5}, False),
        ({"settling": 3}, False),
        ({"ordered": True, "horizon": 0.5}, True),
    ],
)
def test_the_data_decides_what_nobody_chose(
    chosen: dict[str, Any], ordered: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = plan_for(many_users(tmp_path, items=50, events=4, timed=True), chosen, err=True)
    assert plan.ordered is ordered
    assert plan.outer.shuffled == chosen.get("shuffled", 0.0 if ordered else 0.5)
    assert plan.outer.horizon == chosen.get("horizon", 0.0 if ordered else 0.8)
    said = capsys.readouterr()
    assert not said.out
    assert ("nearly all have an order" in said.err) is (ordered and "ordered" not in chosen)
