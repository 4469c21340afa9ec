"""What `serve` starts beside itself, the worker and the embedded Redis: kept running, and stopped with it."""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import Mapping
from contextlib import suppress

from app.embedded import EmbeddedRedis, EmbeddedRedisError

log = logging.getLogger(__name__)

LONGEST_WAIT = 30.0
MISSES = 3
PATIENCE = 10.0


class Backoff:
    """How long to wait before the next start: longer each time, and from the beginning after a long life."""

    def __init__(self, first: float = 1.0, longest: float = LONGEST_WAIT) -> None:
        self.first, self.longest = first, longest
        self.seconds = first

    def after(self, lived: float) -> float:
        """Seconds to wait, after a life of so many."""
        if lived > 2 * self.longest:
            self.seconds = self.first
        wait, self.seconds = self.seconds, min(2 * self.seconds, self.longest)
        return wait


async def keep_worker(arguments: list[str], environment: Mapping[str, str]) -> None:
    """Run `innerloop worker` as a process of its own, again whenever it ends; cancelled, it stops the worker too."""
    backoff = Backoff()
    while True:
        started = time.monotonic()
        # A session of its own: Ctrl-C in the terminal reaches us alone, and we stop everything in order.
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "app.cli", "worker", *arguments),
            env=dict(environment),
            stdin=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            await process.wait()
        finally:
            await _stop(process)
        wait = backoff.after(time.monotonic() - started)
        log.warning("the worker ended; starting it again", extra={"exit": process.returncode, "wait_seconds": wait})
        await asyncio.sleep(wait)


async def keep_redis(redis: EmbeddedRedis) -> None:
    """Start the embedded Redis again whenever it has died, until cancelled."""
    backoff, misses, started = Backoff(), 0, time.monotonic()
    while True:
        await asyncio.sleep(1)
        misses = 0 if await asyncio.to_thread(redis.alive) else misses + 1
        # One slow answer is not a death.
        if misses < MISSES:
            continue
        log.warning("the embedded Redis is gone; starting it again")
        with suppress(EmbeddedRedisError):
            await asyncio.to_thread(redis.stop)
        try:
            await asyncio.to_thread(redis.start)
        except EmbeddedRedisError as error:
            log.error("the embedded Redis did not start: %s", error)
            await asyncio.sleep(backoff.after(time.monotonic() - started))
        else:
            misses, started = 0, time.monotonic()


async def _stop(process: asyncio.subprocess.Process) -> None:
    """Ask it to end, and insist after PATIENCE seconds."""
    if process.returncode is not None:
        return
    process.terminate()
    try:
        await asyncio.wait_for(process.wait(), PATIENCE)
    except TimeoutError:
        process.kill()
        await process.wait()
