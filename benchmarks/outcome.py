"""From finished runs to what a table shows: figures over seeds and parts, and how sure each comparison with ours is."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.bootstrap import compare
from benchmarks.packed import unpack
from benchmarks.runs import Record

OURS = "innerloop"
ERRORS = ("MAE", "RMSE")  # the lower the better
ALSO = ("HR@10",)  # compared beside the outcome's own metric, where it is kept for each user
Table = dict[str, dict[str, dict[str, Any]]]  # test -> model -> what is known


def outcome(runs: Iterable[Record], resamples: int, metric: str = "NDCG@10", ours: str = OURS) -> dict[str, Any]:
    """Per test and model: mean figures over users, their spread over seeds, costs, and `ours` against it.

    Where parts measure the same users again, as periods do, each is drawn with all of them (`whose`, in the records).

    Seconds of training, of the clock and of processors, are the sum over the parts, the mean over the seeds. `ours
    against it` is by the metric, `ours against it by` by others that are kept for each user.
    """
    records = [record for record in runs if "tests" in record]
    tests: Table = {}
    users: dict[str, dict[tuple[str, str], NDArray[np.float64]]] = {}  # metric -> (test, model) -> a figure a user
    whose: dict[tuple[str, str], NDArray[np.int64] | None] = {}  # (test, model) -> the user of each figure
    measured: dict[tuple[str, str], list[str]] = {}  # (test, model) -> the parts
    for label, model in _contents(records):
        shown = f"{label} | {model.partition(', ')[2]}" if ", " in model else label
        own = [r for r in records if r["model"] == model.partition(", ")[0] and shown in r["tests"]]
        own, parts = _finished(own)
        seeds = sorted({record["seed"] for record in own})
        by_seed = _by_seed(own, shown, seeds, metric)
        users.setdefault(metric, {})[label, model] = np.mean(by_seed, axis=0)
        for also in ALSO:
            if also != metric and all(also in record["tests"][shown]["users"] for record in own):
                users.setdefault(also, {})[label, model] = np.mean(_by_seed(own, shown, seeds, also), axis=0)
        measured[label, model] = parts
        whose[label, model] = _whose([record for record in own if record["seed"] == seeds[0]], shown)
        figures = _figures(own, shown, seeds)
        tests.setdefault(label, {})[model] = {
            "figures": {name: float(np.mean(values)) for name, values in figures.items()},
            "seeds": len(seeds),
            "spread": float(np.std([values.mean() for values in by_seed])),
            "settings": own[0]["settings"],
            "train_seconds": sum(record["train_seconds"] for record in own) / len(seeds),
            "train_cpu_seconds": sum(record.get("train_cpu_seconds", 0.0) for record in own) / len(seeds),
            "evaluate_seconds": float(np.mean([r["tests"][shown]["evaluate_seconds"] for r in own])),
            "peak_memory_mib": {
                place: max(record["peak_memory_mib"].get(place, 0) for record in own)
                for place in own[0]["peak_memory_mib"]
            },
            "users": len(by_seed[0]) if (told := whose[label, model]) is None else len(np.unique(told)),
        }
    for name, kept in users.items():
        for (label, model), theirs in kept.items():
            own_users = kept.get((label, ours))
            if model != ours and own_users is not None and measured[label, model] == measured[label, ours]:
                found = compare(own_users, theirs, resamples, users=whose[label, model])._asdict()
                if name in ERRORS:  # then a ratio below 1 is a win
                    found["wins"] = compare(-own_users, -theirs, resamples, users=whose[label, model]).wins
                known = tests[label][model]
                if name == metric:
                    known["ours against it"] = found
                else:
                    known.setdefault("ours against it by", {})[name] = found
    return {"metric": metric, "ours": ours, "tests": tests}


def _contents(records: list[Record]) -> list[tuple[str, str]]:
    """Every (test, model), variants as `model, variant`."""
    found: dict[tuple[str, str], None] = {}
    for record in records:
        for label in record["tests"]:
            test, _, variant = label.partition(" | ")
            found[test, f"{record['model']}, {variant}" if variant else record["model"]] = None
    return list(found)


def _finished(records: list[Record]) -> tuple[list[Record], list[str]]:
    """Those of the seeds that are through with most parts, and these: another command may be between two parts."""
    parts: dict[int, list[str]] = {}
    for record in sorted(records, key=lambda one: str(one["part"])):
        parts.setdefault(record["seed"], []).append(record["part"])
    most = max(parts.values(), key=len)
    return [record for record in records if parts[record["seed"]] == most], most


def _by_seed(records: list[Record], label: str, seeds: list[int], metric: str) -> list[NDArray[np.float64]]:
    """A figure a user, for each seed."""
    return [_joined([record for record in records if record["seed"] == seed], label, metric) for seed in seeds]


def _joined(records: list[Record], label: str, metric: str) -> NDArray[np.float64]:
    """A figure a user over all parts of a seed, parts in the order of their names."""
    return np.concatenate([unpack(record["tests"][label]["users"][metric]) for record in _by_part(records, label)])


def _whose(records: list[Record], label: str) -> NDArray[np.int64] | None:
    """The user of each figure over all parts of a seed; None where each is another's."""
    told = [record["tests"][label].get("whose") for record in _by_part(records, label)]
    return np.concatenate([unpack(one).astype(np.int64) for one in told]) if all(told) else None


def _by_part(records: list[Record], label: str) -> list[Record]:
    """Those that have the test, in the order of their parts' names."""
    return sorted((record for record in records if label in record["tests"]), key=lambda record: record["part"])


def _figures(records: list[Record], label: str, seeds: list[int]) -> dict[str, list[float]]:
    """Each metric of each seed: the mean over its parts, each counting by its users, as in the comparisons."""
    out: dict[str, list[float]] = {}
    for seed in seeds:
        own = [record for record in records if record["seed"] == seed and label in record["tests"]]
        kept = [next(iter(record["tests"][label]["users"].values())) for record in own]
        sizes = [len(unpack(packed)) for packed in kept]
        for name in own[0]["tests"][label]["figures"]:
            figures = [record["tests"][label]["figures"][name] for record in own]
            out.setdefault(name, []).append(float(np.average(figures, weights=sizes)))
    return out


def table(found: dict[str, Any], metrics: tuple[str, ...] = ("HR@10", "Recall@10", "Recall@20", "NDCG@10")) -> str:
    """The outcome as lines of text."""
    known_models = [model for models in found["tests"].values() for model in models]
    test, name = (2 + max(map(len, names)) for names in (["test", *found["tests"]], ["model", *known_models]))
    head = f"{'test':<{test}}{'model':<{name}}" + "".join(f"{metric:>11}" for metric in metrics)
    sign = 1 if found["metric"] in ERRORS else -1
    lines = [head + f"{'seeds':>7}{'CPU s':>9}   ours / theirs (95%)"]
    for label, models in found["tests"].items():
        for model, known in sorted(models.items(), key=lambda pair: sign * pair[1]["figures"][found["metric"]]):
            figures = "".join(f"{known['figures'].get(metric, float('nan')):>11.4f}" for metric in metrics)
            costs = f"{known['seeds']:>7}{known['train_cpu_seconds']:>9.1f}"
            lines.append(f"{label:<{test}}{model:<{name}}{figures}{costs}   {ratio(known)}".rstrip())
    return "\n".join(lines)


def ratio(known: dict[str, Any]) -> str:
    """How ours compares, or nothing for ours itself and where the other has nothing to compare with."""
    versus = known.get("ours against it")
    if not versus or versus["theirs"] <= 0:
        return ""
    return f"{versus['ours'] / versus['theirs']:.3f} ({versus['ratio_low']:.3f} to {versus['ratio_high']:.3f})"
