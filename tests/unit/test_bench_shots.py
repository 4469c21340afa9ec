"""What more shots are worth: one question a user, and supports that only grow."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks import shots
from benchmarks.shots import KNOWN, SHOTS, curve, measured, questions, supports, verdict
from models import snapshot
from models.dataset import Dataset, read
from models.episode import History
from models.recipe import follow, plan, split_like
from tests.worlds import write_trained

ITEMS = 90
SMALL = {"width": 8, "heads": 2, "rank": 8, "length": 20, "epochs": 1, "batch_size": 64}


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """30 users who go round 90 items for 64 events."""
    file = tmp_path_factory.mktemp("data") / "walks.csv"
    lines = [f"u{user},i{(3 * user + at) % ITEMS},{at}" for user in range(30) for at in range(64)]
    file.write_text("user,item,timestamp\n" + "\n".join(lines) + "\n")
    return file


@pytest.fixture(scope="module")
def dataset(file: Path) -> Dataset:
    return read(file)


@pytest.fixture(scope="module")
def current(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A snapshot trained on these walks, with a tenth of the users held out."""
    return written(dataset, tmp_path_factory.mktemp("snapshots"))


def written(dataset: Dataset, root: Path) -> Path:
    content = np.random.default_rng(0).normal(size=(len(dataset.items), 8)).astype(np.float32)
    snapshot.publish(root, write_trained(root, dataset, follow(dataset, content, plan(SMALL))))
    return root / "current"


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", ["shots", *map(str, arguments)])
    shots.main()


def walk(*rows: int, ordered: bool = True) -> History:
    return History(np.array(rows, np.int64), np.zeros(len(rows), np.int64), np.ones(len(rows), np.float32), ordered)


class Fixed:
    """Ranks by one fixed list of scores, whatever is known; remembers what it was given."""

    name = "fixed"

    def __init__(self, scores: NDArray[np.float32]) -> None:
        self.fixed = scores
        self.given: list[History] = []

    def scores(self, histories: Sequence[History]) -> NDArray[np.float32]:
        self.given += histories
        return np.tile(self.fixed, (len(histories), 1))


def test_the_targets_are_events_51_to_60_of_users_held_out(dataset: Dataset, current: Path) -> None:
    cold = split_like(dataset, snapshot.read(current)).cold
    asked = questions(cold)
    assert len(asked) == len(cold) == 3
    for one, history in zip(asked, cold, strict=True):
        assert one.known.rows.tolist() == history.rows[:50].tolist()
        assert one.targets.tolist() == history.rows[50:60].tolist()


def test_what_is_barred_or_comes_again_is_not_asked_for() -> None:
    again = walk(*range(50), 7, 60, 60, 61, *range(8, 14))
    assert questions([again])[0].targets.tolist() == [60, 61]


def test_users_of_whom_nothing_can_be_asked() -> None:
    useless = [walk(*range(59)), walk(*range(60), ordered=False), walk(*range(50), *range(10))]
    assert len(questions([*useless, walk(*range(60))])) == 1
    with pytest.raises(ValueError, match=r"of the 3 users .* none has 60 events"):
        questions(useless)


@pytest.mark.parametrize("order", ["time", "random"])
def test_supports_are_nested_and_the_same_however_they_are_cut(order: str) -> None:
    known = walk(*range(100, 100 + KNOWN))
    by_shots = [supports(known, order, k, 4, 9) for k in SHOTS]
    assert len({len(draws) for draws in by_shots}) == 1
    for draws in zip(*by_shots, strict=True):
        assert [len(one.rows) for one in draws] == list(SHOTS)
        for fewer, more in pairwise(draws):
            assert more.rows.tolist()[len(more.rows) - len(fewer.rows) :] == fewer.rows.tolist()
        assert all(one.ordered == (order == "time") for one in draws)
        assert sorted(draws[-1].rows.tolist()) == known.rows.tolist()


def test_in_time_order_the_newest_are_known() -> None:
    (support,) = supports(walk(*range(KNOWN)), "time", 3, 4, 0)
    assert support.rows.tolist() == [47, 48, 49]


def test_draws_and_users_differ() -> None:
    known = walk(*range(KNOWN))
    drawn = [one.rows.tolist() for seed in (0, 1) for one in supports(known, "random", 10, 2, seed)]
    assert len({tuple(rows) for rows in drawn}) == 4


@pytest.mark.parametrize("order", ["time", "random"])
@pytest.mark.parametrize("k", SHOTS)
def test_the_candidates_are_the_same_for_every_k(order: str, k: int) -> None:
    """The first 50 would fill the top; barred, known or not, they leave it to the targets."""
    asked = questions([walk(*range(60)), walk(*range(10, 70))])
    best_first = Fixed(-np.arange(80, dtype=np.float32))
    assert measured(best_first, asked, order, k, 3)[0] == 1
    assert [len(one.rows) for one in best_first.given] == [k] * (2 if order == "time" else 6)
    assert measured(Fixed(np.zeros(80, np.float32)), asked, order, k, 3).max() == 0  # others tie ahead


def test_a_figure_is_the_mean_of_a_users_draws() -> None:
    class Knows:
        """Finds the targets, if event 5 is known."""

        name = "knows"

        def scores(self, histories: Sequence[History]) -> NDArray[np.float32]:
            ranked = np.arange(80, dtype=np.float32)
            return np.stack([-ranked if 5 in one.rows else ranked for one in histories])

    asked = questions([walk(*range(60))])
    known = [5 in one.rows for one in supports(asked[0].known, "random", 20, 8, 0)]
    assert 0 < np.mean(known) < 1
    assert measured(Knows(), asked, "random", 20, 8) == pytest.approx([np.mean(known)])


def test_the_verdict_knows_a_dip_from_a_fall() -> None:
    rng = np.random.default_rng(0)
    users = rng.uniform(0.2, 0.4, 200)
    rising = np.stack([users + 0.01 * at for at in range(len(SHOTS))])
    found = verdict(curve("time", 1, rising, rising))
    assert (found["monotone"], found["rises"], found["dips"], found["falls"]) == (True, list(SHOTS[1:]), [], [])
    dipping = rising.copy()
    noise = rng.normal(size=200)
    dipping[3] = dipping[2] + 0.1 * (noise - noise.mean()) - 0.001
    found = verdict(curve("time", 1, dipping, rising))
    assert (found["monotone"], found["dips"], found["falls"]) == (True, [SHOTS[3]], [])
    falling = rising.copy()
    falling[4:] -= 0.1
    found = verdict(curve("time", 1, falling, rising))
    assert (found["monotone"], found["dips"], found["falls"]) == (False, [SHOTS[4]], [SHOTS[4]])
    assert "not monotone" in found["says"]


def test_gains_are_paired_and_against_the_right_curve() -> None:
    users = np.random.default_rng(0).uniform(0.0, 0.9, 50)
    figures = np.stack([users + 0.01 * at**2 for at in range(len(SHOTS))])
    point = curve("random", 2, figures, figures - 0.05)[3]
    assert point.shots == SHOTS[3]
    assert point.mean == pytest.approx(users.mean() + 0.09)
    for gain, worth in ((point.over_fewer, 0.05), (point.over_none, 0.09), (point.over_prior, 0.05)):
        assert gain is not None
        assert (gain.low, gain.mean, gain.high) == pytest.approx((worth, worth, worth))  # nothing of it is of the users


def test_the_whole_command(
    file: Path, current: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out, plot = tmp_path / "shots.json", tmp_path / "shots.png"
    run(monkeypatch, "--snapshot", current, "--data", file, "--draws", 2, "--json", out, "--plot", plot)
    found = json.loads(out.read_text())
    assert found["about"]["users"] == 3
    assert found["about"]["checksum"] == read(file).checksum
    assert found["about"]["snapshot"] == current.resolve().name
    points = [curve["points"] for curve in found["curves"]]
    assert [(one[0]["order"], one[0]["steps"]) for one in points] == [
        ("time", 0), ("time", 1), ("random", 0), ("random", 1),
    ]  # fmt: skip
    assert all([point["shots"] for point in one] == list(SHOTS) for one in points)
    assert [one[0]["mean"] for one in points] == pytest.approx([points[0][0]["mean"]] * 4)  # nothing known: one prior
    assert len({one[-1]["mean"] for one in points}) > 1
    assert plot.read_bytes().startswith(b"\x89PNG")
    printed = capsys.readouterr()
    assert all(curve["verdict"]["says"] in printed.out for curve in found["curves"])
    assert "random order, K = 1, 50 shots" in printed.err
    assert "shots:" not in printed.out


def test_too_short_histories_end_it_with_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    short = tmp_path / "short.csv"
    lines = [f"u{user},i{(user + at) % 30},{at}" for user in range(20) for at in range(8)]
    short.write_text("user,item,timestamp\n" + "\n".join(lines) + "\n")
    current = written(read(short), tmp_path / "snapshots")
    with pytest.raises(SystemExit) as ended:
        run(monkeypatch, "--snapshot", current, "--data", short)
    assert ended.value.code == 2
    assert "of the 2 users" in capsys.readouterr().err
