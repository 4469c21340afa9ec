"""The plan of a training, as the data and the options say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from models.dataset import Dataset
    from models.recipe import Plan

DECIDED = {"recall", "shuffled", "horizon", "settling"}
"""What --ordered decides. Whoever chooses one of them by hand is not to have the others changed by the data."""


def plan_for(dataset: Dataset, chosen: dict[str, Any], *, hold_out: bool = True, err: bool = False) -> Plan:
    """The recipe for this data, `chosen` in place of its own. Tells whether the data had it learn the next event alone.

    Args:
        chosen: values by the names of `models.recipe.plan`. Without `ordered`, and without what depends on it, the data
            decides that too.
        err: tell it on stderr.
    Raises:
        ValueError: a choice does not exist or does not fit the others.
    """
    from models import recipe
    from models.sizes import sized

    ordered = chosen.get("ordered", False if DECIDED & chosen.keys() else None)
    plan = recipe.plan(sized(dataset, ordered) | chosen, hold_out)
    if plan.ordered and "ordered" not in chosen:
        typer.echo(
            "The histories are short and nearly all have an order: what comes next is all that is learned (--ordered). "
            "Where some users' events will have come at one moment, train with --no-ordered.",
            err=err,
        )
    return plan
