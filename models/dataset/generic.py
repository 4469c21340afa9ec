"""Any table of interactions, alone or in a folder beside a table of items."""

from __future__ import annotations

from pathlib import Path

from models.dataset.columns import Columns
from models.dataset.dataset import Dataset, assemble
from models.dataset.describe import can_describe, describe
from models.dataset.error import DatasetError
from models.dataset.report import Refusals
from models.dataset.rows import check
from models.dataset.table import SUFFIXES, load

INTERACTIONS = (
    "interactions", "user_item_interactions", "ratings", "events", "reviews", "clicks", "purchases", "orders", "train",
)  # fmt: skip
ITEMS = ("items", "movies", "products", "books", "articles", "tracks", "catalogue", "catalog", "metadata", "meta")
OTHERS = ("users", "links", "tags", "customers")


def read_folder(folder: Path, columns: Columns, items: Path | None) -> Dataset:
    """The folder's table of interactions, with its table of items if there is one.

    Raises:
        DatasetError: no table of interactions can be told from the names.
    """
    tables = sorted(file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES)
    by_stem = {file.stem.lower(): file for file in reversed(tables)}
    found = next((by_stem[stem] for stem in INTERACTIONS if stem in by_stem), None)
    if found is None:
        left = [file for file in tables if file.stem.lower() not in (*ITEMS, *OTHERS)]
        found = left[0] if len(left) == 1 else None
    if found is None:
        seen = ", ".join(sorted(file.name for file in folder.iterdir())) or "nothing"
        raise DatasetError.expected(
            f"{folder}: no file of interactions (such as interactions.csv); the folder holds {seen}."
        )
    items = items or next((by_stem[stem] for stem in ITEMS if stem in by_stem), None)
    return _read(folder.name, found, columns, items)


def read_file(path: Path, columns: Columns, items: Path | None) -> Dataset:
    """One table of interactions; the items come from `items`, else from the same rows."""
    return _read(path.stem, path, columns, items)


def _read(name: str, path: Path, columns: Columns, items: Path | None) -> Dataset:
    refusals = Refusals()
    table = load(path, refusals)
    malformed = refusals.count
    rows = check(table, columns, refusals, malformed)
    if items is not None:
        source = load(items, refusals)
        described = describe(source, columns, refusals)
        return assemble(name, [path, items], rows, described, refusals, [table, source])
    described = describe(table, columns, refusals, beside=True) if can_describe(table, columns) else []
    return assemble(name, [path], rows, described, refusals, [table])
