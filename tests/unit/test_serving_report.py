"""The table of docs/performance.md, from the committed figures of the serving benchmark."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.serving.plots import draw
from benchmarks.serving.report import CLOSE, OPEN, rows, table

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def figures() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ROOT / "benchmarks" / "results" / "serving.json").read_text())["figures"]
    return found


def test_the_page_says_what_the_figures_say(figures: dict[str, Any]) -> None:
    page = (ROOT / "docs" / "performance.md").read_text()
    told = page.partition(OPEN)[2].partition(CLOSE)[0].strip().splitlines()
    assert told == table(figures), "the page is stale: make report"


def test_a_section_that_was_not_measured_has_no_line(figures: dict[str, Any], tmp_path: Path) -> None:
    whole = list(rows(figures))
    for name in figures.keys() - {"events in batches", "hardware", "steps", "sweep"}:
        left = {section: figure for section, figure in figures.items() if section != name}
        assert len(list(rows(left))) < len(whole)
        draw(
            {section: left[section] for section in ("throughput", "unremembered", "rivals") if section in left},
            tmp_path,
        )
    assert list(rows({})) == []


def test_what_misses_its_bar_is_said_to(figures: dict[str, Any]) -> None:
    slow = {"ratio": 0.5, "lowest": 0.4, "highest": 0.9}
    (row,) = rows({"again": figures["again"] | {"against empty": slow}})
    assert (row.found, row.met) == ("0.50 (0.40 to 0.90)", False)
