"""The express lane: the few requests that come by the thousand, answered before the router.

It answers what is plainly right and calls what the routes call, so the answers are the routes' own. Whatever is
unusual, and whatever may be wrong, goes on to the router as if nothing had been here, and is answered or refused there.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from pydantic import Field, TypeAdapter, ValidationError

from app import problems
from app.errors import InnerloopError
from app.routes.access import Parts, may_enter
from app.routes.events import take_in
from app.routes.recommend import recommend, recommend_batch, recommend_user
from app.schemas import EventBatch, EventIn, Id, RecommendBatchIn, RecommendIn, Wire

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

Lane = Callable[[bytes, Parts], Awaitable[bytes | None]]
"""From a request's body, or its query string for a GET, to the body of its answer; None: let the router see to it."""

_id: TypeAdapter[str] = TypeAdapter(Id)


class Route:
    """What telemetry calls the request by."""

    def __init__(self, path: str, status: int, lane: Lane) -> None:
        self.path_format = path
        self.status = status
        self.lane = lane


class Express:
    """Pure ASGI, next to the router. Whoever reads a body here has checked its declared length before."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.routes = {
            ("POST", "/recommend"): Route("/recommend", 200, _recommend),
            ("GET", "/recommend"): Route("/recommend", 200, _recommend_user),
            ("POST", "/recommend/batch"): Route("/recommend/batch", 200, _recommend_batch),
            ("POST", "/events"): Route("/events", 202, _take_in),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        route = self.routes.get((scope["method"], scope["path"])) if scope["type"] == "http" else None
        if route is None or scope.get("root_path") or not _usual(scope):
            await self.app(scope, receive, send)
            return
        if scope["method"] == "GET":
            given, waiting = scope["query_string"], []
        else:
            waiting = await _messages(receive)
            given = b"".join([message.get("body", b"") for message in waiting])
        scope["route"] = route  # the router puts its own there where it is asked after all
        try:
            answer = await route.lane(given, scope["state"])
        except InnerloopError as error:
            await problems.of(error)(scope, receive, send)
            return
        if answer is None:
            await self.app(scope, _again(waiting, receive), send)
            return
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(answer))]
        await send({"type": "http.response.start", "status": route.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer})


async def _recommend(given: bytes, parts: Parts) -> bytes | None:
    try:
        body = RecommendIn.model_validate_json(given)
    except ValidationError:
        return None
    return await recommend(body, parts["recommender"])


async def _recommend_user(given: bytes, parts: Parts) -> bytes | None:
    asked = parse_qsl(given.decode("latin-1"), keep_blank_values=True)
    fields = dict(asked)
    k = fields.get("k", "10")
    if len(fields) != len(asked) or not fields.keys() <= {"user_id", "k"} or not (k.isascii() and k.isdigit()):
        return None
    if len(k) > 3 or not 1 <= int(k) <= 100:
        return None
    try:
        user = _id.validate_python(fields["user_id"]) if "user_id" in fields else None
    except ValidationError:
        return None
    return await recommend_user(user, int(k), parts["recommender"])


async def _recommend_batch(given: bytes, parts: Parts) -> bytes | None:
    try:
        body = RecommendBatchIn.model_validate_json(given)
    except ValidationError:
        return None
    return await recommend_batch(body, parts["recommender"])


class _Sound(Wire):
    """A batch without a bad event, which takes far less time to check than one event by one."""

    events: list[EventIn] = Field(min_length=1)
    history_only: bool = False


async def _take_in(given: bytes, parts: Parts) -> bytes | None:
    body: EventIn | EventBatch
    try:
        if b'"events"' in given:
            sound = _Sound.model_validate_json(given)
            body = EventBatch.model_construct(events=list(sound.events), history_only=sound.history_only)
        else:
            body = EventIn.model_validate_json(given)
    except ValidationError:
        return None
    results = await take_in(
        body, parts["settings"], parts["metrics"], parts["history"], parts["catalogue"], parts["recommender"]
    )
    return results.__pydantic_serializer__.to_json(results)


def _usual(scope: Scope) -> bool:
    """Whether this is a request with a key that fits, and if it has a body, one of JSON with a length."""
    settings = scope["state"]["settings"]
    content, length, key = b"", b"", None
    for name, value in scope["headers"]:
        if name == b"content-type":
            content = value
        elif name == b"content-length":
            length = value
        elif name == b"transfer-encoding":
            return False
        elif name == b"x-api-key":
            key = key or value.decode("latin-1")
        elif name == b"authorization" and value[:7] == b"Bearer ":
            key = value[7:].decode("latin-1")
    if not may_enter(settings, key):
        return False
    if scope["method"] == "GET":
        return True
    return (
        content.partition(b";")[0].strip().lower() == b"application/json"
        and length.isdigit()
        and len(length) <= 12
        and int(length) <= settings.max_body
    )


async def _messages(receive: Receive) -> list[Message]:
    """All that the client sends."""
    messages = [await receive()]
    while messages[-1].get("more_body"):
        messages.append(await receive())
    return messages


def _again(messages: list[Message], receive: Receive) -> Receive:
    """What was received, once more, then what comes."""
    rest = iter(messages)

    async def again() -> Message:
        for message in rest:
            return message
        return await receive()

    return again
