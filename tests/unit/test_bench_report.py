"""The page of the benchmarks: what it says beside its tables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import excerpts, plots
from benchmarks.literature import ELSEWHERE, elsewhere
from benchmarks.protocols.prequential import MOST
from benchmarks.published import PUBLISHED, shell
from benchmarks.report import EXCERPT, marks, page, renewed, results

ROOT = Path(__file__).parents[2]


@pytest.fixture
def sections(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The page made anew from the committed results, by title, its plots left out."""
    monkeypatch.setattr(plots, "draw", lambda one, path: None)
    parts = page(results(ROOT / "benchmarks" / "results"), tmp_path).split("\n## ")
    return {part.partition("\n")[0]: part for part in parts}


def test_the_page_shows_what_the_committed_runs_say(sections: dict[str, str]) -> None:
    assert "\n## ".join(sections.values()) == (ROOT / "docs" / "benchmarks.md").read_text(), "run `make report`"


def test_every_command_stands_under_its_benchmark(sections: dict[str, str]) -> None:
    for name in PUBLISHED:
        (section,) = [part for part in sections.values() if f"{name}.json" in part]
        assert all(f"\n    {line}\n" in section for line in shell(name))


def test_a_file_of_other_runs_has_no_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plots, "draw", lambda one, path: None)
    found: list[dict[str, Any]] = [
        one | {"name": "mine"} for one in results(ROOT / "benchmarks" / "results") if one["name"] == "loo-ml-1m"
    ]
    assert "run it again" not in page(found, tmp_path)


def test_periods_are_no_trials(sections: dict[str, str]) -> None:
    for title, section in sections.items():
        assert ("of 5 trials" not in section) or not title.startswith("Time")
        if title.startswith("Time"):
            assert "- refreshed: refresh_events 4000" in section
            assert f"at most {MOST:,} a period" in section


def test_cold_users_are_told_with_their_seeds(sections: dict[str, str]) -> None:
    assert "Seeds: 3 of sasrec, innerloop; 1 of popularity," in sections["Cold users: ml-1m"]


def test_hstu_is_told_to_lack_its_times(sections: dict[str, str]) -> None:
    for section in sections.values():
        told = "without its relative time attention" in section
        assert told == ("| rectools-hstu |" in section)


def test_what_others_published_is_marked_as_theirs() -> None:
    text = "\n".join(elsewhere())
    assert "**Not measured here**" in text
    assert all(f"| {said.model} | {said.figures} | {said.source} |" in text for said in ELSEWHERE)
    assert all("arXiv:" in said.source for said in ELSEWHERE)


def test_the_tables_of_other_pages_are_of_the_committed_figures() -> None:
    folder = ROOT / "benchmarks" / "results"
    evaluated, known = (json.loads((folder / f"{name}.json").read_text()) for name in (EXCERPT, f"shots-{EXCERPT}"))
    shots = excerpts.shots(excerpts.curves(known), known["about"]["draws"])
    for file, name, lines in (
        ("README.md", "quality", excerpts.quality(evaluated)),
        ("docs/learner.md", "shots", shots),
    ):
        text = (ROOT / file).read_text()
        assert renewed(text, lines, *marks(name)) == text, "run `make report`"
