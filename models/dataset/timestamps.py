"""Timestamps as people write them -> seconds since the epoch."""

from __future__ import annotations

import polars as pl

ISO = (
    r"^(?<date>\d{4}[-/]\d{2}[-/]\d{2})(?:[T ](?<clock>\d{2}:\d{2})(?<second>:\d{2})?(?<part>[.,]\d{1,9})?)?"
    r" ?(?<zone>Z|z|UTC|[+-]\d{2}:?\d{2})?$"
)
READABLE = "seconds or milliseconds since the epoch, or ISO 8601 such as 2024-05-01T12:00:00Z"


def seconds(column: pl.Series) -> pl.Series:
    """Seconds since the epoch, (N,) Float64; null where the value is missing or unreadable.

    Numbers are seconds, or milli-, micro- or nanoseconds where they would otherwise lie past the year 5138; text may
    be a number or ISO 8601, in UTC unless it says otherwise.
    """
    if column.dtype in (pl.Date, pl.Datetime):
        return column.dt.epoch("us") / 1e6
    if column.dtype.is_numeric():
        return _scaled(column.cast(pl.Float64))
    text = column.cast(pl.String).str.strip_chars()
    numbers = text.cast(pl.Float64, strict=False)
    if numbers.null_count() == text.null_count():
        return _scaled(numbers)
    return _scaled(numbers).zip_with(numbers.is_not_null(), _iso(text))


def _scaled(numbers: pl.Series) -> pl.Series:
    size = pl.col("n").abs()
    scaled = (
        pl.when(~pl.col("n").is_finite()).then(None)
        .when(size >= 1e17).then(pl.col("n") / 1e9)
        .when(size >= 1e14).then(pl.col("n") / 1e6)
        .when(size >= 1e11).then(pl.col("n") / 1e3)
        .otherwise(pl.col("n"))
    )  # fmt: skip
    return numbers.to_frame("n").select(scaled.alias("time")).to_series()


def _iso(text: pl.Series) -> pl.Series:
    part = pl.col("t").struct.field
    zone = part("zone").str.replace(r"^(?:Z|z|UTC)$", "+00:00").str.replace(r"^(...)(\d\d)$", "$1:$2")
    whole = pl.concat_str(
        part("date").str.replace_all("/", "-", literal=True), pl.lit("T"),
        part("clock").fill_null("00:00"), part("second").fill_null(":00"),
        part("part").fill_null("").str.replace(",", ".", literal=True), zone.fill_null("+00:00"),
    )  # fmt: skip
    moment = whole.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%:z", strict=False, time_unit="us", time_zone="UTC")
    groups = text.str.extract_groups(ISO).to_frame("t")
    return groups.select((moment.dt.epoch("us") / 1e6).alias("time")).to_series()
