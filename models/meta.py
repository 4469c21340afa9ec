"""The outer loop: episodes in, better meta-parameters out. Training from nothing and refreshing are this one loop.

Every position of every episode is a task: the events before it are the support set, the event itself is the query. The
outer loss is the softmax over the catalogue at that event, differentiated through the inner steps (MAML). Over a large
catalogue the softmax is sampled, with the log-q correction (Bengio & Senecal 2008; Yi et al. 2019).

Letters: B users, T events, P query positions, N items, d width.
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
from models.softmax import log_normaliser

FEW_SHOTS = 8


@dataclass(frozen=True, slots=True)
class OuterConfig:
    """How the outer loop runs."""

    rate: float = 1.5e-3
    residual_rate: float = 0.05  # of the rate, for the items' residuals: there are so many, and they start well
    weight_decay: float = 0.3
    batch_size: int = 32
    epochs: int = 60
    patience: int = 10  # epochs without a better validation before it stops
    shuffled: float = 0.5  # share of episodes whose events are put in random order
    windows: int = 2  # windows of one user an epoch, at most
    positions: int = 1024  # query positions scored a meta-step; more are sampled down to these
    negatives: int = 8192  # items a sampled softmax draws
    full_softmax: int = 30_000  # catalogues up to this size are scored whole
    horizon: float = 0.8  # in an ordered episode, the weight of a target one event further ahead
    against: float = 0.5  # weight of the loss that pushes down what users spoke against
    averaging: float = 0.98  # how much of the running average of the parameters a meta-step keeps
    exclude_seen: bool = True  # leave what was taken out of the softmax, as the service leaves it out of answers
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
        share = (popularity + 1).sqrt()
        self.share = share / share.sum()
        self.rng = np.random.default_rng(config.seed)
        self.generator = torch.Generator().manual_seed(config.seed)
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

    def loss(self, batch: Support) -> Tensor:
        """Softmax loss of what users went on to take, and what it takes to push down what they spoke against.

        In an episode without order every later event is as good a target as the next; in an ordered one, later targets
        count less by `horizon` an event. Each position's targets sum to a weight of 1. Where there are more positions
        than are scored, those with few shots are preferred in episodes without order: they stand for new users.
        """
        vectors, biases = self.learner.catalogue()
        users = self.learner(vectors, batch)[:, :-1]  # (B, T, d): what each event was predicted from
        weights = self._target_weights(batch)
        at = self._positions(batch)
        hits = users @ vectors[batch.rows].transpose(1, 2) + biases[batch.rows][:, None, :]  # (B, T, T)
        hit, weight = hits.flatten(0, 1)[at], weights.flatten(0, 1)[at]  # (P, T)
        normaliser = self.log_normaliser(users.flatten(0, 1)[at], vectors, biases)
        if self.config.exclude_seen:
            share_seen = (_seen(batch).flatten(0, 1)[at] * (hit - normaliser[:, None]).exp()).sum(-1)
            normaliser = normaliser + torch.log1p(-share_seen.clamp(max=0.999))
        aimed = weight.sum(-1) > 0
        share = weight / weight.sum(-1, keepdim=True).clamp(min=1e-9)
        loss: Tensor = ((normaliser - (share * hit).sum(-1)) * aimed).sum() / aimed.sum().clamp(min=1)
        disliked = (batch.mask & (batch.preference < 0)).flatten()[at]
        if self.config.against > 0 and disliked.any():
            own = hits.diagonal(dim1=1, dim2=2).flatten()[at]
            p = (own - normaliser)[disliked].exp().clamp(max=1 - 1e-6)
            loss = loss - self.config.against * torch.log1p(-p).sum() / len(at)
        return loss

    def _target_weights(self, batch: Support) -> Tensor:
        """How much event s is a target of position t, (B, T, T)."""
        ahead = _ahead(batch)
        fading = torch.where(batch.ordered[:, None, None], self.config.horizon, 1.0) ** ahead.clamp(min=0)
        liked = batch.mask & (batch.preference > 0)
        return fading * (ahead >= 0) * liked[:, None, :]

    def _positions(self, batch: Support) -> Tensor:
        """The positions to score, (P,), of the B * T."""
        at = batch.mask.flatten().nonzero().squeeze(1)
        if len(at) <= self.config.positions:
            return at
        shots = batch.mask.cumsum(1) - 1
        chance = torch.where(batch.ordered[:, None], 1.0, FEW_SHOTS / (shots + FEW_SHOTS / 2)).flatten()[at].cpu()
        return at[torch.multinomial(chance, self.config.positions, generator=self.generator).to(at.device)]

    def log_normaliser(self, queries: Tensor, vectors: Tensor, biases: Tensor) -> Tensor:
        """log sum_i exp score(query, i), (P,): over all items, or estimated from a sample of a large catalogue."""
        if len(vectors) <= self.config.full_softmax:
            return log_normaliser(queries, vectors, biases)
        drawn = torch.multinomial(self.share, self.config.negatives, replacement=True, generator=self.generator)
        expected = torch.log(self.share[drawn] * self.config.negatives)
        return log_normaliser(queries, vectors[drawn], biases[drawn] - expected)

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


def _ahead(batch: Support) -> Tensor:
    """How far event s lies ahead of position t, (T, T)."""
    index = torch.arange(batch.rows.shape[1], device=batch.rows.device)
    return index[None, :] - index[:, None]


def _seen(batch: Support) -> Tensor:
    """Whether event s was the last of its item before position t, (B, T, T): taken, and not to come again."""
    index = torch.arange(batch.rows.shape[1], device=batch.rows.device)
    same = batch.rows[:, :, None] == batch.rows[:, None, :]
    last = (same & batch.mask[:, None, :]).long().mul(index).amax(-1)
    return (last == index)[:, None, :] & (_ahead(batch) < 0) & batch.mask[:, None, :]


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
