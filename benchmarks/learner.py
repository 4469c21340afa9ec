"""How good is the learner? innerloop and tuned opponents on the same files, by the same protocol, in the same run.

    python -m benchmarks.learner --protocol loo --data amazon-beauty --models innerloop,sasrec,ease --json OUT.json

Protocols
    loo         of every user the last item tests, the one before it validates
    cold-user   users never trained on: k events are known, the next 10 are to be found
    cold-item   items never trained on: their text is known
    ratings     MeLU's protocol: ratings of cold users, cold items and both, from a few ratings
    time        a log cut at one moment, then period by period: frozen, refreshed, or trained again from nothing

Models
    loo, cold-user, cold-item
                popularity, popularity-place, itemknn, itemknn-recency, ials, ease, ease-recency, sasrec, content-knn,
                content-knn-words, innerloop, innerloop-fomaml, innerloop-reptile; for loo alone rectools-sasrec,
                rectools-esasrec and rectools-hstu, after `make rectools`
    ratings     innerloop, bias, bias-content, svd++, maml, fomaml, reptile
    time        frozen, refreshed, retrained, popularity
    `all` means all of them, for loo with RecTools'

The outer algorithms in one table: --models innerloop,innerloop-fomaml,innerloop-reptile (innerloop itself is MAML).

In the ranking protocols every item is ranked, seen ones are left out, and ties count against the ranker. Settings of
all models are searched on validation figures alone, with --trials for each; the chosen ones are then tested with every
seed. OUT.json is written after every run: the same command goes on where it was interrupted. `make report` turns the
files of benchmarks/results into tables and plots; `python -m benchmarks.published` prints the commands that made them.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

PROTOCOLS = ("loo", "cold-user", "cold-item", "ratings", "time")
ONLY: dict[tuple[str, ...], dict[str, Any]] = {
    ("loo", "cold-user", "cold-item", "ratings"): {"trials": 10},
    ("cold-user", "cold-item", "ratings"): {"split": None},
    ("cold-user",): {"shots": [1, 3, 5, 10, 20], "draws": 1, "folds": 5},
    ("time",): {"first": 0.5, "periods": 10, "refresh_events": 4000},
}
"""Options that some protocols have, and others must not be given, with their defaults."""
COLUMNS = ("user", "item", "kind", "value", "time")


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.learner", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--protocol", choices=PROTOCOLS, required=True)
    parser.add_argument("--data", type=Path, required=True, help="the data set's folder or file")
    parser.add_argument("--models", required=True, type=_words, help="names from above, with commas, or `all`")
    parser.add_argument("--json", type=Path, required=True, help="where the runs are kept; resumed if it is there")
    parser.add_argument("--seeds", type=_numbers, default=[0], help="with commas; the first also searches (default: 0)")
    parser.add_argument("--trials", type=_whole, help="settings tried for each model, ours too (10)")
    parser.add_argument("--epochs", type=_whole, help="the most epochs of any training, instead of a model's own")
    parser.add_argument("--patience", type=_whole, help="epochs without gain that end a training, instead of 10")
    parser.add_argument(
        "--device",
        default="cpu",
        help="cpu (the default) or cuda: where the ranking protocols train innerloop, sasrec and RecTools' models; all "
        "else, and all of ratings and time, is for the cpu",
    )
    parser.add_argument("--threads", type=_whole, help="threads of torch; all cores by default")
    parser.add_argument("--resamples", type=_whole, default=2000, help="of the bootstrap (default: 2000)")
    parser.add_argument(
        "--cache", type=Path, default=Path(".innerloop/content.sqlite"), help="where content vectors are remembered"
    )
    columns = parser.add_argument_group("a CSV of your own, where its columns are not recognised")
    for name in COLUMNS:
        columns.add_argument(f"--{name}-column", metavar="NAME", help=f"the column of {name}s")
    listed = parser.add_argument_group("cold-user, cold-item and ratings, which needs it")
    listed.add_argument("--split", type=Path, help="a JSON file with the ids of cold_users and cold_items")
    cold = parser.add_argument_group("cold-user")
    cold.add_argument("--shots", type=_numbers, help="sizes of support (1,3,5,10,20)")
    cold.add_argument("--draws", type=_whole, help="random supports a cold user (default: 1)")
    cold.add_argument("--folds", type=_whole, help="folds of cold users without --split; 1: one split (5)")
    clock = parser.add_argument_group("time")
    clock.add_argument("--first", type=_share, help="the share of events before the cut (default: 0.5)")
    clock.add_argument("--periods", type=_whole, help="periods after the cut (default: 10)")
    clock.add_argument("--refresh-events", type=_whole, help="fresh events a refresh (the worker's 4000)")
    return parser


def parse(parser: argparse.ArgumentParser, words: Sequence[str] | None = None) -> argparse.Namespace:
    """The options, the defaults filled in; exits with 2 where the protocol has no use for one that was given."""
    options = parser.parse_args(words)
    options.columns = {name: getattr(options, f"{name}_column") for name in COLUMNS}
    wrong = ["--folds is for cold-user without --split"] if options.folds and options.split else []
    for protocols, defaults in ONLY.items():
        for name, default in defaults.items():
            if getattr(options, name) is None:
                setattr(options, name, default)
            elif options.protocol not in protocols:
                wrong.append(f"--{name.replace('_', '-')} is for {', '.join(protocols)}")
    if wrong:
        parser.error(f"--protocol {options.protocol}: {'; '.join(wrong)}")
    return options


def main() -> None:
    """Run what is asked and not yet done, then print the table."""
    parser = arguments()
    options = parse(parser)
    if options.protocol in ("ratings", "time") and options.device != "cpu":
        parser.error(f"{options.protocol} runs on the cpu alone, not on {options.device}: leave --device out")
    import torch

    from benchmarks.host import revision

    if options.threads:
        torch.set_num_threads(options.threads)
    revision()  # of the code that is loaded, whatever is changed while it runs
    try:
        module = {"ratings": "ratings", "time": "prequential"}.get(options.protocol, "ranking")
        import_module(f"benchmarks.protocols.{module}").run(options, _say())
    except (ValueError, OSError) as error:
        parser.exit(2, f"benchmarks.learner: {error}\n")
    except KeyboardInterrupt:
        parser.exit(130, "\nStopped. The same command goes on after the last finished run.\n")


def _words(text: str) -> list[str]:
    words = [word.strip() for word in text.split(",") if word.strip()]
    if not words:
        raise argparse.ArgumentTypeError(f"{text!r} names nothing")
    return words


def _whole(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 on")
    return int(text)


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 < share < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number between 0 and 1")
    return share


def _numbers(text: str) -> list[int]:
    words = _words(text)
    if not words or not all(word.isdecimal() for word in words):
        raise argparse.ArgumentTypeError(f"{text!r} is no list of whole numbers with commas, such as 0,1,2")
    return [int(word) for word in words]


def _say() -> Any:
    began = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - began:8.0f} s  {text}", file=sys.stderr, flush=True)

    return say


if __name__ == "__main__":
    main()
