"""Which column is which: named by the caller, or guessed from the names people use."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from models.dataset.error import DatasetError


@dataclass(frozen=True, slots=True)
class Columns:
    """Column names. What is left out is guessed; what is named must exist.

    `title`, `categories` and `text` are looked for in the items file, or among the interactions where there is none.
    """

    user: str | None = None
    item: str | None = None
    kind: str | None = None
    value: str | None = None
    time: str | None = None
    title: str | None = None
    categories: str | None = None
    text: tuple[str, ...] = ()


# Best first, written as `plain` writes them.
USER = (
    "user", "userid", "uid", "username", "useridx", "customer", "customerid", "visitor", "visitorid", "reviewer",
    "reviewerid", "account", "accountid", "member", "memberid", "client", "clientid", "person", "personid",
    "profileid", "session", "sessionid",
)  # fmt: skip
ITEM = (
    "item", "itemid", "iid", "itemidx", "movie", "movieid", "product", "productid", "parentasin", "asin", "sku",
    "article", "articleid", "book", "bookid", "isbn", "track", "trackid", "song", "songid", "artistid", "video",
    "videoid", "game", "gameid", "newsid", "contentid", "recipeid", "businessid", "gmapid", "poi", "poiid", "venueid",
)  # fmt: skip
KIND = (
    "kind", "event", "eventtype", "eventname", "action", "actiontype", "behavior", "behaviortype", "behaviour",
    "interaction", "interactiontype", "type",
)  # fmt: skip
VALUE = ("rating", "ratings", "score", "stars", "star", "overall", "value", "weight")
ORDER = ("position", "order", "sequence", "seq", "rank", "step")
TIME = (
    "timestamp", "time", "datetime", "date", "ts", "unixreviewtime", "unixtime", "eventtime", "createdat", "created",
    "ratedat", "reviewtime", "reviewdate", "at", *ORDER,
)  # fmt: skip
ITEM_ROW = (*ITEM, "id")
TITLE = ("title", "itemtitle", "movietitle", "mltitle", "producttitle", "booktitle", "trackname", "songtitle")
TITLE_ROW = (*TITLE, "name", "itemname", "productname", "headline")
CATEGORIES = ("genres", "genre", "categories", "category", "class", "mlgenres", "topics", "section")


def plain(name: str) -> str:
    """A name without case, spaces and marks: "User ID" and "user_id" are both "userid"."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def find(names: Sequence[str], guesses: Sequence[str], named: str | None, *, what: str, file: str) -> str | None:
    """The column that `named` names, else the best guess, else None.

    Raises:
        DatasetError: the named column is not there.
    """
    if named is not None:
        if named not in names:
            raise DatasetError.expected(f"{file}: there is no column '{named}' for the {what}.", seen=names)
        return named
    by_plain = {plain(name): name for name in reversed(names)}
    return next((by_plain[guess] for guess in guesses if guess in by_plain), None)


def need(names: Sequence[str], guesses: Sequence[str], named: str | None, *, what: str, file: str) -> str:
    """As `find`, for a column that there must be.

    Raises:
        DatasetError: the named column is not there, or none can be guessed.
    """
    found = find(names, guesses, named, what=what, file=file)
    if found is None:
        raise DatasetError.expected(f"{file}: no column was recognised as the {what}.", seen=names)
    return found
