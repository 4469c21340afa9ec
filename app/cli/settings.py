"""innerloop settings: what may be set, and the README's table of it."""

from __future__ import annotations

from typing import Annotated

import typer


def settings(
    markdown: Annotated[bool, typer.Option("--markdown", help="As the README has it.")] = False,
) -> None:
    """List every setting, with its default and what is allowed."""
    from rich.console import Console
    from rich.markdown import Markdown

    from app.settings import markdown as table

    if markdown:
        typer.echo(table())
    else:
        Console().print(Markdown(table()))
