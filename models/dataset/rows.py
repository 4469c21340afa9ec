"""Rows of a table -> checked interactions, each refused row with its reason."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from models.dataset import timestamps
from models.dataset.columns import ITEM, KIND, ORDER, TIME, USER, VALUE, Columns, find, need, plain
from models.dataset.lines import LINE
from models.dataset.report import Refusals
from models.dataset.table import Table
from models.interaction import KIND_CODES, KINDS

SPELLINGS = {
    "pageview": "view", "page_view": "view", "impression": "view", "pv": "view",
    "buy": "purchase", "order": "purchase", "transaction": "purchase", "bought": "purchase",
    "addtocart": "cart", "add_to_cart": "cart", "add-to-cart": "cart",
    "fav": "save", "favorite": "save", "favourite": "save", "bookmark": "save", "wishlist": "save",
    "rate": "rating", "listen": "play", "watch": "play",
}  # fmt: skip
CLOCK = 1e8  # the largest time of data with a clock is past 1973; positions in a history are far below


@dataclass(frozen=True, slots=True)
class Rows:
    """Sound interactions: user, item (strings), kind (code), value and time; `read` counts good rows and bad.

    `timed`: whether a column said when, or in what order, they came; else they are in the order of the file.
    """

    frame: pl.DataFrame
    read: int
    duplicates: int
    timed: bool
    clock: bool


def check(table: Table, columns: Columns, refusals: Refusals, malformed: int = 0) -> Rows:
    """The sound rows of `table`, in file order, exact repeats dropped.

    Without a kind, a row with a value is a rating and one without is a view. Without a time, the file's order is kept.

    Args:
        malformed: rows of the file that were refused before they came here; they count as read.
    Raises:
        DatasetError: no column for the user or the item.
    """
    names, frame, file = table.columns, table.frame, table.file
    user = need(names, USER, columns.user, what="user", file=file)
    item = need(names, ITEM, columns.item, what="item", file=file)
    kind = find(names, KIND, columns.kind, what="kind", file=file)
    value = find(names, VALUE, columns.value, what="value", file=file)
    time = find(names, TIME, columns.time, what="time", file=file)
    table.used.update((user, item, kind, value, time))
    empty = pl.Series([None], dtype=pl.String).new_from_index(0, len(frame))
    raw = {
        "user": identifiers(frame[user]),
        "item": identifiers(frame[item]),
        "raw_kind": cleaned(frame[kind]) if kind else empty,
        "raw_value": cleaned(frame[value]) if value else empty,
        "raw_time": cleaned(frame[time]) if time else empty,
    }
    checked = pl.DataFrame({LINE: frame[LINE], **raw}).with_columns(
        raw["raw_value"].cast(pl.Float64, strict=False).alias("value"),
        (timestamps.seconds(frame[time]) if time else empty.cast(pl.Float64)).alias("time"),
        _kinds(raw["raw_kind"]).alias("kind"),
    )
    checked = checked.with_columns(_reason(timed=time is not None, kinds=kind is not None).alias("reason"))
    bad = checked["reason"].is_not_null()
    for line, reason in checked.filter(bad).select(LINE, "reason").iter_rows():
        refusals.add(file, line, reason)
    sound = checked.filter(~bad).select(LINE, "user", "item", "kind", "value", "time")
    once = sound.unique(["user", "item", "kind", "value", "time"], keep="first", maintain_order=True)
    clock = time is not None and plain(time) not in ORDER and bool((once["time"].max() or 0) >= CLOCK)  # type: ignore[operator]
    if time is None:
        once = once.with_columns(pl.int_range(len(once)).cast(pl.Float64).alias("time"))
    return Rows(once.drop(LINE), len(frame) + malformed, len(sound) - len(once), time is not None, clock)


def cleaned(column: pl.Series) -> pl.Series:
    """A column as stripped strings; what is empty, or a number that is none, is null."""
    if column.dtype.is_float():
        column = column.fill_nan(None)
    return column.cast(pl.String, strict=False).str.strip_chars().replace("", None)


def identifiers(column: pl.Series) -> pl.Series:
    """A column of ids as strings. Whole numbers kept as floats, as a missing one makes of a column, lose their ".0"."""
    if column.dtype.is_float():
        return cleaned(column).str.strip_suffix(".0")
    return cleaned(column)


def _kinds(raw: pl.Series) -> pl.Series:
    known = {**KIND_CODES, **{spelling: KIND_CODES[kind] for spelling, kind in SPELLINGS.items()}}
    return raw.str.to_lowercase().replace_strict(known, default=None, return_dtype=pl.UInt8)


def _reason(*, timed: bool, kinds: bool) -> pl.Expr:
    raw_value, raw_kind, raw_time = pl.col("raw_value"), pl.col("raw_kind"), pl.col("raw_time")
    late = pl.lit(timed) & pl.col("time").is_null()
    return (
        pl.when(pl.col("user").is_null()).then(pl.lit("missing user"))
        .when(pl.col("item").is_null()).then(pl.lit("missing item"))
        .when(raw_value.is_not_null() & ~(pl.col("value").abs() <= 3e38).fill_null(value=False))
        .then(pl.format("value is not a number: '{}'", raw_value))
        .when(pl.lit(kinds) & raw_kind.is_not_null() & pl.col("kind").is_null())
        .then(pl.format("unknown kind '{}': allowed are " + ", ".join(KINDS), raw_kind))
        .when(late & raw_time.is_null()).then(pl.lit("missing timestamp"))
        .when(late)
        .then(pl.format("unreadable timestamp '{}': expected " + timestamps.READABLE, raw_time))
    )  # fmt: skip
