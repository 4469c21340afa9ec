"""The replay: a sample of episodes that a snapshot carries, for a refresh to rehearse.

Letters: E episodes, S their events in all.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from models.episode import History

USERS = 1000


def build_replay(histories: Sequence[History], length: int, seed: int, first: bool = False) -> dict[str, Tensor]:
    """A sample of episodes, without user ids, for a refresh to rehearse: the newest `length` events of some users.

    Args:
        first: their first ones instead, where a learner is not to take the middle of a history for a beginning.
    """
    part = slice(length) if first else slice(-length, None)
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(len(histories))[:USERS]
    kept = [histories[user].take(part) for user in chosen if len(histories[user].rows) >= 2]
    if not kept:
        kept = [History(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))]
    return {
        "replay.sizes": torch.tensor([len(history.rows) for history in kept], dtype=torch.int32),
        "replay.rows": torch.from_numpy(np.concatenate([history.rows for history in kept]).astype(np.int32)),
        "replay.kinds": torch.from_numpy(np.concatenate([history.kinds for history in kept]).astype(np.uint8)),
        "replay.ordered": torch.tensor([history.ordered for history in kept]),
        "replay.preference": torch.from_numpy(np.concatenate([history.preference for history in kept])).half(),
    }


def read_replay(tensors: dict[str, Tensor]) -> list[History]:
    """The episodes that `build_replay` laid down."""
    edges = np.cumsum(tensors["replay.sizes"].numpy())[:-1]
    rows = np.split(tensors["replay.rows"].numpy().astype(np.int64), edges)
    kinds = np.split(tensors["replay.kinds"].numpy().astype(np.int64), edges)
    preference = np.split(tensors["replay.preference"].float().numpy(), edges)
    return [History(*parts) for parts in zip(rows, kinds, preference, tensors["replay.ordered"].tolist(), strict=True)]
