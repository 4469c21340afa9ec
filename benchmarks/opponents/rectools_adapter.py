"""RecTools' SASRec, eSASRec and HSTU, in a virtual environment of their own: the library pins numpy below 2.

`make rectools` makes the environment; RECTOOLS_PYTHON is its interpreter, `.venv-rectools/bin/python` by default. The
program beside this file trains there and sends vectors back: score(u, i) = user vector . item vector, for all models
alike. Leave-one-out only, as the program validates by the next item. The memory noted for these runs is that of our own
process, not of theirs.

Letters: B users, N items, d width.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.task import Fitted, Limits, Say, Settings, Task
from models.episode import History
from models.sizes import sized

PROGRAM = Path(__file__).with_name("rectools_program.py")
EPOCHS, PATIENCE = 200, 10


def interpreter() -> Path:
    """Of the environment that has RecTools.

    Raises:
        ValueError: there is none.
    """
    python = Path(os.environ.get("RECTOOLS_PYTHON", ".venv-rectools/bin/python"))
    if not python.exists():
        raise ValueError(f"RecTools' models need {python}: run `make rectools`, or set RECTOOLS_PYTHON")
    return python


class RecToolsRanker:
    """A trained model that waits in its process for histories."""

    name = "rectools"

    def __init__(self, process: subprocess.Popen[str], folder: tempfile.TemporaryDirectory[str]) -> None:
        self.process, self.folder = process, Path(folder.name)
        vectors = np.load(self.folder / "item.npy").astype(np.float32)
        self.known = np.isfinite(vectors).all(1)
        self.vectors = np.nan_to_num(vectors)
        weakref.finalize(self, _end, process, folder)

    def scores(self, histories: Sequence[History]) -> NDArray[np.float32]:
        """(B, N); an item that no training had scores below all others."""
        path = self.folder / "asked.npz"
        np.savez(path, **supports([history.rows for history in histories]))  # type: ignore[arg-type]
        _say(self.process, f"{path}\n")
        _expect(self.process, "done")
        out = np.load(path.with_suffix(".npy")).astype(np.float32) @ self.vectors.T
        out[:, ~self.known] = out.min(initial=0.0) - 1.0
        return np.asarray(out, np.float32)


@dataclass(frozen=True)
class RecTools:
    """The contender."""

    name: str
    own: Mapping[str, Sequence[Any]]
    seeded: bool = True

    def space(self, task: Task) -> Mapping[str, Sequence[Any]]:
        """Sizes as for our SASRec, in RecTools' words."""
        size = sized(task.corpus.dataset)
        length = int(size["length"])
        return {
            "session_max_len": (length,) if length < 100 else (100, 50, 200),
            "n_factors": (64, 128),
            "n_blocks": (2, 1, 3),
            "n_heads": (2, 1, 4),
            "dropout_rate": (0.5, 0.3, 0.2) if size["dropout"] == 0.5 else (0.2, 0.1, 0.3, 0.5),
            "lr": (1e-3, 5e-4, 2e-3),
            "batch_size": (128,) if length < 100 else (32,),
            **self.own,
        }

    def fit(self, task: Task, settings: Settings, seed: int, limits: Limits, say: Say) -> Fitted:
        """Train in the other environment.

        Raises:
            ValueError: it is not there, the task is not leave-one-out, or the program failed.
        """
        python = interpreter()
        cases = [case for test in task.validation for case in test.cases]
        if any(len(case.targets) != 1 for case in cases):
            raise ValueError(f"{self.name} is for the protocol loo only")
        folder = tempfile.TemporaryDirectory(prefix="rectools-")
        here = Path(folder.name)
        job = {
            "model": self.name,
            "settings": settings,
            "seed": seed,
            "epochs": limits.epochs or EPOCHS,
            "patience": limits.patience or PATIENCE,
            "items": task.corpus.items,
            "device": limits.device,
            "threads": torch.get_num_threads(),
        }
        (here / "job.json").write_text(json.dumps(job))
        sizes = [len(history.rows) for history in task.train]
        np.savez(
            here / "job.npz",
            user=np.repeat(np.arange(len(sizes)), sizes),
            item=np.concatenate([history.rows for history in task.train]),
            target=np.array([case.targets[0] for case in cases], np.int64),
            **supports([case.support.rows for case in cases]),  # type: ignore[arg-type]
        )
        say(f"  in {python}")
        clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        process = subprocess.Popen(
            [str(python), str(PROGRAM), folder.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=clean,
        )
        _expect(process, "trained")
        return Fitted(RecToolsRanker(process, folder), notes=json.loads((here / "notes.json").read_text()))


def supports(rows: Sequence[NDArray[np.integer[Any]]]) -> dict[str, NDArray[np.int64]]:
    """Histories as the program reads them."""
    sizes = np.array([len(one) for one in rows], np.int64)
    return {"support": np.concatenate([*rows, np.empty(0, np.int64)]).astype(np.int64), "support_sizes": sizes}


def _say(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(line)
    process.stdin.flush()


def _expect(process: subprocess.Popen[str], word: str) -> None:
    """Read until the program says so; libraries may print before it."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip() == word:
            return
    raise ValueError(f"{PROGRAM.name} ended with {process.wait()} before it said {word!r}; see its message above")


def _end(process: subprocess.Popen[str], folder: tempfile.TemporaryDirectory[str]) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.close()
    process.wait()
    process.stdout.close()
    folder.cleanup()


RECTOOLS = (
    RecTools("rectools-sasrec", {}),
    RecTools("rectools-esasrec", {"n_negatives": (256, 512, 128)}),
    RecTools("rectools-hstu", {}),
)
