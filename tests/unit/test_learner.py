"""The learner: causal, batch-invariant, signed, and the same by both forms of the inner loop."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from models.episode import History, Support, pack
from models.interaction import KINDS
from models.learner import KIND_SLOTS, Learner, LearnerConfig

N = 30


def learner(**changes: object) -> Learner:
    torch.manual_seed(0)
    config = LearnerConfig.from_dict({"width": 16, "rank": 24, "heads": 2, "length": 8} | changes)
    made = Learner(config, torch.nn.functional.normalize(torch.randn(N, config.rank + 1), dim=-1))
    for parameter in made.parameters():  # away from the zeros some start at, so that every path counts
        torch.nn.init.normal_(parameter, std=0.3)
    return made.eval()


def history(*rows: int, preference: float = 1.0) -> History:
    return History(np.array(rows, np.int64), np.zeros(len(rows), np.int64), np.full(len(rows), preference, np.float32))


@pytest.mark.parametrize("steps", [1, 3])
def test_serving_equals_the_last_position_of_training(steps: int) -> None:
    model = learner(steps=steps)
    vectors, _ = model.catalogue()
    support = pack([history(1, 2, 3), history(4), history(*range(8))], 8)
    torch.testing.assert_close(
        model.user_vectors(vectors, support), model(vectors, support)[:, -1], atol=1e-4, rtol=1e-4
    )


def test_without_order_nothing_fades() -> None:
    """The newest event is who reads, here the same; the others may change places."""
    model = learner(recall="never", blocks=1)
    vectors, _ = model.catalogue()
    one, other = (history(*rows, 9)._replace(ordered=False) for rows in ((1, 2, 3, 4), (4, 2, 1, 3)))
    first, second = model.user_vectors(vectors, pack([one, other], 8))
    torch.testing.assert_close(first, second, atol=1e-5, rtol=1e-5)
    first, second = model.user_vectors(vectors, pack([each._replace(ordered=True) for each in (one, other)], 8))
    assert not torch.allclose(first, second, atol=1e-3)


def test_readers_do_without_a_share_of_their_support_while_training_alone() -> None:
    model, plain = learner(support_dropout=0.5, dropout=0.0), learner(dropout=0.0)
    vectors, _ = model.catalogue()
    support = pack([history(*range(8))], 8)
    torch.testing.assert_close(model(vectors, support), plain(vectors, support))
    one, other = (model.train()(vectors, support) for _ in range(2))
    assert not torch.allclose(one, other)
    torch.testing.assert_close(plain.train()(vectors, support), plain(vectors, support))


def test_what_averages_all_events_does_without_none_of_them() -> None:
    gather = learner(support_dropout=0.9).blocks[0].gather.train()
    values, left = torch.randn(1, 8, 16), torch.ones(1, 1, 8, 8).tril()
    one, other = (gather.average(values, left, gather.terms(None)) for _ in range(2))
    torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_a_batch_equals_one_by_one() -> None:
    model = learner()
    vectors, _ = model.catalogue()
    users = [history(1, 2, 3), history(), history(*range(20)), history(5, preference=-1.0)]
    together = model.user_vectors(vectors, pack(users, 8))
    alone = torch.cat([model.user_vectors(vectors, pack([user], 8)) for user in users])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


def test_a_recall_of_histories_without_an_order_leaves_the_others_alone() -> None:
    """Also where both are in a batch."""
    model = learner(recall="unordered")
    vectors, _ = model.catalogue()
    users = [history(1, 2, 3), history(1, 2, 3)._replace(ordered=False), history(4, 5)]
    before = model.user_vectors(vectors, pack(users, 8))
    alone = torch.cat([model.user_vectors(vectors, pack([user], 8)) for user in users])
    torch.testing.assert_close(before, alone, atol=1e-5, rtol=1e-5)
    with torch.no_grad():
        model.recall.filter.add_(1.0)
    after = model.user_vectors(vectors, pack(users, 8))
    torch.testing.assert_close(after[::2], before[::2])
    assert not torch.allclose(after[1], before[1])


def test_a_recall_that_is_not_one_is_refused() -> None:
    with pytest.raises(ValueError, match="recall is 'sometimes'; it may be always, unordered, never"):
        learner(recall="sometimes")


def test_a_position_sees_only_its_past() -> None:
    model = learner()
    vectors, _ = model.catalogue()
    one = model(vectors, pack([history(1, 2, 3, 4)], 8))
    other = model(vectors, pack([history(1, 2, 9, 9)], 8))
    torch.testing.assert_close(one[:, :3], other[:, :3])
    assert not torch.allclose(one[:, 3:], other[:, 3:])


def test_no_history_is_the_prior() -> None:
    model = learner()
    vectors, _ = model.catalogue()
    torch.testing.assert_close(model.user_vectors(vectors, pack([history()], 8))[0], model.prior)


def test_order_matters() -> None:
    model = learner()
    vectors, _ = model.catalogue()
    one, other = model.user_vectors(vectors, pack([history(1, 2, 3), history(3, 2, 1)], 8))
    assert not torch.allclose(one, other)


def test_no_step_reads_the_prior_weights() -> None:
    model = learner(blocks=1)
    vectors, _ = model.catalogue()
    two = pack([history(1, 2, 3), history(7, 8, 3)], 8)
    one, other = model.user_vectors(vectors, two, steps=0)
    torch.testing.assert_close(one, other)  # same newest event, nothing learned from those before it
    adapted = model.user_vectors(vectors, two)
    assert not torch.allclose(adapted[0], adapted[1])


def test_an_event_against_its_item_says_the_opposite() -> None:
    model = learner(blocks=1)
    with torch.no_grad():
        block = model.blocks[0]  # what speaks of every user alike says nothing of signs
        for parameter in (
            model.kind_vectors,
            model.prior,
            model.recall.loop.W0,
            model.recall.voice[:1],
            block.relate.W0,
            block.gather.W0,
            block.feed[3].weight,
            block.feed[3].bias,
        ):
            parameter.zero_()
    vectors, _ = model.catalogue()
    liked, disliked = model.user_vectors(vectors, pack([history(4), history(4, preference=-1.0)], 8))
    torch.testing.assert_close(disliked, -liked, atol=1e-5, rtol=1e-5)


def test_new_items_stand_on_their_text() -> None:
    model = learner()
    vectors, biases = model.catalogue(model.tower.expected[:2])
    assert vectors.shape == (N + 2, 24)
    torch.testing.assert_close(vectors.norm(dim=-1), torch.ones(N + 2))
    likely = model.tower.worth(model.tower.expected)
    torch.testing.assert_close(biases[N:], likely[:2])
    said = model.tower.expected[:2, :-1]
    torch.testing.assert_close(vectors[N:], said / said.norm(dim=-1, keepdim=True))


def test_pack_keeps_the_newest() -> None:
    support = pack([history(*range(12)), history(5)], 4)
    assert isinstance(support, Support)
    assert support.rows.tolist() == [[8, 9, 10, 11], [0, 0, 0, 5]]
    assert support.mask.tolist() == [[True] * 4, [False, False, False, True]]


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(ValueError, match="does not divide"):
        learner(width=10, heads=3)


def test_there_is_room_for_every_kind() -> None:
    assert len(KINDS) <= KIND_SLOTS


def test_growing_changes_nothing_that_was_there() -> None:
    model = learner()
    new = torch.nn.functional.normalize(torch.randn(3, 25), dim=-1)
    for had, has in zip(model.catalogue(new), model.grown(new).catalogue(), strict=True):
        torch.testing.assert_close(has, had)


def test_a_kind_never_trained_on_is_read_as_the_average_event() -> None:
    model = learner()
    model.kind_shares.zero_()
    counts = torch.zeros(KIND_SLOTS)
    counts[:2] = torch.tensor([3.0, 1.0])
    model.meet(counts)
    vectors, strengths = model.kinds()
    torch.testing.assert_close(0.75 * vectors[0] + 0.25 * vectors[1], torch.zeros(16))
    assert vectors[0].abs().sum() > 0
    assert vectors[5].abs().sum() == 0
    assert strengths[5] == 0


def test_meeting_a_kind_changes_nothing_yet() -> None:
    model = learner()
    model.kind_shares.zero_()
    model.meet(torch.eye(KIND_SLOTS)[0] * 4)
    before = model.kinds()
    model.meet(torch.eye(KIND_SLOTS)[3] * 9)
    for had, has in zip(before, model.kinds(), strict=True):
        torch.testing.assert_close(has, had, atol=1e-4, rtol=1e-4)
    assert model.kind_shares[3] > 0
