"""How far a training is."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Progress:
    """What a progress bar shows, and a line of a log where an epoch has `ended`."""

    epoch: int
    epochs: int
    share: float  # of this epoch; 1 once it is validated
    loss: float
    validation: float | None  # NDCG@10 of this epoch; None until it has ended
    best: float | None  # of the best epoch; None before one has ended

    @property
    def ended(self) -> bool:
        """Whether this epoch is over and validated."""
        return self.share == 1

    @property
    def brief(self) -> str:
        """What fits beside a bar: all but this epoch's figure."""
        return str(replace(self, validation=None))

    def __str__(self) -> str:
        figure = "" if self.validation is None else f"  NDCG@10 {self.validation:.4f}"
        best = "" if self.best is None else f"  best {self.best:.4f}"
        return f"epoch {self.epoch}/{self.epochs}  loss {self.loss:.3f}{figure}{best}"
