"""Metrics, logs, and the two ASGI middlewares every request passes."""

from __future__ import annotations

import json
import logging
import random
import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

BUCKETS = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
"""Seconds. Most answers take under 5 ms, so that is where the detail is."""

_PLAIN = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "color_message", "taskName"}


class Metrics:
    """The numbers of one service, in a registry of its own: two apps in a process do not share them."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self._requests = Histogram(
            "http_server_request_duration_seconds",
            "Time from a request's first byte to its answer's last.",
            ["http_request_method", "http_route", "http_response_status_code"],
            buckets=BUCKETS,
            registry=registry,
        )
        self._stage = Histogram(
            "innerloop_stage_duration_seconds",
            "Time a query waits in `queue`, and a batch takes in `redis` and `compute`.",
            ["stage"],
            buckets=BUCKETS,
            registry=registry,
        )
        self._batch = Histogram(
            "innerloop_batch_size",
            "Users whose answers are computed together.",
            buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024),
            registry=registry,
        )
        self._queue = Gauge("innerloop_queue_depth", "Users whose answers wait for the engine.", registry=registry)
        self._shed = Counter("innerloop_shed", "Requests refused because the queue was full.", registry=registry)
        self._fallback = Counter(
            "innerloop_fallback", "Answers not made for the user, and why.", ["reason"], registry=registry
        )
        self._events = Counter("innerloop_events", "Events by what became of them.", ["status"], registry=registry)
        self._lag = Gauge("innerloop_stream_lag_events", "Events the worker has yet to take in.", registry=registry)
        self._info = Gauge("innerloop_snapshot_info", "1 for the snapshot served.", ["version"], registry=registry)
        self._age = Gauge("innerloop_snapshot_age_seconds", "How old the served snapshot is.", registry=registry)
        self._swaps = Counter("innerloop_snapshot_swaps", "Snapshots swapped in.", registry=registry)
        self._swap_failures = Counter(
            "innerloop_snapshot_swap_failures", "Snapshots that were left out, and why.", ["reason"], registry=registry
        )

        # Finding a child by its labels takes longer than counting in it.
        self._request_of: dict[tuple[str, str, int], Histogram] = {}
        self._stage_of: dict[str, Histogram] = {}

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        key = (method, route, status)
        if key not in self._request_of:
            self._request_of[key] = self._requests.labels(method, route, str(status))
        self._request_of[key].observe(seconds)

    def stage(self, name: str, seconds: float) -> None:
        if name not in self._stage_of:
            self._stage_of[name] = self._stage.labels(name)
        self._stage_of[name].observe(seconds)

    def batch(self, size: int) -> None:
        self._batch.observe(size)

    def shed(self) -> None:
        self._shed.inc()

    def fallback(self, reason: str) -> None:
        self._fallback.labels(reason).inc()

    def events(self, status: str, count: int) -> None:
        self._events.labels(status).inc(count)

    def lag(self, events: int) -> None:
        self._lag.set(events)

    def watch_queue(self, depth: Callable[[], int]) -> None:
        """Ask `depth` for the queue's length whenever the metrics are read."""
        self._queue.set_function(depth)

    def serving(self, version: str, created: str) -> None:
        """Note the snapshot now served; `created` is its manifest's ISO time."""
        since = datetime.fromisoformat(created).timestamp()
        self._info.clear()
        self._info.labels(version).set(1)
        self._age.set_function(lambda: max(time.time() - since, 0.0))
        self._swaps.inc()

    def swap_failed(self, reason: str) -> None:
        self._swap_failures.labels(reason).inc()

    def render(self) -> bytes:
        """Everything, in the Prometheus text format."""
        return generate_latest(self.registry)


class JsonLines(logging.Formatter):
    """One JSON object a line; what is given as `extra` becomes fields of its own."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {name: value for name, value in record.__dict__.items() if name not in _PLAIN}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


def configure_logs(level: str) -> None:
    """Send every log line of this process to stderr as JSON. There is no line a request: /metrics counts those."""
    lines = logging.StreamHandler(sys.stderr)
    lines.setFormatter(JsonLines())
    logging.basicConfig(level=level.upper(), handlers=[lines], force=True)
    logging.captureWarnings(True)
    for chatty in ("httpx", "filelock", "sentence_transformers", "asyncio"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, logging.getLevelName(level.upper())))


class RequestTelemetry:
    """Pure ASGI: times each request under its route's template, and gives it an id that its answer carries."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        status = 500
        request_id = f"{random.getrandbits(128):032x}"  # unique, and no secret
        scope.setdefault("state", {})["request_id"] = request_id

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", request_id.encode())]
            await send(message)

        try:
            await self.app(scope, receive, watch)
        finally:
            # An unknown path has no route: one label for all, or a scanner would fill the memory.
            route = getattr(scope.get("route"), "path_format", None) or "unmatched"
            method = scope["method"] if scope["method"] in _METHODS else "other"
            self.metrics.request(method, route, status, time.perf_counter() - started)


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
