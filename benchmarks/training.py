"""What one meta-step costs, and what made it cheaper: the same episodes in the same run, variant beside variant.

    python -m benchmarks.training --data PATH [--steps 20] [--rounds 3] [--threads 1] [--json OUT.json]

    whole     the first version of the loss: autograd over the logits of all items, held whole, (P, N)
    chunks    the catalogue passed in chunks that stay in cache, their logits made again on the way back
    half      the same with its matrix products in bfloat16
    sasrec    the strongest opponent's step, on the same batches, in the size that its search found on Amazon Beauty:
              full softmax, its logits held whole

Every variant runs in a process of its own, so that its peak memory is its own, and the rounds go from variant to
variant, so that whatever else the machine does falls on all of them. Seconds are of the processor.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.corpus import Corpus
from benchmarks.cost import Cost
from benchmarks.host import machine
from benchmarks.opponents.innerloop import place
from benchmarks.opponents.sasrec import loss
from benchmarks.opponents.transformer import Transformer
from benchmarks.protocols import loo
from benchmarks.task import Limits
from models import recipe
from models.episode import Support, windows
from models.loss import Loss
from models.meta import OuterLoop
from models.sizes import sized

VARIANTS = ("whole", "chunks", "half", "sasrec")
WARM = 3


def main() -> None:
    """Run every variant as often as asked, in turn, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=20, help="meta-steps timed a round (default: 20)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds (default: 3)")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch (default: 1)")
    parser.add_argument("--cache", type=Path, default=Path(".innerloop/content.sqlite"))
    parser.add_argument("--json", type=Path, help="where to keep the figures")
    parser.add_argument("--variant", choices=VARIANTS, help=argparse.SUPPRESS)  # the process of one
    options = parser.parse_args()
    if options.variant:
        print(json.dumps(measured(options)))
        return
    found: dict[str, list[dict[str, float]]] = {name: [] for name in VARIANTS}
    for number in range(options.rounds):
        for name in VARIANTS:
            print(f"round {number + 1}/{options.rounds}: {name}", file=sys.stderr)
            command = [sys.executable, "-m", "benchmarks.training", *sys.argv[1:], "--variant", name]
            out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            found[name].append(json.loads(out.splitlines()[-1]))
    rows = {name: summary(rounds, found["whole"]) for name, rounds in found.items()}
    print(f"{'variant':<10}{'ms a step':>12}{'lowest':>9}{'highest':>9}{'/ whole':>9}{'steps/s':>9}{'MiB':>8}")
    for name, row in rows.items():
        print(
            f"{name:<10}{row['ms']:>12.1f}{row['lowest']:>9.1f}{row['highest']:>9.1f}"
            f"{row['ratio']:>9.2f}{1000 / row['ms']:>9.1f}{row['memory']:>8.0f}"
        )
    if options.json:
        about = {
            "data": options.data.name,
            "steps": options.steps,
            "rounds": options.rounds,
            "threads": options.threads,
            "date": datetime.now(UTC).isoformat(timespec="minutes"),
            "machine": machine(Limits()),
        }
        options.json.write_text(json.dumps({"about": about, "variants": rows}, indent=1) + "\n")


def summary(rounds: list[dict[str, float]], whole: list[dict[str, float]]) -> dict[str, float]:
    """Median and spread, and the median of each round's ratio to `whole`."""
    steps = [one["ms"] for one in rounds]
    ratios = [one["ms"] / first["ms"] for one, first in zip(rounds, whole, strict=True)]
    return {
        "ms": statistics.median(steps),
        "lowest": min(steps),
        "highest": max(steps),
        "ratio": statistics.median(ratios),
        "memory": max(one["memory"] for one in rounds),
    }


def measured(options: argparse.Namespace) -> dict[str, float]:
    """One variant's milliseconds a step, and the most MiB that the steps held."""
    torch.set_num_threads(options.threads)
    corpus = Corpus.read(options.data, options.cache)
    histories = [place(one, np.arange(corpus.items), signed=False) for one in loo.parts(corpus)[0].task.train]
    plan = recipe.plan(sized(corpus.dataset, ordered=True) | {"half": options.variant == "half"})
    rng = np.random.default_rng(0)
    drawn = windows(histories, plan.learner.length, plan.outer.batch_size, plan.outer.shuffled, rng, plan.outer.windows)
    batches = [batch for batch, _ in islice(drawn, WARM + options.steps)]
    step = opponent(corpus, plan) if options.variant == "sasrec" else ours(corpus, plan, histories, options.variant)
    with Cost() as cost:  # watched within the steps too: the logits are gone after each
        for batch in batches[:WARM]:
            step(batch)
        began = time.process_time()
        for batch in batches[WARM:]:
            step(batch)
        spent = time.process_time() - began
    return {"ms": 1000 * spent / len(batches[WARM:]), "memory": cost.memory["host"]}


def ours(corpus: Corpus, plan: recipe.Plan, histories: Any, variant: str) -> Any:
    """A meta-step of the recipe's learner."""
    learner, popularity = recipe.begin(plan, corpus.texts, torch.from_numpy(corpus.content), histories)
    loop = OuterLoop(learner, plan.outer, popularity)
    if variant == "whole":
        loop.loss = Whole(learner, plan.outer, popularity, loop.generator)
    learner.train()
    return loop.meta_step


class Whole(Loss):
    """The loss with its logits held whole."""

    def log_normaliser(self, queries: Tensor, vectors: Tensor, biases: Tensor, taken: Tensor) -> Tensor:
        del taken
        return (queries @ vectors.T + biases).logsumexp(-1)


def opponent(corpus: Corpus, plan: recipe.Plan) -> Any:
    """A step of SASRec as its search on Amazon Beauty left it, at our length."""
    network = Transformer(corpus.items, 128, 2, 4, plan.learner.length, 0.3, normalised=False)
    optimiser = torch.optim.AdamW(network.parameters(), 1e-3)
    network.train()

    def step(batch: Support) -> None:
        found = loss(network, batch, 0.1, unseen=True)
        optimiser.zero_grad(set_to_none=True)
        found.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimiser.step()

    return step


if __name__ == "__main__":
    main()
