"""What routes are given: the parts of the service, and whether the caller may use them."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Annotated, TypedDict

from fastapi import Depends, Request
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer

from app.catalogue import Catalogue
from app.errors import Forbidden, Unauthorized
from app.heartbeat import Heartbeat
from app.history import History
from app.recommender import Recommender
from app.settings import Settings
from app.telemetry import Metrics

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic import SecretStr


class Parts(TypedDict):
    """The lifespan's state: what start-up built, for as long as the service runs."""

    settings: Settings
    metrics: Metrics
    history: History
    catalogue: Catalogue
    heartbeat: Heartbeat
    recommender: Recommender


async def _settings(request: Request) -> Settings:
    return request.state.settings  # type: ignore[no-any-return]


async def _metrics(request: Request) -> Metrics:
    return request.state.metrics  # type: ignore[no-any-return]


async def _history(request: Request) -> History:
    return request.state.history  # type: ignore[no-any-return]


async def _catalogue(request: Request) -> Catalogue:
    return request.state.catalogue  # type: ignore[no-any-return]


async def _heartbeat(request: Request) -> Heartbeat:
    return request.state.heartbeat  # type: ignore[no-any-return]


async def _recommender(request: Request) -> Recommender:
    return request.state.recommender  # type: ignore[no-any-return]


SettingsPart = Annotated[Settings, Depends(_settings)]
MetricsPart = Annotated[Metrics, Depends(_metrics)]
HistoryPart = Annotated[History, Depends(_history)]
CataloguePart = Annotated[Catalogue, Depends(_catalogue)]
HeartbeatPart = Annotated[Heartbeat, Depends(_heartbeat)]
RecommenderPart = Annotated[Recommender, Depends(_recommender)]

_bearer = HTTPBearer(auto_error=False, description="An API key, as `Authorization: Bearer KEY`.")
_header = APIKeyHeader(name="X-API-Key", auto_error=False, description="The same key, in a header of its own.")


async def _key(
    bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
    header: Annotated[str | None, Depends(_header)],
) -> str | None:
    return bearer.credentials if bearer is not None else header


KeyPart = Annotated[str | None, Depends(_key)]


async def authorise(settings: SettingsPart, key: KeyPart) -> None:
    """Let in whoever has a key; everyone, where no keys are set. The admin key opens everything."""
    if not may_enter(settings, key):
        raise Unauthorized("Send an API key as `Authorization: Bearer KEY` or `X-API-Key: KEY`.")


def may_enter(settings: Settings, key: str | None) -> bool:
    """Whether a caller with this key may use the API."""
    if not settings.api_keys:
        return True
    admin = (settings.admin_key,) if settings.admin_key else ()
    return _one_of(key, (*settings.api_keys, *admin))


async def authorise_admin(settings: SettingsPart, key: KeyPart) -> None:
    """Let in whoever has the admin key; nobody, where none is set."""
    if settings.admin_key is None:
        raise Forbidden("This is shut: no admin key is set. Start the service with INNERLOOP_ADMIN_KEY to open it.")
    if not _one_of(key, (settings.admin_key,)):
        raise Unauthorized("This needs the admin key, as `Authorization: Bearer KEY` or `X-API-Key: KEY`.")


def _one_of(key: str | None, keys: Sequence[SecretStr]) -> bool:
    # Every key is compared, each in constant time: the time taken says nothing of any of them.
    given = (key or "").encode("utf-8", "surrogateescape")
    matches = [hmac.compare_digest(given, known.get_secret_value().encode()) for known in keys]
    return True in matches
