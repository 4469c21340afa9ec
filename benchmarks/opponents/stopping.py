"""Early stopping of a network by the figure it validates with, the lower the better, keeping the best epoch."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from benchmarks.task import Limits, Say


def train_until_best(
    network: nn.Module,
    run_epoch: Callable[[], float],
    validate: Callable[[], float],
    limits: Limits,
    say: Say,
    *,
    most: int,
    patience: int,
    epochs: int | None,
) -> int:
    """Leave the best epoch's parameters in `network`, and tell which it was; with `epochs` given, the last of these."""
    if epochs is not None:
        for _ in range(epochs):
            run_epoch()
        return epochs
    best, best_epoch = float("inf"), 0
    kept: dict[str, torch.Tensor] = {}
    for epoch in range(1, (limits.epochs or most) + 1):
        loss = run_epoch()
        figure = validate()
        if figure < best:
            best, best_epoch = figure, epoch
            kept = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
        say(f"  epoch {epoch}: loss {loss:.4f}, validation MAE {figure:.4f} (best {best:.4f})")
        if epoch - best_epoch >= (limits.patience or patience):
            break
    network.load_state_dict(kept)
    return best_epoch
