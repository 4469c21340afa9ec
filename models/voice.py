"""How much counts of what a history without an order says: chosen on users whom training did not see.

Training cannot choose it: it soon knows by heart who of its own users took what with what, and of a new user the same
reading is too sure. So it goes on, as a refresh's meta-steps do, as if the voice were 1. What follows what is harder to
learn by heart, and is left as it is.
"""

from __future__ import annotations

from collections.abc import Callable

from models.learner import Learner

QUIETER = (0.9, 0.8, 0.7, 0.6, 0.5, 0.4)


def choose_voice(learner: Learner, validate: Callable[[], float], whole: float) -> float:
    """Give `learner` the voice that validates best, 1 or one of `QUIETER`, the louder of equals, and return its figure.

    Args:
        validate: the figure of the learner as it is, of users it was not trained on, the higher the better.
        whole: that figure where the voice is 1.
    """
    figures = {1.0: whole}
    for voice in QUIETER:
        learner.unordered_voice.fill_(voice)
        figures[voice] = validate()
    best = max(figures, key=figures.__getitem__)
    learner.unordered_voice.fill_(best)
    return figures[best]
