"""The opponents, against cases worked by hand or by autograd."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.contenders import RANKERS
from benchmarks.corpus import Corpus
from benchmarks.opponents.bias import item_biases
from benchmarks.opponents.content_knn import ContentNeighbours, cosines, expected_popularity
from benchmarks.opponents.innerloop import Placed, place
from benchmarks.opponents.innerloop_rating import InnerLoopRater
from benchmarks.opponents.maml import adapted
from benchmarks.opponents.melu import MeLU, Padded, decide
from benchmarks.opponents.recency import RecencyEASE, faded
from benchmarks.opponents.reptile import ReptilePredictor, meta_step
from benchmarks.opponents.sasrec import TransformerRanker, loss
from benchmarks.opponents.transformer import Transformer
from benchmarks.protocols import loo, ratings
from benchmarks.protocols.melu import episodes
from benchmarks.rating import Features, Rated, RatingTask, ndcg
from benchmarks.task import Limits
from models.baselines import EASE, incidence
from models.episode import History, pack
from models.learner import Learner, LearnerConfig


def history(*rows: int, ordered: bool = True) -> History:
    return History(np.array(rows, np.int64), np.zeros(len(rows), np.int64), np.ones(len(rows), np.float32), ordered)


def test_a_history_fades_towards_its_floor() -> None:
    weights = faded([history(2, 0, 1), history(0, 3, 0), history(1, 2, ordered=False)], 4, 0.5, 0.2).toarray()
    np.testing.assert_allclose(weights[0], [0.6, 1.0, 0.4, 0.0])
    np.testing.assert_allclose(weights[1], [1.0, 0.0, 0.0, 0.6])  # the newest of the two counts
    np.testing.assert_allclose(weights[2], [0.0, 1.0, 1.0, 0.0])


def test_recency_ease_reads_the_rows_of_ease_by_age() -> None:
    rng = np.random.default_rng(0)
    train = incidence([history(*rng.choice(6, 3, replace=False)) for _ in range(50)], 6)
    plain = EASE(train, 5.0)
    found = RecencyEASE(plain, 0.5, 0.0).scores([history(4, 1)])[0]
    np.testing.assert_allclose(found, plain.weights[1] + 0.5 * plain.weights[4], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("normalised", [True, False])
def test_sasrec_is_causal(normalised: bool) -> None:
    torch.manual_seed(0)
    network = Transformer(10, 8, 2, 2, 6, 0.0, normalised).eval()
    table = network.table()
    one, other = (network(table, pack([history(1, 2, 3, last)], 6)) for last in (4, 5))
    torch.testing.assert_close(one[:, :-1], other[:, :-1])
    assert not torch.allclose(one[:, -1], other[:, -1])


def test_sasrec_does_not_see_padding() -> None:
    torch.manual_seed(0)
    ranker = TransformerRanker(Transformer(10, 8, 2, 2, 6, 0.5, True))
    alone = ranker.scores([history(1, 2)])
    beside = ranker.scores([history(1, 2), history(3, 4, 5, 6, 7, 8)])
    np.testing.assert_allclose(alone[0], beside[0], rtol=1e-4, atol=1e-5)
    assert np.isfinite(ranker.scores([history()])).all()


def test_sasrec_learns_a_walk() -> None:
    torch.manual_seed(0)
    walks = [history(*((start + np.arange(5)) % 10)) for start in range(10)]
    network = Transformer(10, 16, 1, 2, 5, 0.0, True)
    optimiser = torch.optim.Adam(network.parameters(), 1e-2)
    for _ in range(60):
        optimiser.zero_grad()
        loss(network, pack(walks, 5), 0.0).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    assert TransformerRanker(network).scores([history(1, 2, 3)])[0].argmax() == 4


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_sasrec_may_leave_what_was_taken_out_of_the_softmax(smoothing: float) -> None:
    torch.manual_seed(0)
    network = Transformer(6, 8, 1, 2, 4, 0.0, True).eval()
    walk = [4, 2, 4, 1]  # the second 4 is a target although it was taken
    batch = pack([history(*walk)], 4)
    with torch.no_grad():
        users, table = network(network.table(), batch)[0], network.table()
        losses = []
        for at, target in enumerate(walk[1:]):
            left = [item for item in range(6) if item == target or item not in walk[: at + 1]]
            shares = (users[at] @ table[left].T).log_softmax(0)
            losses.append(-shares[left.index(target)])
        found = loss(network, batch, smoothing, unseen=True)
    if smoothing:
        assert torch.isfinite(found)
    else:
        torch.testing.assert_close(found, torch.stack(losses).mean())


def test_content_neighbours_by_hand() -> None:
    content = np.array([[1, 0], [0, 1], [0.6, 0.8], [1, 0]], np.float32)
    popularity = np.array([0, 0, 0, 1], np.float32)
    nearest = ContentNeighbours(cosines(content), popularity, 1, 1.0, 0.1)
    np.testing.assert_allclose(nearest.scores([history(0, 1)])[0], [1.0, 1.0, 0.8, 1.1], rtol=1e-5)
    everyone = ContentNeighbours(cosines(content), popularity, 0, 0.5, 0.0)
    np.testing.assert_allclose(everyone.scores([history(0, 1)])[0, 2], (0.5 * 0.6 + 0.8) / 1.5, rtol=1e-5)


def test_popularity_is_expected_of_what_nobody_could_take() -> None:
    kernel = np.array([[1, 0, 1], [0, 1, 0], [1, 0, 1]], np.float32)  # the last is like the first
    found = expected_popularity(kernel, np.array([9.0, 0.0, 0.0]), np.array([0, 1]), 0.5)
    np.testing.assert_allclose(found, [1.0, -1.0, 1 / 1.5], rtol=1e-5)


def test_a_placed_history_counts_the_learners_rows() -> None:
    disliked = history(3, 0)._replace(preference=np.array([-1, 1], np.float32))
    order = np.array([0, 2, 3, 1])  # the learner's row 2 is the corpus's 3
    assert place(disliked, order, signed=True).rows.tolist() == [2, 0]
    assert place(disliked, order, signed=True).preference.tolist() == [-1.0, 1.0]
    assert place(disliked, order, signed=False).preference.tolist() == [1.0, 1.0]


def test_a_long_history_is_read_as_the_service_reads_it_by_its_newest_events() -> None:
    torch.manual_seed(0)
    learner = Learner(LearnerConfig(width=16, rank=16, heads=2, length=4), torch.randn(9, 17)).eval()
    ranker = Placed(learner, np.arange(9)[::-1].copy(), signed=False)
    whole = history(*range(8))._replace(ordered=False)
    long, newest, oldest = ranker.scores([whole, whole.take(slice(4, 8)), whole.take(slice(0, 4))])
    np.testing.assert_allclose(long, newest, rtol=1e-4, atol=1e-5)
    assert not np.allclose(long, oldest)


def test_the_outer_algorithms_differ_in_nothing_else(tmp_path: Path) -> None:
    rows = [f"u{user},i{(user + at) % 12},{at * 100 + user}" for at in range(8) for user in range(24)]
    (tmp_path / "walks.csv").write_text("user,item,timestamp\n" + "\n".join(rows) + "\n")
    corpus = Corpus.read(tmp_path / "walks.csv", tmp_path / "content.sqlite")
    corpus.__dict__["content"] = np.zeros((corpus.items, 4), np.float32)  # ids alone: nothing to encode
    (part,) = loo.parts(corpus)
    contenders = {name: RANKERS[name] for name in ("innerloop", "innerloop-fomaml", "innerloop-reptile")}
    spaces = {name: dict(contender.space(part.task)) for name, contender in contenders.items()}
    assert spaces["innerloop-fomaml"] == spaces["innerloop"]
    own = {"rate", "task_steps", "follow"}  # Reptile's own knobs
    assert spaces["innerloop-reptile"].keys() - spaces["innerloop"].keys() == {"task_steps", "follow"}
    for name, values in spaces["innerloop"].items():
        assert name in own or spaces["innerloop-reptile"][name] == values
        assert spaces["innerloop-reptile"][name][0] == values[0]
    scores = []
    for name, contender in contenders.items():
        settings = {knob: values[0] for knob, values in spaces[name].items()} | {"rank": 8, "rate": 1e-2}
        fitted = contender.fit(part.task, settings, 0, Limits(epochs=1), lambda _: None)
        scores.append(fitted.ranker.scores([history(1, 2)]))
    assert len({array.tobytes() for array in scores}) == 3  # each trained in its own way


def rating_task(content: np.ndarray[tuple[int, int], np.dtype[np.float32]]) -> RatingTask:
    train = [
        Rated(0, np.array([0, 1]), np.array([5, 3], np.float32)),
        Rated(1, np.array([0]), np.array([4], np.float32)),
    ]
    return RatingTask(train, {}, Features({}), Features({}), content, 1.0, 5.0)


def test_item_biases_by_hand() -> None:
    found = item_biases(rating_task(np.zeros((3, 2), np.float32)), 1.0, None)
    np.testing.assert_allclose(found, [(1 + 0) / 3, -1 / 2, 0.0])  # the mean is 4


def test_an_unrated_item_takes_the_bias_of_its_like() -> None:
    content = np.array([[1, 0], [-1, 0], [1, 0]], np.float32)
    found = item_biases(rating_task(content), 1.0, 0.1)
    assert found[2] > 0.2
    assert found[0] > found[1]


def test_maml_steps_down_the_gradient() -> None:
    """Against autograd on the same layers; first-order MAML ends in the same place and differentiates otherwise."""
    torch.manual_seed(0)
    users, items = Features({"age": np.array([[1]])}), Features({"genre": np.array([[1], [2], [0]])})
    network = MeLU(users, items, 4, 6, 3.0)
    features = network.features(torch.tensor(0), torch.tensor([0, 1, 2])).detach()
    values, mask = torch.tensor([5.0, 1.0, 9.0]), torch.tensor([1.0, 1.0, 0.0])
    layers = dict(network.decision)
    ours = adapted(layers, features, values, mask, 0.1, 1, False)
    wrong = (decide(layers, features) - values).square()[:2].mean()
    slopes = torch.autograd.grad(wrong, list(layers.values()))
    for (name, layer), slope in zip(layers.items(), slopes, strict=True):
        torch.testing.assert_close(ours[name], layer - 0.1 * slope)
    plain = adapted(layers, features, values, mask, 0.1, 2, True)
    whole = adapted(layers, features, values, mask, 0.1, 2, False)
    torch.testing.assert_close(plain["weight0"], whole["weight0"])

    def outer(layers_after: dict[str, torch.Tensor]) -> torch.Tensor:
        return torch.autograd.grad(decide(layers_after, features).sum(), layers["weight0"])[0]

    assert not torch.allclose(outer(plain), outer(whole))


def test_our_rater_reads_all_states_and_is_read_at_the_median_too() -> None:
    """On ratings that genres and users' ages explain."""
    rng = np.random.default_rng(0)
    users, items = 60, 50
    genre, year, age = (rng.integers(1, most, size) for most, size in ((4, items), (9, items), (3, users)))
    liked = (genre[None] == age[:, None]) * 2 + rng.integers(1, 4, (users, items))  # 1 to 5
    named = {name: rng.integers(0, 5, (items, 2)) for name in ("director", "actors", "certificate")}
    features = Features({"genres": genre[:, None], "year": year[:, None]} | named)
    about = Features(dict.fromkeys(("gender", "age", "occupation"), age[:, None]))

    def rated(who: range, what: range) -> list[Rated]:
        return [Rated(user, np.array(what), liked[user, what.start : what.stop].astype(np.float32)) for user in who]

    states = {
        "user-cold": episodes(rated(range(40, users), range(40)), None),
        "both": episodes(rated(range(40, users), range(36, items)), None),
    }
    content = np.eye(4, 8, dtype=np.float32)[genre]
    task = RatingTask(rated(range(40), range(40)), states, features, about, content, 1.0, 5.0)
    rater = InnerLoopRater()
    settings = {name: values[0] for name, values in rater.space().items()} | {"factors": 3}
    fitted = rater.fit(task, settings, 0, Limits("cpu", 3), print)
    found = ratings.cut(fitted, task)
    assert set(found) == {"user-cold", "both", "user-cold | K = 0", "both | K = 0"}
    tests = ratings.tested(fitted, task, states, found, print)
    mean = np.abs(liked - liked.mean()).mean()
    for state in states:
        assert tests[state]["figures"]["MAE"] < 0.9 * mean
        assert tests[f"{state}, median"]["figures"]["MAE"] <= tests[state]["figures"]["MAE"]
        assert set(tests[f"{state}, median | K = 0"]["figures"]) == {"MAE", "RMSE"}


def test_reptile_moves_to_where_its_users_end_on_average() -> None:
    """Against autograd on the whole network, a user at a time; what no user touches stays."""
    torch.manual_seed(0)
    users = Features({"age": np.array([[1], [2], [1]])})
    items = Features({"genre": np.array([[1, 3], [2, 0], [0, 0], [4, 1], [5, 0]])})
    network = MeLU(users, items, 4, 6, 3.0)
    batch = Padded.of(
        [
            Rated(0, np.array([0, 1, 2]), np.array([5, 1, 3], np.float32)),
            Rated(1, np.array([3, 0]), np.array([2, 4], np.float32)),
        ]
    )
    ends = []
    for at in range(2):
        own = deepcopy(network)
        there = batch.mask[at] > 0
        for _ in range(3):
            wrong = (own(batch.users[at], batch.rows[at, there]) - batch.values[at, there]).square().mean()
            slopes = torch.autograd.grad(wrong, list(own.parameters()))
            with torch.no_grad():
                for parameter, slope in zip(own.parameters(), slopes, strict=True):
                    parameter -= 0.1 * slope
        ends.append(own)
    found = ReptilePredictor(network, 0.1, 3).read(batch, batch)
    before = deepcopy(network)
    meta_step(network, batch, 0.1, 3, 0.5)
    for moved, start, *own in zip(*(one.parameters() for one in (network, before, *ends)), strict=True):
        torch.testing.assert_close(moved, start + 0.5 * (torch.stack(own).mean(0) - start))
    torch.testing.assert_close(network.item.tables["genre"][5], before.item.tables["genre"][5], rtol=0, atol=0)
    torch.testing.assert_close(found[0], ends[0](batch.users[0], batch.rows[0]))


def test_ndcg_is_of_the_true_ratings_and_ties_count_against() -> None:
    true = np.array([5, 1, 3], np.float32)
    assert ndcg(true, true, 5) == pytest.approx(1.0)
    assert ndcg(np.zeros(3, np.float32), true, 5) == pytest.approx(ndcg(-true, true, 5))
    assert ndcg(-true, true, 1) == pytest.approx(1 / 31)


def test_an_episode_asks_ten_of_13_to_100_ratings() -> None:
    users = [Rated(user, np.arange(count), np.ones(count, np.float32)) for user, count in enumerate((12, 13, 100, 101))]
    found = episodes(users, None)
    assert [episode.query.user for episode in found] == [1, 2]
    for episode, count in zip(found, (13, 100), strict=True):
        together = np.concatenate([episode.support.rows, episode.query.rows])
        assert len(episode.query.rows) == 10
        assert sorted(together.tolist()) == list(range(count))
