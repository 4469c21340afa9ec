"""The figures, each a ratio of two things measured in turn in one run: a slow moment of the machine hits both alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import httpx

from benchmarks.serving import world
from benchmarks.serving.closed import Closed, Load, closed_loop
from benchmarks.serving.hardware import bounds
from benchmarks.serving.opened import Opened, open_loop
from benchmarks.serving.processes import Server, import_seconds
from benchmarks.serving.store import events_a_second
from models import snapshot

Figure = dict[str, Any]
PAGE = 256  # users of a request
CLIENTS = 2  # who ask for so many
QUIET = 1.0  # seconds at a time
TAILS = 4  # repetitions more of what a few slow moments decide
STARTED_WITHIN = 4.0  # the generator takes a while
BEFORE_SECONDS = 5.0
SWAPPED_WITHIN = 30.0


def visit(base: str, users: int, clients: int = 1) -> None:
    """Ask for every user once, as a service that has run for a while has been asked."""

    def ask(number: int) -> None:
        with httpx.Client(base_url=base, timeout=60) as client:
            for start in range(number * PAGE, users, clients * PAGE):
                names = [f"u{user}" for user in range(start, min(start + PAGE, users))]
                client.post("/recommend/batch", json={"users": names}).raise_for_status()

    with ThreadPoolExecutor(clients) as each:
        list(each.map(ask, range(clients)))


def touch(base: str, users: int) -> None:
    """One event for every user."""
    with httpx.Client(base_url=base, timeout=60) as client:
        for start in range(0, users, 500):
            events = [
                {"user_id": f"u{user}", "item_id": "i0", "kind": "view"}
                for user in range(start, min(start + 500, users))
            ]
            client.post("/events", json={"events": events}).raise_for_status()


def in_turn(loads: Mapping[str, tuple[str, Load]], repetitions: int) -> dict[str, list[Closed]]:
    """Each load in turn, `repetitions` times over; what came of each. Once before that, unmeasured, to warm up."""
    found: dict[str, list[Closed]] = {name: [] for name in loads}
    for repetition in range(repetitions + 1):
        for name, (base, load) in loads.items():
            came = closed_loop(base, load if repetition else replace(load, seconds=QUIET))
            if came.faults:
                raise RuntimeError(f"{name}: {came.faults} requests failed")
            if repetition:
                found[name].append(came)
    return found


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, float]:
    """The median of the ratios of what was measured side by side, the lowest and the highest."""
    ratios = [one / other for one, other in zip(ours, theirs, strict=True)]
    return {"ratio": statistics.median(ratios), "lowest": min(ratios), "highest": max(ratios)}


def throughput(ours: Server, load: Load, repetitions: int) -> Figure:
    """Answers a second beside the empty route's; every user has been asked for once before."""
    visit(ours.base, load.users)
    loads = {"innerloop": (ours.base, load), "empty": (ours.base, replace(load, path="/empty", share=0.0))}
    return _beside(in_turn(loads, repetitions), "innerloop", lambda came: came.rate)


def unremembered(forgetful: Server, load: Load, repetitions: int) -> Figure:
    """The same of a service that remembers nobody: every question is one of a user who is adapted to from nothing."""
    plain = replace(load, share=0.0)
    loads = {"innerloop": (forgetful.base, plain), "empty": (forgetful.base, replace(plain, path="/empty"))}
    return _beside(in_turn(loads, repetitions), "innerloop", lambda came: came.rate)


def rival(ours: Server, forgetful: Server, theirs: Server, load: Load, repetitions: int) -> Figure:
    """Answers a second of the service, of one that remembers nobody, and of a rival, which is sent no events."""
    visit(ours.base, load.users)
    plain = replace(load, share=0.0)
    loads = {
        "innerloop": (ours.base, load),
        "innerloop, nobody remembered": (forgetful.base, plain),
        "theirs": (theirs.base, plain),
    }
    found = in_turn(loads, repetitions)
    figure: Figure = {name: [asdict(each) for each in came] for name, came in found.items()}
    for name in list(loads)[:2]:
        figure[f"{name} / theirs"] = ratio(*([each.rate for each in found[one]] for one in (name, "theirs")))
    return figure


def alone(ours: Server, load: Load, repetitions: int) -> Figure:
    """The median answer on one connection beside the empty route's."""
    visit(ours.base, load.users)
    one = replace(load, connections=1)
    loads = {"innerloop": (ours.base, one), "empty": (ours.base, replace(one, path="/empty", share=0.0))}
    return _beside(in_turn(loads, repetitions), "innerloop", lambda came: came.p50)


def again(ours: Server, load: Load, repetitions: int) -> Figure:
    """Ten users who ask the same again, with no new event."""
    few = replace(load, users=10, share=0.0)
    loads = {"innerloop": (ours.base, few), "empty": (ours.base, replace(few, path="/empty"))}
    return _beside(in_turn(loads, repetitions), "innerloop", lambda came: came.rate)


def tail(ours: Server, load: Load, peak: float, empty_peak: float, repetitions: int) -> Figure:
    """p99 over p50, open loop, at 70% of the peak rate, and in turn with it the empty route's at 70% of its own."""
    visit(ours.base, load.users)
    empty = replace(load, path="/empty", share=0.0)
    came, base = [], []
    for _ in range(repetitions + TAILS):
        came.append(open_loop(ours.port, load, 0.7 * peak).whole())
        base.append(open_loop(ours.port, empty, 0.7 * empty_peak).whole())
    return {
        "innerloop": [asdict(each) for each in came],
        "empty": [asdict(each) for each in base],
        "p99 / p50": _spread(came),
        "p99 / p50 of empty": _spread(base),
    }


def _spread(came: Sequence[Opened]) -> dict[str, float]:
    return ratio([each.p99 for each in came], [each.p50 for each in came])


def single_events(ours: Server, load: Load, repetitions: int) -> Figure:
    """One event a request beside the empty route with the same models."""
    one = replace(load, path="/events", events=1, share=0.0)
    loads = {"innerloop": (ours.base, one), "empty": (ours.base, replace(one, path="/empty-events"))}
    return _beside(in_turn(loads, repetitions), "innerloop", lambda came: came.rate)


def batched_events(ours: Server, redis_url: str, load: Load, repetitions: int, batch: int = 500) -> Figure:
    """Events a second in batches, beside what redis-server alone takes through the same script."""
    several = replace(load, path="/events", events=batch, share=0.0, connections=4)
    rates, alone = [], []
    for _ in range(repetitions):
        came = closed_loop(ours.base, several)
        if came.faults:
            raise RuntimeError(f"{came.faults} batches of events failed")
        rates.append(came.rate * batch)
        alone.append(events_a_second(redis_url, load.users, load.items, load.seconds, batch))
    return {"innerloop": rates, "redis": alone, "against redis": ratio(rates, alone)}


def many_users(ours: Server, load: Load, width: int, repetitions: int) -> Figure:
    """Users a second of POST /recommend/batch beside the matrix product of the same scoring.

    `known` asks for users who were asked for the same before, whose answers are remembered; `scored` for another number
    of items each time, nearly, so that vectors are remembered and answers are not; `changed` for users who have each
    had an event since.
    """
    batch = replace(load, path="/recommend/batch", several=PAGE, share=0.0, connections=CLIENTS)
    figure: Figure = {}
    for name in ("known", "scored", "changed"):
        rates, limits = [], []
        for _ in range(repetitions):
            limits.append(1e6 / bounds(load.items, width)["matmul_us_per_user"])
            if name != "changed":
                visit(ours.base, load.users)
                came = closed_loop(ours.base, replace(batch, varied=name == "scored"))
                if came.faults:
                    raise RuntimeError(f"{came.faults} batches of users failed")
                rates.append(came.rate * PAGE)
            else:
                touch(ours.base, load.users)
                began = time.perf_counter()
                visit(ours.base, load.users, CLIENTS)
                rates.append(load.users / (time.perf_counter() - began))
        figure |= {f"{name}, users a second": rates, f"{name}, matmul": limits}
        figure |= {f"{name} against matmul": ratio(rates, limits)}
    return figure


def swap(ours: Server, root: Path, load: Load, longest: int, peak: float, version: str, repetitions: int) -> Figure:
    """New snapshots, one after the other, under an open loop at half the peak: p99 before each and in that second.

    They are written beforehand: who trains and writes snapshots is another process, as a rule on other cores.

    Raises:
        RuntimeError: one was not served in SWAPPED_WITHIN.
    """
    newer = [world.write(root, load.items, longest, seed=1 + each, parent=version) for each in range(repetitions)]
    visit(ours.base, load.users)
    whole = replace(load, seconds=STARTED_WITHIN + repetitions * (BEFORE_SECONDS + SWAPPED_WITHIN))
    moments = []
    with ThreadPoolExecutor(1) as driver, httpx.Client(base_url=ours.base, timeout=10) as client:
        driving = driver.submit(open_loop, ours.port, whole, 0.5 * peak)
        time.sleep(STARTED_WITHIN)
        for each in newer:
            time.sleep(BEFORE_SECONDS)
            published = time.perf_counter()
            snapshot.publish(root, each)
            while client.get("/model").json()["version"] != each:
                if time.perf_counter() - published > SWAPPED_WITHIN:
                    raise RuntimeError(f"the new snapshot was not served within {SWAPPED_WITHIN:g} s")
                time.sleep(0.05)
            moments.append((published, time.perf_counter()))
        came = driving.result()
    swaps: list[dict[str, Any]] = [
        {
            "seconds until served": swapped - published,
            "before": came.between(published - BEFORE_SECONDS + 2, published),  # and not just after the last swap
            "preparing": came.between(published, swapped - 0.5),
            "that second": came.between(swapped - 0.5, swapped + 0.5),
            "after": came.between(swapped + 0.5, swapped + 2),
        }
        for published, swapped in moments
    ]
    found: Figure = {"rate": 0.5 * peak, "swaps": swaps, "failed": came.faults, "late": came.whole().late}
    for name in ("preparing", "that second", "after"):
        found[f"p99 against before, {name}"] = ratio(*([each[at]["p99"] for each in swaps] for at in (name, "before")))
    return found


def started(start: Callable[[], AbstractContextManager[Server]], repetitions: int) -> Figure:
    """Seconds from launch to the first answer, beside what importing torch, FastAPI and Redis' client alone takes."""
    ready, imports = [], []
    for _ in range(repetitions):
        imports.append(import_seconds())
        with start() as server:
            ready.append(server.ready_seconds)
    return {"ready_seconds": ready, "import_seconds": imports, "against imports": ratio(ready, imports)}


def _beside(found: Mapping[str, Sequence[Closed]], ours: str, value: Callable[[Closed], float]) -> Figure:
    figure: Figure = {name: [asdict(each) for each in came] for name, came in found.items()}
    mine = [value(came) for came in found[ours]]
    return figure | {
        f"against {name}": ratio(mine, [value(each) for each in came]) for name, came in found.items() if name != ours
    }
