"""From the committed runs to pages people read: docs/benchmarks.md with its plots, and tables between marks elsewhere.

    python -m benchmarks.report        (or `make report`, which renews README.md and docs/learner.md too)

Reads benchmarks/results/*.json as `benchmarks.learner` writes them and makes nothing up: a protocol without a file has
no section. The figures are means over users and seeds; intervals are 95% of the paired bootstrap over users.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from benchmarks import excerpts, plots, shots
from benchmarks.literature import elsewhere
from benchmarks.outcome import ERRORS, ratio
from benchmarks.protocols.prequential import MOST
from benchmarks.published import PUBLISHED, shell
from benchmarks.summary import summary

HEAD = """# Benchmarks

Made by `make report` from [the runs](../benchmarks/results); do not edit. Every unseen item is ranked, ties count
against the ranker; settings are searched on validation figures, in as many trials as is said.

In brackets behind a ratio: its 95% interval, by the paired bootstrap over users. Of several seeds it is each user's
mean that is drawn, so the interval says nothing of further seeds; the spread is the deviation over those that ran.
Coverage is the share of the items that are in anybody's ten. `K = 0` is the same learner read without its inner steps:
an ablation, which nothing was trained for. Ours has a [beginning](learner.md#the-beginning), where validation chose
one, in Cold users and Time, in MovieLens 1M's cold users its first version, which trusted few users as much as many;
for Cold items it chose none, for leave-one-out on MovieLens 1M with one seed of three, and its other runs are older.
The earliest runs kept their settings, and neither what the recipe chose beside them nor a revision. Seconds are of
training the chosen settings once, in all parts. The runs hold memory too, by how much our process grew meanwhile: 0 in
early runs where another had grown it as far, and nothing of RecTools', a process of its own. What a training alone
takes is in [what a meta-step costs](experiments.md#what-a-meta-step-costs).

Items have texts in MovieLens: titles and genres in 100k, tags too in latest-small; in our copy of 1M directors, actors
and plots as well, 680 characters an item. Ours reads them in every benchmark, of the opponents content-knn,
content-knn-words, bias-content and, of 1M's, MAML and Reptile; Amazon Beauty has none. The tags are everybody's, those
of users and of times that are tested too. What all of it is worth to ours stands
[here](experiments.md#what-the-texts-are-worth). To all models a low rating is an event like another here, where
`innerloop train` has it speak against its item (`signed` in our settings), but for Ratings and Time.

Settings are drawn at random from a model's space, whose first point is its default; what they mean stands where the
space is ([ours](../benchmarks/opponents/innerloop.py), [SASRec's](../benchmarks/opponents/sasrec.py), and beside them).
Under each benchmark stand the commands that make it again, with what `make .venv/.dev` installs; DATA is the folder in
which the data sets lie, and `python -m benchmarks.published --help` says more.

"""
EXCERPT = "ml-latest-small"
"""The data set of the tables that other pages show."""
TITLES = {
    "loo": "Leave-one-out",
    "cold-user": "Cold users",
    "cold-item": "Cold items",
    "ratings": "Ratings of cold users and cold items",
    "time": "Time",
}
METRICS = {
    "loo": ("HR@10", "NDCG@10", "MRR", "coverage@10"),
    "cold-user": ("NDCG@10", "Recall@10", "HR@10"),
    "cold-item": ("Recall@20", "NDCG@10", "HR@10"),
    "ratings": ("MAE", "RMSE", "NDCG@5"),
    "time": ("HR@10", "NDCG@10", "MRR", "coverage@10"),
}
ABOUT = {
    "loo": "Of every user the last item tests, the one before it validates, and all before these train.",
    "cold-user": "Users never trained on: k of their events are known (their first in time, or k at random), and their "
    "next 10 are to be found. The table has NDCG@10. `popularity-place` is what most users took as one of their next "
    "ones after k.",
    "cold-item": "Items never trained on: their text is all there is. The users' other events are known. "
    "`content-knn` finds neighbours by the encoder, `content-knn-words` by our words too.",
    "ratings": "MeLU's protocol: users with 13 to 100 ratings in a state, 10 of them to be foretold from the others. "
    "`median`: each model's rating turned into the whole rating it stands for, with cuts found on validation episodes; "
    "this lowers the absolute error of any model and raises its squared error. Below 1 a ratio of errors is a win for "
    "ours. NDCG@5 counts ties against a model, the lowest ratings first: who foretells the same of all cold items, as "
    "`bias` and `svd++` do, has the least. What is read beside ratings: "
    "by `innerloop` the items' sentence vectors, genres, directors, actors, certificates and years and the users' "
    "gender, age and occupation; by `bias-content` the sentence vectors; by `maml`, `fomaml` and `reptile` MeLU's "
    "categories of items and users; by the others nothing.",
    "time": "A log cut at one moment; the events of each period are foretold, then learned from. Asked for are "
    f"those that speak for an item new to a user with a history, drawn at random, at most {MOST:,} a period. Seconds "
    "are what it took to make the parameters of all later periods; the training at the cut is counted as frozen's.",
}
NOTES = {
    "-recency": "`ease-recency` and `itemknn-recency`: a matrix that an earlier trial or the plain model made counts "
    "with the seconds it took then: in runs until 2026-11-26 those of the clock, not of the processor.",
    "rectools-hstu": "`rectools-hstu` is RecTools' HSTU without its relative time attention: like all here it is given "
    "the order of the events and not their times.",
}
"""What a reader must know of models whose names have this in them."""


def main() -> None:
    """Read the results, write the page and its plots."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--out", type=Path, default=Path("docs"))
    parser.add_argument("--readme", type=Path, help="the page whose tables are renewed, between their marks")
    parser.add_argument("--learner", type=Path, help="the same of the page that says what the learner is")
    options = parser.parse_args()
    found = results(options.results)
    if not found:
        parser.exit(1, f"benchmarks.report: {options.results} holds no finished benchmark\n")
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "benchmarks.md"
    path.write_text(page(found, options.out))
    if options.readme:
        text = renewed(options.readme.read_text(), summary(found), *marks("benchmarks"))
        quality = excerpts.quality(json.loads((options.results / f"{EXCERPT}.json").read_text()))
        options.readme.write_text(renewed(text, quality, *marks("quality")))
    if options.learner:
        known = json.loads((options.results / f"shots-{EXCERPT}.json").read_text())
        curves = excerpts.curves(known)
        table = excerpts.shots(curves, known["about"]["draws"])
        options.learner.write_text(renewed(options.learner.read_text(), table, *marks("shots")))
        shots.draw(curves, options.out / f"shots-{EXCERPT}.png")
    print(f"{path}, of {len(found)} benchmark(s)")


def results(folder: Path) -> list[dict[str, Any]]:
    """The finished benchmarks, in the order of their files' names, each with its own."""
    found = [json.loads(path.read_text()) | {"name": path.stem} for path in sorted(folder.glob("*.json"))]
    return [one for one in found if one.get("about", {}).get("protocol") in TITLES and one["outcome"]]


def marks(name: str) -> tuple[str, str]:
    """What stands before and after a table that is written into a page."""
    return f"<!-- {name} -->", f"<!-- /{name} -->"


def renewed(text: str, lines: list[str], opening: str, closing: str) -> str:
    """The page with these lines between its marks.

    Raises:
        ValueError: the page has no marks.
    """
    before, opened, rest = text.partition(opening)
    _, closed, after = rest.partition(closing)
    if not opened or not closed:
        raise ValueError(f"there is no {opening} ... {closing} to write between")
    return "\n".join([before + opening, *lines, closing + after])


def page(found: list[dict[str, Any]], folder: Path) -> str:
    """The whole page; the plots are drawn into `folder`."""
    lines = HEAD.splitlines()
    for protocol, title in TITLES.items():
        for one in (one for one in found if one["about"]["protocol"] == protocol):
            lines += section(one, f"{title}: {one['about']['data']}", folder)
    return "\n".join([*lines, *elsewhere()]).rstrip() + "\n"


def section(one: dict[str, Any], title: str, folder: Path) -> list[str]:
    """One benchmark: what it is, its table, its plot, the settings that were chosen, and the commands that made it."""
    about, outcome = one["about"], one["outcome"]
    protocol = about["protocol"]
    dates = sorted({run["date"][:10] for run in one["runs"]})
    machines = sorted({run["machine"] for run in one["runs"]})
    name, most = f"{protocol}-{about['data']}", about["limits"]["epochs"]
    if most:
        title, name = f"{title}, at most {most} epochs", f"{name}-{most}-epochs"
    lines = [
        f"## {title}",
        "",
        f"{ABOUT[protocol]} {about['interactions']:,} interactions, {about['users']:,} users, {about['items']:,} items "
        f"(SHA-256 `{about['checksum'][:12]}`).",
        "",
    ]
    if protocol == "cold-user":
        lines += [*shots_table(outcome), "", seeded(outcome)]
    else:
        lines += [*tests_table(outcome, METRICS[protocol]), *notes(outcome)]
    plots.draw(one, folder / f"{name}.png")
    lines += ["", f"![{title}]({name}.png)", "", "Settings:" if protocol == "time" else "Chosen settings:", ""]
    lines += settings_list(outcome, one["runs"], searched=protocol != "time")
    if one["name"] in PUBLISHED:
        lines += ["", note] if (note := PUBLISHED[one["name"]].note) else []
        lines += ["", "To run it again:", "", *(f"    {line}" for line in shell(one["name"]))]
    when = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
    return [*lines, "", f"{when}; {'; '.join(machines)}. {code(one['runs'])}", ""]


def code(runs: list[dict[str, Any]]) -> str:
    """At which revisions of the code the runs were made, as far as they say."""
    told = sorted({run["revision"] for run in runs if run.get("revision")})
    untold = sum(not run.get("revision") for run in runs)
    if not told:
        return "The runs do not say at which revision of the code they were made."
    said = f"{'Revision' if len(told) == 1 else 'Revisions'} {', '.join(told)}"
    return f"{said}; {untold} of {len(runs)} runs do not say." if untold else f"{said}."


def ordered(models: dict[str, Any], metric: str) -> list[tuple[str, dict[str, Any]]]:
    """The models, the best first."""
    sign = 1 if metric in ERRORS else -1
    return sorted(models.items(), key=lambda pair: sign * float(pair[1]["figures"][metric]))


def tests_table(outcome: dict[str, Any], metrics: tuple[str, ...]) -> list[str]:
    """A row a test and model."""
    ours = outcome["ours"]
    lines = [
        f"| test | model | {' | '.join(metrics)} | {ours} / theirs | seeds (spread) | training, CPU s |",
        "|---|---|" + "---|" * (len(metrics) + 3),
    ]
    for test, models in outcome["tests"].items():
        for model, known in ordered(models, outcome["metric"]):
            bold = "**" if model == ours else ""
            held = known["figures"]
            figures = " | ".join(f"{bold}{held[name]:.4f}{bold}" if name in held else "" for name in metrics)
            seeds = f"{known['seeds']} ({known['spread']:.4f})" if known["seeds"] > 1 else "1"
            lines.append(
                f"| {test} | {bold}{model}{bold} | {figures} | {ratio(known)} | {seeds} "
                f"| {known['train_cpu_seconds']:,.1f} |"
            )
    return lines


def shots_table(outcome: dict[str, Any]) -> list[str]:
    """A row a test, a column a model, and ours against the best of the others."""
    ours, metric = outcome["ours"], outcome["metric"]
    models = list(dict.fromkeys(model for known in outcome["tests"].values() for model in known))
    lines = [
        f"| test | users | {' | '.join(models)} | {ours} / the best other |",
        "|---|---|" + "---|" * (len(models) + 1),
    ]
    for test, known in outcome["tests"].items():
        rivals = [pair for pair in ordered(known, metric) if not pair[0].startswith(ours)]
        best = ordered(known, metric)[0][0]
        cells = []
        for model in models:
            bold = "**" if model == best else ""
            cells.append(f"{bold}{known[model]['figures'][metric]:.4f}{bold}" if model in known else "")
        versus = f"{rivals[0][0]}: {ratio(rivals[0][1])}" if rivals else ""
        users = next(iter(known.values()))["users"]
        lines.append(f"| {test} | {users} | {' | '.join(cells)} | {versus} |")
    return lines


def seeded(outcome: dict[str, Any]) -> str:
    """How many seeds each model's figures are means over, variants as the model they are of."""
    counts: dict[int, dict[str, None]] = {}
    for models in outcome["tests"].values():
        for model, known in models.items():
            counts.setdefault(known["seeds"], {})[model.partition(", ")[0]] = None
    told = [f"{count} of {', '.join(counts[count])}" for count in sorted(counts, reverse=True)]
    return f"Seeds: {'; '.join(told)}."


def notes(outcome: dict[str, Any]) -> list[str]:
    """What must be known of models in the table, a paragraph each."""
    names = {model for models in outcome["tests"].values() for model in models}
    return [line for part, note in NOTES.items() if any(part in name for name in names) for line in ("", note)]


def settings_list(outcome: dict[str, Any], runs: list[dict[str, Any]], searched: bool) -> list[str]:
    """Each model's settings, once, and where they were `searched`, of how many trials they are the best."""
    seen: dict[str, dict[str, Any]] = {}
    for models in outcome["tests"].values():
        seen |= {model: known["settings"] for model, known in models.items() if ", K = " not in model}
    lines = []
    for model, settings in seen.items():
        trials = len({run["trial"] for run in runs if run["model"] == model and run["trial"] >= 0})
        said = ", ".join(f"{name} {value}" for name, value in settings.items()) or "none"
        chosen = f", of {trials} trial{'' if trials == 1 else 's'}" if searched else ""
        lines.append(f"- {model}{chosen}: {said}")
    return lines


if __name__ == "__main__":
    main()
