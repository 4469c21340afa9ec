"""The outer loop learns, repeats and resumes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from models.episode import History, pack, windows
from models.evaluate import LearnerRanker, evaluate, leave_one_out
from models.learner import Learner, LearnerConfig
from models.meta import OuterConfig, OuterLoop, train
from models.progress import Progress
from tests.worlds import gpu

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


def loop(device: str = "cpu", **changes: object) -> OuterLoop:
    torch.manual_seed(0)
    config = LearnerConfig(width=16, rank=16, heads=2, length=10, dropout=0.0)
    learner = Learner(config, torch.nn.functional.normalize(torch.randn(N, config.rank + 1), dim=-1))
    outer = OuterConfig(
        **(
            {"batch_size": 32, "epochs": 15, "patience": 15, "shuffled": 0.0, "rate": 1e-2, "averaging": 0.9}
            | {"residual_rate": 1.0}
            | changes
        )
    )  # type: ignore[arg-type]
    return OuterLoop(learner.to(device), outer, torch.ones(N))


def stopped_after(*figures: float) -> Callable[[], float]:
    """Validations that give these, and then are interrupted."""
    left = iter(figures)

    def validate() -> float:
        try:
            return next(left)
        except StopIteration:
            raise KeyboardInterrupt from None

    return validate


ALGORITHMS = ("maml", "fomaml", "reptile")
DEVICES = ("cpu", pytest.param("cuda", marks=gpu))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_it_learns_what_follows_what(algorithm: str, device: str) -> None:
    made = loop(device, algorithm=algorithm)
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


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_resumed_training_ends_as_an_uninterrupted_one(tmp_path: Path, algorithm: str) -> None:
    whole = loop(epochs=4, shuffled=0.5, algorithm=algorithm)
    scores = iter([0.1, 0.2, 0.3, 0.4])
    train(whole, circles(50, 0), lambda: next(scores))

    first = loop(epochs=4, shuffled=0.5, algorithm=algorithm)
    with pytest.raises(KeyboardInterrupt):
        train(first, circles(50, 0), stopped_after(0.1, 0.2), checkpoint=tmp_path / "at.pt")
    second = loop(epochs=4, shuffled=0.5, algorithm=algorithm)
    later = iter([0.3, 0.4])
    train(second, circles(50, 0), lambda: next(later), checkpoint=tmp_path / "at.pt")
    for name, tensor in whole.learner.tensors().items():
        torch.testing.assert_close(tensor, second.learner.tensors()[name], atol=0, rtol=0)


@pytest.mark.parametrize("device", DEVICES)
def test_a_checkpoint_goes_on_wherever_it_is_read(tmp_path: Path, device: str) -> None:
    cases, at = leave_one_out(circles(50, 1)), tmp_path / "at.pt"
    with pytest.raises(KeyboardInterrupt):
        train(loop(), circles(200, 0), stopped_after(0.1, 0.2), checkpoint=at)
    second = loop(device)
    train(second, circles(200, 0), lambda: evaluate(LearnerRanker(second.learner), cases)["NDCG@10"], checkpoint=at)
    assert second.learner.prior.device.type == device
    assert evaluate(LearnerRanker(second.learner), cases)["NDCG@10"] > 0.8


def test_a_checkpoint_of_other_settings_is_refused(tmp_path: Path) -> None:
    train(loop(epochs=1), circles(20, 0), lambda: 0.1, checkpoint=tmp_path / "at.pt")
    with pytest.raises(ValueError, match="other settings"):
        train(loop(epochs=1, algorithm="fomaml"), circles(20, 0), lambda: 0.1, checkpoint=tmp_path / "at.pt")


def test_an_algorithm_that_does_not_exist_is_named() -> None:
    with pytest.raises(ValueError, match="no algorithm imaml; there are maml, fomaml, reptile"):
        loop(algorithm="imaml")


def slopes(made: OuterLoop) -> tuple[float, dict[str, torch.Tensor | None]]:
    """The loss on a few episodes, and its gradient by the parameter's name, None where it does not reach."""
    for name, parameter in made.learner.named_parameters():  # away from the zeros and ones some start at
        seed = torch.Generator().manual_seed(len(name))
        torch.nn.init.normal_(parameter, std=0.3, generator=seed)
    made.learner.eval()  # without dropout
    lost = made.loss(pack(circles(6, 3), 10))
    found = torch.autograd.grad(lost, list(made.learner.parameters()), allow_unused=True)
    return float(lost.detach()), dict(zip((name for name, _ in made.learner.named_parameters()), found, strict=True))


def test_first_order_maml_has_the_same_loss_and_leaves_what_forms_inner_gradients_alone() -> None:
    loss, through = slopes(loop())
    same, constant = slopes(loop(algorithm="fomaml"))
    assert same == loss
    weighing = ("decay_logits", "shrinkage_logits", "sharpness_logits")
    forming = {name for name in through if name.endswith((*weighing, "value.weight", "recall.voice"))}
    assert (
        len(forming) == 2 * (5 + 1) + 3
    )  # of both blocks: five that weigh, and the values; of the recall two that weigh, and the voice
    reached, left = ({name for name, slope in of.items() if slope is not None} for of in (through, constant))
    assert reached - left == forming
    assert left < reached
    assert not torch.allclose(through["enter.weight"], constant["enter.weight"], rtol=1e-2)


def test_a_learner_goes_by_the_loop_it_was_given_to_last() -> None:
    made = loop(algorithm="fomaml")
    again = OuterLoop(made.learner, OuterConfig(), torch.ones(N))
    assert slopes(again)[1]["recall.voice"] is not None


def test_reptile_follows_a_share_of_the_way_that_falls_with_the_epochs() -> None:
    """One meta-step is `task_steps` steps of the optimiser on the same episodes, then back to a share of the way."""
    batch = pack(circles(8, 0), 10)
    for epoch, share in ((0, 0.5), (3, 0.35), (10, 0.0)):
        ours, plain = (loop(algorithm="reptile", task_steps=3, follow=0.5, epochs=10) for _ in range(2))
        start = {name: parameter.detach().clone() for name, parameter in plain.learner.named_parameters()}
        ours.learner.eval(), plain.learner.eval()  # without dropout
        for _ in range(3):
            plain.optimiser.zero_grad()
            plain.loss(batch).backward()
            torch.nn.utils.clip_grad_norm_(plain.learner.parameters(), 5.0)
            plain.optimiser.step()
        ours.epoch = epoch
        ours.meta_step(batch)
        for name, end in plain.learner.named_parameters():
            followed = start[name] + share * (end.detach() - start[name])
            torch.testing.assert_close(ours.learner.get_parameter(name).detach(), followed)


def test_it_stops_early_and_keeps_the_best() -> None:
    made = loop(epochs=50, patience=3)
    validations = iter([0.1, 0.5, 0.2, 0.2, 0.2])
    seen: list[Progress] = []
    assert train(made, circles(20, 0), lambda: next(validations), progress=seen.append) == 0.5
    assert made.epoch == 5
    assert made.best_epoch == 2
    ended = [at for at in seen if at.ended]
    assert [(at.epoch, at.validation, at.best) for at in ended] == [
        (1, 0.1, 0.1),
        (2, 0.5, 0.5),
        (3, 0.2, 0.5),
        (4, 0.2, 0.5),
        (5, 0.2, 0.5),
    ]
    assert str(ended[2]).startswith("epoch 3/50  loss ")
    assert str(ended[2]).endswith("  NDCG@10 0.2000  best 0.5000")


def test_no_figure_is_shown_of_an_epoch_that_has_not_ended() -> None:
    made = loop(epochs=2, batch_size=5)
    seen: list[Progress] = []
    train(made, circles(20, 0), lambda: 0.25, progress=seen.append)
    assert [at.share for at in seen if at.epoch == 2] == sorted(at.share for at in seen if at.epoch == 2)
    assert {(at.epoch, at.ended, at.validation, at.best) for at in seen} == {
        (1, False, None, None),
        (1, True, 0.25, 0.25),
        (2, False, None, 0.25),
        (2, True, 0.25, 0.25),
    }


def test_what_users_speak_against_is_pushed_down() -> None:
    made = loop(rate=1e-2)
    events = History(np.array([1, 2, 3]), np.zeros(3, np.int64), np.array([1, 1, -1], np.float32))

    def chance() -> float:
        made.learner.eval()
        vectors, biases = made.learner.catalogue()
        user = made.learner.user_vectors(vectors, pack([events.take(slice(0, 2))], 10))
        return float(torch.softmax(user @ vectors.T + biases, -1)[0, 3].detach())

    before = chance()
    for batch, _ in windows([events] * 32, 10, 32, 0.0, made.rng):
        for _ in range(40):
            made.meta_step(batch)
    assert chance() < before / 2


def test_windows_cover_every_event_once() -> None:
    rng = np.random.default_rng(0)
    users = [history(list(range(start, start + 23))) for start in (0, 100)]
    found = [row for batch, _ in windows(users, 5, 3, 0.0, rng) for row in batch.rows[batch.mask].tolist()]
    assert len(found) == len(set(found))
    assert len(found) >= 2 * 23 - 4  # a cut of a single event teaches nothing


def test_the_middle_of_a_history_is_not_scored_before_it_has_settled() -> None:
    rng, users = np.random.default_rng(0), [history(list(range(40)))] * 8
    begun = 0
    for support, scored in windows(users, 10, 4, 0.0, rng, most=2, settling=3):
        for rows, taken, counted in zip(support.rows, support.mask, scored, strict=True):
            first = int(rows[taken][0])
            begun += first == 0
            assert rows[counted].tolist() == rows[taken].tolist()[0 if first == 0 else 3 :]
    assert begun >= 6  # whoever is cut is read from the beginning too, unless that is a single event


def test_what_came_at_one_moment_is_read_without_an_order() -> None:
    rng = np.random.default_rng(0)
    users = [history(list(range(9))), history(list(range(9)))._replace(ordered=False)]
    rows = {
        ordered: row
        for batch, _ in windows(users, 9, 1, 0.0, rng)
        for ordered, row in zip(batch.ordered.tolist(), batch.rows.tolist(), strict=True)
    }
    assert rows[True] == sorted(rows[False]) != rows[False]
