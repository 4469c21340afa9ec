"""The recipe: from a data set to all that a snapshot holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.beginning import LATER, choose_beginning
from models.dataset import Dataset
from models.directions import read_directions, summarise
from models.episode import History
from models.evaluate import Case, LearnerRanker, cold_user, leave_one_out, mean_ndcg
from models.items import log_popularity
from models.learner import KIND_SLOTS, Learner, LearnerConfig
from models.meta import OuterConfig, OuterLoop, train
from models.progress import Progress
from models.replay import build_replay
from models.snapshot import Snapshot
from models.split import Split, SplitConfig, split
from models.voice import choose_voice
from models.words import Words

TRUSTED_AT = 40.0  # interactions that say as much of an item as its text does
FACTOR, TAKERS = "summary.factor", "summary.takers"
"""The tensors that tell a refresh who took what with what, (N, rank + 1) and (N,)."""


@dataclass(frozen=True, slots=True)
class Trained:
    """A trained learner and what a snapshot needs beside it."""

    learner: Learner
    tensors: dict[str, Tensor]
    config: dict[str, Any]
    metrics: dict[str, float]
    epochs: int  # that were trained; metrics name the best


def count_popularity(histories: Sequence[History], items: int) -> Tensor:
    """How often each item was taken, (N,) float32."""
    rows = np.concatenate([history.rows for history in histories]) if histories else np.empty(0, np.int64)
    return torch.bincount(torch.from_numpy(rows), minlength=items).float()


def count_kinds(histories: Sequence[History]) -> Tensor:
    """How often each kind of event occurs, (KIND_SLOTS,) float32."""
    kinds = np.concatenate([history.kinds for history in histories]) if histories else np.empty(0, np.int64)
    return torch.bincount(torch.from_numpy(kinds), minlength=KIND_SLOTS).float()


def validation_cases(valid: Sequence[History], ordered: bool = False) -> list[list[Case]]:
    """What early stopping looks at: the next event at several points of each history, and cold starts at random.

    Several points a user, because with few validation users one event each would be mostly noise.

    Args:
        ordered: leave out whatever has no order: cold starts at random, and histories that came at one moment.
    """
    asked = [history for history in valid if history.ordered] if ordered else valid
    latest = [history.take(slice(0, len(history.rows) - back)) for history in asked for back in range(5)]
    cold = [] if ordered else cold_user(asked, 5, draws=5) + cold_user(asked, 10, draws=5)
    return [cases for cases in (leave_one_out(latest), cold) if cases]


def beginning_cases(valid: Sequence[History], ordered: bool = False) -> list[list[Case]]:
    """What a beginning is chosen by: what follows the first few events of those who have an order.

    Args:
        ordered: ask about the next event alone, as such a training does.
    """
    asked = [history for history in valid if history.ordered]
    found = [cold_user(asked, shots, order="time", query=1 if ordered else 10) for shots in (0, 1, 3, 5, 10, 15)]
    return [cases for cases in found if cases]


@dataclass(frozen=True, slots=True)
class Plan:
    """Every choice of a training, made before it starts."""

    learner: LearnerConfig
    outer: OuterConfig
    split: SplitConfig
    ordered: bool = False  # whether only histories with an order are asked about: the others validate nothing

    def to_dict(self) -> dict[str, Any]:
        """As a manifest keeps it."""
        return asdict(self)


def plan(chosen: dict[str, Any], hold_out: bool = True) -> Plan:
    """The default recipe, with what the caller chose in its place.

    Args:
        chosen: values for fields of LearnerConfig and OuterConfig, and for `ordered`, by name.
        hold_out: whether to keep cold users and everyone's last event for evaluating.
    Raises:
        ValueError: a choice does not exist or does not fit the others.
    """
    known = {field.name for kind in (LearnerConfig, OuterConfig) for field in fields(kind)} | {"ordered"}
    if unknown := chosen.keys() - known:
        raise ValueError(f"there is no setting {', '.join(sorted(unknown))}; there are {', '.join(sorted(known))}")

    def only(kind: type[LearnerConfig] | type[OuterConfig]) -> dict[str, Any]:
        return {field.name: chosen[field.name] for field in fields(kind) if field.name in chosen}

    split_config = SplitConfig() if hold_out else SplitConfig(cold=0.0, last=False)
    learner, outer = LearnerConfig(**only(LearnerConfig)), OuterConfig(**only(OuterConfig))
    return Plan(learner, outer, split_config, bool(chosen.get("ordered", False)))


def begin(
    plan: Plan,
    texts: Sequence[str],
    content: Tensor,
    warm: Sequence[History],
    summary: tuple[Tensor, Tensor] | None = None,
) -> tuple[Learner, Tensor]:
    """A learner before the first meta-step, and the items' popularity, (N,).

    Item vectors begin as principal directions as far as these can be trusted and as what the text lets expect for the
    rest; a recall begins as ridge regression, and the biases as log popularity where it speaks of all histories.

    Args:
        texts: what the items say, (N,).
        content: content vectors, (N, C), of the items with a text.
        warm: the histories to train on.
        summary: of these histories, as `summarise` gives it, where it is made already.
    """
    popularity = count_popularity(warm, len(content))
    trust = popularity / (popularity + TRUSTED_AT)
    summary = summary or summarise(warm, len(content), plan.learner.rank, plan.outer.seed)
    directions, strengths = read_directions(*summary)
    wanted = torch.cat([directions, log_popularity(popularity)[:, None]], 1)
    words, expected = Words.fit(texts, content, wanted, trust)
    torch.manual_seed(plan.outer.seed)
    learner = Learner(plan.learner, expected, words)
    learner.meet(count_kinds(warm))
    learner.tower.start(directions, trust)
    if plan.learner.recall == "always":
        learner.tower.start_biases(popularity)
    if learner.recall is not None:
        learner.recall.start(strengths)
    return learner, popularity


def follow(
    dataset: Dataset,
    content: NDArray[np.float32],
    plan: Plan,
    *,
    device: torch.device | str = "cpu",
    checkpoint: Path | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Trained:
    """Train a learner on a data set from nothing.

    Args:
        content: content vectors, (N, C), in the order of `dataset.items`.
        device: where to train; what comes back is on the CPU.
        checkpoint: where to resume from and to save to after every epoch.
    Raises:
        ValueError: the data holds too few users or events to train and validate on, or none that have an order where
            the plan asks about no others.
    """
    parts = split(dataset, plan.split)
    cases = validation_cases(parts.valid, plan.ordered)
    if not cases and validation_cases(parts.valid):
        raise ValueError(
            "no history to validate by has an order: all events of each came at one moment; train with --no-ordered"
        )
    if not cases or not any(len(history.rows) >= 2 for history in parts.warm):
        raise ValueError(
            f"too little to learn from: {len(dataset.interactions.users)} users and {len(dataset.interactions)} "
            "interactions; at least some users must have 3 interactions or more"
        )
    factor, takers = summarise(parts.warm, len(content), plan.learner.rank, plan.outer.seed)
    texts = [item.said for item in dataset.items]
    learner, popularity = begin(plan, texts, torch.from_numpy(content), parts.warm, (factor, takers))
    loop = OuterLoop(learner.to(device), plan.outer, popularity)

    def validate() -> float:
        return mean_ndcg(LearnerRanker(learner), cases)

    best = train(loop, parts.warm, validate, checkpoint=checkpoint, progress=progress)
    if not plan.ordered:  # else no case would hear another voice: it stays whole
        best = choose_voice(learner, validate, best)
    begun, share = beginning_cases(parts.valid, plan.ordered), 0.0
    if begun:
        share = choose_beginning(learner, parts.warm, lambda: mean_ndcg(LearnerRanker(learner), begun), LATER)
        best = validate()  # short histories are among its cases
    return Trained(
        learner.cpu(),
        learner.tensors()
        | {"popularity": popularity, FACTOR: factor, TAKERS: takers}
        | (loop.moments() if plan.outer.continued else {})
        | build_replay(parts.warm, plan.learner.length, plan.split.seed, first=plan.outer.settling > 0),
        plan.to_dict(),
        {"validation NDCG@10": best, "epochs": float(loop.best_epoch), "beginning": share},
        loop.epoch,
    )


def split_like(dataset: Dataset, snapshot: Snapshot) -> Split:
    """The split that a snapshot was trained with, on the same data.

    Raises:
        ValueError: the snapshot was trained on other data, or held nothing out.
    """
    manifest = snapshot.manifest
    if [item.id for item in dataset.items] != [item.id for item in snapshot.items[: len(dataset.items)]]:
        raise ValueError(
            f"snapshot {manifest.version} was trained on {manifest.data.get('name')}, whose items are not those of "
            f"{dataset.name}: evaluate it on the data it was trained on"
        )
    if dataset.checksum != manifest.data.get("checksum"):
        raise ValueError(
            f"{dataset.name} has changed since snapshot {manifest.version} was trained: other users would be held out "
            "than those it has not seen; train again, then evaluate"
        )
    config = SplitConfig(**manifest.config["split"])
    if not config.last and not config.cold:
        raise ValueError("the snapshot was trained with --no-hold-out: there is nothing it has not seen to rank")
    return split(dataset, config)
