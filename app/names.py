"""The ids of a catalogue's rows, as they are and as an answer writes them.

Letters: B answers, K rows of each, N rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import accumulate, pairwise
from json.encoder import encode_basestring_ascii as quoted

import numpy as np
from numpy.typing import NDArray

from models.library import called, library, place

Whole = NDArray[np.int64]

BEFORE, BETWEEN, AFTER = '"items":[{"item_id":"', '"},{"item_id":"', '"}'
NONE = '"items":['


def end(snapshot: str, degraded: bool) -> str:
    """What an answer's JSON says after its items."""
    return f',"snapshot":{quoted(snapshot)},"degraded":{"true" if degraded else "false"}}}'


class Names:
    """They never change."""

    def __init__(self, ids: Sequence[str]) -> None:
        self._ids = ids
        if library() is None:
            return
        together = "".join(ids)
        escaped = len(quoted(together)) > len(together) + 2
        pieces = [quoted(each)[1:-1] for each in ids] if escaped else ids
        self._begins = np.fromiter(accumulate(map(len, pieces), initial=0), np.int64, len(ids) + 1)
        self._longest = max(map(len, pieces), default=0)
        self._together = ("".join(pieces) if escaped else together).encode()

    def of(self, rows: Iterable[int]) -> list[str]:
        """The ids of these rows."""
        ids = self._ids
        return [ids[row] for row in rows]

    def written(self, rows: Whole, counts: Whole, rest: str) -> list[str]:
        """The JSON of each answer's `items`, and after the bracket that ends them the `rest`, (B,).

        Args:
            rows: (B, K), of which the first `counts`, (B,), count.
            rest: ASCII.
        """
        after, none = f"{AFTER}]{rest}", f"{NONE}]{rest}"
        if library() is None:
            named = [[quoted(name)[1:-1] for name in self.of(few)] for few in _first(rows, counts)]
            return [f"{BEFORE}{BETWEEN.join(few)}{after}" if few else none for few in named]
        B, K = rows.shape
        out = np.empty(B * (len(after) + len(none) + len(BEFORE) + K * (self._longest + len(BETWEEN))), np.uint8)
        ends = np.empty(B, np.int64)
        called(
            "innerloop_join",
            self._together, place(self._begins), B, K, place(rows), place(counts), BEFORE.encode(), BETWEEN.encode(),
            after.encode(), none.encode(), place(out), place(ends),
        )  # fmt: skip
        text, places = out[: ends[-1] if B else 0].tobytes().decode(), [0, *ends.tolist()]
        return [text[begin:until] for begin, until in pairwise(places)]


def _first(rows: Whole, counts: Whole) -> list[list[int]]:
    return [few[:count] for few, count in zip(rows.tolist(), counts.tolist(), strict=True)]
