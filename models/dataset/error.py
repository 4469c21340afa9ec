"""The one error of reading data: it always says what was expected."""

from __future__ import annotations

from collections.abc import Iterable

EXAMPLE = "user,item,rating,timestamp\nu_1,i_42,4.5,2024-05-01T12:00:00Z"


class DatasetError(ValueError):
    """The data cannot be read at all. The message names the file and shows what would be read."""

    @classmethod
    def expected(cls, problem: str, *, seen: Iterable[str] = ()) -> DatasetError:
        """The problem, the columns that were seen, those that are wanted, and an example."""
        names = ", ".join(seen)
        return cls(
            f"{problem}\n"
            + (f"  columns seen:   {names}\n" if names else "")
            + "  columns wanted: a user and an item; if there are any: kind, rating or value, timestamp\n"
            + "                  (names such as user_id, customer_id, item_id, movieId, asin are recognised;\n"
            + "                  name any others with the column options)\n"
            + "  example:\n    "
            + EXAMPLE.replace("\n", "\n    ")
        )
