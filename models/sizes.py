"""Sizes: what of the recipe depends on the data."""

from __future__ import annotations

from typing import Any

import numpy as np

from models.dataset import Dataset

FEW_USERS = 1000
NEARLY_ALL, MOST = 0.99, 0.8  # set by hand; of steps, latest-small has .84 with times that differ, ml-100k .49


def batch_size(length: int) -> int:
    """Windows of a batch: about as many events in all whatever their length, of 128 users at most."""
    return min(128, 3200 // length)


def has_order(dataset: Dataset) -> bool:
    """Whether times, or places in a sequence, tell what came next: of many users, in nearly all histories and steps.

    A history of several events has no order where all came at one moment, and a step has none where two did.
    """
    log = dataset.interactions
    several = np.diff(log.bounds()) > 1
    if not dataset.report.timed or several.sum() <= FEW_USERS:
        return False
    steps = np.diff(log.time)[np.diff(log.user) == 0]
    return bool(log.ordered()[several].mean() >= NEARLY_ALL and (steps > 0).mean() >= MOST)


def sized(dataset: Dataset, ordered: bool | None = None) -> dict[str, Any]:
    """What of the recipe depends on the data.

    Windows as long as three quarters of the histories, and batches of about as many events whatever the length. More
    dropout where users are known from few events, or are few.

    Of few users the learner begins as a linear item-item model, the recall, in nearly all the rank there is; its blocks
    are narrow, for few users are soon learned by heart. Of many the blocks speak alone where events have an order,
    items move freely, what is kept is an average over some epochs, and the middles of long histories do not pass for
    beginnings. A recall there comes to know pairs that one user alone took together, the very answers that training
    asks for, and learns slower what follows what; it speaks of long histories that have no order. Readers of short
    histories do without some of their few events, and aim at all items a little: they would learn pairs by heart too.
    Kept from that they may be wide. Items without a text learn their length: those of few takers stay short. With
    texts all have one length, as new items have to stand beside them. A refresh begins in closed form; of many users
    with long histories it goes on with the training.

    Args:
        ordered: nobody will be asked about without an order of events, so that nothing is spent on it: no episode is
            shuffled, no recall speaks of histories without an order alone, and the next event is the one target, for
            later ones blur what follows what. Nobody is asked about the beginning of a long history in particular
            either: the middles may pass for beginnings, and every event of theirs teaches. Of many users with long
            histories every position of a batch is scored, and no item stands on its text alone now and then: known ones
            are learned the better without, and new ones lose nothing. None: as the data says, where it is of many users
            with short histories that nearly all have an order; else both kinds are served.
    """
    counts = np.diff(dataset.interactions.bounds())
    length = next((size for size in (20, 50) if np.quantile(counts, 0.75) <= size), 100)
    short, many = length == 20, len(counts) > FEW_USERS
    size: dict[str, Any] = {"length": length, "batch_size": batch_size(length), "heads": 2, "half": True}
    if not many:
        size |= {
            "recall": "always", "dropout": 0.5 if short else 0.4, "rank": 64 if len(dataset.items) > 30_000 else 384,
            "width": 16, "rate": 3e-3, "residual_rate": 0.1, "averaging": 0.99, "refreshing": 0.5,
        }  # fmt: skip
    elif short:
        size |= {
            "recall": "never", "dropout": 0.5, "rank": 128, "width": 128, "heads": 4, "rate": 1e-3,
            "support_dropout": 0.3, "smoothing": 0.2, "residual_rate": 1.0, "weight_decay": 0.05, "averaging": 0.998,
            "unit": bool(dataset.has_text().any()),
        }  # fmt: skip
    else:
        size |= {
            "recall": "unordered", "dropout": 0.2, "rank": 64, "width": 64, "rate": 2e-3, "residual_rate": 1.0,
            "weight_decay": 0.05, "averaging": 0.995, "settling": 20, "continued": True,
        }  # fmt: skip
    if ordered is None:
        ordered = short and many and has_order(dataset)
    if ordered:
        size |= {"shuffled": 0.0, "horizon": 0.0, "settling": 0, "ordered": True}
        if size["recall"] == "unordered":
            size |= {"recall": "never", "positions": 4096, "residual_dropout": 0.0}
    return size
