"""From a dataset to what a snapshot holds: split, held out, trained, replayed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from models import recipe, snapshot
from models.beginning import LATER, find_beginning
from models.dataset import Dataset, read
from models.episode import History
from models.evaluate import LearnerRanker, evaluate, leave_one_out, mean_ndcg
from models.learner import Learner
from models.recipe import Trained, begin, follow, plan, split_like, validation_cases
from models.sizes import sized
from models.split import SplitConfig, histories, split
from models.voice import QUIETER
from tests.worlds import many_users, write_trained

SMALL = {"width": 16, "rank": 16, "length": 10, "epochs": 3, "batch_size": 64}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """60 users who go round 30 items."""
    file = tmp_path_factory.mktemp("data") / "walks.csv"
    lines = [f"u{user},i{(user + at) % 30},{at}" for user in range(60) for at in range(20)]
    file.write_text("user,item,timestamp\n" + "\n".join(lines) + "\n")
    return read(file)


def content(dataset: Dataset) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    return np.random.default_rng(0).normal(size=(len(dataset.items), 12)).astype(np.float32)


def written(root: Path, dataset: Dataset, trained: Trained, checksum: str | None = None) -> snapshot.Snapshot:
    """What was trained, as a snapshot that says it comes of `dataset`."""
    return snapshot.read(root / write_trained(root, dataset, trained, checksum))


def test_a_training_ends_with_the_voice_that_validates_best(dataset: Dataset) -> None:
    trained = follow(dataset, content(dataset), plan(SMALL))
    cases = validation_cases(split(dataset, SplitConfig()).valid)
    chosen = float(trained.learner.unordered_voice)
    figures = {}
    for voice in (1.0, *QUIETER):
        trained.learner.unordered_voice.fill_(voice)
        figures[round(voice, 1)] = mean_ndcg(LearnerRanker(trained.learner), cases)
    assert figures[round(chosen, 1)] == max(figures.values()) == trained.metrics["validation NDCG@10"]
    assert len(set(figures.values())) > 1


def test_a_training_ends_with_the_beginning_that_validates_best(dataset: Dataset) -> None:
    trained = follow(dataset, content(dataset), plan(SMALL))
    cases = recipe.beginning_cases(split(dataset, SplitConfig()).valid)
    assert [len(case[0].support.rows) for case in cases] == [0, 1, 3, 5, 10]  # nobody has ten more after 15
    learner, chosen = trained.learner, trained.metrics["beginning"]
    whole = find_beginning(learner, split(dataset, SplitConfig()).warm)
    torch.testing.assert_close(learner.beginning, chosen * whole)
    figures = {}
    for share in (0.0, *LATER):
        learner.beginning.copy_(share * whole)
        figures[share] = mean_ndcg(LearnerRanker(learner), cases)
    assert figures[chosen] == max(figures.values())
    assert len(set(figures.values())) > 1


def test_an_ordered_beginning_is_chosen_by_the_next_event() -> None:
    walk = History(np.arange(20), np.zeros(20, np.int64), np.ones(20, np.float32))
    found = recipe.beginning_cases([walk, walk._replace(ordered=False)], ordered=True)
    assert [[(len(case.support.rows), case.targets.tolist()) for case in cases] for cases in found] == [
        [(size, [size])] for size in (0, 1, 3, 5, 10, 15)
    ]


def test_an_ordered_training_is_validated_by_what_comes_next_alone_and_keeps_its_voice(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recipe, "choose_voice", lambda *_: pytest.fail("there is nothing to choose a voice by"))
    trained = follow(dataset, content(dataset), plan(sized(dataset, ordered=True) | SMALL))
    (next_items,) = validation_cases(split(dataset, SplitConfig()).valid, ordered=True)
    assert trained.metrics["validation NDCG@10"] == mean_ndcg(LearnerRanker(trained.learner), [next_items])
    assert float(trained.tensors["unordered_voice"]) == 1.0
    assert trained.config["ordered"] is True
    assert (trained.config["outer"]["shuffled"], trained.config["outer"]["horizon"]) == (0.0, 0.0)


def test_what_has_no_order_validates_no_ordered_training() -> None:
    both = [
        History(np.arange(20), np.zeros(20, np.int64), np.ones(20, np.float32), ordered) for ordered in (True, False)
    ]
    (found,) = validation_cases(both, ordered=True)
    assert [case.targets.tolist() for case in found] == [[19], [18], [17], [16], [15]]
    assert all(case.support.ordered for case in found)
    next_items, cold = validation_cases(both)
    assert len(next_items) == 10
    assert not any(case.support.ordered for case in cold)
    assert validation_cases(both[1:], ordered=True) == []


def test_an_ordered_training_needs_an_order(tmp_path: Path) -> None:
    file = tmp_path / "imported.csv"
    lines = [f"u{user},i{(user + at) % 7},5" for user in range(8) for at in range(4)]
    file.write_text("user,item,timestamp\n" + "\n".join(lines) + "\n")
    imported = read(file)
    with pytest.raises(ValueError, match="one moment; train with --no-ordered"):
        follow(imported, content(imported), plan(sized(imported, ordered=True) | SMALL))


def test_a_history_of_one_moment_has_no_order(tmp_path: Path) -> None:
    file = tmp_path / "log.csv"
    file.write_text("user,item,timestamp\na,x,5\na,y,5\nb,x,5\nb,y,6\nc,x,5\n")
    assert [one.ordered for one in histories(read(file))] == [False, True, True]


def test_groups_do_not_overlap_and_the_last_event_is_held_out(dataset: Dataset) -> None:
    parts = split(dataset, SplitConfig(cold=0.2, valid=0.1))
    assert (len(parts.cold), len(parts.valid), len(parts.full)) == (12, 6, 42)
    for warm, full in zip(parts.warm, parts.full, strict=True):
        assert warm.rows.tolist() == full.rows[:-1].tolist()
    starts = [history.rows[:2].tolist() for group in (parts.cold, parts.valid, parts.full) for history in group]
    assert len(starts) == 60


def test_the_same_split_comes_again(dataset: Dataset) -> None:
    one, other = (split(dataset, SplitConfig(seed=3)) for _ in range(2))
    assert [h.rows.tolist() for h in one.cold] == [h.rows.tolist() for h in other.cold]
    assert [h.rows.tolist() for h in one.cold] != [h.rows.tolist() for h in split(dataset, SplitConfig(seed=4)).cold]


def test_a_trained_snapshot_evaluates_on_what_it_held_out(dataset: Dataset, tmp_path: Path) -> None:
    chosen = plan(SMALL | {"epochs": 20, "rate": 1e-2, "shuffled": 0.0, "averaging": 0.8})
    trained = follow(dataset, content(dataset), chosen)
    loaded = written(tmp_path, dataset, trained)
    cases = leave_one_out(split_like(dataset, loaded).full)
    assert evaluate(LearnerRanker(Learner.restore(loaded)), cases)["HR@10"] > 0.9


def test_nothing_is_expected_of_items_without_text(dataset: Dataset) -> None:
    assert not dataset.has_text().any()
    trained = follow(dataset, content(dataset), plan(SMALL))
    assert trained.tensors["tower.expected"].abs().sum() == 0


def test_a_snapshot_of_other_data_is_not_evaluated(dataset: Dataset, tmp_path: Path) -> None:
    trained = follow(dataset, content(dataset), plan(SMALL, hold_out=False))
    loaded = written(tmp_path, dataset, trained)
    with pytest.raises(ValueError, match="nothing it has not seen"):
        split_like(dataset, loaded)
    other = tmp_path / "other.csv"
    other.write_text("user,item\na,x\na,y\nb,x\n")
    with pytest.raises(ValueError, match="trained on walks"):
        split_like(read(other), loaded)


def test_data_that_has_changed_is_not_evaluated(dataset: Dataset, tmp_path: Path) -> None:
    """One more user deals all of them anew: figures on those the snapshot was trained on would be too good."""
    trained = follow(dataset, content(dataset), plan(SMALL))
    loaded = written(tmp_path, dataset, trained, checksum="another")
    with pytest.raises(ValueError, match="has changed since"):
        split_like(dataset, loaded)


def test_too_little_data_says_so(tmp_path: Path) -> None:
    file = tmp_path / "tiny.csv"
    file.write_text("user,item\na,x\nb,y\n")
    tiny = read(file)
    with pytest.raises(ValueError, match="too little to learn from: 2 users"):
        follow(tiny, content(tiny), plan(SMALL))


def test_a_handful_of_users_is_enough(tmp_path: Path) -> None:
    file = tmp_path / "few.csv"
    file.write_text("user,item\n" + "".join(f"u{user},i{(user + at) % 7}\n" for user in range(5) for at in range(4)))
    few = read(file)
    parts = split(few, SplitConfig())
    assert (len(parts.cold), len(parts.valid), len(parts.warm)) == (1, 1, 3)
    assert follow(few, content(few), plan(SMALL)).tensors["popularity"].sum() == 9


def test_an_unknown_choice_is_named() -> None:
    with pytest.raises(ValueError, match="there is no setting widht"):
        plan({"widht": 3})


def test_many_users_with_long_histories_have_a_recall_for_those_without_an_order(tmp_path: Path) -> None:
    long = many_users(tmp_path, items=150, events=60)
    size = sized(long)
    assert (size["recall"], size["length"], size["settling"], size["continued"]) == ("unordered", 100, 20, True)
    learner, _ = begin(plan(size), [""] * 150, torch.zeros(150, 4), split(long, SplitConfig()).warm)
    assert learner.recall is not None
    assert learner.recall.filter.any()
    assert not learner.tower.bias.any()


def test_many_users_are_left_to_the_blocks(tmp_path: Path) -> None:
    many = many_users(tmp_path, items=50, events=4)
    size = sized(many)
    assert (size["recall"], size["rank"], size["residual_rate"], size["unit"]) == ("never", 128, 1.0, False)
    learner, _ = begin(plan(size), [""] * 50, torch.zeros(50, 4), split(many, SplitConfig()).warm)
    assert learner.recall is None
    assert not learner.tower.bias.any()
    assert plan(size).outer.refreshing < 0.1
    chosen = plan(size | {"epochs": 6, "rate": 1e-2, "shuffled": 0.0, "averaging": 0.5})
    trained = follow(many, np.zeros((50, 4), np.float32), chosen)
    assert trained.metrics["validation NDCG@10"] > 0.5
    loaded = Learner.restore(written(tmp_path, many, trained))
    assert loaded.recall is None
