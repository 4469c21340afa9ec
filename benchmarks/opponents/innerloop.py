"""Our own learner as a contender, trained with the pieces of `models.recipe` on a protocol's own split.

Letters: B users, N items, M items that come after training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.measure import validated
from benchmarks.task import Fitted, Limits, Say, Settings, Task
from models import recipe
from models.beginning import choose_beginning
from models.episode import History
from models.evaluate import LearnerRanker
from models.learner import Learner, LearnerConfig, Recalls
from models.meta import Algorithm, OuterConfig, OuterLoop, train
from models.progress import Progress
from models.sizes import batch_size, sized
from models.voice import choose_voice


@dataclass(frozen=True, eq=False)
class Placed:
    """A learner that knows some of the corpus's rows, as a ranker of all: the others join by their text alone."""

    learner: Learner
    order: NDArray[np.int64]  # (N,): the corpus's row of each row of the learner's
    signed: bool
    steps: int | None = None
    name: str = "innerloop"

    def scores(self, histories: Sequence[History]) -> NDArray[np.float32]:
        """(B, N), in the corpus's rows."""
        placed = [place(history, self.order, self.signed) for history in histories]
        out = np.empty((len(histories), len(self.order)), np.float32)
        out[:, self.order] = LearnerRanker(self.learner, steps=self.steps).scores(placed)
        return out


def place(history: History, order: NDArray[np.int64], signed: bool) -> History:
    """The history in the learner's rows; unless `signed`, whatever was taken speaks for its item."""
    inverse = np.empty(len(order), np.int64)
    inverse[order] = np.arange(len(order))
    return history._replace(
        rows=inverse[history.rows], preference=history.preference if signed else np.ones_like(history.preference)
    )


@dataclass(frozen=True)
class InnerLoopContender:
    """The contender, by one outer algorithm. Its variant reads the same learner without inner steps."""

    algorithm: Algorithm = "maml"
    seeded: bool = True

    @property
    def name(self) -> str:
        """What the command line and tables call it: MAML is what a training uses unless told."""
        return "innerloop" if self.algorithm == "maml" else f"innerloop-{self.algorithm}"

    def space(self, task: Task) -> Mapping[str, Sequence[Any]]:
        """The recipe's own choice first. Reptile takes several steps on a batch, so that slower ones are tried too.

        `signed`: whether a low rating speaks against its item. The ranking protocols ask for whatever is taken next,
        liked or not, as all opponents here see it.
        """
        size = sized(task.corpus.dataset, ordered=not task.unordered)
        defaults = {field.name: field.default for kind in (LearnerConfig, OuterConfig) for field in fields(kind)} | size
        recalls = get_args(Recalls) if task.unordered else ("always", "never")

        def around(name: str, *others: Any) -> tuple[Any, ...]:
            return (defaults[name], *(value for value in others if value != defaults[name]))

        space = {
            "signed": (False, True) if task.corpus.dataset.report.kinds.get("rating") else (False,),
            "recall": around("recall", *recalls),
            "steps": around("steps", 1, 2),
            "rank": around("rank", 64, 256),
            "width": around("width", 64, 128),
            "blocks": around("blocks", 2, 3),
            "heads": around("heads", 2, 4),
            "length": around("length", 50, 100, 200) if size["length"] >= 100 else (size["length"],),
            "dropout": around("dropout", 0.2, 0.3, 0.5),
            "support_dropout": around("support_dropout", 0.0, 0.3),
            "smoothing": around("smoothing", 0.0, 0.2),
            "rate": around("rate", 7e-4, 1.5e-3, 2e-3),
            "weight_decay": around("weight_decay", 0.03, 0.1, 0.3),
            "shuffled": around("shuffled", 0.3, 0.5, 0.8) if task.unordered else around("shuffled", 0.3),
            "horizon": around("horizon", 0.5, 0.8),
        }
        if not defaults["unit"]:
            space["unit"] = (False, True)
        if self.algorithm == "reptile":
            space |= {
                "rate": around("rate", 1e-4, 2e-4, 7e-4, 1.5e-3),
                "task_steps": around("task_steps", 3, 5, 10),
                "follow": around("follow", 0.5, 0.2),
            }
        return space

    def fit(self, task: Task, settings: Settings, seed: int, limits: Limits, say: Say) -> Fitted:
        """As `recipe.follow` does, by the protocol's users instead of the recipe's split; all of a beginning may do."""
        chosen = dict(settings)
        signed = bool(chosen.pop("signed"))
        sizes = sized(task.corpus.dataset, ordered=not task.unordered)
        own: dict[str, Any] = sizes | {"batch_size": batch_size(chosen["length"])} | chosen
        own |= {"seed": seed, "algorithm": self.algorithm}
        own |= {"epochs": limits.epochs} if limits.epochs else {}
        own |= {"patience": limits.patience} if limits.patience else {}
        plan = recipe.plan(own)
        N = task.corpus.items
        order = np.concatenate([task.known, np.setdiff1d(np.arange(N), task.known)])
        histories = [place(history, order, signed) for history in task.train]
        content, later = np.split(task.corpus.content[order], [len(task.known)])
        texts = [task.corpus.texts[row] for row in order]
        learner, popularity = recipe.begin(plan, texts[: len(content)], torch.from_numpy(content), histories)
        expected = learner.expect(texts[len(content) :], torch.from_numpy(later))
        loop = OuterLoop(learner.to(limits.device), plan.outer, popularity)

        def whole() -> Learner:
            return learner.grown(expected).to(limits.device) if len(later) else learner

        def validate() -> float:
            return validated(Placed(whole(), order, signed), task.validation)

        def show(at: Progress) -> None:
            if at.ended:
                say(f"  {at}")

        best = train(loop, histories, validate, progress=show)
        if task.unordered:
            choose_voice(learner, validate, best)
        share = choose_beginning(learner, histories, validate)
        final = whole().eval()
        notes = {
            "epochs": float(loop.epoch),
            "best_epoch": float(loop.best_epoch),
            "voice": float(final.unordered_voice),
            "beginning": share,
        }
        read = Placed(final, order, signed)
        return Fitted(read, {"K = 0": Placed(final, order, signed, steps=0)}, notes, plan.to_dict())
