"""The outer loop: episodes in, better meta-parameters out. Training from nothing and refreshing are this one loop.

The outer loss is differentiated through the inner steps (MAML).

Letters: B users, N items.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.episode import History, Support, windows
from models.learner import Learner
from models.loss import Loss, LossConfig


@dataclass(frozen=True, slots=True)
class OuterConfig(LossConfig):
    """How the outer loop runs, and what it lowers."""

    rate: float = 1.5e-3
    residual_rate: float = 0.05  # of the rate, for the items' residuals: there are so many, and they start well
    weight_decay: float = 0.3
    batch_size: int = 32
    epochs: int = 60
    patience: int = 10  # epochs without a better validation before it stops
    shuffled: float = 0.5  # share of episodes whose events are put in random order
    windows: int = 2  # windows of one user an epoch, at most
    averaging: float = 0.98  # how much of the running average of the parameters a meta-step keeps
    seed: int = 0

    def to_dict(self) -> dict[str, Any]:
        """As a manifest keeps it."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Progress:
    """What a progress bar shows. `validation` is 0 until the first epoch has ended."""

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    validation: float
    best: float


class OuterLoop:
    """Owns the optimiser and its place in the training; `state` and `load_state` make it resumable."""

    def __init__(self, learner: Learner, config: OuterConfig, popularity: Tensor) -> None:
        """`popularity`: how often each item was taken, (N,); sampled negatives follow its square root."""
        self.learner, self.config = learner, config
        residual = learner.tower.residual
        decayed = [p for p in learner.parameters() if p.ndim > 1 and p is not residual]
        plain = [p for p in learner.parameters() if p.ndim <= 1]
        self.optimiser = torch.optim.AdamW(
            [
                {"params": decayed, "weight_decay": config.weight_decay},
                {"params": [residual], "weight_decay": config.weight_decay, "lr": config.rate * config.residual_rate},
                {"params": plain, "weight_decay": 0.0},
            ],
            lr=config.rate,
        )
        self.rng = np.random.default_rng(config.seed)
        self.generator = torch.Generator().manual_seed(config.seed)
        self.loss = Loss(learner, config, popularity, self.generator)
        self.average = {name: tensor.detach().clone() for name, tensor in learner.named_parameters()}
        self.epoch = 0
        self.best, self.best_epoch = -1.0, 0
        self.best_parameters: dict[str, Tensor] = {}

    def run_epoch(
        self, histories: Sequence[History], on_step: Callable[[int, int, float], None] | None = None
    ) -> float:
        """One pass over the histories; gives the mean loss. `on_step` is told (step, steps, loss so far)."""
        self.learner.train()
        length, size = self.learner.config.length, self.config.batch_size
        batches = list(windows(histories, length, size, self.config.shuffled, self.rng, self.config.windows))
        total = 0.0
        for number, batch in enumerate(batches, 1):
            total += self.meta_step(batch)
            if on_step:
                on_step(number, len(batches), total / number)
        self.epoch += 1
        return total / max(len(batches), 1)

    def meta_step(self, batch: Support) -> float:
        """One step of the outer optimiser on episodes of B users; gives the loss."""
        loss = self.loss(batch)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.learner.parameters(), 5.0)
        self.optimiser.step()
        with torch.no_grad():
            for name, parameter in self.learner.named_parameters():
                self.average[name].lerp_(parameter, 1 - self.config.averaging)
        return float(loss.detach())

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Within it the learner holds the running average of its parameters, which is what is validated and kept."""
        latest = {name: parameter.detach().clone() for name, parameter in self.learner.named_parameters()}
        self.learner.load_state_dict(self.average, strict=False)
        yield
        self.learner.load_state_dict(latest, strict=False)

    def keep_if_best(self, validation: float) -> bool:
        """Remember the parameters if no epoch validated better."""
        if validation <= self.best:
            return False
        self.best, self.best_epoch = validation, self.epoch
        self.best_parameters = {name: tensor.detach().clone() for name, tensor in self.learner.state_dict().items()}
        return True

    @property
    def finished(self) -> bool:
        """Whether the epochs are used up, or too many have passed without a better validation."""
        return self.epoch >= self.config.epochs or self.epoch - self.best_epoch >= self.config.patience

    def state(self) -> dict[str, Any]:
        """Everything a later process needs to go on as if nothing had happened."""
        return {
            "config": self.config.to_dict(),
            "epoch": self.epoch,
            "best": self.best,
            "best_epoch": self.best_epoch,
            "best_parameters": self.best_parameters,
            "parameters": self.learner.state_dict(),
            "average": self.average,
            "optimiser": self.optimiser.state_dict(),
            "rng": self.rng.bit_generator.state,
            "generator": self.generator.get_state(),
            "dropout": torch.get_rng_state(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from `state`.

        Raises:
            ValueError: the state was made with another config.
        """
        if state["config"] != self.config.to_dict():
            raise ValueError("the checkpoint was made with other settings; remove it to start again")
        self.learner.load_state_dict(state["parameters"])
        self.average = state["average"]
        self.optimiser.load_state_dict(state["optimiser"])
        self.epoch, self.best, self.best_epoch = state["epoch"], state["best"], state["best_epoch"]
        self.best_parameters = state["best_parameters"]
        self.rng.bit_generator.state = state["rng"]
        self.generator.set_state(state["generator"])
        torch.set_rng_state(state["dropout"])


def train(
    loop: OuterLoop,
    histories: Sequence[History],
    validate: Callable[[], float],
    *,
    checkpoint: Path | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> float:
    """Run the outer loop until it stops improving, and leave the best parameters in the learner.

    Args:
        histories: the warm users'.
        validate: scores the learner as it stands, the higher the better.
        checkpoint: written after every epoch, so that an interrupted training goes on from there; read at the start
            where it exists.
    Returns:
        The best validation.
    """
    if checkpoint and checkpoint.exists():
        loop.load_state(torch.load(checkpoint, weights_only=True))
    latest = max(loop.best, 0.0)

    def show(step: int, steps: int, loss: float) -> None:
        if progress:
            progress(Progress(loop.epoch + 1, loop.config.epochs, step, steps, loss, latest, max(loop.best, 0.0)))

    while not loop.finished:
        loop.run_epoch(histories, show)
        with loop.averaged():
            latest = validate()
            loop.keep_if_best(latest)
        if checkpoint:
            aside = checkpoint.with_suffix(".tmp")
            torch.save(loop.state(), aside)
            aside.replace(checkpoint)
    loop.learner.load_state_dict(loop.best_parameters)
    loop.learner.eval()
    return loop.best
