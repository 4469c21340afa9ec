"""POST /events: what users did. No model, no device: validate, keep, say what became of each."""

from __future__ import annotations

import time
import uuid
from typing import Annotated

from fastapi import APIRouter, Body

from app.answers import EventResult, EventResults
from app.errors import BadRequest, InnerloopError, NotFound, TooLarge
from app.event import Event
from app.routes.access import CataloguePart, HistoryPart, MetricsPart, RecommenderPart, SettingsPart
from app.schemas import EventBatch, EventBody, EventIn, Refused
from models.interaction import KIND_CODES

router = APIRouter(tags=["events"])


@router.post(
    "/events",
    status_code=202,
    summary="Take in one event or a batch",
)
async def post_events(
    body: Annotated[EventBody, Body()],
    settings: SettingsPart,
    metrics: MetricsPart,
    history: HistoryPart,
    catalogue: CataloguePart,
    recommender: RecommenderPart,
) -> EventResults:
    """A result an event, in order: `accepted`, `duplicate` (its id was used before), or `refused` and why.

    One bad event of a batch does not cost the good ones; one event alone that is bad is a 4xx.
    Accepted means kept: the user's next recommendation has taken it in.
    """
    given: list[EventIn | Refused] = body.events if isinstance(body, EventBatch) else [body]
    if len(given) > settings.max_events:
        raise TooLarge(
            f"At most {settings.max_events} events fit in one request; this has {len(given)}.", field="events"
        )
    handles = await catalogue.resolve(list({event.item_id for event in given if isinstance(event, EventIn)}))
    now = time.time()
    kept: list[Event] = []
    results: list[EventResult] = []
    for event in given:
        if isinstance(event, Refused):
            results.append(EventResult(event_id=event.event_id, status="refused", detail=event.detail))
            continue
        fault = _fault(event, handles.get(event.item_id), recommender.scale)
        if fault is not None:
            if not isinstance(body, EventBatch):
                raise fault
            results.append(
                EventResult(event_id=event.event_id, status="refused", detail=f"{fault.field}: {fault.detail}")
            )
            continue
        event_id = event.event_id or uuid.uuid4().hex
        kept.append(
            Event(
                event_id=event_id,
                user=event.user_id,
                handle=handles[event.item_id],
                kind=KIND_CODES[event.kind],
                value=event.value,
                # A microsecond apart: they came in this order, and only equal timestamps of the client's say otherwise.
                time=now + 1e-6 * len(kept) if event.timestamp is None else event.timestamp,
                recommendation_id=event.recommendation_id,
            )
        )
        results.append(EventResult(event_id=event_id, status="accepted"))
    accepted = iter(await history.append(kept) if kept else [])
    for result in results:
        if result.status == "accepted" and not next(accepted):
            result.status = "duplicate"
        metrics.event(result.status)
    return EventResults(results=results, accepted=sum(result.status == "accepted" for result in results))


def _fault(event: EventIn, handle: int | None, scale: tuple[float, float] | None) -> InnerloopError | None:
    """What is wrong with an event that the schema lets through."""
    if handle is None:
        return NotFound("there is no such item; PUT /items adds one", field="item_id")
    if event.kind == "rating" and event.value is not None and scale and not scale[0] <= event.value <= scale[1]:
        return BadRequest(f"a rating must be from {scale[0]:g} to {scale[1]:g}", field="value")
    return None
