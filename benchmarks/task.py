"""What a contender is asked: learn from this, choose settings by that, be tested on those.

A protocol makes one part, or one a fold; a part is one fitting with its tests.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from benchmarks.corpus import Corpus
from models.episode import History
from models.evaluate import Case, Ranker

Settings = dict[str, Any]
Say = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class CaseSet:
    """Cases, the user each belongs to, and, where not all items are candidates, which are, (N,)."""

    cases: list[Case]
    users: list[int]
    candidates: NDArray[np.bool_] | None = None


@dataclass(frozen=True, eq=False)
class Task:
    """What may be learned from, and the tests whose mean NDCG@10 chooses settings and stops training.

    `known`: the rows that exist while training; the others come after it, with nothing but their content.
    """

    corpus: Corpus
    train: list[History]
    validation: list[CaseSet]
    known: NDArray[np.int64]

    @property
    def unordered(self) -> bool:
        """Whether some of what is asked comes in no particular order."""
        return any(not any(case.support.ordered for case in test.cases) for test in self.validation if test.cases)


@dataclass(frozen=True, eq=False)
class Part:
    """One fitting of a protocol, and its tests by name."""

    name: str
    task: Task
    tests: dict[str, CaseSet]


@dataclass(frozen=True, eq=False)
class Fitted:
    """A contender after training.

    `variants` are the same training read in another way, tested beside it; `plan` holds what was chosen and is no
    setting of the search; `seconds_before`, of the clock, and `cpu_seconds_before`, of the processors, were spent by an
    earlier trial on a part that this one took over.
    """

    ranker: Ranker
    variants: dict[str, Ranker] = field(default_factory=dict)
    notes: dict[str, float] = field(default_factory=dict)
    plan: dict[str, Any] = field(default_factory=dict)
    seconds_before: float = 0.0
    cpu_seconds_before: float = 0.0


@dataclass(frozen=True)
class Limits:
    """What whoever runs the benchmark allows: where to compute and how long to train."""

    device: str = "cpu"
    epochs: int | None = None  # instead of a contender's own
    patience: int | None = None


class Contender(Protocol):
    """A model with the settings it may be tuned by."""

    @property
    def name(self) -> str:
        """What the command line and tables call it."""
        ...

    @property
    def seeded(self) -> bool:
        """Whether another seed gives another outcome."""
        ...

    def space(self, task: Task) -> Mapping[str, Sequence[Any]]:
        """The values of each setting, the default first."""
        ...

    def fit(self, task: Task, settings: Settings, seed: int, limits: Limits, say: Say) -> Fitted:
        """Train with these settings; `say` shows how far it is."""
        ...
