"""The wire, outwards: what an answer holds. Names here are the API's, for good."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field


class EventResult(BaseModel):
    event_id: str | None = Field(description="Null where the event was refused and had none.")
    status: Literal["accepted", "duplicate", "refused"]
    detail: str | None = Field(
        default=None, description="Why it was refused.", exclude_if=lambda detail: detail is None
    )


class EventResults(BaseModel):
    """A result an event, in the order they came."""

    results: list[EventResult]
    accepted: int


class Recommended(BaseModel):
    item_id: str
    score: float | None = Field(default=None, exclude_if=lambda score: score is None)


class Recommendation(BaseModel):
    user_id: str | None
    items: list[Recommended]
    snapshot: str | None = Field(description="The version that computed all of this.")
    recommendation_id: str
    degraded: bool = Field(description="True where the user's history could not be read: the items are popular ones.")


class Recommendations(BaseModel):
    """An answer a user, in the order they were asked for."""

    answers: list[Recommendation]


class ItemsStored(BaseModel):
    items: int
    catalogue: int = Field(description="The catalogue's version with these items in it.")


class ItemOut(BaseModel):
    item_id: str
    title: str
    text: str
    categories: list[str]
    available: bool


class SimilarItems(BaseModel):
    item_id: str
    items: list[Recommended]
    snapshot: str


class HistoryEvent(BaseModel):
    item_id: str
    kind: str
    value: float | None
    timestamp: str


class UserHistoryOut(BaseModel):
    """Newest last."""

    user_id: str
    events: list[HistoryEvent]


class Check(BaseModel):
    status: Literal["pass", "warn", "fail"]
    output: str | None = Field(default=None, exclude_if=lambda output: output is None)
    observed: dict[str, Any] | None = Field(default=None, exclude_if=lambda observed: observed is None)


class Health(BaseModel):
    """As application/health+json."""

    status: Literal["pass", "warn", "fail"]
    checks: dict[str, Check] = {}


class FieldError(BaseModel):
    field: str
    message: str


class Problem(BaseModel):
    """RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[FieldError] | None = None
