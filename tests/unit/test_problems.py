"""Errors as problems: what a caller is told, and what not."""

from __future__ import annotations

import httpx
import pytest
from fastapi import FastAPI

from app import problems
from app.errors import InnerloopError, NotFound, Overloaded, StoreUnavailable, Unauthorized
from app.telemetry import Metrics, RequestTelemetry


def _service(error: Exception) -> FastAPI:
    app = FastAPI()
    app.add_middleware(RequestTelemetry, metrics=Metrics())
    problems.install(app)

    @app.get("/")
    async def fail() -> None:
        raise error

    return app


async def _get(error: Exception) -> httpx.Response:
    transport = httpx.ASGITransport(_service(error), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        answer = await client.get("/")
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == answer.status_code
    return answer


async def test_a_fault_of_ours_says_nothing_of_itself() -> None:
    answer = await _get(RuntimeError("the password is hunter2"))
    assert answer.status_code == 500
    assert "hunter2" not in answer.text
    assert "Traceback" not in answer.text
    assert answer.json()["type"] == "urn:innerloop:problem:internal"
    assert len(answer.headers["x-request-id"]) == 32


@pytest.mark.parametrize(
    ("error", "status", "seconds"),
    [(Overloaded(retry_after=0.01), 429, "1"), (StoreUnavailable(retry_after=2.1), 503, "3")],
)
async def test_come_back_later_says_when(error: InnerloopError, status: int, seconds: str) -> None:
    answer = await _get(error)
    assert (answer.status_code, answer.headers["retry-after"]) == (status, seconds)


async def test_the_field_at_fault_is_named() -> None:
    answer = await _get(NotFound("There is no item 'x'.", field="item_id"))
    assert answer.json()["errors"] == [{"field": "item_id", "message": "There is no item 'x'."}]
    assert "retry-after" not in answer.headers


async def test_no_key_says_which_scheme() -> None:
    assert (await _get(Unauthorized())).headers["www-authenticate"] == "Bearer"
