"""The service over HTTP: a real uvicorn, a real redis-server, a real learner with random parameters."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis import Redis

from app.embedded import EmbeddedRedis
from app.history import Event, UserHistory, partition_of
from tests.services import serving, settings_of
from tests.worlds import publish_snapshot


@pytest.fixture
def snapshots(tmp_path: Path) -> Path:
    publish_snapshot(tmp_path / "snapshots")
    return tmp_path / "snapshots"


@pytest.fixture
def client(redis_url: str, snapshots: Path) -> Iterator[httpx.Client]:
    with serving(settings_of(redis_url, snapshots)) as client:
        yield client


def event(user: str, item: str, kind: str = "view", **more: Any) -> dict[str, Any]:
    return {"user_id": user, "item_id": item, "kind": kind, **more}


def items(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [item["item_id"] for item in answer.json()["items"]]


def problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert body["status"] == status
    assert {"type", "title", "detail"} <= body.keys()
    return body


def test_an_event_is_in_the_next_recommendation(client: httpx.Client) -> None:
    before = items(client.get("/recommend", params={"user_id": "ada"}))
    accepted = client.post("/events", json={"events": [event("ada", before[0]), event("ada", before[1])]})
    assert accepted.status_code == 202
    assert accepted.json()["accepted"] == 2
    after = items(client.get("/recommend", params={"user_id": "ada"}))
    assert not {before[0], before[1]} & set(after)
    assert items(client.get("/recommend", params={"user_id": "someone else"})) == before


def test_each_event_of_a_batch_has_its_result(client: httpx.Client) -> None:
    batch = [
        event("ada", "i1", event_id="one"),
        event("ada", "i1", event_id="one"),
        event("ada", "nowhere", event_id="two"),
        event("ada", "i2", "rating", value=9, event_id="three"),
        event("ada", "i3", "rating", value=2.5, timestamp="2026-01-01T12:00:00+02:00"),
        {"user_id": "ada"},
    ]
    answer = client.post("/events", json={"events": batch}).json()
    assert [result["status"] for result in answer["results"]] == [
        "accepted", "duplicate", "refused", "refused", "accepted", "refused"
    ]  # fmt: skip
    assert answer["accepted"] == 2
    details = [result.get("detail", "") for result in answer["results"]]
    assert "item_id" in details[2]
    assert "from 1 to 5" in details[3]
    assert "item_id: is required" in details[5]
    assert client.get("/users/ada/history").json()["events"][0] == {
        "item_id": "i3", "kind": "rating", "value": 2.5, "timestamp": "2026-01-01T10:00:00+00:00"
    }  # fmt: skip


def test_an_event_sent_again_counts_once(client: httpx.Client) -> None:
    for expected in ("accepted", "duplicate"):
        answer = client.post("/events", json=event("ada", "i1", event_id="same"))
        assert answer.json()["results"] == [{"event_id": "same", "status": expected}]
    assert len(client.get("/users/ada/history").json()["events"]) == 1


def test_an_event_gets_an_id(client: httpx.Client) -> None:
    (result,) = client.post("/events", json=event("ada", "i1")).json()["results"]
    assert len(result["event_id"]) == 32


def test_one_bad_event_alone_is_a_problem(client: httpx.Client) -> None:
    body = problem(client.post("/events", json=event("ada", "nowhere")), 404)
    assert body["errors"][0]["field"] == "item_id"
    body = problem(client.post("/events", json=event("ada", "i1", "rating", value=6)), 400)
    assert body["errors"] == [{"field": "value", "message": "a rating must be from 1 to 5"}]
    body = problem(client.post("/events", json=event("ada", "i1", "dance")), 422)
    assert body["errors"][0]["field"] == "kind"
    assert "dislike" in body["errors"][0]["message"]


def test_conditions_of_a_recommendation(client: httpx.Client) -> None:
    def ask(**body: Any) -> list[str]:
        return items(client.post("/recommend", json={"history": ["i3", "i4"], "k": 100, **body}))

    every = ask()
    assert "i3" not in every
    assert "i9" not in every, "not available"
    assert "i3" in ask(include_seen=True)
    assert every[0] not in ask(exclude=[every[0], "nowhere"])
    assert set(ask(candidates=["i10", "i11", "nowhere"])) == {"i10", "i11"}
    assert {int(name[1:]) % 2 for name in ask(filter={"categories": ["odd"]})} == {1}
    assert ask(filter={"categories": ["nowhere"]}) == []
    assert ask(filter={"categories": ["nowhere"], "fallback": True}) == every
    assert ask(k=2) == every[:2]


def test_an_inline_history_answers_as_a_stored_one(client: httpx.Client) -> None:
    given = [{"item_id": "i3", "kind": "rating", "value": 1}, {"item_id": "i4", "kind": "like"}]
    client.post("/events", json={"events": [{"user_id": "ada", **past} for past in given]})
    stored = client.post("/recommend", json={"user_id": "ada", "scores": True}).json()
    inline = client.post("/recommend", json={"history": [*given, "nowhere"], "scores": True}).json()
    assert stored["items"] == inline["items"]
    assert stored["recommendation_id"] != inline["recommendation_id"]
    assert all("score" not in item for item in client.post("/recommend", json={}).json()["items"])


def test_items(client: httpx.Client) -> None:
    assert client.get("/items/i4").json() == {
        "item_id": "i4", "title": "Item 4", "text": "Found on shelf 4", "categories": ["even"], "available": True
    }  # fmt: skip
    assert len(items(client.get("/items/i4/similar", params={"k": 5}))) == 5
    assert "i4" not in items(client.get("/items/i4/similar"))
    problem(client.get("/items/nowhere"), 404)
    problem(client.get("/items/nowhere/similar"), 404)


def test_forgotten_means_forgotten(client: httpx.Client) -> None:
    prior = items(client.get("/recommend", params={"user_id": "a/b"}))
    client.post("/events", json=event("a/b", "i1", event_id="one"))
    answer = client.delete("/users/a%2Fb")
    assert (answer.status_code, answer.content) == (204, b"")
    assert client.get("/users/a%2Fb/history").json() == {"user_id": "a/b", "events": []}
    assert items(client.get("/recommend", params={"user_id": "a/b"})) == prior
    again = client.post("/events", json=event("a/b", "i1", event_id="one"))
    assert again.json()["accepted"] == 1, "the event id was forgotten too"


def test_a_history_is_forgotten_by_its_own_address_too(client: httpx.Client) -> None:
    client.post("/events", json={"events": [event("a/b", "i1"), event("a", "i1")]})
    assert client.delete("/users/a%2Fb/history").status_code == 204
    assert client.get("/users/a%2Fb/history").json()["events"] == []
    assert len(client.get("/users/a/history").json()["events"]) == 1


def test_a_kind_nobody_knows_is_passed_over(client: httpx.Client, redis_url: str) -> None:
    client.post("/events", json=event("ada", "i1", "like"))
    with Redis.from_url(redis_url) as redis:
        key = f"il:{{{partition_of('ada')}}}:history:ada"
        handle = int(UserHistory.of(redis.get(key)).records["handle"][0])
        redis.append(key, Event("odd", "ada", handle, 200).packed(""))
    (known,) = client.get("/users/ada/history").json()["events"]
    assert known["kind"] == "like"
    assert items(client.get("/recommend", params={"user_id": "ada"}))


def test_unknown_paths_and_methods_are_problems(client: httpx.Client) -> None:
    problem(client.get("/nowhere"), 404)
    answer = client.put("/recommend", json={})
    problem(answer, 405)
    assert answer.headers["allow"] == "GET, POST"
    assert client.head("/events").status_code == 405


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"{", "application/json", 400),
        (b"\xff\xfe", "application/json", 400),
        (b"[" * 100_000, "application/json", 400),
        (b"", "application/json", 422),
        (b"[]", "application/json", 422),
        (b"null", "application/json", 422),
        (b'{"\\ud800": 1}', "application/json", 422),
        (b'{"user_id": "\\ud800"}', "application/json", 422),
        (b"user_id=ada", "application/x-www-form-urlencoded", 415),
        (b"{}", "text/plain", 415),
    ],
)
@pytest.mark.parametrize("path", ["/events", "/recommend", "/items"])
def test_bad_bodies(client: httpx.Client, path: str, content: bytes, kind: str, status: int) -> None:
    method = "PUT" if path == "/items" else "POST"
    answer = client.request(method, path, content=content, headers={"content-type": kind})
    body = problem(answer, status)
    assert body["errors"][0]["field"]
    assert "Traceback" not in answer.text


def test_a_body_that_is_too_large(redis_url: str, snapshots: Path) -> None:
    with serving(settings_of(redis_url, snapshots, max_body=2000, max_events=3)) as client:
        problem(client.post("/recommend", content=b" " * 2001, headers={"content-type": "application/json"}), 413)
        chunks = (b" " * 500 for _ in range(5))
        problem(client.post("/recommend", content=chunks, headers={"content-type": "application/json"}), 413)
        assert client.post("/recommend", json={"exclude": ["x" * 200] * 9}).status_code == 200
        body = problem(client.post("/events", json={"events": [event("a", "i1")] * 4}), 413)
        assert body["errors"][0]["field"] == "events"


def test_keys(redis_url: str, snapshots: Path) -> None:
    with serving(settings_of(redis_url, snapshots, api_keys="alpha,beta", admin_key="root")) as client:
        answer = client.get("/recommend")
        problem(answer, 401)
        assert answer.headers["www-authenticate"] == "Bearer"
        problem(client.get("/metrics"), 401)
        problem(client.get("/recommend", headers={"authorization": "Bearer gamma"}), 401)
        problem(client.get("/recommend", headers={"x-api-key": "alph\xe9".encode("latin-1")}), 401)
        assert client.get("/recommend", headers={"authorization": "Bearer beta"}).status_code == 200
        assert client.get("/recommend", headers={"x-api-key": "alpha"}).status_code == 200
        for path in ("/health/live", "/health/ready", "/health", "/docs"):
            assert client.get(path).status_code == 200
        problem(client.post("/model/rollback", headers={"x-api-key": "alpha"}), 401)
        problem(client.post("/model/rollback", headers={"x-api-key": "root"}), 409)


def test_without_an_admin_key_rollback_is_shut(client: httpx.Client) -> None:
    assert "INNERLOOP_ADMIN_KEY" in problem(client.post("/model/rollback"), 403)["detail"]


def test_a_new_snapshot_is_swapped_in_and_rolled_back(redis_url: str, snapshots: Path) -> None:
    with serving(settings_of(redis_url, snapshots, admin_key="root")) as client:
        first = client.get("/model").json()["version"]
        second = publish_snapshot(snapshots, seed=1, parent=first)
        end = time.monotonic() + 10
        while client.get("/recommend").json()["snapshot"] != second:
            assert time.monotonic() < end
        assert f'innerloop_snapshot_info{{version="{second}"}} 1.0' in client.get("/metrics").text
        back = client.post("/model/rollback", headers={"authorization": "Bearer root"})
        assert back.json()["version"] == first
        assert client.get("/recommend").json()["snapshot"] == first


def test_metrics_name_the_stages_and_the_routes(client: httpx.Client) -> None:
    client.get("/recommend", params={"user_id": "ada"})
    client.get("/users/ada/history")
    text = client.get("/metrics").text
    for name in ("queue", "redis", "compute"):
        assert f'innerloop_stage_duration_seconds_count{{stage="{name}"}}' in text
    assert 'http_route="/users/{user_id}/history"' in text
    assert "ada" not in text


def test_health(client: httpx.Client) -> None:
    answer = client.get("/health")
    assert answer.headers["content-type"] == "application/health+json"
    checks = answer.json()["checks"]
    assert {name: check["status"] for name, check in checks.items()} == {
        "engine": "pass", "snapshot": "pass", "redis": "pass", "worker": "warn"
    }  # fmt: skip
    assert client.get("/health/ready").status_code == 200


def test_redis_away_and_back(tmp_path: Path, snapshots: Path) -> None:
    with EmbeddedRedis(tmp_path / "redis") as redis, serving(settings_of(redis.url, snapshots)) as client:
        client.post("/events", json=event("ada", "i1"))
        redis.stop()
        body = client.get("/recommend", params={"user_id": "ada"}).json()
        assert body["degraded"] is True
        assert body["items"][0]["item_id"] == "i0", "the most popular"
        assert client.post("/recommend", json={"history": ["i1"]}).json()["degraded"] is False
        for answer in (client.post("/events", json=event("ada", "i2")), client.get("/users/ada/history")):
            problem(answer, 503)
            assert int(answer.headers["retry-after"]) >= 1
        assert client.get("/health").json()["checks"]["redis"]["status"] == "warn"
        assert client.get("/health/live").status_code == client.get("/health/ready").status_code == 200
        redis.start()
        end = time.monotonic() + 10
        while client.get("/recommend", params={"user_id": "ada"}).json()["degraded"]:
            assert time.monotonic() < end, "it did not recover"
        assert client.post("/events", json=event("ada", "i2")).json()["accepted"] == 1
        assert len(client.get("/users/ada/history").json()["events"]) == 2


async def test_overload_is_429_and_health_stays_fast(redis_url: str, snapshots: Path) -> None:
    with serving(settings_of(redis_url, snapshots, queue=2, batch=1)) as client:
        async with httpx.AsyncClient(base_url=client.base_url, timeout=20) as many:
            flood = [many.get("/recommend", params={"user_id": f"u{n}", "k": 100}) for n in range(60)]
            *answers, live = await asyncio.gather(*flood, many.get("/health/live"))
        refused = [answer for answer in answers if answer.status_code == 429]
        assert refused
        assert {answer.status_code for answer in answers} == {200, 429}
        problem(refused[0], 429)
        assert int(refused[0].headers["retry-after"]) >= 1
        assert live.status_code == 200
        assert f"innerloop_shed_total {len(refused)}.0" in client.get("/metrics").text
