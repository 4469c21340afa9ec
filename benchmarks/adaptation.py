"""What one answer costs inside the learner: adapting, scoring and the top K, for one user and for a batch.

Run it with `python -m benchmarks.adaptation` (or `make bench`). Figures are medians with the 10th and 90th percentile,
and ratios are taken side by side in one run, since machines differ and are noisy. Each repetition measures all
contenders in turn, so that a slow moment hits them alike:

    adapt                   the learner's user vectors, step by step; the service runs them traced
    score + top K           one matrix product with all item vectors, then the exact top 10
    inner loop, as served   one inner loop of a block, read at one query in the dual form
    inner loop, gradient    the same by fast weights and the written-out gradient
    inner loop, autograd    the same by torch.func.grad and vmap, as one would write it first
    copy                    the time to copy the item vectors in memory: what scoring cannot beat alone
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.func import grad, vmap

from models.adapt import adapt, read
from models.episode import History, pack
from models.index import Exact
from models.learner import Learner, LearnerConfig


def autograd_adapt(W0: Tensor, keys: Tensor, values: Tensor, weights: Tensor, step_sizes: Tensor) -> Tensor:
    """`models.adapt.adapt` as torch.func would have it: the loss written down, the gradient left to autograd."""

    def loss(W: Tensor, k: Tensor, v: Tensor, a: Tensor) -> Tensor:
        return 0.5 * (a[:, None] * (k @ W.T - v).square()).sum()

    W = W0.expand(len(keys), *W0.shape)
    for step_size in step_sizes:
        W = W - step_size[:, None, None] * vmap(vmap(grad(loss)))(W, keys, values, weights)
    return W


def timed(work: Callable[[], object]) -> float:
    """Milliseconds that one call takes."""
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1000


def measure(items: int, events: int, batch: int, config: LearnerConfig, repetitions: int) -> dict[str, list[float]]:
    """Milliseconds of each contender, `repetitions` times, measured in turn."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    learner = Learner(config, torch.nn.functional.normalize(torch.randn(items, config.rank + 1), dim=-1)).eval()
    vectors, biases = learner.catalogue()
    index = Exact(vectors, biases)
    histories = [
        History(rng.integers(0, items, events), np.zeros(events, np.int64), np.ones(events, np.float32))
        for _ in range(batch)
    ]
    support = pack(histories, config.length)
    users = learner.user_vectors(vectors, support)
    allowed = torch.ones(batch, items, dtype=torch.bool)
    D = config.width // config.heads
    inner: dict[str, Any] = {
        "W0": torch.randn(config.heads, D, D),
        "keys": torch.nn.functional.normalize(torch.randn(batch, config.heads, events, D), dim=-1),
        "values": torch.randn(batch, config.heads, events, D),
        "weights": torch.rand(batch, config.heads, events) / events,
        "step_sizes": torch.ones(max(config.steps, 1), config.heads),
    }
    query = torch.nn.functional.normalize(torch.randn(batch, config.heads, 1, D), dim=-1)
    torch.testing.assert_close(adapt(**inner), autograd_adapt(**inner), atol=1e-4, rtol=1e-4)
    contenders: dict[str, Callable[[], object]] = {
        "adapt": lambda: learner.user_vectors(vectors, support),
        "score + top K": lambda: index.search(users, allowed, 10),
        "inner loop, as served": lambda: read(**(inner | {"weights": inner["weights"][:, :, None]}), queries=query),
        "inner loop, gradient": lambda: query @ adapt(**inner).transpose(-1, -2),
        "inner loop, autograd": lambda: query @ autograd_adapt(**inner).transpose(-1, -2),
        "copy": lambda: vectors.clone(),
    }
    for work in contenders.values():
        work()
    found: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(repetitions):
        for name, work in contenders.items():
            found[name].append(timed(work))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--events", type=int, default=50, help="events in each history")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 16, 64, 256], help="users a batch")
    parser.add_argument("--steps", type=int, default=1, help="inner steps, K")
    parser.add_argument("--repetitions", type=int, default=50)
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    config = LearnerConfig(heads=2, recall="unordered", steps=options.steps, length=max(options.events, 1))
    results = []
    print(
        f"{options.items:,} items, {options.events} events, K = {options.steps}, {options.threads} thread(s); "
        "milliseconds a batch"
    )
    print(f"{'batch':>6}  {'contender':<26}{'median':>9}{'p10':>9}{'p90':>9}{'us a user':>11}")
    with torch.inference_mode(False), torch.no_grad():
        for batch in options.batches:
            found = measure(options.items, options.events, batch, config, options.repetitions)
            for name, times in found.items():
                low, median, high = np.percentile(times, [10, 50, 90])
                print(f"{batch:>6}  {name:<26}{median:>9.3f}{low:>9.3f}{high:>9.3f}{median / batch * 1000:>11.1f}")
                results.append({"batch": batch, "contender": name, "median_ms": median, "p10_ms": low, "p90_ms": high})
            ratio = np.median(np.array(found["inner loop, autograd"]) / np.array(found["inner loop, as served"]))
            print(f"{batch:>6}  autograd / as served: {ratio:.1f} times\n")
    if options.json:
        asked = {name: value for name, value in vars(options).items() if name != "json"}
        about = asked | {"machine": platform.machine(), "torch": torch.__version__}
        options.json.write_text(json.dumps(about | {"results": results}, indent=2) + "\n")


if __name__ == "__main__":
    main()
