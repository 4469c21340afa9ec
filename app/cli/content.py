"""Content vectors on the command line: encoded with a progress bar, and remembered on disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from rich.progress import Progress as Bar

    from models.dataset import Dataset


def encode(dataset: Dataset, model: str, bar: Bar) -> NDArray[np.float32]:
    """Content vectors of the items, (N, C), zeros for those without text; encoded texts are remembered on disk."""
    import numpy as np

    from app.settings import load
    from models.content import Encoder

    described = dataset.has_text()
    task = bar.add_task("encoding", total=int(described.sum()), note="item texts")
    cache = load().data_folder / "content.sqlite"
    cache.parent.mkdir(parents=True, exist_ok=True)
    if not bar.console.is_terminal and described.any():
        typer.echo(
            f"Encoding what {described.sum():,} items say, but for what {cache} remembers.", err=bar.console.stderr
        )
    texts = [item.content for item, speaks in zip(dataset.items, described, strict=True) if speaks]
    vectors = Encoder(model, cache).encode(texts, lambda done, total: bar.update(task, completed=done, total=total))
    bar.update(task, completed=len(texts))
    content = np.zeros((len(dataset.items), vectors.shape[1]), np.float32)
    content[described] = vectors
    return content
