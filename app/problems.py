"""Every error as application/problem+json (RFC 9457): a type, a title, a status, and the fields at fault."""

from __future__ import annotations

import json
import math
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match

from app.errors import InnerloopError
from app.schemas import explain

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fastapi import FastAPI
    from starlette.requests import Request
    from starlette.routing import BaseRoute

MEDIA_TYPE = "application/problem+json"

_SLUGS = {400: "bad-request", 404: "not-found", 405: "method-not-allowed", 413: "too-large", 415: "media-type"}
_DETAILS = {404: "There is no such page here; /docs lists what there is."}


def install(app: FastAPI) -> None:
    """Make every error that leaves `app` a problem."""
    app.add_exception_handler(InnerloopError, _domain)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _unexpected)


async def _domain(_request: Request, error: Exception) -> Response:
    assert isinstance(error, InnerloopError)  # noqa: S101  registered for nothing else
    return of(error)


def of(error: InnerloopError) -> Response:
    """An error of ours as a problem."""
    body = error.problem()
    field = body.pop("field", None)
    if field is not None:
        body["errors"] = [{"field": field, "message": error.detail}]
    headers = {}
    if error.retry_after is not None:
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after)))
    if error.status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    return _respond(body, headers)


async def _validation(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101
    problems = error.errors()
    if any(problem["type"] == "json_invalid" for problem in problems):
        reason = problems[0].get("ctx", {}).get("error", "not JSON")
        message = f"not valid JSON: {reason} at character {problems[0]['loc'][-1]}"
        return _respond(_problem(400, detail="The body is not valid JSON.", errors=[("body", message)]))
    if isinstance(error.body, bytes):
        sent = request.headers.get("content-type") or "nothing"
        detail = f"The body must be application/json; the content type says {sent!r}."
        return _respond(_problem(415, detail=detail, errors=[("content-type", "must be application/json")]))
    found = explain(problems)
    detail = "; ".join(f"{field}: {text}" for field, text in found[:3])
    return _respond(
        {**_problem(422, detail=detail, errors=found), "type": _urn("validation"), "title": "The request is not valid"}
    )


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101
    headers = dict(error.headers or {})
    detail = str(error.detail)
    if detail == HTTPStatus(error.status_code).phrase:
        detail = _DETAILS.get(error.status_code, detail)
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        # One path may have a route for each method; the exception knows of the first only.
        allowed = _methods(request.app.routes, request.scope) or {headers.get("Allow", "")}
        headers = {"Allow": ", ".join(sorted(allowed))}
        detail = f"{request.method} is not allowed here; allowed: {headers['Allow']}."
    faults = [("body", detail)] if error.status_code == HTTPStatus.BAD_REQUEST else []
    return _respond(_problem(error.status_code, detail=detail, errors=faults), headers)


async def _unexpected(request: Request, _error: Exception) -> Response:
    # The trace goes to the log (the server writes it), never to the caller. This runs outside the middlewares,
    # so the request's id is added by hand.
    headers = {}
    request_id = request.scope.get("state", {}).get("request_id")
    if request_id:
        headers["X-Request-Id"] = request_id
    return _respond(InnerloopError().problem(), headers)


def _problem(status: int, *, detail: str, errors: Iterable[tuple[str, str]] = ()) -> dict[str, Any]:
    body: dict[str, Any] = {
        "type": _urn(_SLUGS.get(status, HTTPStatus(status).phrase.lower().replace(" ", "-"))),
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    }
    listed = [{"field": field, "message": text} for field, text in errors]
    return body | {"errors": listed} if listed else body


def _urn(slug: str) -> str:
    return f"urn:innerloop:problem:{slug}"


def _methods(routes: Iterable[BaseRoute], scope: Any) -> set[str]:
    """The methods that this path takes."""
    return {
        method
        for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
        if any(route.matches({**scope, "method": method})[0] is Match.FULL for route in routes)
    }


def _respond(body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Response:
    # Escaped to ASCII: a caller's field name may hold half a surrogate pair, which UTF-8 cannot.
    content = json.dumps(body).encode("ascii")
    status = body["status"]
    return Response(content, status_code=int(status), headers=dict(headers or {}), media_type=MEDIA_TYPE)
