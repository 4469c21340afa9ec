"""One item of the catalogue, as people describe it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Item:
    """An item: what it is called, what it says, where it belongs and whether it may be recommended."""

    id: str
    title: str = ""
    text: str = ""
    categories: tuple[str, ...] = ()
    available: bool = True

    @property
    def content(self) -> str:
        """The text that content vectors are made from: title, categories and text, or the id where there is nothing."""
        parts = (self.title, ", ".join(self.categories), self.text)
        return ". ".join(part for part in parts if part) or self.id

    @property
    def said(self) -> str:
        """What it says of itself: its content, or nothing where that is only the id."""
        return self.content if self.title or self.text or self.categories else ""
