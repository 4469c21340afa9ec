"""The opponents: popularity, item k-nearest neighbours, implicit ALS and EASE, each a ranker of unseen users too.

ItemKNN and iALS are the library `implicit`'s; EASE is Steck 2019 (arXiv:1905.03375).

Letters: U training users, B users to score, N items.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from models.episode import History


def incidence(histories: Sequence[History], items: int) -> sparse.csr_matrix:
    """Who took what, (B, N), one for each pair, however often."""
    indptr = np.concatenate([[0], np.cumsum([len(history.rows) for history in histories])])
    columns = np.concatenate([history.rows for history in histories]) if len(histories) else np.empty(0, np.int64)
    matrix = sparse.csr_matrix((np.ones(len(columns), np.float32), columns, indptr), (len(histories), items))
    matrix.sum_duplicates()
    matrix.data[:] = 1.0
    return matrix


class Popularity:
    """Everyone gets what most users took."""

    name = "popularity"

    def __init__(self, train: sparse.csr_matrix) -> None:
        self.counts = np.asarray(train.sum(0), np.float32).ravel()

    def scores(self, histories: Sequence[History]) -> NDArray[np.float32]:
        """(B, N)."""
        return np.tile(self.counts, (len(histories), 1))


class ItemKNN:
    """Cosine neighbours of the items in the history, summed."""

    name = "ItemKNN"

    def __init__(self, train: sparse.csr_matrix, neighbours: int) -> None:
        from implicit.nearest_neighbours import CosineRecommender

        model = CosineRecommender(K=neighbours)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the library warns of a conversion of its own
            model.fit(train, show_progress=False)
        self.similarity: sparse.csr_matrix = model.similarity.tocsr()
        self.items = train.shape[1]

    def scores(self, histories: Sequence[History]) -> NDArray[np.float32]:
        """(B, N)."""
        return np.asarray((incidence(histories, self.items) @ self.similarity).toarray(), np.float32)


class ImplicitALS:
    """Weighted matrix factorisation (Hu, Koren & Volinsky 2008); an unseen user is solved for from the history."""

    name = "iALS"

    def __init__(
        self, train: sparse.csr_matrix, factors: int, regularization: float, alpha: float, seed: int = 0
    ) -> None:
        from implicit.als import AlternatingLeastSquares
        from threadpoolctl import threadpool_limits

        with threadpool_limits(1, "blas"):  # the library runs threads of its own
            self.model: Any = AlternatingLeastSquares(
                factors=factors, regularization=regularization, alpha=alpha, random_state=seed, num_threads=0
            )
            self.model.fit(train, show_progress=False)
        self.items = train.shape[1]

    def scores(self, histories: Sequence[History]) -> NDArray[np.float32]:
        """(B, N)."""
        matrix = incidence(histories, self.items)
        users = self.model.recalculate_user(np.arange(len(histories)), matrix)
        return np.asarray(users @ self.model.item_factors.T, np.float32)


class EASE:
    """A linear item-item model in closed form, B = I - P diag(1 / diag P) with P = (X'X + lambda I)^-1."""

    name = "EASE"

    def __init__(self, train: sparse.csr_matrix, regularization: float) -> None:
        self.items = train.shape[1]
        self.known = np.flatnonzero(np.asarray(train.sum(0)).ravel())  # the others have no row but their own diagonal
        known = train[:, self.known]
        gram = (known.T @ known).toarray().astype(np.float32)
        gram[np.diag_indices_from(gram)] += regularization
        inverse = np.linalg.inv(gram)
        self.weights = -inverse / np.diag(inverse)
        np.fill_diagonal(self.weights, 0.0)

    def scores(self, histories: Sequence[History]) -> NDArray[np.float32]:
        """(B, N); items nobody took in training score below all others."""
        known = incidence(histories, self.items)[:, self.known] @ self.weights
        out = np.full((len(histories), self.items), known.min(initial=0.0) - 1.0, np.float32)
        out[:, self.known] = known
        return out


def grid(train: sparse.csr_matrix) -> Iterator[tuple[str, list[tuple[dict[str, Any], Any]]]]:
    """Each opponent's name and the settings to choose from on validation users: (settings, how to build it)."""

    def candidates(kind: Any, settings: list[dict[str, Any]]) -> list[tuple[dict[str, Any], Any]]:
        return [(chosen, lambda chosen=chosen: kind(train, **chosen)) for chosen in settings]

    yield "popularity", candidates(Popularity, [{}])
    yield "ItemKNN", candidates(ItemKNN, [{"neighbours": k} for k in (20, 50, 100, 200)])
    yield (
        "iALS",
        candidates(
            ImplicitALS,
            [
                {"factors": factors, "regularization": regularization, "alpha": alpha}
                for factors in (32, 64)
                for regularization in (0.1, 10.0)
                for alpha in (1.0, 5.0)
            ],
        ),
    )
    yield "EASE", candidates(EASE, [{"regularization": value} for value in (50.0, 200.0, 500.0, 1000.0)])
