"""The commands of the committed results: one set a file, which parse, and say what the file says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import learner, published
from benchmarks.contenders import RANKERS
from benchmarks.opponents.recency import NEIGHBOURS
from benchmarks.protocols.prequential import VARIANTS
from benchmarks.protocols.ratings import RATERS
from benchmarks.report import results

SIZES = {"popularity": 1, "itemknn": len(NEIGHBOURS)}  # spaces with fewer settings than trials
LEFT_OUT = {("loo-ml-1m", "sasrec"): {1}}  # trials that no processor here had the hours for; the notes say so
RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"
FOUND = {one["name"]: one for one in results(RESULTS)}


def parsed(name: str) -> list[Any]:
    """Each command's options."""
    return [learner.parse(learner.arguments(), command[3:]) for command in published.commands(name)]


def test_every_file_of_results_has_its_commands() -> None:
    assert published.PUBLISHED.keys() == FOUND.keys()


@pytest.mark.parametrize("name", published.PUBLISHED)
def test_commands_ask_for_what_the_file_is_about(name: str) -> None:
    about = FOUND[name]["about"]
    for options in parsed(name):
        assert options.protocol == about["protocol"]
        assert options.data == Path("DATA") / about["data"]
        assert {"epochs": options.epochs, "patience": options.patience} == about["limits"]
        assert options.json.stem == name
        for machine in {run["machine"] for run in FOUND[name]["runs"] if run["model"] in options.models}:
            assert f" {options.threads} threads of torch" in machine
            assert ("NVIDIA" in machine) == (options.device == "cuda")
        if options.protocol == "cold-user":
            split = "listed" if options.split else options.folds
            assert (options.shots, options.draws, split) == (about["shots"], about["draws"], about["folds"])
        if options.protocol == "time":
            assert (options.first, options.periods) == (about["first"], about["periods"])
            told = {run["settings"]["refresh_events"] for run in FOUND[name]["runs"] if run["model"] == "refreshed"}
            assert told == {options.refresh_events}
        if options.protocol in ("cold-item", "ratings"):
            assert options.split.parent == options.data


@pytest.mark.parametrize("name", published.PUBLISHED)
def test_commands_make_the_runs_of_the_file(name: str) -> None:
    runs, named = FOUND[name]["runs"], [model for options in parsed(name) for model in options.models]
    assert sorted(named) == sorted({run["model"] for run in runs})
    for options in parsed(name):
        made = {model: [run for run in runs if run["model"] == model] for model in options.models}
        for model, own in made.items():
            contender = VARIANTS.get(model) or (RATERS if options.protocol == "ratings" else RANKERS)[model]
            seeded = isinstance(contender, str) or contender.seeded  # a variant of `time` is run with every seed
            assert sorted({run["seed"] for run in own}) == (options.seeds if seeded else options.seeds[:1])
        if options.protocol != "time":  # there a trial is a period
            for model, own in made.items():
                trials = {run["trial"] for run in own if run["trial"] >= 0} | LEFT_OUT.get((name, model), set())
                assert trials == set(range(min(options.trials, SIZES.get(model, options.trials)))), model


@pytest.mark.parametrize("name", [name for name, one in FOUND.items() if one["about"]["protocol"] != "time"])
def test_what_is_tested_is_what_validates_best(name: str) -> None:
    lowest = FOUND[name]["about"]["protocol"] == "ratings"
    told = {model: known for models in FOUND[name]["outcome"]["tests"].values() for model, known in models.items()}
    for model in {run["model"] for run in FOUND[name]["runs"]}:
        trials = [run for run in FOUND[name]["runs"] if run["model"] == model and run["trial"] >= 0]
        best = min(trials, key=lambda run: run["validation"] if lowest else -run["validation"])
        assert best["settings"] == told[model]["settings"], model


def test_the_search_that_was_not_followed_is_told_as_it_was() -> None:
    told = json.loads((RESULTS / "search-cold-user-ml-latest-small.json").read_text())
    assert told["about"] == FOUND["cold-user-ml-latest-small"]["about"]
    searched = {run["trial"]: run for run in told["runs"] if run["trial"] >= 0}
    assert searched[3]["validation"] > searched[0]["validation"]  # by the rule it would be chosen
    recipe = FOUND["cold-user-ml-latest-small"]["outcome"]["tests"]["time 1"]["innerloop"]["settings"]
    assert searched[0]["settings"] == recipe
    drawn = np.mean([run["validation"] for run in told["runs"] if run["settings"] == searched[3]["settings"]])
    own = [run for run in FOUND["cold-user-ml-latest-small"]["runs"] if run["model"] == "innerloop"]
    kept = np.mean([run["validation"] for run in own if run["seed"] == 0])
    assert (round(float(drawn), 4), round(float(kept), 4)) == (0.1275, 0.1309)
    assert all(
        figure in published.PUBLISHED["cold-user-ml-latest-small"].note
        for figure in (".1275", ".1309", ".1299", ".1283")
    )


def test_one_file_is_printed_with_its_data(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["published", "loo-ml-100k-rectools", "--data", "/my data"])
    published.main()
    title, before, *commands = capsys.readouterr().out.splitlines()
    assert title == "# loo-ml-100k-rectools.json"
    assert before == "make rectools"
    assert len(commands) == 3
    assert all("--data '/my data/ml-100k'" in command for command in commands)


def test_all_files_are_printed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["published"])
    published.main()
    said = capsys.readouterr().out.splitlines()
    assert [line for line in said if line.startswith("#")] == [f"# {name}.json" for name in published.PUBLISHED]
    assert all(line in said for name in published.PUBLISHED for line in published.shell(name))


def test_the_help_names_every_model() -> None:
    told = (learner.__doc__ or "").partition("Models\n")[2].partition("The outer")[0]
    ranking, _, others = told.partition("    ratings")
    ratings, _, time = others.partition("    time")
    for text, known in ((ranking, RANKERS), (ratings, RATERS), (time, VARIANTS)):
        words = {word.strip(",;") for word in text.split()}
        assert known.keys() <= words
        assert not words & (({*RANKERS, *RATERS, *VARIANTS}) - known.keys())


@pytest.mark.parametrize("protocol", ["ratings", "time"])
def test_another_device_is_refused_where_none_is_used(
    protocol: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["--protocol", protocol, "--data", "x", "--models", "all", "--json", "x.json", "--device", "cuda"]
    monkeypatch.setattr("sys.argv", ["learner", *asked])
    with pytest.raises(SystemExit, match="2"):
        learner.main()
    assert f"{protocol} runs on the cpu alone, not on cuda" in capsys.readouterr().err


def test_data_is_replaced_alone() -> None:
    for name in published.PUBLISHED:
        plain, placed = (json.dumps(published.commands(name, data)) for data in ("DATA", "/somewhere"))
        assert plain.replace("DATA", "/somewhere") == placed
        assert "DATA" in plain
