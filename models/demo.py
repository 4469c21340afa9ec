"""Demo data: a bookshop of our own making, the same for the same seed.

It is a demo, not a benchmark: the readers are drawn from a model of taste, so what is measured on it says how well
that model was found again, and nothing about people.

A reader likes two or three themes and drifts slowly from one mixture to another; stays in a theme for some books on
end, often with one author; prefers the popular among what is left, and now and then picks up something at random.
U = users, I = items, H = themes.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.demo_words import FIRST, GENRES, LAST, Genre, Theme

AUTHORS = 6  # of a theme
START = 1_735_689_600.0  # 2025-01-01, UTC
DAYS = 180.0
MOST = 120  # events of one user
TITLES = (
    "The {a} {n}", "{a} {n}", "The {n} and the {m}", "Of {n} and {m}", "Beyond the {a} {n}", "The {a} {n} and the {m}",
    "{n}, {m}, {o}", "The {m} of the {a} {n}",
)  # fmt: skip
FICTION = 6  # the first genres tell stories
KINDS = ("view", "click", "like", "purchase", "rating", "dislike")
FOUND = (0.33, 0.25, 0.13, 0.11, 0.18, 0.0)  # kinds of event with a book to the reader's taste
STRAY = (0.55, 0.15, 0.0, 0.0, 0.15, 0.15)  # and with any other

Progress = Callable[[int, int], None]


class Shelf(NamedTuple):
    """What the readers choose from: the rows of items.csv, and each item's theme, author and popularity, (I,)."""

    rows: list[tuple[str, str, str, str, str]]
    theme: NDArray[np.int64]
    author: NDArray[np.int64]
    popularity: NDArray[np.float64]


def write(
    folder: Path, *, seed: int = 0, users: int = 3000, items: int = 2000, progress: Progress | None = None
) -> None:
    """Write items.csv and interactions.csv into `folder`; the latter last, so that its presence means all is there.

    Args:
        progress: called with (steps done, steps to do).
    """
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    shelf = _shelf(rng, items)
    _write(folder / "items.csv", ("item_id", "title", "description", "tags", "categories"), shelf.rows)
    events = _events(rng, shelf, users, progress)
    _write(folder / "interactions.csv", ("user_id", "item_id", "kind", "value", "timestamp"), events)


def _shelf(rng: np.random.Generator, count: int) -> Shelf:
    themes = [(genre, theme) for genre in GENRES for theme in genre.themes]
    first, last = FIRST.split("|"), LAST.split("|")
    names = rng.permutation(len(first) * len(last))
    theme = rng.permutation(np.arange(count) % len(themes))
    author = theme * AUTHORS + rng.integers(AUTHORS, size=count)
    titles: set[str] = set()
    rows = []
    for row in range(count):
        genre, subject = themes[theme[row]]
        title = _title(rng, genre, subject, titles)
        name = int(names[author[row] % len(names)])
        writer = f"{first[name % len(first)]} {last[name // len(first)]}"
        # An author keeps to one tone, so that who likes the author can be told from the text.
        tone = genre.tones.split("|")[author[row] % 4]
        hero, deed, place, remark = (
            str(rng.choice(words.split("|")))
            for words in (subject.heroes, subject.deeds, subject.places, genre.remarks)
        )
        form = "novel" if GENRES.index(genre) < FICTION else "book"
        article = "An" if tone[0] in "aeiou" else "A"
        text = f"{hero} {deed}. {place}, {remark}. {article} {tone} {form} by {writer}."
        tags = "|".join((*subject.tags.split("|"), tone))
        rows.append((f"book_{row + 1}", title, text, tags, f"{genre.name}|{subject.name}"))
    rank = (rng.permutation(count) + 1).astype(np.float64)
    return Shelf(rows, theme, author, rank**-0.6)


def _title(rng: np.random.Generator, genre: Genre, theme: Theme, taken: set[str]) -> str:
    """A title that no other book has."""
    adjectives, nouns = genre.adjectives.split("|"), theme.nouns.split("|")
    while True:
        n, m, o = (str(noun) for noun in rng.permutation(nouns)[:3])
        title = str(rng.choice(TITLES)).format(a=rng.choice(adjectives), n=n, m=m, o=o)
        if title not in taken:
            taken.add(title)
            return title


def _events(
    rng: np.random.Generator, shelf: Shelf, users: int, progress: Progress | None
) -> Iterable[tuple[str, str, str, str, int]]:
    """Rows of interactions.csv, oldest first. All users take their next step together."""
    themes = int(shelf.theme.max()) + 1
    early, late = _tastes(rng, users, themes), _tastes(rng, users, themes)
    lengths = np.clip(rng.lognormal(3.1, 0.6, users).astype(int) + 5, 6, min(MOST, len(shelf.rows) // 2))
    begin, span = START + rng.uniform(0, 0.6 * DAYS, users) * 86400, rng.uniform(0.1, 0.4, users) * DAYS * 86400
    seen = np.zeros((users, len(shelf.rows)), bool)
    theme, author = _drawn(rng, early), np.full(users, -1)
    members = _members(shelf.theme, themes)
    parts = []
    for step in range(int(lengths.max())):
        now = np.flatnonzero(lengths > step)
        share = (step / lengths[now])[:, None]
        taste = (1 - share) * early[now] + share * late[now]
        moves = rng.random(len(now)) < 0.25
        theme[now] = np.where(moves, _drawn(rng, taste), theme[now])
        item = _picked(rng, shelf, members, theme[now], author[now], seen[now])
        stray = rng.random(len(now)) < 0.12
        item[stray] = rng.choice(len(shelf.rows), int(stray.sum()), p=shelf.popularity / shelf.popularity.sum())
        new = ~seen[now, item]  # nobody picks up a book twice
        now, item, taste = now[new], item[new], taste[new]
        seen[now, item] = True
        found = taste[np.arange(len(now)), shelf.theme[item]] > 0.05
        author[now] = np.where(found, shelf.author[item], author[now])
        # A step lasts about as long as any other, give or take: nearby steps keep their order.
        time = begin[now] + span[now] * (step + rng.uniform(0, 0.9, len(now))) / lengths[now]
        parts.append((now, item, *_reactions(rng, found), time.astype(np.int64)))
        if progress is not None:
            progress(step + 1, int(lengths.max()))
    user, item, kind, value, when = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.lexsort((user, when))
    for row in order:
        rating = f"{value[row]:.1f}" if value[row] else ""
        yield f"u_{user[row] + 1}", shelf.rows[item[row]][0], KINDS[kind[row]], rating, int(when[row])


def _members(theme: NDArray[np.int64], themes: int) -> NDArray[np.int64]:
    """(H, the largest theme's size): each theme's items, -1 where it has fewer."""
    out = np.full((themes, int(np.bincount(theme).max())), -1)
    for number in range(themes):
        items = np.flatnonzero(theme == number)
        out[number, : len(items)] = items
    return out


def _picked(
    rng: np.random.Generator,
    shelf: Shelf,
    members: NDArray[np.int64],
    theme: NDArray[np.int64],
    author: NDArray[np.int64],
    seen: NDArray[np.bool_],
) -> NDArray[np.int64]:
    """(U,): from each user's theme, a book not seen, for its popularity and for its author."""
    books = members[theme]
    wanted = np.log(shelf.popularity[books]) + 1.6 * (shelf.author[books] == author[:, None])
    wanted[(books < 0) | np.take_along_axis(seen, books, axis=1)] = -np.inf
    best = (wanted + rng.gumbel(size=wanted.shape)).argmax(1)
    picked: NDArray[np.int64] = books[np.arange(len(books)), best]
    return picked


def _tastes(rng: np.random.Generator, users: int, themes: int) -> NDArray[np.float64]:
    """(U, H): what share of a user's reading each theme has; two or three themes have nearly all."""
    taste = np.full((users, themes), 1e-3)
    # Some themes have more friends than others.
    appeal = -0.5 * np.log(rng.permutation(themes) + 1.0)
    liked = np.argsort(-(appeal + rng.gumbel(size=(users, themes))), axis=1)[:, :3]
    taste[np.arange(users)[:, None], liked] = rng.dirichlet((2.0, 1.2, 0.6), users)
    taste /= taste.sum(1, keepdims=True)
    return taste


def _drawn(rng: np.random.Generator, shares: NDArray[np.float64]) -> NDArray[np.int64]:
    """(U,): one theme a user, drawn by its share, (U, H)."""
    drawn: NDArray[np.int64] = (np.log(shares) + rng.gumbel(size=shares.shape)).argmax(1)
    return drawn


def _reactions(rng: np.random.Generator, found: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Kinds (U,) and ratings (U,), 0 where there is none: 3.5 to 5 for a book to the reader's taste, else 1 to 2.5."""
    bounds = np.where(found[:, None], np.cumsum(FOUND), np.cumsum(STRAY))
    kind = np.minimum((rng.random(len(found))[:, None] > bounds).sum(1), len(KINDS) - 1)
    rating = np.where(found, 3.5, 1.0) + 0.5 * rng.integers(4, size=len(found))
    return kind, np.where(kind == KINDS.index("rating"), rating, 0.0)


def _write(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a CSV whole: under another name, then renamed."""
    aside = path.with_suffix(".part")
    with aside.open("w", encoding="utf-8", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(header)
        out.writerows(rows)
        file.flush()
        os.fsync(file.fileno())
    os.replace(aside, path)
