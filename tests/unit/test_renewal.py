"""A renewal begins again from more interactions, and loses nothing that was learned."""

from __future__ import annotations

import numpy as np
import torch

from models.directions import read_directions, summarise
from models.episode import History
from models.evaluate import LearnerRanker
from models.learner import Learner
from models.recipe import begin, plan
from models.renewal import renew

ITEMS, RANK = 30, 24
NOBODY = History(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))


def users(count: int, seed: int) -> list[History]:
    """Each takes some of every third item, and something else."""
    rng = np.random.default_rng(seed)
    own = [rng.permutation(np.arange(user % 3, ITEMS, 3))[: rng.integers(3, 9)] for user in range(count)]
    rows = [np.append(some, rng.choice(np.setdiff1d(np.arange(ITEMS), some))) for some in own]
    return [History(row, np.zeros(len(row), np.int64), np.ones(len(row), np.float32)) for row in rows]


def learner_of(histories: list[History], content: torch.Tensor) -> Learner:
    settings = plan({"width": 16, "rank": RANK, "heads": 2, "length": 10})
    texts = [f"Item {row}" if said else "" for row, said in enumerate(content.any(-1).tolist())]
    return begin(settings, texts, content, histories)[0].eval()


def scores(learner: Learner, histories: list[History]) -> torch.Tensor:
    return torch.from_numpy(LearnerRanker(learner).scores(histories))


def trained(histories: list[History]) -> Learner:
    """A learner with text that has moved from where it began."""
    torch.manual_seed(0)
    learner = learner_of(histories, torch.nn.functional.normalize(torch.randn(ITEMS, 12), dim=-1))
    with torch.no_grad():
        for parameter in learner.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
    return learner


def test_where_nothing_changed_nothing_changes() -> None:
    histories = users(40, 0)
    learner = trained(histories)
    before = scores(learner, histories)
    renew(learner, *summarise(histories, ITEMS, RANK, 0), [])
    torch.testing.assert_close(scores(learner, histories), before, atol=1e-4, rtol=1e-4)


def test_without_text_the_items_are_where_all_interactions_put_them() -> None:
    old, new = users(20, 0), users(12, 1)
    learner = learner_of(old, torch.zeros(ITEMS, 12))
    grown = [old[0].take(slice(0, 2)), *old[1:]]
    learner = learner_of(grown, torch.zeros(ITEMS, 12))
    changed = [(grown[0], old[0]), *((NOBODY, one) for one in new)]
    renew(learner, *summarise(grown, ITEMS, RANK, 0), changed)
    everything, _ = read_directions(*summarise([*old, *new], ITEMS, RANK, 0))
    vectors, _ = learner.catalogue()
    torch.testing.assert_close(vectors @ vectors.T, everything @ everything.T, atol=1e-3, rtol=0)


def test_an_item_that_was_unknown_joins_those_it_is_taken_with() -> None:
    old = [history.take(np.flatnonzero(history.rows != 3)) for history in users(40, 0)]
    learner = trained(old)

    def likeness() -> float:
        near = (learner.catalogue()[0] @ learner.catalogue()[0][3]).detach()
        return float(near[6::3].mean() - near[4::3].mean())  # to what its takers take, more than to what others take

    before = likeness()
    renew(learner, *summarise(old, ITEMS, RANK, 0), [(NOBODY, one) for one in users(600, 1)])
    assert likeness() > before + 0.1


def test_a_turn_changes_no_score() -> None:
    histories = users(40, 0)
    learner = trained(histories)
    assert learner.recall is not None
    with torch.no_grad():
        learner.recall.filter.fill_(2.0)  # it weighs directions one by one: a turn is seen unless it weighs them alike
        before = scores(learner, histories)
        new = [found.detach() for found in learner.catalogue(learner.expect(["Item 3"], torch.ones(1, 12)))]
        rotation = torch.linalg.qr(torch.randn(RANK, RANK)).Q
        learner.turn(rotation)
    torch.testing.assert_close(scores(learner, histories), before, atol=1e-4, rtol=1e-4)
    vectors, biases = learner.catalogue(learner.expect(["Item 3"], torch.ones(1, 12)))
    torch.testing.assert_close(vectors, new[0] @ rotation.T, atol=1e-4, rtol=1e-4)  # items to come are turned as well
    torch.testing.assert_close(biases, new[1])
