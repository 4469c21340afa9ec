"""The outer loop: episodes in, better meta-parameters out. Training from nothing and refreshing are this one loop.

Three algorithms move the meta-parameters theta. L is the outer loss on a batch's episodes, whose every position is a
task; W_K are the fast weights of every inner loop, in the adaptation blocks and the recall.

    maml     theta <- AdamW(theta, dL(W_K) / dtheta), differentiated through the inner steps (Finn et al. 2017,
             arXiv:1703.03400)
    fomaml   the same with the inner gradients taken for constants (ibid., section 5.2): W_0, the step sizes and the
             queries learn, what makes keys, values and weights does not, save by other ways to the loss
    reptile  theta <- theta + epsilon (theta' - theta), with theta' where some gradient steps on the batch's L take all
             parameters, the inner loops being part of the network as any layer is; epsilon falls linearly to 0
             (Nichol et al. 2018, arXiv:1803.02999)

Letters: B users, N items.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from models.episode import History, Support, windows
from models.learner import Learner
from models.loss import Loss, LossConfig
from models.progress import Progress

Algorithm = Literal["maml", "fomaml", "reptile"]
FIRST, SECOND = "moments.first.", "moments.second."
"""What the names of moments begin with, in a snapshot."""
MOMENTS = (FIRST, SECOND), ("exp_avg", "exp_avg_sq")
"""These, and what AdamW calls the moments."""
LONG = 1e5
"""Steps after which AdamW corrects no moment any longer for having begun at 0."""


@dataclass(frozen=True, slots=True)
class OuterConfig(LossConfig):
    """How the outer loop runs, and what it lowers. `models.sizes.sized` chooses anew, by the data, what depends on it.

    Raises:
        ValueError: there is no such algorithm.
    """

    algorithm: Algorithm = "maml"
    task_steps: int = 5  # Reptile's gradient steps on a batch, before the meta-parameters follow
    follow: float = 1.0  # Reptile's epsilon at first: the share of the way they follow
    rate: float = 1.5e-3
    residual_rate: float = 0.05  # of the rate, for the items' residuals: there are so many, and they start well
    weight_decay: float = 0.3
    batch_size: int = 32
    epochs: int = 60
    patience: int = 10  # epochs without a better validation before it stops
    shuffled: float = 0.5  # share of episodes whose events are put in random order
    windows: int = 2  # windows of one user an epoch, at most
    settling: int = 0  # events not scored at the start of a window that begins in the middle of a history
    averaging: float = 0.98  # how much of the running average of the parameters a meta-step keeps
    continued: bool = False  # whether a refresh goes on with the training, or begins in closed form
    refreshing: float = 0.02  # of the rate, in a refresh that begins in closed form: few steps, and no average of them
    seed: int = 0

    def __post_init__(self) -> None:
        if self.algorithm not in get_args(Algorithm):
            raise ValueError(f"there is no algorithm {self.algorithm}; there are {', '.join(get_args(Algorithm))}")

    def to_dict(self) -> dict[str, Any]:
        """As a manifest keeps it."""
        return asdict(self)


class OuterLoop:
    """Owns the optimiser and its place in the training; `state` and `load_state` make it resumable."""

    def __init__(self, learner: Learner, config: OuterConfig, popularity: Tensor) -> None:
        """Args:
        learner: on the device where it is to be trained; episodes are moved there.
        popularity: how often each item was taken, (N,); sampled negatives follow its square root.
        """
        self.learner, self.config = learner, config
        learner.differentiate(first_order=config.algorithm == "fomaml")
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
            betas=(0.0 if config.algorithm == "reptile" else 0.9, 0.999),  # no momentum from one task to the next
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
        config = self.config
        batches = list(windows(histories, length, size, config.shuffled, self.rng, config.windows, config.settling))
        total = 0.0
        for number, (batch, scored) in enumerate(batches, 1):
            total += self.meta_step(batch, scored)
            if on_step:
                on_step(number, len(batches), total / number)
        self.epoch += 1
        return total / max(len(batches), 1)

    def meta_step(self, batch: Support, scored: Tensor | None = None) -> float:
        """Move the meta-parameters by the episodes of B users; gives their loss before. `scored` as `Loss` takes it."""
        device = self.learner.prior.device
        batch, scored = batch.to(device), None if scored is None else scored.to(device)
        step = self._reptile if self.config.algorithm == "reptile" else self._descend
        loss = step(batch, scored)
        with torch.no_grad():
            for name, parameter in self.learner.named_parameters():
                self.average[name].lerp_(parameter, 1 - self.config.averaging)
        return loss

    def _descend(self, batch: Support, scored: Tensor | None) -> float:
        """One step of the optimiser down the loss of these episodes; gives it."""
        loss = self.loss(batch, scored)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.learner.parameters(), 5.0)
        self.optimiser.step()
        return float(loss.detach())

    def _reptile(self, batch: Support, scored: Tensor | None) -> float:
        """theta <- theta + epsilon (theta' - theta), theta' being where `task_steps` steps on these episodes lead.

        As in the paper the steps are Adam's without momentum, whose second moments pass from task to task. epsilon
        falls from `follow` linearly in the epochs, to 0 where they are used up.
        """
        start = [parameter.detach().clone() for parameter in self.learner.parameters()]
        losses = [self._descend(batch, scored) for _ in range(self.config.task_steps)]
        epsilon = self.config.follow * max(0.0, 1 - self.epoch / self.config.epochs)
        with torch.no_grad():
            for parameter, origin in zip(self.learner.parameters(), start, strict=True):
                parameter.copy_(origin.lerp_(parameter, epsilon))
        return losses[0]

    def moments(self) -> dict[str, Tensor]:
        """AdamW's means of each parameter's gradients and of their squares, by `FIRST` and `SECOND` and its name."""
        found: dict[str, Tensor] = {}
        for name, parameter in self.learner.named_parameters():
            if state := self.optimiser.state.get(parameter):
                for beta, prefix, key in zip(self.optimiser.defaults["betas"], *MOMENTS, strict=True):
                    unbiased = state[key] / (1 - beta ** float(state["step"]))
                    found[prefix + name] = unbiased.detach().cpu()
        return found

    def take_up(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on with an earlier loop's moments; new items and kinds have the others' mean square, and are at rest."""
        for name, parameter in self.learner.named_parameters():
            if SECOND + name not in tensors or not tensors[SECOND + name].any():
                continue
            first, second = tensors[FIRST + name], tensors[SECOND + name]
            if parameter.ndim:
                new = second.new_zeros(len(parameter) - len(second), *second.shape[1:])
                first, usual = torch.cat([first, new]), second.mean(0)
                second = torch.cat([second, new])
                second = torch.where(second > 0, second, usual)
            self.optimiser.state[parameter] = {
                "step": torch.tensor(LONG),
                "exp_avg": first.to(parameter).clone(),
                "exp_avg_sq": second.to(parameter).clone(),
            }

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
        """Everything a later process needs to go on as if nothing had happened, on the same kind of device."""
        device = self.learner.prior.device
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
            "dropout_cuda": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from `state`.

        Raises:
            ValueError: the state was made with another config.
        """
        if state["config"] != self.config.to_dict():
            raise ValueError("the checkpoint was made with other settings; remove it to start again")
        self.learner.load_state_dict(state["parameters"])
        device = self.learner.prior.device
        self.average = {name: tensor.to(device) for name, tensor in state["average"].items()}
        self.optimiser.load_state_dict(state["optimiser"])
        self.epoch, self.best, self.best_epoch = state["epoch"], state["best"], state["best_epoch"]
        self.best_parameters = state["best_parameters"]
        self.rng.bit_generator.state = state["rng"]
        self.generator.set_state(state["generator"])
        torch.set_rng_state(state["dropout"])
        if device.type == "cuda" and state["dropout_cuda"] is not None:
            torch.cuda.set_rng_state(state["dropout_cuda"], device)


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
        loop.load_state(torch.load(checkpoint, map_location="cpu", weights_only=True))

    def show(epoch: int, share: float, loss: float, validation: float | None = None) -> None:
        if progress:
            progress(Progress(epoch, loop.config.epochs, share, loss, validation, loop.best if loop.epoch else None))

    def on_step(step: int, steps: int, loss: float) -> None:
        if step < steps:
            show(loop.epoch + 1, step / steps, loss)

    while not loop.finished:
        loss = loop.run_epoch(histories, on_step)
        with loop.averaged():
            validation = validate()
            loop.keep_if_best(validation)
        if checkpoint:
            aside = checkpoint.with_suffix(".tmp")
            torch.save(loop.state(), aside)
            aside.replace(checkpoint)
        show(loop.epoch, 1.0, loss, validation)
    loop.learner.load_state_dict(loop.best_parameters)
    loop.learner.eval()
    return loop.best
