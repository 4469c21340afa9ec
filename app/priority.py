"""Who makes way for whom where there are more to run than processors."""

from __future__ import annotations

import contextlib
import os
import sys
import threading

LOWEST = 19


def make_way(by: int) -> None:
    """Let the calling thread, and those that it starts, leave processors to others: it is nicer `by` so much.

    Threads have priorities of their own on Linux alone; elsewhere, and where a sandbox forbids it, nothing is changed.
    """
    if sys.platform == "linux":
        thread = threading.get_native_id()
        with contextlib.suppress(OSError):
            now = os.getpriority(os.PRIO_PROCESS, thread)
            os.setpriority(os.PRIO_PROCESS, thread, min(now + by, LOWEST))
