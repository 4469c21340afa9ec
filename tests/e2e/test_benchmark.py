"""The benchmark from the command line: run, resumed, refused, and reported."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", *arguments], capture_output=True, text=True, timeout=300)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """60 users who go round 30 items."""
    file = tmp_path / "walks.csv"
    rows = [f"u{user},i{(user + at) % 30},{2**30 + at * 100 + user}" for user in range(60) for at in range(16)]
    file.write_text("user,item,timestamp\n" + "\n".join(rows) + "\n")
    return file


def test_a_benchmark_runs_goes_on_and_is_reported(data: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    asked = [
        "benchmarks.learner", "--protocol", "cold-user", "--data", str(data), "--json", str(results / "cold.json"),
        "--trials", "2", "--folds", "2", "--shots", "1,3", "--threads", "1", "--cache", str(tmp_path / "c.sqlite"),
        "--resamples", "50", "--epochs", "2",
    ]  # fmt: skip
    first = run(*asked, "--models", "popularity,sasrec")
    assert first.returncode == 0, first.stderr
    kept = json.loads((results / "cold.json").read_text())
    assert {(run["model"], run["part"], run["trial"]) for run in kept["runs"]} == {
        ("popularity", "fold 1/2", 0),
        ("popularity", "fold 2/2", -1),
        ("sasrec", "fold 1/2", 0),
        ("sasrec", "fold 1/2", 1),
        ("sasrec", "fold 2/2", -1),
    }
    again = run(*asked, "--models", "popularity,sasrec,innerloop")
    assert again.returncode == 0, again.stderr
    assert "sasrec, fold" not in again.stderr
    found = json.loads((results / "cold.json").read_text())["outcome"]["tests"]["time 3"]
    assert set(found) == {"popularity", "sasrec", "innerloop", "innerloop, K = 0"}
    assert found["innerloop"]["users"] == 54  # all but the tenth that chooses the settings
    assert "ratio_low" in found["sasrec"]["ours against it"]
    report = run("benchmarks.report", "--results", str(results), "--out", str(tmp_path / "docs"))
    assert report.returncode == 0, report.stderr
    assert "## Cold users: walks" in (tmp_path / "docs" / "benchmarks.md").read_text()
    assert next((tmp_path / "docs").glob("cold-user-walks-*-epochs.png")).read_bytes()[:4] == b"\x89PNG"
    mixing = run(
        "benchmarks.mixture", "--results", str(results / "cold.json"), "--data", str(data), "--without", "sasrec",
        "--epochs", "1", "--json", str(tmp_path / "mixed.json"), "--cache", str(tmp_path / "c.sqlite"),
    )  # fmt: skip
    assert mixing.returncode == 0, mixing.stderr
    mixed = json.loads((tmp_path / "mixed.json").read_text())
    assert mixed["parts"] == ["fold 1/2", "fold 2/2"]
    assert mixed["tests"]["time 3"]["cases"] == 54
    assert mixed["tests"]["time 3"]["alone"].keys() == {"popularity", "innerloop"}


def test_a_log_is_cut_and_followed_period_by_period(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "time.json"
    asked = [
        "benchmarks.learner", "--protocol", "time", "--data", str(data), "--json", str(out), "--first", "0.5",
        "--periods", "2", "--refresh-events", "100", "--epochs", "1", "--threads", "1", "--resamples", "50",
        "--cache", str(tmp_path / "c.sqlite"),
    ]  # fmt: skip
    first = run(*asked, "--models", "popularity,frozen,refreshed")
    assert first.returncode == 0, first.stderr
    again = run(*asked, "--models", "popularity,frozen,refreshed,retrained")
    assert again.returncode == 0, again.stderr
    assert "frozen, period" not in again.stderr
    kept = json.loads(out.read_text())
    assert {(run["model"], run["trial"]) for run in kept["runs"]} == {
        (name, period) for name in ("popularity", "frozen", "refreshed", "retrained") for period in (0, 1)
    }
    notes = {(run["model"], run["trial"]): run["notes"] for run in kept["runs"]}
    assert notes["refreshed", 1]["refreshes"] == 3  # the first period has 240 events: 100, 100 and the rest
    found = kept["outcome"]["tests"]["after the first period"]
    assert "ratio_low" in found["retrained"]["ours against it"]


def test_the_last_item_of_every_user_is_asked_for(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "loo.json"
    found = run(
        "benchmarks.learner", "--protocol", "loo", "--data", str(data), "--json", str(out), "--trials", "1",
        "--models", "popularity,itemknn,ials,ease,ease-recency,innerloop,innerloop-fomaml", "--epochs", "3",
        "--threads", "1", "--resamples", "50", "--cache", str(tmp_path / "c.sqlite"),
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    test = json.loads(out.read_text())["outcome"]["tests"]["loo"]
    assert test["innerloop"]["users"] == 60
    assert test["innerloop"]["figures"]["HR@10"] > test["popularity"]["figures"]["HR@10"]


def test_what_cannot_be_run_is_said(data: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "out.json")
    for asked, said in (
        (["loo", "--models", "nonsense"], "there is no model nonsense"),
        (["cold-item", "--models", "popularity"], "--split"),
        (["ratings", "--models", "bias"], "--split"),
    ):
        found = run("benchmarks.learner", "--data", str(data), "--json", out, "--protocol", *asked)
        assert found.returncode == 2
        assert said in found.stderr
    assert not Path(out).exists()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--trials", "0"], "'0' is no whole number from 1 on"),
        (["--seeds", "a"], "'a' is no list of whole numbers"),
        (["--first", "1.5"], "'1.5' is no number between 0 and 1"),
        (["--shots", "1,3"], "--protocol loo: --shots is for cold-user"),
        (["--refresh-events", "9", "--periods", "3"], "--periods is for time; --refresh-events is for time"),
        (["--folds", "5"], "--folds is for cold-user"),
        (["--models", ","], "',' names nothing"),
        (["--json", "."], "Is a directory"),
        (["--user-column", "who"], "there is no column 'who' for the user"),
        (["--protocol", "cold-item"], "no cold_items are listed: give --split"),
        (["--protocol", "cold-item", "--split", "nowhere.json"], "--split nowhere.json: No such file"),
    ],
)  # fmt: skip
def test_a_benchmark_says_what_is_wrong_with_what_it_was_given(
    given: list[str], said: str, data: Path, tmp_path: Path
) -> None:
    asked = ["benchmarks.learner", "--protocol", "loo", "--data", str(data), "--models", "popularity"]
    done = run(*asked, "--json", str(tmp_path / "out.json"), "--cache", str(tmp_path / "c.sqlite"), *given)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_benchmark_reads_named_columns_and_tells_other_limits(tmp_path: Path) -> None:
    file, out = tmp_path / "walks.csv", tmp_path / "out.json"
    rows = [f"u{user},i{(user + at) % 30},{at}" for user in range(30) for at in range(8)]
    file.write_text("who,what,turn\n" + "\n".join(rows) + "\n")
    asked = [
        "benchmarks.learner", "--protocol", "loo", "--data", str(file), "--models", "popularity", "--json", str(out),
    ]  # fmt: skip
    named = ["--user-column", "who", "--item-column", "what", "--time-column", "turn"]
    done = run(*asked, *named, "--resamples", "10")
    assert done.returncode == 0, done.stderr
    assert json.loads(out.read_text())["about"]["columns"] == {"user": "who", "item": "what", "time": "turn"}
    other = run(*asked, *named, "--epochs", "3")
    assert "limits: {'epochs': None, 'patience': None} there, {'epochs': 3, 'patience': None} here" in other.stderr
