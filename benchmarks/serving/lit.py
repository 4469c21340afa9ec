"""LitServe with the same learner and its own batching: `python -m benchmarks.serving.lit litserve --port P`.

Histories are read in one MGET a batch, as we do; the batch is adapted to and scored as LitServe's own examples would.
"""

import argparse
from typing import Any

import litserve
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


class Recommend(litserve.LitAPI):  # type: ignore[misc]
    """The learner behind LitServe's queue, in a process of its own."""

    def setup(self, device: str) -> None:  # noqa: ARG002
        torch.set_num_threads(1)
        settings = load()
        self.redis = Redis.from_url(str(settings.redis_url))
        self.learner = Learner.restore(snapshot.read(settings.snapshot / "current"))
        with torch.inference_mode():
            self.vectors, self.biases = self.learner.catalogue()

    # Without a type, LitServe gives the body as parsed.
    def decode_request(self, request):  # type: ignore[no-untyped-def]
        return str(request["user_id"])

    def batch(self, inputs: list[str]) -> list[str]:
        return inputs

    def predict(self, users: list[str]) -> list[list[str]]:
        keys = [f"il:{{{partition_of(user)}}}:history:{user}" for user in users]
        stored: list[Any] = self.redis.mget(keys)
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
        return [[f"i{row}" for row in rows] for rows in best]

    def unbatch(self, output: list[list[str]]) -> list[list[str]]:
        return output

    def encode_response(self, output: list[str]) -> dict[str, Any]:
        return {"items": [{"item_id": item} for item in output]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("contender")
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    api = Recommend(max_batch_size=64, batch_timeout=0.002, api_path="/recommend")
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1)
    server.run(host="127.0.0.1", port=options.port, generate_client_file=False, log_level="warning")


if __name__ == "__main__":
    main()
