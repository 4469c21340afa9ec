"""MovieLens as published: ratings, movies and free tags, as CSV with headers or as `::` files without."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import polars as pl

from models.dataset.columns import Columns
from models.dataset.dataset import Dataset, assemble
from models.dataset.describe import describe
from models.dataset.lines import LINE
from models.dataset.report import Refusals
from models.dataset.rows import check
from models.dataset.table import Table, load

NAMES = {
    "ratings": ["userId", "movieId", "rating", "timestamp"],
    "movies": ["movieId", "title", "genres"],
    "tags": ["userId", "movieId", "tag", "timestamp"],
}
SUFFIXES = (".csv", ".dat")
TAGS_KEPT = 20  # an item's commonest free tags


def recognises(folder: Path) -> bool:
    """Whether the folder holds MovieLens's files."""
    return any(all((folder / f"{name}{suffix}").is_file() for name in ("ratings", "movies")) for suffix in SUFFIXES)


def read(folder: Path, columns: Columns) -> Dataset:
    """Ratings with the movies' titles and genres, and each movie's commonest tags as its text.

    Raises:
        DatasetError: a file is missing, or there is no valid row.
    """
    refusals = Refusals()
    ratings, path = _table(folder, "ratings", refusals)
    rows = check(ratings, columns, refusals, refusals.count)
    movies, movies_path = _table(folder, "movies", refusals)
    files, tables = [path, movies_path], [ratings, movies]
    if (folder / f"tags{path.suffix}").is_file():
        tags, tags_path = _table(folder, "tags", refusals)
        movies = replace(movies, frame=_tagged(movies.frame, tags.frame))
        tags.used.update(tags.columns)
        files, tables = [*files, tags_path], [*tables, tags]
    items = describe(movies, columns, refusals)
    return assemble(folder.resolve().name, files, rows, items, refusals, tables)


def _table(folder: Path, name: str, refusals: Refusals) -> tuple[Table, Path]:
    path = folder / f"{name}.csv"
    if path.is_file():
        return load(path, refusals), path
    path = folder / f"{name}.dat"
    return load(path, refusals, separator="::", names=NAMES[name]), path


def _tagged(movies: pl.DataFrame, tags: pl.DataFrame) -> pl.DataFrame:
    """The movies with a column of their tags, commonest first, joined with "|"."""
    if not {"movieId", "tag"} <= set(tags.columns) or "movieId" not in movies.columns:
        return movies
    tag = pl.col("tag").str.strip_chars().str.to_lowercase().str.replace_all("|", " ", literal=True)
    counted = tags.with_columns(tag).drop_nulls("tag").group_by("movieId", "tag")
    best = counted.agg(pl.len().alias("count"), pl.col(LINE).min()).sort("count", LINE, descending=[True, False])
    joined = best.group_by("movieId").agg(pl.col("tag").head(TAGS_KEPT).str.join("|").alias("tags"))
    return movies.join(joined, on="movieId", how="left", maintain_order="left")
