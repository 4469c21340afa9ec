"""The progress bar of whatever trains."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress


def open_bar(stderr: bool = False) -> Progress:
    """A bar whose tasks have a note: to enter, and to add tasks to. It takes what 80 columns leave it.

    Args:
        stderr: keep stdout for a report.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    return Progress(
        TextColumn("{task.description:>10}"),
        BarColumn(bar_width=None),
        TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(),
        TextColumn("\u2264"),
        TimeRemainingColumn(),
        expand=True,
        console=Console(stderr=stderr),
    )
