"""Going on with a training: what a refresh of many users' learner takes over from the training, and hands on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from models import snapshot as snapshots
from models.dataset import read
from models.episode import History
from models.evaluate import LearnerRanker, evaluate, leave_one_out
from models.item import Item
from models.learner import Learner
from models.meta import FIRST, SECOND, OuterConfig, OuterLoop
from models.recipe import follow, plan
from models.refresh import Fresh, RefreshConfig, Refreshed, refresh
from models.snapshot import POPULARITY, Snapshot
from tests.worlds import write_trained

ITEMS = 40
SMALL: dict[str, Any] = {
    "width": 16, "rank": 16, "heads": 2, "length": 10, "epochs": 8, "batch_size": 32, "dropout": 0.0, "shuffled": 0.0,
    "residual_rate": 1.0, "rate": 1e-2, "averaging": 0.9, "continued": True,
}  # fmt: skip
CONFIG = RefreshConfig(meta_steps=30)


def walks(users: int, seed: int, step: int) -> list[History]:
    """Users go round the items, `step` at a time."""
    starts = np.random.default_rng(seed).integers(0, ITEMS, users)
    rows = [(start + step * np.arange(8)) % ITEMS for start in starts]
    return [History(row.astype(np.int64), np.zeros(8, np.int64), np.ones(8, np.float32)) for row in rows]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    """A snapshot that knows walks by ones, trained as many users' learner is."""
    root = tmp_path_factory.mktemp("walks")
    lines = [f"u{user},{row},{at}" for user, one in enumerate(walks(200, 0, 1)) for at, row in enumerate(one.rows)]
    (root / "walks.csv").write_text("user,item,timestamp\n" + "\n".join(lines) + "\n")
    dataset = read(root / "walks.csv")
    content = np.random.default_rng(0).normal(size=(ITEMS, 8)).astype(np.float32)
    found = follow(dataset, content, plan(SMALL))
    return snapshots.read(root / write_trained(root, dataset, found))


def taught(snapshot: Snapshot, seed: int, config: RefreshConfig = CONFIG) -> Refreshed:
    """A refresh by 100 users, new ones, who go by threes."""
    fresh = [Fresh(placed(snapshot, one), len(one.rows)) for one in walks(100, seed, 3)]
    return refresh(snapshot, fresh, snapshot.items, {}, config)


def placed(snapshot: Snapshot, history: History) -> History:
    """The walk in the snapshot's rows."""
    row = {item.id: at for at, item in enumerate(snapshot.items)}
    return history._replace(rows=np.array([row[str(one)] for one in history.rows.tolist()]))


def then(snapshot: Snapshot, done: Refreshed) -> Snapshot:
    tensors = {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in done.tensors.items()}
    return replace(snapshot, tensors=tensors, items=done.items)


def ndcg(snapshot: Snapshot, step: int) -> float:
    asked = [placed(snapshot, one) for one in walks(100, 99, step)]
    return evaluate(LearnerRanker(Learner.restore(snapshot)), leave_one_out(asked), [10])["NDCG@10"]


def test_a_training_hands_on_the_moments_of_what_it_moved(trained: Snapshot) -> None:
    learner = Learner.restore(trained)
    shapes = {name: parameter.shape for name, parameter in learner.named_parameters()}
    for prefix in (FIRST, SECOND):
        kept = {name.removeprefix(prefix): one for name, one in trained.tensors.items() if name.startswith(prefix)}
        assert {name: tensor.shape for name, tensor in kept.items()} == shapes
        assert kept["tower.residual"].any()
        assert prefix == FIRST or all((tensor >= 0).all() for tensor in kept.values())


def test_refreshes_add_up_and_forget_little(trained: Snapshot) -> None:
    found, snapshot = [ndcg(trained, 3)], trained
    for seed in range(3):
        done = taught(snapshot, seed, replace(CONFIG, meta_steps=12))
        assert done.verdict.publish, done.verdict.reason
        snapshot = then(snapshot, done)
        found.append(ndcg(snapshot, 3))
    assert found == sorted(found)
    assert found[-1] > found[0] + 0.2
    assert ndcg(snapshot, 1) > 0.8 * ndcg(trained, 1)


def test_what_is_published_is_an_average_of_the_steps(trained: Snapshot, monkeypatch: pytest.MonkeyPatch) -> None:
    """One step leaves the average a tenth of the way."""
    original = OuterLoop.meta_step

    def told(loop: OuterLoop, *batch: Any) -> float:
        loss = original(loop, *batch)
        moved.update({name: tensor.detach().clone() for name, tensor in loop.learner.named_parameters()})
        return loss

    moved: dict[str, torch.Tensor] = {}
    monkeypatch.setattr(OuterLoop, "meta_step", told)
    done = taught(trained, 0, replace(CONFIG, meta_steps=1))
    name = "tower.residual"
    way, whole = done.tensors[name] - trained.tensors[name], moved[name] - trained.tensors[name]
    assert whole.abs().max() > 1e-4
    torch.testing.assert_close(way, 0.1 * whole, atol=1e-6, rtol=1e-3)


def test_a_step_is_as_long_as_the_moments_say(trained: Snapshot) -> None:
    """Where a parameter's gradients are known to be large it moves less."""

    def way(factor: float) -> float:
        scaled = {name: factor * one if name.startswith(SECOND) else one for name, one in trained.tensors.items()}
        done = taught(replace(trained, tensors=scaled), 0, replace(CONFIG, meta_steps=1))
        return float((done.tensors["enter.weight"] - trained.tensors["enter.weight"]).abs().mean())

    assert way(1.0) > 3 * way(100.0)


def test_what_is_new_has_the_mean_square_of_the_others(trained: Snapshot) -> None:
    learner = Learner.restore(trained).grown(torch.ones(1, SMALL["rank"] + 1)).requires_grad_(True)
    loop = OuterLoop(learner, OuterConfig(**trained.manifest.config["outer"]), torch.ones(ITEMS + 1))
    loop.take_up(trained.tensors)
    state, known = loop.optimiser.state[learner.tower.residual], trained.tensors[SECOND + "tower.residual"]
    torch.testing.assert_close(state["exp_avg_sq"], torch.cat([known, known.mean(0, keepdim=True)]))
    assert not state["exp_avg"][-1].any()


def test_a_new_kind_is_read_as_the_average_event(trained: Snapshot) -> None:
    fresh = [Fresh(placed(trained, one)._replace(kinds=np.full(8, 3)), 8) for one in walks(100, 1, 3)]
    done = refresh(trained, fresh, trained.items, {}, replace(CONFIG, meta_steps=1))
    usual = trained.tensors["kind_shares"] @ trained.tensors["kind_vectors"]
    torch.testing.assert_close(done.tensors["kind_vectors"][3], usual, atol=0.11 * SMALL["rate"], rtol=0.0)


def test_a_new_item_joins_with_its_moments(trained: Snapshot) -> None:
    fresh = [Fresh(placed(trained, one), len(one.rows)) for one in walks(100, 1, 3)]
    for one in fresh[::2]:
        one.history.rows[4] = ITEMS
    done = refresh(trained, fresh, (*trained.items, Item("new", "New")), {"new": np.ones(8, np.float32)}, CONFIG)
    assert done.tensors[SECOND + "tower.residual"].shape == (ITEMS + 1, SMALL["rank"])
    assert done.tensors[POPULARITY][-1] > 0


def test_without_steps_it_refreshes_in_closed_form(trained: Snapshot) -> None:
    done = taught(trained, 0, RefreshConfig(meta_steps=0))
    assert "trend.share" in done.tensors


def test_moments_that_were_lost_are_found_again(trained: Snapshot) -> None:
    without = {name: tensor for name, tensor in trained.tensors.items() if not name.startswith((FIRST, SECOND))}
    done = taught(replace(trained, tensors=without), 0)
    assert done.verdict.publish
    assert SECOND + "tower.residual" in done.tensors


@pytest.mark.parametrize("change", [{"continued": False}, {"algorithm": "reptile"}])
def test_others_begin_in_closed_form(change: dict[str, Any], trained: Snapshot) -> None:
    outer = trained.manifest.config["outer"] | change
    other = replace(trained, manifest=replace(trained.manifest, config=trained.manifest.config | {"outer": outer}))
    done = taught(other, 0)
    assert "trend.share" in done.tensors
    assert SECOND + "tower.residual" not in done.tensors
