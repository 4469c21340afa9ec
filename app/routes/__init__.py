"""HTTP in, HTTP out. A file a resource; nothing here computes or stores."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends

from app.answers import Problem
from app.routes import events, health, items, metrics, model, recommend, users
from app.routes.access import authorise

ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"description": what, "content": {"application/problem+json": {"schema": Problem.model_json_schema()}}}
    for status, what in {
        400: "Not valid JSON, or against a rule; `errors` names the field.",
        401: "No key, or not one of ours.",
        404: "No such item, or no such page.",
        413: "The body is too large.",
        415: "The body is not JSON.",
        422: "Something in the request is not allowed; `errors` names each field.",
        429: "Too many requests are waiting; see Retry-After.",
        503: "Cannot answer now; see Retry-After.",
    }.items()
}


def router() -> APIRouter:
    """Every route. All but the health of the service need a key, where keys are set."""
    root = APIRouter(responses=ERRORS)
    for resource in (events, recommend, items, users, model, metrics):
        root.include_router(resource.router, dependencies=[Depends(authorise)])
    root.include_router(health.router)
    return root
