"""MeLU's split (Lee et al. 2019, arXiv:1908.00413): cold users, cold items, and both.

In each state a user's ratings are those of the state's items; users with 13 to 100 of them are asked, 10 at random are
the queries and the rest the support. Warm users and warm items train. To choose settings the same is done once more
inside the warm set; the chosen ones then train on all of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import numpy as np
import polars as pl
from numpy.typing import NDArray

from benchmarks.corpus import Corpus
from benchmarks.rating import Episode, Features, Rated, RatingTask

FEWEST, MOST, QUERIES = 13, 100, 10
VALIDATING = 0.15  # of the warm users and of the warm items
ENOUGH = 1000  # episodes of a state to choose by
STATES = ("user-cold", "item-cold", "both")


def tasks(
    corpus: Corpus, cold_users: NDArray[np.int64], cold_items: NDArray[np.int64]
) -> tuple[RatingTask, RatingTask, dict[str, list[Episode]]]:
    """The task to search with, the task to train the chosen settings on, and the tests by state.

    Raises:
        ValueError: the data holds no ratings, or lacks what users and items are described by.
    """
    ratings = rated(corpus)
    if not any(len(one.rows) for one in ratings):
        raise ValueError("the protocol `ratings` needs ratings")
    warm_users = np.setdiff1d(np.arange(len(ratings)), cold_users)
    warm_items = np.setdiff1d(np.arange(corpus.items), cold_items)
    rng = np.random.default_rng(0)
    away_users = rng.permutation(warm_users)[: round(VALIDATING * len(warm_users))]
    away_items = rng.permutation(warm_items)[: round(VALIDATING * len(warm_items))]
    validation = states(
        ratings, warm_users, warm_items, np.sort(away_users), np.sort(away_items), corpus.items, most=ENOUGH
    )
    inner = _only(ratings, np.setdiff1d(warm_users, away_users), np.setdiff1d(warm_items, away_items), corpus.items)
    whole = _only(ratings, warm_users, warm_items, corpus.items)
    items, users = item_features(corpus), user_features(corpus)
    scale = corpus.dataset.scale
    search, final = (
        RatingTask(train, validation, items, users, corpus.content, scale.low, scale.high) for train in (inner, whole)
    )
    return search, final, states(ratings, warm_users, warm_items, cold_users, cold_items, corpus.items, inside=False)


def states(
    ratings: list[Rated],
    users: NDArray[np.int64],
    items: NDArray[np.int64],
    cold_users: NDArray[np.int64],
    cold_items: NDArray[np.int64],
    count: int,
    *,
    inside: bool = True,
    most: int | None = None,
) -> dict[str, list[Episode]]:
    """Episodes by state. `inside`: the cold ones are among `users` and `items`, and are taken out of these."""
    if inside:
        users, items = np.setdiff1d(users, cold_users), np.setdiff1d(items, cold_items)
    who = {"user-cold": cold_users, "item-cold": users, "both": cold_users}
    what = {"user-cold": items, "item-cold": cold_items, "both": cold_items}
    return {state: episodes(_only(ratings, who[state], what[state], count), most) for state in STATES}


def episodes(ratings: Iterable[Rated], most: int | None) -> list[Episode]:
    """Users with 13 to 100 ratings, at most `most` of them, each with 10 of the ratings to be found."""
    out: list[Episode] = []
    for one in ratings:
        if FEWEST <= len(one.rows) <= MOST and len(out) != most:
            order = np.random.default_rng(one.user).permutation(len(one.rows))
            out.append(Episode(_at(one, order[QUERIES:]), _at(one, order[:QUERIES])))
    return out


def rated(corpus: Corpus) -> list[Rated]:
    """Every user's ratings; an interaction without a value is none."""
    log = corpus.dataset.interactions
    bounds = log.bounds()
    found = []
    for user, (a, b) in enumerate(pairwise(bounds)):
        there = np.flatnonzero(~np.isnan(log.value[a:b])) + a
        found.append(Rated(user, log.item[there].astype(np.int64), log.value[there].astype(np.float32)))
    return found


def item_features(corpus: Corpus) -> Features:
    """Genres, director, actors, certificate and year, as MeLU has them."""
    table = _beside(corpus, "items").with_columns(pl.col("item_id").cast(pl.String))
    order = pl.DataFrame({"item_id": [item.id for item in corpus.dataset.items]})
    joined = order.join(table, on="item_id", how="left", maintain_order="left")
    blocks = {name: _categories(joined[name], ", ") for name in ("genres", "director", "actors", "certificate", "year")}
    return Features(blocks)


def user_features(corpus: Corpus) -> Features:
    """Gender, age group, occupation and area, as MeLU has them."""
    table = _beside(corpus, "users").with_columns(pl.col("user_id").cast(pl.String))
    order = pl.DataFrame({"user_id": list(corpus.dataset.interactions.users)})
    joined = order.join(table, on="user_id", how="left", maintain_order="left")
    return Features({name: _categories(joined[name], None) for name in ("gender", "age", "occupation", "zip_code")})


def _beside(corpus: Corpus, name: str) -> pl.DataFrame:
    path = corpus.path / f"{name}.parquet"
    if not path.is_file():
        raise ValueError(f"the protocol `ratings` needs {name}.parquet beside the interactions in {corpus.path}")
    return pl.read_parquet(path)


def _categories(column: pl.Series, separator: str | None) -> NDArray[np.int64]:
    """Category numbers from 1, as many slots as the longest row needs; 0 for none."""
    words = [
        [] if text is None else text.split(separator) if separator else [text]
        for text in column.cast(pl.String).to_list()
    ]
    numbers = {word: number for number, word in enumerate(sorted({word for row in words for word in row}), 1)}
    out = np.zeros((len(words), max(1, *(len(row) for row in words))), np.int64)
    for row, said in enumerate(words):
        out[row, : len(said)] = [numbers[word] for word in said]
    return out


def _only(ratings: list[Rated], users: NDArray[np.int64], items: NDArray[np.int64], count: int) -> list[Rated]:
    inside = np.isin(np.arange(count), items)
    return [_at(ratings[user], np.flatnonzero(inside[ratings[user].rows])) for user in users.tolist()]


def _at(one: Rated, which: NDArray[np.int64]) -> Rated:
    return Rated(one.user, one.rows[which], one.values[which])
