"""The lines of a text, each with its number."""

from __future__ import annotations

import polars as pl

LINE = "#line"
"""The column that holds a row's line number, counted from 1, in every frame that was read from a file."""


FILLED = pl.col("text").str.contains("[^ ]")
"""Whether a line holds anything but spaces."""


def numbered(text: str) -> pl.DataFrame:
    """(LINE, "text"): the lines of `text`, empty ones too."""
    lines = pl.DataFrame({"text": [text]}).select(pl.col("text").str.split("\n").explode())
    return lines.with_row_index(LINE, offset=1).with_columns(pl.col(LINE).cast(pl.Int64))
