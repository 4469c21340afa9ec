"""A refresh learns what is new without forgetting, and the gate lets nothing worse through."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from models import snapshot
from models.episode import History, Support
from models.evaluate import LearnerRanker, evaluate, leave_one_out
from models.gate import Measured, judge, measure
from models.item import Item
from models.learner import Learner
from models.meta import OuterLoop
from models.recipe import Plan, plan
from models.refresh import Fresh, RefreshConfig, Stopped, catalogue_of, deal, refresh
from models.replay import build_replay
from models.snapshot import Snapshot
from models.words import Words

ITEMS, WIDTH = 40, 12
PLAN: Plan = plan(
    {
        "width": 16,
        "rank": 16,
        "length": 10,
        "dropout": 0.0,
        "rate": 1e-2,
        "shuffled": 0.0,
        "batch_size": 32,
        "refreshing": 1.0,
    }
)
CONFIG, CLOSED = RefreshConfig(meta_steps=60), RefreshConfig(meta_steps=0)


def walks(users: int, seed: int, step: int) -> list[History]:
    """Users go round the items, `step` at a time: the next item follows from the last."""
    starts = np.random.default_rng(seed).integers(0, ITEMS, users)
    rows = [(start + step * np.arange(8)) % ITEMS for start in starts]
    return [History(row.astype(np.int64), np.zeros(8, np.int64), np.ones(8, np.float32)) for row in rows]


def new(histories: Sequence[History]) -> list[Fresh]:
    """All of them by users who were not there before."""
    return [Fresh(history, len(history.rows)) for history in histories]


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


def measured(learner: Learner, histories: Sequence[History]) -> Measured:
    cases = leave_one_out(histories)
    return measure(LearnerRanker(learner).scores([case.support for case in cases]), cases)


def learner_of(tensors: dict[str, torch.Tensor]) -> Learner:
    learner = Learner(PLAN.learner, tensors["tower.expected"].float())
    learner.load_state_dict({name: tensors[name].float() for name in learner.state_dict()})
    return learner.eval()


def test_a_new_habit_is_learned_and_the_old_one_kept(trained: Snapshot) -> None:
    fresh, old = new(walks(100, 5, 3)), walks(100, 6, 1)
    before = Learner.restore(trained)
    done = refresh(trained, fresh, trained.items, {}, CONFIG)
    after = learner_of(done.tensors)
    assert done.verdict.publish, done.verdict.reason
    cases = [case for at in done.judges for case in fresh[at].cases(CONFIG.each)]
    assert done.verdict.cases == len(cases)
    assert done.verdict.candidate == pytest.approx(evaluate(LearnerRanker(after), cases, [10])["NDCG@10"], abs=1e-6)
    assert ndcg(after, walks(100, 7, 3)) > ndcg(before, walks(100, 7, 3)) + 0.2
    assert ndcg(after, old) > 0.8 * ndcg(before, old)


def test_meta_steps_go_at_the_share_of_the_rate_that_the_recipe_says(trained: Snapshot) -> None:
    fresh, outer = new(walks(100, 5, 3)), trained.manifest.config["outer"]

    def figure(share: float) -> float:
        config = trained.manifest.config | {"outer": outer | {"refreshing": share}}
        said = replace(trained, manifest=replace(trained.manifest, config=config))
        return ndcg(learner_of(refresh(said, fresh, trained.items, {}, CONFIG).tensors), walks(100, 7, 3))

    assert figure(1.0) > figure(0.001) + 0.1


def test_what_is_held_out_was_not_trained_on(trained: Snapshot) -> None:
    """Whatever the judges took, and of whatever kind their events are, the candidate is the same."""
    for config, change in ((CLOSED, "rows"), (CONFIG, "kinds")):
        fresh = new(walks(60, 8, 3))
        done = refresh(trained, fresh, trained.items, {}, config)
        assert 0 < len(done.judges) <= 30
        for at in done.judges:
            column = getattr(fresh[at].history, change)
            column[:] = (column * 7 + 3) % ITEMS
        again = refresh(trained, fresh, trained.items, {}, config)
        assert again.judges == done.judges
        for name, tensor in done.tensors.items():
            torch.testing.assert_close(tensor, again.tensors[name], msg=f"{name}, {change}")


def test_who_judged_teaches_the_next_time() -> None:
    fresh = new(walks(40, 8, 1))
    _, judges, _ = deal(fresh, CONFIG)
    after = [one._replace(judged=at in judges) for at, one in enumerate(fresh)]
    assert not judges & deal(after, CONFIG)[1]


def test_of_a_known_user_the_new_events_alone_are_counted_and_judged_by(trained: Snapshot) -> None:
    fresh = [Fresh(history, 2) for history in walks(60, 8, 1)]
    teachers, judges, cases = deal(fresh, CONFIG)
    assert len(teachers) + len(judges) == 60
    assert len(cases) == 2 * len(judges)
    assert {len(case.support.rows) for case in cases} == {6, 7}
    done = refresh(trained, fresh, trained.items, {}, CLOSED)
    assert done.tensors["popularity"].sum() == ITEMS + 2 * len(teachers)
    assert done.tensors["trend.taken"].sum() == 2 * len(teachers)


def test_what_became_popular_is_recommended_more_at_once(trained: Snapshot) -> None:
    """No meta-step: item 7 is what half of all likes go to now."""
    rng = np.random.default_rng(0)
    rows = [np.array([rng.integers(8, ITEMS), 7]) for _ in range(200)]
    fresh = new([History(row, np.zeros(2, np.int64), np.ones(2, np.float32)) for row in rows])
    done = refresh(trained, fresh, trained.items, {}, CLOSED)
    assert done.verdict.publish, done.verdict.reason
    rise = learner_of(done.tensors).tower.bias - Learner.restore(trained).tower.bias
    assert int(rise.argmax()) == 7
    assert rise[7] > 1


def test_a_worse_candidate_is_refused(trained: Snapshot) -> None:
    current, ruined = Learner.restore(trained), Learner.restore(trained)
    with torch.no_grad():
        ruined.tower.residual.normal_()
    before, after = (measured(learner, walks(50, 9, 1)) for learner in (current, ruined))
    verdict = judge(before, after, tolerance=1.0)
    assert not verdict.publish
    assert "worse" in verdict.reason
    assert judge(before, before, tolerance=0.0).publish


def test_chance_is_told_from_loss() -> None:
    """As likely, and an NDCG@10 that is down by less than its error."""
    rng = np.random.default_rng(0)
    before = rng.random(100)
    noise = rng.normal(0, 0.1, 100)
    likelihood = np.zeros(100)
    for loss, publish in ((0.005, True), (0.03, False)):
        after = before + noise - noise.mean() - loss
        assert judge(Measured(before, likelihood), Measured(after, likelihood), 1.0).publish is publish
    assert not judge(Measured(before, likelihood), Measured(before + 1, likelihood - 1e-3), 1.0).publish


def test_a_candidate_that_is_not_finite_is_refused(trained: Snapshot) -> None:
    broken = Learner.restore(trained)
    with torch.no_grad():
        broken.prior.fill_(torch.nan)
    before, after = (measured(learner, walks(50, 9, 1)) for learner in (Learner.restore(trained), broken))
    verdict = judge(before, after, tolerance=1.0)
    assert not verdict.publish
    assert "not finite" in verdict.reason


def test_too_few_events_bring_no_verdict(trained: Snapshot) -> None:
    done = refresh(trained, new(walks(3, 1, 1)), trained.items, {}, CONFIG)
    assert not done.verdict.publish
    assert "too few" in done.verdict.reason


def test_new_items_join_with_their_text(trained: Snapshot) -> None:
    vector = np.asarray(content_of(ITEMS + 1)[-1])
    put = [(Item("new", "New on shelf 3"), vector), (Item("3", "Renamed"), None), (Item("other model", ""), None)]
    items = catalogue_of(trained, put)
    assert [item.id for item in items[ITEMS:]] == ["new"]
    assert items[3].title == "Renamed"
    done = refresh(trained, new(walks(100, 5, 3)), items, {"new": vector}, CONFIG)
    after = learner_of(done.tensors)
    assert after.catalogue()[0].shape == (ITEMS + 1, 16)
    assert done.tensors["popularity"].shape == (ITEMS + 1,)
    assert done.tensors["popularity"].sum() == ITEMS + 8 * (100 - len(done.judges))
    said = Learner.restore(trained).expect(["New on shelf 3"], torch.from_numpy(vector)[None])
    torch.testing.assert_close(done.tensors["tower.expected"][-1].float(), said[0], atol=1e-3, rtol=1e-2)
    assert said.abs().sum() > 0
    assert {name for name in trained.tensors if name.startswith("words.")} <= done.tensors.keys()


def test_a_meta_step_takes_a_part_of_a_trainings_batch(trained: Snapshot, monkeypatch: pytest.MonkeyPatch) -> None:
    """All walks are of one length, so that a part of a batch is as many windows, give or take a rounding."""
    windows, positions = list[int](), set[int]()
    original = OuterLoop.meta_step

    def told(loop: OuterLoop, batch: Support, scored: torch.Tensor | None = None) -> float:
        windows.append(len(batch.rows))
        positions.add(loop.loss.config.positions)
        return original(loop, batch, scored)

    monkeypatch.setattr(OuterLoop, "meta_step", told)
    for part in (1.0, 0.25):
        windows.clear()
        positions.clear()
        refresh(trained, new(walks(100, 5, 3)), trained.items, {}, replace(CONFIG, meta_steps=10, batch=part))
        assert len(windows) == 10
        assert np.mean(windows) == pytest.approx(PLAN.outer.batch_size * part, rel=0.25)
        assert positions == {PLAN.outer.positions * part}


def test_it_stops_when_told(trained: Snapshot) -> None:
    with pytest.raises(Stopped):
        refresh(trained, new(walks(50, 5, 3)), trained.items, {}, CONFIG, stop=lambda: True)


def test_a_refresh_repeats(trained: Snapshot) -> None:
    runs = [refresh(trained, new(walks(50, 5, 3)), trained.items, {}, CONFIG).verdict for _ in range(2)]
    assert runs[0] == runs[1]


def test_a_refresh_keeps_the_beginning_and_is_judged_with_it(trained: Snapshot) -> None:
    learner = learner_of(trained.tensors)
    learner.beginning.normal_(std=0.5)
    begun = replace(trained, tensors=trained.tensors | {"beginning": learner.beginning.clone()})
    refreshed = refresh(begun, new(walks(100, 5, 3)), trained.items, {}, CONFIG)
    found = learner_of(refreshed.tensors)
    assert not torch.equal(found.tower.residual, learner.tower.residual)
    torch.testing.assert_close(found.beginning.norm(dim=-1), learner.beginning.norm(dim=-1))  # turned at the most
    plain = refresh(trained, new(walks(100, 5, 3)), trained.items, {}, CONFIG)
    assert refreshed.verdict != plain.verdict
