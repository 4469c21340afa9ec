"""The command line. Each command is a file; what takes long to import is imported when its command runs."""

from __future__ import annotations

import signal
import sys

import typer

from app.cli import demo, evaluate, load, recommend, serve, train, validate, worker
from app.cli import settings as settings_command

app = typer.Typer(
    name="innerloop",
    help="The online recommender that learns each user in milliseconds.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

app.command()(serve.serve)
app.command()(worker.worker)
app.command()(train.train)
app.command("import")(load.load)
app.command()(evaluate.evaluate)
app.command()(recommend.recommend)
app.command()(validate.validate)
app.command()(demo.demo)
app.command()(settings_command.settings)


def main() -> None:
    """The console script. What is wrong with the input is said in one message, without a trace; the exit code is 2."""
    from app.settings import SettingsError

    # SIGTERM ends a command as Ctrl-C does; the first process of a container would not even notice it otherwise.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        app()
    except SettingsError as error:
        print(f"innerloop: a setting is not allowed.\n{error}", file=sys.stderr)  # noqa: T201
        raise SystemExit(2) from None
