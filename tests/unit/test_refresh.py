"""A refresh learns what is new without forgetting, and the gate lets nothing worse through."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from models import snapshot
from models.episode import History
from models.evaluate import LearnerRanker, evaluate, leave_one_out
from models.item import Item
from models.learner import Learner
from models.meta import OuterLoop
from models.recipe import Plan, plan
from models.refresh import RefreshConfig, Stopped, catalogue_of, judge, refresh
from models.replay import build_replay
from models.snapshot import Snapshot
from models.words import Words

ITEMS, WIDTH = 40, 12
PLAN: Plan = plan(
    {"width": 16, "rank": 16, "length": 10, "dropout": 0.0, "rate": 1e-2, "shuffled": 0.0, "batch_size": 32}
)
CONFIG = RefreshConfig(meta_steps=60, rate=1.0)


def walks(users: int, seed: int, step: int) -> list[History]:
    """Users go round the items, `step` at a time: the next item follows from the last."""
    starts = np.random.default_rng(seed).integers(0, ITEMS, users)
    rows = [(start + step * np.arange(8)) % ITEMS for start in starts]
    return [History(row.astype(np.int64), np.zeros(8, np.int64), np.ones(8, np.float32)) for row in rows]


def content_of(count: int) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.randn(count, WIDTH, generator=torch.Generator().manual_seed(0)), dim=-1)


def learner_with_text() -> Learner:
    """A learner whose items' words lead somewhere."""
    goals = torch.randn(ITEMS, PLAN.learner.rank + 1, generator=torch.Generator().manual_seed(1))
    texts = [f"Item {row} of shelf {row % 5}" for row in range(ITEMS)]
    words, expected = Words.fit(texts, content_of(ITEMS), goals, torch.ones(ITEMS))
    return Learner(PLAN.learner, expected, words)


def snapshot_of(root: Path, histories: Sequence[History], epochs: int) -> Snapshot:
    torch.manual_seed(0)
    learner = learner_with_text()
    loop = OuterLoop(learner, PLAN.outer, torch.ones(ITEMS))
    for _ in range(epochs):
        loop.run_epoch(histories)
    folder = snapshot.write(
        root,
        tensors=learner.tensors() | {"popularity": torch.ones(ITEMS)} | build_replay(histories, 10, 0),
        items=[Item(str(row), f"Item {row}") for row in range(ITEMS)],
        config=PLAN.to_dict(),
        content_model="none",
        scale=(1.0, 5.0),
        metrics={},
        parent=None,
        created="2026-06-01T12:00:00+00:00",
        data={},
    )
    return snapshot.read(folder)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    """A snapshot that knows walks by ones."""
    return snapshot_of(tmp_path_factory.mktemp("snapshots"), walks(200, 0, 1), epochs=15)


def ndcg(learner: Learner, histories: Sequence[History]) -> float:
    return evaluate(LearnerRanker(learner), leave_one_out(histories), [10])["NDCG@10"]


def learner_of(given: Snapshot, tensors: dict[str, torch.Tensor]) -> Learner:
    learner = Learner(PLAN.learner, tensors["tower.expected"].float())
    learner.load_state_dict({name: tensors[name].float() for name in learner.state_dict()})
    return learner.eval()


def test_a_new_habit_is_learned_and_the_old_one_kept(trained: Snapshot) -> None:
    new, old = walks(100, 5, 3), walks(100, 6, 1)
    before = Learner.restore(trained)
    done = refresh(trained, new, trained.items, {}, CONFIG)
    after = learner_of(trained, done.tensors)
    assert done.verdict.publish, done.verdict.reason
    assert done.verdict.candidate == pytest.approx(ndcg(after, new))
    assert ndcg(after, walks(100, 7, 3)) > ndcg(before, walks(100, 7, 3)) + 0.2
    assert ndcg(after, old) > 0.8 * ndcg(before, old)


def test_what_is_held_out_was_not_trained_on(trained: Snapshot) -> None:
    """Events that follow from nothing cannot be foreseen: had the gate trained on them, the candidate would shine."""
    rng = np.random.default_rng(0)
    users = walks(60, 8, 1)
    for user in users:
        user.rows[-1] = rng.choice(np.setdiff1d(np.arange(ITEMS), user.rows))
    assert refresh(trained, users, trained.items, {}, CONFIG).verdict.candidate < 0.5


def test_a_worse_candidate_is_refused(trained: Snapshot) -> None:
    current, ruined = Learner.restore(trained), Learner.restore(trained)
    with torch.no_grad():
        ruined.tower.residual.normal_()
    cases = leave_one_out(walks(50, 9, 1))
    verdict = judge(current, ruined, cases, tolerance=0.01)
    assert not verdict.publish
    assert "worse" in verdict.reason
    assert judge(current, current, cases, tolerance=0.0).publish


def test_a_candidate_that_is_not_finite_is_refused(trained: Snapshot) -> None:
    broken = Learner.restore(trained)
    with torch.no_grad():
        broken.prior.fill_(torch.nan)
    verdict = judge(Learner.restore(trained), broken, leave_one_out(walks(50, 9, 1)), tolerance=0.01)
    assert not verdict.publish
    assert "not finite" in verdict.reason


def test_too_few_events_bring_no_verdict(trained: Snapshot) -> None:
    done = refresh(trained, walks(3, 1, 1), trained.items, {}, CONFIG)
    assert not done.verdict.publish
    assert "too few" in done.verdict.reason


def test_new_items_join_with_their_text(trained: Snapshot) -> None:
    vector = np.asarray(content_of(ITEMS + 1)[-1])
    put = [(Item("new", "New on shelf 3"), vector), (Item("3", "Renamed"), None), (Item("other model", ""), None)]
    items = catalogue_of(trained, put)
    assert [item.id for item in items[ITEMS:]] == ["new"]
    assert items[3].title == "Renamed"
    done = refresh(trained, walks(100, 5, 3), items, {"new": vector}, CONFIG)
    after = learner_of(trained, done.tensors)
    assert after.catalogue()[0].shape == (ITEMS + 1, 16)
    assert done.tensors["popularity"].shape == (ITEMS + 1,)
    assert done.tensors["popularity"].sum() == ITEMS + 100
    said = Learner.restore(trained).expect(["New on shelf 3"], torch.from_numpy(vector)[None])
    torch.testing.assert_close(done.tensors["tower.expected"][-1].float(), said[0], atol=1e-3, rtol=1e-2)
    assert said.abs().sum() > 0
    assert {name for name in trained.tensors if name.startswith("words.")} <= done.tensors.keys()


def test_it_stops_when_told(trained: Snapshot) -> None:
    with pytest.raises(Stopped):
        refresh(trained, walks(50, 5, 3), trained.items, {}, CONFIG, stop=lambda: True)


def test_a_refresh_repeats(trained: Snapshot) -> None:
    runs = [refresh(trained, walks(50, 5, 3), trained.items, {}, CONFIG).verdict for _ in range(2)]
    assert runs[0] == runs[1]
