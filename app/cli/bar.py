"""The progress bar of whatever trains."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress


def open_bar(stderr: bool = False) -> Progress:
    """A bar whose tasks have a note: to enter, and to add tasks to. It fits 80 columns; off a terminal there is none.

    Args:
        stderr: keep stdout for a report.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    console = Console(stderr=stderr)
    return Progress(
        TextColumn("{task.description:>10}"),
        BarColumn(bar_width=None),
        TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(),
        TextColumn("<="),
        TimeRemainingColumn(),
        expand=True,
        console=console,
        disable=not console.is_terminal,
    )
