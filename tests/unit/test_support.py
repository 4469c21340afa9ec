"""The events of a batch as support sets."""

from __future__ import annotations

import numpy as np
import torch

from app.support import Events
from models.episode import History, pack


def test_users_are_padded_as_training_pads_them() -> None:
    rng = np.random.default_rng(0)
    counts = [3, 0, 7, 1, 5]
    everyone = [
        History(rng.integers(0, 9, n), rng.integers(0, 3, n), rng.random(n).astype(np.float32), n != 5) for n in counts
    ]
    events = Events(
        np.repeat(np.arange(5), counts),
        *(np.concatenate([one[column] for one in everyone]) for column in range(3)),
        np.array([one.ordered for one in everyone]),
        np.ones(5, np.bool_),
    )
    for places in ([0, 1, 2, 3, 4], [4, 2], [1], [3, 1, 0]):
        expected = pack([everyone[at] for at in places], 5)
        for found, truth in zip(events.support(places, 5), expected, strict=True):
            assert torch.equal(found, truth)
