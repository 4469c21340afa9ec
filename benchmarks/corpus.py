"""A corpus: a dataset as the benchmark uses it, its untouched items left out, with histories and content vectors.

Letters: N items, C content width.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.content import Encoder
from models.dataset import Columns, Dataset, read
from models.episode import History
from models.split import histories


@dataclass(frozen=True, eq=False)
class Corpus:
    """What every contender of a run is given. Items that nobody ever touched are no candidates."""

    dataset: Dataset
    path: Path
    cache: Path
    columns: Columns = field(default_factory=Columns)

    @classmethod
    def read(cls, path: Path, cache: Path, columns: Columns | None = None) -> Corpus:
        """The corpus at `path`; content vectors are remembered in the file `cache`.

        Args:
            columns: which column is which, where that is not recognised.
        Raises:
            DatasetError: there is nothing that can be read.
        """
        columns = columns or Columns()
        dataset = read(path, columns)
        touched = int(dataset.interactions.item.max()) + 1  # items are numbered by their first interaction
        log = replace(dataset.interactions, items=dataset.interactions.items[:touched])
        return cls(replace(dataset, items=dataset.items[:touched], interactions=log), path, cache, columns)

    @property
    def items(self) -> int:
        """N."""
        return len(self.dataset.items)

    @cached_property
    def histories(self) -> list[History]:
        """A history a user, oldest event first, in the order of the dataset's users."""
        return histories(self.dataset)

    @cached_property
    def content(self) -> NDArray[np.float32]:
        """Content vectors, (N, C); zeros for an item without text."""
        described = self.dataset.has_text()
        texts = [item.content for item, speaks in zip(self.dataset.items, described, strict=True) if speaks]

        def show(done: int, total: int) -> None:
            print(f"encoding item texts: {done:,}/{total:,}", file=sys.stderr)

        vectors = Encoder(cache=self.cache).encode(texts, show)
        out = np.zeros((self.items, vectors.shape[1]), np.float32)
        out[described] = vectors
        return out

    @cached_property
    def texts(self) -> list[str]:
        """What each item says, (N,); nothing for an item without text."""
        return [item.said for item in self.dataset.items]

    def rows_of(self, ids: list[str]) -> NDArray[np.int64]:
        """The rows of those of these items that anyone touched, ascending."""
        known = {item.id: row for row, item in enumerate(self.dataset.items)}
        return np.array(sorted(known[one] for one in ids if one in known), np.int64)

    def users_of(self, ids: list[str]) -> NDArray[np.int64]:
        """The numbers of those of these users that have interactions, ascending."""
        known = {user: number for number, user in enumerate(self.dataset.interactions.users)}
        return np.array(sorted(known[one] for one in ids if one in known), np.int64)
