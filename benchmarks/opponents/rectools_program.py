"""Trains one of RecTools' transformers; run by `rectools_adapter.py` in an environment that has nothing of ours.

    python rectools_program.py FOLDER

FOLDER holds job.json (model, settings, seed, epochs, patience, items) and job.npz (the training events `user`, `item`,
oldest first; the validation `support`, row by row as `support_sizes` says, and `target`). Written there: item.npy, the
item vectors, and notes.json. It then stays, and answers each line on its input, the path of another such npz, with the
users' vectors beside it as .npy and a line "done".

Letters: B users, N items, L session length, d width.
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from pytorch_lightning import Callback, Trainer, seed_everything
from rectools import Columns
from rectools.dataset import Dataset
from rectools.models import SASRecModel
from rectools.models.nn.transformers.hstu import HSTUModel
from rectools.models.nn.transformers.ligr import LiGRLayers

KINDS: dict[str, tuple[Any, dict[str, Any]]] = {
    "rectools-sasrec": (SASRecModel, {"loss": "softmax"}),
    "rectools-esasrec": (SASRecModel, {"loss": "sampled_softmax", "transformer_layers_type": LiGRLayers}),
    "rectools-hstu": (HSTUModel, {"loss": "softmax", "relative_time_attention": False}),
}


class Reader:
    """Reads supports with a model in training or after it."""

    def __init__(self, model: Any, items: int, length: int) -> None:
        ids = model.data_preparator.item_id_map
        self.inner = np.zeros(items, np.int64)  # 0 is padding: an item that no training has is passed over
        trained = set(ids.external_ids.tolist())
        known = [row for row in range(items) if row in trained]
        self.inner[known] = ids.convert_to_internal(known)
        self.length = length

    @torch.no_grad()
    def users(self, network: Any, supports: list[np.ndarray]) -> np.ndarray:
        """(B, d)."""
        network.eval()
        items = network.item_model.get_all_embeddings()
        out = []
        for start in range(0, len(supports), 256):
            batch = supports[start : start + 256]
            x = np.zeros((len(batch), self.length), np.int64)
            for at, rows in enumerate(batch):
                session = self.inner[rows]
                session = session[session > 0][-self.length :]
                if len(session):
                    x[at, -len(session) :] = session
            encoded = network.encode_sessions({"x": torch.from_numpy(x).to(items.device)}, items)[:, -1]
            out.append(network.similarity_module.session_tower_forward(encoded).cpu())
        return torch.cat(out).numpy()

    @torch.no_grad()
    def items(self, network: Any) -> tuple[np.ndarray, np.ndarray]:
        """Item vectors, (N, d), and which rows have one, (N,)."""
        network.eval()
        vectors = network.similarity_module.item_tower_forward(network.item_model.get_all_embeddings())
        return vectors.cpu().numpy()[self.inner], self.inner > 0


class KeepBest(Callback):
    """Validates after every epoch by NDCG@10, ends the training when it no longer gains, and keeps the best."""

    def __init__(self, supports: list[np.ndarray], targets: np.ndarray, patience: int) -> None:
        self.supports, self.targets, self.patience = supports, targets, patience
        self.reader: Any = None
        self.best, self.best_epoch = -1.0, 0
        self.kept: dict[str, torch.Tensor] = {}

    def __deepcopy__(self, memo: dict[int, Any]) -> KeepBest:
        """Itself: RecTools trains with a copy of its trainer, and what is kept is wanted here."""
        return self

    def on_train_epoch_end(self, trainer: Trainer, module: Any) -> None:
        """Look, and remember."""
        vectors, known = self.reader.items(module.torch_model)
        users = self.reader.users(module.torch_model, self.supports)
        found = []
        for start in range(0, len(users), 256):
            scores = users[start : start + 256] @ vectors.T
            scores[:, ~known] = -np.inf
            for at, row in enumerate(scores):
                row[self.supports[start + at]] = -np.inf
                rank = int((row >= row[self.targets[start + at]]).sum())
                found.append(1 / np.log2(rank + 1) if rank <= 10 else 0.0)
        figure, epoch = float(np.mean(found)), trainer.current_epoch + 1
        if figure > self.best:
            self.best, self.best_epoch = figure, epoch
            self.kept = {name: tensor.detach().clone() for name, tensor in module.torch_model.state_dict().items()}
        print(f"  epoch {epoch}: NDCG@10 {figure:.4f} (best {self.best:.4f})", file=sys.stderr, flush=True)
        trainer.should_stop = epoch - self.best_epoch >= self.patience
        module.train()


def supports_of(arrays: Any) -> list[np.ndarray]:
    """One array of rows a user."""
    return np.split(arrays["support"], np.cumsum(arrays["support_sizes"])[:-1])


def main() -> None:
    """Train, write, then answer."""
    warnings.simplefilter("ignore")
    folder = Path(sys.argv[1])
    job, arrays = json.loads((folder / "job.json").read_text()), np.load(folder / "job.npz")
    seed_everything(job["seed"], workers=True)
    torch.set_num_threads(job["threads"])
    keep = KeepBest(supports_of(arrays), arrays["target"], job["patience"])

    def trainer() -> Trainer:
        return Trainer(
            max_epochs=job["epochs"],
            accelerator="gpu" if job["device"].startswith("cuda") else "cpu",
            callbacks=[keep],
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            enable_checkpointing=False,
        )

    kind, fixed = KINDS[job["model"]]
    model = kind(
        **fixed, **job["settings"], epochs=job["epochs"], train_min_user_interactions=2, get_trainer_func=trainer
    )
    events = pd.DataFrame({Columns.User: arrays["user"], Columns.Item: arrays["item"], Columns.Weight: 1.0})
    events[Columns.Datetime] = pd.to_datetime(np.arange(len(events)), unit="s")
    dataset = Dataset.construct(events)
    model._build_model_from_dataset(dataset)  # so that the ids are known to the callback
    keep.reader = Reader(model, job["items"], job["settings"]["session_max_len"])
    model.fit(dataset)
    network = model.torch_model
    network.load_state_dict(keep.kept)
    vectors, known = keep.reader.items(network)
    np.save(folder / "item.npy", np.where(known[:, None], vectors, np.nan))
    (folder / "notes.json").write_text(json.dumps({"best_epoch": keep.best_epoch, "inside": keep.best}))
    print("trained", flush=True)
    for line in sys.stdin:
        path = Path(line.strip())
        np.save(path.with_suffix(".npy"), keep.reader.users(network, supports_of(np.load(path))))
        print("done", flush=True)


if __name__ == "__main__":
    main()
