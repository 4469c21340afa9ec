"""The express lane against the router: the same requests, the same answers, and bodies that their models accept."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from app import express
from app.answers import EventResults, Recommendation, Recommendations
from app.express import Express
from tests.services import serving, settings_of
from tests.worlds import publish_snapshot

# Of JSON too, but unusual: it goes to the router.
UNUSUAL = {"content-type": "application/vnd.api+json"}


@pytest.fixture
def client(redis_url: str, tmp_path: Path) -> Iterator[httpx.Client]:
    publish_snapshot(tmp_path / "snapshots")
    with serving(settings_of(redis_url, tmp_path / "snapshots")) as client:
        yield client


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths of the requests that the lane has answered or refused."""
    paths: list[str] = []
    usual = express._usual

    def noted(scope: Any) -> bool:
        paths.append(scope["path"]) if usual(scope) else None
        return usual(scope)

    monkeypatch.setattr(express, "_usual", noted)
    return paths


def same(one: httpx.Response, other: httpx.Response) -> None:
    assert one.status_code == other.status_code
    assert one.headers["content-type"] == other.headers["content-type"]
    assert one.headers.keys() == other.headers.keys()
    bodies = [answer.json() for answer in (one, other)]
    for body in bodies:
        for each in body.get("answers", [body]):
            each.pop("recommendation_id", None)
    assert bodies[0] == bodies[1]


BODIES: list[dict[str, Any]] = [
    {},
    {"user_id": "ada"},
    {"user_id": "ada", "k": 3, "scores": True},
    {"user_id": 'a "quoted" \\ name, é 😀'},
    {"history": ["i1", {"item_id": "i3", "kind": "rating", "value": 1}], "k": 5.0},
    {"user_id": "ada", "exclude": ["i0"], "candidates": ["i0", "i2"], "include_seen": True},
    {"user_id": "ada", "filter": {"categories": ["nowhere"], "fallback": True}},
    {"user_id": ""},
    {"user_id": "ada", "k": 0},
    {"user_id": "ada", "k": True},
    {"user_id": "ada", "surprise": 1},
    {"history": [1]},
]


@pytest.mark.parametrize("body", BODIES)
def test_post_recommend(client: httpx.Client, body: dict[str, Any], taken: list[str]) -> None:
    client.post("/events", json={"user_id": "ada", "item_id": "i4", "kind": "like"})
    taken.clear()
    one = client.post("/recommend", json=body)
    assert taken == ["/recommend"]
    same(one, client.post("/recommend", content=json.dumps(body), headers=UNUSUAL))
    assert taken == ["/recommend"], "the other went to the router"
    if one.status_code == 200:
        assert Recommendation.model_validate_json(one.content, strict=True).user_id == body.get("user_id")


@pytest.mark.parametrize("scores", [True, False])
def test_recommend_batch(client: httpx.Client, scores: bool) -> None:
    client.post("/events", json={"user_id": "ada", "item_id": "i4", "kind": "like"})
    users = ["ada", "bob", "ada", *(f"u{n}" for n in range(253))]
    body = {"users": users, "k": 4, "scores": scores}
    answer = client.post("/recommend/batch", json=body)
    same(answer, client.post("/recommend/batch", content=json.dumps(body), headers=UNUSUAL))
    found = Recommendations.model_validate_json(answer.content, strict=True).answers
    assert [each.user_id for each in found] == users
    assert len({each.recommendation_id for each in found}) == 256
    for user, each in zip(users[:3], found[:3], strict=True):
        alone = client.post("/recommend", json={"user_id": user, "k": 4, "scores": scores}).json()
        assert [item.item_id for item in each.items] == [item["item_id"] for item in alone["items"]]
        assert [item.score is not None for item in each.items] == [scores] * 4
    refused = client.post("/recommend/batch", json={"users": [*users, "one more"]})
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["field"] == "users"


@pytest.mark.parametrize(
    "query",
    [
        "",
        "user_id=ada",
        "user_id=a%2Fb%20c&k=3",
        "k=100",
        "k=101",
        "k=x",
        "k=3&k=4",
        "k=0000000101",
        "user_id=",
        "else=1",
    ],
)
def test_get_recommend(client: httpx.Client, query: str, monkeypatch: pytest.MonkeyPatch) -> None:
    one = client.get(f"/recommend?{query}")
    monkeypatch.setattr(express, "_usual", lambda _: False)
    same(one, client.get(f"/recommend?{query}"))
    if one.status_code == 200:
        Recommendation.model_validate_json(one.content, strict=True)


@pytest.mark.parametrize(
    "body",
    [
        {"user_id": "ada", "item_id": "i4", "kind": "like", "event_id": "one"},
        {"user_id": "ada", "item_id": "nowhere", "kind": "like"},
        {"user_id": "ada", "item_id": "i4", "kind": "rating", "value": 99},
        {"user_id": "ada", "item_id": "i4", "kind": "dance"},
        {"events": [{"user_id": "ada", "item_id": "i4", "kind": "view", "event_id": "2"}, {"user_id": "ada"}]},
        {"events": []},
        {"events": [{"user_id": "ada", "item_id": "i1", "kind": "view", "event_id": "3"}] * 1001},
    ],
)
def test_events(client: httpx.Client, body: dict[str, Any]) -> None:
    # With everything given twice: the first time accepted, then not.
    client.post("/events", json=body)
    one = client.post("/events", json=body)
    same(one, client.post("/events", content=json.dumps(body), headers=UNUSUAL))
    if one.status_code == 202:
        EventResults.model_validate_json(one.content, strict=True)


def test_what_is_no_json_or_too_large_or_without_a_key_is_refused_as_ever(
    redis_url: str, tmp_path: Path, client: httpx.Client
) -> None:
    for content in (b"", b"{", b"[]", b"null", b'{"user_id":"\xff"}', b'{"user_id":"\\ud800"}'):
        one = client.post("/recommend", content=content, headers={"content-type": "application/json"})
        assert one.status_code in (400, 422), content
        same(one, client.post("/recommend", content=content, headers=UNUSUAL))
    same(client.post("/recommend", content=b"{}"), client.post("/recommend", content=b"{}"))
    with serving(settings_of(redis_url, tmp_path / "snapshots", api_keys="key", max_body=1024)) as shut:
        assert shut.post("/recommend", json={}).status_code == 401
        assert shut.post("/recommend", json={}, headers={"X-API-Key": "kez"}).status_code == 401
        for headers in ({"X-API-Key": "key"}, {"Authorization": "Bearer key"}, {"Authorization": "bearer key"}):
            assert shut.post("/recommend", json={}, headers=headers).status_code == 200
        large = shut.post("/recommend", json={"user_id": "x" * 1024}, headers={"X-API-Key": "key"})
        assert large.status_code == 413


def test_both_count_under_the_same_route(client: httpx.Client) -> None:
    client.post("/recommend", json={})
    client.post("/recommend", content=b"{}", headers=UNUSUAL)
    lines = client.get("/metrics").text.splitlines()
    (line,) = [line for line in lines if 'http_route="/recommend"' in line and "_count{" in line]
    assert line.endswith(" 2.0")


async def test_what_is_not_http_or_not_its_own_passes_untouched() -> None:
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append((scope, receive, send))

    lane = Express(app)
    for scope in (
        {"type": "lifespan"},
        {"type": "http", "method": "POST", "path": "/recommended"},
        {"type": "http", "method": "PUT", "path": "/recommend"},
        {"type": "http", "method": "POST", "path": "/recommend", "root_path": "/api"},
    ):
        await lane(scope, None, None)  # type: ignore[arg-type]
        assert seen.pop() == (scope, None, None)
