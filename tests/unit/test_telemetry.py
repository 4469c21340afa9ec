"""Metrics and logs: what is counted under which name, and what a line looks like."""

from __future__ import annotations

import json
import logging

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from app.telemetry import JsonLines, Metrics, RequestTelemetry


async def _hello(request: Request) -> PlainTextResponse:
    if request.path_params["name"] == "broken":
        raise RuntimeError
    return PlainTextResponse("hello")


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


async def _get(metrics: Metrics, path: str) -> httpx.Response:
    app = RequestTelemetry(Starlette(routes=[Route("/hello/{name}", _hello)]), metrics)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        return await client.get(path)


def _count(metrics: Metrics, **labels: str) -> float | None:
    return metrics.registry.get_sample_value("http_server_request_duration_seconds_count", labels)


async def test_requests_have_an_id_of_their_own(metrics: Metrics) -> None:
    ids = {(await _get(metrics, "/hello/a")).headers["x-request-id"] for _ in range(2)}
    assert len(ids) == 2


async def test_unknown_paths_share_one_label(metrics: Metrics) -> None:
    for path in ("/nowhere", "/elsewhere"):
        await _get(metrics, path)
    labels = {"http_request_method": "GET", "http_route": "unmatched", "http_response_status_code": "404"}
    assert _count(metrics, **labels) == 2


async def test_a_request_that_breaks_is_counted_as_500(metrics: Metrics) -> None:
    await _get(metrics, "/hello/broken")
    found = [
        sample.labels["http_response_status_code"]
        for metric in metrics.registry.collect()
        for sample in metric.samples
        if sample.name == "http_server_request_duration_seconds_count"
    ]
    assert found == ["500"]


def test_the_snapshot_served_is_the_only_one_named(metrics: Metrics) -> None:
    metrics.serving("one", "2026-01-01T00:00:00+00:00")
    metrics.serving("two", "2026-01-02T00:00:00+00:00")
    value = metrics.registry.get_sample_value
    assert value("innerloop_snapshot_info", {"version": "one"}) is None
    assert value("innerloop_snapshot_info", {"version": "two"}) == 1
    assert value("innerloop_snapshot_swaps_total") == 2
    assert (value("innerloop_snapshot_age_seconds") or 0) > 0


def test_two_services_share_no_numbers(metrics: Metrics) -> None:
    metrics.shed()
    assert Metrics().registry.get_sample_value("innerloop_shed_total") == 0


def test_a_log_line_is_one_object_with_its_extras() -> None:
    record = logging.makeLogRecord({"name": "a", "levelname": "INFO", "msg": "two\nlines %s", "args": ("x",), "n": 3})
    line = JsonLines().format(record)
    assert "\n" not in line
    assert json.loads(line) | {"time": ""} == {
        "time": "", "level": "info", "logger": "a", "message": "two\nlines x", "n": 3
    }  # fmt: skip
