"""One contender as a server of its own: `python -m benchmarks.serving.service NAME --port P`.

`innerloop` is the service as shipped, run by the code that `innerloop serve` runs, its settings from the environment,
with two routes more that do nothing: /empty, which has the models of /recommend, and /empty-events, which has those of
/events. Being first in the router they are found at once: they are the least that this web framework can do.
"""

from __future__ import annotations

import argparse
import socket
import uuid
from typing import Annotated

import uvicorn
from fastapi import Body, FastAPI

from app.answers import EventResult, EventResults, Recommendation, Recommended
from app.cli.service import run
from app.main import create_app
from app.schemas import EventBatch, EventBody, RecommendIn
from app.settings import Settings, load
from app.telemetry import configure_logs

TEN = [Recommended(item_id=f"i{n}") for n in range(10)]


async def empty(body: Annotated[RecommendIn, Body()]) -> Recommendation:
    """What /recommend takes and gives, and nothing in between."""
    return Recommendation(
        user_id=body.user_id, items=TEN, snapshot="none", recommendation_id=uuid.uuid4().hex, degraded=False
    )


async def empty_events(body: Annotated[EventBody, Body()]) -> EventResults:
    """What /events takes and gives, and nothing in between."""
    events = body.events if isinstance(body, EventBatch) else [body]
    results = [EventResult(event_id=event.event_id or uuid.uuid4().hex, status="accepted") for event in events]
    return EventResults(results=results, accepted=len(results))


def with_empty(settings: Settings) -> FastAPI:
    """The service as shipped, and the two empty routes."""
    app = create_app(settings)
    app.post("/empty")(empty)
    app.post("/empty-events", status_code=202)(empty_events)
    app.router.routes[:0] = [app.router.routes.pop(), app.router.routes.pop()]
    return app


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("contender")
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    settings = load()
    configure_logs("warning")
    listening = socket.create_server(("127.0.0.1", options.port), backlog=1024)
    if options.contender == "innerloop":
        run(settings, listening, (), create=with_empty)
        return
    from benchmarks.serving.rivals import app_of

    config = uvicorn.Config(
        app_of(options.contender, settings), loop="uvloop", http="httptools", log_config=None, access_log=False
    )
    uvicorn.Server(config).run(sockets=[listening])


if __name__ == "__main__":
    main()
