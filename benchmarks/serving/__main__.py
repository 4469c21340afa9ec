r"""Load against the service as shipped, and every figure beside a limit or a rival in the same run.

    python -m benchmarks.serving --items 10000 --history 50 --concurrency 64 --seconds 10 --against empty,naive \
        --json OUT.json
    python -m benchmarks.serving --only throughput,alone --cache 0

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
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from app.embedded import EmbeddedRedis
from app.store import connect
from benchmarks.serving import figures, world
from benchmarks.serving.closed import Load
from benchmarks.serving.hardware import bounds
from benchmarks.serving.processes import Server, free_port, import_seconds, serving
from benchmarks.serving.steps import steps
from models import snapshot

SECTIONS = ("steps", "first", "throughput", "alone", "again", "tail", "events", "batch", "start", "swap")


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
        "--against", default="empty", help="any of empty,naive,implicit,melu,litserve,ray; commas between"
    )
    parser.add_argument("--only", default=",".join(SECTIONS), help="sections, with commas between them")
    parser.add_argument("--cache", help="INNERLOOP_CACHE of the service")
    parser.add_argument("--sweep", action="store_true", help="also measure against items, history and connections")
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--plots", type=Path, help="draw the figures into this folder")
    return parser.parse_args()


def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Every figure that was asked for."""
    sections = options.only.split(",")
    load = Load(
        users=options.users,
        items=options.items,
        share=options.share,
        connections=options.concurrency,
        seconds=options.seconds,
    )
    width = world.CONFIG.rank
    with ExitStack() as stack:
        redis = stack.enter_context(EmbeddedRedis(folder / "redis"))
        version = world.write(folder / "snapshots", options.items)
        snapshot.publish(folder / "snapshots", version)
        asyncio.run(_fill(redis.url, options))
        environment = {
            "INNERLOOP_REDIS_URL": redis.url,
            "INNERLOOP_SNAPSHOT": str(folder / "snapshots"),
            "INNERLOOP_DATA_FOLDER": str(folder),
        }
        if options.cache is not None:
            environment["INNERLOOP_CACHE"] = options.cache

        def start(name: str) -> Server:
            port = free_port()
            module = {"litserve": "lit", "ray": "ray_serve"}.get(name, "service")
            command = [sys.executable, "-m", f"benchmarks.serving.{module}", name, "--port", str(port)]
            return stack.enter_context(serving(command, port, folder / f"{name}.log", environment))

        found: dict[str, Any] = {"hardware": bounds(options.items, width)}
        print(json.dumps(found), flush=True)

        def section(name: str, figure: dict[str, Any]) -> None:
            found[name] = figure
            print(
                name,
                json.dumps({key: value for key, value in figure.items() if not isinstance(value, list)}),
                flush=True,
            )

        if "steps" in sections:
            section("steps", steps(folder / "snapshots" / version, options.items, options.history))
        ours = start("innerloop")
        rivals = {name: start(name) for name in options.against.split(",") if name not in ("", "empty")}
        if "first" in sections:
            section("first", figures.first(ours, load))
        repetitions = options.repetitions
        peak = 0.0
        if {"throughput", "tail", "swap"} & set(sections):
            section("throughput", figures.throughput(ours, rivals, load, repetitions))
            peak = max(came["rate"] for came in found["throughput"]["innerloop"])
        if "alone" in sections:
            section("alone", figures.alone(ours, load, repetitions))
        if "again" in sections:
            section("again", figures.again(ours, load, repetitions))
        if "tail" in sections:
            section("tail", figures.tail(ours, load, peak, repetitions))
        if "swap" in sections:
            section("swap", figures.swap(ours, folder / "snapshots", load, peak, version, repetitions))
        if "batch" in sections:
            section("batch", figures.many_users(ours, load, width, repetitions))
        if "start" in sections:
            imports = import_seconds()
            section(
                "start",
                {
                    "ready_seconds": ours.ready_seconds,
                    "import_seconds": imports,
                    "ratio": ours.ready_seconds / imports,
                    "megabytes": ours.megabytes,
                },
            )
        if "events" in sections:
            section("events", figures.single_events(ours, load, repetitions))
            section("events in batches", figures.batched_events(ours, redis.url, load, repetitions))
    return found


def sweep(options: argparse.Namespace) -> dict[str, Any]:
    """Answers a second beside the empty route's against each size in turn, the others as asked."""
    found: dict[str, Any] = {}
    for size, values in (
        ("items", (1000, 10_000, 100_000)),
        ("history", (10, 50, 200)),
        ("concurrency", (1, 16, 64, 256)),
    ):
        for value in values:
            given = argparse.Namespace(**vars(options) | {size: value, "only": "first,throughput", "against": "empty"})
            given.repetitions = 1
            with TemporaryDirectory() as folder:
                came = measure(given, Path(folder))
            found.setdefault(size, {})[str(value)] = {
                "known": came["throughput"]["against empty"]["ratio"],
                "new": came["first"]["against empty"],
            }
    return found


async def _fill(url: str, options: argparse.Namespace) -> None:
    async with connect(url) as redis:
        await world.fill(redis, options.items, options.users, options.history)


def main() -> None:
    options = parse()
    torch.set_num_threads(1)
    with TemporaryDirectory() as folder:
        found = measure(options, Path(folder))
    if options.sweep:
        found["sweep"] = sweep(options)
    asked = {name: value for name, value in vars(options).items() if name not in ("json", "plots")}
    machine = {
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "load": os.getloadavg(),
        "torch": torch.__version__,
    }
    if options.plots:
        from benchmarks.serving.plots import draw

        draw(found, options.plots)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps({"asked": asked, "machine": machine, "figures": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
