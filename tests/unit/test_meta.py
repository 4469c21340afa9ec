"""The outer loop learns, repeats and resumes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from models.episode import History, pack, windows
from models.evaluate import LearnerRanker, evaluate, leave_one_out
from models.learner import Learner, LearnerConfig
from models.meta import OuterConfig, OuterLoop, Progress, train

N = 40


def history(rows: list[int], preference: float = 1.0) -> History:
    return History(np.array(rows, np.int64), np.zeros(len(rows), np.int64), np.full(len(rows), preference, np.float32))


def circles(users: int, seed: int) -> list[History]:
    """Users walk around one of two circles of 20 items: the next item follows from the last."""
    rng = np.random.default_rng(seed)
    return [
        history([int(half * 20 + (start + at) % 20) for at in range(8)])
        for half, start in rng.integers(0, [2, 20], (users, 2))
    ]


def loop(**changes: object) -> OuterLoop:
    torch.manual_seed(0)
    config = LearnerConfig(width=16, rank=16, heads=2, length=10, dropout=0.0)
    learner = Learner(config, torch.nn.functional.normalize(torch.randn(N, 12), dim=-1))
    outer = OuterConfig(
        **(
            {"batch_size": 32, "epochs": 15, "patience": 15, "shuffled": 0.0, "rate": 1e-2, "averaging": 0.9}
            | {"residual_rate": 1.0}
            | changes
        )
    )  # type: ignore[arg-type]
    return OuterLoop(learner, outer, torch.ones(N))


def test_it_learns_what_follows_what() -> None:
    made = loop()
    cases = leave_one_out(circles(50, 1))
    before = evaluate(LearnerRanker(made.learner), cases)["HR@10"]
    train(made, circles(200, 0), lambda: evaluate(LearnerRanker(made.learner), cases)["NDCG@10"])
    after = evaluate(LearnerRanker(made.learner), cases)
    assert before < 0.6
    assert after["HR@10"] > 0.95
    assert after["NDCG@10"] > 0.8


def test_the_same_seed_gives_the_same_parameters() -> None:
    runs = []
    for _ in range(2):
        made = loop(epochs=2, shuffled=0.5)
        train(made, circles(50, 0), lambda: 1.0)
        runs.append(made.learner.tensors())
    for name, tensor in runs[0].items():
        torch.testing.assert_close(tensor, runs[1][name], atol=0, rtol=0)


def test_a_resumed_training_ends_as_an_uninterrupted_one(tmp_path: Path) -> None:
    whole = loop(epochs=4, shuffled=0.5)
    scores = iter([0.1, 0.2, 0.3, 0.4])
    train(whole, circles(50, 0), lambda: next(scores))

    first = loop(epochs=4, shuffled=0.5)
    scores = iter([0.1, 0.2])

    def interrupted() -> float:
        try:
            return next(scores)
        except StopIteration:
            raise KeyboardInterrupt from None

    with pytest.raises(KeyboardInterrupt):
        train(first, circles(50, 0), interrupted, checkpoint=tmp_path / "at.pt")
    second = loop(epochs=4, shuffled=0.5)
    later = iter([0.3, 0.4])
    train(second, circles(50, 0), lambda: next(later), checkpoint=tmp_path / "at.pt")
    for name, tensor in whole.learner.tensors().items():
        torch.testing.assert_close(tensor, second.learner.tensors()[name], atol=0, rtol=0)


def test_a_checkpoint_of_other_settings_is_refused(tmp_path: Path) -> None:
    train(loop(epochs=1), circles(20, 0), lambda: 0.1, checkpoint=tmp_path / "at.pt")
    with pytest.raises(ValueError, match="other settings"):
        train(loop(epochs=1, rate=0.5), circles(20, 0), lambda: 0.1, checkpoint=tmp_path / "at.pt")


def test_it_stops_early_and_keeps_the_best() -> None:
    made = loop(epochs=50, patience=3)
    validations = iter([0.1, 0.5, 0.2, 0.2, 0.2])
    seen: list[Progress] = []
    assert train(made, circles(20, 0), lambda: next(validations), progress=seen.append) == 0.5
    assert made.epoch == 5
    assert made.best_epoch == 2
    assert seen[-1].best == 0.5


def test_what_users_speak_against_is_pushed_down() -> None:
    made = loop(rate=1e-2)
    events = History(np.array([1, 2, 3]), np.zeros(3, np.int64), np.array([1, 1, -1], np.float32))

    def chance() -> float:
        made.learner.eval()
        vectors, biases = made.learner.catalogue()
        user = made.learner.user_vectors(vectors, pack([events.take(slice(0, 2))], 10))
        return float(torch.softmax(user @ vectors.T + biases, -1)[0, 3].detach())

    before = chance()
    for batch in windows([events] * 32, 10, 32, 0.0, made.rng):
        for _ in range(40):
            made.meta_step(batch)
    assert chance() < before / 2


def test_windows_cover_every_event_once() -> None:
    rng = np.random.default_rng(0)
    users = [history(list(range(start, start + 23))) for start in (0, 100)]
    found = [row for batch in windows(users, 5, 3, 0.0, rng) for row in batch.rows[batch.mask].tolist()]
    assert len(found) == len(set(found))
    assert len(found) >= 2 * 23 - 4  # a cut of a single event teaches nothing
