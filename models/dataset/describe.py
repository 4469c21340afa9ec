"""Rows of a table of items -> items: title, categories, and a text made of whatever columns there are."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection

import polars as pl

from models.dataset.columns import CATEGORIES, ITEM_ROW, TITLE, TITLE_ROW, Columns, find, need, plain
from models.dataset.lines import LINE
from models.dataset.report import Refusals
from models.dataset.rows import cleaned, identifiers
from models.dataset.table import Table
from models.item import Item

# Names and tags come first: they are short, and an encoder reads only the beginning of a long text.
PEOPLE = {
    "director": "Directed by", "directors": "Directed by", "actors": "With", "cast": "With", "starring": "With",
    "author": "By", "authors": "By", "artist": "By", "artistname": "By", "brand": "By", "creator": "By",
}  # fmt: skip
TAGS = ("tags", "tag", "keywords", "features", "subjects")
PROSE = (
    "description", "plot", "overview", "summary", "synopsis", "abstract", "text", "content", "body", "about", "blurb",
)  # fmt: skip
YEAR = ("year", "releaseyear", "movieyear", "publicationyear")
NO_CATEGORY = {"(no genres listed)", "unknown", "none", "n/a"}


def describe(
    table: Table, columns: Columns, refusals: Refusals, *, spaced: Collection[str] = (), beside: bool = False
) -> list[Item]:
    """The items of `table`, each once, in its order.

    Args:
        spaced: columns whose categories are separated by spaces (RecBole's `token_seq`).
        beside: the columns lie among interactions: an item may be repeated, and only plain names are trusted.
    Raises:
        DatasetError: no column for the item, or a named column is missing.
    """
    names, frame = table.columns, table.frame
    named = columns.item if columns.item in names else None
    guesses = ITEM_ROW if not beside else (plain(named),) if named else ITEM_ROW
    item = need(names, guesses, named, what="item", file=table.file)
    title = find(names, TITLE if beside else TITLE_ROW, columns.title, what="title", file=table.file)
    for name in columns.text:
        find(names, (), name, what="text", file=table.file)
    frame = frame.with_columns(identifiers(frame[item]).alias("#id"))
    if not beside:
        _refuse(frame, table.file, refusals)
    frame = frame.filter(pl.col("#id").is_not_null()).unique("#id", keep="first", maintain_order=True)
    categories = find(names, CATEGORIES, columns.categories, what="categories", file=table.file)
    year = None if beside else find(names, YEAR, None, what="year", file=table.file)
    taken = {item, title, categories, year}
    said = list(columns.text) or _text_columns(frame.select(name for name in names if name not in taken), beside=beside)
    table.used.update((*taken, *said))
    titles = _titles(_texts(frame, title), _texts(frame, year))
    groups = _categories(_texts(frame, categories), spaced=categories in spaced)
    parts = [[_sentence(name, text) for text in _texts(frame, name)] for name in said]
    texts = [" ".join(filter(None, row)) for row in zip(*parts, strict=True)] if parts else [""] * len(frame)
    rows = zip(frame["#id"].to_list(), titles, texts, groups, strict=True)
    return [Item(id=id_, title=title_, text=text, categories=group) for id_, title_, text, group in rows]


def can_describe(table: Table, columns: Columns) -> bool:
    """Whether a table of interactions also says what its items are."""
    if columns.title or columns.categories or columns.text:
        return True
    return any(plain(name) in (*TITLE, *CATEGORIES) for name in table.columns)


def _refuse(frame: pl.DataFrame, file: str, refusals: Refusals) -> None:
    missing = pl.col("#id").is_null()
    for line in frame.filter(missing)[LINE].to_list():
        refusals.add(file, line, "missing item")
    for line, id_ in frame.filter(~missing & ~pl.col("#id").is_first_distinct()).select(LINE, "#id").iter_rows():
        refusals.add(file, line, f"item '{id_}' is already described on an earlier line")


def _texts(frame: pl.DataFrame, name: str | None) -> list[str]:
    if name is None:
        return [""] * len(frame)
    column = frame[name]
    if isinstance(column.dtype, pl.List):
        column = column.list.eval(pl.element().cast(pl.String)).list.join("|", ignore_nulls=True)
    elif isinstance(column.dtype, pl.Struct):
        column = column.struct.json_encode()
    return cleaned(column).fill_null("").to_list()


def _text_columns(frame: pl.DataFrame, *, beside: bool) -> list[str]:
    """The columns that speak: known names first, then any other that holds prose."""
    by_plain = {plain(name): name for name in reversed(frame.columns) if name not in (LINE, "#id")}
    if beside:
        return [by_plain[name] for name in ("description", "plot", "overview") if name in by_plain]
    known = [by_plain[name] for name in (*PEOPLE, *TAGS, *PROSE) if name in by_plain]
    rest = [name for name in frame.columns if name in by_plain.values() and name not in known]
    return known + [name for name in rest if plain(name) not in CATEGORIES and _is_prose(frame[name])]


def _is_prose(column: pl.Series) -> bool:
    if column.dtype != pl.String:
        return False
    words = column.drop_nulls().head(1000)
    some = words.str.contains(r"\pL+\s+\pL+") & ~words.str.contains(r"://")
    return len(words) > 0 and float(some.sum()) / len(words) >= 0.5


def _titles(titles: list[str], years: list[str]) -> list[str]:
    whole = [year.removesuffix(".0") for year in years]
    return [
        f"{title} ({year})" if title and re.fullmatch(r"\d{4}", year) and year not in title else title
        for title, year in zip(titles, whole, strict=True)
    ]


def _categories(values: list[str], *, spaced: bool) -> list[tuple[str, ...]]:
    whole = "\n".join(values)
    if "|" in whole or not (spaced or ";" in whole or "," in whole):
        cut: Callable[[str], list[str]] = lambda value: value.split("|")  # noqa: E731
    elif ";" in whole or "," in whole:
        cut = re.compile(r"[;]" if ";" in whole else r",").split
    else:
        cut = str.split
    return [
        tuple(dict.fromkeys(part for part in (part.strip(" '\"[]") for part in cut(value)) if _is_category(part)))
        for value in values
    ]


def _is_category(part: str) -> bool:
    return bool(part) and part.lower() not in NO_CATEGORY


def _sentence(name: str, value: str) -> str:
    if not value:
        return ""
    value = ", ".join(part.strip() for part in value.split("|") if part.strip())
    lead = PEOPLE.get(plain(name))
    whole = f"{lead} {value}" if lead else value
    return whole if whole.endswith((".", "!", "?", "…", '"')) else whole + "."
