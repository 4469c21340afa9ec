"""GET and POST /recommend, and POST /recommend/batch: the top K for users, as of their last events."""

from __future__ import annotations

import math
import random
from json.encoder import encode_basestring_ascii as quoted
from typing import Annotated

from fastapi import APIRouter, Body, Query, Response

from app.answers import Recommendation, Recommendations
from app.names import end
from app.query import Answer, Inline
from app.query import Query as Asked
from app.recommender import Recommender
from app.routes.access import RecommenderPart
from app.schemas import Id, PastEvent, RecommendBatchIn, RecommendIn
from models.interaction import KIND_CODES

router = APIRouter(tags=["recommend"])

JSON = "application/json"


@router.get("/recommend", summary="Recommend to a user", response_model=Recommendation)
async def get_recommend(
    recommender: RecommenderPart,
    user_id: Annotated[Id | None, Query(description="Unknown users are fine: they get what suits most.")] = None,
    k: Annotated[int, Query(ge=1, le=100)] = 10,
) -> Response:
    """As POST /recommend with a user alone."""
    return Response(await recommend_user(user_id, k, recommender), media_type=JSON)


@router.post(
    "/recommend", summary="Recommend to a user or for a history, under conditions", response_model=Recommendation
)
async def post_recommend(body: Annotated[RecommendIn, Body()], recommender: RecommenderPart) -> Response:
    """The best `k` items, computed from one snapshot: the one named in the answer.

    Echo `recommendation_id` in the events that follow from it.
    """
    return Response(await recommend(body, recommender), media_type=JSON)


@router.post("/recommend/batch", summary="Recommend to many users at once", response_model=Recommendations)
async def post_recommend_batch(body: Annotated[RecommendBatchIn, Body()], recommender: RecommenderPart) -> Response:
    """An answer a user, in their order, each as POST /recommend gives it."""
    return Response(await recommend_batch(body, recommender), media_type=JSON)


async def recommend_user(user_id: str | None, k: int, recommender: Recommender) -> bytes:
    """The body of the answer to GET /recommend."""
    answer = await recommender.recommend(Asked(user=user_id, k=k))
    return written(user_id, _unique(), answer.written).encode()


async def recommend(body: RecommendIn, recommender: Recommender) -> bytes:
    """The body of the answer to POST /recommend."""
    query = Asked(
        user=body.user_id,
        history=None if body.history is None else _inline(body.history),
        k=body.k,
        exclude=body.exclude,
        candidates=body.candidates,
        categories=body.filter.categories if body.filter else None,
        include_seen=body.include_seen,
    )
    answer = await recommender.recommend(query, fallback=body.filter is not None and body.filter.fallback)
    return written(body.user_id, _unique(), scored(answer) if body.scores else answer.written).encode()


async def recommend_batch(body: RecommendBatchIn, recommender: Recommender) -> bytes:
    """The body of the answer to POST /recommend/batch."""
    query = Asked(user=body.users[0], k=body.k, include_seen=body.include_seen)  # of each of them, whoever it names
    answers = await recommender.recommend_all(query, body.users)
    ids = random.randbytes(16 * len(answers)).hex()
    each = [
        written(user, ids[at : at + 32], scored(answer) if body.scores else answer.written)
        for user, at, answer in zip(body.users, range(0, len(ids), 32), answers, strict=True)
    ]
    return f'{{"answers":[{",".join(each)}]}}'.encode()


def written(user_id: str | None, recommendation_id: str, rest: str) -> str:
    """A Recommendation as JSON, which a model would take longer to write than the answer took to find."""
    user = "null" if user_id is None else quoted(user_id)
    return f'{{"user_id":{user},"recommendation_id":"{recommendation_id}",{rest}'


def scored(answer: Answer) -> str:
    """As `Answer.written`, with scores; the same whenever this answer is given, and written once."""
    if answer.scored is None:
        each = zip(answer.items, answer.scores, strict=True)
        items = ",".join([f'{{"item_id":{quoted(item)},"score":{score!r}}}' for item, score in each])
        answer.scored = f'"items":[{items}]{end(answer.snapshot, answer.degraded)}'
    return answer.scored


def _unique() -> str:
    """No secret: asking the system for one takes longer than all the rest."""
    return f"{random.getrandbits(128):032x}"


def _inline(history: list[PastEvent]) -> Inline:
    return Inline(
        [past.item_id for past in history],
        [KIND_CODES[past.kind] for past in history],
        [math.nan if past.value is None else past.value for past in history],
    )
