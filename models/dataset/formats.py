"""Which format is it? A folder is known by its files, a file by its suffix."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from models.dataset import generic, movielens, recbole, sequences
from models.dataset.columns import Columns
from models.dataset.dataset import Dataset
from models.dataset.error import DatasetError
from models.dataset.table import SUFFIXES


def read(path: Path, columns: Columns | None = None, items: Path | None = None) -> Dataset:
    """The dataset at `path`.

    MovieLens (the original folder), RecBole atomic files (folder or file), a line a user (`sequences.txt`), or any
    CSV, TSV, Parquet or JSONL: one file of interactions, or a folder that also holds the items.

    Args:
        columns: what the columns are called, where the names do not say.
        items: a table of items, for interactions in a file of their own.
    Raises:
        DatasetError: there is nothing at `path`, its format is unknown, or it holds no valid row.
    """
    path, columns = Path(path), columns or Columns()
    if not path.exists():
        raise DatasetError.expected(f"{path}: there is no such file or folder.")
    own = _own_items(path)
    if own is not None:
        if items is not None:
            raise DatasetError(f"{path}: this format brings its own items; leave {items} out.")
        return own(columns)
    if path.is_dir():
        if (path / "sequences.txt").is_file():
            return sequences.read(path / "sequences.txt", items, columns)
        return generic.read_folder(path, columns, items)
    suffix = path.suffix.lower()
    if suffix == ".txt" and sequences.recognises(path):
        return sequences.read(path, items, columns)
    if suffix in SUFFIXES or suffix == ".txt":
        return generic.read_file(path, columns, items)
    raise DatasetError.expected(f"{path}: '{suffix or path.name}' is no known format; known are {', '.join(KNOWN)}.")


KNOWN = (*SUFFIXES, ".inter (RecBole)", ".dat (MovieLens)", ".txt (a line a user)")


def _own_items(path: Path) -> Callable[[Columns], Dataset] | None:
    """The reader of a format whose files hold interactions and items; None for any other."""
    if path.is_dir():
        atomic = sorted(path.glob("*.inter"))
        if atomic:
            return partial(recbole.read, _only(atomic))
        return partial(movielens.read, path) if movielens.recognises(path) else None
    if path.suffix in (".inter", ".item", ".user"):
        return partial(recbole.read, path.with_suffix(".inter"))
    return partial(movielens.read, path.parent) if path.suffix == ".dat" else None


def _only(files: list[Path]) -> Path:
    if len(files) > 1:
        names = ", ".join(file.name for file in files)
        raise DatasetError(f"{files[0].parent}: several .inter files ({names}); give the path of one of them.")
    return files[0]
