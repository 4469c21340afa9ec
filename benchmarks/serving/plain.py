"""The same learner as a rival would put it to work: histories by one MGET a batch, as we do, and nothing remembered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from redis import Redis

from app.event import UserHistory
from app.history import partition_of
from app.settings import load
from models import snapshot
from models.episode import History, pack
from models.learner import Learner

K = 10
MOST, PATIENCE = 64, 0.002
"""The largest batch of a rival, and how many seconds it waits for one to fill."""


class Plain:
    """Answers batches of users. The settings come from the environment, as the service's do."""

    def __init__(self) -> None:
        torch.set_num_threads(1)
        settings = load()
        self.redis = Redis.from_url(str(settings.redis_url))
        self.learner = Learner.restore(snapshot.read(settings.snapshot / "current"))
        with torch.inference_mode():
            self.vectors, self.biases = self.learner.catalogue()

    def recommend(self, users: Sequence[str]) -> list[dict[str, Any]]:
        """The bodies of B answers."""
        stored: list[Any] = self.redis.mget([f"il:{{{partition_of(user)}}}:history:{user}" for user in users])
        histories = []
        for packed in stored:
            # Handles are rows here: nothing else has registered items.
            rows = UserHistory.of(packed).records["handle"].astype(np.int64)
            histories.append(History(rows, np.zeros(len(rows), np.int64), np.ones(len(rows), np.float32)))
        with torch.inference_mode():
            vectors = self.learner.user_vectors(self.vectors, pack(histories, self.learner.config.length))
            scores = torch.addmm(self.biases, vectors, self.vectors.T)
            for row, history in zip(scores, histories, strict=True):
                row[history.rows] = -torch.inf
            best = scores.topk(K).indices.tolist()
        return [{"items": [{"item_id": f"i{row}"} for row in rows]} for rows in best]
