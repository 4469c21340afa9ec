"""What the ranking protocols are asked for: models that exist there, and which users and items were listed as cold."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from benchmarks.corpus import Corpus
from benchmarks.protocols.ranking import about, chosen

RECTOOLS = {"rectools-sasrec", "rectools-esasrec", "rectools-hstu"}


def test_all_means_all_that_the_protocol_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECTOOLS_PYTHON", str(tmp_path / "python"))
    (tmp_path / "python").touch()
    assert {one.name for one in chosen("loo", ["all"])} >= RECTOOLS
    found = {one.name for one in chosen("cold-user", ["all"])}
    assert "innerloop" in found
    assert not found & RECTOOLS


def test_a_model_of_another_protocol_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="there is no model rectools-sasrec; there are popularity, "):
        chosen("cold-item", ["popularity", "rectools-sasrec"])


@pytest.mark.parametrize("names", [["popularity", "rectools-hstu"], ["all"]])
def test_rectools_is_missed_before_anything_trains(
    names: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECTOOLS_PYTHON", str(tmp_path / "python"))
    with pytest.raises(ValueError, match=r"RecTools' models need .*python: run `make rectools`"):
        chosen("loo", names)


@pytest.mark.parametrize("protocol", ["cold-user", "cold-item", "ratings"])
def test_other_listed_users_and_items_are_another_benchmark(protocol: str, tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text("user,item\n" + "".join(f"u{at % 3},i{at}\n" for at in range(9)))
    corpus = Corpus.read(tmp_path / "data.csv", tmp_path / "content.sqlite")

    def told(users: list[str]) -> dict[str, object]:
        split = tmp_path / "split.json"
        split.write_text(json.dumps({"cold_users": users, "cold_items": ["i1"]}))
        limits = {"epochs": None, "patience": None, "shots": [1], "draws": 1, "folds": 5}
        return about(argparse.Namespace(protocol=protocol, split=split, **limits), corpus)

    assert told(["u1"]) == told(["u1"])
    assert told(["u1"]) != told(["u2"])
