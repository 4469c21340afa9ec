"""What someone would write instead, each served by FastAPI on the same uvicorn, reading the same histories.

    naive      the same learner, adapted a request at a time by torch.func.grad, and torch.topk over all scores
    implicit   iALS of the library `implicit`, the user solved for again at each request (recalculate_user)
    melu       MeLU's form: an MLP on (user, item), its last layers adapted by autograd, scored on every item

Letters: N items, n events, d width.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Annotated, Any

import numpy as np
import torch
from fastapi import Body, FastAPI
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from app.answers import Recommendation, Recommended
from app.history import History
from app.schemas import RecommendIn
from app.settings import Settings
from app.store import connect
from benchmarks.adaptation import autograd_adapt
from models import adapt, snapshot
from models.episode import History as Events
from models.episode import pack
from models.learner import Learner

K = 10
written_read, written_average = adapt.read, adapt.average
Rank = Callable[[NDArray[np.int64]], Sequence[int]]
"""The rows of a history, (n,), to those of the best items."""


def app_of(name: str, settings: Settings) -> FastAPI:
    """The contender of that name as an application with POST /recommend."""
    makers: dict[str, Callable[[Settings], Rank]] = {"naive": naive, "implicit": implicit, "melu": melu}
    state: dict[str, Any] = {}

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        state["history"] = History(connect(str(settings.redis_url)))
        state["thread"] = ThreadPoolExecutor(1, initializer=torch.set_num_threads, initargs=(1,))
        state["rank"] = await asyncio.get_running_loop().run_in_executor(state["thread"], makers[name], settings)
        yield

    app = FastAPI(lifespan=lifespan)

    @app.post("/recommend")
    async def recommend(body: Annotated[RecommendIn, Body()]) -> Recommendation:
        (known,) = await state["history"].read([body.user_id])
        # Handles are rows here: nothing else has registered items.
        rows = known.records["handle"].astype(np.int64)
        best = await asyncio.get_running_loop().run_in_executor(state["thread"], state["rank"], rows)
        return Recommendation(
            user_id=body.user_id,
            items=[Recommended(item_id=f"i{row}") for row in best],
            snapshot=name,
            recommendation_id=uuid.uuid4().hex,
            degraded=False,
        )

    return app


def naive(settings: Settings) -> Rank:
    """The snapshot's learner, its inner loops left to torch.func."""
    learner = Learner.restore(snapshot.read(settings.snapshot / "current"))
    with torch.no_grad():
        vectors, biases = learner.catalogue()
    kinds = np.zeros(1000, np.int64)

    def user_of(rows: NDArray[np.int64]) -> Tensor:
        support = pack([Events(rows, kinds[: len(rows)], np.ones(len(rows), np.float32))], learner.config.length)
        with torch.no_grad():
            return learner.user_vectors(vectors, support)

    example = np.arange(10)
    expected = user_of(example)
    adapt.read, adapt.average, adapt.average_mapped = autograd_read, autograd_average, autograd_average_mapped
    torch.testing.assert_close(user_of(example), expected, atol=1e-4, rtol=1e-4)

    def rank(rows: NDArray[np.int64]) -> Sequence[int]:
        with torch.no_grad():
            scores = torch.addmv(biases, vectors, user_of(rows)[0])
            scores[rows] = -torch.inf
            best: list[int] = scores.topk(K).indices.tolist()
        return best

    return rank


def autograd_read(*given: Tensor, **how: Any) -> Tensor:
    """`models.adapt.read` by way of torch.func for one reader; many stay as they are."""
    W0, keys, values, weights, step_sizes, queries = given
    if queries.shape[2] > 1:
        return written_read(*given, **how)
    if W0.shape[-1] > keys.shape[-1]:
        keys, queries = (F.pad(one, (1, 0), value=1.0) * 0.5**0.5 for one in (keys, queries))
    return queries @ autograd_adapt(W0, keys, values, weights[:, :, 0], step_sizes).transpose(-1, -2)


def autograd_average(W0: Tensor, values: Tensor, weights: Tensor, step_sizes: Tensor, **how: Any) -> Tensor:
    """`models.adapt.average` by way of torch.func for one reader; many stay as they are."""
    if weights.shape[2] > 1:
        return written_average(W0, values, weights, step_sizes, **how)
    apart = values if values.ndim == 4 else values[:, None].expand(-1, len(W0), -1, -1)
    one = torch.ones_like(apart[..., :1])
    return autograd_adapt(W0[..., None], one, apart, weights[:, :, 0], step_sizes).transpose(-1, -2)


def autograd_average_mapped(W0: Tensor, maps: Tensor, events: Tensor, weights: Tensor, step_sizes: Tensor) -> Tensor:
    """`models.adapt.average_mapped` as it reads: every event is mapped, and fast weights adapt to what comes of it."""
    return autograd_average(W0, events[:, None] @ maps.transpose(1, 2), weights, step_sizes)


def implicit(settings: Settings) -> Rank:
    """iALS with 64 factors, fitted to random histories: the cost of an answer does not depend on what was learned."""
    from implicit.als import AlternatingLeastSquares
    from scipy import sparse

    items = snapshot.read(settings.snapshot / "current").manifest.items
    rng = np.random.default_rng(0)
    counts = rng.integers(1, 50, 10_000)
    columns = rng.integers(0, items, int(counts.sum()))
    shape = (len(counts), items)
    seen = sparse.csr_matrix((np.ones(len(columns), np.float32), columns, np.r_[0, np.cumsum(counts)]), shape)
    model = AlternatingLeastSquares(factors=64, iterations=2, num_threads=1)
    model.fit(seen, show_progress=False)

    def rank(rows: NDArray[np.int64]) -> Sequence[int]:
        rows = np.unique(rows)
        one = sparse.csr_matrix((np.ones(len(rows), np.float32), rows, [0, len(rows)]), (1, items))
        best, _ = model.recommend(0, one, N=K, recalculate_user=True)
        return [int(row) for row in best]

    return rank


def melu(settings: Settings) -> Rank:
    """Two hidden layers of 64 on user and item embeddings of 32, random; one step of autograd on the history."""
    items = snapshot.read(settings.snapshot / "current").manifest.items
    torch.manual_seed(0)
    vectors, user = torch.randn(items, 32), torch.randn(32)
    layers = [torch.randn(64, 64) * 0.1, torch.randn(64, 64) * 0.1, torch.randn(1, 64) * 0.1]

    def forward(weights: Sequence[Tensor], chosen: Tensor) -> Tensor:
        x = torch.cat([user.expand(len(chosen), -1), chosen], -1)
        for weight in weights[:-1]:
            x = torch.relu(x @ weight.T)
        return (x @ weights[-1].T)[:, 0]

    def rank(rows: NDArray[np.int64]) -> Sequence[int]:
        weights = [layer.clone().requires_grad_() for layer in layers]
        with torch.enable_grad():
            loss = (forward(weights, vectors[rows]) - 1.0).square().mean()
            gradients = torch.autograd.grad(loss, weights)
        with torch.no_grad():
            adapted = [weight - 0.01 * gradient for weight, gradient in zip(weights, gradients, strict=True)]
            scores = forward(adapted, vectors)
            scores[rows] = -torch.inf
            best: list[int] = scores.topk(K).indices.tolist()
        return best

    return rank
