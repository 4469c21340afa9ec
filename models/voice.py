"""How much counts of what a history without an order says: chosen on users whom training did not see.

Training cannot choose it: it soon knows by heart who of its own users took what with what, and of a new user the same
reading is too sure. So it goes on, as a refresh's meta-steps do, as if the voice were 1. What follows what is harder to
learn by heart, and is left as it is.
"""

from __future__ import annotations

from collections.abc import Callable

from models.learner import Learner

VOICES = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4)


def choose_voice(learner: Learner, validate: Callable[[], float]) -> float:
    """Give `learner` the voice that validates best, the first of `VOICES` among equals, and return its figure.

    Args:
        validate: the figure of the learner as it is, of users it was not trained on, the higher the better.
    """
    figures: dict[float, float] = {}
    for voice in VOICES:
        learner.unordered_voice.fill_(voice)
        figures[voice] = validate()
    best = max(VOICES, key=figures.__getitem__)
    learner.unordered_voice.fill_(best)
    return figures[best]
