"""SVD++, against its normal equations and on tastes that it has to find."""

from __future__ import annotations

import numpy as np
import torch

from benchmarks.opponents.svd import Factors, FactorsPredictor, SVDpp
from benchmarks.rating import Episode, Features, Rated, RatingTask
from benchmarks.task import Limits


def test_an_unmet_user_is_the_ridge_solution_on_the_support() -> None:
    torch.manual_seed(0)
    model = Factors(users=1, items=5, mean=3.0, factors=2, implicit=True)
    with torch.no_grad():
        for tensor in (model.q, model.y, model.item_bias):
            tensor.normal_()
    trained = np.array([True, True, True, True, False])  # of item 4 nothing is known
    support = Rated(0, np.array([0, 2, 4]), np.array([5, 1, 4], np.float32))
    query = Rated(0, np.array([1, 3, 4]), np.zeros(3, np.float32))
    found = FactorsPredictor(model, trained, 3.0, 5.0).predict([Episode(support, query)])[0]

    q, y, bias = (tensor.detach().numpy().astype(np.float64) for tensor in (model.q, model.y, model.item_bias))
    q[4], bias[4] = 0, 0
    said = (y[0] + y[2]) / np.sqrt(2)
    X = np.concatenate([np.ones((3, 1)), q[support.rows]], 1)
    left = support.values - 3.0 - bias[support.rows] - q[support.rows] @ said
    solved = np.linalg.solve(X.T @ X + np.diag([3.0, 5.0, 5.0]), X.T @ left)
    expected = 3.0 + bias[query.rows] + solved[0] + q[query.rows] @ (solved[1:] + said)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_two_crowds_are_told_apart_by_a_few_ratings() -> None:
    rng = np.random.default_rng(0)
    crowd, side = rng.integers(0, 2, 80), np.arange(30) % 2
    ratings = np.where(crowd[:, None] == side[None], 5.0, 1.0).astype(np.float32)

    def rated(user: int, rows: np.ndarray) -> Rated:
        return Rated(user, rows, ratings[user, rows])

    train = [rated(user, rng.permutation(30)[:20]) for user in range(60)]
    episodes = [Episode(rated(user, np.arange(6)), rated(user, np.arange(6, 30))) for user in range(60, 80)]
    task = RatingTask(train, {"user-cold": episodes}, Features({}), Features({}), np.zeros((30, 2), np.float32), 1, 5)
    rater = SVDpp()
    settings = {name: values[0] for name, values in rater.space().items()} | {"factors": 2, "rate": 1e-2}
    settings |= {"penalty": 0.005, "factor_ridge": 2.0}
    fitted = rater.fit(task, settings, 0, Limits("cpu", 60), lambda _: None)
    wrong = [
        np.abs(found - episode.query.values).mean()
        for found, episode in zip(fitted.predictor.predict(episodes), episodes, strict=True)
    ]
    assert np.mean(wrong) < 1.0  # the mean rating is wrong by 2
