r"""Load against the service as shipped, and every figure beside a limit or a rival in the same run.

    python -m benchmarks.serving --items 10000 --history 50 --concurrency 64 --seconds 10 --against empty,naive \
        --json OUT.json
    python -m benchmarks.serving --only throughput,tail

It starts what it loads: a redis-server as `innerloop serve` starts it, the service through the code that `innerloop
serve` runs, and each rival. It needs wrk on the PATH. The load generators run on the same machine, as part of the load.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from app.embedded import EmbeddedRedis
from app.store import connect
from benchmarks.serving import figures, world
from benchmarks.serving.closed import Load
from benchmarks.serving.hardware import bounds
from benchmarks.serving.processes import Server, free_port, serving
from benchmarks.serving.steps import steps
from models import snapshot

SECTIONS = (
    "steps", "throughput", "unremembered", "alone", "again", "tail", "swap", "batch", "start", "rivals", "events",
)  # fmt: skip
RIVALS = ("naive", "implicit", "melu", "litserve", "ray")
SWEPT_SECONDS = 2.0

Figures = dict[str, Any]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--users", type=int, default=10_000)
    parser.add_argument("--history", type=int, default=50, help="the longest history; they are of 1 to so many events")
    parser.add_argument("--concurrency", type=int, default=64, help="connections")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--share", type=float, default=0.1, help="of requests whose user has just sent an event")
    parser.add_argument(
        "--against",
        type=_rivals,
        default=[],
        help=f"rivals to measure too, any of {','.join(RIVALS)} with commas between; the empty route always is",
    )
    parser.add_argument("--only", type=_sections, default=SECTIONS, help=f"of {','.join(SECTIONS)}, with commas")
    parser.add_argument("--cache", help="INNERLOOP_CACHE of the service")
    parser.add_argument("--sweep", action="store_true", help="also measure against items, history and connections")
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--plots", type=Path, help="draw the figures into this folder")
    return parser.parse_args()


def _rivals(text: str) -> list[str]:
    return _among(RIVALS, [name for name in text.split(",") if name and name != "empty"])


def _sections(text: str) -> list[str]:
    return _among(SECTIONS, text.split(","))


def _among(known: Sequence[str], names: list[str]) -> list[str]:
    """The names; raises ArgumentTypeError where one is none."""
    if unknown := set(names) - set(known):
        raise argparse.ArgumentTypeError(f"there is no {', '.join(sorted(unknown))}: there are {', '.join(known)}")
    return names


def measure(options: argparse.Namespace, folder: Path, keep: Callable[[Figures], None]) -> Figures:
    """Every figure that was asked for; all there are so far go to `keep` after each section."""
    sections, repetitions = options.only, options.repetitions
    load = Load(
        users=options.users,
        items=options.items,
        share=options.share,
        connections=options.concurrency,
        seconds=options.seconds,
    )
    config = world.config_of(options.history)
    root = folder / "snapshots"
    with ExitStack() as stack:
        redis = stack.enter_context(EmbeddedRedis(folder / "redis"))
        version = world.write(root, options.items, options.history)
        snapshot.publish(root, version)
        asyncio.run(_fill(redis.url, options))
        environment = {
            "INNERLOOP_REDIS_URL": redis.url,
            "INNERLOOP_SNAPSHOT": str(root),
            "INNERLOOP_DATA_FOLDER": str(folder),
        }

        def running(name: str, cache: str | None = options.cache) -> AbstractContextManager[Server]:
            port = free_port()
            module = {"litserve": "lit", "ray": "ray_serve"}.get(name, "service")
            command = [sys.executable, "-m", f"benchmarks.serving.{module}", name, "--port", str(port)]
            own = environment if cache is None else environment | {"INNERLOOP_CACHE": cache}
            return serving(command, port, folder / f"{name}-{port}.log", own)

        found: Figures = {"hardware": bounds(options.items, config.rank)}

        def section(name: str, figure: dict[str, Any]) -> None:
            found[name] = figure
            said = {key: value for key, value in figure.items() if not isinstance(value, list)}
            print(name, json.dumps(said), flush=True)
            keep(found)

        if "steps" in sections:
            section("steps", steps(root / version, options.items, options.history))
        ours = stack.enter_context(running("innerloop"))
        peak = empty_peak = 0.0
        if {"throughput", "tail", "swap"} & set(sections):
            section("throughput", figures.throughput(ours, load, repetitions))
            peak, empty_peak = (max(came["rate"] for came in found["throughput"][at]) for at in ("innerloop", "empty"))
        if "unremembered" in sections:
            with running("innerloop", cache="0") as forgetful:
                section("unremembered", figures.unremembered(forgetful, load, repetitions))
        if "alone" in sections:
            section("alone", figures.alone(ours, load, repetitions))
        if "again" in sections:
            section("again", figures.again(ours, load, repetitions))
        if "tail" in sections:
            section("tail", figures.tail(ours, load, peak, empty_peak, repetitions))
        if "swap" in sections:
            section("swap", figures.swap(ours, root, load, options.history, peak, version, repetitions))
        if "batch" in sections:
            asyncio.run(_fill(redis.url, options))  # histories have grown by all that came before
            section("batch", figures.many_users(ours, load, config.rank, repetitions))
        if "start" in sections:
            section("start", figures.started(lambda: running("innerloop"), repetitions) | {"megabytes": ours.megabytes})
        if "rivals" in sections:
            rivals: Figures = {}
            for name in options.against:
                # Each is there for its own figure alone: idle, they still take turns of two cores.
                with running("innerloop", cache="0") as forgetful, running(name) as theirs:
                    rivals[name] = figures.rival(ours, forgetful, theirs, load, repetitions)
                section("rivals", rivals)
        if "events" in sections:  # last: histories grow by it
            section("events in batches", figures.batched_events(ours, redis.url, load, repetitions))
            section("events", figures.single_events(ours, load, repetitions))
    return found


def sweep(options: argparse.Namespace, keep: Callable[[Figures], None]) -> Figures:
    """Answers a second of known users, of users who are not remembered and of the empty route, against each size."""
    found: Figures = {}
    for size, values in (
        ("items", (1000, 10_000, 100_000, 300_000)),
        ("history", (10, 50, 200)),
        ("concurrency", (1, 16, 64, 256)),
    ):
        for value in values:
            chosen = {size: value, "only": ("throughput", "unremembered"), "repetitions": 1, "seconds": SWEPT_SECONDS}
            with TemporaryDirectory() as folder:
                came = measure(argparse.Namespace(**vars(options) | chosen), Path(folder), lambda _: None)
            rates = {
                "known": came["throughput"]["innerloop"],
                "new": came["unremembered"]["innerloop"],
                "empty": came["throughput"]["empty"],
            }
            found.setdefault(size, {})[str(value)] = {name: each[0]["rate"] for name, each in rates.items()}
            keep(found)
    return found


async def _fill(url: str, options: argparse.Namespace) -> None:
    async with connect(url) as redis:
        await world.fill(redis, options.items, options.users, options.history)


def main() -> None:
    options = parse()
    torch.set_num_threads(1)
    asked = {name: value for name, value in vars(options).items() if name not in ("json", "plots")}
    machine = {
        "date": datetime.now(UTC).isoformat(timespec="minutes"),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "load": os.getloadavg(),
        "torch": torch.__version__,
    }

    def keep(found: Figures, whole: bool = False) -> None:
        """What there is goes into a file beside the one that was asked for, and into its place once it is whole."""
        if options.json:
            options.json.parent.mkdir(parents=True, exist_ok=True)
            aside = options.json.with_suffix(".partial")
            aside.write_text(json.dumps({"asked": asked, "machine": machine, "figures": found}, indent=1) + "\n")
            if whole:
                os.replace(aside, options.json)

    with TemporaryDirectory() as folder:
        found = measure(options, Path(folder), keep)
    if options.sweep:
        found["sweep"] = sweep(options, lambda swept: keep(found | {"sweep": swept}))
    keep(found, whole=True)
    if options.plots:
        from benchmarks.serving.plots import draw

        draw(found, options.plots)


if __name__ == "__main__":
    main()
