"""GET and POST /recommend, and POST /recommend/batch: the top K for users, as of their last events."""

from __future__ import annotations

import json
import math
import random
from typing import Annotated

from fastapi import APIRouter, Body, Query, Response

from app.answers import Recommendation, Recommendations
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
    return written(user_id, await recommender.recommend(Asked(user=user_id, k=k)), scores=False)


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
    return written(body.user_id, answer, scores=body.scores)


async def recommend_batch(body: RecommendBatchIn, recommender: Recommender) -> bytes:
    """The body of the answer to POST /recommend/batch."""
    query = Asked(user=body.users[0], k=body.k, include_seen=body.include_seen)
    answers = await recommender.recommend_all(query, body.users)
    each = [written(user, answer, scores=body.scores) for user, answer in zip(body.users, answers, strict=True)]
    return b'{"answers":[' + b",".join(each) + b"]}"


def written(user_id: str | None, answer: Answer, *, scores: bool) -> bytes:
    """A Recommendation as JSON, which a model would take longer to write than the answer took to find.

    What is the same whenever this answer is given is written once.
    """
    rest = answer.written.get(scores)
    if rest is None:
        names = map(json.dumps, answer.items)
        if scores:
            items = ",".join(
                f'{{"item_id":{name},"score":{score!r}}}' for name, score in zip(names, answer.scores, strict=True)
            )
        else:
            items = ",".join(f'{{"item_id":{name}}}' for name in names)
        degraded = "true" if answer.degraded else "false"
        rest = f'"items":[{items}],"snapshot":{json.dumps(answer.snapshot)},"degraded":{degraded}}}'.encode()
        answer.written[scores] = rest
    user = "null" if user_id is None else json.dumps(user_id)
    # Unique, and no secret: asking the system for one takes longer than all the rest.
    return f'{{"user_id":{user},"recommendation_id":"{random.getrandbits(128):032x}",'.encode() + rest


def _inline(history: list[PastEvent]) -> Inline:
    return Inline(
        [past.item_id for past in history],
        [KIND_CODES[past.kind] for past in history],
        [math.nan if past.value is None else past.value for past in history],
    )
