"""The closed loop: wrk, where every connection sends its next request when it has the answer to the one before."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

SCRIPT = Path(__file__).with_name("load.lua")


@dataclass(frozen=True, slots=True)
class Load:
    """What wrk asks for: see load.lua. Times in seconds."""

    path: str = "/recommend"
    users: int = 10_000
    items: int = 10_000
    share: float = 0.0  # of the asking users have just done something
    events: int = 0  # a request, in place of asking
    several: int = 0  # users a request
    varied: bool = False  # how many items each of those requests asks for: 1 to 20, else 10
    connections: int = 64
    seconds: float = 10.0


@dataclass(frozen=True, slots=True)
class Closed:
    """What came of it. Rates are of answers, or of requests with events where only those were sent; times in ms."""

    rate: float
    p50: float
    p99: float
    mean: float
    faults: int


def closed_loop(base: str, load: Load) -> Closed:
    """Load `base` and measure. Raises RuntimeError where wrk is missing or fails."""
    wrk = shutil.which("wrk")
    if wrk is None:
        raise RuntimeError("wrk is not installed: apt-get install wrk, or brew install wrk")
    arguments = (load.path, load.users, load.items, load.share, load.events, load.several, int(load.varied))
    command = [wrk, "-t1", f"-c{load.connections}", f"-d{max(1, round(load.seconds))}s", "--timeout", "10s", "-s"]
    ran = subprocess.run(
        [*command, str(SCRIPT), base, "--", *map(str, arguments)], capture_output=True, text=True, check=False
    )
    if ran.returncode:
        raise RuntimeError(f"wrk failed: {ran.stderr or ran.stdout}")
    found = json.loads(ran.stdout.strip().splitlines()[-1])
    counted = found["asked"] or found["sent"]
    answered = found["requests"] * counted / max(found["asked"] + found["sent"], 1)
    seconds = found["microseconds"] / 1e6
    return Closed(answered / seconds, found["p50"] / 1e3, found["p99"] / 1e3, found["mean"] / 1e3, found["faults"])
