"""What the machine itself allows at this moment: the matrix product and the copy that scoring cannot do without."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch


def bounds(items: int, width: int, users: int = 256, repetitions: int = 20) -> dict[str, float]:
    """Microseconds a user: the product (users, width) x (width, items), and one copy of the items' vectors."""
    torch.set_num_threads(1)
    queries, vectors = torch.randn(users, width), torch.randn(items, width)
    product = torch.empty(users, items)
    copy = torch.empty_like(vectors)
    return {
        "matmul_us_per_user": _best(lambda: torch.mm(queries, vectors.T, out=product), repetitions) / users,
        "copy_us_per_user": _best(lambda: copy.copy_(vectors), repetitions) / users,
    }


def _best(work: Callable[[], object], repetitions: int) -> float:
    """Microseconds of the median of so many calls, after one that warms up."""
    work()
    times = []
    for _ in range(repetitions):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return sorted(times)[len(times) // 2] * 1e6
