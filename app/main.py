"""The composition root: settings in, a whole service out. What is built lives as long as the lifespan."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from importlib import metadata

from fastapi import FastAPI

from app import problems
from app.body import BodyLimit
from app.catalogue import Catalogue
from app.encoding import Encoding
from app.errors import StoreUnavailable
from app.express import Express
from app.heartbeat import Heartbeat
from app.history import History
from app.recommender import Recommender
from app.routes import router
from app.routes.access import Parts
from app.settings import Settings, SettingsError
from app.store import connect
from app.telemetry import Metrics, RequestTelemetry
from app.wire import Wire
from models.device import DeviceError
from models.manifest import SnapshotError

log = logging.getLogger(__name__)

DESCRIPTION = """The online recommender that learns each user in milliseconds.

Send what users do to `POST /events`; ask `/recommend` and the answer has taken it in.
Errors are `application/problem+json` (RFC 9457) and name the field at fault."""

LAG_SECONDS = 5.0
COLLECTIONS = 5_000, 1_000, 100
"""Python's usual thresholds look at everyone who is remembered again and again, 20 ms at a time; what these let pass is
hardly ever garbage, for here nearly all goes with its last reference."""

SWITCH_SECONDS = 1e-4
"""How long a thread that wants the interpreter waits before it is given way to. A busy event loop lets go between its
callbacks but takes it back before another thread has woken: the device's waits this long at every turn. With Python's
own 5 ms, where adapting is traced and had about ten turns, whoever was known waited less and a new event cost nearly
twice as much: p50 2.0 and p99 57 ms under load, where this gave 5.0 and 33."""
DAY = 86_400


def create_app(settings: Settings) -> FastAPI:
    """The service as an ASGI application. Nothing is connected or loaded before its lifespan starts.

    Where start-up fails for a reason that a person can mend, `app.state.failure` says it.

    Raises:
        SettingsError: there is no Redis to keep histories in.
    """
    if settings.redis_url is None:
        raise SettingsError(
            "INNERLOOP_REDIS_URL: it must be set (REDIS_URL does too), or start with `innerloop serve`."
        )
    metrics = Metrics()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[Parts]:
        try:
            async with _parts(settings, metrics) as parts:
                yield parts
        except SnapshotError as error:
            app.state.failure = str(error)
            raise
        except DeviceError as error:
            app.state.failure = f"INNERLOOP_DEVICE: {error}"
            raise

    app = FastAPI(
        title="innerloop",
        version=_version(),
        description=DESCRIPTION,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        lifespan=lifespan,
        redirect_slashes=False,
    )
    app.state.failure = None
    app.add_middleware(Express)
    app.add_middleware(BodyLimit, limit=settings.max_body)
    app.add_middleware(RequestTelemetry, metrics=metrics)
    app.include_router(router())
    problems.install(app)
    return app


@asynccontextmanager
async def _parts(settings: Settings, metrics: Metrics) -> AsyncIterator[Parts]:
    """Build the parts, each on those before it; take them down in the other order."""
    if not settings.api_keys:
        log.warning("no API keys are set: everyone who can reach this may call it; set INNERLOOP_API_KEYS")
    async with AsyncExitStack() as stack:
        redis = connect(str(settings.redis_url), connections=settings.redis_connections, timeout=settings.redis_timeout)
        stack.push_async_callback(redis.aclose)
        wire = Wire.of(redis)
        if wire is not None:
            stack.callback(wire.close)
        history = History(
            redis,
            cap=settings.history_length,
            stream_cap=settings.stream_length,
            ttl_seconds=settings.history_days * DAY,
            wire=wire,
        )
        catalogue = Catalogue(redis)
        encoding = Encoding(settings.data_folder / "content.sqlite")
        stack.callback(encoding.close)
        recommender = Recommender(
            history,
            catalogue,
            settings.snapshot,
            encoding.encode,
            metrics,
            device=settings.device,
            threads=settings.threads or _threads(),
            max_batch=settings.batch,
            queue_limit=settings.queue,
            remembered=settings.cache,
            poll=settings.poll,
        )
        stack.callback(sys.setswitchinterval, sys.getswitchinterval())
        sys.setswitchinterval(SWITCH_SECONDS)
        await recommender.start()
        # What has been built lives as long as the process: no collection need look at it again.
        gc.collect()
        gc.freeze()
        stack.callback(gc.set_threshold, *gc.get_threshold())
        gc.set_threshold(*COLLECTIONS)
        stack.push_async_callback(recommender.close)
        metrics.watch_queue(lambda: recommender.depth)
        lag = asyncio.create_task(_measure_lag(history, metrics), name="lag")
        stack.callback(lag.cancel)
        yield Parts(
            settings=settings,
            metrics=metrics,
            history=history,
            catalogue=catalogue,
            heartbeat=Heartbeat(redis),
            recommender=recommender,
        )


async def _measure_lag(history: History, metrics: Metrics) -> None:
    while True:
        with suppress(StoreUnavailable):
            metrics.lag(await history.pending())
        await asyncio.sleep(LAG_SECONDS)


def _threads() -> int:
    """Half the cores we may use, up to 4: the rest are for the event loop, Redis and the worker."""
    # Linux says which cores are ours; macOS does not.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(4, cores // 2))


def _version() -> str:
    try:
        return metadata.version("innerloop")
    except metadata.PackageNotFoundError:
        return "unknown"  # run from a checkout that was never installed
