"""POST /events: what users did. No model, no device: validate, keep, say what became of each."""

from __future__ import annotations

import random
import time
from collections import Counter
from typing import Annotated

from fastapi import APIRouter, Body

from app.answers import EventResult, EventResults
from app.catalogue import Catalogue
from app.errors import BadRequest, InnerloopError, NotFound, TooLarge
from app.event import Event
from app.history import History
from app.recommender import Recommender
from app.routes.access import CataloguePart, HistoryPart, MetricsPart, RecommenderPart, SettingsPart
from app.schemas import EventBatch, EventBody, EventIn, Refused
from app.settings import Settings
from app.telemetry import Metrics
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
    return await take_in(body, settings, metrics, history, catalogue, recommender)


async def take_in(
    body: EventIn | EventBatch,
    settings: Settings,
    metrics: Metrics,
    history: History,
    catalogue: Catalogue,
    recommender: Recommender,
) -> EventResults:
    """The answer to POST /events."""
    given: list[EventIn | Refused] = body.events if isinstance(body, EventBatch) else [body]
    if len(given) > settings.max_events:
        raise TooLarge(
            f"At most {settings.max_events} events fit in one request; this has {len(given)}.", field="events"
        )
    handles = await catalogue.resolve([event.item_id for event in given if isinstance(event, EventIn)])
    now, scale = time.time(), recommender.scale
    kept: list[Event] = []
    results: list[EventResult] = []
    for event in given:
        if isinstance(event, Refused):
            results.append(EventResult(event_id=event.event_id, status="refused", detail=event.detail))
            continue
        handle = handles.get(event.item_id)
        fault = _fault(event, handle, scale)
        if fault is not None or handle is None:
            if not isinstance(body, EventBatch) and fault is not None:
                raise fault
            detail = "" if fault is None else f"{fault.field}: {fault.detail}"
            results.append(EventResult(event_id=event.event_id, status="refused", detail=detail))
            continue
        event_id = event.event_id or f"{random.getrandbits(128):032x}"  # unique, and no secret
        kept.append(
            Event(
                event_id,
                event.user_id,
                handle,
                KIND_CODES[event.kind],
                event.value,
                # A microsecond apart: they came in this order, and only equal timestamps of the client's say otherwise.
                now + 1e-6 * len(kept) if event.timestamp is None else event.timestamp,
                event.recommendation_id,
            )
        )
        # Checked already; and a batch may hold a thousand.
        results.append(EventResult.model_construct(event_id=event_id, status="accepted", detail=None))
    only = isinstance(body, EventBatch) and body.history_only
    accepted = iter(await history.append(kept, history_only=only) if kept else [])
    for result in results:
        if result.status == "accepted" and not next(accepted):
            result.status = "duplicate"
    counts = Counter(result.status for result in results)
    for status, count in counts.items():
        metrics.events(status, count)
    return EventResults(results=results, accepted=counts["accepted"])


def _fault(event: EventIn, handle: int | None, scale: tuple[float, float] | None) -> InnerloopError | None:
    """What is wrong with an event that the schema lets through."""
    if handle is None:
        return NotFound("there is no such item; PUT /items adds one", field="item_id")
    if event.kind == "rating" and event.value is not None and scale and not scale[0] <= event.value <= scale[1]:
        return BadRequest(f"a rating must be from {scale[0]:g} to {scale[1]:g}", field="value")
    return None
