"""GET and POST /recommend: the top K for a user, as of the user's last event."""

from __future__ import annotations

import math
import uuid
from typing import Annotated

from fastapi import APIRouter, Body, Query

from app.answers import Recommendation, Recommended
from app.query import Answer, Inline
from app.query import Query as Asked
from app.routes.access import RecommenderPart
from app.schemas import Id, PastEvent, RecommendIn
from models.interaction import KIND_CODES

router = APIRouter(tags=["recommend"])


@router.get("/recommend", summary="Recommend to a user")
async def get_recommend(
    recommender: RecommenderPart,
    user_id: Annotated[Id | None, Query(description="Unknown users are fine: they get what suits most.")] = None,
    k: Annotated[int, Query(ge=1, le=100)] = 10,
) -> Recommendation:
    """As POST /recommend with a user alone."""
    answer = await recommender.recommend(Asked(user=user_id, k=k))
    return _recommendation(user_id, answer, scores=False)


@router.post("/recommend", summary="Recommend to a user or for a history, under conditions")
async def post_recommend(body: Annotated[RecommendIn, Body()], recommender: RecommenderPart) -> Recommendation:
    """The best `k` items, computed from one snapshot: the one named in the answer.

    Echo `recommendation_id` in the events that follow from it.
    """
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
    return _recommendation(body.user_id, answer, scores=body.scores)


def _inline(history: list[PastEvent]) -> Inline:
    return Inline(
        [past.item_id for past in history],
        [KIND_CODES[past.kind] for past in history],
        [math.nan if past.value is None else past.value for past in history],
    )


def _recommendation(user_id: str | None, answer: Answer, *, scores: bool) -> Recommendation:
    pairs = zip(answer.items, answer.scores, strict=True)
    return Recommendation(
        user_id=user_id,
        items=[Recommended(item_id=item_id, score=score if scores else None) for item_id, score in pairs],
        snapshot=answer.snapshot,
        recommendation_id=uuid.uuid4().hex,
        degraded=answer.degraded,
    )
