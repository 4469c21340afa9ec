"""A user with events that no refresh has learned from."""

from __future__ import annotations

from typing import NamedTuple

from models.episode import History
from models.evaluate import Case


class Fresh(NamedTuple):
    """A user's history, of which the `new` newest events are fresh: no refresh has learned from them."""

    history: History
    new: int
    judged: bool = False  # at the refresh before: they teach now

    def before(self) -> History:
        """What came before them."""
        return self.history.take(slice(0, max(len(self.history.rows) - self.new, 0)))

    def events(self) -> History:
        """The fresh events alone."""
        return self.history.take(slice(max(len(self.history.rows) - self.new, 0), None))

    def cases(self, most: int) -> list[Case]:
        """The fresh events for an item not seen before, the newest `most`, each with all before it."""
        rows = self.history.rows
        return [
            Case(self.history.take(slice(0, at)), rows[at : at + 1])
            for at in range(max(len(rows) - min(self.new, most), 1), len(rows))
            if self.history.preference[at] > 0 and rows[at] not in rows[:at]
        ]
