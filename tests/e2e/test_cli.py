"""The command line as people use it: their CSV in, recommendations out, in processes of its own."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import get_args

import pytest

from app.cli.train import Algorithm, Recall
from models import learner, meta
from tests.worlds import many_users

FAST = ["--width", "16", "--length", "10", "--epochs", "4", "--rate", "0.01"]


def innerloop(*arguments: str, folder: Path, encoding: str = "utf-8") -> subprocess.CompletedProcess[str]:
    """Run the console script's module in `folder`, with its data folder there too."""
    environment = os.environ | {
        "INNERLOOP_DATA_FOLDER": str(folder / "cache"),
        "COLUMNS": "200",
        "PYTHONIOENCODING": encoding,
    }
    command = [sys.executable, "-m", "app.cli", *arguments]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with user_item_interactions.csv and a snapshot trained on it."""
    folder = tmp_path_factory.mktemp("project")
    lines = [f"u_{user},i_{(user + at) % 30},{1 + (user + at) % 5}" for user in range(80) for at in range(16)]
    (folder / "user_item_interactions.csv").write_text("user,item,rating\n" + "\n".join(lines) + "\n")
    done = innerloop("train", "--data", "user_item_interactions.csv", *FAST, folder=folder)
    assert done.returncode == 0, done.stderr
    assert "Published snapshots/" in done.stdout
    return folder


def test_the_seed_of_the_project(trained: Path) -> None:
    done = innerloop("recommend", "--user", "u_1", "-k", "5", "--data", "user_item_interactions.csv", folder=trained)
    assert done.returncode == 0, done.stderr
    first, *items = done.stdout.splitlines()
    assert first == "Recommended items for user u_1"
    assert len(items) == 5
    assert all("i_" in line for line in items)


def test_a_history_needs_no_data(trained: Path) -> None:
    history = ("--history", "i_1, i_2,i_3:1")
    done = innerloop("recommend", *history, "-k", "3", folder=trained)
    assert done.returncode == 0, done.stderr
    assert innerloop("recommend", *history, "-k", "3", "--snapshot", "snapshots", folder=trained).stdout == done.stdout
    assert len(done.stdout.splitlines()) == 4
    assert not any(line.split()[1] in ("i_1", "i_2", "i_3") for line in done.stdout.splitlines()[1:])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--history", "nowhere"], "'nowhere' is not an item"),
        (["--history", "i_1:good"], "'good' in 'i_1:good' is not a number"),
        (["--history", "i_1:9"], "a rating must be from 1 to 5"),
        (["--user", "u_1"], "--user needs --data"),
        ([], "give either --history"),
        (["--user", "nobody", "--data", "user_item_interactions.csv"], "there is no user 'nobody'"),
        (["--history", "i_1", "--snapshot", "elsewhere"], "elsewhere"),
    ],
)
def test_bad_input_is_named(trained: Path, arguments: list[str], said: str) -> None:
    done = innerloop("recommend", *arguments, folder=trained)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_evaluate_prints_json(trained: Path) -> None:
    done = innerloop(
        "evaluate", "--data", "user_item_interactions.csv", "--baselines", "--json", "--shots", "3", folder=trained
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    models = [result["model"] for result in found["results"]]
    assert models == ["innerloop", "innerloop, K = 0", "popularity", "ItemKNN", "iALS", "EASE"]
    assert found["cases"]["leave-one-out"] > 0
    figures = found["results"][0]["figures"]["leave-one-out"]
    assert {"HR@10", "Recall@10", "NDCG@10", "MRR", "coverage@10"} <= figures.keys()


def test_validate_lists_refused_rows(tmp_path: Path) -> None:
    (tmp_path / "bad.csv").write_text("user,item,rating\na,x,5\n,y,4\nb,x,many\n")
    done = innerloop("validate", "--data", "bad.csv", folder=tmp_path)
    assert done.returncode == 0
    assert "bad.csv:3" in done.stdout
    assert "bad.csv:4" in done.stdout
    assert "many" in done.stdout


def test_an_unreadable_dataset_says_what_was_expected(tmp_path: Path) -> None:
    (tmp_path / "odd.csv").write_text("colour,shape\nred,round\n")
    for command in ("train", "validate"):
        done = innerloop(command, "--data", "odd.csv", folder=tmp_path)
        assert done.returncode == 2
        assert "colour" in done.stderr
        assert "Traceback" not in done.stderr


def test_a_config_is_cross_validated_and_nothing_published(trained: Path) -> None:
    data = ["train", "--data", "user_item_interactions.csv", *FAST, "--out", "never"]
    done = innerloop(*data, "--folds", "2", "--algorithm", "fomaml", "--json", folder=trained)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["folds"], found["config"]["outer"]["algorithm"]) == (2, "fomaml")
    figure = found["figures"]["NDCG@10, next item"]
    assert len(figure["folds"]) == 2
    assert figure["mean"] == pytest.approx(sum(figure["folds"]) / 2)
    assert not (trained / "never").exists()
    shown = innerloop(*data, "--folds", "2", "--epochs", "1", folder=trained)
    assert shown.returncode == 0, shown.stderr
    assert "NDCG@10, cold user, k = 5" in shown.stdout
    assert "±" in shown.stdout


def test_an_ordered_training_is_published_with_what_was_chosen(trained: Path) -> None:
    data = ["train", "--data", "user_item_interactions.csv", *FAST, "--ordered"]
    chosen = ["--horizon", "0.3", "--rank", "24", "--settling", "3"]
    done = innerloop(*data, *chosen, "--out", "ordered", folder=trained)
    assert done.returncode == 0, done.stderr
    config = json.loads((trained / "ordered" / "current" / "manifest.json").read_text())["config"]
    assert (config["ordered"], config["learner"]["rank"]) == (True, 24)
    assert {name: config["outer"][name] for name in ("shuffled", "horizon", "settling")} == {
        "shuffled": 0.0,
        "horizon": 0.3,
        "settling": 3,
    }
    asked = innerloop("recommend", "--history", "i_1,i_2", "-k", "3", "--snapshot", "ordered/current", folder=trained)
    assert asked.returncode == 0, asked.stderr
    assert len(asked.stdout.splitlines()) == 4


def test_many_short_histories_with_times_learn_what_comes_next_alone(tmp_path: Path) -> None:
    many_users(tmp_path, items=50, events=4, timed=True)
    done = innerloop("train", "--data", "many.csv", *FAST, "--epochs", "1", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "nearly all have an order" in done.stdout
    assert json.loads((tmp_path / "snapshots" / "current" / "manifest.json").read_text())["config"]["ordered"] is True


def test_a_training_says_what_it_does_where_nobody_sees_a_bar(trained: Path) -> None:
    (trained / "told").mkdir()
    (trained / "told" / "interactions.csv").write_bytes((trained / "user_item_interactions.csv").read_bytes())
    items = "\n".join(f"i_{at},Film {at},{at}" for at in range(30))
    (trained / "told" / "items.csv").write_text("item,title,price\n" + items + "\n")
    asked = ["train", "--data", "told", *FAST, "--epochs", "9", "--patience", "1", "--rate", "1", "--out", "stopped"]
    done = innerloop(*asked, folder=trained, encoding="latin-1")
    assert done.returncode == 0, done.stderr
    assert "items.csv: columns not used: price" in done.stdout
    assert "Encoding what 30 items say" in done.stdout
    assert "Stopped after epoch" in done.stdout
    assert re.search(r"epoch 1/9  loss \d+\.\d+  NDCG@10 (0\.\d+)  best \1\n", done.stdout)
    assert re.search(r"Kept epoch \d\. .*: NDCG@10 0\.\d+", done.stdout)


def test_a_wrong_count_of_shots_is_named(trained: Path) -> None:
    done = innerloop("evaluate", "--data", "user_item_interactions.csv", "--shots", "1,b", folder=trained)
    assert done.returncode == 2
    assert "--shots 1,b: expected counts of events" in done.stderr


def test_an_ordered_config_is_cross_validated(trained: Path) -> None:
    data = ["train", "--data", "user_item_interactions.csv", *FAST, "--epochs", "1"]
    done = innerloop(*data, "--ordered", "--folds", "2", "--json", folder=trained)
    assert done.returncode == 0, done.stderr
    config = json.loads(done.stdout)["config"]
    assert (config["ordered"], config["outer"]["horizon"]) == (True, 0.0)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--horizon", "1.5"], "--horizon"),
        (["--settling", "-1"], "--settling"),
        (["--algorithm", "imaml"], "'maml', 'fomaml', 'reptile'"),
        (["--folds", "1"], "--folds"),
        (["--folds", "99"], "80 users cannot be dealt into 99 folds"),
        (["--folds", "2", "--no-hold-out"], "lives by what it holds out"),
        (["--json"], "give --folds too"),
        (["--follow", "0.5"], "only Reptile has this"),
        (["--device", "cuda:63"], "no device 'cuda:63' here: take cpu"),
        (["--device", "abacus", "--folds", "2"], "no device 'abacus' here"),
    ],
)
def test_a_training_that_cannot_be_is_refused(trained: Path, arguments: list[str], said: str) -> None:
    done = innerloop("train", "--data", "user_item_interactions.csv", *arguments, folder=trained)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_the_algorithms_are_the_outer_loops() -> None:
    assert tuple(Algorithm) == get_args(meta.Algorithm)


def test_the_choices_of_a_recall_are_the_learners() -> None:
    assert tuple(Recall) == get_args(learner.Recalls)


def test_an_interrupted_training_goes_on(trained: Path) -> None:
    arguments = [
        "train",
        "--data",
        "user_item_interactions.csv",
        "--out",
        "again",
        *FAST,
        "--epochs",
        "400",
        "--patience",
        "400",
    ]
    environment = os.environ | {"INNERLOOP_DATA_FOLDER": str(trained / "cache")}
    command = [sys.executable, "-m", "app.cli", *arguments]
    with subprocess.Popen(
        command, cwd=trained, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
    ) as run:
        deadline = time.monotonic() + 120
        while not list((trained / "again").glob(".training-*.pt")) and time.monotonic() < deadline:
            time.sleep(0.1)
        run.send_signal(signal.SIGINT)
        _, errors = run.communicate(timeout=60)
    assert run.returncode == 130
    assert b"goes on from the last whole epoch" in errors
    (checkpoint,) = (trained / "again").glob(".training-*.pt")
    assert checkpoint.stat().st_size > 0
