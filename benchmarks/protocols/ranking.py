"""The ranking protocols' way from the command line to a finished file."""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from benchmarks.contenders import RANKERS
from benchmarks.corpus import Corpus
from benchmarks.opponents.rectools_adapter import RecTools, interpreter
from benchmarks.outcome import outcome, table
from benchmarks.protocols import cold_item, cold_user, loo
from benchmarks.runs import Runs
from benchmarks.sweep import KEPT, sweep
from benchmarks.task import Contender, Limits, Part, Say
from models.dataset import Columns

T = TypeVar("T")
ALL = ["all"]


def run(options: argparse.Namespace, say: Say) -> None:
    """Read, run what is not finished, compare, and print the table.

    Raises:
        ValueError: a model or an option that does not exist or does not fit.
    """
    contenders = chosen(options.protocol, options.models)
    corpus = corpus_of(options)
    if any(contender.name.startswith(("innerloop", "content-knn")) for contender in contenders):
        say(f"content vectors: {corpus.content.shape}")  # encoded here, so that no training pays for it
    split = read_split(options.split)
    parts = divide(options, corpus, split)
    runs = Runs(options.json, about(options, corpus))
    limits = Limits(options.device, options.epochs, options.patience)
    sweep(contenders, parts, options.seeds, options.trials, limits, runs, say)
    runs.merge()
    runs.outcome = outcome(runs, options.resamples, KEPT[options.protocol][0])
    runs.save()
    print(table(runs.outcome))


def chosen(protocol: str, names: list[str]) -> list[Contender]:
    """The contenders of these names: RecTools' in leave-one-out alone, where they must be installed before all trains.

    Raises:
        ValueError: there is no such contender, in this protocol or on this machine.
    """
    known = {name: one for name, one in RANKERS.items() if protocol == "loo" or not isinstance(one, RecTools)}
    found = named(names, known)
    if any(isinstance(one, RecTools) for one in found):
        interpreter()
    return found


def corpus_of(options: argparse.Namespace) -> Corpus:
    """The corpus that the command line names."""
    return Corpus.read(options.data, options.cache, Columns(**options.columns))


def divide(options: argparse.Namespace, corpus: Corpus, split: dict[str, list[str]]) -> list[Part]:
    """The protocol's parts."""
    if options.protocol == "loo":
        return loo.parts(corpus)
    if options.protocol == "cold-user":
        cold = corpus.users_of(listed(split, "cold_users")) if split else None
        return cold_user.parts(corpus, options.shots, options.draws, options.folds, cold)
    return cold_item.parts(corpus, corpus.rows_of(listed(split, "cold_items")))


def about(options: argparse.Namespace, corpus: Corpus) -> dict[str, Any]:
    """What tells these runs from those of another benchmark."""
    out = {
        "protocol": options.protocol,
        "data": corpus.dataset.name,
        "checksum": corpus.dataset.checksum,
        "users": len(corpus.histories),
        "items": corpus.items,
        "interactions": len(corpus.dataset.interactions),
        "limits": {"epochs": options.epochs, "patience": options.patience},
    }
    if corpus.columns != Columns():
        out["columns"] = {name: column for name, column in asdict(corpus.columns).items() if column}
    if options.protocol == "cold-user":
        split = "listed" if options.split else options.folds
        out |= {"shots": options.shots, "draws": options.draws, "folds": split}
    if options.split and options.protocol in ("cold-user", "cold-item", "ratings"):
        told = json.dumps(read_split(options.split), sort_keys=True)
        out |= {"split": hashlib.sha256(told.encode()).hexdigest()}
    return out


def named(names: list[str], known: Mapping[str, T]) -> list[T]:
    """The contenders of these names.

    Raises:
        ValueError: there is no such contender.
    """
    names = list(known) if names == ALL else names
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f"there is no model {', '.join(unknown)}; there are {', '.join(known)}")
    return [known[name] for name in names]


def listed(split: dict[str, list[str]], name: str) -> list[str]:
    """The ids of this name.

    Raises:
        ValueError: there are none.
    """
    if not split.get(name):
        raise ValueError(f"no {name} are listed: give --split a JSON file with their ids")
    return split[name]


def read_split(path: Path | None) -> dict[str, list[str]]:
    """The listed ids as text, or nothing.

    Raises:
        ValueError: there is no such file, or it holds something else.
    """
    if path is None:
        return {}
    wanted = 'expected a JSON object of lists of ids, such as {"cold_users": [7, 9], "cold_items": [3]}'
    try:
        whole = json.loads(path.read_text())
    except OSError as error:
        raise ValueError(f"--split {path}: {error.strerror}") from None
    except ValueError as error:
        raise ValueError(f"--split {path} is no JSON ({error}): {wanted}") from None
    if not isinstance(whole, dict) or not all(isinstance(ids, list) for ids in whole.values()):
        raise ValueError(f"--split {path}: {wanted}")
    return {name: [str(one) for one in ids] for name, ids in whole.items()}
