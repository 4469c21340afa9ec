"""GET /users/{id}/history, and DELETE of it or of /users/{id}: what is known of a user, and forgetting it."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Path, Response

from app.answers import HistoryEvent, UserHistoryOut
from app.routes.access import CataloguePart, HistoryPart, RecommenderPart
from app.schemas import Id
from models.interaction import KINDS

router = APIRouter(tags=["users"])

# `:path`, because a user's id may hold a slash.
UserId = Annotated[Id, Path(description="The user's id.")]


@router.get("/users/{user_id:path}/history", summary="A user's recent events")
async def get_history(user_id: UserId, history: HistoryPart, catalogue: CataloguePart) -> UserHistoryOut:
    """By their times, newest last. A user nobody has heard of has no events."""
    (known,) = await history.read([user_id])
    records = known.records.tolist()
    ids = await catalogue.ids_of([handle for handle, _, _, _ in records])
    return UserHistoryOut(
        user_id=user_id,
        events=[
            HistoryEvent(
                item_id=item_id,
                kind=KINDS[kind],
                value=None if math.isnan(value) else value,
                timestamp=datetime.fromtimestamp(time, UTC).isoformat(),
            )
            for item_id, (_, kind, value, time) in zip(ids, records, strict=True)
            if item_id is not None and kind < len(KINDS)
        ],
    )


# Before the other, whose id would take "/history" for its end.
@router.delete(
    "/users/{user_id:path}/history", status_code=204, response_class=Response, summary="Forget a user's history"
)
async def delete_history(user_id: UserId, recommender: RecommenderPart) -> None:
    """The same as forgetting the user: the history is all that is kept of one."""
    await recommender.forget(user_id)


@router.delete("/users/{user_id:path}", status_code=204, response_class=Response, summary="Forget a user")
async def delete_user(user_id: UserId, recommender: RecommenderPart) -> None:
    """Leaves no history, no event id and no event that training could read. Forgetting twice is fine."""
    await recommender.forget(user_id)
