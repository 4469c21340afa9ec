"""SASRec trained with the softmax over the whole catalogue: the strongest cheap opponent known.

The original's sampled binary loss is what most tables hold against it; with the full softmax the same network is far
better (Klenitskiy & Vasilev 2023, arXiv:2309.07602; Petrov & Macdonald 2023, arXiv:2308.07192).

Letters: B users, T events, P positions, N items.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from benchmarks.measure import validated
from benchmarks.opponents.transformer import Transformer
from benchmarks.task import Fitted, Limits, Say, Settings, Task
from models.directions import principal_directions
from models.episode import History, Support, pack, windows
from models.sizes import batch_size, sized

EPOCHS, PATIENCE = 200, 10
NEVER = -1e4  # a logit; with an infinite one label smoothing would have no finite loss


@dataclass(frozen=True, eq=False)
class TransformerRanker:
    """A trained network as a ranker."""

    network: Transformer
    name: str = "sasrec"

    @torch.inference_mode()
    def scores(self, histories: Sequence[History]) -> NDArray[np.float32]:
        """(B, N)."""
        self.network.eval()
        table = self.network.table()
        support = pack(histories, self.network.length).to(table.device)
        return np.asarray((self.network(table, support)[:, -1] @ table.T).cpu().numpy(), np.float32)


def loss(network: Transformer, batch: Support, smoothing: float, unseen: bool = False) -> Tensor:
    """Cross-entropy over all items, of each event given those before it; if `unseen`, over those not taken before."""
    table = network.table()
    users = network(table, batch)[:, :-1]
    aimed = batch.mask[:, :-1] & batch.mask[:, 1:]
    logits, targets = users[aimed] @ table.T, batch.rows[:, 1:][aimed]
    if unseen:
        user, at = aimed.nonzero(as_tuple=True)
        taken = batch.rows[user, :-1]  # (P, T - 1)
        before = batch.mask[user, :-1] & (torch.arange(taken.shape[1], device=at.device) <= at[:, None])
        position, slot = (before & (taken != targets[:, None])).nonzero(as_tuple=True)
        logits = logits.index_put((position, taken[position, slot]), logits.new_tensor(NEVER))
    return F.cross_entropy(logits, targets, label_smoothing=smoothing)


class SASRec:
    """The contender."""

    name = "sasrec"
    seeded = True

    def space(self, task: Task) -> Mapping[str, Sequence[Any]]:
        """The length is as ours begins; shuffled training is offered where histories without order are asked."""
        size = sized(task.corpus.dataset)
        length = int(size["length"])
        return {
            "length": (length,) if length < 100 else (100, 50, 200),
            "width": (64, 128),
            "blocks": (2, 1, 3),
            "heads": (2, 1, 4),
            "dropout": (0.5, 0.3, 0.2) if size["dropout"] == 0.5 else (0.2, 0.1, 0.3, 0.5),
            "rate": (2e-3, 1e-3, 5e-4),
            "weight_decay": (0.01, 0.0, 0.1),
            "normalised": (True, False),
            "start": ("directions", "random"),  # of the items: as ours may begin, or with nothing known
            "averaging": (size["averaging"], 0.0),  # of the parameters, a step, as ours has it
            "smoothing": (0.0, 0.1, 0.2),
            "unseen": (False, True),  # whether the softmax leaves out what was taken before, as ours does
            "shuffled": (0.5, 0.0, 0.8) if task.unordered else (0.0,),
        }

    def fit(self, task: Task, settings: Settings, seed: int, limits: Limits, say: Say) -> Fitted:
        """Train until validation no longer gains, and keep the best epoch."""
        torch.manual_seed(seed)
        rng = np.random.default_rng(seed)
        shape = {name: settings[name] for name in ("width", "blocks", "heads", "length", "dropout", "normalised")}
        network = Transformer(task.corpus.items, **shape).to(limits.device)
        if settings["start"] == "directions":
            found, _ = principal_directions(task.train, task.corpus.items, settings["width"], seed)
            network.place(found.to(limits.device))
        optimiser = torch.optim.AdamW(network.parameters(), settings["rate"], weight_decay=settings["weight_decay"])
        averaged = deepcopy(network)
        ranker = TransformerRanker(averaged)
        best, best_epoch, kept = -1.0, 0, averaged.state_dict()
        length = settings["length"]
        for epoch in range(1, (limits.epochs or EPOCHS) + 1):
            network.train()
            total, steps = 0.0, 0
            for batch, _ in windows(task.train, length, batch_size(length), settings["shuffled"], rng):
                if batch.rows.shape[1] < 2:
                    continue
                step_loss = loss(network, batch.to(limits.device), settings["smoothing"], settings["unseen"])
                optimiser.zero_grad(set_to_none=True)
                step_loss.backward()  # type: ignore[no-untyped-call]
                torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
                optimiser.step()
                with torch.no_grad():
                    for mean, parameter in zip(averaged.parameters(), network.parameters(), strict=True):
                        mean.lerp_(parameter, 1 - settings["averaging"])
                total, steps = total + float(step_loss.detach()), steps + 1
            figure = validated(ranker, task.validation)
            if figure > best:
                best, best_epoch = figure, epoch
                kept = {name: tensor.detach().clone() for name, tensor in averaged.state_dict().items()}
            say(f"  epoch {epoch}: loss {total / max(steps, 1):.3f}, NDCG@10 {figure:.4f} (best {best:.4f})")
            if epoch - best_epoch >= (limits.patience or PATIENCE):
                break
        averaged.load_state_dict(kept)
        return Fitted(ranker, notes={"epochs": epoch, "best_epoch": best_epoch, "steps_an_epoch": steps})
