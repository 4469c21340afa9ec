"""JSON lines -> a frame of strings, one object a line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import polars as pl

from models.dataset.error import DatasetError
from models.dataset.lines import FILLED, LINE, numbered
from models.dataset.report import Refusals

LOOKED_AT = 1000  # lines spread over the file that are looked at for their keys


def parse(text: str, file: str, refusals: Refusals) -> pl.DataFrame:
    """A frame of strings with a LINE column; lists are joined with "|", a missing or null value is null.

    Raises:
        DatasetError: no line is a JSON object.
    """
    lines = numbered(text).filter(FILLED)
    whole = pl.col("text").str.json_path_match("$")
    an_object = pl.col("text").str.contains(r"^\s*\{") & whole.is_not_null()
    for line in lines.filter(~an_object)[LINE].to_list():
        refusals.add(file, line, "not a JSON object")
    lines = lines.filter(an_object)
    if lines.is_empty():
        raise DatasetError.expected(
            f'{file}: no line is a JSON object such as {{"user": "u_1", "item": "i_42", "rating": 4.5}}.'
        )
    step = max(len(lines) // LOOKED_AT, 1)
    keys = dict.fromkeys(key for line in lines["text"].gather_every(step) for key in json.loads(line, strict=False))
    return lines.select(LINE, *(_values(lines["text"], key) for key in keys if re.fullmatch(r"[^'\"\\\[\]]+", key)))


def _values(text: pl.Series, key: str) -> pl.Series:
    values = text.str.json_path_match(f"$['{key}']").replace("", None).alias(key)
    lists = values.filter(values.str.starts_with("[").fill_null(value=False)).unique()
    if lists.is_empty():
        return values
    return values.replace(lists, pl.Series([_joined(text) for text in lists], dtype=pl.String))


def _joined(text: str) -> str:
    """A JSON list, however nested, as "a|b"; text that only looks like one stays as it is."""
    try:
        found = json.loads(text, strict=False)
    except json.JSONDecodeError:
        return text
    return "|".join(str(part) for part in _flat(found))


def _flat(value: object) -> Iterator[object]:
    if isinstance(value, list):
        for part in value:
            yield from _flat(part)
    else:
        yield value
