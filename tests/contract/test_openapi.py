"""The service against its own OpenAPI schema: whatever is sent, nothing breaks, and every error is a problem."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from app.embedded import EmbeddedRedis
from app.main import create_app
from app.settings import Settings
from models.content import DEFAULT_MODEL
from tests.services import serving, settings_of
from tests.worlds import publish_snapshot

SCHEMA = create_app(Settings(redis_url="redis://nowhere")).openapi()
OPERATIONS = [(path, method) for path, methods in SCHEMA["paths"].items() for method in methods]
TAKES_INPUT = [
    (path, method)
    for path, method in OPERATIONS
    if {"parameters", "requestBody"} & SCHEMA["paths"][path][method].keys()
]
KEY = "a key"


@pytest.fixture(scope="module")
def base(redis_server: EmbeddedRedis, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a running service, with the real encoder of item texts."""
    redis_server.start()
    snapshots = tmp_path_factory.mktemp("contract") / "snapshots"
    publish_snapshot(snapshots, content_model=DEFAULT_MODEL, width=384)
    with serving(settings_of(redis_server.url, snapshots, api_keys=KEY, admin_key=KEY)) as client:
        yield str(client.base_url)


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_what_the_schema_allows_is_answered(base: str, path: str, method: str) -> None:
    # An item that does not exist, a rating off the scale and a time to come are refused, and no schema can say so.
    ours = [positive_data_acceptance] if path == "/events" else []
    _check(base, path, method, GenerationMode.POSITIVE, ours)


@pytest.mark.parametrize(("path", "method"), TAKES_INPUT)
def test_what_the_schema_forbids_is_refused(base: str, path: str, method: str) -> None:
    # A batch answers 202 and refuses its bad events one by one; and of a parameter given twice the last one counts.
    ours = [negative_data_rejection] if path == "/events" or (path, method) == ("/recommend", "get") else []
    _check(base, path, method, GenerationMode.NEGATIVE, ours)


def _check(base: str, path: str, method: str, mode: GenerationMode, excluded: list[Any]) -> None:
    """Send what schemathesis thinks of, and apply all of its checks but those excluded."""
    operation = schemathesis.openapi.from_dict(SCHEMA)[path][method.upper()]

    @settings(max_examples=30, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.data())
    def check(data: st.DataObject) -> None:
        case = data.draw(operation.as_strategy(generation_mode=mode))
        headers = {"Authorization": f"Bearer {KEY}"}
        response = case.call(base_url=base, headers=headers, timeout=60)  # the first item waits for the encoder
        case.validate_response(response, headers=headers, excluded_checks=excluded)

    check()
